//! What is done, one thing after the other, in several lanes at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use embedded_ipfs::Cid;
use multihash_codetable::{Code, MultihashDigest};
use tokio::time::timeout;

use crate::dice::Dice;
use crate::party::Party;
use crate::support::noise;
use crate::world::{Content, World};

/// Files of one lane, most.
const CONTENTS: usize = 12;
/// Whatever is done takes less, lost connections and their pauses included: what takes longer is stuck.
const STUCK: Duration = Duration::from_secs(150);
/// Of what is fetched, one in so many nobody has.
const DEAD: usize = 20;

/// Does what the dice say, until it is ended.
pub async fn run(world: Arc<World>, number: usize, mut dice: Dice) -> Infallible {
    loop {
        tokio::time::sleep(dice.millis(0, 400)).await;
        let _going = world.going.read().await;
        let mut book = world.books[number].lock().await;
        let what = dice.below(10);
        let doing = async {
            match what {
                0..=1 if book.len() < CONTENTS => add(&world, &mut dice, &mut book).await,
                0..=1 => forget(&world, &mut dice, &mut book).await,
                2..=6 => fetch(&world, &mut dice, &mut book).await,
                7 => unpin(&world, &mut dice, &mut book).await,
                8 => read(&world, &mut dice, &book).await,
                _ => {
                    world.parties[dice.below(world.parties.len())].collect_garbage().await;
                    world.tally.note("garbage collections");
                }
            }
        };
        let done = timeout(STUCK, doing).await;
        assert!(done.is_ok(), "stuck: lane {number}, {what}");
    }
}

async fn add(world: &World, dice: &mut Dice, book: &mut Vec<Content>) {
    let (seed, size) = (dice.next(), dice.size());
    let party = dice.below(world.parties.len());
    let cid = world.parties[party].add(&noise(size, seed)).await;
    book.push(Content { seed, size, cid, holders: vec![party] });
    world.tally.note("adds");
}

/// Pins a file where it is not, or waits for something that nobody has.
async fn fetch(world: &World, dice: &mut Dice, book: &mut [Content]) {
    let party = dice.below(world.parties.len());
    let missing: Vec<_> = (0..book.len()).filter(|&n| !book[n].holders.contains(&party)).collect();
    if missing.is_empty() {
        return;
    }
    if dice.one_in(DEAD) {
        let dead = Cid::new_v1(0x55, Code::Sha2_256.digest(&dice.next().to_be_bytes()));
        world.parties[party].want(&dead, dice.millis(500, 5000)).await;
        world.tally.note("dead wants");
    } else {
        let content = &mut book[missing[dice.below(missing.len())]];
        world.parties[party].pin(&content.cid).await;
        content.holders.push(party);
        world.tally.note("pins");
    }
}

/// Unpins a file at one of those who have it, but not at the last.
async fn unpin(world: &World, dice: &mut Dice, book: &mut [Content]) {
    let shared: Vec<_> = (0..book.len()).filter(|&n| book[n].holders.len() > 1).collect();
    if !shared.is_empty() {
        let content = &mut book[shared[dice.below(shared.len())]];
        let holder = content.holders.swap_remove(dice.below(content.holders.len()));
        world.parties[holder].unpin(&content.cid).await;
        world.tally.note("unpins");
    }
}

/// Unpins a file everywhere.
async fn forget(world: &World, dice: &mut Dice, book: &mut Vec<Content>) {
    let content = book.swap_remove(dice.below(book.len()));
    for holder in content.holders {
        world.parties[holder].unpin(&content.cid).await;
        world.tally.note("unpins");
    }
}

/// Reads a file back while all the rest goes on.
async fn read(world: &World, dice: &mut Dice, book: &[Content]) {
    if !book.is_empty() {
        let content = &book[dice.below(book.len())];
        let holder = content.holders[dice.below(content.holders.len())];
        let bytes = world.parties[holder].read(&content.cid).await;
        assert!(bytes == noise(content.size, content.seed), "{} of {holder}", content.cid);
        world.tally.note("reads");
    }
}

/// Breaks a connection now and then, and once in a while restarts a node of ours.
pub async fn trouble(world: Arc<World>, mut dice: Dice) -> Infallible {
    loop {
        tokio::time::sleep(dice.millis(5_000, 25_000)).await;
        if dice.one_in(10) {
            // The second, which the first does not know by itself.
            if let Party::Ours(ours) = &world.parties[1] {
                timeout(2 * STUCK, ours.restart()).await.expect("a restart does not hang");
                world.tally.note("restarts");
            }
            continue;
        }
        let peers: Vec<_> = world.ours().collect();
        let (_, ours) = peers[dice.below(peers.len())];
        let id = ours.node.read().await.peer_id();
        let (status, _) = world.kubo().call(&format!("swarm/disconnect?arg=/p2p/{id}")).await;
        if status == 200 {
            world.tally.note("disconnects");
        }
    }
}
