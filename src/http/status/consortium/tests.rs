use std::collections::BTreeMap;

use cid::Cid;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::store::Batch;
use scatter_actors::records::consortium::{Failing, Held, Kept, OwnEntry, Source, Standing};
use scatter_actors::records::hosting::{refer, Pin};
use scatter_actors::testkit::MemoryStore;

use super::*;

const IPNS: &str = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA";
const HERE: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
const AWAY: &str = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o";

fn cid(text: &str) -> Cid {
    text.parse().unwrap()
}

/// A store with a peer `ann`, of whose two roots one is here, and a peer `bob` that was not looked up yet.
fn store() -> MemoryStore {
    let store = MemoryStore::default();
    let mut batch = Batch::new();
    for name in ["ann", "bob"] {
        batch.put(&Peer {
            name: name.into(),
            ipns: IPNS.parse().unwrap(),
            addrs: vec![],
            max_bytes: ByteSize(9),
            max_pins: 5,
            source: Source::Operator,
        });
    }
    batch.put(&Standing {
        name: "ann".into(),
        ipns: IPNS.parse().unwrap(),
        accepted: None,
        directory: None,
        resolved_at: Some(WallTime(5_000)),
        failing: Some(Failing { since: WallTime(6_000), times: 2, why: "no record".into() }),
        held: Some(Held::Removal { removed: 7, of: 9 }),
        bad_files: BTreeMap::from([("x.json".into(), "not an array".into())]),
        generation: 3,
        roots: 2,
    });
    batch.put(&Kept { name: "ann".into(), generation: 3 });
    for root in [HERE, AWAY] {
        refer(&mut batch, cid(root), Owner::Peer("ann".into()));
    }
    let pin = |root, pinned_at| Pin {
        cid: cid(root),
        bytes: 11,
        blocks: 1,
        pinned_at,
        foreign: false,
        unneeded_since: None,
    };
    batch.put(&pin(HERE, Some(WallTime(1))));
    batch.put(&pin(AWAY, None));
    store.commit(batch).unwrap();
    store
}

/// What the pinner says of that.
fn sets() -> Sets {
    Sets::new(vec![Mirrored {
        peer: "ann".into(),
        roots: 2,
        pinned: 1,
        pending: 0,
        failing: 1,
        too_large: 0,
        over_limit: 0,
        bytes: 11,
        generation_kept: 3,
    }])
}

#[test]
fn a_peer_is_shown_with_its_standing_and_how_much_of_its_set_is_here() {
    let store = store();
    let sets = sets();
    let all = list(&store, &sets).unwrap();
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|peer| peer["name"].clone()).collect();
    assert_eq!(names, ["ann", "bob"]);
    let ann = peer(&store, "ann", &sets).unwrap();
    assert_eq!(all["items"][0]["standing"], ann["standing"]);
    assert_eq!(ann["standing"]["held"], json!({"why": "removal", "removed": 7, "of": 9}));
    assert_eq!(ann["standing"]["bad_files"]["x.json"], "not an array");
    for (field, number) in
        [("generation_kept", 3), ("roots", 2), ("pinned", 1), ("failing", 1), ("bytes", 11)]
    {
        assert_eq!(ann["mirrored"][field], number, "{field} in {ann}");
    }
    assert_eq!(ann["missing"], json!([AWAY]));
    assert_eq!(all["items"][1]["standing"], Value::Null);
    assert_eq!(peer(&store, "eve", &sets).unwrap_err().status, 404);
}

#[test]
fn the_own_list_is_shown_with_what_is_published_of_it() {
    let store = store();
    let empty = manifest(&store, None, None, WallTime(0)).unwrap();
    assert_eq!((&empty["entries"], &empty["publication"]), (&json!(0), &Value::Null));
    let mut batch = Batch::new();
    for root in [HERE, AWAY] {
        batch.put(&OwnEntry { cid: cid(root), added: WallTime(7) });
    }
    batch.put(&Publication { sequence: 4, eol: WallTime(90_000), ..Publication::default() });
    store.commit(batch).unwrap();
    let identity = Identity { addrs: vec!["/ip4/1.2.3.4/tcp/1/p2p/x".into()], ..Identity::default() };
    let shown = manifest(&store, Some("k51own"), Some(&identity), WallTime(30_000)).unwrap();
    assert_eq!(shown["addrs"][0], "/ip4/1.2.3.4/tcp/1/p2p/x");
    assert_eq!((&shown["name"], &shown["remaining_seconds"]), (&json!("k51own"), &json!(60)));
    let items: BTreeMap<_, _> = shown["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["cid"].as_str().unwrap().to_owned(), item["pinned"].as_bool().unwrap()))
        .collect();
    assert_eq!(items, BTreeMap::from([(HERE.to_owned(), true), (AWAY.to_owned(), false)]));
}

#[test]
fn metrics_tell_peers_that_fail_or_wait_and_what_is_missing() {
    let store = store();
    let mut batch = Batch::new();
    batch.put(&Publication { eol: WallTime(90_000), ..Publication::default() });
    store.commit(batch).unwrap();
    let mut page = Page::new();
    metrics(&store, &sets(), WallTime(8_000), &mut page).unwrap();
    let text = page.into_text();
    for line in [
        "scatter_peers 2",
        "scatter_peers_failing 1",
        "scatter_peers_held 1",
        "scatter_peer_roots{peer=\"ann\"} 2",
        "scatter_peer_roots_pinned{peer=\"ann\"} 1",
        "scatter_peer_pinned_bytes{peer=\"ann\"} 11",
        "scatter_peer_age_seconds{peer=\"ann\"} 3",
        "scatter_manifest_entries 0",
        "scatter_publication_remaining_seconds 82",
        "scatter_publication_failing 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}
