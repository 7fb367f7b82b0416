//! The pinner on paused time: it fetches, keeps and releases as the store says, through restarts.

use std::future::Future;

use cid::Cid;

use super::*;
use crate::domain::bid::{Failure, Stage};
use crate::domain::cids;
use crate::domain::market::{
    BidTerms, Execution, Market, MarketCall, MarketEvent, MarketRules, Settlement, Version,
};
use crate::domain::units::{BidId, BlockHash, BlockHeight, ChainTime, FileHash, TxHash, WallTime, Wei};
use crate::ports::store::{self, Batch, Order};
use crate::records::hosting::{leaves_of, pin_of, references, HostedBid, Pin};
use crate::records::intent::{Intent, IntentKey};
use crate::records::journal::{next_seq, Block, Fact, Outcome};
use crate::records::meta::{chain_now, ChainStatus};
use crate::supervisor::Drain;
use crate::testkit::ipfs::{unixfs_file, MemoryNet};
use crate::testkit::{ManualClock, MemoryDisk, MemoryIpfs, MemoryStore};
use crate::work::tests as log;

mod keeping;
mod mirror;
mod mirroring;
mod upkeep;

const ME: Address = Address([1; 20]);
const MARKET: Market = Market { chain: 31_337, address: Address([2; 20]) };
const GRACE_MS: u64 = 3_600_000;
const COMPARE_EACH: Duration = Duration::from_secs(1_800);

fn bounds() -> Bounds {
    Bounds {
        at_once: 8,
        per_peer: 4,
        idle_ms: 10_000,
        retry: Backoff { first: Duration::from_secs(10), most: Duration::from_secs(3_600) },
        min_free_disk: ByteSize(1 << 30),
        max_storage: None,
    }
}

struct World {
    store: Rc<MemoryStore>,
    net: MemoryNet,
    ipfs: Rc<MemoryIpfs>,
    clock: Rc<ManualClock>,
    disk: Rc<MemoryDisk>,
    pinner: Option<Addr<Pinner>>,
}

impl World {
    fn new() -> Self {
        let (store, net) = (Rc::new(MemoryStore::new()), MemoryNet::default());
        let ipfs = Rc::new(MemoryIpfs::on("hoster", &net));
        let clock = Rc::new(ManualClock::at(WallTime(1_000)));
        let disk = Rc::new(MemoryDisk::default());
        let mut world = Self { store, net, ipfs, clock, disk, pinner: None };
        let rules = MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 100 };
        let mut batch = Batch::new();
        batch.put(&ChainStatus {
            market: MARKET,
            rules,
            head: BlockHeight(1),
            head_time: ChainTime(100),
            newest_time: ChainTime(100),
            finalized: BlockHeight(1),
            head_changed: WallTime(1),
            poison: 0,
            halted: None,
        });
        world.store.commit(batch).unwrap();
        world.chain_time(100);
        world.start();
        world
    }

    fn start(&mut self) {
        let config = Config {
            hosting: Some(Hosting { me: ME, fetches: 2, idle_ms: 10_000 }),
            mirroring: bounds(),
            grace_ms: GRACE_MS,
            compare_each: COMPARE_EACH,
        };
        let ports = Ports {
            ipfs: self.ipfs.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
        };
        self.pinner = Some(Pinner::new(config, ports, Outbox::default(), Guard::none()).start());
    }

    async fn restart(&mut self) {
        if let Some(pinner) = self.pinner.take() {
            let _gone = pinner.send(Drain).await;
        }
        self.start();
    }

    fn chain_time(&self, time: u64) {
        let mut batch = Batch::new();
        batch.put(&Block {
            number: BlockHeight(time),
            hash: BlockHash([3; 32]),
            parent: BlockHash([3; 32]),
            time: ChainTime(time),
        });
        self.store.commit(batch).unwrap();
    }

    /// A bid that the filter let in, for content of that root.
    fn admit(&self, id: u64, file: FileHash, size: u64) -> BidKey {
        let bid = BidKey { market: MARKET, id: BidId(id) };
        let terms = BidTerms {
            bidder: Address([7; 20]),
            file,
            size: ByteSize(size),
            amount: Wei::from(u128::from(id) + 1),
            pool: Wei::from(9),
            duration: 1_000,
            min_validations: 2,
        };
        let mut batch = Batch::new();
        batch.put(&HostedBid {
            bid,
            terms,
            cid: cids::of_file(file),
            placed_at: ChainTime(1),
            stage: Stage::Admitted { not_before: ChainTime(0), attempt: 0 },
            since: WallTime(1),
        });
        self.store.commit(batch).unwrap();
        bid
    }

    /// The wallet tells what came of a transaction.
    fn mined(&self, call: MarketCall, events: Vec<MarketEvent>) {
        let time = chain_now(&*self.store).unwrap();
        let mut batch = Batch::new();
        batch.put(&Outcome {
            seq: next_seq::<Outcome>(&*self.store).unwrap(),
            intent: IntentKey("told".into()),
            market: MARKET,
            call,
            result: Execution::Mined {
                tx: TxHash([4; 32]),
                block: BlockHeight(1),
                time,
                gas: 1,
                cost: Wei::from(1),
                events,
            },
        });
        self.store.commit(batch).unwrap();
    }

    /// Our accept is mined: the bid is ours to fetch.
    async fn hold(&self, bid: BidKey) {
        self.pass(6).await;
        let when = chain_now(&*self.store).unwrap();
        let event = MarketEvent::Accepted { bid: bid.id, when, hoster: ME };
        self.mined(MarketCall::Accept(bid.id), vec![event]);
        self.pass(6).await;
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(1_000);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn stage(&self, bid: BidKey) -> Stage {
        store::read::<HostedBid>(&*self.store, &bid.to_bytes()).unwrap().unwrap().stage
    }

    fn intents(&self) -> Vec<String> {
        let intents = store::list::<Intent>(&*self.store, &[], Order::Ascending, 100).unwrap();
        intents.into_iter().map(|intent| intent.key.0).collect()
    }

    /// Content that somebody else on the net has.
    fn offer(&self, bytes: &[u8]) -> Vec<(Cid, Vec<u8>)> {
        let file = unixfs_file(bytes, 1_000);
        MemoryIpfs::on("bidder", &self.net).load(&file);
        file
    }
}

