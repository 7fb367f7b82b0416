//! A member of a consortium: a real node with that role alone, on loopback, with the IPFS node inside it or with a Kubo.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cid::Cid;
use embedded_ipfs::AddOptions;
use scatter::cli::devnet::{free_ports, Backend, Kubo, Place};
use serde_json::{json, Value};
use tempfile::TempDir;

use super::http::Message;
use super::scatter::{Finished, Scatter};
use super::{eventually, not_run, tool, PATIENCE};

/// For what takes a few rounds of a node on a machine that is busy with other tests.
pub const ROUNDS: Duration = Duration::from_secs(120);

/// A member, running or not.
pub struct Member {
    /// What the others call it.
    pub name: String,
    backend: Backend,
    status: u16,
    process: Option<Scatter>,
    directory: TempDir,
}

/// The program `ipfs`, or `None` (said and recorded) where it is not installed.
pub fn ipfs() -> Option<PathBuf> {
    let found = tool("ipfs");
    if found.is_none() {
        not_run("ipfs", "Kubo 0.41 or later on PATH");
    }
    found
}

/// A Kubo of its own in a directory, not yet running.
pub async fn kubo(name: &str, program: &Path, directory: &Path) -> Kubo {
    let [swarm, api] = free_ports().unwrap();
    let place = Place {
        program: program.to_owned(),
        guard: env!("CARGO_BIN_EXE_scatter").into(),
        repository: directory.join("kubo"),
        log: directory.join("kubo.log"),
        swarm,
        api,
    };
    Kubo::make(name, place).await.unwrap()
}

impl Member {
    /// A member that does not run yet. `kubo`: the program `ipfs`, if it is to have a daemon of its own.
    pub async fn make(name: &str, kubo_program: Option<&Path>) -> Self {
        let directory = TempDir::new().unwrap();
        let [port, status] = free_ports().unwrap();
        let backend = match kubo_program {
            None => Backend::embedded(directory.path().join("data/ipfs"), port).await.unwrap(),
            Some(program) => Backend::Kubo(Box::new(kubo(name, program, directory.path()).await)),
        };
        Self { name: name.to_owned(), backend, status, process: None, directory }
    }

    /// How its IPFS node is reached.
    pub fn multiaddr(&self) -> String {
        self.backend.multiaddr()
    }

    /// Its IPFS node.
    pub fn backend(&mut self) -> &mut Backend {
        &mut self.backend
    }

    /// Adds a file to its IPFS node, before it runs.
    pub async fn add(&self, bytes: &[u8]) -> Cid {
        match &self.backend {
            Backend::Embedded { directory, .. } => {
                let node = embedded_ipfs::Node::start(embedded_ipfs::Config::new(directory)).await.unwrap();
                let added = node.add(bytes, AddOptions::default()).await.unwrap();
                node.stop().await;
                added.cid
            }
            Backend::Kubo(kubo) => {
                let file = self.directory.path().join("file");
                fs::write(&file, bytes).unwrap();
                let added = kubo.run(&["add", "--quiet", &file.display().to_string()]).await.unwrap();
                added.trim().parse().unwrap()
            }
        }
    }

