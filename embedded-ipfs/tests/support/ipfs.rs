//! A real Kubo: `ipfs` of the PATH as a daemon of its own, on loopback, that knows nobody.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use embedded_ipfs::{Cid, Multiaddr, PeerId};

use super::not_run;

pub struct Daemon {
    repository: tempfile::TempDir,
    process: Child,
    pub address: Multiaddr,
}

impl Daemon {
    /// Starts one; `None`, and a line that says so, if `ipfs` is not installed.
    pub async fn start() -> Option<Daemon> {
        let daemon = Daemon::configured(|_| {}).await;
        if daemon.is_none() {
            not_run("ipfs", "Kubo 0.41 or later on PATH");
        }
        daemon
    }

    /// Starts one whose configuration was changed; `None` if `ipfs` is not installed.
    pub async fn configured(change: impl FnOnce(&mut Value)) -> Option<Daemon> {
        let repository = tempfile::tempdir().unwrap();
        let init = command(repository.path()).args(["init", "--profile=test"]).output().await.ok()?;
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        let path = repository.path().join("config");
        let mut config = serde_json::from_slice(&tokio::fs::read(&path).await.unwrap()).unwrap();
        change(&mut config);
        tokio::fs::write(&path, config.to_string()).await.unwrap();
        Some(Daemon::over(repository).await)
    }

    /// One over a repository that is there.
    async fn over(repository: tempfile::TempDir) -> Daemon {
        let mut process = command(repository.path())
            .arg("daemon")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("Daemon is ready") {
                break;
            }
        }
        let mut daemon = Daemon { repository, process, address: Multiaddr::empty() };
        let addresses = daemon.run(&["id", "-f", "<addrs>"]).await;
        let tcp = addresses.lines().find(|line| line.contains("/tcp/") && !line.contains("/ws"));
        daemon.address = tcp.unwrap().parse().unwrap();
        // Nobody reads the daemon's standard output further: it says nothing more, but must not find it closed.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        daemon
    }

    /// Ends it, like a power cut or politely, and starts it again; its address is another then.
    pub async fn restart(mut self, politely: bool) -> Daemon {
        if politely {
            let process = self.process.id().unwrap().to_string();
            assert!(Command::new("kill").args(["-TERM", &process]).status().await.unwrap().success());
            self.process.wait().await.unwrap();
        } else {
            self.process.kill().await.unwrap();
        }
        Daemon::over(self.repository).await
    }

    /// What a command says to what it is given on standard input.
    pub async fn feed(&self, arguments: &[&str], input: &[u8]) -> String {
        use tokio::io::AsyncWriteExt;
        let mut feeding = command(self.repository.path());
        feeding.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = feeding.spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        let output = process.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Calls its RPC, without the start of a program in between: the status, and all that it answers.
    pub async fn call(&self, call: &str) -> (u16, Vec<u8>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let api = tokio::fs::read_to_string(self.repository.path().join("api")).await.unwrap();
        let port: u16 = api.trim().rsplit('/').next().unwrap().parse().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // HTTP/1.0: no chunks, the end of the connection is that of the answer.
        let request = format!("POST /api/v0/{call} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(head + 4))
    }

    /// Pins a DAG, fetching what is missing.
    pub async fn pin(&self, cid: &str) {
        let (status, answer) = self.call(&format!("pin/add?arg={cid}")).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(status == 200 && answer.contains("\"Pins\""), "{status}: {answer}");
    }

    /// Gives it a block, and its CID back.
    pub async fn put(&self, bytes: &[u8]) -> Cid {
        self.feed(&["block", "put", "--allow-big-block"], bytes).await.parse().unwrap()
    }

    /// Waits until it wants a block, or knows that a peer does.
    pub async fn until_wanted(&self, by: Option<&PeerId>, cid: &Cid) {
        let call = by.map_or("bitswap/wantlist".into(), |peer| format!("bitswap/wantlist?peer={peer}"));
        while !String::from_utf8(self.call(&call).await.1).unwrap().contains(&cid.to_string()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// Runs a command whose answer is not text.
    pub async fn succeed(&self, arguments: &[&str]) {
        let output = command(self.repository.path()).args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command whose answer goes to a file.
    pub async fn save(&self, arguments: &[&str], to: &Path) {
        let out = std::fs::File::create(to).unwrap();
        let status = command(self.repository.path()).args(arguments).stdout(out).status().await.unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    /// Blocks that it sent since it started.
    pub async fn sent(&self) -> u64 {
        let stats = self.run(&["stats", "bitswap", "--enc=json"]).await;
        serde_json::from_str::<Value>(&stats).unwrap()["BlocksSent"].as_u64().unwrap()
    }

    /// What a command says.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let output = command(self.repository.path()).args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

fn command(repository: &Path) -> Command {
    let mut command = Command::new("ipfs");
    command.env("IPFS_PATH", repository).stdin(Stdio::null()).kill_on_drop(true);
    command
}
