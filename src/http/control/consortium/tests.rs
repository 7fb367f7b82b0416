use std::collections::BTreeMap;
use std::rc::Rc;

use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::store::Store;
use scatter_actors::records::consortium::{Held, Standing};
use scatter_actors::records::hosting::references;
use scatter_actors::testkit::{ManualClock, MemoryIpfs, MemoryStore, SeededRandomness};

use super::super::{Outbox, Ports};
use super::*;

const ANN: &str = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA";
const RSA: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
const OWN: &str = "k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r";
const ROOT: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
const OTHER: &str = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o";

fn desk() -> (Desk, Rc<MemoryStore>) {
    let store = Rc::new(MemoryStore::default());
    let ports = Ports {
        chain: None,
        ipfs: Rc::new(MemoryIpfs::new()),
        store: store.clone(),
        clock: Rc::new(ManualClock::at(WallTime(5))),
        randomness: Rc::new(SeededRandomness::new(1)),
    };
    let consortium = Some(Config {
        name: Some(OWN.parse().unwrap()),
        bounds: Bounds { max_bytes: ByteSize(100), max_pins: 10 },
        places: BTreeMap::from([("old".to_owned(), "node.toml:3".to_owned())]),
    });
    let config = super::super::Config { consortium, ..Default::default() };
    (Desk { config, ports, outbox: Outbox::default() }, store)
}

fn entry(name: &str, ipns: &str) -> Entry {
    Entry { name: Some(name.into()), ipns: ipns.into(), ..Entry::default() }
}

fn cids(texts: &[&str]) -> Vec<Cid> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[actix_rt::test]
async fn a_peer_is_added_once_and_its_bounds_can_be_changed() {
    let (desk, store) = desk();
    let added = desk.consortium(Wish::AddPeer(entry("ann", ANN))).await.unwrap();
    assert_eq!((&added["added"], &added["peer"]["max_bytes"]), (&true.into(), &100.into()));
    let wider = Entry { max_pins: Some(99), ..entry("ann", ANN) };
    let again = desk.consortium(Wish::AddPeer(wider)).await.unwrap();
    assert_eq!(again["added"], false);
    assert_eq!(peers(&*store).unwrap().into_iter().map(|peer| peer.max_pins).collect::<Vec<_>>(), [99]);
}

#[actix_rt::test]
async fn a_peer_that_makes_no_sense_is_refused_with_the_reason() {
    let (desk, store) = desk();
    desk.consortium(Wish::AddPeer(entry("ann", ANN))).await.unwrap();
    let before = peers(&*store).unwrap();
    for (wrong, code, why) in [
        (entry("an n", RSA), Code::Usage, "is no name"),
        (entry("x", "bafkqaaa"), Code::Usage, "is no IPNS name"),
        (
            Entry { addrs: vec!["/ip4/1.2.3.4/tcp/1".into()], ..entry("x", RSA) },
            Code::Usage,
            "does not name the peer",
        ),
        (Entry { max_bytes: Some("9".into()), ..entry("x", RSA) }, Code::Usage, "is not a size"),
        (entry("twin", ANN), Code::Refused, "mirrored already, as ann"),
        (entry("ann", RSA), Code::Refused, "another peer's name here"),
        (entry("me", OWN), Code::Refused, "this node's own name"),
    ] {
        let fault = desk.consortium(Wish::AddPeer(wrong)).await.unwrap_err();
        assert!(fault.code == code && fault.message.contains(why), "{why}: {fault:?}");
    }
    assert_eq!(peers(&*store).unwrap(), before);
}

#[actix_rt::test]
async fn what_the_configuration_names_is_changed_there_and_nowhere_else() {
    let (desk, store) = desk();
    let bounds = Bounds { max_bytes: ByteSize(1), max_pins: 1 };
    let mut batch = Batch::new();
    batch.put(&entry("old", RSA).peer(bounds, Source::Config).unwrap());
    store.commit(batch).unwrap();
    for wish in [Wish::RemovePeer("old".into()), Wish::AddPeer(entry("old", RSA))] {
        let fault = desk.consortium(wish).await.unwrap_err();
        assert_eq!(fault.message, "old is named in node.toml:3: change it there");
        assert_eq!((fault.code, fault.key.as_deref()), (Code::Refused, Some("consortium.peers")));
    }
}

#[actix_rt::test]
async fn a_removed_peer_is_gone_and_one_that_is_not_there_is_told() {
    let (desk, store) = desk();
    desk.consortium(Wish::AddPeer(entry("ann", ANN))).await.unwrap();
    desk.consortium(Wish::RemovePeer("ann".into())).await.unwrap();
    assert!(peers(&*store).unwrap().is_empty());
    for wish in [Wish::RemovePeer("ann".into()), Wish::Accept("ann".into())] {
        assert_eq!(desk.consortium(wish).await.unwrap_err().code, Code::NotFound);
    }
}

#[actix_rt::test]
async fn only_what_waits_can_be_accepted() {
    let (desk, store) = desk();
    desk.consortium(Wish::AddPeer(entry("ann", ANN))).await.unwrap();
    let fault = desk.consortium(Wish::Accept("ann".into())).await.unwrap_err();
    assert!(fault.code == Code::Refused && fault.message.contains("nothing of ann waits"), "{fault}");
    let mut batch = Batch::new();
    batch.put(&Standing {
        name: "ann".into(),
        ipns: ANN.parse().unwrap(),
        accepted: None,
        directory: None,
        resolved_at: None,
        failing: None,
        held: Some(Held::Rollback { found: 1, accepted: 9 }),
        bad_files: BTreeMap::new(),
        generation: 0,
        roots: 0,
    });
    store.commit(batch).unwrap();
    // There is no resolver in this test, so the operator's word is not heard, and told to be not.
    assert_eq!(desk.consortium(Wish::Accept("ann".into())).await.unwrap_err().code, Code::Unreachable);
}

#[actix_rt::test]
async fn what_is_listed_is_kept_and_what_is_not_is_let_go() {
    let (desk, store) = desk();
    let listed = desk.consortium(Wish::List(cids(&[ROOT, OTHER]))).await.unwrap();
    assert_eq!(listed["added"], json!([ROOT, OTHER]));
    // The same content in another version and base of CID is the same entry.
    let same = Cid::new_v1(0x70, *cids(&[OTHER])[0].hash());
    let again = desk.consortium(Wish::List(vec![same])).await.unwrap();
    assert_eq!((count(&again["added"]), count(&again["known"])), (0, 1));
    let kept = |root: &str| references(&*store, &root.parse().unwrap()).unwrap().len();
    assert_eq!((own(&*store).unwrap().len(), kept(ROOT), kept(OTHER)), (2, 1, 1));

    let gone = desk.consortium(Wish::Unlist(cids(&[ROOT, "bafkqaaa"]))).await.unwrap();
    assert_eq!((&gone["removed"], &gone["unknown"]), (&json!([ROOT]), &json!(["bafkqaaa"])));
    assert_eq!((own(&*store).unwrap().len(), kept(ROOT), kept(OTHER)), (1, 0, 1));
    assert_eq!(desk.consortium(Wish::Unlist(cids(&[ROOT]))).await.unwrap_err().code, Code::NotFound);
}

fn count(value: &Value) -> usize {
    value.as_array().unwrap().len()
}

#[actix_rt::test]
async fn without_the_role_every_wish_names_it() {
    let (mut desk, _) = desk();
    desk.config.consortium = None;
    let fault = desk.consortium(Wish::Publish).await.unwrap_err();
    assert_eq!((fault.code, fault.key.as_deref()), (Code::Config, Some("roles.consortium")));
}
