//! Against a real Kubo, where there is one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;
use futures::future::join_all;
use scatter::adapters::kubo::{Config, Kubo};
use scatter_actors::domain::cids::RAW;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Error, Ipfs, Progress, Reach};
use scatter_actors::ports::names::{self, Names};
use scatter_actors::testkit::{
    ipfs_contract, ipfs_directory_contract, ipfs_layout_contract, ipfs_twin_contract,
};
use serde_json::json;

use crate::support::kubo::Kubo as Node;
use crate::support::PATIENCE;

const ROOMY: ByteSize = ByteSize(1 << 30);

fn backend(node: &Node) -> Kubo {
    Kubo::new(&node.url(), None, Config::default()).unwrap()
}

fn unheard() -> Rc<dyn Fn(Progress)> {
    Rc::new(|_| ())
}

fn noise(length: u32) -> Vec<u8> {
    (0..length.div_ceil(4)).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[actix_rt::test]
async fn kubo_keeps_the_contract_of_backends() {
    let Some(node) = Node::start() else { return };
    let kubo = backend(&node);
    ipfs_contract(&kubo).await;
    ipfs_directory_contract(&kubo).await;
    ipfs_layout_contract(&kubo).await;
    ipfs_twin_contract(&kubo).await;
}

#[actix_rt::test]
async fn files_come_from_a_connected_peer_and_the_progress_grows() {
    let (Some(giver), Some(taker)) = (Node::start(), Node::start()) else { return };
    let bytes = noise(3_000_000);
    let root: Cid = giver.add_bytes(&bytes, &[]).parse().unwrap();
    let kubo = backend(&taker);
    assert!(matches!(Ipfs::connect(&kubo, "/ip4/127.0.0.1/tcp/1").await, Err(Error::Unreachable(_))));
    Ipfs::connect(&kubo, &giver.addr()).await.unwrap();
    Ipfs::connect(&kubo, &format!("/p2p/{}", giver.id())).await.unwrap();
    let identity = Ipfs::identity(&kubo).await.unwrap();
    assert_eq!(identity.peer, taker.id());
    assert!(identity.addrs.contains(&taker.addr()) && identity.agent.starts_with("kubo/"), "{identity:?}");

    assert_eq!(kubo.block(root, Reach::Local).await, Ok(None));
    assert!(kubo.block(root, Reach::Network).await.unwrap().is_some());
    let seen = Rc::new(RefCell::new(Vec::new()));
    let heard = seen.clone();
    let done = kubo.pin(root, ROOMY, Rc::new(move |now| heard.borrow_mut().push(now))).await.unwrap();
    assert!(done.blocks == 13 && done.bytes > 3_000_000, "{done:?}");
    assert!(seen.borrow().windows(2).all(|pair| pair[0].blocks < pair[1].blocks));
    assert_eq!(seen.borrow().last(), Some(&done));
    assert_eq!(taker.cli(&["pin", "ls", "--type=recursive", "-q", &root.to_string()]), root.to_string());
    assert_eq!(kubo.cat(root, ROOMY).await.unwrap(), bytes);
}

#[actix_rt::test]
async fn a_file_is_added_as_ipfs_add_does_and_survives_a_collection() {
    let Some(node) = Node::start() else { return };
    let kubo = backend(&node);
    for length in [0, 1_000, 3_000_000] {
        let bytes = noise(length);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let added = kubo.add(file.path()).await.unwrap();
        assert_eq!(added.size.0, u64::from(length));
        assert_eq!(added.cid.to_string(), node.add_bytes(&bytes, &["--only-hash"]));
        node.cli(&["repo", "gc", "--quiet"]);
        assert_eq!(kubo.cat(added.cid, ROOMY).await.unwrap(), bytes);
    }
    let missing = kubo.add(std::path::Path::new("/nowhere/to/be/found")).await;
    assert!(matches!(missing, Err(Error::Storage(_))), "{missing:?}");
}

#[actix_rt::test]
async fn a_sharded_directory_is_listed_whole_from_a_peer() {
    let (Some(giver), Some(taker)) = (Node::start(), Node::start()) else { return };
    giver.cli(&["config", "--json", "Import.UnixFSHAMTDirectorySizeThreshold", "\"1B\""]);
    giver.terminate();
    giver.restart();
    let files = (0..400).map(|n| (format!("{n:03}.json"), n.to_string().into_bytes())).collect();
    let root = backend(&giver).add_directory(files).await.unwrap();
    let kubo = backend(&taker);
    taker.connect(&giver);
    assert_eq!(kubo.ls(root, 399).await, Err(Error::TooMany { cap: 399 }));
    let entries = kubo.ls(root, 400).await.unwrap();
    assert!(entries.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert_eq!(entries.len(), 400);
    assert_eq!(kubo.cat(entries[7].cid, ROOMY).await, Ok(b"7".to_vec()));
}

#[actix_rt::test]
async fn a_burst_of_pins_makes_every_one_and_takes_none_twice() {
    let Some(node) = Node::start() else { return };
    let kubo = backend(&node);
    let put = |n: u32| Ipfs::put(&kubo, RAW, noise(1_024 + n));
    let roots: Vec<Cid> = join_all((0..100).map(put)).await.into_iter().map(Result::unwrap).collect();
    let pins = join_all(roots.iter().chain(&roots).map(|root| kubo.pin(*root, ROOMY, unheard()))).await;
    for (pin, length) in pins.into_iter().zip((0..100).chain(0..100)) {
        assert_eq!(pin, Ok(Progress { blocks: 1, bytes: noise(1_024 + length).len() as u64 }));
    }
    let here = kubo.pins().await.unwrap();
    assert!(roots.iter().all(|root| here.contains(root)));
}

/// A node over a DAG of which one leaf is nowhere, and that leaf.
async fn with_a_hole(kubo: &Kubo, giver: &Kubo) -> (Cid, Cid) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), noise(1_000_000)).unwrap();
    let root = giver.add(file.path()).await.unwrap().cid;
    let block = giver.block(root, Reach::Local).await.unwrap().unwrap();
    let links = scatter_actors::domain::dag::links(&root, &block).unwrap();
    for cid in std::iter::once(root).chain(links[1..].iter().copied()) {
        let block = giver.block(cid, Reach::Local).await.unwrap().unwrap();
        Ipfs::put(kubo, cid.codec(), block).await.unwrap();
    }
    (root, links[0])
}