fn hash(cid: &Cid) -> FileHash {
    cids::file_hash(cid).unwrap()
}

fn on_paused_time<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime().unwrap()).block_on(async { test().await });
}

#[test]
fn a_held_bid_is_fetched_indexed_pinned_and_announced() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&[5; 3_500]);
        let bid = world.admit(4, hash(&file[0].0), 3_500);
        world.hold(bid).await;
        assert_eq!(world.stage(bid).name(), "announcing");
        assert_eq!(world.intents(), [format!("accept:{bid}"), format!("pinned:{bid}")]);
        assert_eq!(world.ipfs.pinned(), [file[0].0]);
        let pin: Pin = pin_of(&*world.store, &file[0].0).unwrap().unwrap();
        assert_eq!((pin.blocks, pin.foreign), (3, false), "the root, and equal leaves once");
        assert_eq!(leaves_of(&*world.store, &file[0].0, 10).unwrap().len(), 3);
    });
}

#[test]
fn a_root_that_is_no_node_is_pinned_as_raw() {
    on_paused_time(|| async {
        let world = World::new();
        let cid = MemoryIpfs::on("bidder", &world.net).hold(cids::RAW, b"just bytes");
        let bid = world.admit(4, hash(&cid), 10);
        world.hold(bid).await;
        assert_eq!(world.stage(bid).name(), "announcing");
        assert_eq!(world.ipfs.pinned(), [cids::raw_of_file(hash(&cid))]);
        assert_eq!(references(&*world.store, &cid).unwrap().len(), 1);
        assert_eq!(references(&*world.store, &cids::of_file(hash(&cid))).unwrap(), []);
    });
}

#[test]
fn content_that_comes_late_is_waited_for_as_long_as_the_hold_lasts() {
    on_paused_time(|| async {
        let world = World::new();
        let file = unixfs_file(&[6; 2_000], 1_000);
        let bid = world.admit(4, hash(&file[0].0), 2_000);
        world.hold(bid).await;
        world.pass(120).await;
        assert_eq!(world.stage(bid).name(), "fetching");
        MemoryIpfs::on("bidder", &world.net).load(&file);
        world.pass(120).await;
        assert_eq!(world.stage(bid).name(), "announcing");
    });
}

#[test]
fn a_line_about_a_fetch_says_for_which_bid_it_was() {
    on_paused_time(|| async {
        log::listen();
        let world = World::new();
        let bid = world.admit(4, FileHash([8; 32]), 10);
        world.hold(bid).await;
        world.pass(20).await;
        let broke_off = log::lines("fetch broke off");
        let span = format!("pinner{{bid={bid}}}: ");
        assert!(!broke_off.is_empty() && broke_off.iter().all(|line| line.contains(&span)), "{broke_off:?}");
    });
}

#[test]
fn a_hold_that_ends_first_leads_to_another_accept_under_a_key_of_its_own() {
    on_paused_time(|| async {
        let world = World::new();
        let bid = world.admit(4, FileHash([8; 32]), 10);
        world.hold(bid).await;
        world.chain_time(1_001);
        world.pass(6).await;
        assert_eq!(world.stage(bid).name(), "accepting");
        assert_eq!(world.intents(), [format!("accept:{bid}"), format!("accept:{bid}:1")]);
    });
}

