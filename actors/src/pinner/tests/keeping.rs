//! What was kept stays kept: through restarts and kills, beside bids, and in great numbers.

use std::cell::Cell;

use proptest::prelude::*;

use super::mirroring::{dead, set, Node};
use super::*;
use crate::ports::disk;
use crate::ports::store::{Error, Row, Table};
use crate::records::room::Room;

const ROOMY: u64 = 1 << 30;

#[test]
fn a_restart_goes_on_with_what_is_still_to_be_brought() {
    on_paused_time(|| async {
        let mut node = Node::new();
        let roots = node.offer(0..300, 100);
        node.peer("ann", ROOMY, 1_000);
        node.lists("ann", &[("a.json", roots.clone())]);
        tokio::time::sleep(Duration::from_millis(150)).await;
        let before = node.pinned().len();
        assert!(before > 0 && before < 300, "{before}");
        node.die().await;
        node.pass(10).await;
        assert_eq!(node.pinned(), set(&roots));
        let told = node.mirrored("ann").await;
        assert_eq!((told.pinned, told.bytes, told.generation_kept), (300, 30_000, 1));
        // What this node pinned before it died is its own.
        node.lists("ann", &[]);
        node.pass(2).await;
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&[]));
    });
}

#[test]
fn what_is_told_to_be_here_is_durable_and_so_is_all_of_it_at_the_end_of_an_orderly_stop() {
    on_paused_time(|| async {
        let mut node = Node::new();
        let roots = node.offer(0..300, 100);
        node.peer("ann", ROOMY, 1_000);
        node.lists("ann", &[("a.json", roots.clone())]);
        let mut told = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            told = node.mirrored("ann").await.pinned;
            assert_eq!(Room::read(&*node.store).unwrap().pins, told);
        }
        assert!(told > 0 && told < 300, "{told}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        node.stop().await;
        let written = Room::read(&*node.store).unwrap().pins;
        assert!(written > told && written < 300, "{told}, then {written}");
    });
}

/// A disk that counts how often it is asked for its room.
struct Counted(MemoryDisk, Cell<u32>);

impl Disk for Counted {
    fn free(&self) -> Result<ByteSize, disk::Error> {
        self.1.set(self.1.get() + 1);
        self.0.free()
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<String, disk::Error> {
        self.0.write(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, disk::Error> {
        self.0.read(name)
    }
}

#[test]
fn roots_that_come_together_ask_the_disk_for_its_room_once() {
    on_paused_time(|| async {
        let mut node = Node::new();
        let roots = node.hold(0..500);
        node.stop().await;
        let asked = Rc::new(Counted(MemoryDisk::default(), Cell::new(0)));
        node.start_with(node.store.clone(), asked.clone());
        node.peer("ann", ROOMY, 1_000);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(10).await;
        assert_eq!(node.pinned(), set(&roots));
        assert!(asked.1.get() < 100, "asked {} times for 500 roots", asked.1.get());
    });
}

#[test]
fn a_root_that_is_listed_anew_in_the_moment_of_its_release_is_here_afterwards() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..1, 100);
        node.peer("ann", ROOMY, 100);
        node.peer("bob", ROOMY, 100);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(3).await;
        for wait in 0..20 {
            node.lists("ann", &[]);
            node.pass(6).await;
            node.clock.advance(GRACE_MS);
            node.tell("ann");
            tokio::time::sleep(Duration::from_millis(wait)).await;
            node.lists("bob", &[("b.json", roots.clone())]);
            node.pass(3).await;
            assert_eq!(node.pinned(), set(&roots), "after {wait} ms");
            assert!(pin_of(&*node.store, &roots[0]).unwrap().is_some_and(|pin| !pin.foreign), "it is ours");
            node.lists("ann", &[("a.json", roots.clone())]);
            node.lists("bob", &[]);
            node.pass(3).await;
        }
    });
}

#[test]
fn what_the_operator_lists_is_brought_and_goes_when_it_is_listed_no_more() {
    on_paused_time(|| async {
        let mut node = Node::new();
        let roots = node.offer(0..5, 100);
        node.own(&roots);
        node.pass(2).await;
        assert_eq!(node.pinned(), set(&roots));
        node.restart().await;
        let mut batch = Batch::new();
        crate::records::hosting::unrefer(&mut batch, roots[0], Owner::Manual);
        node.store.commit(batch).unwrap();
        node.pass(70).await;
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&roots[1..]), "also if nobody told");
    });
}

