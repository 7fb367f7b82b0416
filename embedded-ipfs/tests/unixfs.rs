//! Files as `ipfs add` lays them out: CIDs that a real Kubo gave (`tests/kubo.rs` compares them with a live one).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use embedded_ipfs::{AddOptions, Cid, Error};
use futures::TryStreamExt;
use support::{node, noise, within};

const CHUNK: usize = 256 << 10;

#[tokio::test]
async fn cids_are_those_of_ipfs_add() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let cases = [
            (vec![], "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
            (b"hello world\n".to_vec(), "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"),
            (noise(CHUNK, 7), "QmNp5aVCELPsZiMYFAfGUZTNP1sdFnF814fwPF3AnC4Sq6"),
            (noise(CHUNK + 1, 7), "QmZvFCeAkMLnjAA5Wf3eAWdNinQQG37kxfLC27t4Ro93kU"),
            (noise(174 * CHUNK, 7), "QmThKQJycCYozanEQHXMxt6fcxuwZFS3wctrZfcZAwQUPH"),
            (noise(174 * CHUNK + 1, 7), "QmRyJdetuDFM5Kygb4LLqj3FtJQPKXhvAdCc8qx6WPVnGk"),
        ];
        for (bytes, cid) in cases {
            let added = node.add(&bytes[..], AddOptions::default()).await.unwrap();
            assert_eq!((added.cid.to_string().as_str(), added.size), (cid, bytes.len() as u64));
        }
    })
    .await;
}

#[tokio::test]
async fn version_1_and_raw_leaves_are_options() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let hello = node.add(&b"hello world\n"[..], AddOptions::v1()).await.unwrap();
        assert_eq!(hello.cid.to_string(), "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4");
        let raw_leaves = AddOptions { raw_leaves: true, ..AddOptions::default() };
        for options in [AddOptions::v1(), raw_leaves] {
            let bytes = noise(3 * CHUNK + 5, 8);
            let added = node.add(&bytes[..], options).await.unwrap();
            assert!(node.read(&added.cid, bytes.len() as u64).await.unwrap() == bytes);
            let leaf =
                embedded_ipfs::links(&added.cid, &node.local(&added.cid).await.unwrap().unwrap()).unwrap()[0];
            assert_eq!(leaf.codec(), 0x55);
        }
    })
    .await;
}

#[tokio::test]
async fn every_size_around_a_chunk_and_any_chunk_size_reads_back() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        for chunk_bytes in [1, 7, 100] {
            for size in [0, 1, chunk_bytes, chunk_bytes + 1, 174 * chunk_bytes, 174 * chunk_bytes + 1] {
                let bytes = noise(size, 9);
                let options = AddOptions { chunk_bytes, ..AddOptions::default() };
                let added = node.add(&bytes[..], options).await.unwrap();
                assert_eq!(
                    node.read(&added.cid, u64::MAX).await.unwrap(),
                    bytes,
                    "{size} bytes by {chunk_bytes}"
                );
            }
        }
        for chunk_bytes in [0, AddOptions::MAX_CHUNK + 1] {
            let options = AddOptions { chunk_bytes, ..AddOptions::default() };
            assert!(matches!(node.add(&b"x"[..], options).await, Err(Error::Layout(_))));
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_file_or_too_long_is_refused() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        // An empty directory: dag-pb whose data is the UnixFS type 1.
        let directory = node.put(0x70, vec![0x0a, 0x02, 0x08, 0x01]).await.unwrap();
        assert_eq!(
            Cid::new_v0(*directory.hash()).unwrap().to_string(),
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
        );
        assert!(matches!(node.read(&directory, 10).await, Err(Error::NotAFile(cid)) if cid == directory));
        let garbage = node.put(0x70, vec![0xff; 4]).await.unwrap();
        assert!(matches!(node.read(&garbage, 10).await, Err(Error::Malformed(cid)) if cid == garbage));
        let long = node.add(&noise(1000, 1)[..], AddOptions::default()).await.unwrap();
        assert!(matches!(node.read(&long.cid, 999).await, Err(Error::TooManyBytes { limit: 999 })));
    })
    .await;
}

#[tokio::test]
async fn a_file_whose_reading_fails_is_not_pinned() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let start = std::io::Cursor::new(noise(CHUNK + 1, 2));
        let broken = tokio::io::AsyncReadExt::chain(start, support::Broken);
        assert!(matches!(node.add(broken, AddOptions::default()).await, Err(Error::Io(_))));
        assert_eq!(node.stats().await.unwrap().pins, 0);
        node.gc(Duration::ZERO).await.unwrap();
        assert_eq!(node.stats().await.unwrap().blocks, 0);
    })
    .await;
}

