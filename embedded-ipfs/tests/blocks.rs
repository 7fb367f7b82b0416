//! Blocks on disk and pins of them: damage, found by reading everything too, restarts, names, depth, and disk that is given
//! back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests damage files")]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded_ipfs::{
    fetch_from, links, AddOptions, Answer, Cid, Config, Error, Event, Node, Observer, PinLimits, Progress,
    Verified,
};
use futures::{StreamExt, TryStreamExt};
use support::{address, config, node, noise, within};

const MIB: usize = 1 << 20;
const RAW: u64 = 0x55;
const DAG_CBOR: u64 = 0x71;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Changes one byte of a block in the segments of a node that is stopped.
fn damage(home: &Path, block: &[u8]) {
    for segment in std::fs::read_dir(home.join("blocks")).unwrap() {
        let path = segment.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(block.len()).position(|window| window == block) {
            bytes[at + block.len() / 2] ^= 1;
            return std::fs::write(&path, bytes).unwrap();
        }
    }
    panic!("no segment has the block");
}

async fn ask_alone(node: &Node, cid: Cid) -> Answer {
    let mut answers = fetch_from(address(node), vec![cid], support::LIMIT, 4 << 20).await.unwrap();
    answers.remove(0).answer
}

#[tokio::test]
async fn a_block_damaged_on_disk_is_never_served_and_comes_again_from_a_peer() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let file = noise(2 * MIB, 1);
        let added = a.add(&file[..], AddOptions::default()).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        b.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
        let root = b.local(&added.cid).await.unwrap().unwrap();
        let leaf = links(&added.cid, &root).unwrap()[3];
        b.stop().await;
        damage(right.path(), &file[3 * MIB / 4..MIB]);
        damage(right.path(), &root);

        let b = node(&right).await;
        assert_eq!(b.stats().await.unwrap().damaged_blocks, 0, "nobody has read them yet");
        for damaged in [leaf, added.cid] {
            assert_eq!(ask_alone(&b, damaged).await, Answer::DontHave);
        }
        assert_eq!(b.stats().await.unwrap().damaged_blocks, 2);
        assert!(matches!(b.gc(Duration::ZERO).await, Err(Error::NotHere(cid)) if cid == added.cid));
        b.connect(address(&a)).await.unwrap();
        assert!(b.get(&leaf).await.unwrap() == a.local(&leaf).await.unwrap().unwrap());
        // This one nobody asks for but the node itself.
        while !b.has(&added.cid).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(matches!(ask_alone(&b, leaf).await, Answer::Block { .. }));
        assert_eq!(b.gc(Duration::ZERO).await.unwrap().blocks, 0);
        assert!(b.read(&added.cid, u64::MAX).await.unwrap() == file);
    })
    .await;
}

/// A node with a file of 3 MiB, and another that has pinned it and was stopped: the root and its leaves.
async fn pinned(left: &tempfile::TempDir, right: &tempfile::TempDir) -> (Node, Cid, Vec<Cid>) {
    let (a, b) = (node(left).await, node(right).await);
    let added = a.add(&noise(3 * MIB, 1)[..], AddOptions::default()).await.unwrap();
    b.connect(address(&a)).await.unwrap();
    b.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
    b.stop().await;
    let leaves = links(&added.cid, &a.local(&added.cid).await.unwrap().unwrap()).unwrap();
    (a, added.cid, leaves)
}

fn raw(cid: &Cid) -> Cid {
    Cid::new_v1(0x55, *cid.hash())
}

