//! The listener itself: from its start until the last block and all its events are durable.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Actor;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::json_rpc::{self, Client};
use scatter::adapters::sqlite::Sqlite;
use scatter::adapters::system_clock::SystemClock;
use scatter_actors::chain_listener::{self, ChainListener, Outbox, Ports};
use scatter_actors::ports::store::{self, Batch, Error, Order, Row, Store, Table};
use scatter_actors::records::journal::{next_seq, Fact};
use scatter_actors::records::meta::{newest_block, ReadForGood};
use scatter_actors::supervisor::Guard;
use serde_json::{json, Value};

use crate::replay::{BLOCKS, CHAIN, CONFIRMATIONS, FIRST, LAST, LOGS, MARKET};

/// The store, with a watch on its commits.
struct Timed {
    store: Sqlite,
    spent: Cell<Duration>,
    commits: Cell<u64>,
}

impl Store for Timed {
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
        let begun = Instant::now();
        let outcome = self.store.commit(batch);
        self.spent.set(self.spent.get() + begun.elapsed());
        self.commits.set(self.commits.get() + 1);
        outcome
    }
}

/// What it took.
pub fn run(url: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let over = Arc::new(AtomicBool::new(false));
    let stop = over.clone();
    let memory = std::thread::spawn(move || {
        let mut resident = Vec::new();
        while !stop.load(Relaxed) {
            resident.push(resident_mb());
            std::thread::sleep(Duration::from_millis(50));
        }
        resident
    });
    let (seconds, store) = actix_rt::System::new().block_on(async {
        let rpc = Rc::new(Client::new(url, json_rpc::Config::default()).unwrap());
        let chain = Rc::new(Ethereum::new(rpc, Config { market: Some(MARKET), ..Config::default() }));
        let store =
            Timed { store: Sqlite::open(&path).unwrap(), spent: Cell::default(), commits: Cell::default() };
        let store = Rc::new(store);
        let config = chain_listener::Config {
            chain_id: CHAIN,
            start_block: FIRST,
            confirmations: CONFIRMATIONS,
            ..chain_listener::Config::default()
        };
        let clock = Rc::new(SystemClock::new());
        let begun = Instant::now();
        let ports = Ports { chain, store: store.clone(), clock };
        let listener = ChainListener::new(config, ports, Outbox::default(), Guard::none()).start();
        while newest_block(&*store).unwrap().is_none_or(|block| block.number.0 < LAST) {
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        drop(listener);
        (seconds, store)
    });
    over.store(true, Relaxed);
    let resident = memory.join().unwrap();
    let (commits, spent) = (store.commits.get(), store.spent.get());
    let file = std::fs::metadata(&path).unwrap().len() >> 20;
    drop(store);
    let durable = Sqlite::open(&path).unwrap();
    let encode = check(&durable);
    let third = resident.len() / 3;
    let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max).round();
    json!({
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "commits": commits, "seconds_in_commits": spent.as_secs_f64(), "seconds_to_encode_facts": encode,
        "file_mb": file, "resident_mb_at_most": most(&resident),
        "resident_mb_first_third": most(&resident[..third.max(1)]),
        "resident_mb_last_third": most(&resident[resident.len() - third.max(1)..]),
    })
}

/// Every event is there, once, in order, and the cursor stands behind them. Gives the seconds that it takes to encode
/// them again.
fn check(store: &dyn Store) -> f64 {
    assert_eq!(next_seq::<Fact>(store).unwrap() - 1, BLOCKS * LOGS);
    assert_eq!(ReadForGood::read(store).unwrap().height.0, LAST);
    let (mut expected, mut spent) = (0, Duration::ZERO);
    store::visit::<Fact>(store, &[], |fact| {
        let place = (fact.at.block.0, u64::from(fact.at.log), fact.retracted);
        assert_eq!(place, (FIRST + expected / LOGS, expected % LOGS, false));
        expected += 1;
        let begun = Instant::now();
        let mut batch = Batch::new();
        batch.put(&fact);
        spent += begun.elapsed();
    })
    .unwrap();
    spent.as_secs_f64()
}

/// What this process keeps in memory, in MiB.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
