//! Directories as `ipfs add -r` lays them out: CIDs that a real Kubo gave (`tests/kubo.rs` compares them with a live one).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use embedded_ipfs::{Entry, Error, PinLimits};
use support::{address, node, numbered, within};

fn named<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<&'e str> {
    entries.into_iter().map(|entry| entry.name.as_str()).collect()
}

#[tokio::test]
async fn cids_are_those_of_ipfs_add_around_the_size_where_directories_are_sharded() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let cases = [
            (0, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
            (1, "QmQdJjfCdBDBrbSpxi8rGs5p53eQNaViaWztDPDfgPti2C"),
            (5957, "QmdUALVbh4ohRa5nVJwijY2X47fcxpH619ETxGmUCFSYw4"),
            (5958, "QmSJ79RgVgRAEojH2FKBBQHuQSzfnz8q6GL6onuWXPWbcq"),
            (10_000, "QmUUjPdhN2NBbwvwgVMPiZXAkzZBKMGLcaY6vz6zsjwRCc"),
        ];
        for (count, cid) in cases {
            let files = numbered(count);
            let size: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
            let added = node.add_directory(files).await.unwrap();
            assert_eq!((added.cid.to_string().as_str(), added.size), (cid, size as u64), "{count} files");
            assert!(node.is_pinned(&added.cid).await.unwrap());
            let entries = node.ls(&added.cid, count).await.unwrap();
            assert_eq!(named(&entries), numbered(count).iter().map(|(name, _)| name).collect::<Vec<_>>());
            for number in [0, count / 2, count.saturating_sub(1)].into_iter().take(count) {
                let name = format!("file-{number:05}");
                let file = node.find(&added.cid, &[&name]).await.unwrap();
                assert_eq!(file, entries[number].cid);
                assert_eq!(node.read(&file, 100).await.unwrap(), format!("{number}\n"));
            }
            assert!(matches!(node.find(&added.cid, &["none"]).await, Err(Error::NoEntry { .. })));
        }
    })
    .await;
}

#[tokio::test]
async fn files_of_any_size_and_name_lie_side_by_side() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let files = [
            ("long", vec![b'a'; 600 << 10]),
            ("größe €.txt", b"x".to_vec()),
            ("empty", vec![]),
            ("Z", b"capital\n".to_vec()),
            (".hidden", b"h".to_vec()),
        ];
        let files: Vec<_> = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        let added = node.add_directory(files.clone()).await.unwrap();
        assert_eq!(added.cid.to_string(), "QmNbHzdGCf4M7hxF5ZBs7g33LCxx7NwpVZkch6AzBpGUtS");
        let entries = node.ls(&added.cid, 5).await.unwrap();
        assert_eq!(named(&entries), [".hidden", "Z", "empty", "größe €.txt", "long"]);
        for (name, bytes) in files {
            let file = node.find(&added.cid, &[&name]).await.unwrap();
            assert!(node.read(&file, 1 << 20).await.unwrap() == bytes, "{name}");
        }
        assert!(matches!(node.ls(&added.cid, 4).await, Err(Error::TooManyEntries { limit: 4 })));
    })
    .await;
}

#[tokio::test]
async fn names_that_no_directory_can_have_are_refused() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        for name in ["", ".", "..", "a/b", "/", "a\0"] {
            let refused = node.add_directory(vec![(name.to_owned(), vec![])]).await;
            assert!(matches!(refused, Err(Error::Name(refused)) if refused == name));
        }
        let twice = vec![("a".to_owned(), vec![]), ("a".to_owned(), vec![1])];
        assert!(matches!(node.add_directory(twice).await, Err(Error::Name(name)) if name == "a"));
        assert_eq!(node.pins().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_sharded_directory_is_listed_and_pinned_from_another_node() {
    within(async {
        let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (node(&left).await, node(&right).await);
        let added = a.add_directory(numbered(7000)).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        let entries = b.ls(&added.cid, 7000).await.unwrap();
        assert_eq!(entries, a.ls(&added.cid, 7000).await.unwrap());
        assert!(b.stats().await.unwrap().blocks < 1000, "shards, and no files");
        let report = b.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!(a.pinned(&added.cid).await.unwrap(), Some(report));
    })
    .await;
}

#[tokio::test]
async fn a_file_is_not_listed_and_a_directory_not_read() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let directory = node.add_directory(numbered(1)).await.unwrap().cid;
        let file = node.find(&directory, &["file-00000"]).await.unwrap();
        let raw = node.put(0x55, &b"raw"[..]).await.unwrap();
        for cid in [file, raw] {
            assert!(matches!(node.ls(&cid, 10).await, Err(Error::NotADirectory(refused)) if refused == cid));
        }
        let below = node.find(&directory, &["file-00000", "x"]).await;
        assert!(matches!(below, Err(Error::NotADirectory(refused)) if refused == file));
        assert!(matches!(node.read(&directory, 10).await, Err(Error::NotAFile(_))));
        assert_eq!(node.find(&directory, &[]).await.unwrap(), directory);
    })
    .await;
}
