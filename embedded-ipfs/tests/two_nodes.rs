//! Nodes that get blocks from one another, on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use embedded_ipfs::{fetch_from, AddOptions, Answer, Cid, Config, Error, Fetched, Node, PinLimits, Progress};
use futures::future::try_join_all;
use futures::TryStreamExt;
use support::{address, config, node, noise, until, within};

const MIB: usize = 1 << 20;
const RAW: u64 = 0x55;
const DAG_CBOR: u64 = 0x71;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_file_of_50_mib_is_pinned_from_another_node_and_read_back() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let file = noise(50 * MIB, 1);
        let added = a.add(&file[..], AddOptions::default()).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        let mut last = Progress::default();
        let report = b.pin(&added.cid, PinLimits::default(), |now| last = now).await.unwrap();
        assert_eq!(report.blocks, 200 + 2 + 1, "leaves, nodes, root");
        assert_eq!((last.blocks, last.bytes), (report.blocks, report.bytes));
        assert_eq!(a.pinned(&added.cid).await.unwrap(), Some(report.clone()), "both count alike");
        assert!(b.read(&added.cid, u64::MAX).await.unwrap() == file);
        let stats = b.stats().await.unwrap();
        assert_eq!((stats.blocks, stats.bytes, stats.pins), (report.blocks, report.bytes, 1));
        assert_eq!(
            (stats.received_blocks, stats.unwanted_blocks),
            (report.blocks, 0),
            "each block came once"
        );
        assert!(stats.disk_bytes < stats.bytes * 3 / 2, "{stats:?}");
    })
    .await;
}

#[tokio::test]
async fn a_pin_that_waits_goes_on_when_its_peer_comes_back() {
    within(async {
        let (left, right) = (dir(), dir());
        let a = node(&left).await;
        let added = a.add(&noise(3 * MIB, 2)[..], AddOptions::default()).await.unwrap();
        let at = address(&a);
        a.stop().await;
        let b = node(&right).await;
        b.keep(at.clone()).await.unwrap();
        let waiting = tokio::spawn({
            let b = b.clone();
            async move { b.pin(&added.cid, PinLimits::default(), |_| {}).await }
        });
        // The same key and port again.
        let mut again = config(&left);
        again.listen = vec![at.iter().take(2).collect()];
        let a = Node::start(again).await.unwrap();
        assert_eq!(address(&a), at);
        waiting.await.unwrap().unwrap();
        a.stop().await;
        until(|| b.peers().is_empty()).await;
        assert!(matches!(b.connect(at).await, Err(Error::Unreachable(_))));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_pin_takes_its_wants_back_and_a_second_one_fetches_only_the_rest() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let added = a.add(&noise(30 * MIB, 3)[..], AddOptions::default()).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        let (seen, mut blocks) = tokio::sync::watch::channel(0);
        tokio::select! {
            _ = b.pin(&added.cid, PinLimits::default(), |now| { seen.send_replace(now.blocks); }) => panic!("too fast"),
            _ = blocks.wait_for(|blocks| *blocks > 20) => {}
        }
        while b.stats().await.unwrap().wants > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!b.is_pinned(&added.cid).await.unwrap());
        let report = b.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
        let stats = b.stats().await.unwrap();
        assert_eq!(stats.received_blocks, report.blocks, "none was stored twice");
    })
    .await;
}

#[tokio::test]
async fn two_peers_that_have_a_file_both_serve_it() {
    within(async {
        let dirs = [dir(), dir(), dir()];
        let (a, b, c) = (node(&dirs[0]).await, node(&dirs[1]).await, node(&dirs[2]).await);
        let file = noise(30 * MIB, 4);
        let added = a.add(&file[..], AddOptions::default()).await.unwrap();
        b.add(&file[..], AddOptions::default()).await.unwrap();
        c.connect(address(&a)).await.unwrap();
        c.connect(address(&b)).await.unwrap();
        let report = c.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!(c.stats().await.unwrap().unwanted_blocks, 0);
        for peer in [a, b] {
            let sent = peer.stats().await.unwrap().sent_blocks;
            assert!(sent * 5 > report.blocks, "{sent} of {}", report.blocks);
        }
    })
    .await;
}

