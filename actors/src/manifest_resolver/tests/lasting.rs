//! What survives: the operator's word, restarts, kills between any two writes, peers that come and go.

use super::*;

#[test]
fn a_large_removal_waits_while_additions_are_kept() {
    on_paused_time(|| async {
        let mut world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..10))]);
        world.resolve().await;
        world.publish(1, &[("a.json", file(5..12))]);
        world.resolve().await;
        assert_eq!(world.kept("ann"), (0..12).collect::<Vec<_>>());
        let held = Some(Held::Removal { removed: 5, of: 12 });
        assert_eq!((world.standing("ann").held, world.standing("ann").generation), (held.clone(), 2));

        world.resolve().await;
        world.restart().await;
        world.publish(1, &[("a.json", file(5..100))]);
        world.resolve().await;
        assert_eq!(
            world.standing("ann").held,
            Some(Held::Removal { removed: 5, of: 100 }),
            "it goes on waiting"
        );
        assert_eq!(world.kept("ann"), (0..100).collect::<Vec<_>>());

        world.told();
        assert_eq!(world.accept("ann").await, Ok(()));
        assert_eq!(world.kept("ann"), (5..100).collect::<Vec<_>>());
        let standing = world.standing("ann");
        assert_eq!((standing.held, standing.roots, standing.generation), (None, 95, 4));
        assert_eq!(world.told(), ["ann"]);
        assert_eq!(world.accept("ann").await, Err(Refusal::NothingHeld("ann".to_owned())));
        assert_eq!(world.accept("zoe").await, Err(Refusal::Unknown("zoe".to_owned())));
    });
}

#[test]
fn what_is_listed_again_is_held_no_more() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        for roots in [0..10, 5..10, 0..10] {
            world.publish(1, &[("a.json", file(roots))]);
            world.resolve().await;
        }
        let standing = world.standing("ann");
        assert_eq!((standing.held, standing.roots, standing.generation), (None, 10, 1));
    });
}

#[test]
fn a_list_that_is_emptied_keeps_everything_until_the_operators_word() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..3))]);
        world.resolve().await;
        world.publish(1, &[]);
        world.resolve().await;
        assert_eq!(world.kept("ann"), [0, 1, 2]);
        assert_eq!(world.standing("ann").held, Some(Held::Removal { removed: 3, of: 3 }));
        world.accept("ann").await.unwrap();
        assert_eq!(world.kept("ann"), Vec::<u64>::new());
    });
}

#[test]
fn an_accepted_rollback_is_followed_but_no_further_back() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.sequence.set(6);
        world.publish(1, &[("a.json", file(0..3))]);
        world.resolve().await;
        world.sequence.set(3);
        world.publish(1, &[("a.json", file(0..4))]);
        world.resolve().await;
        assert_eq!(world.standing("ann").held, Some(Held::Rollback { found: 4, accepted: 7 }));
        world.accept("ann").await.unwrap();
        let standing = world.standing("ann");
        assert_eq!((standing.held, standing.failing), (None, None));
        assert_eq!(standing.accepted.unwrap().sequence, 4);
        assert_eq!(world.kept("ann"), [0, 1, 2, 3], "the round is over when the answer comes");
        world.sequence.set(1);
        world.publish(1, &[("a.json", file([9]))]);
        world.resolve().await;
        assert_eq!(world.standing("ann").held, Some(Held::Rollback { found: 2, accepted: 4 }));
    });
}

#[test]
fn a_rollback_to_nothing_needs_a_second_word_for_the_removal() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.sequence.set(6);
        world.publish(1, &[("a.json", file(0..3))]);
        world.resolve().await;
        let empty = world.theirs.hold_directory(&[]);
        world.names.publish(&key_of(1), &format!("/ipfs/{empty}"), 0, LONG);
        world.resolve().await;
        world.accept("ann").await.unwrap();
        assert_eq!(world.standing("ann").held, Some(Held::Removal { removed: 3, of: 3 }));
        assert_eq!(world.kept("ann"), [0, 1, 2]);
        world.accept("ann").await.unwrap();
        assert_eq!(world.kept("ann"), Vec::<u64>::new());
    });
}