#[actix_rt::test]
async fn a_kubo_that_ends_in_mid_pin_is_an_error_and_the_next_try_goes_on() {
    let (Some(giver), Some(taker)) = (Node::start(), Node::start()) else { return };
    let given = backend(&giver);
    let (root, leaf) = with_a_hole(&backend(&taker), &given).await;
    for end in [Node::kill, Node::terminate] {
        let kubo = backend(&taker);
        let ended = Cell::new(false);
        let pin = kubo.pin(root, ROOMY, unheard());
        let ending = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            end(&taker);
            ended.set(true);
        };
        let (outcome, ()) = tokio::time::timeout(PATIENCE, futures::future::join(pin, ending)).await.unwrap();
        let Err(Error::Unreachable(words)) = outcome else { panic!("{outcome:?}") };
        assert!(ended.get() && words.starts_with(&taker.url()), "{words}");
        taker.restart();
        assert_eq!(backend(&taker).is_pinned(root).await, Ok(false));
    }
    let kubo = backend(&taker);
    taker.connect(&giver);
    let done = tokio::time::timeout(PATIENCE, kubo.pin(root, ROOMY, unheard())).await.unwrap().unwrap();
    assert_eq!((done.blocks, kubo.is_pinned(root).await), (5, Ok(true)));
    assert!(kubo.block(leaf, Reach::Local).await.unwrap().is_some());
}