#[tokio::test]
async fn blocks_up_to_the_largest_travel_and_a_larger_one_is_refused_at_the_door() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        b.connect(address(&a)).await.unwrap();
        for size in [0, 1, 1024, 1025, 2 * MIB, 3 * MIB, embedded_ipfs::MAX_BLOCK] {
            let block = noise(size, 5);
            let cid = a.put(RAW, block.clone()).await.unwrap();
            assert_eq!(b.size(&cid).await.unwrap(), None);
            assert!(b.get(&cid).await.unwrap() == block, "{size}");
            assert_eq!(b.size(&cid).await.unwrap(), Some(size as u64));
        }
        let block = noise(embedded_ipfs::MAX_BLOCK + 1, 5);
        assert!(matches!(a.put(RAW, block).await, Err(Error::BlockTooLarge { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_block_is_found_by_any_cid_of_its_digest() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        b.connect(address(&a)).await.unwrap();
        let v0 = a.add(&b"hello world\n"[..], AddOptions::default()).await.unwrap().cid;
        let raw = Cid::new_v1(RAW, *v0.hash());
        let block = b.get(&raw).await.unwrap();
        assert_eq!(Some(block), b.local(&v0).await.unwrap());
        let identity: Cid = "bafkqaaa".parse().unwrap();
        assert_eq!(b.get(&identity).await.unwrap(), "");
    })
    .await;
}

#[tokio::test]
async fn a_block_put_later_reaches_a_peer_that_already_waits_for_it() {
    within(async {
        let (left, right, elsewhere) = (dir(), dir(), dir());
        let (a, b, c) = (node(&left).await, node(&right).await, node(&elsewhere).await);
        b.connect(address(&a)).await.unwrap();
        let cid = c.put(RAW, &b"late"[..]).await.unwrap();
        let waiting = tokio::spawn(async move { b.get(&cid).await });
        while a.stats().await.unwrap().sent_blocks == 0 {
            if waiting.is_finished() {
                break;
            }
            a.put(RAW, &b"late"[..]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(waiting.await.unwrap().unwrap(), "late");
    })
    .await;
}

#[tokio::test]
async fn a_pin_beyond_its_caps_is_refused_and_not_recorded() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        b.connect(address(&a)).await.unwrap();
        let cid = a.add(&noise(5 * MIB, 6)[..], AddOptions::default()).await.unwrap().cid;
        let bytes = PinLimits { max_bytes: 4 << 20, ..PinLimits::default() };
        assert!(
            matches!(b.pin(&cid, bytes, |_| {}).await, Err(Error::TooManyBytes { limit }) if limit == 4 << 20)
        );
        let blocks = PinLimits { max_blocks: 20, ..PinLimits::default() };
        assert!(matches!(b.pin(&cid, blocks, |_| {}).await, Err(Error::TooManyBlocks { limit: 20 })));
        assert_eq!(b.stats().await.unwrap().pins, 0);
        let max_bytes = a.pinned(&cid).await.unwrap().unwrap().bytes;
        let exact = PinLimits { max_blocks: 21, max_bytes, max_depth: 1 };
        b.pin(&cid, exact, |_| {}).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn dag_cbor_is_pinned_with_what_it_links_to_and_other_codecs_are_refused() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let leaf = node.put(RAW, &b"leaf"[..]).await.unwrap();
        let file =
            node.add(&noise(MIB, 7)[..], AddOptions { pin: false, ..AddOptions::default() }).await.unwrap();
        let link = |cid: &Cid| {
            let bytes = [&[0][..], &cid.to_bytes()].concat();
            [&[0xd8, 42, 0x58, bytes.len() as u8][..], &bytes].concat()
        };
        let root = [&[0x82][..], &link(&leaf), &link(&file.cid)].concat();
        let root = node.put(DAG_CBOR, root).await.unwrap();
        let report = node.pin(&root, PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!(report.blocks, 1 + 1 + 5);
        let walked: Vec<_> = node.walk(&root).try_collect().await.unwrap();
        assert_eq!((walked[0].cid, walked[0].links), (root, 2));
        assert_eq!((walked[1].cid, walked[1].links), (leaf, 0));
        assert_eq!(walked[2].cid, file.cid);
        assert_eq!(walked.len() as u64, report.blocks);
        assert_eq!(walked.iter().map(|block| block.size).sum::<u64>(), report.bytes);

        let jose = node.put(0x85, &b"{}"[..]).await.unwrap();
        assert!(matches!(node.pin(&jose, PinLimits::default(), |_| {}).await, Err(Error::Codec(0x85))));
    })
    .await;
}

#[tokio::test]
async fn gc_removes_what_no_pin_reaches_and_nothing_else() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let kept = node.add(&noise(2 * MIB, 8)[..], AddOptions::default()).await.unwrap();
        // Half of it is in the other file, too.
        let half = node.add(&noise(MIB, 8)[..], AddOptions::v1()).await.unwrap();
        let gone = node.add(&noise(3 * MIB, 9)[..], AddOptions::default()).await.unwrap();
        node.put(RAW, &b"loose"[..]).await.unwrap();
        assert!(node.unpin(&gone.cid).await.unwrap());
        assert!(!node.unpin(&gone.cid).await.unwrap());
        let swept = node.gc(Duration::ZERO).await.unwrap();
        assert_eq!(swept.blocks, 13 + 1);
        assert!(node.read(&kept.cid, u64::MAX).await.unwrap() == noise(2 * MIB, 8));
        assert!(node.read(&half.cid, u64::MAX).await.unwrap() == noise(MIB, 8));
        assert!(matches!(node.walk(&gone.cid).try_collect::<Vec<_>>().await, Err(Error::NotHere(cid)) if cid == gone.cid));
        assert_eq!(node.gc(Duration::ZERO).await.unwrap().blocks, 0);
    })
    .await;
}

