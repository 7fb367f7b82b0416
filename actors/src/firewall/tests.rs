use std::net::Ipv4Addr;

use super::*;
use crate::domain::bid::Stage;
use crate::domain::cids::{DAG_PB, RAW};
use crate::domain::market::{BidTerms, Market};
use crate::domain::units::{BidId, ByteSize, ChainTime, FileHash, WallTime, Wei};
use crate::ports::store::Batch;
use crate::records::hosting::{index_leaf, refer};
use crate::testkit::ipfs::unixfs_file;
use crate::testkit::{ManualClock, MemoryIpfs, MemoryStore};

const ME: Address = Address([1; 20]);

struct World {
    ipfs: Rc<MemoryIpfs>,
    store: Rc<MemoryStore>,
    clock: Rc<ManualClock>,
    firewall: Addr<Firewall>,
}

fn key(id: u64) -> BidKey {
    BidKey { market: Market { chain: 1337, address: Address([9; 20]) }, id: BidId(id) }
}

fn world(limits: Limits) -> World {
    let (ipfs, store) = (Rc::new(MemoryIpfs::new()), Rc::new(MemoryStore::new()));
    let clock = Rc::new(ManualClock::at(WallTime(0)));
    let ports = Ports { ipfs: ipfs.clone(), store: store.clone(), clock: clock.clone() };
    let config = Config { hoster: ME, limits, backend_ms: 1000 };
    let firewall = Firewall::new(config, ports, Guard::none()).start();
    World { ipfs, store, clock, firewall }
}

fn hosting() -> Stage {
    Stage::Hosting { pinned_at: ChainTime(1), end: ChainTime(2), close: ChainTime(3), attempt: 0 }
}

impl World {
    /// A bid on a root in that stage, with leaves below it.
    fn host(&self, id: u64, root: Cid, stage: Stage, leaves: &[Cid]) {
        let terms = BidTerms {
            bidder: Address([2; 20]),
            file: FileHash([0; 32]),
            size: ByteSize(1),
            amount: Wei::ZERO,
            pool: Wei::ZERO,
            duration: 1,
            min_validations: 1,
        };
        let mut batch = Batch::new();
        let (placed_at, since) = (ChainTime(0), WallTime(0));
        batch.put(&HostedBid { bid: key(id), terms, cid: root, placed_at, stage, since });
        refer(&mut batch, root, Owner::Bid(key(id)));
        for leaf in leaves {
            index_leaf(&mut batch, &leaf.hash().to_bytes(), root);
        }
        self.store.commit(batch).unwrap();
    }

    async fn ask(&self, question: Question) -> (u16, Content) {
        self.ask_of(question, None, None).await
    }

    async fn ask_of(
        &self,
        question: Question,
        hoster: Option<Address>,
        bid: Option<BidKey>,
    ) -> (u16, Content) {
        let from = Ipv4Addr::new(1, 1, 1, 1).into();
        let request = Request { question, hoster, bid };
        // Another second, so that the rate is never what a test stumbles over.
        self.clock.advance(1000);
        let reply = self.firewall.send(Ask { request, from }).await.unwrap();
        (reply.status, reply.content)
    }
}

