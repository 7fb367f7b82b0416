//! What every backend behind the `Ipfs` port must do; each backend's tests run all of it on a fresh node.

use std::rc::Rc;
use std::time::Duration;

use cid::Cid;

use super::ipfs::{cid_of, unixfs_file};
use crate::domain::cids::{DAG_PB, RAW};
use crate::domain::dag::MAX_BLOCK;
use crate::domain::units::ByteSize;
use crate::ports::ipfs::{Entry, Error, Ipfs, Progress, Reach};

/// As long as it takes to believe that an answer will not come.
const NEVER: Duration = Duration::from_millis(300);
const ROOMY: ByteSize = ByteSize(1 << 20);

fn unheard() -> Rc<dyn Fn(Progress)> {
    Rc::new(|_| ())
}

/// Holds a backend, which nobody else is connected to, to the port's promises.
pub async fn ipfs_contract(ipfs: &dyn Ipfs) {
    blocks_are_what_they_are_named(ipfs).await;
    blocks_of_every_size_up_to_the_largest_are_kept(ipfs).await;
    pins_are_whole_or_not_there(ipfs).await;
    what_nobody_has_is_waited_for(ipfs).await;
}

/// Holds a backend to what the port promises of files and directories. Nobody else is connected to it either.
pub async fn ipfs_directory_contract(ipfs: &dyn Ipfs) {
    directories_list_what_was_added(ipfs).await;
    files_are_read_up_to_the_cap(ipfs).await;
    names_that_lead_elsewhere_are_refused(ipfs).await;
    missing_content_is_waited_for(ipfs).await;
}