#[tokio::test]
async fn damage_to_what_nobody_reads_is_found_told_and_made_good_by_a_peer() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, root, leaves) = pinned(&left, &right).await;
        let file = noise(3 * MIB, 1);
        damage(right.path(), &file[5 * MIB / 4..3 * MIB / 2]);
        damage(right.path(), &a.local(&root).await.unwrap().unwrap());
        let heard: Arc<Mutex<Vec<Cid>>> = Arc::default();
        let notes = heard.clone();
        let observer = Observer::new(move |event| {
            if let Event::Damaged { cid } = event {
                notes.lock().unwrap().push(*cid);
            }
        });
        let b = Node::start(Config { observer, verify_every: None, ..config(&right) }).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        assert!(b.has(&leaves[5]).await.unwrap(), "nobody has read it");
        let mut progress = Progress::default();
        let report = b.verify(u64::MAX, |now| progress = now).await.unwrap();
        let mut damaged = report.damaged.clone();
        damaged.sort();
        let mut expected = vec![raw(&leaves[5]), raw(&root)];
        expected.sort();
        assert_eq!((&damaged, report.damaged_blocks, report.blocks), (&expected, 2, 11));
        assert_eq!((progress.blocks, progress.bytes), (report.blocks, report.bytes));
        let mut told = heard.lock().unwrap().clone();
        told.sort();
        assert_eq!(told, expected);

        // Nobody asks for them but the node itself.
        for cid in [&leaves[5], &root] {
            while !b.has(cid).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let again = b.verify(u64::MAX, |_| {}).await.unwrap();
        assert_eq!(again, Verified { blocks: 13, bytes: again.bytes, ..Verified::default() });
        assert!(b.read(&root, u64::MAX).await.unwrap() == file);
        let stats = b.stats().await.unwrap();
        assert_eq!((stats.damaged_blocks, stats.verified_blocks), (2, 11 + 13));
        assert!(stats.last_verified.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_node_reads_everything_by_itself_and_mends_what_it_finds() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, _, leaves) = pinned(&left, &right).await;
        damage(right.path(), &noise(3 * MIB, 1)[5 * MIB / 4..3 * MIB / 2]);
        let every = Some(Duration::from_secs(1));
        let b = Node::start(Config { verify_every: every, ..config(&right) }).await.unwrap();
        while b.has(&leaves[5]).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        b.connect(address(&a)).await.unwrap();
        while !b.has(&leaves[5]).await.unwrap() || b.stats().await.unwrap().last_verified.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        b.stop().await;
        let b = Node::start(Config { verify_every: None, ..config(&right) }).await.unwrap();
        assert!(b.stats().await.unwrap().last_verified.is_some(), "a restart forgets nothing");
    })
    .await;
}

#[tokio::test]
async fn a_verification_stands_in_nobodys_way_and_ends_when_it_is_dropped() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let gone = node.add(&noise(3 * MIB, 1)[..], AddOptions::default()).await.unwrap();
        let (seen, mut blocks) = tokio::sync::watch::channel(0);
        let slow = node.verify(1, |now| {
            seen.send_replace(now.blocks);
        });
        let meanwhile = async {
            blocks.wait_for(|blocks| *blocks > 0).await.unwrap();
            let kept = node.add(&noise(MIB, 2)[..], AddOptions::default()).await.unwrap();
            node.unpin(&gone.cid).await.unwrap();
            assert!(node.gc(Duration::ZERO).await.unwrap().blocks > 0);
            assert!(node.read(&kept.cid, u64::MAX).await.unwrap() == noise(MIB, 2));
        };
        tokio::select! {
            report = slow => panic!("a byte a second: {report:?}"),
            () = meanwhile => {}
        }
        let before = node.stats().await.unwrap();
        assert!(before.verified_blocks > 0 && before.last_verified.is_none(), "{before:?}");
        let report = node.verify(u64::MAX, |_| {}).await.unwrap();
        assert_eq!((report.blocks, report.damaged_blocks), (before.blocks, 0));
        node.stop().await;
        assert!(matches!(node.verify(1, |_| {}).await, Err(Error::Stopped)));
    })
    .await;
}