#[test]
fn a_rollback_does_not_hide_a_removal_that_waits() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..10))]);
        let old = world.names.kept(key_of(1).name()).unwrap();
        world.resolve().await;
        world.publish(1, &[("a.json", file(0..2))]);
        world.resolve().await;
        world.names.say(key_of(1).name(), Said::Bytes(old));
        world.resolve().await;
        assert!(matches!(world.standing("ann").held, Some(Held::Rollback { .. })));
        world.names.say(key_of(1).name(), None);
        world.resolve().await;
        assert_eq!(world.standing("ann").held, Some(Held::Removal { removed: 8, of: 10 }));
        assert_eq!(world.kept("ann").len(), 10);
    });
}

#[test]
fn a_restart_in_mid_round_loses_nothing_and_begins_it_anew() {
    on_paused_time(|| async {
        let mut world = World::new(vec![]);
        world.names.set_latency(10_000);
        world.publish(1, &[("a.json", file(0..3))]);
        world.pass(Duration::from_secs(5)).await;
        assert_eq!(world.names.gets(), 1);
        world.restart().await;
        world.pass(Duration::from_secs(15)).await;
        assert_eq!((world.kept("ann"), world.names.gets()), (vec![0, 1, 2], 2));
    });
}

#[test]
fn a_kill_between_any_two_writes_leaves_a_whole_set() {
    on_paused_time(|| async {
        for commits in 0..6 {
            let mut world = World::new(vec![]);
            world.store.fuse().burn_after(commits);
            for n in 1..=5 {
                world.publish(1, &[("a.json", file(0..n * 3)), ("b.json", file(n * 3..n * 4))]);
                world.resolve().await;
            }
            world.kill();
            world.told();
            if let Some(before) = standing(&*world.store, "ann").unwrap() {
                assert_eq!(world.kept("ann").len() as u64, before.roots, "after {commits} writes");
                tokio::task::yield_now().await;
            }
            world.resolve().await;
            assert_eq!(world.kept("ann"), (0..20).collect::<Vec<_>>());
            assert_eq!(world.standing("ann").roots, 20);
            assert!(!world.told().is_empty(), "after {commits} writes");
        }
    });
}

#[test]
fn a_change_that_was_written_and_not_told_is_told_after_the_restart() {
    on_paused_time(|| async {
        let mut world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..3))]);
        world.resolve().await;
        world.told();
        world.restart().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(world.told(), ["ann"], "nobody says that its references stand");
        world.write(|batch| batch.put(&Kept { name: "ann".to_owned(), generation: 1 }));
        world.restart().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(world.told(), Vec::<String>::new());
    });
}

#[test]
fn a_peer_that_the_configuration_names_no_longer_is_let_go_and_the_operators_stay() {
    on_paused_time(|| async {
        let mut world = World::new(vec![peer("ben", &key_of(2))]);
        let cyd = Peer { source: Source::Operator, ..peer("cyd", &key_of(3)) };
        world.write(|batch| batch.put(&cyd));
        for (key, root) in [(1, 1), (2, 2), (3, 3)] {
            world.publish(key, &[("a.json", file([root]))]);
        }
        world.resolve().await;
        assert_eq!(
            (world.kept("ben"), world.kept("cyd")),
            (vec![2], vec![3]),
            "added ones are found in the store"
        );
        world.told();
        world.config.peers.retain(|peer| peer.name != "ben");
        world.restart().await;
        world.resolve().await;
        assert_eq!(standing(&*world.store, "ben").unwrap(), None);
        assert_eq!(listed(&*world.store, "ben").unwrap(), []);
        assert_eq!((world.kept("ann"), world.kept("cyd")), (vec![1], vec![3]));
        assert!(world.told().contains(&"ben".to_owned()), "so that its roots are let go");
        let left: Vec<_> = consortium::peers(&*world.store).unwrap();
        assert_eq!(left, [peer("ann", &key_of(1)), cyd]);
    });
}

