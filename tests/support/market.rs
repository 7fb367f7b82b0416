//! An operator's directory on a chain with a market of its own.

use std::io::{self, BufReader};
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use scatter::adapters::ethereum::deploy::{deploy, fund};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::json_rpc::{self, Client};
use scatter_actors::domain::units::Address;
use scatter_actors::ports::keys::Keys;
use serde_json::Value;

use super::anvil::Anvil;
use super::geth::{self, Geth};
use super::http::Message;
use super::json_rpc::JsonRpc;
use super::place::Place;
use super::scatter::{Finished, Scatter};
use super::{eventually, PATIENCE};

/// A chain that mines when it is told to.
pub trait Miner: Deref<Target = JsonRpc> {
    /// Its chain's id.
    const CHAIN_ID: u64;
    /// An account with ether.
    fn owner(&self) -> Signer;
    /// Mines a block.
    fn mine_one(&self);
}

impl Miner for Anvil {
    const CHAIN_ID: u64 = 31_337;

    fn owner(&self) -> Signer {
        let key = hex::decode(self.keys()[0].trim_start_matches("0x")).unwrap();
        Signer::from_key(&key.try_into().unwrap()).unwrap()
    }

    fn mine_one(&self) {
        self.mine(1);
    }
}

impl Miner for Geth {
    const CHAIN_ID: u64 = geth::CHAIN_ID;

    fn owner(&self) -> Signer {
        let owner = Signer::from_key(&[0x0a; 32]).unwrap();
        self.fund(&owner.address().to_string(), 10_u128.pow(20));
        owner
    }

    fn mine_one(&self) {
        self.mine(1);
    }
}

/// A client of the node's own kind.
pub fn client(url: &str) -> Rc<Client> {
    Rc::new(Client::new(url, json_rpc::Config::default()).unwrap())
}

/// The operator's directory on a chain with a market of its own: a bidder's node, funded.
pub struct Market<C> {
    pub place: Place,
    pub chain: C,
    pub market: Address,
}

impl<C: Miner> Market<C> {
    /// Deploys the market and configures the node.
    pub fn on(chain: C) -> Self {
        let url = chain.url();
        Self::through(chain, &url)
    }

    /// The same for a node that finds its chain at another URL.
    pub fn through(chain: C, url: &str) -> Self {
        let (owner, place) = (chain.owner(), Place::new());
        let me = place.account.parse().unwrap();
        let deployed = actix_rt::System::new().block_on(async {
            let rpc = client(&chain.url());
            let deployed = deploy(rpc.clone(), &owner, &[("minDuration", 60)]).await.unwrap();
            fund(rpc, &owner, me, "1 ether".parse().unwrap()).await.unwrap();
            deployed
        });
        place.configure(&[
            ("validator = true", ""),
            ("log_format = \"text\"", "log_format = \"json\""),
            ("http://127.0.0.1:1/secret-api-key", url),
            ("chain_id = 31337", &format!("chain_id = {}", C::CHAIN_ID)),
            ("0x00000000000000000000000000000000000000aa", &deployed.market.to_string()),
            ("[wallet]", "confirmations = 1\npoll = \"100ms\"\n[wallet]"),
        ]);
        Self { place, chain, market: deployed.market }
    }

    /// Starts the node, and waits until it knows its chain.
    pub fn run(&self) -> Scatter {
        let node = self.start();
        node.wait_for_line("start", PATIENCE, |line| line.contains("running").then_some(()));
        eventually("a look at the chain", PATIENCE, || {
            let status = self.finish(&["status"]);
            (status.code() == 0 && !status.json()["chain"].is_null()).then_some(())
        });
        node
    }

    /// Starts the node.
    pub fn start(&self) -> Scatter {
        Scatter::start(self.place.path(), &["run", "--config", "node.toml"])
    }

    /// Runs a command to its answer while the chain goes on.
    pub fn answer(&self, args: &[&str]) -> Value {
        let ended = self.finish(args);
        assert_eq!(ended.code(), 0, "{args:?}: {ended:?}");
        ended.json()
    }

    /// Runs a command to its end while the chain goes on.
    pub fn finish(&self, args: &[&str]) -> Finished {
        let command =
            Scatter::start(self.place.path(), &[args, &["--config", "node.toml", "--json"]].concat());
        while command.status().is_none() {
            self.chain.mine_one();
            std::thread::sleep(Duration::from_millis(100));
        }
        command.finish(PATIENCE)
    }

    /// Posts an order to the node's socket, past its command line: status and answer.
    ///
    /// # Errors
    /// If no node is there, or it dies before it has answered.
    pub fn post(&self, path: &str, order: &Value) -> io::Result<(u16, Value)> {
        let mut stream = UnixStream::connect(self.place.path().join("data/control.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let message = Message::new(format!("POST {path} HTTP/1.0"), "application/json", order.to_string());
        message.with("host", "node").write(&mut stream)?;
        let answer = Message::read(&mut BufReader::new(stream))?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((answer.status().unwrap_or_default(), serde_json::from_slice(&answer.body)?))
    }
}
