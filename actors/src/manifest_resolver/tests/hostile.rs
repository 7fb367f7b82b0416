//! Peers that lost count, that lie, or that never end.

use super::*;

/// The set of ann is that of her first good round, and the reason is told.
fn nothing_changed(world: &World, why: &str) {
    let standing = world.standing("ann");
    let failing = standing.failing.unwrap();
    assert!(failing.why.contains(why), "{}", failing.why);
    assert_eq!(world.kept("ann"), [0, 1, 2]);
    assert_eq!((standing.roots, standing.generation), (3, 1));
}

/// A file of so many roots, made fast.
fn many(first: u64, count: u64) -> Vec<u8> {
    let texts: Vec<String> = (first..first + count)
        .map(|n| {
            let digest = [n.to_be_bytes(), [0; 8], [0; 8], [0; 8]].concat();
            let hash = cid::multihash::Multihash::wrap(crate::domain::cids::SHA2_256, &digest).unwrap();
            Cid::new_v1(RAW, hash).to_string()
        })
        .collect();
    serde_json::to_vec(&texts).unwrap()
}

async fn with_a_good_set() -> World {
    let world = World::new(vec![]);
    world.publish(1, &[("a.json", file(0..3))]);
    world.resolve().await;
    world
}

#[test]
fn an_older_record_is_refused_and_held() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file([9]))]);
        let old = world.names.kept(key_of(1).name()).unwrap();
        world.publish(1, &[("a.json", file(0..3))]);
        world.resolve().await;
        world.names.say(key_of(1).name(), Said::Bytes(old));
        world.resolve().await;
        nothing_changed(&world, "sequence 1, but 2 was accepted");
        assert_eq!(world.standing("ann").held, Some(Held::Rollback { found: 1, accepted: 2 }));
        world.names.say(key_of(1).name(), None);
        world.resolve().await;
        let standing = world.standing("ann");
        assert_eq!((standing.held, standing.failing), (None, None), "the newest one is found again");
    });
}

#[test]
fn a_record_of_another_key_is_refused() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        let directory = world.publish(2, &[("a.json", file([9]))]);
        let forged = world.names.publish(&key_of(2), &format!("/ipfs/{directory}"), 99, LONG);
        world.names.say(key_of(1).name(), Said::Bytes(forged.clone()));
        world.resolve().await;
        nothing_changed(&world, "signature does not match");
        world.names.say(key_of(1).name(), Said::Bytes(b"\x0anonsense".to_vec()));
        world.resolve().await;
        nothing_changed(&world, "no record");
        world.names.say(key_of(1).name(), Said::Bytes(forged.repeat(100)));
        world.resolve().await;
        nothing_changed(&world, "more than 10 KiB");
        assert_eq!(world.standing("ann").failing.unwrap().times, 3);
    });
}

#[test]
fn a_set_outlives_its_record() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let directory = world.publish(1, &[("a.json", file(0..3))]);
        world.names.publish(&key_of(1), &format!("/ipfs/{directory}"), 1, WallTime(START + 60_000));
        world.resolve().await;
        world.pass(INTERVAL).await;
        world.resolve().await;
        nothing_changed(&world, "the record ended at 1970-01-01T00:17:40Z");
        let since = world.standing("ann").failing.unwrap().since;
        world.pass(INTERVAL * 2).await;
        nothing_changed(&world, "the record ended");
        assert_eq!(world.standing("ann").failing.unwrap().since, since, "told since when");
        world.publish(1, &[("a.json", file(0..4))]);
        world.resolve().await;
        assert_eq!((world.kept("ann").len(), world.standing("ann").failing), (4, None));
    });
}

#[test]
fn a_name_that_is_not_found_or_not_answered_changes_nothing() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        for (said, why) in [
            (Said::Nobody, "no record of"),
            (Said::Broken, "did not answer"),
            (Said::Silence, "resolving the name took longer than 60 s"),
        ] {
            world.names.say(key_of(1).name(), said);
            world.resolve().await;
            nothing_changed(&world, why);
        }
    });
}

#[test]
fn a_name_that_points_to_no_content_changes_nothing() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        let domain = "/ipns/example.org";
        let file = format!("/ipfs/{}", root(5));
        world.theirs.hold(RAW, &5u64.to_be_bytes());
        for (sequence, value, why) in [
            (10, domain, "another name"),
            (11, "/ipfs/bafkqaaa", "multihash code"),
            (12, file.as_str(), "is no directory"),
            (13, "", "points to nothing"),
        ] {
            world.names.publish(&key_of(1), value, sequence, LONG);
            world.resolve().await;
            nothing_changed(&world, why);
        }
    });
}

