//! A real Kubo from `PATH`: a daemon over a repository of its own, on loopback alone, without bootstrap peers.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{json, Value};
use tempfile::TempDir;

use super::process::Process;
use super::{not_run, tool, PATIENCE};

/// The configuration that makes a node small, quick and private.
fn settings() -> Value {
    json!({
        "Addresses": {
            "API": "/ip4/127.0.0.1/tcp/0",
            "Gateway": [],
            "Swarm": ["/ip4/127.0.0.1/tcp/0"],
        },
        "Bootstrap": [],
        "AutoConf": { "Enabled": false },
        "AutoTLS": { "Enabled": false },
        "Discovery": { "MDNS": { "Enabled": false } },
        "Routing": { "Type": "dhtserver", "LoopbackAddressesOnLanDHT": true },
        "DNS": { "Resolvers": {} },
        "Ipns": { "DelegatedPublishers": [] },
        "Swarm": { "DisableNatPortMap": true, "RelayClient": { "Enabled": false } },
    })
}

/// A running daemon. Dropping it ends it.
pub struct Kubo {
    process: RefCell<Option<Process>>,
    rpc: RefCell<SocketAddr>,
    repository: TempDir,
    flags: Vec<String>,
}

impl Kubo {
    /// A running node, or `None` (said and recorded) where `ipfs` is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&json!({}), &[])
    }

    /// A node with a configuration merged over the usual one, and flags for the daemon.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with(config: &Value, flags: &[&str]) -> Option<Self> {
        if tool("ipfs").is_none() {
            not_run("ipfs", "Kubo 0.41 or later on PATH");
            return None;
        }
        let repository = TempDir::new().expect("a temporary directory");
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let node = Self { process: RefCell::new(None), rpc: RefCell::new(none), repository, flags };
        node.cli(&["init", "--profile=test"]);
        let file = node.repository.path().join("config");
        let mut whole: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        merge(&mut whole, settings());
        merge(&mut whole, config.clone());
        std::fs::write(&file, whole.to_string()).unwrap();
        node.restart();
        Some(node)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(tool("ipfs").expect("ipfs was found before"));
        command.env("IPFS_PATH", self.repository.path()).env("IPFS_TELEMETRY", "off");
        command
    }

    /// Runs `ipfs` over the node's repository, through the daemon where it runs, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().expect("ipfs starts");
        assert!(output.status.success(), "ipfs {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Starts the daemon over the same repository, at another port.
    pub fn restart(&self) {
        let mut command = self.command();
        command.arg("daemon").args(&self.flags);
        let process = Process::spawn(&command);
        let address = process.wait_for_line("RPC address", PATIENCE, |line| {
            let port = line.strip_prefix("RPC API server listening on /ip4/127.0.0.1/tcp/")?;
            Some(SocketAddr::from(([127, 0, 0, 1], port.trim().parse().ok()?)))
        });
        process.wait_for_line("readiness", PATIENCE, |line| (line == "Daemon is ready").then_some(()));
        *self.rpc.borrow_mut() = address;
        *self.process.borrow_mut() = Some(process);
    }

    /// Where its RPC API listens, until the next restart.
    pub fn url(&self) -> String {
        format!("http://{}", self.rpc.borrow())
    }

    /// The port of its RPC API.
    pub fn rpc(&self) -> SocketAddr {
        *self.rpc.borrow()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it as Kubernetes does, and waits until it has ended.
    pub fn terminate(&self) {
        if let Some(process) = self.process.take() {
            process.terminate();
            process.wait(PATIENCE);
        }
    }

    /// Deletes a block's file, as a failing disk might. The daemon must not be running.
    ///
    /// # Panics
    /// If it has none.
    pub fn lose(&self, block: &cid::Cid) {
        let hash = block.hash().to_bytes();
        let named = cid::multibase::Base::Base32Upper.encode(hash) + ".data";
        let shards = std::fs::read_dir(self.repository.path().join("blocks")).expect("blocks");
        let file =
            shards.map(|shard| shard.expect("a shard").path().join(&named)).find(|file| file.is_file());
        std::fs::remove_file(file.expect("the block's file")).expect("a file to remove");
    }

    /// Its peer id.
    pub fn id(&self) -> String {
        self.cli(&["id", "-f", "<id>"])
    }

    /// A multiaddress to dial it at, ending in its id.
    pub fn addr(&self) -> String {
        let addrs = self.cli(&["id", "-f", "<addrs>"]);
        addrs.lines().next().expect("an address").to_owned()
    }

    /// Connects it to another node.
    pub fn connect(&self, other: &Self) {
        self.cli(&["swarm", "connect", &other.addr()]);
    }

    /// Adds bytes as `ipfs add` does by default; gives the root.
    pub fn add_bytes(&self, bytes: &[u8], flags: &[&str]) -> String {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("a writable file");
        let path = file.path().to_str().expect("a path of text");
        self.cli(&[&["add", "--quieter"], flags, &[path]].concat())
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
