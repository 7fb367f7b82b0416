//! Every event once: through reorgs, restarts, finality and a provider that fails.

use std::collections::BTreeMap;
use std::future::Future;

use super::*;
use crate::domain::market::{MarketCall, MarketEvent};
use crate::domain::units::{Address, BlockHeight, ByteSize, FileHash, WallTime, Wei};
use crate::ports::chain::Span;
use crate::ports::keys::{Fees, Keys};
use crate::ports::store::Order;
use crate::records::journal::Fact;
use crate::records::meta::{newest_block, ChainStatus};
use crate::testkit::chain::{FakeChain, FakeKeys, Trouble as Fault, Tx};
use crate::testkit::market::MIN_DURATION;
use crate::testkit::{Fuse, ManualClock, MemoryStore};

mod distrust;
mod lying;
mod markets;
mod reorgs;

const BIDDER: FakeKeys = FakeKeys(Address([7; 20]));
const CHAIN: u64 = 31_337;
const DEPTH: u64 = 2;

fn config() -> Config {
    Config { chain_id: CHAIN, confirmations: DEPTH, max_range: 7, ..Config::default() }
}

struct World {
    chain: Rc<FakeChain>,
    store: Rc<MemoryStore>,
    nonce: u64,
}

impl World {
    fn new() -> Self {
        Self { chain: Rc::new(FakeChain::with_market(CHAIN)), store: Rc::new(MemoryStore::new()), nonce: 0 }
    }

    /// A bid in the pool.
    fn offer(&mut self, amount: u128) {
        self.offer_on(None, amount);
    }

    /// The same on another market than the first.
    fn offer_on(&mut self, on: Option<Address>, amount: u128) {
        let call = MarketCall::Bid {
            file: FileHash([1; 32]),
            size: ByteSize(1),
            duration: MIN_DURATION,
            amount: Wei::from(amount),
            pool: Wei::from(9),
            min_validations: 2,
        };
        let fees = Fees { max_fee: Wei::from(20_000_000_000), max_tip: Some(Wei::from(1_000_000_000)) };
        let from = BIDDER.address();
        let tx = Tx { from, chain: CHAIN, nonce: self.nonce, gas_limit: 1_000_000, fees, call, on };
        self.nonce += 1;
        self.chain.inject(tx);
    }

    /// A bid in a block of its own.
    fn bid(&mut self, amount: u128) {
        self.offer(amount);
        self.chain.mine();
    }

    /// One poll, as the actor does it.
    async fn poll(&self) -> Result<bool, Trouble> {
        let ports = Ports {
            chain: self.chain.clone(),
            store: self.store.clone(),
            clock: Rc::new(ManualClock::at(WallTime(1))),
        };
        Reader::new(config(), ports, Outbox::default()).read().await
    }

    /// The amounts of the bids that the journal says stand.
    fn standing(&self) -> Vec<Wei> {
        let mut standing = BTreeMap::new();
        for fact in store::list::<Fact>(&*self.store, &[], Order::Ascending, usize::MAX).unwrap() {
            let MarketEvent::BidPlaced { amount, .. } = fact.event else { continue };
            let known = match fact.retracted {
                true => standing.remove(&fact.at).is_some(),
                false => standing.insert(fact.at, amount).is_none(),
            };
            assert!(known, "an event enters the journal once, and leaves it only if it is there: {fact:?}");
        }
        standing.into_values().collect()
    }

    /// The amounts of the bids that the chain says stand, as deep as is acted on.
    async fn truth(&self) -> Vec<Wei> {
        let deep = BlockHeight(self.chain.height().saturating_sub(DEPTH));
        let events = self.chain.events(Span::Range(BlockHeight(0), deep)).await.unwrap().logs;
        let amount = |event: &chain::Event| match event.said {
            chain::Said::Known(MarketEvent::BidPlaced { amount, .. }) => Some(amount),
            _ => None,
        };
        events.iter().filter_map(amount).collect()
    }

    async fn agrees(&self) {
        assert_eq!(self.standing(), self.truth().await);
    }
}

fn on_paused_time<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    actix::System::with_tokio_rt(|| runtime().unwrap()).block_on(async { test().await });
}

#[test]
fn an_event_is_told_once_and_only_when_it_is_deep_enough() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.bid(5);
        world.poll().await.unwrap();
        assert_eq!(world.standing(), vec![], "one block above it is missing");
        world.chain.mine_empty(DEPTH);
        for _ in 0..3 {
            world.poll().await.unwrap();
            assert_eq!(world.standing(), vec![Wei::from(5)]);
        }
    });
}

