//! Mirroring among friends, as the operator of one node meets it: no chain, no account.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{json, Value};

use crate::support::kubo::Kubo;
use crate::support::place::{error, Place};
use crate::support::scatter::{Finished, Scatter};
use crate::support::{eventually, PATIENCE};

const ANN: &str = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA";
const BOB: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
const ROOT: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

/// The IPFS node inside the process, where nobody else listens.
const EMBEDDED: &str = "listen = [\"/ip4/127.0.0.1/tcp/0\"]";

/// A node that mirrors, with `more` in its configuration.
fn friend(more: &str) -> Place {
    friend_with(EMBEDDED, more)
}

/// A node that mirrors by such an IPFS node.
fn friend_with(ipfs: &str, more: &str) -> Place {
    let place = Place::new();
    let text = format!(
        "[node]\ndata_dir = \"data\"\n[roles]\nconsortium = true\n[ipfs]\n{ipfs}\n\
         [hoster]\nmin_free_disk = \"1MiB\"\n[status]\nlisten = \"127.0.0.1:0\"\n{more}"
    );
    fs::write(place.path().join("node.toml"), text).unwrap();
    place
}

fn run(place: &Place) -> Scatter {
    let node = Scatter::start(place.path(), &["run", "--config", "node.toml"]);
    node.wait_for_line("start", PATIENCE, |line| line.contains("\"running\"").then_some(()));
    node
}

fn finish(place: &Place, args: &[&str]) -> Finished {
    place.scatter(&[args, &["--config", "node.toml", "--json"]].concat())
}

fn answer(place: &Place, args: &[&str]) -> Value {
    let ended = finish(place, args);
    assert_eq!(ended.code(), 0, "{args:?}: {ended:?}");
    ended.json()
}

fn refused(place: &Place, args: &[&str], status: i32, code: &str, words: &str) {
    let ended = finish(place, args);
    assert_eq!((ended.code(), &error(&ended)["code"]), (status, &json!(code)), "{args:?}: {ended:?}");
    let message = error(&ended)["message"].as_str().unwrap().to_owned();
    assert!(message.contains(words), "{words} in {message}");
}

#[test]
fn a_node_without_chain_and_key_becomes_ready_and_manages_its_peers() {
    let place = friend(&format!("[consortium]\npeers = [\"old={BOB}\"]\n"));
    fs::remove_file(place.path().join("key.json")).unwrap();
    let _node = run(&place);
    eventually("readiness", PATIENCE, || (answer(&place, &["status"])["ready"] == true).then_some(()));

    let added = answer(&place, &["peer", "add", "ann", ANN, "--max-bytes", "5MiB", "--max-pins", "3"]);
    assert_eq!((&added["added"], &added["peer"]["max_bytes"]), (&json!(true), &json!(5 << 20)));
    let listed = answer(&place, &["peer", "list"]);
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|peer| &peer["name"]).collect();
    assert_eq!(names, [&json!("ann"), &json!("old")]);
    let shown = answer(&place, &["peer", "show", "ann"]);
    assert_eq!((&shown["source"], &shown["mirrored"]["roots"]), (&json!("operator"), &json!(0)));

    refused(&place, &["peer", "add", "me", ANN], 4, "refused", "mirrored already, as ann");
    refused(&place, &["peer", "add", "x", "example.org"], 2, "usage", "is no IPNS name");
    refused(&place, &["peer", "show", "eve"], 4, "not_found", "no such peer");
    refused(&place, &["peer", "accept", "ann"], 4, "refused", "nothing of ann waits");
    refused(&place, &["peer", "remove", "old"], 4, "refused", "node.toml:12: change it there");
    assert_eq!(answer(&place, &["peer", "remove", "ann"])["roots"], 0);
    refused(&place, &["peer", "remove", "ann"], 4, "not_found", "no such peer");
    let table = place.scatter(&["peer", "list", "--config", "node.toml"]);
    assert!(table.stdout.contains("PEER") && table.stdout.contains("old"), "{table:?}");
}

#[test]
fn friends_mirror_each_other() {
    mirror_each_other(&friend(""), &friend(""));
}

