//! What peers list is brought: all of it, fairly, and within bounds.

use super::mirroring::{dead, set, Node};
use super::*;

const ROOMY: u64 = 1 << 30;

#[test]
fn what_a_peer_lists_is_pinned_without_any_chain() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..30, 100);
        node.peer("ann", ROOMY, 100);
        // Files overlap, and versions of a CID name one root.
        let v1 = Cid::new_v1(cids::DAG_PB, *node.offer(99..100, 10)[0].hash());
        let v0 = Cid::new_v0(*v1.hash()).unwrap();
        node.lists("ann", &[("a.json", roots[..20].to_vec()), ("b.json", roots[10..].to_vec())]);
        node.pass(3).await;
        assert_eq!(node.kept_for("ann"), set(&roots));
        assert_eq!(node.pinned(), set(&roots));
        let told = node.mirrored("ann").await;
        assert_eq!((told.roots, told.pinned, told.bytes), (30, 30, 3_000));
        assert_eq!((told.pending, told.failing, told.over_limit, told.generation_kept), (0, 0, 0, 1));
        node.lists("ann", &[("a.json", vec![v0, v1])]);
        node.pass(1).await;
        assert_eq!(node.mirrored("ann").await.roots, 1, "{v0} is {v1}");
    });
}

#[test]
fn nothing_is_asked_of_the_backend_when_a_set_did_not_change() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..30, 100);
        node.peer("ann", ROOMY, 100);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(3).await;
        let (asked, commits) = (node.ipfs.touches(), node.store.commits());
        node.tell("ann");
        node.pass(60).await;
        assert_eq!(node.ipfs.touches(), asked);
        assert!(node.store.commits() <= commits + 1, "{} commits", node.store.commits() - commits);
    });
}

#[test]
fn what_a_peer_lists_no_more_is_unpinned_when_its_grace_is_over_not_before() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..5, 100);
        node.peer("ann", ROOMY, 100);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(3).await;
        node.lists("ann", &[("a.json", roots[1..].to_vec())]);
        node.pass(3).await;
        assert_eq!(node.kept_for("ann"), set(&roots[1..]));
        assert_eq!(node.pinned().len(), 5, "its grace runs");
        assert_eq!(node.mirrored("ann").await.bytes, 400);
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&roots[1..]));
        assert_eq!(pin_of(&*node.store, &roots[0]).unwrap(), None);
    });
}

#[test]
fn what_is_listed_again_within_its_grace_stays_and_is_not_fetched_again() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..5, 100);
        node.peer("ann", ROOMY, 100);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(3).await;
        node.lists("ann", &[]);
        node.pass(60).await;
        assert_eq!(node.mirrored("ann").await.roots, 0);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(3).await;
        assert_eq!(node.mirrored("ann").await.pinned, 5);
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&roots));
    });
}

#[test]
fn a_root_that_two_peers_list_goes_when_neither_does_and_counts_for_both() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..2, 100);
        for name in ["ann", "bob"] {
            node.peer(name, ROOMY, 100);
            node.lists(name, &[("a.json", roots.clone())]);
        }
        node.pass(3).await;
        assert_eq!((node.mirrored("ann").await.bytes, node.mirrored("bob").await.bytes), (200, 200));
        node.lists("ann", &[]);
        node.pass(3).await;
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&roots));
        node.lists("bob", &[("a.json", roots[..1].to_vec())]);
        node.pass(3).await;
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&roots[..1]));
    });
}

#[test]
fn a_peer_that_is_removed_takes_its_references_along_and_nobody_elses() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..1_000, 20);
        node.peer("ann", ROOMY, 1_000);
        node.peer("bob", ROOMY, 1_000);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.lists("bob", &[("a.json", roots[..10].to_vec())]);
        node.pass(30).await;
        assert_eq!(node.pinned().len(), 1_000);
        node.remove_peer("ann");
        node.pass(3).await;
        assert_eq!(node.kept_for("ann"), set(&[]));
        assert_eq!(node.generation_kept("ann"), 0);
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&roots[..10]));
    });
}

#[test]
fn a_pin_of_somebody_else_is_kept_when_no_peer_lists_it_any_more() {
    on_paused_time(|| async {
        let node = Node::new();
        let theirs = node.hold(0..3);
        for cid in &theirs {
            node.ipfs.pin(*cid, ByteSize(ROOMY), Rc::new(|_| ())).await.unwrap();
        }
        let ours = node.offer(10..13, 40);
        node.peer("ann", ROOMY, 100);
        node.lists("ann", &[("a.json", [theirs.clone(), ours].concat())]);
        node.pass(3).await;
        assert_eq!(node.mirrored("ann").await.pinned, 6);
        node.lists("ann", &[]);
        node.pass(3).await;
        node.outlast_grace().await;
        assert_eq!(node.pinned(), set(&theirs));
    });
}