#[tokio::test]
async fn any_range_of_any_layout_is_what_lies_there() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let bytes = noise(1000, 4);
        for options in [
            AddOptions { chunk_bytes: 7, max_links: 3, ..AddOptions::default() },
            AddOptions { chunk_bytes: 7, max_links: 3, ..AddOptions::v1() },
            AddOptions { chunk_bytes: 1000, ..AddOptions::default() },
            AddOptions { chunk_bytes: 1000, ..AddOptions::v1() },
        ] {
            let cid = node.add(&bytes[..], options).await.unwrap().cid;
            for start in [0, 1, 6, 7, 8, 20, 21, 62, 63, 500, 993, 994, 995, 999, 1000, 5000] {
                for length in [0, 1, 2, 7, 8, 200, 1000, 5000] {
                    let range = start as u64..(start + length) as u64;
                    let read: Vec<_> = node.cat(&cid, range.clone()).try_collect().await.unwrap();
                    let expected = &bytes[start.min(1000)..(start + length).min(1000)];
                    assert_eq!(read.concat(), expected, "{range:?} {options:?}");
                }
            }
            let to_the_end: Vec<_> = node.cat(&cid, 990..).try_collect().await.unwrap();
            assert_eq!(to_the_end.concat(), &bytes[990..]);
            let inclusive: Vec<_> = node.cat(&cid, 3..=9).try_collect().await.unwrap();
            assert_eq!(inclusive.concat(), &bytes[3..10]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_range_costs_the_blocks_that_it_needs_and_no_more() {
    within(async {
        let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (node(&left).await, node(&right).await);
        // 1,000 leaves below six nodes below the root.
        let options = AddOptions { chunk_bytes: 100, ..AddOptions::default() };
        let bytes = noise(100_000, 5);
        let cid = a.add(&bytes[..], options).await.unwrap().cid;
        b.connect(support::address(&a)).await.unwrap();
        let mut before = 0;
        for (range, blocks) in [
            (50_050..50_060, 3), // the root, a node, a leaf
            (50_095..50_105, 1), // the leaf after it
            (50_000..50_000, 0),
            (200_000..200_001, 0), // the root says that there is nothing
            (17_390..17_410, 4),   // the last leaf of the first node, and the first of the second
            (99_999..u64::MAX, 2),
        ] {
            let read: Vec<_> = b.cat(&cid, range.clone()).try_collect().await.unwrap();
            let end = range.end.min(100_000) as usize;
            assert_eq!(read.concat(), &bytes[(range.start as usize).min(end)..end]);
            let received = b.stats().await.unwrap().received_blocks;
            assert_eq!(received - before, blocks, "{range:?}");
            before = received;
        }
    })
    .await;
}

#[tokio::test]
async fn sizes_that_contradict_one_another_are_malformed_and_not_believed() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let leaf = node.put(0x55, &b"0123456789"[..]).await.unwrap();
        let link = [&[0x0a, 36][..], &leaf.to_bytes(), &[0x12, 0, 0x18, 10]].concat();
        let link = [&[0x12, link.len() as u8][..], &link].concat();
        // A file of two such leaves that says of them what it likes.
        let file = |sizes: &[u8]| {
            let sizes: Vec<_> = sizes.iter().flat_map(|&size| [0x20, size]).collect();
            let data = [&[0x08, 2][..], &sizes].concat();
            [&link[..], &link, &[0x0a, data.len() as u8], &data].concat()
        };
        for (sizes, first_fails, second_fails) in [
            (&[10, 10][..], false, false),
            (&[9, 10], true, false),
            (&[10, 11], false, true),
            (&[10], true, true),
            (&[10, 10, 10], true, true),
            (&[], true, true),
        ] {
            let cid = node.put(0x70, file(sizes)).await.unwrap();
            let read = |range| node.cat(&cid, range).try_collect::<Vec<_>>();
            let boundary = sizes.first().map_or(10, |&first| u64::from(first));
            assert_eq!(read(0..2).await.is_err(), first_fails, "{sizes:?}");
            let second = read(boundary + 1..boundary + 3).await;
            assert_eq!(second.is_err(), second_fails, "{sizes:?}");
            assert!(!matches!(second, Err(error) if !matches!(error, Error::Malformed(_))));
            assert_eq!(
                node.read(&cid, 20).await.unwrap(),
                "01234567890123456789",
                "the whole needs no sizes"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_read_of_a_node_that_is_stopped_does_not_end_as_if_it_were_whole() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let node = node(&dir).await;
        let cid = node.add(&noise(20 << 20, 1)[..], AddOptions::default()).await.unwrap().cid;
        let mut halves = [node.cat(&cid, ..), node.cat(&cid, 1..), node.export(&[cid])];
        for half in &mut halves {
            half.try_next().await.unwrap().unwrap();
        }
        node.stop().await;
        for stopped in halves.into_iter().chain([node.cat(&cid, ..), node.export(&[cid])]) {
            let outcome = stopped.try_collect::<Vec<_>>().await;
            assert!(matches!(outcome, Err(Error::Stopped)), "{} pieces", outcome.unwrap().len());
        }
        let walked = node.walk(&cid).try_collect::<Vec<_>>().await;
        assert!(matches!(walked, Err(Error::Stopped)), "{walked:?}");
        assert!(matches!(node.read(&cid, u64::MAX).await, Err(Error::Stopped)));
    })
    .await;
}
