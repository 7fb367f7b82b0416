//! Names, providers and peers, found through other nodes on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use embedded_ipfs::{AddOptions, Config, Dht, Error, Node, PinLimits};
use ipns_record::{Refusal, SigningKey, Timestamp};
use support::{address, config, node, noise, until, within};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

/// A record that is good until 2100 and some seconds.
fn record(key: &SigningKey, sequence: u64) -> Vec<u8> {
    key.sign(b"/ipfs/bafkqaaa", sequence, Timestamp::from_ms(4_102_444_800_000 + sequence), 0).unwrap()
}

/// Nodes of which each is connected with the first.
async fn star<const N: usize>(dirs: &[tempfile::TempDir; N]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for dir in dirs {
        nodes.push(node(dir).await);
    }
    for node in &nodes[1..] {
        node.connect(address(&nodes[0])).await.unwrap();
    }
    while nodes[0].stats().await.unwrap().dht_peers < N as u64 - 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    nodes
}

#[tokio::test]
async fn the_newest_record_of_a_name_is_got_by_who_knows_a_peer_of_its_publisher() {
    within(async {
        let dirs = [dir(), dir(), dir()];
        let nodes = star(&dirs).await;
        let owner = key(1);
        let name = owner.name();
        assert!(matches!(nodes[2].name_get(name).await, Err(Error::NoRecord(absent)) if absent == name));
        for sequence in [1, 2] {
            assert!(nodes[1].name_put(name, record(&owner, sequence)).await.unwrap() >= 1);
            for node in &nodes {
                assert_eq!(node.name_get(name).await.unwrap().sequence(), sequence);
            }
        }
        // One that never heard of it, after its publisher is gone.
        nodes[1].stop().await;
        let later = dir();
        let later = node(&later).await;
        later.connect(address(&nodes[0])).await.unwrap();
        assert_eq!(later.name_get(name).await.unwrap().bytes(), record(&owner, 2));
    })
    .await;
}

#[tokio::test]
async fn a_record_put_where_nobody_listens_is_kept_for_those_who_come() {
    within(async {
        let (first, second) = (dir(), dir());
        let (a, b) = (node(&first).await, node(&second).await);
        let owner = key(2);
        assert_eq!(a.name_put(owner.name(), record(&owner, 7)).await.unwrap(), 0);
        assert_eq!(a.name_get(owner.name()).await.unwrap().sequence(), 7);
        b.connect(address(&a)).await.unwrap();
        assert_eq!(b.name_get(owner.name()).await.unwrap().sequence(), 7);
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_bad_or_goes_back_is_not_even_sent() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let (owner, stranger) = (key(3), key(4));
        node.name_put(owner.name(), record(&owner, 5)).await.unwrap();
        let put = |record| node.name_put(owner.name(), record);
        assert!(matches!(put(record(&owner, 4)).await, Err(Error::Outdated(name)) if name == owner.name()));
        assert!(matches!(put(record(&stranger, 9)).await, Err(Error::Record(Refusal::BadSignature))));
        let past = owner.sign(b"/ipfs/bafkqaaa", 9, Timestamp::from_ms(1), 0).unwrap();
        assert!(matches!(put(past).await, Err(Error::Record(Refusal::Expired(_)))));
        assert_eq!(node.name_get(owner.name()).await.unwrap().sequence(), 5);
    })
    .await;
}

#[tokio::test]
async fn what_a_peer_pushes_is_kept_only_if_the_owner_signed_it_and_it_is_no_older() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let (owner, stranger) = (key(5), key(6));
        node.name_put(owner.name(), record(&owner, 5)).await.unwrap();
        let mut liar = support::table::Peer::connect(&node).await;
        let name = owner.name().routing_key();
        let refused = [
            (name.clone(), record(&owner, 4)),
            (name.clone(), record(&stranger, 9)),
            (name.clone(), b"nonsense".to_vec()),
            (name.clone(), vec![0; 11 << 10]),
            (b"/pk/anything".to_vec(), record(&owner, 9)),
            (b"anything".to_vec(), b"anything".to_vec()),
        ];
        for (count, (key, value)) in refused.into_iter().enumerate() {
            liar.push(key, value).await;
            liar.until(|| async { node.stats().await.unwrap().dht_refused == count as u64 + 1 }).await;
        }
        let kept = liar.meanwhile(node.name_get(owner.name())).await.unwrap();
        assert_eq!(kept.sequence(), 5);
        assert_eq!(node.stats().await.unwrap().dht_names, 1);
        liar.push(name, record(&owner, 6)).await;
        liar.until(|| async { node.name_get(owner.name()).await.unwrap().sequence() == 6 }).await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_answers_with_a_forged_or_an_old_record_does_not_prevail() {
    within(async {
        let dirs = [dir(), dir()];
        let nodes = star(&dirs).await;
        let (owner, stranger) = (key(7), key(8));
        nodes[0].name_put(owner.name(), record(&owner, 5)).await.unwrap();
        let lies = [(owner.name(), record(&owner, 1)), (stranger.name(), record(&owner, 9))];
        let liar = support::table::Peer::serve(&nodes[1], &lies).await;
        assert_eq!(nodes[1].name_get(owner.name()).await.unwrap().sequence(), 5);
        assert!(matches!(nodes[1].name_get(stranger.name()).await, Err(Error::NoRecord(_))));
        drop(liar);
    })
    .await;
}