#[actix_rt::test]
async fn a_dropped_pin_is_no_longer_wanted_from_the_network() {
    let (Some(node), Some(peer)) = (Node::start(), Node::start()) else { return };
    let kubo = backend(&node);
    // Nothing is wanted of nobody.
    node.connect(&peer);
    let absent = scatter_actors::testkit::ipfs::cid_of(RAW, b"nobody has this");
    let wanted = || node.cli(&["bitswap", "wantlist"]).contains(&absent.to_string());
    {
        let mut pin = kubo.pin(absent, ROOMY, unheard());
        let waited = tokio::time::timeout(Duration::from_millis(700), &mut pin).await;
        assert!(waited.is_err() && wanted(), "{waited:?}");
    }
    // The connection is closed by the arbiter, which this test runs on.
    for _ in 0..100 {
        if !wanted() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("still wanted");
}

#[actix_rt::test]
async fn a_pin_that_lost_a_block_is_mended_and_never_lost() {
    let (Some(giver), Some(taker)) = (Node::start(), Node::start()) else { return };
    let bytes = noise(1_000_000);
    let root: Cid = taker.add_bytes(&bytes, &[]).parse().unwrap();
    assert_eq!(giver.add_bytes(&bytes, &[]), root.to_string());
    let kubo = backend(&taker);
    let whole = kubo.pin(root, ROOMY, unheard()).await.unwrap();
    let block = kubo.block(root, Reach::Local).await.unwrap().unwrap();
    let leaf = scatter_actors::domain::dag::links(&root, &block).unwrap()[1];
    taker.terminate();
    taker.lose(&leaf);
    taker.restart();

    let kubo = backend(&taker);
    assert_eq!(kubo.block(leaf, Reach::Local).await, Ok(None));
    let alone = tokio::time::timeout(Duration::from_secs(1), kubo.pin(root, ROOMY, unheard())).await;
    assert!(alone.is_err(), "nobody has the block: {alone:?}");
    assert_eq!(kubo.is_pinned(root).await, Ok(true), "a second pin that broke off takes nothing away");
    taker.connect(&giver);
    let mended = tokio::time::timeout(PATIENCE, kubo.pin(root, ROOMY, unheard())).await.unwrap();
    assert_eq!(mended, Ok(whole));
    assert!(kubo.block(leaf, Reach::Local).await.unwrap().is_some());
}

#[actix_rt::test]
async fn only_who_has_the_token_gets_an_answer() {
    let authorizations = json!({ "API": { "Authorizations": {
        "scatter": { "AuthSecret": "bearer:made-for-this-test", "AllowedPaths": ["/api/v0"] },
        "reader": { "AuthSecret": "basic:reader:its-password", "AllowedPaths": ["/api/v0/id"] },
    } } });
    let Some(node) = Node::start_with(&authorizations, &[]) else { return };
    let with = |token: Option<&str>| {
        let token = token.map(|text| text.parse().unwrap());
        Kubo::new(&node.url(), token, Config::default()).unwrap()
    };
    for token in ["made-for-this-test\n", "bearer:made-for-this-test"] {
        assert!(with(Some(token)).stored().await.is_ok());
    }
    assert!(Ipfs::identity(&with(Some("basic:reader:its-password"))).await.is_ok());
    for token in
        [None, Some("another-token"), Some("basic:reader:another"), Some("basic:reader:its-password")]
    {
        let Err(Error::Unreachable(words)) = with(token).stored().await else { panic!("{token:?}") };
        let is_clear = words.starts_with(&node.url()) && words.contains("403") && words.contains("token");
        assert!(is_clear && !words.contains("password"), "{words}");
    }
}

#[actix_rt::test]
async fn records_are_got_and_put_through_the_hash_table() {
    let (Some(owner), Some(one), Some(other)) = (Node::start(), Node::start(), Node::start()) else { return };
    let (here, there) = (backend(&one), backend(&other));
    let name = owner.id().parse().unwrap();
    assert_eq!(Names::get(&there, name).await, Err(names::Error::NotFound(name)), "nobody to ask");
    owner.cli(&["name", "publish", "--allow-offline", "/ipfs/bafkqaaa"]);
    let record = Names::get(&backend(&owner), name).await.unwrap();
    one.connect(&other);
    assert_eq!(Names::get(&there, name).await, Err(names::Error::NotFound(name)), "nobody has it");
    Names::put(&here, name, record.clone()).await.unwrap();
    assert_eq!(Names::get(&there, name).await.unwrap(), record, "its owner is connected to nobody");

    for (what, record) in [("garbage", vec![1; 100]), ("too large", vec![1; 10_241]), ("empty", vec![])] {
        let refused = Names::put(&here, name, record).await;
        assert!(matches!(refused, Err(names::Error::Refused(_))), "{what}: {refused:?}");
    }
    let others = Names::put(&here, other.id().parse().unwrap(), record).await;
    assert!(matches!(others, Err(names::Error::Refused(_))), "another's name: {others:?}");
    one.terminate();
    assert!(matches!(Names::get(&here, name).await, Err(names::Error::Unreachable(_))));
}

#[actix_rt::test]
async fn a_node_without_a_network_says_so() {
    let Some(node) = Node::start_with(&json!({}), &["--offline"]) else { return };
    let kubo = backend(&node);
    let name = node.id().parse().unwrap();
    assert!(matches!(Names::get(&kubo, name).await, Err(names::Error::Unreachable(_))));
    let absent: Cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".parse().unwrap();
    assert_eq!(kubo.block(absent, Reach::Network).await, Err(Error::NotFound(absent)));
    assert_eq!(kubo.cat(absent, ROOMY).await, Err(Error::NotFound(absent)));
    assert_eq!(kubo.ls(absent, 10).await, Err(Error::NotFound(absent)));
    assert!(kubo.pin(absent, ROOMY, unheard()).await.is_err());
}
