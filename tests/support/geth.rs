//! geth in its development mode: the client that most nodes of the network run, mining alone.
//!
//! A transaction that arrives is mined at once, in a block of its own. Its clock can't be set, but every block is at
//! least a second later than the one before: time passes as fast as blocks are mined.

use std::net::SocketAddr;
use std::ops::Deref;
use std::process::Command;

use serde_json::{json, Value};
use tempfile::TempDir;

use super::anvil::quantity;
use super::json_rpc::JsonRpc;
use super::process::Process;
use super::{eventually, not_run, tool, PATIENCE};

/// Probes in vain, a hundred a second, until a transaction is taken for passed over.
const PROBES: u32 = 200;
/// Its chain's id, always.
pub const CHAIN_ID: u64 = 1337;

/// A chain of its own, with one unlocked account that has more ether than anybody needs. Dereferences to its
/// [`JsonRpc`].
pub struct Geth {
    process: Process,
    rpc: JsonRpc,
    owner: Value,
    _directory: TempDir,
}

impl Geth {
    /// A chain, or `None` (said and recorded) where geth is not installed.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Option<Self> {
        let Some(program) = tool("geth") else {
            not_run("geth", "tools/install geth, which needs Go");
            return None;
        };
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(program);
        command.args(["--dev", "--ipcdisable", "--nodiscover", "--maxpeers", "0", "--nousb"]);
        command.args(["--http", "--http.addr", "127.0.0.1", "--http.port", "0"]);
        command.args(["--http.api", "eth,net,web3,txpool,debug"]);
        command.args(["--authrpc.addr", "127.0.0.1", "--authrpc.port", "0"]);
        command.arg("--datadir").arg(directory.path());
        let process = Process::spawn(&command);
        let address: SocketAddr = process.wait_for_line("port", PATIENCE, |line| {
            let endpoint = line.split_once("HTTP server started")?.1.split_once("endpoint=")?.1;
            line.contains("auth=false").then(|| endpoint.split_whitespace().next()?.parse().ok())?
        });
        let rpc = JsonRpc::new(address);
        let owner = rpc.call("eth_accounts", json!([]))[0].take();
        Some(Self { process, rpc, owner, _directory: directory })
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Gives ether, in wei, to an account.
    pub fn fund(&self, account: &str, wei: u128) {
        self.send(json!({ "to": account, "value": format!("{wei:#x}") }));
    }

    /// The newest block's timestamp, in seconds since 1970.
    pub fn timestamp(&self) -> u64 {
        quantity(&self.call("eth_getBlockByNumber", json!(["latest", false]))["timestamp"])
    }

    /// Mines blocks until `seconds` have passed on the chain.
    pub fn advance(&self, seconds: u64) {
        let until = self.timestamp() + seconds;
        while self.timestamp() < until {
            self.mine(1);
        }
    }

    /// Mines `blocks` blocks, one after the other.
    pub fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.send(json!({ "to": self.owner }));
        }
    }

    /// Sends from the account that is there, and waits for the block.
    fn send(&self, mut transaction: Value) {
        transaction["from"] = self.owner.clone();
        let hash = self.call("eth_sendTransaction", json!([transaction]));
        self.eventually("block", || {
            // It refuses to tell of any receipt while it indexes its first blocks.
            let receipt = self.try_call("eth_getTransactionReceipt", json!([hash])).ok()?;
            (!receipt.is_null()).then_some(())
        });
    }

    /// Waits for something that the next block brings. A transaction that arrives while a block is being sealed may be passed
    /// over until another one arrives: now and then the owner sends one.
    pub fn eventually<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let mut probes = 0;
        eventually(what, PATIENCE, || {
            probes += 1;
            if probes % PROBES == 0 {
                self.call("eth_sendTransaction", json!([{ "from": self.owner, "to": self.owner }]));
            }
            probe()
        })
    }
}

impl Deref for Geth {
    type Target = JsonRpc;

    fn deref(&self) -> &JsonRpc {
        &self.rpc
    }
}