#[test]
fn of_two_records_of_one_sequence_the_longer_one_counts() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        let other = world.theirs.hold_directory(&[("a.json".to_owned(), file(0..5))]);
        let value = format!("/ipfs/{other}");
        world.names.publish(&key_of(1), &value, 1, WallTime(LONG.0 - 1));
        world.resolve().await;
        assert_eq!(world.kept("ann"), [0, 1, 2], "it ends sooner");
        assert_eq!(world.standing("ann").failing, None);
        world.names.publish(&key_of(1), &value, 1, WallTime(LONG.0 + 1_000));
        world.resolve().await;
        assert_eq!(world.kept("ann"), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_bad_file_is_told_and_its_last_set_stays_while_the_others_change() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..2)), ("b.json", file(2..4))]);
        world.resolve().await;
        let bad = [&b"[\""[..], b"{}", b"[\"QmNot\"]", b"[1]", &[b' '; (1 << 20) + 1]];
        for bytes in bad {
            let more = world.sequence.get() + 10;
            world.publish(1, &[("a.json", bytes.to_vec()), ("b.json", file((2..4).chain(10..more)))]);
            world.resolve().await;
            let standing = world.standing("ann");
            assert_eq!(standing.bad_files.keys().collect::<Vec<_>>(), ["a.json"]);
            assert_eq!((standing.failing, standing.held), (None, None));
            assert_eq!(world.kept("ann"), (0..4).chain(10..more).collect::<Vec<_>>());
        }
        let standing = world.standing("ann");
        assert!(standing.bad_files["a.json"].contains("over the cap"), "{:?}", standing.bad_files);
        world.publish(1, &[("a.json", file(0..3)), ("b.json", file((2..4).chain(10..15)))]);
        world.resolve().await;
        assert!(world.standing("ann").bad_files.is_empty());
    });
}

#[test]
fn a_file_that_nobody_has_is_left_for_later_and_holds_nothing_up() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let blocks = crate::testkit::ipfs::unixfs_file(&file([7]), 1 << 18);
        let there = world.theirs.hold_directory(&[("a.json".to_owned(), file([1]))]);
        let named = world.theirs.ls(there, 9).await.unwrap();
        let directory = unixfs_directory(&[("a.json", named[0].cid), ("z.json", blocks[0].0)]);
        world.theirs.load(std::slice::from_ref(&directory));
        world.names.publish(&key_of(1), &format!("/ipfs/{}", directory.0), 1, LONG);
        world.resolve().await;
        assert_eq!(world.kept("ann"), [1]);
        assert!(world.standing("ann").bad_files["z.json"].contains("did not come"));
        world.theirs.load(&blocks);
        world.resolve().await;
        assert_eq!(world.kept("ann"), [1, 7], "though the directory is the same");
    });
}

#[test]
fn two_hundred_thousand_roots_are_refused_whole() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        let listed = format!("[{}\"{}\"]", format!("\"{}\",", root(1)).repeat(199_999), root(1));
        let one = world.publish(1, &[("a.json", listed.into_bytes())]);
        world.resolve().await;
        assert_eq!(world.kept("ann"), [0, 1, 2]);
        let standing = world.standing("ann");
        assert!(standing.bad_files["a.json"].contains("over the cap"), "{:?}", standing.bad_files);
        assert_eq!(standing.directory, Some(one));

        let lists = many(0, 10_000);
        let files: Vec<(String, Vec<u8>)> = (0..20).map(|n| (format!("{n}.json"), lists.clone())).collect();
        let many = world.theirs.hold_directory(&files);
        world.names.publish(&key_of(1), &format!("/ipfs/{many}"), 9, LONG);
        let reads = world.ipfs.reads();
        world.resolve().await;
        assert!(world.standing("ann").failing.unwrap().why.contains("more than 100,000 roots"));
        assert_eq!(world.kept("ann"), [0, 1, 2]);
        assert!(world.ipfs.reads() - reads < 20, "no more is read than is needed to know");
    });
}

