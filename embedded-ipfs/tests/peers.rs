//! Who is connected with whom: limits, announced addresses, and what is told of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::sync::{Arc, Mutex};

use embedded_ipfs::{Config, Dht, Error, Event, Limits, Multiaddr, Node, Observer};
use support::{address, config, until, within};

const RAW: u64 = 0x55;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A node that makes no connections of its own accord.
async fn quiet(dir: &tempfile::TempDir, limits: Limits) -> Node {
    Node::start(Config { dht: Dht::Off, limits, ..config(dir) }).await.unwrap()
}

#[tokio::test]
async fn strangers_beyond_the_limit_are_not_let_in_and_kept_peers_come_on_top() {
    within(async {
        let dirs: [_; 4] = std::array::from_fn(|_| dir());
        let few = Limits { connections: 3, inbound_connections: 2, ..Limits::default() };
        let host = quiet(&dirs[0], few).await;
        let mut guests = Vec::new();
        for dir in &dirs[1..] {
            guests.push(quiet(dir, Limits::default()).await);
        }
        for guest in &guests[..2] {
            guest.connect(address(&host)).await.unwrap();
        }
        let refused = guests[2].connect(address(&host)).await;
        assert!(matches!(refused, Err(Error::Unreachable(_))), "{refused:?}");
        while host.stats().await.unwrap().refused_connections == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let stats = host.stats().await.unwrap();
        assert_eq!((stats.inbound_connections, stats.refused_connections, stats.peers), (2, 1, 2));

        host.keep(address(&guests[2])).await.unwrap();
        until(|| host.peers().len() == 3).await;
        // It is let in by either way now.
        guests[2].stop().await;
        until(|| host.peers().len() == 2).await;
        let again = quiet(&dirs[3], Limits::default()).await;
        again.connect(address(&host)).await.unwrap();
        assert!(host.peers().iter().any(|peer| peer.id == again.peer_id() && peer.kept));
    })
    .await;
}

#[tokio::test]
async fn a_node_dials_no_more_peers_than_it_may() {
    within(async {
        let dirs: [_; 3] = std::array::from_fn(|_| dir());
        let one = Limits { outbound_connections: 1, ..Limits::default() };
        let node = quiet(&dirs[0], one).await;
        let (first, second) =
            (quiet(&dirs[1], Limits::default()).await, quiet(&dirs[2], Limits::default()).await);
        node.connect(address(&first)).await.unwrap();
        let refused = node.connect(address(&second)).await;
        assert!(matches!(refused, Err(Error::Unreachable(_))), "{refused:?}");
        second.connect(address(&node)).await.unwrap();
        // Who dials knows of a connection a moment before the other does.
        until(|| node.peers().len() == 2).await;
        let stats = node.stats().await.unwrap();
        assert_eq!((stats.inbound_connections, stats.outbound_connections, stats.failed_dials), (1, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn what_is_announced_is_told_beside_what_is_listened_on() {
    within(async {
        let home = dir();
        let announce: Multiaddr = "/dns4/ipfs.example/tcp/4001".parse().unwrap();
        let node = Node::start(Config { announce: vec![announce.clone()], ..config(&home) }).await.unwrap();
        let told = node.addrs();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], announce.with_p2p(node.peer_id()).unwrap());
    })
    .await;
}

#[tokio::test]
async fn an_observer_hears_of_connections_and_blocks_and_the_counts_are_the_same() {
    within(async {
        let (left, right) = (dir(), dir());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let observer = Observer::new({
            let heard = heard.clone();
            move |event| heard.lock().unwrap().push(event.clone())
        });
        let node = Node::start(Config { dht: Dht::Off, observer, ..config(&left) }).await.unwrap();
        let peer = quiet(&right, Limits::default()).await;
        let (id, at) = (peer.peer_id(), address(&peer));
        node.connect(at.clone()).await.unwrap();
        let theirs = peer.put(RAW, vec![1; 2000]).await.unwrap();
        node.get(&theirs).await.unwrap();
        let ours = node.put(RAW, vec![2; 3000]).await.unwrap();
        peer.get(&ours).await.unwrap();
        let stats = node.stats().await.unwrap();
        assert_eq!((stats.received_blocks, stats.received_bytes), (1, 2000));
        peer.stop().await;
        until(|| node.peers().is_empty()).await;
        assert!(node.connect(at.clone()).await.is_err());
        let heard = heard.lock().unwrap();
        for (what, event) in [
            ("connected", Event::Connected { peer: id, address: at, inbound: false }),
            ("received", Event::Received { peer: id, blocks: 1, bytes: 2000 }),
            ("sent", Event::Sent { peer: id, blocks: 1, bytes: 3000 }),
            ("disconnected", Event::Disconnected { peer: id }),
        ] {
            assert_eq!(heard.iter().filter(|heard| **heard == event).count(), 1, "{what}: {heard:?}");
        }
        assert!(heard
            .iter()
            .any(|heard| matches!(heard, Event::DialFailed { peer: Some(peer), .. } if *peer == id)));
    })
    .await;
}

#[tokio::test]
async fn a_port_on_which_somebody_listens_is_not_shared() {
    within(async {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = quiet(&one, Limits::default()).await;
        let listen = address(&first).into_iter().take(2).collect::<Multiaddr>();
        let second = || Node::start(Config { listen: vec![listen.clone()], ..config(&two) });
        match second().await {
            Err(Error::Listen(why)) => assert!(why.starts_with(&listen.to_string()), "{why}"),
            other => panic!("{other:?}"),
        }
        first.stop().await;
        let second = second().await.unwrap();
        assert_eq!(address(&second).into_iter().take(2).collect::<Multiaddr>(), listen);
        second.stop().await;
    })
    .await;
}
