//! A real Kubo: `ipfs` of the PATH as a daemon of its own, on loopback, that knows nobody.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use embedded_ipfs::Multiaddr;

use super::not_run;

pub struct Daemon {
    repository: tempfile::TempDir,
    process: Child,
    pub address: Multiaddr,
}

impl Daemon {
    /// Starts one; `None`, and a line that says so, if `ipfs` is not installed.
    pub async fn start() -> Option<Daemon> {
        let repository = tempfile::tempdir().unwrap();
        let init = command(repository.path()).args(["init", "--profile=test"]).output().await;
        let Ok(init) = init else {
            not_run("ipfs is not on the PATH (https://docs.ipfs.tech/install/command-line/)");
            return None;
        };
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
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
        serde_json::from_str::<serde_json::Value>(&stats).unwrap()["BlocksSent"].as_u64().unwrap()
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