#[test]
fn a_friend_with_kubo_and_one_without_mirror_each_other() {
    let Some(kubo) = Kubo::start() else { return };
    let ann = friend_with(&format!("backend = \"kubo\"\napi = \"{}\"", kubo.url()), "");
    let checked = answer(&ann, &["check"]);
    assert!(checked["verdicts"].to_string().contains("kubo/0."), "{checked}");
    mirror_each_other(&ann, &friend(""));
    let pinned = kubo.cli(&["pin", "ls", "--type=recursive", "--quiet"]);
    assert!(pinned.lines().count() > 2, "its own, theirs and the list: {pinned}");
}

#[test]
fn a_list_published_by_hand_with_kubo_is_mirrored_as_it_is() {
    let Some(kubo) = Kubo::start() else { return };
    let root = kubo.add_bytes(b"a photo", &[]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("photos.json"), json!([root]).to_string()).unwrap();
    fs::write(folder.path().join("README.md"), "not a list").unwrap();
    let directory = kubo.cli(&["add", "-r", "-Q", folder.path().to_str().unwrap()]);
    let place = friend("");
    let _node = run(&place);
    for kind in ["ed25519", "rsa"] {
        let name = kubo.cli(&["key", "gen", &format!("--type={kind}"), kind]);
        let key = format!("--key={kind}");
        kubo.cli(&["name", "publish", "--allow-offline", &key, &format!("/ipfs/{}", directory.trim())]);
        answer(&place, &["peer", "add", kind, name.trim(), "--addr", &kubo.addr()]);
    }
    let round = answer(&place, &["mirror", "--once", "--timeout", "2m"]);
    for peer in round["peers"].as_array().unwrap() {
        assert_eq!(
            (&peer["mirrored"]["pinned"], &peer["standing"]["roots"]),
            (&json!(1), &json!(1)),
            "{peer}"
        );
    }
    let why = answer(&place, &["why", root.trim()]);
    assert_eq!(why["references"].as_array().unwrap().len(), 2, "{why}");
}

/// Each lists a file, adds the other, and mirrors what the other lists.
fn mirror_each_other(ann: &Place, bob: &Place) {
    let (_ann, _bob) = (run(ann), run(bob));
    let listed: Vec<Value> = [(ann, "of ann"), (bob, "of bob")]
        .into_iter()
        .map(|(place, content)| {
            fs::write(place.path().join("file"), content).unwrap();
            let added = answer(place, &["manifest", "add", "file"]);
            added["added"][0].clone()
        })
        .collect();
    let told = |place: &Place| {
        let shown = answer(place, &["manifest", "show"]);
        (shown["name"].as_str().unwrap().to_owned(), shown["addrs"][0].as_str().unwrap().to_owned())
    };
    for (here, there) in [(ann, bob), (bob, ann)] {
        let (name, addr) = told(there);
        answer(here, &["peer", "add", "friend", &name, "--addr", &addr]);
    }
    for place in [ann, bob] {
        let published = answer(place, &["manifest", "publish"]);
        assert!(published["publication"]["published_at"].is_u64(), "{published}");
    }
    for (place, theirs) in [(ann, &listed[1]), (bob, &listed[0])] {
        let round = answer(place, &["mirror", "--once", "--timeout", "1m"]);
        assert_eq!((&round["whole"], &round["peers"][0]["mirrored"]["pinned"]), (&json!(true), &json!(1)));
        let why = answer(place, &["why", theirs.as_str().unwrap()]);
        assert_eq!(why["references"][0]["owner"], json!({"owner": "peer", "id": "friend"}), "{why}");
        assert!(why["pin"]["pinned_at"].is_u64(), "{why}");
    }
}

