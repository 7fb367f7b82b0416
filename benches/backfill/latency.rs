//! The latency: from a block's first being served by a chain that mines each 100 ms to the BidFilter's verdict on the bid
//! in it, with no confirmations wanted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::Actor;
use scatter::adapters::disk::DataDisk;
use scatter::adapters::ethereum::deploy::deploy;
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::json_rpc::{self, Client};
use scatter::adapters::sqlite::Sqlite;
use scatter::adapters::system_clock::SystemClock;
use scatter_actors::bid_filter::{self, BidFilter};
use scatter_actors::chain_listener::{self, ChainListener};
use scatter_actors::domain::admission::Policy;
use scatter_actors::domain::market::{MarketCall, MarketEvent};
use scatter_actors::domain::units::{Address, ByteSize, FileHash, Wei};
use scatter_actors::ports::chain::{At, Chain};
use scatter_actors::ports::keys::{Fees, Keys, Unsigned};
use scatter_actors::ports::store::{self, Batch, Change, Error, Order, Row, Store, Table};
use scatter_actors::records::journal::Fact;
use scatter_actors::supervisor::Guard;
use serde_json::{json, Value};

use crate::support::anvil::{Anvil, Options};

/// Blocks that are looked at.
const BLOCKS: usize = 1_000;
/// Milliseconds from block to block, and between two looks at the head.
const POLL_MS: u64 = 100;

/// The store, which notes when a verdict became durable.
struct Watched {
    store: Sqlite,
    verdicts: RefCell<BTreeMap<u64, Instant>>,
}

impl Store for Watched {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.store.get(table, key)
    }
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        self.store.scan(table, from, until, order, limit)
    }
    fn commit(&self, batch: Batch) -> Result<(), Error> {
        let subjects: Vec<u64> = batch
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Put(Table::Decisions, _, doc) => {
                    let decision: Value = serde_json::from_slice(doc).unwrap();
                    decision["subject"].as_str().unwrap().rsplit(':').next().unwrap().parse().ok()
                }
                _ => None,
            })
            .collect();
        self.store.commit(batch)?;
        for bid in subjects {
            self.verdicts.borrow_mut().entry(bid).or_insert_with(Instant::now);
        }
        Ok(())
    }
}

fn policy() -> Policy {
    Policy {
        accept: true,
        min_price: Wei::ZERO,
        sizes: (ByteSize(1), ByteSize(u64::MAX)),
        durations: (1, u64::MAX),
        max_storage: ByteSize(u64::MAX),
        min_free_disk: ByteSize(0),
        allow: Vec::new(),
        deny: Vec::new(),
        assumed_speed: 1 << 30,
    }
}

/// The latencies in milliseconds: median, p99, most; `null` where Anvil is not installed.
pub fn run() -> Value {
    let Some(anvil) = Anvil::start_with(&Options { block_time: Some(0.1), ..Options::default() }) else {
        return Value::Null;
    };
    let served: Arc<Mutex<BTreeMap<u64, Instant>>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    let (watcher, seen, rpc) = (Arc::clone(&done), served.clone(), *anvil);
    let watcher = std::thread::spawn(move || {
        while !watcher.load(Ordering::Relaxed) {
            let text = rpc.call("eth_blockNumber", json!([]));
            let number = u64::from_str_radix(text.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
            seen.lock().unwrap().entry(number).or_insert_with(Instant::now);
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let store = Rc::new(Watched {
        store: Sqlite::open(&directory.path().join("store.sqlite")).unwrap(),
        verdicts: RefCell::default(),
    });
    actix_rt::System::new().block_on(listen(&anvil, &store, directory.path()));
    done.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    let served = served.lock().unwrap();
    let verdicts = store.verdicts.borrow();
    let mut latencies: BTreeMap<u64, f64> = BTreeMap::new();
    store::visit::<Fact>(&*store, &[], |fact| {
        let MarketEvent::BidPlaced { bid, .. } = fact.event else { return };
        let (Some(verdict), Some(served)) = (verdicts.get(&bid.0), served.get(&fact.at.block.0)) else {
            return;
        };
        let ms = verdict.saturating_duration_since(*served).as_secs_f64() * 1000.0;
        let worst = latencies.entry(fact.at.block.0).or_default();
        *worst = worst.max(ms);
    })
    .unwrap();
    let mut all: Vec<f64> = latencies.into_values().collect();
    all.sort_by(f64::total_cmp);
    let at = |part: f64| (all[((all.len() - 1) as f64 * part) as usize] * 10.0).round() / 10.0;
    json!({
        "unit": "ms", "blocks": all.len(), "poll": POLL_MS, "p50": at(0.5), "p99": at(0.99), "most": at(1.0),
        "allowed_p99": POLL_MS + 50,
    })
}

/// Runs the listener and the filter until enough blocks with bids were judged.
async fn listen(anvil: &Anvil, store: &Rc<Watched>, directory: &std::path::Path) {
    let client = || Rc::new(Client::new(&anvil.url(), json_rpc::Config::default()).unwrap());
    let key = |n: usize| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(anvil.keys()[n].trim_start_matches("0x"), &mut bytes).unwrap();
        Signer::from_key(&bytes).unwrap()
    };
    let terms = [("minDuration", 60), ("voteDuration", 600), ("offerDuration", 3_600)];
    let at = deploy(client(), &key(0), &terms).await.unwrap();
    let chain = || Rc::new(Ethereum::new(client(), Config { router: Some(at.router), ..Config::default() }));
    let clock = Rc::new(SystemClock::new());

    let judge =
        bid_filter::Config { policy: policy(), confirmations: 0, block_time: 1, me: Address([9; 20]) };
    let ports = bid_filter::Ports {
        chain: chain(),
        store: store.clone(),
        clock: clock.clone(),
        disk: Rc::new(DataDisk::new(directory)),
    };
    let filter = BidFilter::new(judge, ports, bid_filter::Outbox::default(), Guard::none()).start();
    let mut outbox = chain_listener::Outbox::default();
    outbox.placed.add().point(&filter);
    let config = chain_listener::Config {
        chain_id: 31_337,
        confirmations: 0,
        poll_ms: POLL_MS,
        ..chain_listener::Config::default()
    };
    let ports = chain_listener::Ports { chain: chain(), store: store.clone(), clock };
    let _listener = ChainListener::new(config, ports, outbox, Guard::none()).start();

    let bidder = chain();
    let market = bidder.contracts().await.unwrap().market;
    let bidding = key(1).with_directory(bidder.directory());
    let fees = Fees { max_fee: Wei::from(100_000_000_000), max_tip: Some(Wei::from(1_000_000_000)) };
    let mut nonce = bidder.nonce(bidding.address(), At::Pending).await.unwrap();
    while store.verdicts.borrow().len() < BLOCKS {
        let call = MarketCall::Bid {
            file: FileHash([0x5c; 32]),
            size: ByteSize(4_096),
            duration: 100,
            amount: Wei::from(2_000_000_000),
            pool: Wei::from(1_001),
            min_validations: 2,
        };
        let wanted = Unsigned { chain: 31_337, market, nonce, gas_limit: 500_000, fees, call };
        bidder.submit(&bidding.sign(&wanted).unwrap().raw).await.unwrap();
        nonce += 1;
        actix_rt::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
}
