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