#[test]
fn a_root_that_a_bid_and_a_peer_need_is_kept_as_long_as_either_does() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&[5; 3_500]);
        let bid = world.admit(4, hash(&file[0].0), 3_500);
        world.hold(bid).await;
        let mut batch = Batch::new();
        crate::records::hosting::keep(&*world.store, &mut batch, file[0].0, Owner::Manual).unwrap();
        world.store.commit(batch).unwrap();
        world.pinner.as_ref().unwrap().do_send(KeepOwn);
        world.pass(2).await;
        world.settle(bid).await;
        world.clock.advance(2 * GRACE_MS);
        world.pass(10).await;
        assert_eq!(world.stage(bid).name(), "released");
        assert_eq!(world.ipfs.pinned(), [file[0].0]);
        let mut batch = Batch::new();
        let now = WallTime(0);
        crate::records::hosting::let_go(&*world.store, &mut batch, file[0].0, Owner::Manual, now).unwrap();
        world.store.commit(batch).unwrap();
        world.pass(10).await;
        assert_eq!(world.ipfs.pinned(), []);
    });
}

#[test]
fn a_bid_takes_over_a_root_that_is_being_brought_and_both_have_it() {
    on_paused_time(|| async {
        let world = World::new();
        let file = unixfs_file(&(0..20_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>(), 1_000);
        MemoryIpfs::on("bidder", &world.net).load(&file[..60]);
        let mut batch = Batch::new();
        crate::records::hosting::keep(&*world.store, &mut batch, file[0].0, Owner::Manual).unwrap();
        world.store.commit(batch).unwrap();
        world.pinner.as_ref().unwrap().do_send(KeepOwn);
        world.pass(2).await;
        let bid = world.admit(4, hash(&file[0].0), 80_000);
        world.hold(bid).await;
        assert_eq!(world.stage(bid).name(), "fetching");
        MemoryIpfs::on("late", &world.net).load(&file[60..]);
        world.pass(30).await;
        assert_eq!(world.stage(bid).name(), "announcing");
        assert_eq!(leaves_of(&*world.store, &file[0].0, 1_000).unwrap().len(), file.len());
        world.settle(bid).await;
        world.clock.advance(2 * GRACE_MS);
        world.pass(10).await;
        assert_eq!(world.ipfs.pinned(), [file[0].0], "the operator needs it still");
    });
}

/// A store that counts what is asked of it.
struct Counting {
    store: Rc<MemoryStore>,
    reads: Cell<u64>,
}

impl Store for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.reads.set(self.reads.get() + 1);
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
        let rows = self.store.scan(table, from, until, order, limit)?;
        self.reads.set(self.reads.get() + 1 + rows.len() as u64);
        Ok(rows)
    }
    fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.store.commit(batch)
    }
}

#[test]
fn a_set_of_100_000_roots_costs_a_few_reads_a_root_and_a_commit_for_hundreds() {
    on_paused_time(|| async {
        let mut node = Node::new();
        node.stop().await;
        let counting = Rc::new(Counting { store: node.store.clone(), reads: Cell::new(0) });
        node.start_on(counting.clone());
        node.disk.set_free(ByteSize(0));
        let roots = dead(0..100_000);
        node.peer("ann", ROOMY, 200_000);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(10).await;
        assert_eq!(node.mirrored("ann").await.pending, 100_000);
        assert_eq!(node.generation_kept("ann"), 1);
        // One to write each down, one to compare it with what the backend has.
        assert!(counting.reads.get() < 250_000, "{} reads", counting.reads.get());
        assert!(node.store.commits() < 500, "{} commits", node.store.commits());
        // No sweep looks at them one by one.
        let (before, asked) = (counting.reads.get(), node.ipfs.touches());
        node.pass(60).await;
        assert!(counting.reads.get() - before < 200, "{} reads", counting.reads.get() - before);
        assert_eq!(node.ipfs.touches(), asked);
    });
}