#[test]
fn a_restart_in_mid_fetch_goes_on_from_the_store() {
    on_paused_time(|| async {
        let mut world = World::new();
        let file = unixfs_file(&(0..40_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>(), 1_000);
        MemoryIpfs::on("bidder", &world.net).load(&file[..80]);
        let bid = world.admit(4, hash(&file[0].0), 160_000);
        world.hold(bid).await;
        assert_eq!(world.stage(bid).name(), "fetching");
        world.restart().await;
        MemoryIpfs::on("late", &world.net).load(&file[80..]);
        world.pass(30).await;
        assert_eq!(world.stage(bid).name(), "announcing");
        assert_eq!(world.intents().len(), 2, "one accept, one announcement");
    });
}

#[test]
fn content_over_its_cap_or_that_nobody_could_audit_is_given_up_and_let_go() {
    on_paused_time(|| async {
        let world = World::new();
        let large = world.offer(&(0..600_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>());
        let bid = world.admit(4, hash(&large[0].0), 1);
        world.hold(bid).await;
        world.pass(60).await;
        assert!(matches!(world.stage(bid), Stage::Failed { reason: Failure::Content(_) }));
        assert_eq!(references(&*world.store, &large[0].0).unwrap(), []);

        // A block of 3 MiB hashes as it should, but does not pass between IPFS nodes.
        let odd = unixfs_file(&vec![1; 3 << 20], 3 << 20);
        MemoryIpfs::on("odd", &world.net).load(&odd);
        let bid = world.admit(5, hash(&odd[0].0), 3 << 20);
        world.hold(bid).await;
        let Stage::Failed { reason: Failure::Content(why) } = world.stage(bid) else { panic!() };
        assert!(why.contains("could not be audited"), "{why}");
        assert!(!world.intents().contains(&format!("pinned:{bid}")));
    });
}

#[test]
fn the_best_paid_bids_go_first_and_only_as_many_as_there_are_places() {
    on_paused_time(|| async {
        let world = World::new();
        let bids = [1, 9, 5].map(|id| world.admit(id, FileHash([id as u8; 32]), 10));
        world.pass(6).await;
        let stages = bids.map(|bid| world.stage(bid).name());
        assert_eq!(stages, ["admitted", "accepting", "accepting"]);
    });
}

impl World {
    /// The chain settled the bid.
    async fn settle(&self, bid: BidKey) {
        let mut batch = Batch::new();
        let zero = Wei::ZERO;
        batch.put(&Fact {
            seq: next_seq::<Fact>(&*self.store).unwrap(),
            market: MARKET,
            at: crate::domain::market::Position {
                block: BlockHeight(9),
                log: 0,
                hash: BlockHash([9; 32]),
                time: chain_now(&*self.store).unwrap(),
                tx: TxHash([9; 32]),
            },
            event: MarketEvent::Settled {
                bid: bid.id,
                outcome: Settlement::Paid,
                hoster: zero,
                validators: zero,
                bidder: zero,
            },
            retracted: false,
        });
        self.store.commit(batch).unwrap();
        self.pass(6).await;
    }
}

#[test]
fn content_is_unpinned_when_nobody_needs_it_and_its_grace_is_over_not_before() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&[5; 3_500]);
        let bids = [4, 5].map(|id| world.admit(id, hash(&file[0].0), 3_500));
        for bid in bids {
            world.hold(bid).await;
        }
        world.settle(bids[0]).await;
        world.clock.advance(2 * GRACE_MS);
        world.pass(6).await;
        assert_eq!(world.ipfs.pinned().len(), 1, "the other bid needs it");
        world.settle(bids[1]).await;
        world.pass(60).await;
        assert_eq!(world.ipfs.pinned().len(), 1, "its grace is not over");
        world.clock.advance(GRACE_MS);
        world.pass(6).await;
        assert_eq!(world.ipfs.pinned(), []);
        assert_eq!(leaves_of(&*world.store, &file[0].0, 10).unwrap(), []);
        assert_eq!(pin_of(&*world.store, &file[0].0).unwrap(), None);
    });
}

#[test]
fn a_pin_that_was_there_before_us_is_never_unpinned_by_us() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&[5; 3_500]);
        world.ipfs.pin(file[0].0, ByteSize(1 << 20), Rc::new(|_| ())).await.unwrap();
        let bid = world.admit(4, hash(&file[0].0), 3_500);
        world.hold(bid).await;
        world.settle(bid).await;
        world.clock.advance(2 * GRACE_MS);
        world.pass(10).await;
        assert_eq!(world.stage(bid).name(), "released");
        assert_eq!(world.ipfs.pinned(), [file[0].0]);
    });
}