#[tokio::test]
async fn a_peer_is_found_and_connected_by_its_id_alone() {
    within(async {
        let dirs = [dir(), dir(), dir()];
        let nodes = star(&dirs).await;
        let bare = format!("/p2p/{}", nodes[2].peer_id()).parse().unwrap();
        assert_eq!(nodes[1].connect(bare).await.unwrap(), nodes[2].peer_id());
        assert!(nodes[1].peers().iter().any(|peer| peer.id == nodes[2].peer_id()));
        let nobody = format!("/p2p/{}", embedded_ipfs::PeerId::random()).parse().unwrap();
        assert!(matches!(nodes[1].connect(nobody).await, Err(Error::Unreachable(_))));
    })
    .await;
}

#[tokio::test]
async fn who_provides_a_content_is_found_through_a_third() {
    within(async {
        let dirs = [dir(), dir(), dir()];
        let nodes = star(&dirs).await;
        let added =
            nodes[1].add(&b"found"[..], AddOptions { pin: false, ..AddOptions::default() }).await.unwrap();
        assert_eq!(nodes[2].providers(&added.cid, 5).await.unwrap(), []);
        nodes[1].provide(&added.cid).await.unwrap();
        let found = nodes[2].providers(&added.cid, 5).await.unwrap();
        assert_eq!(found.iter().map(|found| found.peer).collect::<Vec<_>>(), [nodes[1].peer_id()]);
        assert!(found[0].addresses.contains(&address(&nodes[1])), "{found:?}");
    })
    .await;
}

#[tokio::test]
async fn a_node_enters_by_its_bootstrap_peers() {
    within(async {
        let (first, second) = (dir(), dir());
        let known = node(&first).await;
        let bootstrap = vec![address(&known)];
        let other = Node::start(Config { bootstrap, ..config(&second) }).await.unwrap();
        until(|| !other.peers().is_empty()).await;
        let stranger = Config { bootstrap: vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()], ..config(&first) };
        assert!(matches!(Node::start(stranger).await, Err(Error::Address(_))), "who is there?");
    })
    .await;
}

#[tokio::test]
async fn a_node_without_a_table_asks_and_answers_nothing() {
    within(async {
        let (first, second) = (dir(), dir());
        let off = Node::start(Config { dht: Dht::Off, ..config(&first) }).await.unwrap();
        let other = node(&second).await;
        other.connect(address(&off)).await.unwrap();
        assert_eq!(other.stats().await.unwrap().dht_peers, 0);
        let owner = key(9);
        assert!(matches!(off.name_get(owner.name()).await, Err(Error::NoRecord(_))));
        assert!(matches!(off.provide(&"bafkqaaa".parse().unwrap()).await, Err(Error::Unreachable(_))));
        assert_eq!(off.name_put(owner.name(), record(&owner, 1)).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn content_is_pinned_from_a_stranger_that_the_table_tells_of() {
    within(async {
        let dirs = [dir(), dir(), dir()];
        let nodes = star(&dirs).await;
        let file = noise(1 << 20, 1);
        let added = nodes[1].add(&file[..], AddOptions::default()).await.unwrap();
        let report = nodes[2].pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!(nodes[1].pinned(&added.cid).await.unwrap(), Some(report));
        assert!(nodes[2].peers().iter().any(|peer| peer.id == nodes[1].peer_id()), "a provider was dialled");
        assert_eq!(nodes[0].stats().await.unwrap().blocks, 0, "the one that told of it has nothing");
    })
    .await;
}

#[tokio::test]
async fn what_was_pinned_before_there_was_anybody_to_tell_is_told_then() {
    within(async {
        let dirs = [dir(), dir(), dir()];
        let holder = node(&dirs[1]).await;
        let added = holder.add(&b"early"[..], AddOptions::default()).await.unwrap();
        let (middle, other) = (node(&dirs[0]).await, node(&dirs[2]).await);
        holder.connect(address(&middle)).await.unwrap();
        other.connect(address(&middle)).await.unwrap();
        assert_eq!(other.get(&added.cid).await.unwrap(), holder.get(&added.cid).await.unwrap());
        // What is given up is not answered for; those who were told of it, the third perhaps too, remember it for two days.
        assert_eq!(middle.providers(&added.cid, 5).await.unwrap().len(), 1);
        assert!(holder.unpin(&added.cid).await.unwrap());
        let stranger = dir();
        let stranger = node(&stranger).await;
        stranger.connect(address(&holder)).await.unwrap();
        middle.stop().await;
        other.stop().await;
        while !stranger.providers(&added.cid, 5).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