/// Holds a backend to the layout of `ipfs add` and `ipfs add -r`: the same content has the same root everywhere.
pub async fn ipfs_layout_contract(ipfs: &dyn Ipfs) {
    let root = ipfs.add_directory(directory()).await.unwrap();
    let expected = [
        ("a.json", "Qmdgdt2YrzFukVy35ciBKsrjfwDGaP9kj6pB26MMwATKYR"),
        ("b c.txt", "QmRc1zsaRDDCVk1W4AVyaTkyZvRFYFXGRuMxW5QuPS9aV5"),
        ("empty", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
        ("large.bin", "QmX7ZuTaAgbR7XR9uHnbig2DvbPhXRJQgGR5ED5qskMzqe"),
    ]
    .map(|(name, cid)| Entry { name: name.to_owned(), cid: cid.parse().unwrap() });
    assert_eq!(ipfs.ls(root, 4).await.unwrap(), expected);
    assert_eq!(root.to_string(), "QmR8x7PZ4y1ke2KyhpwcYwpmRycJnTrQxWEPpfzYjTvXpt");
    let empty = ipfs.add_directory(Vec::new()).await.unwrap();
    assert_eq!(empty.to_string(), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
}

async fn blocks_are_what_they_are_named(ipfs: &dyn Ipfs) {
    let absent = cid_of(RAW, b"nobody has this");
    assert_eq!(ipfs.block(absent, Reach::Local).await, Ok(None));
    let before = ipfs.stored().await.unwrap();
    let cid = ipfs.put(RAW, b"a block".to_vec()).await.unwrap();
    assert_eq!(cid, cid_of(RAW, b"a block"));
    assert_eq!(ipfs.put(RAW, b"a block".to_vec()).await, Ok(cid), "putting twice is harmless");
    for reach in [Reach::Local, Reach::Network] {
        assert_eq!(ipfs.block(cid, reach).await, Ok(Some(b"a block".to_vec())));
    }
    assert!(ipfs.stored().await.unwrap() > before);
    let identity = ipfs.identity().await.unwrap();
    assert!(!identity.peer.is_empty() && !identity.agent.is_empty());
}

async fn blocks_of_every_size_up_to_the_largest_are_kept(ipfs: &dyn Ipfs) {
    for size in [0, 1, (1 << 20) + 1, MAX_BLOCK] {
        let bytes = vec![0xb5; size];
        let cid = ipfs.put(RAW, bytes.clone()).await.unwrap();
        assert_eq!(cid, cid_of(RAW, &bytes));
        assert!(ipfs.block(cid, Reach::Local).await == Ok(Some(bytes)), "{size} bytes");
    }
}

/// Holds a backend whose pins are kept by the whole CID to that: one DAG under two CIDs is two pins. A backend may keep
/// them by multihash instead; who shares it between owners counts references by (codec, multihash) anyway.
pub async fn ipfs_twin_contract(ipfs: &dyn Ipfs) {
    let file = unixfs_file(b"a file of two names", 64);
    for (cid, bytes) in &file {
        ipfs.put(cid.codec(), bytes.clone()).await.unwrap();
    }
    let v0 = file[0].0;
    let v1 = Cid::new_v1(DAG_PB, *v0.hash());
    ipfs.pin(v0, ROOMY, unheard()).await.unwrap();
    assert_eq!((ipfs.is_pinned(v0).await, ipfs.is_pinned(v1).await), (Ok(true), Ok(false)));
    ipfs.pin(v1, ROOMY, unheard()).await.unwrap();
    let pins = ipfs.pins().await.unwrap();
    assert!(pins.contains(&v0) && pins.contains(&v1), "{pins:?}");
    ipfs.unpin(v0).await.unwrap();
    assert_eq!((ipfs.is_pinned(v0).await, ipfs.is_pinned(v1).await), (Ok(false), Ok(true)));
    let leaf = ipfs.block(file[1].0, Reach::Local).await;
    assert_eq!(leaf, Ok(Some(file[1].1.clone())), "what the other pin holds stays");
    ipfs.unpin(v1).await.unwrap();
}

async fn pins_are_whole_or_not_there(ipfs: &dyn Ipfs) {
    let file = unixfs_file(&(0..5_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>(), 1_000);
    for (cid, bytes) in &file {
        let codec = if cid.codec() == DAG_PB { DAG_PB } else { RAW };
        ipfs.put(codec, bytes.clone()).await.unwrap();
    }
    let root = file[0].0;
    assert_eq!(ipfs.is_pinned(root).await, Ok(false));
    let capped = ipfs.pin(root, ByteSize(2_000), unheard()).await;
    assert!(matches!(capped, Err(Error::TooLarge { .. })), "{capped:?}");
    assert_eq!(ipfs.is_pinned(root).await, Ok(false));

    let bytes: usize = file.iter().map(|(_, bytes)| bytes.len()).sum();
    let tight = ByteSize(bytes as u64);
    let capped = ipfs.pin(root, ByteSize(tight.0 - 1), unheard()).await;
    assert_eq!(capped, Err(Error::TooLarge { cap: tight.0 - 1 }));
    assert_eq!(ipfs.is_pinned(root).await, Ok(false));

    let done = ipfs.pin(root, tight, unheard()).await.unwrap();
    assert_eq!((done.blocks, done.bytes), (file.len() as u64, bytes as u64));
    assert_eq!(ipfs.pin(root, ROOMY, unheard()).await, Ok(done), "pinning what is pinned is harmless");
    assert_eq!(ipfs.is_pinned(root).await, Ok(true));
    assert!(ipfs.pins().await.unwrap().contains(&root));

    for _ in 0..2 {
        assert_eq!(ipfs.unpin(root).await, Ok(()), "giving up what is not pinned is harmless");
        assert_eq!(ipfs.is_pinned(root).await, Ok(false));
    }
    assert!(!ipfs.pins().await.unwrap().contains(&root));
}

async fn what_nobody_has_is_waited_for(ipfs: &dyn Ipfs) {
    let file = unixfs_file(b"somebody may have this one day", 8);
    let root = ipfs.put(DAG_PB, file[0].1.clone()).await.unwrap();
    assert_eq!(root.hash(), file[0].0.hash());
    let wait = tokio::time::timeout(NEVER, ipfs.block(file[1].0, Reach::Network)).await;
    assert!(wait.is_err(), "{wait:?}");
    let wait = tokio::time::timeout(NEVER, ipfs.pin(file[0].0, ROOMY, unheard())).await;
    assert!(wait.is_err(), "{wait:?}");
    assert_eq!(ipfs.is_pinned(file[0].0).await, Ok(false), "a pin that was broken off is none");
    for (_, bytes) in &file[1..] {
        ipfs.put(RAW, bytes.clone()).await.unwrap();
    }
    let done = ipfs.pin(file[0].0, ROOMY, unheard()).await.unwrap();
    assert_eq!(done.blocks, file.len() as u64);
}

/// Files of every kind, the last one of several blocks.
fn directory() -> Vec<(String, Vec<u8>)> {
    let large = (0..150_000_u32).flat_map(u32::to_be_bytes).collect();
    [
        ("b c.txt", b"two words".to_vec()),
        ("a.json", b"[\"bafkqaaa\"]\n".to_vec()),
        ("large.bin", large),
        ("empty", vec![]),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

async fn directories_list_what_was_added(ipfs: &dyn Ipfs) {
    let root = ipfs.add_directory(directory()).await.unwrap();
    assert_eq!(ipfs.is_pinned(root).await, Ok(true));
    assert_eq!(ipfs.add_directory(directory()).await, Ok(root), "adding twice is harmless");
    assert_eq!(ipfs.is_pinned(root).await, Ok(true));
    let entries = ipfs.ls(root, 4).await.unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["a.json", "b c.txt", "empty", "large.bin"]);
    for (name, bytes) in directory() {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        assert!(ipfs.cat(entry.cid, ROOMY).await.unwrap() == bytes, "{name}");
    }
    assert_eq!(ipfs.ls(root, 3).await, Err(Error::TooMany { cap: 3 }));
    let file = ipfs.ls(entries[0].cid, 10).await;
    assert!(matches!(file, Err(Error::Unusable(_))), "a file is no directory: {file:?}");
    let file = ipfs.ls(entries[3].cid, 10).await;
    assert!(matches!(file, Err(Error::Unusable(_))), "nor is one of several blocks: {file:?}");

    let empty = ipfs.add_directory(Vec::new()).await.unwrap();
    assert_eq!(ipfs.ls(empty, 0).await, Ok(vec![]));
    let many = (0..300).map(|n| (format!("{n:03}.json"), n.to_string().into_bytes())).collect();
    let many = ipfs.add_directory(many).await.unwrap();
    assert_eq!(ipfs.ls(many, 300).await.unwrap().len(), 300);
    assert_eq!(ipfs.ls(many, 299).await, Err(Error::TooMany { cap: 299 }));
    for root in [root, empty, many] {
        ipfs.unpin(root).await.unwrap();
    }
}

async fn files_are_read_up_to_the_cap(ipfs: &dyn Ipfs) {
    let raw = ipfs.put(RAW, b"twelve bytes".to_vec()).await.unwrap();
    assert_eq!(ipfs.cat(raw, ByteSize(12)).await, Ok(b"twelve bytes".to_vec()));
    assert_eq!(ipfs.cat(raw, ByteSize(11)).await, Err(Error::TooLarge { cap: 11 }));

    let root = ipfs.add_directory(directory()).await.unwrap();
    let read = ipfs.cat(root, ROOMY).await.map(|bytes| bytes.len());
    assert!(matches!(read, Err(Error::Unusable(_))), "a directory is no file: {read:?}");
    let large = ipfs.ls(root, 4).await.unwrap().pop().unwrap().cid;
    for cap in [0, 1, 300_000, 599_999] {
        let read = ipfs.cat(large, ByteSize(cap)).await.map(|bytes| bytes.len());
        assert_eq!(read, Err(Error::TooLarge { cap }));
    }
    assert_eq!(ipfs.cat(large, ByteSize(600_000)).await.unwrap().len(), 600_000);
}

async fn names_that_lead_elsewhere_are_refused(ipfs: &dyn Ipfs) {
    let named = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), b"x".to_vec())).collect();
    for names in [&[""][..], &["."], &[".."], &["a/b"], &["/etc/passwd"], &["same", "same"]] {
        let refused = ipfs.add_directory(named(names)).await;
        assert!(refused.as_ref().is_err_and(|error| !error.is_transient()), "{names:?}: {refused:?}");
    }
}

async fn missing_content_is_waited_for(ipfs: &dyn Ipfs) {
    let absent = cid_of(RAW, b"nobody has this file");
    let wait = tokio::time::timeout(NEVER, ipfs.cat(absent, ROOMY)).await;
    assert!(wait.is_err(), "a file of nobody: {wait:?}");
    let absent = cid_of(DAG_PB, b"nobody has this directory");
    let wait = tokio::time::timeout(NEVER, ipfs.ls(absent, 10)).await;
    assert!(wait.is_err(), "{wait:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::MemoryIpfs;

    #[tokio::test(start_paused = true)]
    async fn the_node_in_memory_keeps_files_and_directories() {
        ipfs_directory_contract(&MemoryIpfs::new()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_node_in_memory_keeps_pins_by_the_whole_cid() {
        ipfs_twin_contract(&MemoryIpfs::new()).await;
    }
}