    /// Writes its configuration: it stays connected with `peers`, and `consortium` is more of that section.
    pub fn configure(&self, peers: &[String], consortium: &str) {
        let ipfs = self.backend.settings(peers).unwrap();
        let data = self.directory.path().join("data");
        let (data, status) = (data.display(), self.status);
        let text = format!(
            "[node]\ndata_dir = \"{data}\"\nlog_format = \"text\"\n\n[roles]\nconsortium = true\n\n[ipfs]\n{ipfs}\n\
             [consortium]\ninterval = \"1s\"\n{consortium}\n\n[hoster]\nmin_free_disk = \"64MiB\"\n\n\
             [status]\nlisten = \"127.0.0.1:{status}\"\n\n[supervision]\ndrain = \"3s\"\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Its configuration's file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("node.toml")
    }

    /// Starts its Kubo, where it has one.
    pub async fn start_backend(&mut self) {
        if let Some(kubo) = self.backend.kubo() {
            kubo.start().unwrap();
            kubo.is_ready().await.unwrap();
        }
    }

    /// Connects its Kubo, where it has one, with others that run.
    pub async fn connect(&self, multiaddrs: &[String]) {
        let embedded_ones_are_not_there_yet = self.backend.connect(multiaddrs).await;
        drop(embedded_ones_are_not_there_yet);
    }

    /// Starts it; [`Member::is_ready`] waits.
    pub fn start(&mut self) {
        let config = self.config().display().to_string();
        self.process = Some(Scatter::start(self.directory.path(), &["run", "--config", &config]));
    }

    /// Waits until it says that it is ready.
    pub fn is_ready(&self) {
        eventually("ready member", ROUNDS, || {
            if let Some(status) = self.process.as_ref().and_then(|process| process.status()) {
                panic!("{} ended: {status}\n{}", self.name, self.said());
            }
            (self.get("/readyz")?["ready"] == true).then_some(())
        });
    }

    /// Ends it in order; its Kubo stays.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate();
            assert!(process.wait(PATIENCE).success(), "{}", process.output());
        }
    }

    /// What it said.
    pub fn said(&self) -> String {
        self.process.as_ref().map(|process| process.output()).unwrap_or_default()
    }

    /// Runs `scatter ARGUMENTS --json` beside it, as its operator would.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let config = self.config().display().to_string();
        let arguments = [arguments, &["--json", "--config", &config]].concat();
        Scatter::run(self.directory.path(), &arguments, ROUNDS)
    }

    /// As [`Member::run`], and gives the answer.
    ///
    /// # Panics
    /// If the command fails.
    pub fn operate(&self, arguments: &[&str]) -> Value {
        let finished = self.run(arguments);
        assert_eq!(finished.code(), 0, "{}: {arguments:?}: {finished:?}\n{}", self.name, self.said());
        finished.json()
    }

    /// The name under which it publishes.
    pub fn ipns(&self) -> String {
        self.operate(&["manifest", "show"])["name"].as_str().unwrap().to_owned()
    }

    /// Lists roots for its peers, and publishes the list.
    pub fn list(&self, roots: &[Cid]) {
        let roots: Vec<_> = roots.iter().map(Cid::to_string).collect();
        let roots = roots.iter().map(String::as_str);
        self.operate(&[&["manifest", "add"], &roots.collect::<Vec<_>>()[..]].concat());
        self.operate(&["manifest", "publish"]);
    }

    /// Adds a file, lists it for its peers, and gives its root.
    pub fn add_while_running(&self, bytes: &[u8]) -> Cid {
        let file = self.directory.path().join("more");
        fs::write(&file, bytes).unwrap();
        let answer = self.operate(&["manifest", "add", &file.display().to_string()]);
        answer["added"][0].as_str().unwrap().parse().unwrap()
    }

    /// Mirrors somebody from now on.
    pub fn trust(&self, name: &str, ipns: &str, multiaddr: &str) {
        self.operate(&["peer", "add", name, ipns, "--addr", multiaddr]);
    }

    /// A document of its API; `None` while it does not answer.
    pub fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.status)).ok()?;
        let question = format!("GET {path} HTTP/1.0\r\nhost: 127.0.0.1:{}\r\n\r\n", self.status);
        std::io::Write::write_all(&mut stream, question.as_bytes()).ok()?;
        let answer = Message::read(&mut std::io::BufReader::new(stream)).ok()??;
        serde_json::from_slice(&answer.body).ok()
    }

    /// How it stands with a peer: the document of its API.
    pub fn peer(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/peers/{name}")).unwrap_or_default()
    }

    /// Waits until it keeps so many roots for a peer, every block of them.
    pub fn keeps(&self, name: &str, roots: usize) {
        let mut last = Value::Null;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("mirror", ROUNDS, || {
                last = self.peer(name);
                let mirrored = &last["mirrored"];
                (mirrored["roots"] == json!(roots) && mirrored["pinned"] == json!(roots)).then_some(())
            });
        }));
        assert!(found.is_ok(), "{} keeps not {roots} roots of {name}: {last:#}\n{}", self.name, self.said());
    }

    /// The most memory that its process ever had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let pid = self.process.as_ref().expect("a running member").pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// What is pinned on its disk; it must have ended.
    pub async fn pins(&self) -> BTreeSet<Cid> {
        self.backend.pins().await.unwrap().into_iter().collect()
    }

    /// Ends it and asserts that every block of these roots lies on its disk, pinned.
    pub async fn assert_keeps_on_disk(&mut self, roots: &BTreeSet<Cid>) {
        self.stop();
        for root in roots {
            let found = self.backend.look(root).await.unwrap();
            assert!(found.is_pinned && found.is_whole, "{}: {root}: {found:?}", self.name);
        }
    }
}
