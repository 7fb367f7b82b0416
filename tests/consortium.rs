//! People who trust each other keep each other's files: real nodes on loopback, among them such as keep to no rule.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "consortium/five.rs"]
mod five;
#[path = "consortium/hostile.rs"]
mod hostile;
#[path = "consortium/publisher.rs"]
mod publisher;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use cid::Cid;
use five::{bytes, start, Five};
use publisher::Publisher;
use serde_json::json;
use support::eventually;
use support::member::{ipfs, kubo, Member, ROUNDS};
use support::scatter::Scatter;

/// Small bounds, so that they are reached.
const BOUNDS: &str = "max_pins = 1000\nmax_bytes = \"4MiB\"\nidle_timeout = \"2s\"";
/// Friends whose machines were taken over.
const HOSTILE: [&str; 6] = ["rollback", "flood", "greedy", "malformed", "nobodys", "endless"];
/// Most memory of a node, in bytes.
const MEMORY: u64 = 150_000_000;

/// Waits until each member has been through another round with each of these peers, good or failed.
fn another_round(members: &[Member], peers: &[&str]) {
    let count = |member: &Member, peer: &str| {
        let standing = &member.peer(peer)["standing"];
        (standing["resolved_at"].clone(), standing["failing"]["times"].clone())
    };
    let pairs = || members.iter().flat_map(|member| peers.iter().map(move |peer| (member, *peer)));
    let before: Vec<_> = pairs().map(|(member, peer)| count(member, peer)).collect();
    eventually("another round", ROUNDS, || {
        pairs().zip(&before).all(|((member, peer), before)| count(member, peer) != *before).then_some(())
    });
}

