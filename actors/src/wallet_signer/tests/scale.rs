//! Many intents: what a restart and a round read and write, counted instead of timed.

use std::cell::Cell;

use super::*;
use crate::ports::store::{Error, Order, Row, Table};
use crate::records::wallet::Attempt;

/// A store that counts what is asked of it.
struct Counting {
    inner: Rc<MemoryStore>,
    rows: Cell<usize>,
    commits: Cell<usize>,
}

impl Store for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.rows.set(self.rows.get() + 1);
        self.inner.get(table, key)
    }
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let rows = self.inner.scan(table, from, until, order, limit)?;
        self.rows.set(self.rows.get() + rows.len().max(1));
        Ok(rows)
    }
    fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.commits.set(self.commits.get() + 1);
        self.inner.commit(batch)
    }
}

/// A rig with so many intents, and a wallet over a store that counts.
fn counted(intents: u64, window: usize) -> (Rig, Rc<Counting>) {
    let mut rig = Rig::with(|config| {
        config.in_flight = window;
        config.max_spend_per_day = Wei::from(u128::MAX >> 1);
    });
    let mut batch = Batch::new();
    for bid in 0..intents {
        // Bid 13 is one that always reverts here.
        let call = accept(1_000 + bid);
        batch.put(&Intent { created: WallTime(bid), ..rig.intent(&format!("accept:{bid:05}"), call, None) });
    }
    rig.store.commit(batch).unwrap();
    let counting = Rc::new(Counting { inner: rig.store.clone(), rows: Cell::new(0), commits: Cell::new(0) });
    let ports = Ports {
        chain: rig.chain.clone(),
        keys: Rc::new(FakeKeys(ME)),
        store: counting.clone(),
        clock: rig.clock.clone(),
    };
    rig.start_with(ports);
    (rig, counting)
}

#[actix_rt::test]
async fn a_restart_with_ten_thousand_intents_reads_each_once() {
    let (rig, counting) = counted(10_000, 4);
    rig.pass(1).await;
    let status = rig.status().await;
    assert_eq!((status.queued, status.pending.len()), (9_996, 4));
    let read = counting.rows.replace(0);
    assert!(read < 10_200, "{read}");
    // Rounds without news read some of them, for those of which nobody told, and never all.
    rig.pass(10 * 4).await;
    let read = counting.rows.get();
    assert!(read < 10 * 600, "{read}");
}

#[actix_rt::test]
async fn many_transactions_are_signed_and_durable_in_one_commit_before_any_is_sent() {
    let (rig, counting) = counted(100, 100);
    let (store, least) = (rig.store.clone(), Rc::new(Cell::new(usize::MAX)));
    let seen = least.clone();
    rig.chain.watch(move |_| {
        let stored: Vec<Attempt> = store::list_from(store.as_ref(), &[], 1_000).unwrap();
        seen.set(seen.get().min(stored.len()));
    });
    rig.pass(1).await;
    assert_eq!((least.get(), rig.chain.pool().len()), (100, 100));
    // The account, the floor of its nonce, the hundred, and that they were taken.
    assert_eq!(counting.commits.get(), 4);
    rig.blocks(4).await;
    assert_eq!((rig.mined().len(), rig.outcomes().len()), (100, 100));
    assert_eq!(counting.commits.get(), 5, "all outcomes are one commit");
}

#[actix_rt::test]
async fn what_stands_is_asked_about_once_and_not_each_transaction_each_time() {
    let (rig, _counting) = counted(100, 100);
    rig.pass(1).await;
    rig.blocks(4).await;
    assert_eq!(rig.status().await.counts.confirmed, 100);
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    rig.chain.trouble(move |method| {
        count.set(count.get() + u32::from(matches!(method, "header" | "receipt")));
        None
    });
    rig.pass(40).await;
    assert!(asked.get() <= 11, "{}", asked.get());
    rig.chain.reorg(4);
    rig.chain.evict();
    rig.chain.mine_empty(5);
    rig.pass(10).await;
    assert_eq!(rig.status().await.counts.taken_back, 100, "and a reorg is seen all the same");
    rig.blocks(15).await;
    assert_eq!(rig.mined().len(), 100);
}
