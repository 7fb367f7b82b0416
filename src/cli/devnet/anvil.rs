//! The chain: an Anvil that mines by the clock, and whose clock can be moved.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use scatter_actors::domain::units::{Address, ChainTime, Wei};
use scatter_actors::ports::chain::{Chain, Header};
use serde_json::{json, Value};

use super::child::Child;
use super::files::{self, Files};
use crate::adapters::ethereum::{self, Ethereum};
use crate::adapters::json_rpc::{self, Client};
use crate::exit::{Code, Fault};

/// Anvil's own.
pub const CHAIN_ID: u64 = 31_337;
/// Seconds from block to block.
const BLOCK_TIME: &str = "0.25";
/// Blocks that are mined at once behind a jump, so that the first of them is final.
const FINAL_DEPTH: u64 = 2;
/// Anvil may take so long to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(20);

/// A running chain.
pub struct Anvil {
    child: Child,
    url: String,
    rpc: Rc<Client>,
}

impl Anvil {
    /// Starts a chain, guarded so that it ends with this process.
    ///
    /// # Errors
    /// If Anvil does not come up.
    pub async fn start(scatter: &Path, anvil: &Path, files: &Files, keep: bool) -> Result<Self, Fault> {
        let mut command = Command::new(scatter);
        command.arg("devnet-guard");
        if !keep {
            command.arg("--scratch").arg(files.scratch());
        }
        command.arg("--").arg(anvil);
        command.args(["--host", "127.0.0.1", "--port", "0", "--chain-id", &CHAIN_ID.to_string()]);
        command.args(["--block-time", BLOCK_TIME, "--slots-in-an-epoch", "1"]);
        let mut child = Child::spawn("anvil", command, &files.log("anvil"))?;
        let url = listening(&mut child).await?;
        let client = json_rpc::Client::new(&url, json_rpc::Config::default());
        let rpc = client.map_err(|error| Fault::new(Code::Bug, format!("{url}: {error}")))?;
        Ok(Self { child, url, rpc: Rc::new(rpc) })
    }

    /// Where it is asked.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The way to it.
    pub fn rpc(&self) -> Rc<Client> {
        self.rpc.clone()
    }

    /// The chain with its market.
    pub fn chain(&self, contracts: ethereum::Config) -> Ethereum {
        Ethereum::new(self.rpc.clone(), contracts)
    }

    /// Gives ether to an account, out of nothing.
    ///
    /// # Errors
    /// If Anvil does not answer.
    pub async fn fund(&self, who: Address, amount: Wei) -> Result<(), Fault> {
        self.ask("anvil_setBalance", json!([who, format!("{:#x}", amount.0)])).await
    }

    /// The newest block.
    ///
    /// # Errors
    /// If Anvil does not answer.
    pub async fn head(&self) -> Result<Header, Fault> {
        self.chain(ethereum::Config::default())
            .head()
            .await
            .map_err(|error| Fault::new(Code::Unreachable, error))
    }

    /// Moves the chain's clock forward to a moment and mines blocks there until the first is final.
    ///
    /// # Errors
    /// If Anvil does not answer.
    pub async fn jump(&self, to: ChainTime) -> Result<(), Fault> {
        // Blocks come by themselves: one may have passed the moment already.
        if to > self.head().await?.time {
            self.ask("evm_setNextBlockTimestamp", json!([to.0])).await?;
        }
        for _ in 0..=FINAL_DEPTH {
            self.ask("evm_mine", json!([])).await?;
        }
        Ok(())
    }

    /// A fault, if it has ended.
    ///
    /// # Errors
    /// That fault.
    pub fn still_runs(&mut self) -> Result<(), Fault> {
        self.child.still_runs()
    }

    /// Ends it.
    pub async fn end(&mut self, within: Duration) {
        self.child.end(within).await;
    }

    async fn ask(&self, method: &'static str, params: Value) -> Result<(), Fault> {
        // The answer may be null, which is fine.
        let answer = self.rpc.find::<Value>(method, params).await;
        answer.map(drop).map_err(|error| Fault::new(Code::Unreachable, error))
    }
}

/// Waits for the line that tells the port.
async fn listening(child: &mut Child) -> Result<String, Fault> {
    for _ in 0..=PATIENCE.as_millis() / PAUSE.as_millis() {
        child.still_runs()?;
        let said = files::read(child.log()).unwrap_or_default();
        if let Some(address) = said.lines().find_map(|line| line.strip_prefix("Listening on ")) {
            return Ok(format!("http://{address}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let text = format!("anvil did not start within {} s: see {}", PATIENCE.as_secs(), child.log().display());
    Err(Fault::new(Code::Unreachable, text))
}

/// The installed program.
///
/// # Errors
/// If there is none.
pub fn find() -> Result<PathBuf, Fault> {
    files::program("anvil").ok_or_else(|| {
        let text = "anvil is not installed: it is the chain of a devnet. Install Foundry (https://getfoundry.sh), or run \
                    tools/install anvil in Scatter's source tree";
        Fault::new(Code::Usage, text)
    })
}
