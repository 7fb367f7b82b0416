//! Single histories; the command `simulate` plays them by the hundred.

use scatter_actors::testkit::chain::Trouble;

use crate::plan::{Fault, Plan};
use crate::street::Cheat;
use crate::world::{live, Ended, Summary};

mod worlds;

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

/// Panics the actor at several moments of a bid's life, one history each.
fn panicked(actor: &'static str) {
    for at in [60_000, 110_000, 160_000] {
        let mut plan = Plan::single(1, at, Fault::Bomb { node: "hoster", actor });
        plan.bids[0].at = 10_000;
        let summary = told(1, live(plan));
        assert_eq!((summary.paid, summary.failed), (1, 0), "{at} ms: {summary:?}");
    }
}

#[test]
fn a_panicked_listener_loses_nothing_and_the_bid_ends_paid_once() {
    panicked("listener");
}

#[test]
fn a_panicked_filter_loses_nothing_and_the_bid_ends_paid_once() {
    panicked("filter");
}

#[test]
fn a_panicked_pinner_loses_nothing_and_the_bid_ends_paid_once() {
    panicked("pinner");
}

#[test]
fn a_panicked_wallet_loses_nothing_and_the_bid_ends_paid_once() {
    panicked("wallet");
}

#[test]
fn a_panicked_firewall_loses_nothing_and_the_bid_ends_paid_once() {
    panicked("firewall");
}

#[test]
fn a_panicked_validator_loses_nothing_and_both_votes_are_cast() {
    for at in [60_000, 160_000] {
        let mut plan = Plan::audited(1, Cheat::None);
        plan.bids[0].at = 10_000;
        plan.faults = vec![(at, Fault::Bomb { node: "val-1", actor: "validator" })];
        let summary = told(1, live(plan));
        assert_eq!((summary.paid, summary.votes), (1, 2), "{at} ms: {summary:?}");
    }
}

#[test]
fn a_hoster_that_cheats_is_not_paid() {
    for (cheat, votes) in [(Cheat::Drops, 2), (Cheat::Flips, 2), (Cheat::Silent, 0)] {
        let summary = told(1, live(Plan::audited(1, cheat)));
        assert_eq!(summary.votes, votes, "{cheat:?}: {summary:?}");
    }
}

#[test]
fn a_bid_that_a_lagging_provider_does_not_know_yet_is_judged_later() {
    for method in ["bid", "simulate"] {
        let trouble = Trouble::Lags(6);
        let lag = Fault::Rpc { method: Some(method), trouble, percent: 100, for_ms: 120_000 };
        let mut plan = Plan::single(1, 10_000, lag);
        plan.bids[0].at = 10_000;
        let summary = told(1, live(plan));
        assert_eq!((summary.paid, summary.failed), (1, 0), "{method}: {summary:?}");
    }
}

/// Seeds that once broke something, and what.
const REGRESSIONS: [(u64, &str); 11] = [
    (134, "a reorg put the accept before the bid, and that ended the bid"),
    (164, "a settlement was taken back behind the content's release"),
    (198, "a reorg put the accept before the bid, and that ended the bid"),
    (223, "an accept to be sent anew counted its content twice"),
    (393, "a node that was deaf took an old block for news"),
    (444, "a provider that fell back and caught up again kept a stalled chain fresh"),
    (2848, "a provider that lagged took the settle for too early, and it was never tried anew"),
    (3237, "a provider that lagged took the settle for too early, and it was never tried anew"),
    (3358, "a provider that lagged took the settle for too early, and it was never tried anew"),
    (3826, "chain time leapt over the offer of a bid that waited to be judged again"),
    (4737, "the filter read that a bid was placed anew before the pinner read that it was taken back"),
];

#[test]
fn what_once_broke_does_not_break_again() {
    for (seed, what) in REGRESSIONS {
        if let Err(broken) = live(Plan::of(seed)).verdict {
            panic!("seed {seed} ({what}): {broken}");
        }
    }
}

#[test]
fn the_same_seed_has_the_same_history_to_the_byte() {
    for seed in 0..20 {
        let (first, second) = (live(Plan::of(seed)), live(Plan::of(seed)));
        assert_eq!(first.history, second.history, "seed {seed}");
    }
}
