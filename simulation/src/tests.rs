//! Histories by the dozen.

use crate::plan::{Fault, Plan};
use crate::world::{live, Ended, Summary};

/// Fails with the whole history where an invariant was broken.
fn told(seed: u64, ended: Ended) -> Summary {
    match ended.verdict {
        Ok(summary) => summary,
        Err(broken) => {
            println!("{}", ended.history);
            panic!("seed {seed}: {broken}");
        }
    }
}

#[test]
fn on_a_calm_day_every_bid_ends_paid() {
    let summary = told(1, live(Plan::calm(1)));
    assert!(summary.paid > 0, "{summary:?}");
}

#[test]
fn each_actor_is_panicked_in_mid_lifecycle_and_the_bid_still_ends_paid_once() {
    for actor in crate::plan::ACTORS {
        let summary = told(1, live(Plan::single(1, 60_000, Fault::Bomb(actor))));
        assert_eq!((summary.paid, summary.failed), (1, 0), "{actor}: {summary:?}");
    }
}

/// Which seeds are played: `SCATTER_SEEDS=from..to` for more, or for the one that failed.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    #[allow(clippy::disallowed_methods)]
    let Ok(text) = std::env::var("SCATTER_SEEDS") else {
        return default;
    };
    let (from, to) = text.split_once("..").expect("SCATTER_SEEDS=from..to");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn whatever_a_seed_brings_the_invariants_hold_and_every_bid_worth_it_is_paid() {
    let seeds = seeds(0..100);
    let mut failed = Vec::new();
    let mut sum = Summary::default();
    for seed in seeds.clone() {
        let ended = live(Plan::of(seed));
        match ended.verdict {
            Ok(summary) => {
                sum.paid += summary.paid;
                sum.declined += summary.declined;
                sum.failed += summary.failed;
            }
            Err(broken) => {
                if failed.is_empty() {
                    println!("{}", ended.history);
                }
                failed.push(format!("seed {seed}: {broken}"));
            }
        }
    }
    println!("{sum:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_same_seed_has_the_same_history_to_the_byte() {
    for seed in 0..20 {
        let (first, second) = (live(Plan::of(seed)), live(Plan::of(seed)));
        assert_eq!(first.history, second.history, "seed {seed}");
    }
}