#[test]
fn a_directory_without_end_or_with_too_many_files_is_refused() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        for (sequence, count, suffix, why) in
            [(8, 10_001, "", "over the cap of 10000 entries"), (9, 1_001, ".json", "more than 1,000 files")]
        {
            let names: Vec<String> = (0..count).map(|n| format!("{n}{suffix}")).collect();
            let entries: Vec<(&str, Cid)> = names.iter().map(|name| (name.as_str(), root(1))).collect();
            let directory = unixfs_directory(&entries);
            world.theirs.load(std::slice::from_ref(&directory));
            world.names.publish(&key_of(1), &format!("/ipfs/{}", directory.0), sequence, LONG);
            let reads = world.ipfs.reads();
            world.resolve().await;
            nothing_changed(&world, why);
            assert_eq!(world.ipfs.reads(), reads);
        }
    });
}

#[test]
fn of_two_entries_of_one_name_one_is_read() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let lists = |n| crate::testkit::ipfs::unixfs_file(&file([n]), 1 << 18);
        let (one, two) = (lists(1), lists(2));
        world.theirs.load(&[one.clone(), two.clone()].concat());
        let directory = unixfs_directory(&[("a.json", one[0].0), ("a.json", two[0].0)]);
        world.theirs.load(std::slice::from_ref(&directory));
        world.names.publish(&key_of(1), &format!("/ipfs/{}", directory.0), 1, LONG);
        world.resolve().await;
        assert_eq!((world.standing("ann").roots, world.ipfs.reads()), (1, 1));
    });
}

#[test]
fn a_peer_that_hangs_delays_nobody_and_is_given_up_in_time() {
    on_paused_time(|| async {
        let world = World::new(vec![peer("ben", &key_of(2)), peer("cyd", &key_of(3))]);
        world.names.say(key_of(1).name(), Said::Silence);
        world.publish(2, &[("a.json", file([2]))]);
        world.publish(3, &[("a.json", file([3]))]);
        world.pass(Duration::from_secs(3)).await;
        assert_eq!((world.kept("ben"), world.kept("cyd")), (vec![2], vec![3]));
        world.pass(Duration::from_secs(60)).await;
        assert!(world.standing("ann").failing.is_some());
    });
}

#[test]
fn content_that_hangs_is_given_up_in_time() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        world.names.publish(&key_of(1), &format!("/ipfs/{}", unixfs_directory(&[("a", root(1))]).0), 9, LONG);
        world.resolve().await;
        nothing_changed(&world, "the round took longer than 600 s");
    });
}

#[test]
fn failures_are_tried_again_soon_at_first_and_at_the_interval_in_the_end() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.pass(Duration::from_secs(2)).await;
        let mut waits = Vec::new();
        for round in 1..=7 {
            let mut waited = 0;
            while world.names.gets() == round {
                world.pass(Duration::from_secs(1)).await;
                waited += 1;
            }
            waits.push(waited);
        }
        for (wait, expected) in waits.into_iter().zip([30, 60, 120, 240, 480, 600, 600_i64]) {
            assert!((expected - 1..=expected + 1).contains(&wait), "{wait} for {expected}");
        }
        assert_eq!(world.standing("ann").failing.unwrap().times, 8);
        assert!(world.standing("ann").failing.unwrap().since <= WallTime(START + 2_000));
    });
}

#[test]
fn what_is_held_counts_against_the_cap() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let publish = |first: u64, sequence| {
            let files: Vec<(String, Vec<u8>)> =
                (0..6).map(|n| (format!("{n}.json"), many(first + n * 10_000, 10_000))).collect();
            let directory = world.theirs.hold_directory(&files);
            world.names.publish(&key_of(1), &format!("/ipfs/{directory}"), sequence, LONG);
        };
        publish(0, 1);
        world.resolve().await;
        assert_eq!(world.standing("ann").roots, 60_000);
        publish(100_000, 2);
        world.resolve().await;
        let standing = world.standing("ann");
        assert_eq!((standing.roots, standing.generation), (60_000, 1), "a set changed whole would double it");
        assert!(standing.failing.unwrap().why.contains("100,000 roots"));
    });
}

#[test]
fn what_a_peer_makes_a_parser_say_is_not_kept_whole() {
    on_paused_time(|| async {
        let world = with_a_good_set().await;
        let long = format!("\"{}\"", "x".repeat(1_000_000)).into_bytes();
        let names: Vec<String> = (0..20).map(|n| format!("{n}.json")).collect();
        let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), long.clone())).collect();
        world.publish(1, &files);
        world.resolve().await;
        let standing = world.standing("ann");
        assert_eq!(standing.bad_files.len(), 20);
        assert!(serde_json::to_vec(&standing).unwrap().len() < 20_000);
    });
}
