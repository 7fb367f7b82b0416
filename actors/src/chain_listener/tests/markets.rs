//! A Router that points elsewhere: the market that it names is read from its first bid on, and the old one for as long
//! as something of this node lives there.

use super::*;
use crate::domain::market::{Market, Version};
use crate::records::following::{self, Followed, Standing};
use crate::records::intent::{Intent, IntentKey, IntentState};
use crate::records::listening::Listening;
use crate::records::{decision, meta};
use crate::testkit::chain::MARKET;

const NEW: Address = Address([0x77; 20]);
/// Blocks until what is in the newest one is final and read.
const SETTLES: u64 = 12;

fn key(address: Address) -> Market {
    Market { chain: CHAIN, address }
}

impl World {
    /// Polls until nothing is left to read, as a process that was started anew each time.
    async fn catch_up(&self) {
        loop {
            // What the provider's adapter knew is gone with the process.
            self.chain.follow(&[]);
            if !self.poll().await.unwrap() {
                return;
            }
        }
    }

    /// A bid on a market, in a block of its own.
    fn bid_on(&mut self, market: Address, amount: u128) {
        self.offer_on(Some(market), amount);
        self.chain.mine();
    }

    /// A transaction that this node wants there, in a state.
    fn intend(&self, market: Address, state: IntentState) {
        let (key, call) = (IntentKey(format!("test:{market}")), MarketCall::Withdraw);
        let intent =
            Intent { key, market: self::key(market), call, deadline: None, created: WallTime(1), state };
        let mut batch = store::Batch::new();
        batch.put(&intent);
        self.store.commit(batch).unwrap();
    }

    /// The bids that stand, each with its market.
    fn bids(&self) -> Vec<(Address, u128)> {
        let mut bids = BTreeMap::new();
        for fact in store::list::<Fact>(&*self.store, &[], Order::Ascending, usize::MAX).unwrap() {
            let MarketEvent::BidPlaced { amount, .. } = fact.event else { continue };
            match fact.retracted {
                true => assert!(bids.remove(&fact.at).is_some()),
                false => assert!(bids.insert(fact.at, (fact.market.address, amount.0.as_u128())).is_none()),
            }
        }
        bids.into_values().collect()
    }

    fn followed(&self, market: Address) -> Followed {
        let known = following::all(&*self.store).unwrap();
        known.into_iter().find(|one| one.market.address == market).unwrap()
    }

    fn current(&self) -> Address {
        let current = ChainStatus::read(&*self.store).unwrap().unwrap().market.address;
        let read = following::read_ones(&*self.store).unwrap();
        assert_eq!((read[0].market.address, read[0].is_current()), (current, true));
        assert!(read[1..].iter().all(|one| !one.is_current()));
        current
    }

    /// Nothing was kept from the first reading, and nothing final went away.
    fn second_reading_is_calm(&self) {
        let listening = Listening::read(&*self.store).unwrap();
        assert_eq!((listening.second_reading.missed, listening.second_reading.vanished), (0, 0));
        assert!(listening.second_reading.passes > 0, "final blocks were read again");
    }

    /// Two markets, of which the Router names the second one; something of this node stays on the first.
    async fn moved() -> Self {
        let mut world = Self::new();
        world.chain.deploy(NEW, Version::V2);
        world.chain.mine_empty(SETTLES);
        world.bid(1);
        world.bid_on(NEW, 2);
        world.catch_up().await;
        world.intend(MARKET, IntentState::Queued);
        world.chain.point_router(NEW);
        world.bid(3);
        world.bid_on(NEW, 4);
        world
    }
}

#[test]
fn a_router_that_points_elsewhere_is_followed_once_that_is_final_and_no_bid_is_missed() {
    on_paused_time(|| async {
        let mut world = World::moved().await;
        for _ in 0..8 {
            world.chain.mine_empty(1);
            world.catch_up().await;
            assert_eq!(world.current(), MARKET, "block {} is not final", world.chain.height());
        }
        assert_eq!(world.bids(), [(MARKET, 1), (MARKET, 3)]);
        for amount in 5..10 {
            world.bid_on(if amount % 2 == 0 { NEW } else { MARKET }, amount);
            world.catch_up().await;
        }
        assert_eq!(world.current(), NEW);
        world.chain.mine_empty(SETTLES);
        world.catch_up().await;
        let old = [(MARKET, 1), (MARKET, 3), (MARKET, 5), (MARKET, 7), (MARKET, 9)];
        let new = [(NEW, 2), (NEW, 4), (NEW, 6), (NEW, 8)];
        let mut all = [&old[..], &new].concat();
        all.sort_by_key(|(_, amount)| *amount);
        assert_eq!(world.bids(), all, "those from before the switch too");
        assert_eq!(world.followed(MARKET).standing, Standing::Retired { quiet_at: None });
        let told = decision::on(&*world.store, &key(NEW).to_string(), 9).unwrap();
        assert!(
            matches!(&told[..], [told] if told.said.contains("the router names this market")),
            "{told:?}"
        );
        for _ in 0..20 {
            world.catch_up().await;
        }
        world.second_reading_is_calm();
    });
}

