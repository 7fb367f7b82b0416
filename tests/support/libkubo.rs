//! A foreign IPFS peer: Kubo's own core, with real bitswap, pins and DHT, through `tools/libkubo.py`.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command};
use std::time::Duration;

use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::{json, Value};
use tempfile::TempDir;

use super::process::Process;
use super::{not_run, root, tool, PATIENCE};

/// A Kubo node over a repository of its own, on loopback, without bootstrap peers.
pub struct LibKubo {
    process: Process,
    input: RefCell<ChildStdin>,
    answers: Cell<usize>,
    id: String,
    addrs: Vec<String>,
    repository: TempDir,
}

impl LibKubo {
    /// A running node, or `None` (said and recorded) where libkubo or Python is not installed.
    ///
    /// # Panics
    /// When the node does not come up.
    pub fn start() -> Option<Self> {
        let Some(python) = tool("python3") else {
            not_run("python3", "Debian: apt-get install python3");
            return None;
        };
        let installed =
            std::fs::read_dir(root().join(".tools/libkubo")).is_ok_and(|mut files| files.next().is_some());
        if !installed {
            let remedy =
                if cfg!(target_os = "linux") { "tools/install libkubo" } else { "it exists for Linux only" };
            not_run("libkubo", remedy);
            return None;
        }
        let repository = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(python);
        command.arg(root().join("tools/libkubo.py")).arg(repository.path());
        let (process, input) = Process::spawn_with_input(command);
        let mut node = Self {
            process,
            input: RefCell::new(input),
            answers: Cell::new(0),
            id: String::new(),
            addrs: Vec::new(),
            repository,
        };
        let hello = node.answer(PATIENCE).unwrap_or_else(|fault| panic!("libkubo does not start: {fault}"));
        node.id = hello["id"].as_str().expect("an id").to_owned();
        node.addrs = strings(&hello["addrs"]);
        Some(node)
    }

    /// The node's peer id, in base58.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A multiaddress to dial it at, ending in its id.
    pub fn addr(&self) -> String {
        format!("{}/p2p/{}", self.addrs[0], self.id)
    }

    /// Adds the file at `path` as `ipfs add` does, pins it and returns its CID.
    pub fn add(&self, path: &Path) -> String {
        text(&self.ask(json!({ "cmd": "add", "path": path })), "cid")
    }

    /// Adds `bytes` as a file.
    pub fn add_bytes(&self, bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new_in(self.repository.path()).expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("a writable file");
        self.add(file.path())
    }

    /// Fetches what `cid` refers to and pins it.
    ///
    /// # Errors
    /// Kubo's refusal, or silence for longer than `within`: after that the node is busy and answers nothing else.
    pub fn pin(&self, cid: &str, within: Duration) -> Result<(), String> {
        self.try_ask(json!({ "cmd": "pin", "cid": cid }), within).map(drop)
    }

    /// Removes the pin of `cid`.
    pub fn unpin(&self, cid: &str) {
        self.ask(json!({ "cmd": "unpin", "cid": cid }));
    }

    /// The CIDs of all pins, with the blocks that lie below them.
    pub fn pins(&self) -> Vec<String> {
        strings(&self.ask(json!({ "cmd": "pins" }))["cids"])
    }

    /// A file's bytes, fetched where they are missing.
    ///
    /// # Errors
    /// As [`LibKubo::pin`].
    pub fn cat(&self, cid: &str, within: Duration) -> Result<Vec<u8>, String> {
        let answer = self.try_ask(json!({ "cmd": "cat", "cid": cid }), within)?;
        Ok(BASE64_STANDARD.decode(text(&answer, "base64")).expect("base64"))
    }

    /// Writes the file or directory `cid` to `path`, fetched where it is missing.
    ///
    /// # Errors
    /// As [`LibKubo::pin`].
    pub fn download(&self, cid: &str, path: &Path, within: Duration) -> Result<(), String> {
        self.try_ask(json!({ "cmd": "download", "cid": cid, "path": path }), within).map(drop)
    }

    /// Dials a multiaddress that ends in a peer id.
    pub fn connect(&self, addr: &str) {
        self.ask(json!({ "cmd": "connect", "addr": addr }));
    }

    /// The ids of the connected peers.
    pub fn peers(&self) -> Vec<String> {
        strings(&self.ask(json!({ "cmd": "peers" }))["ids"])
    }

    /// The process, for tests that kill their peer.
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn ask(&self, request: Value) -> Value {
        self.try_ask(request.clone(), PATIENCE).unwrap_or_else(|fault| panic!("{request}: {fault}"))
    }

    fn try_ask(&self, request: Value, within: Duration) -> Result<Value, String> {
        writeln!(self.input.borrow_mut(), "{request}").map_err(|error| error.to_string())?;
        self.answer(within)
    }

    fn answer(&self, within: Duration) -> Result<Value, String> {
        let number = self.answers.replace(self.answers.get() + 1);
        let line = self.process.wait_until("answer", within, |record| {
            let ended =
                record.status.map(|status| Err(format!("libkubo ended: {status}: {:?}", record.stderr)));
            record.stdout.get(number).cloned().map(Ok).or(ended)
        })?;
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| format!("{error} in {line}"))?;
        match answer.get_mut("error") {
            Some(fault) => Err(fault.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer),
        }
    }
}

fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned()
}

fn strings(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).expect("a list of strings")
}