#[actix::test]
async fn a_root_and_a_leaf_of_a_live_bid_are_served_by_every_route() {
    let w = world(Limits::default());
    let file = unixfs_file(b"leaf", 4);
    w.ipfs.load(&file);
    let ((root, node), leaf) = (file[0].clone(), file[1].0);
    w.host(7, root, hosting(), &[leaf]);
    w.ipfs.pin(root, ByteSize(100), Rc::new(|_| ())).await.unwrap();
    let (block, bytes) = (|cid, bytes: &[u8]| (200, Content::Block(cid, bytes.to_vec())), b"leaf");
    assert_eq!(w.ask(Question::Raw(leaf)).await, block(leaf, bytes));
    assert_eq!(w.ask(Question::Block(root)).await, block(root, &node));
    assert_eq!(w.ask(Question::RawHead(leaf)).await, (200, Content::Length(leaf, 4)));
    let stat = format!(r#"{{"Key":"{leaf}","Size":4}}"#).into_bytes();
    assert_eq!(w.ask(Question::Stat(leaf)).await, (200, Content::Json(stat)));
    assert!(matches!(w.ask(Question::Pinned(root)).await, (200, Content::Json(_))));
    assert_eq!(w.ask(Question::Pinned(leaf)).await.0, 404, "below a pin is not pinned");
    let identity = br#"{"AgentVersion":"memory/1","ID":"12D3KooWMemory"}"#.to_vec();
    assert_eq!(w.ask(Question::Identity).await, (200, Content::Json(identity)));
    // The version of a CID is a matter of taste; the block is the same.
    let other = Cid::new_v1(DAG_PB, *root.hash());
    assert_eq!(w.ask(Question::Raw(other)).await, block(other, &node));
}

#[actix::test]
async fn the_probe_is_answered_with_nothing_and_without_the_backend() {
    let w = world(Limits::default());
    assert_eq!(w.ask_of(Question::Probe, Some(ME), None).await, (200, Content::Empty));
    assert_eq!(w.ipfs.touches(), 0);
}

#[actix::test]
async fn content_of_no_live_bid_is_not_served_and_the_backend_is_not_touched() {
    let w = world(Limits::default());
    let unknown = w.ipfs.hold(RAW, b"mine alone");
    for (id, stage) in [
        (1, Stage::Fetching { hold_until: ChainTime(1), attempt: 0 }),
        (2, Stage::Accepting { attempt: 0 }),
        (3, Stage::Released { how: None, attempt: 0 }),
        (4, Stage::Lost { to: None }),
    ] {
        let root = w.ipfs.hold(RAW, &[id as u8]);
        let leaf = w.ipfs.hold(RAW, &[id as u8, 0]);
        w.host(id, root, stage, &[leaf]);
        assert_eq!(w.ask(Question::Raw(root)).await.0, 404, "{id}");
        assert_eq!(w.ask(Question::Raw(leaf)).await.0, 404, "{id}");
        assert_eq!(w.ask_of(Question::Raw(root), None, Some(key(id))).await.0, 421, "{id}");
    }
    // A peer's or the operator's content is pinned, but it is nobody's contract.
    let mirrored = w.ipfs.hold(RAW, b"mirrored");
    let mut batch = Batch::new();
    refer(&mut batch, mirrored, Owner::Peer("friend".into()));
    w.store.commit(batch).unwrap();
    for cid in [unknown, mirrored] {
        for question in [Question::Raw, Question::RawHead, Question::Block, Question::Stat, Question::Pinned]
        {
            assert_eq!(w.ask(question(cid)).await.0, 404);
        }
    }
    assert_eq!(w.ipfs.touches(), 0);
}

#[actix::test]
async fn a_question_that_means_another_hoster_or_bid_is_misdirected() {
    let w = world(Limits::default());
    let (root, other) = (w.ipfs.hold(RAW, b"one"), w.ipfs.hold(RAW, b"two"));
    w.host(7, root, hosting(), &[]);
    w.host(8, other, hosting(), &[]);
    let ask = |hoster, bid| w.ask_of(Question::Raw(root), hoster, bid);
    assert_eq!(ask(Some(ME), Some(key(7))).await.0, 200);
    assert_eq!(ask(Some(Address([5; 20])), Some(key(7))).await.0, 421);
    assert_eq!(ask(Some(ME), Some(key(99))).await.0, 421);
    assert_eq!(w.ask_of(Question::Probe, Some(Address([5; 20])), None).await.0, 421);
    // Ours, but this bid is not the one that the block belongs to.
    assert_eq!(ask(Some(ME), Some(key(8))).await.0, 404);
    assert_eq!(w.ipfs.touches(), 1);
}

#[actix::test]
async fn a_rotten_block_never_leaves() {
    let w = world(Limits::default());
    let root = w.ipfs.hold(RAW, b"good");
    w.host(7, root, hosting(), &[]);
    w.ipfs.rot(&root, b"evil");
    for question in [Question::Raw, Question::RawHead, Question::Block, Question::Stat] {
        assert_eq!(w.ask(question(root)).await, (500, Content::Refusal("corrupt")));
    }
}

#[actix::test]
async fn a_missing_block_a_large_one_and_a_broken_backend_are_told_apart() {
    let w = world(Limits::default());
    let large = w.ipfs.hold(RAW, &vec![0; dag::MAX_BLOCK + 1]);
    let missing: Cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".parse().unwrap();
    w.host(7, large, hosting(), &[missing]);
    assert_eq!(w.ask(Question::Raw(missing)).await, (404, Content::Refusal("not_found")));
    assert_eq!(w.ask(Question::Raw(large)).await, (404, Content::Refusal("not_auditable")));
    w.ipfs.set_broken(true);
    assert_eq!(w.ask(Question::Raw(missing)).await, (503, Content::Refusal("unavailable")));
    w.store.fuse().blow();
    assert_eq!(w.ask(Question::Raw(missing)).await, (503, Content::Refusal("unavailable")));
}

#[actix::test]
async fn an_answer_holds_its_place_until_it_is_out() {
    let w = world(Limits { at_once: 2, per_second: 100, ..Limits::default() });
    let root = w.ipfs.hold(RAW, b"root");
    w.host(7, root, hosting(), &[]);
    let ask = |last| {
        let request = Request { question: Question::Raw(root), hoster: None, bid: None };
        w.firewall.send(Ask { request, from: Ipv4Addr::new(1, 1, 1, last).into() })
    };
    let (first, second) = (ask(1).await.unwrap(), ask(1).await.unwrap());
    let touches = w.ipfs.touches();
    let third = ask(1).await.unwrap();
    assert_eq!((third.status, third.retry_after), (429, Some(1)));
    assert_eq!(w.ipfs.touches(), touches, "the backend hears nothing of it");
    assert_eq!(ask(2).await.unwrap().status, 200, "another source has its own places");
    drop(first);
    assert_eq!(ask(1).await.unwrap().status, 200);
    drop(second);
}

#[actix::test]
async fn a_source_that_had_its_bytes_is_refused_before_the_backend() {
    let w = world(Limits { bytes_per_day: 8, ..Limits::default() });
    let root = w.ipfs.hold(RAW, b"root");
    w.host(7, root, hosting(), &[]);
    for _ in 0..2 {
        assert_eq!(w.ask(Question::Raw(root)).await.0, 200);
    }
    assert_eq!(w.ask(Question::Raw(root)).await, (429, Content::Refusal("too_many_requests")));
    assert_eq!(w.ipfs.touches(), 2);
    w.clock.advance(86_400_000);
    assert_eq!(w.ask(Question::Raw(root)).await.0, 200);
}