#[test]
fn a_market_on_which_nothing_of_ours_is_left_is_read_no_longer() {
    on_paused_time(|| async {
        let mut world = World::moved().await;
        world.chain.mine_empty(SETTLES);
        world.catch_up().await;
        assert_eq!(world.followed(MARKET).standing, Standing::Retired { quiet_at: None });
        world.intend(MARKET, IntentState::Done);
        world.catch_up().await;
        let quiet = Standing::Retired { quiet_at: Some(BlockHeight(world.chain.height())) };
        assert_eq!(world.followed(MARKET).standing, quiet);
        world.chain.mine_empty(SETTLES);
        world.catch_up().await;
        assert!(matches!(world.followed(MARKET).standing, Standing::Done { .. }));
        world.bid(50);
        world.bid_on(NEW, 51);
        world.chain.mine_empty(SETTLES);
        world.catch_up().await;
        assert_eq!(world.bids().last(), Some(&(NEW, 51)));
        assert!(!world.bids().contains(&(MARKET, 50)));
        for _ in 0..20 {
            world.catch_up().await;
        }
        world.second_reading_is_calm();

        world.chain.point_router(MARKET);
        world.chain.mine_empty(SETTLES);
        world.catch_up().await;
        assert_eq!(world.current(), MARKET, "the router points back");
        assert!(world.bids().contains(&(MARKET, 50)), "what was not read is read now");
        for _ in 0..20 {
            world.catch_up().await;
        }
        world.second_reading_is_calm();
    });
}

#[test]
fn credit_on_an_old_market_keeps_it_alive() {
    on_paused_time(|| async {
        let mut world = World::moved().await;
        // A bid that our market refuses is credited to who offered.
        world.offer_on(Some(MARKET), 0);
        world.chain.mine();
        let mut batch = store::Batch::new();
        batch.put(&meta::Account { address: BIDDER.address() });
        world.store.commit(batch).unwrap();
        world.intend(MARKET, IntentState::Done);
        for _ in 0..4 {
            world.chain.mine_empty(SETTLES);
            world.catch_up().await;
        }
        assert_eq!(world.current(), NEW);
        assert_eq!(world.followed(MARKET).standing, Standing::Retired { quiet_at: None });
        let fees = Fees { max_fee: Wei::from(20_000_000_000), max_tip: Some(Wei::from(1_000_000_000)) };
        let (from, call) = (BIDDER.address(), MarketCall::Withdraw);
        world.chain.inject(Tx {
            from,
            chain: CHAIN,
            nonce: world.nonce,
            gas_limit: 1_000_000,
            fees,
            call,
            on: None,
        });
        world.chain.mine();
        for _ in 0..4 {
            world.chain.mine_empty(SETTLES);
            world.catch_up().await;
        }
        assert!(matches!(world.followed(MARKET).standing, Standing::Done { .. }));
    });
}

#[test]
fn a_router_that_names_nothing_of_use_changes_nothing_and_is_told() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.bid(1);
        world.catch_up().await;
        world.chain.point_router(Address([0xee; 20]));
        world.chain.mine_empty(SETTLES);
        world.bid(2);
        world.chain.mine_empty(SETTLES);
        world.catch_up().await;
        assert_eq!((world.current(), world.bids().len()), (MARKET, 2));
        let trouble = || Listening::read(&*world.store).unwrap().router;
        assert!(trouble().is_some_and(|what| what.contains("no code")));
        world.chain.point_router(MARKET);
        world.chain.mine_empty(SETTLES);
        world.catch_up().await;
        assert_eq!((world.current(), trouble()), (MARKET, None));
    });
}

#[test]
fn a_reorg_around_the_switch_repeats_nothing_and_loses_nothing() {
    for blocks in 0..16 {
        on_paused_time(|| async move {
            let mut world = World::moved().await;
            for amount in 5..5 + blocks {
                world.bid_on(if amount % 2 == 0 { NEW } else { MARKET }, amount);
                world.catch_up().await;
            }
            world.chain.reorg(7);
            // What was mined there is mined anew, in one block.
            world.chain.mine_empty(1);
            world.chain.mine();
            world.chain.point_router(NEW);
            world.chain.mine_empty(SETTLES);
            world.catch_up().await;
            world.chain.mine_empty(SETTLES);
            world.catch_up().await;
            assert_eq!(world.current(), NEW);
            let mut amounts: Vec<_> = world.bids().into_iter().map(|(_, amount)| amount).collect();
            amounts.sort_unstable();
            assert_eq!(amounts, (1..5 + blocks).collect::<Vec<_>>());
            for (market, amount) in world.bids() {
                let wanted = if amount % 2 == 0 { NEW } else { MARKET };
                assert_eq!(market, wanted, "the bid of {amount} wei");
            }
        });
    }
}

#[test]
fn a_kill_at_any_durable_write_of_a_switch_loses_nothing_and_repeats_nothing() {
    for commits in 0..40 {
        on_paused_time(|| async move {
            let mut world = World::moved().await;
            for amount in 5..12 {
                world.bid_on(if amount % 2 == 0 { NEW } else { MARKET }, amount);
            }
            world.chain.mine_empty(SETTLES);
            world.store.fuse().burn_after(commits);
            for _ in 0..3 {
                let _cut = world.poll().await;
            }
            world.store = Rc::new(world.store.reopen());
            world.catch_up().await;
            assert_eq!(world.current(), NEW);
            let amounts: Vec<_> = world.bids().into_iter().map(|(_, amount)| amount).collect();
            assert_eq!(amounts, (1..12).collect::<Vec<_>>());
        });
    }
}
