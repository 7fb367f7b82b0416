//! Verdicts are written once, each on its own market.

use super::*;
use crate::domain::following::{Followed, Standing};
use crate::domain::market::{Market, MarketCall, Position, Version};
use crate::domain::units::{BlockHeight, ChainTime, FileHash, WallTime, Wei};
use crate::ports::chain::Span;
use crate::ports::keys::Fees;
use crate::testkit::chain::{FakeChain, Tx, CALL_GAS, MARKET};
use crate::testkit::market::MIN_DURATION;
use crate::testkit::{ManualClock, MemoryDisk, MemoryStore};

const CHAIN: u64 = 31_337;
const OLD: Market = Market { chain: CHAIN, address: MARKET };
const NEW: Market = Market { chain: CHAIN, address: Address([0x77; 20]) };
const BIDDER: Address = Address([7; 20]);

struct World {
    chain: Rc<FakeChain>,
    store: Rc<MemoryStore>,
    judge: Judge,
    nonce: u64,
}

impl World {
    /// Two markets with enough validators each; the second one is current.
    async fn new() -> Self {
        let chain = Rc::new(FakeChain::with_market(CHAIN));
        chain.deploy(NEW.address, Version::V2);
        chain.mine_empty(1);
        let store = Rc::new(MemoryStore::new());
        let policy = Policy {
            accept: true,
            min_price: Wei::ZERO,
            sizes: (ByteSize(1), ByteSize(1 << 30)),
            durations: (1, u64::MAX),
            max_storage: ByteSize(1 << 40),
            min_free_disk: ByteSize(0),
            allow: vec![],
            deny: vec![],
            assumed_speed: 1 << 20,
        };
        let config = Config { policy, confirmations: 0, block_time: 12, me: Address([9; 20]) };
        let ports = Ports {
            chain: chain.clone(),
            store: store.clone(),
            clock: Rc::new(ManualClock::at(WallTime(1))),
            disk: Rc::new(MemoryDisk::with_free(ByteSize(1 << 40))),
        };
        let world = Self { chain, store, judge: Judge { config, ports }, nonce: 0 };
        let mut batch = Batch::new();
        let retired = Standing::Retired { quiet_at: None };
        for (market, standing) in [(OLD, retired), (NEW, Standing::Current)] {
            let found = world.chain.market_at(market.address).await.unwrap().unwrap();
            if standing == Standing::Current {
                batch.put(&ChainStatus {
                    market,
                    rules: found.rules.clone(),
                    head: BlockHeight(1),
                    head_time: ChainTime(1),
                    newest_time: ChainTime(1),
                    finalized: BlockHeight(1),
                    head_changed: WallTime(1),
                    poison: 0,
                    halted: None,
                });
            }
            batch.put(&Followed { standing, ..Followed::first(CHAIN, found, BlockHeight(1)) });
            for validator in 0..4 {
                let from = Address([0xa0 + validator; 20]);
                world.send(market, from, u64::from(market == NEW), MarketCall::Register(FileHash([1; 32])));
            }
        }
        world.store.commit(batch).unwrap();
        world
    }

    fn send(&self, on: Market, from: Address, nonce: u64, call: MarketCall) {
        let gwei = Wei::from(1_000_000_000);
        let fees = Fees { max_fee: gwei.times(20), max_tip: Some(gwei) };
        let tx = Tx { from, chain: CHAIN, nonce, gas_limit: CALL_GAS, fees, call, on: Some(on.address) };
        self.chain.inject(tx);
        self.chain.mine();
    }

    /// A fair bid on a market, which the journal tells of.
    async fn bid(&mut self, on: Market) {
        let call = MarketCall::Bid {
            file: FileHash([1; 32]),
            size: ByteSize(1),
            duration: MIN_DURATION,
            amount: Wei::from(10_u128.pow(15)),
            pool: Wei::from(10_u128.pow(16)),
            min_validations: 2,
        };
        self.send(on, BIDDER, self.nonce, call);
        self.nonce += 1;
        let found: Vec<_> = {
            let mut contracts = self.chain.market_at(on.address).await.unwrap().unwrap().contracts;
            contracts.market = on.address;
            self.chain.follow(&[contracts]);
            let head = BlockHeight(self.chain.height());
            self.chain.events(Span::Range(head, head)).await.unwrap().logs
        };
        let chain::Said::Known(event) = found[0].said.clone() else { panic!("it is known") };
        let at: Position = found[0].at;
        let mut batch = Batch::new();
        batch.put(&Fact { seq: self.nonce, market: on, at, event, retracted: false });
        self.store.commit(batch).unwrap();
    }

