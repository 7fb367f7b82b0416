//! Directories that nobody makes in good faith.

use crate::block::{DAG_PB, RAW};
use crate::dag::pb::{encode, Link};
use crate::unixfs::{directory, shard};
use crate::{Cid, Config, Error, Node};

async fn node() -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(Config::new(dir.path())).await.unwrap();
    (dir, node)
}

async fn put(node: &Node, block: Vec<u8>) -> Cid {
    node.put(DAG_PB, block).await.unwrap()
}

fn link(name: &str, cid: Cid) -> Link<'_> {
    Link { name: name.as_bytes(), cid, total_size: 0 }
}

#[tokio::test]
async fn a_trie_without_end_costs_a_bounded_number_of_blocks() {
    let (_dir, node) = node().await;
    // 16^5 visits of 6 blocks, and not one entry.
    let mut cid = put(&node, shard(&[], &[])).await;
    for _ in 0..5 {
        let names: Vec<_> = (0..16).map(|slot| format!("{slot:02X}")).collect();
        let links: Vec<_> = names.iter().map(|name| link(name, cid)).collect();
        cid = put(&node, shard(&[0xff, 0xff], &links)).await;
    }
    assert!(matches!(node.ls(&cid, 1000).await, Err(Error::TooManyBlocks { limit: 1064 })));
}

#[tokio::test]
async fn a_trie_deeper_than_hashes_are_long_is_malformed() {
    let (_dir, node) = node().await;
    let file = node.put(RAW, &b"file"[..]).await.unwrap();
    let mut cid = put(&node, shard(&[1], &[link("00name", file)])).await;
    for _ in 0..7 {
        cid = put(&node, shard(&[1], &[link("00", cid)])).await;
    }
    assert_eq!(node.ls(&cid, 10).await.unwrap().len(), 1);
    let deeper = put(&node, shard(&[1], &[link("00", cid)])).await;
    assert!(matches!(node.ls(&deeper, 10).await, Err(Error::Malformed(_))));
}

#[tokio::test]
async fn names_too_long_or_not_utf_8_or_without_their_slot_are_refused() {
    let (_dir, node) = node().await;
    let file = node.put(RAW, &b"file"[..]).await.unwrap();
    let long = "x".repeat(3 << 20);
    let mut shards = Vec::new();
    for slot in ["00", "01"] {
        let name = format!("{slot}{long}");
        shards.push((slot, put(&node, shard(&[1], &[link(&name, file)])).await));
    }
    let links: Vec<_> = shards.iter().map(|(slot, cid)| link(slot, *cid)).collect();
    let large = put(&node, shard(&[3], &links)).await;
    assert!(matches!(node.ls(&large, 10).await, Err(Error::TooManyEntries { limit: 10 })));

    let bytes = Link { name: &[0xff], cid: file, total_size: 0 };
    let blocks = [directory(&[bytes]), shard(&[1], &[link("0", file)]), encode(&[], &[8, 5])];
    for block in blocks {
        let cid = put(&node, block).await;
        assert!(matches!(node.ls(&cid, 10).await, Err(Error::Malformed(_))));
    }
}

#[tokio::test]
async fn a_shard_of_another_width_or_a_plain_directory_within_a_trie_is_malformed() {
    let (_dir, node) = node().await;
    let plain = put(&node, directory(&[])).await;
    // Type 5, murmur3, 16 slots.
    let narrow = put(&node, encode(&[], &[8, 5, 0x28, 0x22, 0x30, 16])).await;
    assert_eq!(node.ls(&narrow, 10).await.unwrap(), [], "by itself it is one");
    for inner in [plain, narrow] {
        let cid = put(&node, shard(&[1], &[link("00", inner)])).await;
        assert!(matches!(node.ls(&cid, 10).await, Err(Error::Malformed(refused)) if refused == inner));
    }
}
