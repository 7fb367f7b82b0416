//! Sequences: through restarts and kills, and beside other machines with the same key.

use super::*;

/// What other nodes saw of the name never counts back.
fn sequences(world: &World, seen: &mut Vec<u64>) {
    seen.push(world.shown().sequence());
    assert!(seen.is_sorted(), "{seen:?}");
}

#[test]
fn the_sequence_goes_on_after_a_restart() {
    on_paused_time(|| async {
        let mut world = World::new();
        let mut seen = Vec::new();
        for n in 0..4 {
            world.list(n);
            world.publish().await.unwrap();
            sequences(&world, &mut seen);
            world.restart().await;
        }
        assert_eq!(seen, [1, 2, 3, 4]);
    });
}

#[test]
fn a_restart_after_which_nothing_is_new_gives_nothing_away() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.publish().await.unwrap();
        let before = (world.publication().record, world.names.puts());
        world.restart().await;
        world.pass(SECOND * 60).await;
        assert_eq!((world.publication().record, world.names.puts()), before);
        world.pass(HOUR * 5).await;
        assert_eq!(world.names.puts(), before.1 + 1, "its turn comes four hours after the last");
    });
}

#[test]
fn a_record_that_was_written_and_not_given_is_given_after_the_kill() {
    on_paused_time(|| async {
        let mut world = World::new();
        // The record is the first commit; the one that says that it was taken is the second.
        world.store.fuse().burn_after(1);
        world.names.set_deaf(true);
        assert!(world.publish().await.is_err());
        world.kill();
        let signed = world.publication();
        assert_eq!((signed.sequence, signed.given), (1, false));
        world.names.set_deaf(false);
        world.pass(SECOND * 3).await;
        assert_eq!(hex::encode(world.shown().bytes()), signed.record, "the very same");
        assert!(world.publication().given);
    });
}

#[test]
fn a_record_that_was_given_and_not_noted_is_given_again() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.list(1);
        world.store.fuse().burn_after(1);
        let refused = world.publish().await;
        assert!(matches!(refused, Err(Refusal::Store(_))), "{refused:?}");
        let given = world.shown();
        world.kill();
        world.pass(SECOND * 3).await;
        assert_eq!((world.shown().bytes(), world.names.puts()), (given.bytes(), 2));
    });
}

#[test]
fn nothing_is_given_away_that_is_not_durable() {
    on_paused_time(|| async {
        let world = World::new();
        world.store.fuse().blow();
        assert!(world.publish().await.is_err());
        assert_eq!(world.names.puts(), 0);
    });
}

#[test]
fn a_key_that_counted_further_elsewhere_goes_on_above_that() {
    on_paused_time(|| async {
        let world = World::new();
        let elsewhere = world.ipfs.hold_directory(&[("a.json".to_owned(), b"[]".to_vec())]);
        let value = format!("/ipfs/{elsewhere}");
        world.names.publish(&key_of(1), &value, 70, WallTime(START * 2));
        world.list(1);
        assert_eq!(world.publish().await.unwrap().sequence, 71);
        assert_eq!(world.followed().await, [root(1)]);
    });
}

#[test]
fn a_record_that_has_ended_counts_too() {
    on_paused_time(|| async {
        let world = World::new();
        world.names.publish(&key_of(1), "/ipfs/bafkqaaa", 70, WallTime(START - 1));
        assert_eq!(world.publish().await.unwrap().sequence, 71);
    });
}

#[test]
fn the_first_record_waits_until_the_network_can_be_asked() {
    on_paused_time(|| async {
        let world = World::new();
        world.list(1);
        world.names.publish(&key_of(1), "/ipfs/bafkqaaa", 70, WallTime(START * 2));
        world.names.say(key_of(1).name(), Said::Broken);
        for _ in 0..2 {
            let refused = world.publish().await;
            assert!(matches!(refused, Err(Refusal::Names(_))), "{refused:?}");
        }
        assert_eq!(world.names.puts(), 0);
        world.names.say(key_of(1).name(), None);
        world.pass(SECOND * 70).await;
        assert_eq!(world.shown().sequence(), 71);
    });
}

#[test]
fn a_node_that_signed_before_need_not_ask() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.publish().await.unwrap();
        world.names.say(key_of(1).name(), Said::Broken);
        world.list(1);
        world.restart().await;
        assert_eq!(world.publish().await.unwrap().sequence, 2);
        assert_eq!(world.publication().confirmed_at, None, "nobody proved that this one is found");
    });
}

#[test]
fn a_search_without_end_does_not_keep_a_new_name_from_being_published() {
    on_paused_time(|| async {
        let world = World::new();
        world.names.say(key_of(1).name(), Said::Silence);
        assert_eq!(world.publish().await.unwrap().sequence, 1);
    });
}

#[test]
fn another_machine_with_the_same_key_is_counted_over_but_not_raced() {
    on_paused_time(|| async {
        let world = World::new();
        world.list(1);
        // Long enough that the other one is there first, whenever ours is asked for.
        world.names.set_latency(5_000);
        let (mut rounds, mut theirs) = (0, 1);
        for _ in 0..7_200 {
            let ours = Publication::read(&*world.store).unwrap().map_or(0, |ours| ours.sequence);
            if ours >= theirs {
                (rounds, theirs) = (rounds + 1, ours + 1);
                let record = world.names.publish(&key_of(1), "/ipfs/bafkqaaa", theirs, WallTime(START * 2));
                world.names.say(key_of(1).name(), Said::Bytes(record));
            }
            world.pass(SECOND).await;
        }
        assert!((3..=9).contains(&rounds), "{rounds} rounds in two hours");
    });
}

#[test]
fn false_records_of_the_own_name_move_nothing() {
    on_paused_time(|| async {
        let world = World::new();
        let forged = MemoryNames::new().publish(&key_of(2), "/ipfs/bafkqaaa", 900, WallTime(START * 2));
        world.names.say(key_of(1).name(), Said::Bytes(forged));
        assert_eq!(world.publish().await.unwrap().sequence, 1);
        world.pass(SECOND * 60).await;
        assert_eq!(world.shown().sequence(), 1);
        assert_eq!(world.publication().confirmed_at, None);
    });
}

#[test]
fn a_kill_after_any_write_never_counts_back_and_ends_with_the_list_published() {
    on_paused_time(|| async {
        for commits in 0..8 {
            let mut world = World::new();
            let mut seen = Vec::new();
            for n in 0..3 {
                world.list(n);
                if n == 1 {
                    world.store.fuse().burn_after(commits);
                }
                if world.publish().await.is_ok() {
                    sequences(&world, &mut seen);
                }
                if world.store.fuse().is_blown() {
                    world.kill();
                }
            }
            world.pass(SECOND * 10).await;
            sequences(&world, &mut seen);
            let size = world.store.dump().iter().filter(|row| row.0 == Table::Manifests).count();
            assert_eq!(world.followed().await.len(), size, "after {commits} writes");
        }
    });
}
