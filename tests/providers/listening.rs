//! The node's own listener on a chain, and the chain's own word for what it should know.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use scatter::adapters::ethereum::Ethereum;
use scatter::adapters::json_rpc::{self, Client, Standing};
use scatter::adapters::sqlite::Sqlite;
use scatter::adapters::system_clock::SystemClock;
use scatter_actors::chain_listener::{self, ChainListener};
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::BidId;
use scatter_actors::ports::store::{self, Order};
use scatter_actors::records::journal::Fact;
use scatter_actors::supervisor::Guard;
use serde_json::json;

use crate::support::anvil::quantity;
use crate::support::PATIENCE;
use crate::world::{by_router, offer, World, FILE};

/// A client that gives up soon and looks often, as tests on loopback should.
pub fn hasty() -> json_rpc::Config {
    json_rpc::Config {
        idle: Duration::from_millis(300),
        probe: Duration::from_millis(100),
        chain: Some(31_337),
        ..json_rpc::Config::default()
    }
}

/// The place of an event: block, index, transaction.
type Place = (u64, u32, String);

/// A listener at work.
pub struct Listening {
    pub rpc: Rc<Client>,
    store: Rc<Sqlite>,
    actor: Addr<ChainListener>,
    _directory: tempfile::TempDir,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.actor.do_send(scatter_actors::supervisor::Drain);
    }
}

impl Listening {
    /// Listens to the world's market through these providers, from its first block and without waiting for depth.
    pub fn start(world: &World, urls: &[String], config: json_rpc::Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Rc::new(Sqlite::open(&directory.path().join("scatter.db")).unwrap());
        let rpc = Rc::new(Client::of_several(&urls[0], &urls[1..], config).unwrap());
        let chain = Rc::new(Ethereum::new(rpc.clone(), by_router(&world.at)));
        let config = chain_listener::Config {
            chain_id: 31_337,
            confirmations: 0,
            poll_ms: 20,
            max_range: 5,
            ..chain_listener::Config::default()
        };
        let ports = chain_listener::Ports { chain, store: store.clone(), clock: Rc::new(SystemClock::new()) };
        let actor =
            ChainListener::new(config, ports, chain_listener::Outbox::default(), Guard::none()).start();
        Self { rpc, store, actor, _directory: directory }
    }

    /// What the journal holds and has not taken back.
    fn known(&self) -> BTreeSet<Place> {
        let mut known = BTreeSet::new();
        for fact in store::list::<Fact>(&*self.store, &[], Order::Ascending, usize::MAX).unwrap() {
            let place = (fact.at.block.0, fact.at.log, fact.at.tx.to_string());
            match fact.retracted {
                true => assert!(known.remove(&place), "{place:?} is taken back and was not there"),
                false => assert!(known.insert(place.clone()), "{place:?} is there twice"),
            }
        }
        known
    }

    /// Waits until the journal is what the chain itself tells.
    pub async fn knows_the_truth(&self, world: &World, when: &str) {
        let truth = truth(world);
        assert!(!truth.is_empty());
        let deadline = Instant::now() + PATIENCE;
        while self.known() != truth {
            let known = self.known();
            let standings = self.rpc.standings();
            assert!(Instant::now() < deadline, "{when}: {known:#?} is not {truth:#?}: {standings:#?}");
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the providers stand so.
    pub async fn eventually(&self, what: &str, is: impl Fn(&[Standing]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(&self.rpc.standings()) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.rpc.standings());
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// All logs of the market's contracts, as the chain tells them to a client that has nothing in common with the node's.
fn truth(world: &World) -> BTreeSet<Place> {
    let filter =
        json!({ "address": [world.at.market, world.at.register], "fromBlock": "0x0", "toBlock": "latest" });
    let logs = world.anvil.call("eth_getLogs", json!([filter]));
    let place = |log: &serde_json::Value| {
        let index = u32::try_from(quantity(&log["logIndex"])).unwrap();
        (quantity(&log["blockNumber"]), index, log["transactionHash"].as_str().unwrap().to_owned())
    };
    logs.as_array().unwrap().iter().map(place).collect()
}

/// Bids over a dozen blocks, some empty, some final.
pub async fn some_history(world: &World) {
    world.chain.contracts().await.unwrap();
    for voter in [3, 4] {
        world.send(voter, MarketCall::Register(FILE)).await;
    }
    for bid in 0..3 {
        world.send(1, offer()).await;
        world.send(2, MarketCall::Accept(BidId(bid))).await;
        world.anvil.mine(2);
    }
}

/// One bid more.
pub async fn something_more(world: &World) {
    world.send(1, offer()).await;
}
