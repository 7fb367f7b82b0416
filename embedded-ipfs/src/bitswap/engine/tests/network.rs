//! Properties over the simulated network: a million events, and whatever went wrong, everything is served in the end.

use super::world::{Dice, Faults, Foreign, Lie, Party, World};
use super::*;
use crate::bitswap::engine::wantlist::HELD;

/// Events that the engines of all histories together go through.
const EVENTS: usize = 1_000_000;
const LIES: [Lie; 8] = [
    Lie::Silence,
    Lie::Claims,
    Lie::Denies,
    Lie::OtherBytes,
    Lie::Flips,
    Lie::Wants,
    Lie::Thrice,
    Lie::Empty,
];

/// Who takes part, drawn from the seed: two or three of ours, one or two Kubos, up to three liars.
fn parties(dice: &mut Dice) -> (usize, Vec<Foreign>) {
    let mut foreign: Vec<_> = (0..1 + dice.below(2)).map(|_| Foreign::kubo()).collect();
    let liars = dice.below(4);
    foreign.extend((0..liars).map(|_| Foreign::liar(LIES[dice.below(LIES.len())])));
    (2 + dice.below(2), foreign)
}

/// One history: trouble for a while, then none, then every want is taken back. Returns the events.
fn history(seed: u64) -> usize {
    let mut dice = Dice::new(seed.wrapping_mul(0x1234_5678_9abc_def1));
    let (ours, foreign) = parties(&mut dice);
    let mut world = World::new(seed, ours, foreign);
    let (count, contents) = (world.parties.len(), [30, 300, 1500][dice.below(3)]);
    // One in ten is nowhere, and the rest at one party or at several.
    for n in (0..contents).filter(|n| n % 10 != 7) {
        for _ in 0..1 + dice.below(2) {
            let party = dice.below(count);
            world.put(party, n);
        }
    }
    let lossy = dice.chance(300);
    world.faults = Faults { unwritten: 10, lost: if lossy { 10 } else { 0 }, not_stored: 5 };
    for a in 0..count {
        for b in 0..a {
            world.connect(a, b);
        }
    }
    trouble(&mut world, &mut dice, contents);
    world.faults = Faults::default();
    for a in 0..count {
        for b in 0..a {
            world.connect(a, b);
        }
    }
    world.pass(secs(200));
    everything_that_somebody_has_is_served(&mut world, seed);
    world.faults.unwritten = 200;
    for node in world.ours() {
        let waiting: Vec<_> = world.node(node).waiting.keys().copied().collect();
        for id in waiting {
            world.take_back(node, id);
        }
    }
    world.pass(secs(2));
    world.faults = Faults::default();
    world.pass(secs(60));
    nothing_is_left(&mut world, seed, lossy);
    world.steps
}

/// Wants come in ones and in hundreds, some are taken back, lines break and come back, blocks turn up late.
fn trouble(world: &mut World, dice: &mut Dice, contents: usize) {
    let ours = world.ours();
    let count = world.parties.len();
    for _ in 0..80 {
        let node = ours[dice.below(ours.len())];
        let many = if dice.chance(30) { contents } else { 1 + dice.below(10) };
        for _ in 0..many {
            let n = dice.below(contents);
            world.want(node, n);
        }
        if dice.chance(50) {
            // All at once for others: a full wantlist is swapped.
            let all: Vec<_> = world.node(node).waiting.keys().copied().collect();
            for id in all {
                world.take_back(node, id);
            }
            for n in 0..contents {
                world.want(node, n);
            }
        } else if dice.chance(150) {
            let most = world.node(node).waiting.len();
            let some: Vec<_> = world.node(node).waiting.keys().copied().collect();
            for id in some.into_iter().filter(|_| dice.below(most) < 20) {
                world.take_back(node, id);
            }
        }
        let (a, b) = (dice.below(count), dice.below(count));
        match dice.below(40) {
            0 | 1 => world.cut(a, b),
            2..=5 => world.connect(a, b),
            6 => world.put(a, dice.below(contents)),
            _ => {}
        }
        let pause = if dice.chance(50) { 5000 } else { 60 };
        let pause = dice.millis(pause);
        world.pass(pause);
    }
}