#[test]
fn a_round_in_which_something_is_missing_names_it_and_brings_the_rest() {
    let ann = friend("");
    let _ann = run(&ann);
    fs::write(ann.path().join("file"), "a file that is there").unwrap();
    answer(&ann, &["manifest", "add", "file", ROOT]);
    answer(&ann, &["manifest", "publish"]);
    let shown = answer(&ann, &["manifest", "show"]);
    let peer = format!(
        "[consortium]\nidle_timeout = \"2s\"\n[[consortium.peers]]\nname = \"ann\"\nipns = {}\naddrs = {}\n",
        shown["name"], shown["addrs"]
    );
    // No node runs here: the round does without one, as under cron.
    let bob = friend(&peer);
    let ended = finish(&bob, &["mirror", "--once", "--timeout", "1m"]);
    assert_eq!((ended.code(), &error(&ended)["code"]), (3, &json!("incomplete")), "{ended:?}");
    let found = ended.json()["peers"][0].clone();
    assert_eq!((&found["missing"], &found["mirrored"]["pinned"]), (&json!([ROOT]), &json!(1)), "{found}");
    assert_eq!(found["standing"]["failing"], Value::Null);
    let words = bob.scatter(&["mirror", "--once", "--timeout", "1m", "--config", "node.toml"]);
    assert!(words.stderr.contains(&format!("ann: {ROOT} is missing")), "{words:?}");
    assert!(words.stdout.contains("1 of 2"), "{words:?}");
}

#[test]
fn what_a_node_lists_is_added_shown_and_removed() {
    let place = friend("");
    let _node = run(&place);
    fs::write(place.path().join("file"), "content that others should keep").unwrap();
    fs::write(place.path().join("list"), format!("# one a line\n\n{ROOT}\n")).unwrap();
    let added = answer(&place, &["manifest", "add", "file", "--list", "list"]);
    assert_eq!(added["added"].as_array().unwrap().len(), 2);
    assert!(added["added"].to_string().contains(ROOT));
    assert_eq!(answer(&place, &["manifest", "add", &format!("/ipfs/{ROOT}")])["known"], json!([ROOT]));
    let shown = answer(&place, &["manifest", "show"]);
    assert_eq!(shown["entries"], 2);
    assert!(shown["name"].as_str().unwrap().starts_with("k51"), "{shown}");
    assert_eq!(answer(&place, &["manifest", "remove", ROOT])["removed"], json!([ROOT]));
    refused(&place, &["manifest", "remove", ROOT], 4, "not_found", "none of these is listed");
    refused(&place, &["manifest", "add", "no-such-file"], 2, "usage", "is neither a file nor a root to list");
    assert_eq!(answer(&place, &["manifest", "show"])["entries"], 1);
}

