//! The wallet as the node runs it: its actor, the store in a file, the real key and chain.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use scatter::adapters::sqlite::Sqlite;
use scatter::adapters::system_clock::SystemClock;
use scatter_actors::domain::market::{Execution, Market};
use scatter_actors::domain::units::{WallTime, Wei};
use scatter_actors::ports::chain::Chain as _;
use scatter_actors::ports::keys::Keys;
use scatter_actors::ports::store::{self, Batch, Order, Store};
use scatter_actors::records::intent::{Intent, IntentKey, IntentState};
use scatter_actors::records::journal::Outcome;
use scatter_actors::records::meta::ChainStatus;
use scatter_actors::supervisor::Guard;
use scatter_actors::wallet_signer::{self, Wallet, WalletSigner};
use serde_json::json;
use tempfile::TempDir;

use crate::support::market::Miner;
use crate::support::{anvil::Anvil, PATIENCE};
use crate::{bid, Chain, INTENTS, IN_FLIGHT, PENDING};

/// Between two looks whether everything is done.
const PAUSE: Duration = Duration::from_millis(2);

fn config() -> wallet_signer::Config {
    wallet_signer::Config {
        // A receipt is enough for the others, too.
        confirmations: 0,
        // Blocks come as fast as transactions here.
        poll_ms: 10,
        in_flight: IN_FLIGHT,
        max_spend_per_tx: Wei::from(10_u128.pow(18)),
        max_spend_per_day: Wei::from(10_u128.pow(21)),
        ..wallet_signer::Config::default()
    }
}

/// Writes down what is wanted, as those do who want it.
async fn want(chain: &Chain, file: &Path, count: u64) {
    let (_, ethereum, key) = chain.parts();
    let found = ethereum.market().await.unwrap().unwrap();
    let (address, rules) = (found.address(), found.rules);
    let (market, head) = (Market { chain: Anvil::CHAIN_ID, address }, ethereum.head().await.unwrap());
    let store = Sqlite::open(file).unwrap();
    let mut batch = Batch::new();
    batch.put(&ChainStatus {
        market,
        rules,
        head: head.number,
        head_time: head.time,
        newest_time: head.time,
        finalized: head.number,
        head_changed: WallTime(0),
        poison: 0,
        halted: None,
    });
    for number in 0..count {
        batch.put(&Intent {
            key: IntentKey::of_account("bid", market, key.address(), number),
            market,
            call: bid(number),
            deadline: None,
            created: WallTime(number),
            state: IntentState::Queued,
        });
    }
    store.commit(batch).unwrap();
}

/// Opens the store and starts the wallet over it.
fn start(chain: &Chain, file: &Path) -> (Addr<WalletSigner>, Rc<Sqlite>) {
    let (_, ethereum, key) = chain.parts();
    let store = Rc::new(Sqlite::open(file).unwrap());
    let ports = wallet_signer::Ports {
        chain: ethereum,
        keys: Rc::new(key),
        store: store.clone(),
        clock: Rc::new(SystemClock::new()),
    };
    (WalletSigner::new(config(), ports, Guard::none()).start(), store)
}

/// From the wallet's start to its last outcome.
pub fn all(chain: &Chain) -> Option<Duration> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("scatter.db");
    let took = System::new().block_on(async {
        want(chain, &file, INTENTS).await;
        let begun = Instant::now();
        let (_wallet, store) = start(chain, &file);
        let newest = || store::list::<Outcome>(&*store, &[], Order::Descending, 1).unwrap();
        while newest().first().map_or(0, |outcome| outcome.seq) < INTENTS {
            assert!(begun.elapsed() < 10 * PATIENCE, "the wallet is stuck at {:?}", newest());
            tokio::time::sleep(PAUSE).await;
        }
        let took = begun.elapsed();
        let all = store::list::<Outcome>(&*store, &[], Order::Ascending, usize::MAX >> 1).unwrap();
        assert!(all.iter().all(|outcome| matches!(&outcome.result, Execution::Mined { .. })));
        took
    });
    Some(took)
}

/// From the start of a wallet that died with everything still to be done until it knows all of it again.
pub fn restart(chain: &Chain) -> Duration {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("scatter.db");
    chain.anvil.call("evm_setAutomine", json!([false]));
    System::new().block_on(async {
        want(chain, &file, PENDING).await;
        let (wallet, _store) = start(chain, &file);
        until_known(&wallet).await;
    });
    System::new().block_on(async {
        let begun = Instant::now();
        let (wallet, _store) = start(chain, &file);
        until_known(&wallet).await;
        begun.elapsed()
    })
}

/// Waits until every transaction has its nonce or its place in the queue, and no more nonces are given out.
async fn until_known(wallet: &Addr<WalletSigner>) {
    let begun = Instant::now();
    loop {
        let status = wallet.send(Wallet).await.unwrap();
        let known = status.queued as u64 + status.pending.len() as u64;
        if status.pending.len() == IN_FLIGHT && known == PENDING {
            return;
        }
        assert!(begun.elapsed() < 4 * PATIENCE, "{} queued, {} pending", status.queued, status.pending.len());
        tokio::time::sleep(PAUSE).await;
    }
}