#[test]
fn history_is_read_in_ranges_and_the_rest_block_by_block() {
    on_paused_time(|| async {
        let mut world = World::new();
        for amount in 1..60 {
            world.bid(amount);
            world.chain.mine_empty(u64::from(amount % 3 == 0));
        }
        while world.poll().await.unwrap() {}
        world.agrees().await;
        assert_eq!(world.standing().len(), 57, "all but the two newest, which are not deep enough");
    });
}

#[test]
fn a_reorg_of_any_depth_above_finality_undoes_exactly_what_it_removed() {
    for depth in 1..=9 {
        on_paused_time(|| async move {
            let mut world = World::new();
            for amount in 1..=20 {
                world.bid(amount);
                world.poll().await.unwrap();
            }
            world.chain.reorg(depth);
            world.chain.evict();
            world.nonce = world.chain.nonce(BIDDER.address(), chain::At::Latest).await.unwrap();
            for amount in 100..112 {
                world.bid(amount);
                world.poll().await.unwrap();
            }
            world.agrees().await;
        });
    }
}

#[test]
fn a_reorg_while_nobody_listened_is_found_at_the_next_poll() {
    on_paused_time(|| async {
        let mut world = World::new();
        for amount in 1..=20 {
            world.bid(amount);
        }
        while world.poll().await.unwrap() {}
        world.chain.reorg(6);
        world.chain.mine_empty(10);
        while world.poll().await.unwrap() {}
        world.agrees().await;
    });
}

#[test]
fn the_same_transaction_in_another_block_after_a_reorg_is_told_again() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.chain.mine_empty(12);
        world.bid(5);
        world.chain.mine_empty(DEPTH);
        while world.poll().await.unwrap() {}
        world.chain.reorg(DEPTH + 1);
        world.chain.mine_empty(2);
        world.chain.mine();
        world.chain.mine_empty(DEPTH);
        while world.poll().await.unwrap() {}
        world.agrees().await;
        assert_eq!(world.standing(), vec![Wei::from(5)]);
    });
}

/// The new branch was final beyond the old one's height before anybody looked again: nothing final is undone.
#[test]
fn a_fork_that_was_left_while_nobody_listened_is_no_reason_to_halt() {
    on_paused_time(|| async {
        let mut world = World::new();
        for amount in 1..=20 {
            world.bid(amount);
            world.poll().await.unwrap();
        }
        world.chain.reorg(6);
        world.chain.mine_empty(60);
        while world.poll().await.unwrap() {}
        world.agrees().await;
    });
}

#[test]
fn past_finality_the_listener_halts_loudly_and_for_good() {
    on_paused_time(|| async {
        let mut world = World::new();
        for amount in 1..=20 {
            world.bid(amount);
            world.poll().await.unwrap();
        }
        world.chain.reorg(15);
        world.chain.mine_empty(30);
        let trouble = world.poll().await.unwrap_err();
        assert!(matches!(trouble, Trouble::PastFinality(_)), "{trouble}");
        let halted = ChainStatus::read(&*world.store).unwrap().unwrap().halted;
        assert!(halted.is_some_and(|why| why.contains("past finality")));
        let before = world.store.commits();
        assert_eq!(world.poll().await, Ok(false));
        assert_eq!(world.store.commits(), before, "nothing is read or written any more");
    });
}

#[test]
fn a_kill_at_any_durable_write_loses_nothing_and_repeats_nothing() {
    for commits in 0..40 {
        on_paused_time(|| async move {
            let mut world = World::new();
            for amount in 1..=12 {
                world.bid(amount);
            }
            let fuse: Fuse = world.store.fuse();
            fuse.burn_after(commits);
            let _cut = world.poll().await;
            world.store = Rc::new(world.store.reopen());
            while world.poll().await.unwrap() {}
            world.agrees().await;
        });
    }
}

#[test]
fn a_provider_that_fails_or_lags_delays_events_but_never_changes_them() {
    on_paused_time(|| async {
        let mut world = World::new();
        let mut asked = 0_u32;
        world.chain.trouble(move |_| {
            asked += 1;
            match asked % 7 {
                0 => Some(Fault::Lost),
                3 => Some(Fault::Lags(3)),
                5 => Some(Fault::Says("too many requests")),
                _ => None,
            }
        });
        for amount in 1..=30 {
            world.bid(amount);
            let _trouble = world.poll().await;
        }
        world.chain.heal();
        while world.poll().await.unwrap() {}
        world.agrees().await;
    });
}

#[test]
fn a_provider_of_another_chain_is_not_read() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.chain = Rc::new(FakeChain::with_market(5));
        world.chain.mine_empty(5);
        assert_eq!(world.poll().await, Err(Trouble::WrongChain { found: 5, wanted: CHAIN }));
        assert_eq!(newest_block(&*world.store).unwrap(), None);
    });
}
