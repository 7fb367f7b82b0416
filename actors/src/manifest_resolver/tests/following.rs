//! Peers that mean well.

use super::*;

#[test]
fn what_a_peer_lists_is_kept_and_told() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let directory = world.publish(1, &[("a.json", file(0..3)), ("b.json", file(2..5))]);
        world.resolve().await;
        let standing = world.standing("ann");
        assert_eq!((standing.roots, standing.generation), (5, 1), "the root of both files counts once");
        assert_eq!((standing.directory, standing.failing, standing.held), (Some(directory), None, None));
        assert_eq!(standing.resolved_at, Some(WallTime(START)));
        let accepted = standing.accepted.unwrap();
        assert_eq!((accepted.sequence, accepted.value), (1, format!("/ipfs/{directory}")));
        assert_eq!(world.told(), ["ann"]);
    });
}

#[test]
fn a_round_that_finds_nothing_new_costs_one_write_and_lists_nothing() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..200))]);
        world.resolve().await;
        world.told();
        let before = (world.store.dump(), world.store.commits(), world.ipfs.listings(), world.ipfs.reads());
        world.clock.advance(1);
        world.resolve().await;
        assert_eq!((world.ipfs.listings(), world.ipfs.reads()), (before.2, before.3));
        assert_eq!(world.store.commits() - before.1, 1);
        let after = world.store.dump();
        let changed: Vec<_> = after.iter().filter(|row| !before.0.contains(row)).collect();
        assert_eq!(changed.len(), 1);
        assert!(changed[0].2.len() < 1_000, "that write is small: {}", changed[0].2.len());
        assert_eq!(world.standing("ann").resolved_at, Some(WallTime(START + 1)));
        assert_eq!(world.told(), Vec::<String>::new());
    });
}

#[test]
fn a_record_that_is_only_renewed_is_followed_without_a_listing() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let directory = world.publish(1, &[("a.json", file(0..3))]);
        world.resolve().await;
        let later = WallTime(LONG.0 + 5_000);
        world.names.publish(&key_of(1), &format!("/ipfs/{directory}"), 1, later);
        world.resolve().await;
        let standing = world.standing("ann");
        assert_eq!(standing.accepted.unwrap().eol, later);
        assert_eq!((standing.generation, world.ipfs.listings()), (1, 1));
    });
}

#[test]
fn only_the_files_that_changed_are_fetched() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..10)), ("b.json", file(10..12))]);
        world.resolve().await;
        assert_eq!(world.ipfs.reads(), 2);
        world.publish(1, &[("a.json", file(0..10)), ("b.json", file(10..14))]);
        world.resolve().await;
        assert_eq!(world.ipfs.reads(), 3);
        assert_eq!(world.kept("ann"), (0..14).collect::<Vec<_>>());
        assert_eq!(world.standing("ann").generation, 2);
    });
}

#[test]
fn a_root_that_moves_to_another_file_is_no_change() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..3)), ("b.json", file(3..6))]);
        world.resolve().await;
        world.told();
        world.publish(1, &[("b.json", file(0..6))]);
        world.resolve().await;
        let standing = world.standing("ann");
        assert_eq!((standing.generation, standing.roots, standing.held), (1, 6, None));
        assert_eq!(world.kept("ann"), (0..6).collect::<Vec<_>>());
        assert_eq!(world.told(), Vec::<String>::new(), "who keeps the roots need not look");
    });
}

#[test]
fn the_roots_of_a_file_that_vanished_are_removed() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..9)), ("b.json", file([9]))]);
        world.resolve().await;
        world.publish(1, &[("a.json", file(0..9))]);
        world.resolve().await;
        assert_eq!(world.kept("ann"), (0..9).collect::<Vec<_>>());
        assert_eq!((world.standing("ann").generation, world.standing("ann").roots), (2, 9));
    });
}

#[test]
fn what_is_no_json_file_is_skipped() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let readme = ("README.md", b"[\"not this\"]".to_vec());
        world.publish(1, &[("a.json", file([1])), readme, ("x.JSON", b"?".to_vec())]);
        world.resolve().await;
        assert_eq!((world.ipfs.reads(), world.kept("ann")), (1, vec![1]));
        assert!(world.standing("ann").bad_files.is_empty());
    });
}

#[test]
fn one_content_in_two_versions_is_one_root() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let v1 = cid_of(crate::domain::cids::DAG_PB, b"node");
        let v0 = Cid::new_v0(*v1.hash()).unwrap();
        world.publish(
            1,
            &[("a.json", format!("[\"{v0}\"]").into()), ("b.json", format!("[\"{v1}\"]").into())],
        );
        world.resolve().await;
        assert_eq!(world.standing("ann").roots, 1);
        world.publish(1, &[("a.json", format!("[\"{v1}\"]").into())]);
        world.resolve().await;
        assert_eq!((world.standing("ann").generation, world.standing("ann").held), (1, None));
    });
}