#[test]
fn a_name_moves_to_another_machine_by_its_key() {
    let (old, new) = (friend(""), friend(""));
    let name = answer(&old, &["names", "show"])["name"].clone();
    assert_eq!(answer(&old, &["names", "show"])["name"], name, "it is made once");
    let file = old.path().join("name.key");
    let file = file.to_str().unwrap();
    assert_eq!(answer(&old, &["names", "export", file])["name"], name);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    refused(&old, &["names", "export", file], 2, "usage", "already exists");

    let other = answer(&new, &["names", "show"])["name"].clone();
    refused(&new, &["names", "import", file], 4, "refused", "is the key of another name");
    assert_eq!(answer(&new, &["names", "show"])["name"], other, "nothing was lost");
    assert_eq!(answer(&new, &["names", "import", file, "--force"])["name"], name);
    assert_eq!(answer(&new, &["names", "show"])["name"], name);
    let kept = fs::read_dir(new.path().join("data")).unwrap().map(|entry| entry.unwrap().file_name());
    let kept: Vec<_> = kept.map(|name| name.into_string().unwrap()).collect();
    assert!(kept.iter().any(|kept| kept.ends_with(other.as_str().unwrap())), "{kept:?}");

    let _node = run(&new);
    assert_eq!(answer(&new, &["manifest", "show"])["name"], name);
    refused(&new, &["names", "import", file], 2, "locked", "stop the node first");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let place = friend("");
    answer(&place, &["names", "show"]);
    fs::set_permissions(place.path().join("data/ipns.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = place.scatter(&["run", "--config", "node.toml"]);
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr.contains("ipns.key: mode 0644 lets others use the name"), "{ended:?}");
}

#[test]
fn a_kubo_that_is_not_there_is_no_reason_to_end() {
    let place = friend_with("backend = \"kubo\"\napi = \"http://user:secret@127.0.0.1:1\"", "");
    let checked = finish(&place, &["check"]);
    assert_eq!(checked.code(), 3);
    let verdicts = checked.json()["verdicts"].clone();
    let ipfs = verdicts.as_array().unwrap().iter().find(|verdict| verdict["name"] == "ipfs").unwrap();
    assert_eq!((&ipfs["ok"], &ipfs["key"]), (&json!(false), &json!("ipfs.api")));
    let node = run(&place);
    let status = eventually("a look at Kubo", PATIENCE, || {
        let status = answer(&place, &["status"]);
        status["reasons"].to_string().contains("ipfs_failed").then_some(status)
    });
    assert_eq!(status["ready"], false);
    assert!(!node.output().contains("secret") && !checked.stdout.contains("secret"), "{}", node.output());
}

#[test]
fn commands_of_the_consortium_say_that_no_node_is_running() {
    let place = friend("");
    for args in [
        &["peer", "list"][..],
        &["peer", "show", "x"],
        &["peer", "accept", "x"],
        &["peer", "remove", "x"],
        &["manifest", "add", ROOT],
        &["manifest", "remove", ROOT],
        &["manifest", "show"],
        &["manifest", "publish"],
    ] {
        refused(&place, args, 3, "no_node", "no node is running");
    }
    refused(&place, &["peer", "add", "ann", ANN], 3, "no_node", "in the configuration, as consortium.peers");
}

/// A hoster of a chain that is away, which mirrors with `more` in its configuration.
fn hoster(more: &str) -> Place {
    let place = Place::new();
    place.configure(&[
        ("validator = true", "hoster = true\nconsortium = true"),
        (
            "[status]",
            &format!("{more}\n[hoster]\nmax_storage = \"1MiB\"\nmin_free_disk = \"1MiB\"\n[status]"),
        ),
    ]);
    place
}

#[test]
fn a_round_on_a_hosters_data_needs_no_node_and_keeps_to_its_storage() {
    let ann = friend("");
    let _ann = run(&ann);
    fs::write(ann.path().join("small"), vec![1; 100_000]).unwrap();
    let large: Vec<u8> = (0..1_u32 << 19).flat_map(u32::to_le_bytes).collect();
    fs::write(ann.path().join("large"), large).unwrap();
    let added = answer(&ann, &["manifest", "add", "small", "large"]);
    answer(&ann, &["manifest", "publish"]);
    let shown = answer(&ann, &["manifest", "show"]);
    let peer = format!(
        "[[consortium.peers]]\nname = \"ann\"\nipns = {}\naddrs = {}\n",
        shown["name"], shown["addrs"]
    );
    let bob = hoster(&peer);
    let ended = finish(&bob, &["mirror", "--once", "--timeout", "1m"]);
    assert_eq!((ended.code(), &error(&ended)["code"]), (3, &json!("incomplete")), "{ended:?}");
    let found = ended.json()["peers"][0].clone();
    let mirrored = &found["mirrored"];
    assert_eq!((&mirrored["pinned"], &mirrored["too_large"]), (&json!(1), &json!(1)), "{found}");
    assert_eq!(found["missing"], json!([added["added"][1]]), "{found}");
}

#[test]
fn a_round_without_peers_is_whole_and_leaves_no_process_behind() {
    let place = friend("");
    let round = answer(&place, &["mirror", "--once", "--timeout", "1m"]);
    assert_eq!((&round["whole"], &round["peers"]), (&json!(true), &json!([])));
    refused(&place, &["peer", "list"], 3, "no_node", "no node is running");
    assert_eq!(finish(&place, &["mirror"]).code(), 2, "without --once there is nothing to do");
}

#[test]
fn a_round_with_a_peer_that_is_gone_names_it_and_loses_nothing() {
    let place = friend(&format!("[consortium]\npeers = [\"ann={ANN}\"]\n"));
    let ended = finish(&place, &["mirror", "--once", "--timeout", "2m"]);
    assert_eq!((ended.code(), &error(&ended)["code"]), (3, &json!("incomplete")), "{ended:?}");
    let document = ended.json();
    assert!(document["troubles"][0].as_str().unwrap().starts_with("ann: failing: "), "{document}");
    let _node = run(&place);
    let again = finish(&place, &["mirror", "--once", "--timeout", "2m"]);
    assert_eq!(again.code(), 3, "through the running node: {again:?}");
}
