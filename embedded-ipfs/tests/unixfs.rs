//! Files as `ipfs add` lays them out: CIDs that a real Kubo gave (`tests/kubo.rs` compares them with a live one).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use embedded_ipfs::{AddOptions, Cid, Error};
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
            assert!(matches!(node.add(&b"x"[..], options).await, Err(Error::Io(_))));
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
        let broken = failing_after(start);
        assert!(matches!(node.add(broken, AddOptions::default()).await, Err(Error::Io(_))));
        assert_eq!(node.stats().await.unwrap().pins, 0);
        node.gc(Duration::ZERO).await.unwrap();
        assert_eq!(node.stats().await.unwrap().blocks, 0);
    })
    .await;
}

/// A reader that fails at its end.
fn failing_after(start: std::io::Cursor<Vec<u8>>) -> impl tokio::io::AsyncRead + Unpin {
    struct Broken;
    impl tokio::io::AsyncRead for Broken {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
        }
    }
    tokio::io::AsyncReadExt::chain(start, Broken)
}
