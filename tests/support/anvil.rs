//! Anvil: a real Ethereum client that mines on demand, sets its clock and reorganises its chain.

use std::net::SocketAddr;
use std::ops::Deref;
use std::process::Command;

use serde_json::{json, Value};

use super::json_rpc::JsonRpc;
use super::process::Process;
use super::{eventually, not_run, tool, PATIENCE};

/// How an Anvil is started. The default mines a block per transaction and finalizes what lies two blocks below the head.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Seconds between blocks; without it a block per transaction, at once.
    pub block_time: Option<f64>,
    /// Chain id; Anvil's own is 31337.
    pub chain_id: Option<u64>,
    /// Further arguments of the command line.
    pub args: Vec<String>,
}

/// A chain of its own, with ten unlocked and funded accounts. Dereferences to its [`JsonRpc`].
pub struct Anvil {
    process: Process,
    rpc: JsonRpc,
    keys: Vec<String>,
}

impl Anvil {
    /// A chain with the default options, or `None` (said and recorded) where Anvil is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&Options::default())
    }

    /// A chain with `options`, or `None` (said and recorded) where Anvil is not installed.
    ///
    /// # Panics
    /// When Anvil does not come up.
    pub fn start_with(options: &Options) -> Option<Self> {
        let Some(program) = tool("anvil") else {
            not_run("Anvil", "tools/install anvil");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", "0", "--slots-in-an-epoch", "1"]);
        if let Some(seconds) = options.block_time {
            command.args(["--block-time", &seconds.to_string()]);
        }
        if let Some(id) = options.chain_id {
            command.args(["--chain-id", &id.to_string()]);
        }
        command.args(&options.args);
        let process = Process::spawn(&command);
        let address: SocketAddr = process.wait_for_line("port", PATIENCE, |line| {
            line.strip_prefix("Listening on ").and_then(|address| address.parse().ok())
        });
        // The banner, before that line, lists "(0) 0xADDRESS (…)", then "(0) 0xKEY" with twice as many digits.
        let keys = process.stdout().iter().filter_map(|line| private_key(line)).collect();
        Some(Self { process, rpc: JsonRpc::new(address), keys })
    }

    /// The process, for tests that stop or kill their chain.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The addresses of the funded accounts, in hexadecimal.
    pub fn accounts(&self) -> Vec<String> {
        let accounts = self.call("eth_accounts", json!([]));
        serde_json::from_value(accounts).expect("a list of addresses")
    }

    /// The private keys of [`Anvil::accounts`], in the same order: publicly known, worth nothing anywhere else.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The number of the head.
    pub fn block_number(&self) -> u64 {
        quantity(&self.call("eth_blockNumber", json!([])))
    }

    /// The block at `number`, or a tag such as `"latest"` or `"finalized"`.
    pub fn block(&self, number: impl Into<Value>) -> Value {
        let number = match number.into() {
            Value::Number(number) => json!(format!("{:#x}", number.as_u64().expect("a block number"))),
            tag => tag,
        };
        self.call("eth_getBlockByNumber", json!([number, false]))
    }

    /// The head's timestamp, in seconds since 1970.
    pub fn timestamp(&self) -> u64 {
        quantity(&self.block("latest")["timestamp"])
    }

    /// Mines `blocks` blocks at once.
    pub fn mine(&self, blocks: u64) {
        self.call("anvil_mine", json!([format!("{blocks:#x}")]));
    }

    /// Moves the chain's clock by `seconds` and mines a block there.
    pub fn advance(&self, seconds: u64) {
        self.call("evm_increaseTime", json!([seconds]));
        self.mine(1);
    }

    /// Sets the timestamp of the next block, in seconds since 1970.
    pub fn set_next_timestamp(&self, seconds: u64) {
        self.call("evm_setNextBlockTimestamp", json!([seconds]));
    }

    /// Replaces the newest `depth` blocks by as many others, without their transactions.
    pub fn reorg(&self, depth: u64) {
        self.call("anvil_reorg", json!([depth, []]));
    }

    /// The balance of `address`, in wei. Balances of tests fit 128 bits.
    pub fn balance(&self, address: &str) -> u128 {
        let balance = self.call("eth_getBalance", json!([address, "latest"]));
        u128::from_str_radix(digits(&balance), 16).expect("a balance")
    }

    /// Sends a transaction from an unlocked account and returns its receipt.
    ///
    /// # Panics
    /// When Anvil refuses it, or does not mine it within [`PATIENCE`].
    pub fn send(&self, transaction: Value) -> Value {
        let hash = self.call("eth_sendTransaction", json!([transaction]));
        self.receipt(&hash)
    }

    /// The receipt of a transaction, once it is mined.
    ///
    /// # Panics
    /// When it is not mined within [`PATIENCE`].
    pub fn receipt(&self, hash: &Value) -> Value {
        eventually("receipt", PATIENCE, || {
            let receipt = self.call("eth_getTransactionReceipt", json!([hash]));
            (!receipt.is_null()).then_some(receipt)
        })
    }
}

impl Deref for Anvil {
    type Target = JsonRpc;

    fn deref(&self) -> &JsonRpc {
        &self.rpc
    }
}

/// The number in a hexadecimal JSON-RPC quantity.
///
/// # Panics
/// When it is none, or needs more than 64 bits.
pub fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(digits(value), 16).expect("a quantity of 64 bits")
}

fn digits(value: &Value) -> &str {
    value.as_str().and_then(|text| text.strip_prefix("0x")).unwrap_or_else(|| panic!("no quantity: {value}"))
}

fn private_key(line: &str) -> Option<String> {
    let word = line.strip_prefix('(')?.split_once(") ")?.1;
    (word.len() == 66 && word.starts_with("0x")).then(|| word.to_owned())
}