#[test]
fn a_name_may_point_below_a_directory() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let manifest = world.theirs.hold_directory(&[("a.json".to_owned(), file(0..3))]);
        let shared = unixfs_directory(&[("manifest", manifest)]);
        let home = unixfs_directory(&[("public", shared.0)]);
        world.theirs.load(&[shared, home.clone()]);
        let path = format!("/ipfs/{}/public/manifest", home.0);
        world.names.publish(&key_of(1), &path, 1, LONG);
        world.resolve().await;
        assert_eq!(world.standing("ann").directory, Some(manifest));
        assert_eq!(world.kept("ann"), [0, 1, 2]);
        let listings = world.ipfs.listings();
        world.resolve().await;
        assert_eq!(world.ipfs.listings(), listings, "where a path leads is known");
        world.names.publish(&key_of(1), &format!("/ipfs/{}/gone", home.0), 2, LONG);
        world.resolve().await;
        assert!(world.standing("ann").failing.unwrap().why.contains("nothing called \"gone\""));
        assert_eq!(world.kept("ann"), [0, 1, 2]);
    });
}

#[test]
fn a_peer_is_dialled_where_it_is_said_to_be_or_else_by_its_name() {
    on_paused_time(|| async {
        let ben = Peer { addrs: vec!["/ip4/192.0.2.1/tcp/4001/p2p/X".to_owned()], ..peer("ben", &key_of(2)) };
        let world = World::new(vec![ben.clone()]);
        world.resolve().await;
        let mut dialled = world.ipfs.dialled();
        dialled.sort();
        assert_eq!(dialled, [ben.addrs[0].clone(), format!("/p2p/{}", key_of(1).name().peer())]);
    });
}

#[test]
fn a_peer_that_can_not_be_dialled_is_resolved_all_the_same() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.ipfs.set_undialled(true);
        world.publish(1, &[("a.json", file([1]))]);
        world.resolve().await;
        assert_eq!(world.kept("ann"), [1]);
    });
}

#[test]
fn every_peer_has_rounds_at_its_interval_without_being_asked() {
    on_paused_time(|| async {
        let world = World::new(vec![peer("ben", &key_of(2))]);
        world.publish(1, &[("a.json", file([1]))]);
        world.publish(2, &[("a.json", file([2]))]);
        world.pass(Duration::from_secs(3)).await;
        assert_eq!((world.kept("ann"), world.kept("ben")), (vec![1], vec![2]));
        assert_eq!(world.names.gets(), 2);
        world.pass(INTERVAL * 3).await;
        assert_eq!(world.names.gets(), 2 + 3 * 2);
    });
}

#[test]
fn jitter_draws_rounds_apart() {
    on_paused_time(|| async {
        let jitter = Duration::from_secs(100);
        let mut world = World::new((2..6).map(|n| peer(&format!("p{n}"), &key_of(n))).collect());
        world.config = Config { jitter, at_once: 9, ..world.config };
        for key in 1..6 {
            world.publish(key, &[("a.json", file([u64::from(key)]))]);
        }
        world.restart().await;
        world.pass(Duration::from_secs(2)).await;
        let first = world.names.gets();
        world.pass(INTERVAL - jitter - Duration::from_secs(5)).await;
        assert_eq!(world.names.gets(), first, "nobody is early by more than the jitter");
        world.pass(jitter).await;
        let early = world.names.gets() - first;
        assert!(0 < early && early < 5, "some are early and some late: {early}");
        world.pass(jitter + Duration::from_secs(5)).await;
        assert_eq!(world.names.gets(), first + 5);
    });
}

#[test]
fn an_order_at_the_start_is_the_first_round_and_not_a_second() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file([1]))]);
        world.resolve().await;
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.names.gets(), 1);
    });
}

#[test]
fn who_asks_during_a_round_is_answered_after_the_next_one() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.names.set_latency(5_000);
        world.publish(1, &[("a.json", file([1]))]);
        let first = world.resolver.send(Resolve { peer: Some("ann".to_owned()) });
        let first = actix::spawn(async move { first.await.unwrap() });
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        let second = actix::spawn(world.resolver.send(Resolve { peer: None }));
        first.await.unwrap();
        assert!(!second.is_finished());
        world.publish(1, &[("a.json", file([1, 2]))]);
        second.await.unwrap().unwrap();
        assert_eq!((world.kept("ann"), world.names.gets()), (vec![1, 2], 2));
    });
}

#[test]
fn an_order_about_nobody_is_answered_at_once() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.resolver.send(Resolve { peer: Some("zoe".to_owned()) }).await.unwrap();
        assert_eq!(world.names.gets(), 0);
    });
}
