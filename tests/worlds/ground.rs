//! A real chain that does nothing by itself: blocks come on demand, with the timestamps that a test says.

use std::rc::Rc;

use scatter::adapters::ethereum::deploy::{deploy_market, MARKET};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::json_rpc::{self, Client};
use scatter_actors::domain::market::Version;
use scatter_actors::domain::units::{Address, ChainTime};
use scatter_actors::ports::keys::Keys;
use serde_json::json;

use crate::support::anvil::{Anvil, Options};

/// The artifact of a market of version 1.
const TRAPS: &str = include_str!("../../contracts/artifacts/test/TrapMarket.json");

/// The chain, and accounts with ether on it.
pub struct Ground {
    pub anvil: Anvil,
    rpc: Rc<Client>,
    owner: Signer,
    keys: Vec<Signer>,
}

/// A market of its own on that chain.
pub struct Deployed {
    pub chain: Ethereum,
    pub keys: Vec<Signer>,
    pub address: Address,
}

impl Ground {
    /// A chain whose blocks keep the order in which transactions came.
    pub fn start() -> Option<Self> {
        let args = ["--order", "fifo"].map(str::to_owned).into();
        let anvil = Anvil::start_with(&Options { args, ..Options::default() })?;
        let rpc = Rc::new(Client::new(&anvil.url(), json_rpc::Config::default()).unwrap());
        let signer = |key: &String| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(key.trim_start_matches("0x"), &mut bytes).unwrap();
            Signer::from_key(&bytes).unwrap()
        };
        let mut keys: Vec<Signer> = anvil.keys().iter().map(signer).collect();
        // Its nonces are its own business.
        let owner = keys.pop().unwrap();
        Some(Self { anvil, rpc, owner, keys })
    }

    /// Puts a market by those rules there, with the model's terms, and stops mining by itself.
    pub async fn deploy(&self, version: Version) -> Deployed {
        self.mines_alone(true);
        let artifact = match version {
            Version::V2 => MARKET,
            Version::Legacy => TRAPS,
        };
        let at = deploy_market(self.rpc.clone(), &self.owner, artifact, &[("minBid", 1)]).await.unwrap();
        let chain = Ethereum::new(self.rpc.clone(), Config { router: Some(at.router), ..Config::default() });
        let keys = self.keys.iter().map(|key| key.clone().with_directory(chain.directory())).collect();
        chain.contracts().await.unwrap();
        self.mines_alone(false);
        Deployed { chain, keys, address: at.market }
    }

    pub fn addresses(&self) -> Vec<Address> {
        self.keys.iter().map(Keys::address).collect()
    }

    fn mines_alone(&self, alone: bool) {
        self.anvil.call("evm_setAutomine", json!([alone]));
    }

    /// A block with all that waits, at that time.
    pub fn block_at(&self, time: ChainTime) {
        self.anvil.set_next_timestamp(time.0);
        self.anvil.mine(1);
    }
}
