//! Reorgs one after another, back again, and while nobody listened.

use super::*;
use crate::records::listening::Listening;

/// A world with so many bids read, and finality far below them.
async fn settled(bids: u128) -> World {
    let mut world = World::new();
    world.chain.set_final_lag(Some(70));
    for amount in 1..=bids {
        world.bid(amount);
    }
    while world.poll().await.unwrap() {}
    world
}

/// New bids on top of what a reorg left.
async fn bid_anew(world: &mut World, amounts: std::ops::Range<u128>) {
    world.chain.evict();
    world.nonce = world.chain.nonce(BIDDER.address(), chain::At::Latest).await.unwrap();
    amounts.for_each(|amount| world.bid(amount));
}

#[test]
fn reorgs_of_1_5_and_64_blocks_are_undone_exactly_and_counted() {
    for depth in [1, 5, 64] {
        on_paused_time(|| async move {
            let mut world = settled(80).await;
            world.chain.reorg(depth + DEPTH);
            bid_anew(&mut world, 200..200 + u128::from(depth) + 4).await;
            while world.poll().await.unwrap() {}
            world.agrees().await;
            let reorgs = Listening::read(&*world.store).unwrap().reorgs;
            assert_eq!(reorgs.into_iter().collect::<Vec<_>>(), [(depth, 1)]);
        });
    }
}

#[test]
fn a_second_reorg_before_the_first_was_seen_is_one_reorg() {
    on_paused_time(|| async {
        let mut world = settled(80).await;
        world.chain.reorg(9);
        bid_anew(&mut world, 200..211).await;
        world.chain.reorg(20);
        bid_anew(&mut world, 300..325).await;
        while world.poll().await.unwrap() {}
        world.agrees().await;
    });
}

#[test]
fn a_second_reorg_after_the_first_was_read_undoes_that_too() {
    on_paused_time(|| async {
        let mut world = settled(80).await;
        for (depth, from) in [(9, 200), (20, 300), (5, 400)] {
            world.chain.reorg(depth);
            bid_anew(&mut world, from..from + u128::from(depth) + 3).await;
            while world.poll().await.unwrap() {}
            world.agrees().await;
        }
    });
}

#[test]
fn the_first_fork_may_win_in_the_end() {
    on_paused_time(|| async {
        let mut world = settled(80).await;
        let first = world.chain.reorg(10);
        bid_anew(&mut world, 200..212).await;
        while world.poll().await.unwrap() {}
        world.agrees().await;
        world.chain.back_to(first);
        world.chain.mine_empty(5);
        while world.poll().await.unwrap() {}
        world.agrees().await;
        assert_eq!(world.standing().len(), 80);
    });
}

/// The new fork is just as high as the old one: no block comes that would not follow.
#[test]
fn a_reorg_while_nobody_listened_is_found_at_start_though_no_block_is_new() {
    on_paused_time(|| async {
        let mut world = settled(80).await;
        world.chain.reorg(10);
        bid_anew(&mut world, 200..210).await;
        assert_eq!(world.chain.height(), 80);
        while world.poll().await.unwrap() {}
        world.agrees().await;
    });
}

#[test]
fn a_kill_at_any_durable_write_around_a_reorg_undoes_it_once() {
    for commits in 0..12 {
        on_paused_time(|| async move {
            let mut world = settled(80).await;
            world.chain.reorg(12);
            bid_anew(&mut world, 200..214).await;
            world.store.fuse().burn_after(commits);
            for _ in 0..6 {
                let _cut = world.poll().await;
            }
            world.store = Rc::new(world.store.reopen());
            while world.poll().await.unwrap() {}
            world.agrees().await;
        });
    }
}