#[test]
fn no_peer_takes_more_roots_than_it_may_and_those_that_are_here_stay() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..20, 100);
        node.peer("ann", ROOMY, 10);
        node.lists("ann", &[("a.json", roots[10..].to_vec())]);
        node.pass(3).await;
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(3).await;
        assert_eq!(node.kept_for("ann"), set(&roots[10..]));
        assert_eq!(node.mirrored("ann").await.over_limit, 10);
        node.peer("ann", ROOMY, 15);
        node.pass(6).await;
        assert_eq!(node.pinned(), set(&[&roots[..5], &roots[10..]].concat()));
        assert_eq!(node.mirrored("ann").await.over_limit, 5);
    });
}

#[test]
fn no_peer_takes_more_bytes_than_it_may_and_what_is_too_large_waits_for_room() {
    on_paused_time(|| async {
        let node = Node::new();
        let (large, small) = (node.offer(0..1, 900_000)[0], node.offer(1..9, 100_000));
        node.peer("ann", 850_000, 100);
        node.lists("ann", &[("a.json", [vec![large], small.clone()].concat())]);
        node.pass(5).await;
        assert_eq!(node.pinned(), set(&small));
        let told = node.mirrored("ann").await;
        assert_eq!((told.pinned, told.too_large, told.bytes), (8, 1, 800_000));
        let asked = node.ipfs.touches();
        node.pass(600).await;
        assert_eq!(node.ipfs.touches(), asked, "nothing changed, so nothing is tried");
        node.lists("ann", &[("a.json", vec![large])]);
        node.peer("ann", 1_000_000, 100);
        node.pass(10).await;
        assert_eq!(node.mirrored("ann").await.bytes, 900_000);
    });
}

#[test]
fn nothing_comes_that_would_leave_the_disk_less_than_its_floor_or_pass_the_storage_given() {
    on_paused_time(|| async {
        let mut node = Node::new();
        let roots = node.offer(0..20, 100_000);
        node.disk.set_free(ByteSize((1 << 30) - 1));
        node.peer("ann", ROOMY, 100);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(30).await;
        assert_eq!((node.pinned().len(), node.mirrored("ann").await.pending), (0, 20));
        node.bounds.max_storage = Some(ByteSize(1_000_000));
        node.disk.set_free(ByteSize(1 << 40));
        node.restart().await;
        node.pass(30).await;
        assert_eq!(node.pinned().len(), 10);
        node.bounds.max_storage = None;
        node.restart().await;
        node.pass(30).await;
        assert_eq!(node.pinned().len(), 20);
    });
}

#[test]
fn content_that_nobody_has_holds_up_neither_other_peers_nor_what_is_listed_later() {
    on_paused_time(|| async {
        let node = Node::new();
        let (anns, bobs) = (node.offer(0..50, 100), node.offer(100..150, 100));
        let gone = dead(0..5_000);
        node.peer("bob", ROOMY, 10_000);
        node.lists("bob", &[("a.json", gone.clone())]);
        node.pass(2).await;
        node.peer("ann", ROOMY, 10_000);
        node.lists("ann", &[("a.json", anns.clone())]);
        node.pass(2).await;
        assert!(node.pinned().is_superset(&set(&anns)), "half of the places are not bob's");
        node.lists("bob", &[("a.json", [gone, bobs.clone()].concat())]);
        node.pass(15).await;
        assert!(node.pinned().is_superset(&set(&bobs)), "the newest go first");
        let told = node.mirrored("bob").await;
        assert_eq!((told.pinned, told.roots), (50, 5_050));
        assert!(told.failing >= 4 && told.failing + told.pending == 5_000, "{told:?}");
    });
}

#[test]
fn what_failed_is_tried_again_later_without_holding_a_place() {
    on_paused_time(|| async {
        let node = Node::new();
        let late = super::mirroring::content(7, 100);
        let root = crate::testkit::ipfs::cid_of(cids::RAW, &late);
        node.peer("ann", ROOMY, 100);
        node.lists("ann", &[("a.json", vec![root])]);
        node.pass(15).await;
        assert_eq!(node.mirrored("ann").await.failing, 1);
        let before = node.ipfs.touches();
        node.pass(3_600).await;
        assert!(node.ipfs.touches() - before < 12, "waits double");
        MemoryIpfs::on("late", &node.net).hold(cids::RAW, &late);
        node.pass(3_610).await;
        assert_eq!(node.mirrored("ann").await.pinned, 1);
    });
}

#[test]
fn a_backend_that_is_away_is_waited_for_and_not_asked_for_every_root() {
    on_paused_time(|| async {
        let node = Node::new();
        let roots = node.offer(0..200, 100);
        node.peer("ann", ROOMY, 1_000);
        node.lists("ann", &[("a.json", roots.clone())]);
        node.pass(0).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        node.ipfs.set_broken(true);
        node.pass(60).await;
        assert!(node.ipfs.touches() < 60, "{} questions", node.ipfs.touches());
        node.ipfs.set_broken(false);
        node.pass(40).await;
        assert_eq!(node.pinned().len(), 200);
    });
}