    /// How often each bid was judged.
    fn decisions(&self, market: Market) -> Vec<usize> {
        let count = |id| {
            let bid = BidKey { market, id: BidId(id) };
            decision::on(&*self.store, &bid.to_string(), 99).unwrap().len()
        };
        (0..self.chain.market_on(market.address).bids.len() as u64).map(count).collect()
    }

    fn admitted(&self, market: Market) -> Vec<u64> {
        let bids = 0..self.chain.market_on(market.address).bids.len() as u64;
        bids.filter(|id| matches!(self.stage(market, *id), Some(Stage::Admitted { .. }))).collect()
    }

    fn stage(&self, market: Market, id: u64) -> Option<Stage> {
        let bid = BidKey { market, id: BidId(id) };
        store::read::<HostedBid>(&*self.store, &bid.to_bytes()).unwrap().map(|hosted| hosted.stage)
    }
}

#[actix_rt::test]
async fn a_new_bid_on_a_retired_market_is_declined_for_that_and_one_on_the_current_market_is_taken() {
    let mut world = World::new().await;
    for market in [NEW, OLD, OLD, NEW] {
        world.bid(market).await;
    }
    while world.judge.read_on(&Line::new()).await.unwrap() {}
    for id in [0, 1] {
        assert!(matches!(world.stage(NEW, id), Some(Stage::Admitted { .. })), "{:?}", world.stage(NEW, id));
        let reason = format!("its market is retired: the router names {} now", NEW.address);
        assert_eq!(world.stage(OLD, id), Some(Stage::Declined { reason }));
    }
}

#[actix_rt::test]
async fn the_bids_of_a_look_are_judged_in_one_commit_each_by_the_room_that_is_left() {
    let mut world = World::new().await;
    for _ in 0..9 {
        world.bid(NEW).await;
    }
    // Each takes a MiB and a little: five fit.
    world.judge.config.policy.max_storage = ByteSize(5 * (1 << 20) + 20);
    let before = world.store.commits();
    while world.judge.read_on(&Line::new()).await.unwrap() {}
    assert_eq!(world.store.commits(), before + 1);
    assert_eq!((world.admitted(NEW), world.decisions(NEW)), ((0..5).collect(), vec![1; 9]));
    assert_eq!(Room::read(&*world.store).unwrap(), Room::count(&*world.store).unwrap());
}

#[actix_rt::test]
async fn a_kill_before_the_commit_leaves_nothing_and_one_after_it_repeats_nothing() {
    let mut world = World::new().await;
    for _ in 0..5 {
        world.bid(NEW).await;
    }
    world.store.fuse().burn_after(0);
    assert!(world.judge.read_on(&Line::new()).await.is_err());
    for _ in 0..2 {
        world.store = Rc::new(world.store.reopen());
        world.judge.ports.store = world.store.clone();
        while world.judge.read_on(&Line::new()).await.unwrap() {}
        assert_eq!((world.admitted(NEW), world.decisions(NEW)), ((0..5).collect(), vec![1; 5]));
    }
}

#[actix_rt::test]
async fn a_bid_about_which_nobody_answers_holds_up_those_behind_it_only() {
    let mut world = World::new().await;
    for _ in 0..5 {
        world.bid(NEW).await;
    }
    let mut asked = 0;
    world.chain.trouble(move |what| {
        asked += u32::from(what == "bid");
        (what == "bid" && asked == 3).then_some(crate::testkit::chain::Trouble::Lost)
    });
    assert!(world.judge.read_on(&Line::new()).await.is_err());
    assert_eq!(world.decisions(NEW), [1, 1, 0, 0, 0]);
    while world.judge.read_on(&Line::new()).await.unwrap() {}
    assert_eq!(world.decisions(NEW), [1; 5]);
    assert_eq!(world.admitted(NEW), (0..5).collect::<Vec<_>>());
}
