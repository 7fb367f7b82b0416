//! Blocks on disk and pins of them: damage, restarts, names, depth, and disk that is given back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests damage files")]

mod support;

use std::path::Path;
use std::time::Duration;

use embedded_ipfs::{fetch_from, links, AddOptions, Answer, Cid, Error, Node, PinLimits, Progress};
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