/// What may happen to a node that mirrors two peers.
#[derive(Debug, Clone)]
enum Happening {
    /// A peer lists these from now on: bits of roots.
    Lists(bool, u16),
    /// A peer is removed.
    Removed(bool),
    /// Minutes pass.
    Passed(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (any::<bool>(), 0..1_u16 << 12).prop_map(|(who, roots)| Happening::Lists(who, roots)),
        1 => any::<bool>().prop_map(Happening::Removed),
        3 => (1..90_u64).prop_map(Happening::Passed),
    ]
}

/// What follows on something that happened.
#[derive(Debug, Clone)]
enum Then {
    /// Milliseconds pass.
    Waits(u64),
    /// The process is killed so many milliseconds later.
    Killed(u64),
    /// The process is killed behind so many commits.
    KilledBehind(u64),
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        (0..30_u64).prop_map(Then::Waits),
        (0..30_u64).prop_map(Then::Killed),
        (0..6_u64).prop_map(Then::KilledBehind),
        Just(Then::Waits(8_000)),
    ]
}

fn name(who: bool) -> &'static str {
    if who {
        "ann"
    } else {
        "bob"
    }
}

/// What the store calls complete and somebody needs is pinned; what is somebody else's stays pinned; and the room
/// that is written down is the room that is taken.
fn nothing_is_lost(node: &Node, foreign: &BTreeSet<Cid>) {
    let pinned = node.pinned();
    assert!(pinned.is_superset(foreign), "a foreign pin is gone");
    assert_eq!(Room::read(&*node.store).unwrap(), Room::count(&*node.store).unwrap());
    for pin in store::list::<Pin>(&*node.store, &[], Order::Ascending, 100).unwrap() {
        let needed = !references(&*node.store, &pin.cid).unwrap().is_empty();
        assert!(!needed || pin.pinned_at.is_none() || pinned.contains(&pin.cid), "{} is lost", pin.cid);
    }
}

async fn play(happenings: Vec<(Happening, Then)>) {
    let mut node = Node::new();
    let (theirs, local, remote) = (node.hold(0..3), node.hold(3..7), node.offer(7..11, 60));
    for cid in &theirs {
        node.ipfs.pin(*cid, ByteSize(ROOMY), Rc::new(|_| ())).await.unwrap();
    }
    let foreign = set(&theirs);
    let pool = [theirs, local, remote, dead(0..1)].concat();
    let mut lists = BTreeMap::<&str, BTreeSet<Cid>>::new();
    for (happening, then) in happenings {
        match happening {
            Happening::Lists(who, bits) => {
                let roots = pool.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
                let roots: Vec<Cid> = roots.map(|(_, cid)| *cid).collect();
                let (front, back) = roots.split_at(roots.len() / 2);
                node.peer(name(who), ROOMY, 100);
                node.lists(name(who), &[("a.json", front.to_vec()), ("b.json", back.to_vec())]);
                lists.insert(name(who), set(&roots));
            }
            Happening::Removed(who) => {
                node.remove_peer(name(who));
                lists.remove(name(who));
            }
            Happening::Passed(minutes) => node.clock.advance(minutes * 60_000),
        }
        let millis = |millis| tokio::time::sleep(Duration::from_millis(millis));
        match then {
            Then::Waits(time) => millis(time).await,
            Then::Killed(time) => {
                millis(time).await;
                node.die().await;
            }
            Then::KilledBehind(commits) => {
                node.store.fuse().burn_after(commits);
                node.pass(6).await;
                node.die().await;
            }
        }
        nothing_is_lost(&node, &foreign);
    }
    node.pass(20).await;
    node.outlast_grace().await;
    nothing_is_lost(&node, &foreign);
    for who in ["ann", "bob"] {
        assert_eq!(node.kept_for(who), lists.get(who).cloned().unwrap_or_default(), "references of {who}");
    }
    let listed: BTreeSet<Cid> = lists.into_values().flatten().collect();
    let alive: BTreeSet<Cid> = listed.intersection(&set(&pool[..11])).copied().collect();
    assert_eq!(node.pinned(), alive.union(&foreign).copied().collect(), "all that is listed, nothing else");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn references_become_what_is_listed_whatever_happens_on_the_way(
        happenings in prop::collection::vec((happening(), then()), 1..14),
    ) {
        on_paused_time(|| play(happenings));
    }
}
