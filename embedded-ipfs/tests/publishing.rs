//! Names that a node publishes and keeps alive, and paths below them; the last tests are beside a real Kubo daemon.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use embedded_ipfs::{Error, Name, Node, PublishOptions, Published, SigningKey};
use support::ipfs::Daemon;
use support::{address, node, numbered, within};

const HELLO: &str = "/ipfs/bafkqabtimvwgy3yk";
const EMPTY: &str = "/ipfs/bafkqaaa";

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

async fn publish(node: &Node, key: &SigningKey, value: &str) -> u64 {
    let said = node.publish(key, value, PublishOptions::default()).await.unwrap();
    assert_eq!((said.name, said.value.as_str()), (key.name(), value));
    said.sequence
}

#[tokio::test]
async fn what_is_published_is_resolved_elsewhere_with_every_change_and_below_a_directory() {
    within(async {
        let (first, second) = (dir(), dir());
        let (a, b) = (node(&first).await, node(&second).await);
        b.connect(address(&a)).await.unwrap();
        let owner = a.key();
        assert_eq!(owner.name().peer(), a.peer_id());
        let name = format!("/ipns/{}", owner.name());
        for (value, sequence) in [(EMPTY, 0), (HELLO, 1), (HELLO, 1)] {
            assert_eq!(publish(&a, &owner, value).await, sequence);
            assert_eq!(b.resolve(&name).await.unwrap(), value[6..].parse().unwrap());
        }
        let directory = a.add_directory(numbered(10)).await.unwrap().cid;
        assert_eq!(publish(&a, &owner, &format!("/ipfs/{directory}")).await, 2);
        let file = b.resolve(&format!("{name}/file-00003")).await.unwrap();
        assert_eq!(b.read(&file, 10).await.unwrap(), "3\n");
        let missing = b.resolve(&format!("{name}/none")).await;
        assert!(matches!(missing, Err(Error::NoEntry { .. })), "{missing:?}");
        // A value may be a path itself.
        assert_eq!(publish(&a, &owner, &format!("/ipfs/{directory}/file-00004")).await, 3);
        let file = b.resolve(&name).await.unwrap();
        assert_eq!(b.read(&file, 10).await.unwrap(), "4\n");
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_the_names_and_tells_them_again_with_their_sequence() {
    within(async {
        let (home, other) = (dir(), dir());
        let before = node(&home).await;
        for value in [EMPTY, HELLO] {
            publish(&before, &key(1), value).await;
        }
        publish(&before, &key(2), EMPTY).await;
        assert!(before.unpublish(key(2).name()).await.unwrap());
        before.stop().await;
        let after = node(&home).await;
        let said = Published { name: key(1).name(), value: HELLO.to_owned(), sequence: 1 };
        assert_eq!(after.published(), [said]);
        let stranger = node(&other).await;
        stranger.connect(address(&after)).await.unwrap();
        // Nobody published again: the node does by itself, and gives it to who comes.
        while stranger.stats().await.unwrap().dht_names == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(stranger.name_get(key(1).name()).await.unwrap().sequence(), 1);
        assert!(matches!(stranger.name_get(key(2).name()).await, Err(Error::NoRecord(_))));
        assert_eq!(publish(&after, &key(1), EMPTY).await, 2, "never back");
        assert!(!after.unpublish(key(2).name()).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_node_that_lost_its_data_goes_on_from_what_others_know() {
    within(async {
        let (lost, witness, fresh) = (dir(), dir(), dir());
        let (a, b) = (node(&lost).await, node(&witness).await);
        a.connect(address(&b)).await.unwrap();
        for value in [EMPTY, HELLO, EMPTY] {
            publish(&a, &key(3), value).await;
        }
        a.stop().await;
        let c = node(&fresh).await;
        c.connect(address(&b)).await.unwrap();
        assert_eq!(publish(&c, &key(3), HELLO).await, 3);
        // The other holder of the key has its data again, with an older sequence.
        let a = node(&lost).await;
        a.connect(address(&b)).await.unwrap();
        assert_eq!(a.name_get(key(3).name()).await.unwrap().sequence(), 3);
        c.stop().await;
        assert_eq!(publish(&a, &key(3), EMPTY).await, 4);
        assert_eq!(b.resolve(&key(3).name().to_string()).await.unwrap(), EMPTY[6..].parse().unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_was_published_alone_is_not_behind_what_others_know_once_there_are_others() {
    within(async {
        let (lost, witness, fresh) = (dir(), dir(), dir());
        let (a, b) = (node(&lost).await, node(&witness).await);
        a.connect(address(&b)).await.unwrap();
        for value in [EMPTY, HELLO, EMPTY] {
            publish(&a, &key(9), value).await;
        }
        a.stop().await;
        let c = node(&fresh).await;
        assert_eq!(publish(&c, &key(9), HELLO).await, 0, "it knows of nothing else");
        c.stop().await;
        let c = node(&fresh).await;
        c.connect(address(&b)).await.unwrap();
        while b.name_get(key(9).name()).await.unwrap().sequence() < 3 {}
        assert_eq!(b.resolve(&key(9).name().to_string()).await.unwrap(), HELLO[6..].parse().unwrap());
        assert_eq!(c.published()[0].sequence, 3);
        assert_eq!(publish(&c, &key(9), HELLO).await, 3);
    })
    .await;
}

#[tokio::test]
async fn a_name_whose_publisher_did_not_wait_is_kept_alive_all_the_same() {
    within(async {
        let (home, other) = (dir(), dir());
        let (a, b) = (node(&home).await, node(&other).await);
        a.connect(address(&b)).await.unwrap();
        // Told again in half of its life: that is soon.
        let options = PublishOptions { lifetime: Duration::from_secs(2), ..PublishOptions::default() };
        let (owner, name) = (key(8), key(8).name());
        tokio::select! {
            biased;
            said = a.publish(&owner, HELLO, options) => panic!("it waits for peers: {said:?}"),
            () = async { while a.published().is_empty() { tokio::task::yield_now().await } } => {}
        }
        let record = async || loop {
            match b.name_get(name).await {
                Ok(record) => return record,
                Err(error) => assert!(matches!(error, Error::NoRecord(_)), "{error}"),
            }
        };
        let first = record().await.eol();
        while record().await.eol() <= first {}
    })
    .await;
}

#[tokio::test]
async fn what_is_no_content_or_would_not_be_believed_is_not_published() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let publish = |value: &'static str, lifetime| {
            let (node, options) = (node.clone(), PublishOptions { lifetime, ..PublishOptions::default() });
            async move { node.publish(&key(4), value, options).await }
        };
        let day = Duration::from_secs(86_400);
        let name = key(5).name().to_string();
        for value in ["", "hello", "/ipfs/", "/ipfs/bafkqaaa/..", "/ipns/example.org"] {
            assert!(matches!(publish(value, day).await, Err(Error::Path(refused)) if refused == value));
        }
        let leaked: &'static str = name.leak();
        assert!(matches!(publish(leaked, day).await, Err(Error::Path(_))), "another name");
        let dead = publish(EMPTY, Duration::from_millis(900)).await;
        assert!(matches!(dead, Err(Error::Record(_))), "{dead:?}");
        assert_eq!(node.published(), []);
        // The record of a name that points to a name.
        let eol = ipns_record::Timestamp::from_ms(4_102_444_800_000);
        let record = key(6).sign(format!("/ipns/{leaked}").as_bytes(), 1, eol, 0).unwrap();
        node.name_put(key(6).name(), record).await.unwrap();
        let resolved = node.resolve(&key(6).name().to_string()).await;
        assert!(matches!(resolved, Err(Error::NotContent(of, _)) if of == key(6).name()));
    })
    .await;
}

#[tokio::test]
async fn kubo_resolves_what_we_publish_and_we_resolve_what_kubo_publishes() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = node(&home).await;
        node.connect(daemon.address.clone()).await.unwrap();
        while !daemon.run(&["stats", "dht", "lan"]).await.contains(&node.peer_id().to_string()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let rsa = include_bytes!("../ipns/tests/vectors/kubo-rsa.key");
        let secp256k1 = include_bytes!("../ipns/tests/vectors/kubo-secp256k1.key");
        let keys = [rsa.as_slice(), secp256k1].map(|key| SigningKey::from_protobuf(key).unwrap());
        for owner in [node.key()].iter().chain(&keys) {
            for value in [EMPTY, HELLO] {
                publish(&node, owner, value).await;
                let name = format!("/ipns/{}", owner.name());
                assert_eq!(daemon.run(&["name", "resolve", "--nocache", &name]).await, value);
            }
        }
        // Version 2 alone, made elsewhere.
        let (owner, eol) = (key(7), ipns_record::Timestamp::from_ms(4_102_444_800_000));
        let record = owner.sign_v2_only(EMPTY.as_bytes(), 1, eol, 0).unwrap();
        assert_eq!(node.name_put(owner.name(), record).await.unwrap(), 1);
        let name = format!("/ipns/{}", owner.name());
        assert_eq!(daemon.run(&["name", "resolve", "--nocache", &name]).await, EMPTY);
        for (kind, compatible) in [("ed25519", "true"), ("rsa", "true"), ("ed25519", "false")] {
            let key = format!("{kind}-{compatible}");
            let name: Name = daemon.run(&["key", "gen", "--type", kind, &key]).await.parse().unwrap();
            let v1 = format!("--v1compat={compatible}");
            daemon.run(&["name", "publish", &v1, "--key", &key, HELLO]).await;
            assert_eq!(node.resolve(&format!("/ipns/{name}")).await.unwrap(), HELLO[6..].parse().unwrap());
        }
        daemon.kill().await;
    })
    .await;
}
