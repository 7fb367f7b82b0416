//! 2,000 bids of one account into Anvil: by the wallet with every durability write on; by the floor, which has the same
//! transactions signed beforehand and only asks `eth_call`, sends and reads the receipt of each, through the same HTTP
//! client with as many in flight; and by what people use instead, ethers.js with its NonceManager (`tools/install ethers`).
//! Then a wallet that has 10,000 transactions to send is started anew.
//!
//! Anvil mines each transaction at once. With blocks by the clock all three would wait for the same clock most of the
//! time, and look alike.

// A benchmark that can't go on ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "wallet/floor.rs"]
mod floor;
#[path = "wallet/ours.rs"]
mod ours;
#[path = "../tests/support/mod.rs"]
mod support;

use std::rc::Rc;
use std::time::Duration;

use scatter::adapters::ethereum::deploy::{deploy, fund, Deployed};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::json_rpc::Client;
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{ByteSize, FileHash, Wei};
use scatter_actors::ports::chain::{At, Chain as _};
use scatter_actors::ports::keys::Keys;
use serde_json::json;
use support::anvil::Anvil;
use support::market::{client, Miner};

/// Transactions of a turn.
const INTENTS: u64 = 2_000;
/// Transactions under way at the same time.
const IN_FLIGHT: usize = 32;
/// Turns; the middle one counts.
const TURNS: usize = 3;
/// Transactions to be sent by a wallet that is started anew.
const PENDING: u64 = 10_000;

/// A fresh chain with a market and an account that can pay.
pub struct Chain {
    anvil: Anvil,
    at: Deployed,
    key: [u8; 32],
}

impl Chain {
    fn start() -> Option<Self> {
        let anvil = Anvil::start()?;
        let (rpc, owner, key) = (client(&anvil.url()), anvil.owner(), [0x0b; 32]);
        let at = actix_rt::System::new().block_on(async {
            let at = deploy(rpc.clone(), &owner, &[("minDuration", 60)]).await.unwrap();
            let me = Signer::from_key(&key).unwrap().address();
            fund(rpc, &owner, me, "1000 ether".parse().unwrap()).await.unwrap();
            at
        });
        Some(Self { anvil, at, key })
    }

    /// A client, the chain behind it, and the account's key.
    fn parts(&self) -> (Rc<Client>, Rc<Ethereum>, Signer) {
        let rpc = client(&self.anvil.url());
        let config = Config { market: Some(self.at.market), ..Config::default() };
        let chain = Ethereum::new(rpc.clone(), config);
        let key = Signer::from_key(&self.key).unwrap().with_directory(chain.directory());
        (rpc, Rc::new(chain), key)
    }

    /// Every bid is there, and nothing else was sent.
    fn assert_done(&self) {
        actix_rt::System::new().block_on(async {
            let (_, chain, key) = self.parts();
            assert_eq!(chain.bid_count(self.at.market).await.unwrap(), INTENTS);
            assert_eq!(chain.nonce(key.address(), At::Latest).await.unwrap(), INTENTS);
        });
    }
}

/// A bid that differs from the others by its amount.
fn bid(number: u64) -> MarketCall {
    MarketCall::Bid {
        file: FileHash([7; 32]),
        size: ByteSize(1),
        duration: 60,
        amount: Wei::from(1_000_000_000 + u128::from(number)),
        pool: Wei::from(10),
        min_validations: 1,
    }
}

fn main() {
    let (mut wallet, mut floor, mut ethers) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        let run = |run: fn(&Chain) -> Option<Duration>, times: &mut Vec<Duration>| {
            let chain = Chain::start().expect("Anvil: tools/install anvil");
            let took = run(&chain);
            took.inspect(|_| chain.assert_done()).inspect(|took| times.push(*took))
        };
        let (bare, ours) = (run(floor::bare, &mut floor), run(ours::all, &mut wallet));
        let theirs = run(floor::ethers, &mut ethers);
        println!("turn {turn}: floor {bare:?}, wallet {ours:?}, ethers.js {theirs:?}");
    }
    let chain = Chain::start().expect("Anvil");
    let ready = ours::restart(&chain);
    println!("a wallet with {PENDING} transactions to send is ready {ready:?} after its start");
    let rate = |took: Duration| (INTENTS as f64 / took.as_secs_f64()).round();
    let (ours, floor) = (median(wallet).expect("turns"), median(floor).expect("turns"));
    let ethers = median(ethers);
    println!(
        "{}",
        json!({
            "name": "wallet", "ours": rate(ours), "floor": rate(floor), "ratio": ratio(floor, ours),
            "unit": "transactions/s", "transactions": INTENTS, "in_flight": IN_FLIGHT, "turns": TURNS,
            "ethers_js": ethers.map(rate), "ratio_to_ethers_js": ethers.map(|theirs| ratio(theirs, ours)),
            "chain": "anvil, a block per transaction",
            "restart_transactions": PENDING, "restart_ready_ms": ready.as_millis() as u64,
            "ours_includes": "eth_call, gas estimate, fees, signature, receipt, every record durable before its effect",
        })
    );
}

/// The middle of some times.
fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

/// A ratio, rounded to two digits.
fn ratio(of: Duration, to: Duration) -> f64 {
    (of.as_secs_f64() / to.as_secs_f64() * 100.0).round() / 100.0
}
