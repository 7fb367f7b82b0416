//! Beside a Kubo daemon whose connections and processes break: both go on at once, and nothing is asked twice. Without
//! `ipfs` on the PATH the tests say "not run".

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use embedded_ipfs::{AddOptions, Cid, Error, Node, PinLimits};
use multihash_codetable::{Code, MultihashDigest};
use support::ipfs::Daemon;
use support::{address, node, noise, within, within_rounds, ROUNDS};

const RAW: u64 = 0x55;
/// Most wants that this node lays at a peer.
const WINDOW: usize = 896;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn cid(bytes: &[u8]) -> Cid {
    Cid::new_v1(RAW, Code::Sha2_256.digest(bytes))
}

/// Each gets a new block of the other.
async fn fetch_both_ways(daemon: &Daemon, node: &Node, round: u64) {
    let (theirs, ours) = (noise(5000, 4 * round), noise(5000, 4 * round + 1));
    let cid = daemon.put(&theirs).await;
    assert_eq!(node.get(&cid).await.unwrap(), theirs);
    let cid = node.put(RAW, ours).await.unwrap();
    assert_eq!(daemon.run(&["block", "stat", &cid.to_string()]).await.lines().count(), 2);
}

#[tokio::test]
async fn after_each_disconnect_both_fetch_at_once_and_what_was_wanted_comes() {
    within_rounds(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = node(&home).await;
        node.connect(daemon.address.clone()).await.unwrap();
        for round in 0..ROUNDS {
            let (theirs, ours) = (noise(3000, 4 * round + 2), noise(3000, 4 * round + 3));
            let (pending, wanted) = (node.clone(), cid(&theirs));
            let pending = tokio::spawn(async move { pending.get(&wanted).await });
            let text = cid(&ours).to_string();
            let arguments = ["block", "get", &text];
            let kubo_pending = async {
                // Not text: only its success is looked at.
                daemon.succeed(&arguments).await;
            };
            let the_rest = async {
                daemon.until_wanted(None, &cid(&ours)).await;
                daemon.until_wanted(Some(&node.peer_id()), &wanted).await;
                let peer = node.peer_id().to_string();
                daemon.run(&["swarm", "disconnect", &format!("/p2p/{peer}")]).await;
                node.connect(daemon.address.clone()).await.unwrap();
                fetch_both_ways(&daemon, &node, round).await;
                daemon.put(&theirs).await;
                assert_eq!(pending.await.unwrap().unwrap(), theirs);
                node.put(RAW, ours).await.unwrap();
            };
            tokio::join!(kubo_pending, the_rest);
        }
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn when_kubo_was_ended_or_killed_what_was_wanted_of_it_comes_when_it_is_back() {
    within_rounds(async {
        let Some(mut daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = node(&home).await;
        for round in 0..2 * ROUNDS {
            node.connect(daemon.address.clone()).await.unwrap();
            let theirs = noise(3000, 1000 + round);
            let (pending, wanted) = (node.clone(), cid(&theirs));
            let pending = tokio::spawn(async move { pending.get(&wanted).await });
            daemon.until_wanted(Some(&node.peer_id()), &wanted).await;
            daemon = daemon.restart(round % 2 == 0).await;
            node.connect(daemon.address.clone()).await.unwrap();
            fetch_both_ways(&daemon, &node, 500 + round).await;
            daemon.put(&theirs).await;
            assert_eq!(pending.await.unwrap().unwrap(), theirs);
        }
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn kubo_sends_each_block_once_and_two_that_have_a_file_share_the_work() {
    within(async {
        let Some(first) = Daemon::start().await else { return };
        let Some(second) = Daemon::start().await else { return };
        let file = dir();
        let path = file.path().join("file");
        for (seed, daemons) in [(1, &[&first][..]), (2, &[&first, &second])] {
            tokio::fs::write(&path, noise(50 << 20, seed)).await.unwrap();
            // A new node, that knows none of them better than the other.
            let home = dir();
            let node = node(&home).await;
            let mut before = Vec::new();
            for daemon in daemons {
                daemon.run(&["add", "-Q", path.to_str().unwrap()]).await;
                node.connect(daemon.address.clone()).await.unwrap();
                before.push(daemon.sent().await);
            }
            let root: Cid = first.run(&["add", "-Q", path.to_str().unwrap()]).await.parse().unwrap();
            let report = node.pin(&root, PinLimits::default(), |_| {}).await.unwrap();
            let mut shares = Vec::new();
            for (daemon, before) in daemons.iter().zip(before) {
                shares.push(daemon.sent().await - before);
            }
            let sent: u64 = shares.iter().sum();
            assert!(
                sent >= report.blocks && sent * 100 <= report.blocks * 101,
                "{shares:?} of {}",
                report.blocks
            );
            assert!(shares.iter().all(|share| share * 5 > sent), "{shares:?}");
        }
        first.kill().await;
        second.kill().await;
    })
    .await;
}

#[tokio::test]
async fn as_many_wants_lie_at_kubo_as_this_node_believes_after_all_were_swapped_too() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = node(&home).await;
        node.connect(daemon.address.clone()).await.unwrap();
        let peer = node.peer_id().to_string();
        let listed = || async {
            let list = daemon.run(&["bitswap", "wantlist", "--peer", &peer]).await;
            list.lines().map(|line| line.parse::<Cid>().unwrap()).collect::<Vec<_>>()
        };
        for set in 0..3u32 {
            let dead: Vec<_> =
                (0..1500u32).map(|n| cid(&[set.to_be_bytes(), n.to_be_bytes()].concat())).collect();
            let gets = dead.iter().map(|cid| {
                let (node, cid) = (node.clone(), *cid);
                tokio::spawn(async move { node.get(&cid).await })
            });
            let gets: Vec<_> = gets.collect();
            loop {
                let there = listed().await;
                if there.len() == WINDOW && there.iter().all(|cid| dead.contains(cid)) {
                    break;
                }
            }
            gets.iter().for_each(tokio::task::JoinHandle::abort);
        }
        while !listed().await.is_empty() {}
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_block_of_kubo_that_no_message_may_carry_is_an_error_and_what_follows_comes() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = node(&home).await;
        node.connect(daemon.address.clone()).await.unwrap();
        let large = daemon.put(&noise(5 << 20, 1)).await;
        let error = node.get(&large).await.unwrap_err();
        assert!(matches!(error, Error::BlockTooLarge { size } if size == 5 << 20), "{error}");
        fetch_both_ways(&daemon, &node, 1).await;
        let added = node.add(&noise(1 << 20, 2)[..], AddOptions::default()).await.unwrap();
        daemon.run(&["swarm", "connect", &address(&node).to_string()]).await;
        daemon.run(&["pin", "add", &added.cid.to_string()]).await;
        daemon.kill().await;
    })
    .await;
}
