//! A wallet that is killed, at the worst moments and at any: what was wanted is mined once, and no nonce is left out.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use scatter_actors::domain::cids::{self, of_file};
use scatter_actors::domain::units::FileHash;
use serde_json::{json, Value};

use crate::support::anvil::{quantity, Anvil, Options};
use crate::support::fault_proxy::{Fate, FaultProxy, Moment};
use crate::support::market::Market;
use crate::support::process::Killer;
use crate::support::scatter::Scatter;
use crate::support::{eventually, PATIENCE};

/// How often the wallet is killed at random.
const KILLS: u64 = 50;
/// The amount of a bid is this and its number, so that each is known by its value.
const AMOUNT: u64 = 1_000_000_000;
const POOL: u64 = 10;
const SEND: &str = "eth_sendRawTransaction";

/// Kills one process, the latest.
#[derive(Default)]
struct Fuse {
    lives: u64,
    killer: Option<Killer>,
}

/// A bidder's node that speaks with its chain through a proxy.
struct Purse {
    market: Market<Anvil>,
    proxy: FaultProxy,
    /// What kills the node as it is now, once. Who holds the lock knows that the node's number is still its own.
    fuse: Arc<Mutex<Fuse>>,
}

impl Purse {
    fn open() -> Option<Self> {
        let options = Options { block_time: Some(0.2), ..Options::default() };
        let anvil = Anvil::start_with(&options)?;
        let proxy = FaultProxy::start(*anvil);
        let market = Market::through(anvil, &proxy.url());
        Some(Self { market, proxy, fuse: Arc::default() })
    }

    /// Starts the node, and kills it at the first moment of a call for which `is_meant`. A call that was not forwarded
    /// yet is lost. Calls of an earlier life that are still under way don't count.
    fn start(&self, is_meant: impl Fn(&str, usize, Moment) -> bool + Send + Sync + 'static) -> Scatter {
        let life = {
            let mut fuse = self.fuse.lock().unwrap();
            fuse.lives += 1;
            fuse.lives
        };
        let fuse = self.fuse.clone();
        self.proxy.set_rule(move |call, moment| {
            let mut fuse = fuse.lock().unwrap();
            if fuse.lives != life || !is_meant(&call.method, call.nth, moment) {
                return Fate::Pass;
            }
            match fuse.killer.take() {
                None => Fate::Pass,
                Some(killer) => {
                    killer.kill();
                    if moment == Moment::Request {
                        Fate::HangUp
                    } else {
                        Fate::Pass
                    }
                }
            }
        });
        let node = self.market.start();
        self.fuse.lock().unwrap().killer = Some(node.killer());
        node
    }

    /// Kills the node after some time, if it still lives.
    fn kill_after(&self, time: Duration) {
        let (fuse, life) = (self.fuse.clone(), self.fuse.lock().unwrap().lives);
        thread::spawn(move || {
            thread::sleep(time);
            let mut fuse = fuse.lock().unwrap();
            if fuse.lives == life {
                fuse.killer.take().into_iter().for_each(Killer::kill);
            }
        });
    }

    /// Waits for the end of a node that is killed.
    fn is_killed(&self, node: &Scatter) {
        let status = node.wait(PATIENCE);
        self.fuse.lock().unwrap().killer = None;
        assert_eq!(status.signal(), Some(9), "{}", node.output());
    }

    /// Wants bids by their numbers, for as long as the node lives; tells whether it heard of all.
    fn want(&self, node: &Scatter, numbers: impl IntoIterator<Item = u64>) -> bool {
        let file = of_file(FileHash([7; 32]));
        assert!(cids::file_hash(&file).is_some());
        for number in numbers {
            let bid = json!({
                "request": number, "cid": file.to_string(), "size": 1, "amount": (AMOUNT + number).to_string(),
                "pool": POOL.to_string(), "duration": 60, "min_validations": 1,
            });
            // The socket and the listener's first look at the chain come some time after the process.
            let heard = eventually("a word of the node", PATIENCE, || match self.market.post("/bid", &bid) {
                Ok((200, _)) => Some(true),
                answer if node.status().is_some() => Some(answer.is_ok_and(|(status, _)| status == 200)),
                _ => None,
            });
            if !heard {
                return false;
            }
        }
        true
    }

    fn nonce(&self, block: &str) -> u64 {
        let count = self.market.chain.call("eth_getTransactionCount", json!([self.account(), block]));
        quantity(&count)
    }