#[test]
fn a_peer_that_the_operator_removes_is_let_go_at_once_though_it_hangs() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let cyd = Peer { source: Source::Operator, ..peer("cyd", &key_of(3)) };
        world.write(|batch| batch.put(&cyd));
        world.resolver.send(PeersChanged).await.unwrap();
        world.publish(3, &[("a.json", file(0..9))]);
        world.resolve().await;
        assert_eq!(world.kept("cyd").len(), 9);
        world.names.say(key_of(3).name(), Said::Silence);
        let hanging = actix::spawn(world.resolver.send(Resolve { peer: Some("cyd".to_owned()) }));
        world.pass(Duration::from_secs(2)).await;
        world.told();
        world.write(|batch| batch.delete::<Peer>(&cyd.key()));
        world.resolver.send(PeersChanged).await.unwrap();
        hanging.await.unwrap().unwrap();
        world.pass(Duration::from_secs(100)).await;
        assert_eq!(world.told(), ["cyd"]);
        assert_eq!(standing(&*world.store, "cyd").unwrap(), None);
        assert_eq!(listed(&*world.store, "cyd").unwrap(), []);
    });
}

#[test]
fn a_peer_that_comes_back_counts_on_where_its_references_stand() {
    on_paused_time(|| async {
        let world = World::new(vec![]);
        let cyd = Peer { source: Source::Operator, ..peer("cyd", &key_of(3)) };
        world.write(|batch| batch.put(&cyd));
        world.publish(3, &[("a.json", file([1]))]);
        world.resolve().await;
        world.write(|batch| {
            batch.put(&Kept { name: "cyd".to_owned(), generation: 1 });
            batch.delete::<Peer>(&cyd.key());
        });
        world.resolve().await;
        world.write(|batch| batch.put(&cyd));
        world.resolve().await;
        assert_eq!((world.standing("cyd").generation, world.kept("cyd")), (2, vec![1]));
    });
}

#[test]
fn another_key_behind_a_peers_name_begins_anew() {
    on_paused_time(|| async {
        let mut world = World::new(vec![]);
        world.sequence.set(70);
        world.publish(1, &[("a.json", file(0..9))]);
        world.resolve().await;
        world.config.peers = vec![peer("ann", &key_of(2))];
        world.sequence.set(0);
        world.publish(2, &[("a.json", file([1]))]);
        world.restart().await;
        world.resolve().await;
        let standing = world.standing("ann");
        assert_eq!((standing.accepted.unwrap().sequence, standing.held), (1, None));
        assert_eq!(
            (world.kept("ann"), standing.generation),
            (vec![1], 3),
            "the old set went, the new one came"
        );
    });
}

#[test]
fn peers_of_the_configuration_stand_in_the_store_as_such() {
    on_paused_time(|| async {
        let mut world = World::new(vec![]);
        let added = Peer { source: Source::Operator, ..peer("ben", &key_of(2)) };
        world.write(|batch| batch.put(&added));
        world.config.peers.push(Peer { max_pins: 3, ..peer("ben", &key_of(2)) });
        world.restart().await;
        let stored = consortium::peers(&*world.store).unwrap();
        assert_eq!(stored, world.config.peers, "the configuration wins over what was added before");
        let commits = world.store.commits();
        world.restart().await;
        assert_eq!(world.store.commits(), commits, "what stands there already is not written again");
    });
}

#[test]
fn a_store_that_fails_for_a_while_costs_rounds_and_nothing_else() {
    on_paused_time(|| async {
        let mut world = World::new(vec![]);
        world.publish(1, &[("a.json", file(0..3))]);
        world.resolve().await;
        world.publish(1, &[("a.json", file(0..4))]);
        world.store.fuse().blow();
        world.resolve().await;
        world.kill();
        world.resolve().await;
        assert_eq!(world.kept("ann"), [0, 1, 2, 3]);
    });
}