fn everything_that_somebody_has_is_served(world: &mut World, seed: u64) {
    for node in world.ours() {
        for n in world.node(node).waiting.clone().into_values() {
            let holds = |(peer, party): (usize, &Party)| {
                let has = match party {
                    Party::Ours(peer) => peer.disk.contains(&n),
                    Party::Foreign(foreign) => !foreign.lies() && foreign.has(n),
                };
                (has && (peer == node || world.connected(node, peer))).then_some(peer)
            };
            let holder = world.parties.iter().enumerate().find_map(holds);
            assert_eq!(holder, None, "seed {seed}: {node} still waits for {n}, which somebody has");
        }
    }
}

fn nothing_is_left(world: &mut World, seed: u64, lossy: bool) {
    for node in world.ours() {
        let engine = &world.node(node).engine;
        assert!(engine.wants.is_empty() && engine.waiters.is_empty(), "seed {seed}: no want");
        for peer in engine.peers.values() {
            assert!(peer.wantlist.is_clear(), "seed {seed}: nothing in a wantlist, nor on the way to it");
            assert_eq!((peer.outstanding, peer.backlog.len()), (0, 0), "seed {seed}: nothing hoped for");
        }
    }
    // Where messages were lost that had been written, a peer may remember a want whose cancel it never heard.
    if !lossy {
        for party in &world.parties {
            if let Party::Foreign(foreign) = party {
                assert_eq!(foreign.remembers(), 0, "seed {seed}: nothing at a peer");
                assert_eq!(foreign.dropped, 0, "seed {seed}: E2");
            }
        }
        for node in world.ours() {
            let held = world.node(node).most_held;
            assert!(held <= HELD, "seed {seed}: E2: {held} wants lay at {node}");
        }
    }
}

#[test]
fn in_a_million_events_whatever_somebody_has_is_served_and_nothing_is_left_over() {
    let mut events = 0;
    for seed in 0u64.. {
        events += history(seed);
        if events >= EVENTS {
            println!("{events} events in {} histories", seed + 1);
            break;
        }
    }
}

#[test]
fn equal_peers_are_asked_for_about_as_much_one_that_joins_late_included() {
    for seed in 0..5 {
        let mut world = World::new(seed, 4, vec![]);
        for n in 0..2000 {
            for holder in 1..4 {
                world.put(holder, n);
            }
        }
        world.connect(0, 1);
        world.connect(0, 2);
        let mut dice = Dice::new(seed);
        let mut before = 0;
        for round in 0..40 {
            if round == 20 {
                world.connect(0, 3);
                before = world.node(1).served[&0].min(world.node(2).served[&0]);
            }
            for n in 50 * round..50 * (round + 1) {
                world.want(0, n);
            }
            let pause = dice.millis(1000);
            world.pass(pause);
        }
        world.pass(secs(60));
        assert_eq!(world.node(0).waiting.len(), 0);
        let served: Vec<_> = (1..4).map(|holder| world.node(holder).served[&0]).collect();
        let total: usize = served.iter().sum();
        assert!(total <= 2000 + 2000 / 50, "seed {seed}: hardly a block comes twice: {served:?}");
        assert!(served[0].min(served[1]) > 400 && before > 250 && served[2] > 130, "seed {seed}: {served:?}");
    }
}

#[test]
fn a_liar_that_costs_something_is_left_and_one_that_only_says_nothing_useful_is_not() {
    for lie in LIES {
        let mut world = World::new(7, 1, vec![Foreign::liar(lie), Foreign::kubo()]);
        for n in 0..1500 {
            world.put(1, n);
            world.put(2, n);
        }
        world.connect(0, 1);
        world.connect(0, 2);
        for n in 0..1500 {
            world.want(0, n);
            if n % 10 == 0 {
                world.pass(Duration::from_millis(1500));
            }
        }
        world.pass(secs(120));
        assert_eq!(world.node(0).waiting.len(), 0, "{lie:?}: what the honest peer has came all the same");
        let harmless = matches!(lie, Lie::Silence | Lie::Claims | Lie::Denies);
        assert_eq!(world.node(0).left.contains(&1), !harmless, "{lie:?}");
    }
}

#[test]
fn of_thousands_of_wants_that_kubo_cannot_serve_it_never_drops_one_and_holds_as_many_as_are_believed() {
    for seed in 0..8 {
        let mut world = World::new(seed, 1, vec![Foreign::kubo()]);
        world.connect(0, 1);
        for n in 0..4000 {
            world.want(0, n);
        }
        world.pass(secs(14));
        let Party::Foreign(kubo) = &world.parties[1] else { panic!("it is the second") };
        assert_eq!((kubo.dropped, kubo.remembers()), (0, WINDOW), "seed {seed}");
    }
}