#[tokio::test]
async fn blocks_of_a_pin_in_flight_survive_gc() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let added = a.add(&noise(30 * MIB, 10)[..], AddOptions::default()).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        let pinning = tokio::spawn({
            let b = b.clone();
            async move { b.pin(&added.cid, PinLimits::default(), |_| {}).await }
        });
        while !pinning.is_finished() {
            b.gc(Duration::ZERO).await.unwrap();
        }
        let report = pinning.await.unwrap().unwrap();
        assert_eq!(b.walk(&added.cid).try_collect::<Vec<_>>().await.unwrap().len() as u64, report.blocks);
    })
    .await;
}

#[tokio::test]
async fn a_stopped_node_ends_what_waits_and_frees_its_directory() {
    within(async {
        let home = dir();
        let first = node(&home).await;
        assert!(matches!(Node::start(config(&home)).await, Err(Error::Locked)));
        let missing: Cid = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o".parse().unwrap();
        let waiting = tokio::spawn({
            let first = first.clone();
            async move { first.get(&missing).await }
        });
        until(|| first.peers().is_empty()).await;
        while first.stats().await.unwrap().wants == 0 {
            tokio::task::yield_now().await;
        }
        first.stop().await;
        assert!(matches!(waiting.await.unwrap(), Err(Error::Stopped)));
        assert!(matches!(first.local(&missing).await, Err(Error::Stopped)));
        assert!(matches!(first.pin(&missing, PinLimits::default(), |_| {}).await, Err(Error::Stopped)));
        let second = node(&home).await;
        assert_eq!(second.peer_id(), first.peer_id());
    })
    .await;
}

#[tokio::test]
async fn one_peer_alone_answers_with_blocks_with_no_or_with_silence() {
    within(async {
        let home = dir();
        let a = node(&home).await;
        let puts = (0..1500u32).map(|n| a.put(RAW, n.to_be_bytes().to_vec()));
        let mut cids = try_join_all(puts).await.unwrap();
        let missing: Cid = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o".parse().unwrap();
        cids.push(missing);
        cids.push(cids[0]);
        let limit = Duration::from_secs(60);
        let answers = fetch_from(address(&a), cids.clone(), limit, MIB as u64).await.unwrap();
        assert!(answers.iter().zip(&cids).all(|(Fetched { cid, .. }, asked)| cid == asked), "in their order");
        for (n, fetched) in answers.iter().enumerate() {
            match &fetched.answer {
                Answer::Block { bytes, .. } => assert_eq!(bytes[..], (n as u32 % 1501).to_be_bytes()),
                Answer::DontHave => assert_eq!(fetched.cid, missing),
                Answer::Silence => panic!("{} was not answered", fetched.cid),
            }
        }
        let too_many = fetch_from(address(&a), cids, limit, 100).await;
        assert!(matches!(too_many, Err(Error::TooManyBytes { limit: 100 })));
    })
    .await;
}

#[tokio::test]
async fn one_peer_alone_that_is_mute_or_absent_is_told_apart_from_one_that_says_no() {
    within(async {
        let cid: Cid = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o".parse().unwrap();
        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let id = embedded_ipfs::PeerId::random();
        let at = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}").parse().unwrap();
        let port = mute.local_addr().unwrap().port();
        let ask = |address| fetch_from(address, vec![cid], Duration::from_millis(300), 1000);
        assert!(matches!(ask(at(port)).await, Err(Error::Deadline)));
        drop(mute);
        assert!(matches!(ask(at(port)).await, Err(Error::Unreachable(_))));
        assert!(matches!(ask("/ip4/127.0.0.1/tcp/1".parse().unwrap()).await, Err(Error::Address(_))));
    })
    .await;
}

/// Compiles only if what the facade hands out may go to other threads.
#[tokio::test]
async fn every_answer_may_be_waited_for_on_any_thread() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send>(answer: T) -> T {
        answer
    }
    shared::<(Node, Config, Error, AddOptions)>();
    let dir = tempfile::tempdir().unwrap();
    let node = sent(Node::start(Config::new(dir.path()))).await.unwrap();
    let cid = sent(node.add(&b"sent"[..], AddOptions::default())).await.unwrap().cid;
    sent(node.pin(&cid, PinLimits::default(), |_| {})).await.unwrap();
    sent(node.publish(&node.key(), &cid.to_string(), Default::default())).await.unwrap();
    assert_eq!(sent(node.resolve(&node.key().name().to_string())).await.unwrap(), cid);
    sent(node.export(&[cid])).try_collect::<Vec<_>>().await.unwrap();
    sent(node.import(&[][..], true)).await.unwrap_err();
    sent(node.gc(Duration::ZERO)).await.unwrap();
    sent(node.ls(&cid, 1)).await.unwrap_err();
    sent(node.stop()).await;
}