async fn every_member_ends_with_the_union_whatever_others_publish(kubo: Option<&Path>) {
    let mut five = Five::start(kubo, BOUNDS).await;
    five.list_and_trust();
    five.keep_each_others();
    let mut union = five.union();
    let mut gone = five.members.pop().unwrap();
    gone.assert_keeps_on_disk(&union).await;

    let multiaddrs: Vec<_> = five.members.iter().map(Member::multiaddr).collect();
    let mut publishers = Vec::new();
    for name in HOSTILE {
        let publisher = Publisher::start(&multiaddrs).await;
        for member in &five.members {
            member.trust(name, &publisher.ipns(), &publisher.multiaddr());
        }
        publishers.push(publisher);
    }
    let [rollback, flood, greedy, malformed, nobodys, endless] = &mut publishers[..] else { panic!("six") };
    let mut good = Vec::new();
    for (number, publisher) in (10..).zip([&*rollback, malformed, nobodys]) {
        good.push(publisher.add(&bytes(number, 300_000)).await);
    }
    union.extend(&good);
    let [newest, before, somebodys] = good[..] else { panic!("three") };
    rollback.list(&[newest], 5).await;
    malformed.list(&[before], 1).await;
    nobodys.list(&[&hostile::nobodys("these", 50)[..], &[somebodys]].concat(), 1).await;
    flood.publish(hostile::flood(200_000), 1).await;
    // Each of these alone is within the bounds of a manifest, and above those of the peer.
    let large = greedy.add(&bytes(21, 6 << 20)).await;
    greedy.list(&[&[large][..], &hostile::nobodys("those", 5_000)].concat(), 1).await;
    endless.point_to(hostile::endless_directory(endless, 10).await, 1).await.unwrap();
    for member in &five.members {
        member.keeps("rollback", 1);
        member.keeps("malformed", 1);
    }
    rollback.lose_everything().await;
    let old = rollback.add(b"what an old list named").await;
    let old_list = rollback.add_directory(&[old]).await;
    // Those who know the newer record may refuse this one to its face; who asks gets it from the publisher itself.
    drop(rollback.point_to(old_list, 4).await);
    malformed.publish(vec![("list.json".into(), br#"["bafkqaaa", {"#.to_vec())], 2).await;

    for member in &five.members {
        // What nobody has keeps nobody from what somebody has.
        eventually("the one root that is there", ROUNDS, || {
            (member.peer("nobodys")["mirrored"]["pinned"] == 1).then_some(())
        });
        eventually("a bad file", ROUNDS, || {
            (member.peer("malformed")["standing"]["bad_files"]["list.json"].is_string()).then_some(())
        });
    }
    for _ in 0..2 {
        another_round(&five.members, &["rollback", "flood", "greedy", "endless"]);
    }
    // Life goes on: what a member lists now comes to all.
    let news = five.members[0].add_while_running(&bytes(20, 300_000));
    union.insert(news);
    five.members[0].operate(&["manifest", "publish"]);
    for member in &five.members[1..] {
        member.keeps("member-0", 3);
    }
    for member in &five.members {
        member.keeps("rollback", 1);
        member.keeps("malformed", 1);
        // Who is stopped is kept all the same.
        if member.name != "member-0" {
            member.keeps("member-4", 2);
        }
        for peer in HOSTILE {
            let mirrored = member.peer(peer)["mirrored"].clone();
            assert!(mirrored["roots"].as_u64().is_some_and(|roots| roots <= 1_000), "{peer}: {mirrored}");
            assert!(mirrored["bytes"].as_u64().is_some_and(|bytes| bytes <= 4 << 20), "{peer}: {mirrored}");
        }
    }
    let peaks: Vec<_> = five.members.iter().map(Member::peak_memory).collect();
    assert!(peaks.iter().all(|peak| *peak < MEMORY), "bytes resident at most: {peaks:?}");
    for mut member in five.members {
        member.assert_keeps_on_disk(&union).await;
        let pins = member.pins().await;
        assert!(!pins.contains(&old), "{}: an old list was taken for a new one", member.name);
    }
    for publisher in publishers {
        publisher.stop().await;
    }
}

#[actix_rt::test]
async fn five_members_keep_the_union_of_their_lists_in_spite_of_hostile_peers() {
    every_member_ends_with_the_union_whatever_others_publish(None).await;
}

#[actix_rt::test]
async fn five_members_with_a_kubo_each_keep_the_union_of_their_lists_in_spite_of_hostile_peers() {
    let Some(ipfs) = ipfs() else { return };
    every_member_ends_with_the_union_whatever_others_publish(Some(&ipfs)).await;
}

/// Starts two members who trust each other, and has each keep the other's file.
async fn mirror_each_other(mut members: [Member; 2]) {
    let mut files = Vec::new();
    for (number, member) in (30..).zip(&members) {
        files.push(member.add(&bytes(number, 300_000)).await);
    }
    start(&mut members, &[], "").await;
    let multiaddrs = [members[0].multiaddr(), members[1].multiaddr()];
    for (member, file) in members.iter().zip(&files) {
        member.list(&[*file]);
    }
    let names = [members[0].ipns(), members[1].ipns()];
    for (member, other) in [(0, 1), (1, 0)] {
        members[member].trust(&members[other].name, &names[other], &multiaddrs[other]);
    }
    for (member, other) in [(0, 1), (1, 0)] {
        members[member].keeps(&members[other].name, 1);
    }
    let all: BTreeSet<Cid> = files.into_iter().collect();
    for member in &mut members {
        member.assert_keeps_on_disk(&all).await;
    }
}

#[actix_rt::test]
async fn a_member_with_an_embedded_node_and_one_with_a_kubo_keep_each_others_files() {
    let Some(ipfs) = ipfs() else { return };
    mirror_each_other([Member::make("embedded", None).await, Member::make("kubo", Some(&ipfs)).await]).await;
}

#[actix_rt::test]
async fn a_manifest_made_by_hand_with_ipfs_is_mirrored_as_it_is() {
    let Some(ipfs) = ipfs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut by_hand = kubo("by hand", &ipfs, directory.path()).await;
    let mut members = [Member::make("embedded", None).await, Member::make("kubo", Some(&ipfs)).await];
    by_hand.configure(&[members[0].multiaddr(), members[1].multiaddr()]).unwrap();
    by_hand.start().unwrap();
    by_hand.is_ready().await.unwrap();
    start(&mut members, &[by_hand.multiaddr()], "").await;
    let mut roots = BTreeSet::new();
    // k51… and the Qm… of before.
    for (kind, base) in [("ed25519", "base36"), ("rsa", "b58mh")] {
        let file = directory.path().join(kind);
        std::fs::write(&file, bytes(kind.len() as u64, 300_000)).unwrap();
        let root = by_hand.run(&["add", "--quiet", &file.display().to_string()]).await.unwrap();
        let lists = directory.path().join(format!("{kind}-lists"));
        std::fs::create_dir(&lists).unwrap();
        std::fs::write(lists.join("README.md"), "What we keep for each other.\n").unwrap();
        std::fs::write(lists.join("files.json"), format!("[\n  \"{}\"\n]\n", root.trim())).unwrap();
        let added = by_hand.run(&["add", "-r", "--quieter", &lists.display().to_string()]).await.unwrap();
        let name = by_hand.run(&["key", "gen", "--type", kind, "--ipns-base", base, kind]).await.unwrap();
        let path = format!("/ipfs/{}", added.trim());
        by_hand.run(&["name", "publish", "--key", kind, &path]).await.unwrap();
        for member in &members {
            member.trust(kind, name.trim(), &by_hand.multiaddr());
        }
        roots.insert(root.trim().parse::<Cid>().unwrap());
    }
    for member in &mut members {
        member.keeps("ed25519", 1);
        member.keeps("rsa", 1);
        member.assert_keeps_on_disk(&roots).await;
    }
}

#[actix_rt::test]
async fn one_round_from_a_shell_as_cron_does_it_mirrors_and_ends() {
    let publisher = Publisher::start(&[]).await;
    let root = publisher.add(&bytes(40, 300_000)).await;
    publisher.list(&[root], 1).await;
    let mut member = Member::make("member", None).await;
    let peers = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(peers.path(), json!({ "peers": [publisher.ipns()] }).to_string()).unwrap();
    let file = peers.path().display();
    member.configure(&[publisher.multiaddr()], &format!("peers_file = \"{file}\""));
    let config = member.config();
    let round = || {
        let program = env!("CARGO_BIN_EXE_scatter");
        let line = format!("{program} mirror --once --config {}", config.display());
        let mut cron = Command::new("/usr/bin/env");
        cron.args(["-i", "PATH=/usr/bin:/bin", "/bin/sh", "-c", &line]).current_dir("/");
        let finished = Scatter::spawn(&cron).finish(ROUNDS);
        assert_eq!(finished.code(), 0, "{finished:?}");
    };
    round();
    member.assert_keeps_on_disk(&BTreeSet::from([root])).await;
    // With nothing new, and with the friend away, the next round changes nothing.
    round();
    publisher.stop().await;
    member.assert_keeps_on_disk(&BTreeSet::from([root])).await;
}

#[actix_rt::test]
async fn what_a_member_mirrors_does_not_grow_its_memory() {
    let publishers = [Publisher::start(&[]).await, Publisher::start(&[]).await];
    let content = bytes(50, 128 << 20);
    let mut members = [Member::make("member", None).await];
    start(&mut members, &publishers.each_ref().map(Publisher::multiaddr), "").await;
    let [member] = &members;
    for (publisher, name) in publishers.iter().zip(["one", "other"]) {
        // Both give it, so that it comes as fast as it can.
        publisher.list(&[publisher.add(&content).await], 1).await;
        member.trust(name, &publisher.ipns(), &publisher.multiaddr());
    }
    member.keeps("one", 1);
    member.keeps("other", 1);
    let peak = member.peak_memory();
    eprintln!("{} MB resident at most", peak / 1_000_000);
    assert!(peak < MEMORY, "{peak} bytes resident");
}
