//! Single histories; the command `simulate` plays them by the hundred.

use std::path::Path;

use scatter_actors::planted::{plant, Bug};
use scatter_actors::testkit::chain::Trouble;

use crate::case::{name_of, Case};
use crate::plan::{Fault, Plan, WEATHER_MS};
use crate::shrink::{shrink, Shrunk};
use crate::street::Cheat;
use crate::world::{live, Ended, Summary};

mod worlds;

/// Fails with the whole history where an invariant was broken.
fn told(seed: u64, ended: Ended) -> Summary {
    match ended.verdict {
        Ok(ref summary) => summary.clone(),
        Err(ref broken) => {
            println!("{}", ended.history());
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
    let trouble = Trouble::Lags(6);
    let lag = Fault::Rpc { method: Some("bid"), trouble, percent: 100, for_ms: 120_000 };
    let mut plan = Plan::single(1, 10_000, lag);
    plan.bids[0].at = 10_000;
    let summary = told(1, live(plan));
    assert_eq!((summary.paid, summary.failed), (1, 0), "{summary:?}");
}

/// Seeds that once broke something, and what.
const REGRESSIONS: [(u64, &str); 13] = [
    (134, "a reorg put the accept before the bid, and that ended the bid"),
    (164, "a settlement was taken back behind the content's release"),
    (198, "a reorg put the accept before the bid, and that ended the bid"),
    (223, "an accept to be sent anew counted its content twice"),
    (393, "a node that was deaf took an old block for news"),
    (444, "a provider that fell back and caught up again kept a stalled chain fresh"),
    (2848, "a provider that lagged took the settle for too early, and it was never tried anew"),
    (3237, "a provider that lagged took the settle for too early, and it was never tried anew"),
    (3358, "a provider that lagged took the settle for too early, and it was never tried anew"),
    (29, "the wall clock was set back, and a stalled chain stayed fresh"),
    (579, "chain time leapt over a bid that a reorg had placed in another block, before anybody read so"),
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

#[allow(clippy::disallowed_methods)] // The case is a file.
fn read(file: &Path) -> Case {
    Case::of_text(std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Plans that once broke something, as they were shrunk and written down.
#[test]
fn plans_that_once_broke_something_break_nothing() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let case = read(&file);
        if let Err(broken) = live(case.plan).verdict {
            panic!("{} ({}): {broken}", file.display(), case.what);
        }
    }
}

#[test]
fn a_failing_plan_is_shrunk_to_what_its_failure_needs_and_can_be_written_down() {
    let _planted = Planted::the(Bug::ReadyWithFullDisk);
    let mut plan = Plan::of(2);
    plan.faults.push((WEATHER_MS / 2, Fault::DiskFull(120_000)));
    plan.faults.sort_by_key(|(at, _)| *at);
    let ended = live(plan);
    let (faults, broken) = (ended.plan.faults.len(), ended.verdict.clone().unwrap_err());
    let Shrunk { ended, lived } = shrink(ended, 40);
    assert!(lived <= 40);
    let smaller = ended.verdict.as_ref().unwrap_err();
    assert_eq!(name_of(smaller), name_of(&broken));
    assert!(ended.plan.faults.len() < faults, "{:?}", ended.plan.faults);
    let text = Case::of(&ended.plan, smaller).text();
    let case: Case = serde_json::from_str(text.leak()).unwrap();
    let again = live(case.plan);
    assert_eq!(again.history(), ended.history(), "what is read is what was written");
}

/// A bug on this thread until this is dropped.
struct Planted;

impl Planted {
    fn the(bug: Bug) -> Self {
        plant(Some(bug));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

#[test]
fn the_same_seed_has_the_same_history_to_the_byte() {
    for seed in 0..20 {
        let (first, second) = (live(Plan::of(seed)), live(Plan::of(seed)));
        assert_eq!(first.history(), second.history(), "seed {seed}");
    }
}