    fn account(&self) -> &str {
        &self.market.place.account
    }

    /// All bids are mined, each once, at nonces without a gap, and nothing else was sent.
    fn assert_mined_once(&self, bids: u64) {
        let head = self.market.chain.block_number();
        let mut sent = Vec::new();
        for number in 0..=head {
            let number = json!([format!("{number:#x}"), true]);
            let block = self.market.chain.call("eth_getBlockByNumber", number);
            let all = block["transactions"].as_array().unwrap();
            sent.extend(all.iter().filter(|tx| tx["from"] == self.account()).cloned());
        }
        let nonces: Vec<u64> = sent.iter().map(|tx| quantity(&tx["nonce"])).collect();
        assert_eq!(nonces, (0..sent.len() as u64).collect::<Vec<_>>(), "no gap");
        let mined: Vec<&Value> = sent.iter().filter(|tx| quantity(&tx["value"]) != 0).collect();
        let values: BTreeSet<u64> = mined.iter().map(|tx| quantity(&tx["value"])).collect();
        assert_eq!(values, (0..bids).map(|number| AMOUNT + number + POOL).collect(), "each bid");
        assert_eq!(mined.len(), sent.len(), "each once, and no nonce for nothing");
        for tx in mined {
            let receipt = self.market.chain.receipt(&tx["hash"]);
            assert_eq!(quantity(&receipt["status"]), 1, "{receipt}");
        }
        assert_eq!((self.nonce("latest"), self.nonce("pending")), (bids, bids));
    }
}

#[test]
fn a_wallet_killed_at_a_send_or_its_response_sends_each_transaction_once() {
    let Some(purse) = Purse::open() else { return };
    let mut bids = 0;
    for moment in [Moment::Request, Moment::Response] {
        // The first of several that are in flight together, and one of those that follow it.
        for later in [0, 2] {
            let meant = purse.proxy.count(SEND) + later;
            let node = purse.start(move |method, nth, now| method == SEND && nth == meant && now == moment);
            purse.want(&node, bids..bids + 6);
            purse.is_killed(&node);
            let node = purse.start(|_, _, _| false);
            assert!(purse.want(&node, bids..bids + 6), "{}", node.output());
            bids += 6;
            eventually("all bids", PATIENCE, || (purse.nonce("latest") >= bids).then_some(()));
            node.kill();
            let sends = purse.proxy.calls().into_iter().filter(|call| call.method == SEND);
            let bytes: Vec<_> = sends.map(|call| call.params).collect();
            if moment == Moment::Request {
                assert!(
                    bytes[meant + 1..].contains(&bytes[meant]),
                    "what was lost goes out as it was signed"
                );
            }
            purse.assert_mined_once(bids);
        }
    }
}

#[test]
fn a_wallet_killed_at_fifty_random_instants_sends_each_transaction_once() {
    let Some(purse) = Purse::open() else { return };
    let seed = std::env::var("SCATTER_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("SCATTER_KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut bids, mut heard, mut interrupted) = (0, 0, 0);
    for _ in 0..KILLS {
        // The clock decides, or an earlier moment of its calls: of all calls, or of sends, where most is at stake.
        let (of_sends, mut left) = (random.gen(), random.gen_range(1..80_u32));
        if of_sends {
            left = random.gen_range(1..5);
        }
        let left = Mutex::new(left);
        let node = purse.start(move |method, _, _| {
            let left = &mut *left.lock().unwrap();
            *left = left.saturating_sub(u32::from(!of_sends || method == SEND));
            *left == 0
        });
        purse.kill_after(Duration::from_millis(random.gen_range(0..2_500)));
        // What a dead node may not have heard is wanted again: the same wish twice is one bid.
        if purse.want(&node, heard..bids + 2) {
            heard = bids + 2;
        }
        bids += 2;
        purse.is_killed(&node);
        interrupted += u64::from((1..bids).contains(&purse.nonce("pending")));
    }
    let node = purse.start(|_, _, _| false);
    assert!(purse.want(&node, 0..bids), "{}", node.output());
    eventually("all bids", 2 * PATIENCE, || (purse.nonce("latest") >= bids).then_some(()));
    node.kill();
    let sends = purse.proxy.count(SEND);
    eprintln!(
        "{bids} bids, {sends} sends; {interrupted} of {KILLS} kills came between the first send and the last"
    );
    purse.assert_mined_once(bids);
}