#[tokio::test]
async fn a_pin_that_broke_off_is_taken_up_after_a_restart_without_asking_twice() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let added = a.add(&noise(30 * MIB, 2)[..], AddOptions::default()).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        let (seen, mut blocks) = tokio::sync::watch::channel(0);
        tokio::select! {
            _ = b.pin(&added.cid, PinLimits::default(), |now: Progress| { seen.send_replace(now.blocks); }) => panic!("too fast"),
            _ = blocks.wait_for(|blocks| *blocks > 20) => {}
        }
        b.stop().await;

        let b = node(&right).await;
        assert!(!b.is_pinned(&added.cid).await.unwrap());
        let swept = b.gc(Duration::from_secs(3600)).await.unwrap();
        assert_eq!(swept.blocks, 0);
        assert!(swept.spared > 20, "{swept:?}");
        b.connect(address(&a)).await.unwrap();
        let report = b.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!(b.stats().await.unwrap().received_blocks, report.blocks - swept.spared);
    })
    .await;
}

#[tokio::test]
async fn pins_have_names_that_are_listed_and_changed() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let cid = node.put(RAW, &b"some"[..]).await.unwrap();
        let other = node.put(RAW, &b"other"[..]).await.unwrap();
        let limits = PinLimits::default();
        assert_eq!(node.pin_named(&cid, "first", limits, |_| {}).await.unwrap().name, "first");
        assert_eq!(node.pin(&cid, limits, |_| {}).await.unwrap().name, "first", "no name changes none");
        assert_eq!(node.pin_named(&cid, "second", limits, |_| {}).await.unwrap().name, "second");
        assert_eq!(node.pin(&other, limits, |_| {}).await.unwrap().name, "");
        let too_long = "n".repeat(256);
        let refused = node.pin_named(&other, &too_long, limits, |_| {}).await;
        assert!(matches!(refused, Err(Error::PinName { size: 256 })));
        node.stop().await;
        assert!(matches!(node.pins().next().await, Some(Err(Error::Stopped))));

        let node = Node::start(config(&home)).await.unwrap();
        let mut names: Vec<_> = node.pins().map_ok(|pin| (pin.cid, pin.name)).try_collect().await.unwrap();
        names.sort_by_key(|(_, name)| name.clone());
        assert_eq!(names, [(other, String::new()), (cid, "second".into())]);
    })
    .await;
}

#[tokio::test]
async fn a_pin_deeper_than_its_cap_is_refused() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let mut root = node.put(RAW, &b"the bottom"[..]).await.unwrap();
        for _ in 0..3 {
            let link = [&[0][..], &root.to_bytes()].concat();
            let block = [&[0x81, 0xd8, 42, 0x58, link.len() as u8][..], &link].concat();
            root = node.put(DAG_CBOR, block).await.unwrap();
        }
        let deep = |max_depth| PinLimits { max_depth, ..PinLimits::default() };
        assert!(matches!(node.pin(&root, deep(2), |_| {}).await, Err(Error::TooDeep { limit: 2 })));
        assert!(!node.is_pinned(&root).await.unwrap());
        assert_eq!(node.pin(&root, deep(3), |_| {}).await.unwrap().blocks, 4);
    })
    .await;
}

#[tokio::test]
async fn disk_is_given_back_when_garbage_is_collected() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let kept = node.add(&noise(3 * MIB, 3)[..], AddOptions::default()).await.unwrap();
        let gone = node.add(&noise(90 * MIB, 4)[..], AddOptions::default()).await.unwrap();
        assert!(node.stats().await.unwrap().disk_bytes > 93 << 20);
        node.unpin(&gone.cid).await.unwrap();
        node.gc(Duration::ZERO).await.unwrap();
        let stats = node.stats().await.unwrap();
        assert!(stats.disk_bytes < stats.bytes + (16 << 20), "{stats:?}");
        assert!(node.read(&kept.cid, u64::MAX).await.unwrap() == noise(3 * MIB, 3));
    })
    .await;
}
