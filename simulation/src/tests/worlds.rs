//! What the worlds do besides the weather, one at a time.

use scatter_actors::testkit::chain::{Logs, Trouble};

use super::told;
use crate::people::rivals::Rivalry;
use crate::plan::moves::Moves;
use crate::plan::{Fault, Plan, PlannedBid};
use crate::world::{live, Summary};

/// One bid, from before its placing to its settlement under that fault.
fn paid_under(fault: Fault) {
    let mut plan = Plan::single(1, 0, fault.clone());
    plan.bids[0].at = 10_000;
    let summary = told(1, live(plan));
    assert_eq!((summary.paid, summary.failed), (1, 0), "{fault:?}: {summary:?}");
}

#[test]
fn no_answer_about_logs_that_cannot_be_right_is_believed_and_the_bid_ends_paid() {
    let lies = [
        Logs::TooMuch { most: 2, tells: true },
        Logs::TooMuch { most: 2, tells: false },
        Logs::None,
        Logs::Twice,
        Logs::Backwards,
        Logs::Foreign,
        Logs::Elsewhere,
        Logs::Removed,
        Logs::Unborn,
    ];
    for logs in lies {
        let (method, trouble) = (Some("events"), Trouble::Tells(logs));
        paid_under(Fault::Rpc { method, trouble, percent: 80, for_ms: 120_000 });
    }
}

#[test]
fn a_branch_that_comes_back_and_finality_that_stops_leave_the_bid_paid() {
    for at in [60_000, 110_000, 160_000] {
        for fault in [Fault::Fork { depth: 5, for_ms: 30_000 }, Fault::Unfinal(200_000)] {
            let mut plan = Plan::single(1, at, fault.clone());
            plan.bids[0].at = 10_000;
            let summary = told(1, live(plan));
            assert_eq!(summary.paid, 1, "{fault:?} at {at} ms: {summary:?}");
        }
    }
}

#[test]
fn rotten_blocks_of_a_hostile_node_are_not_taken() {
    let mut plan = Plan::single(1, 20_000, Fault::Rotten);
    (plan.bids[0].at, plan.bids[0].arrives_after) = (10_000, 60_000);
    let summary = told(1, live(plan));
    assert_eq!((summary.paid, summary.failed), (1, 0), "{summary:?}");
}

#[test]
fn a_rival_who_is_earlier_costs_the_bid_only_where_it_really_hosts_it() {
    for (what, paid, lost) in [(Rivalry::Accepts, 1, 0), (Rivalry::Hosts, 0, 1), (Rivalry::Settles, 1, 0)] {
        let mut plan = Plan::single(1, 0, Fault::Rival(what));
        plan.bids[0].at = 10_000;
        let summary = told(1, live(plan));
        assert_eq!((summary.paid, summary.failed), (paid, lost), "{what:?}: {summary:?}");
    }
}

#[test]
fn content_that_is_larger_than_the_bid_says_is_given_up() {
    let mut plan = Plan::single(1, 0, Fault::Stranger);
    (plan.bids[0].len, plan.bids[0].chunk, plan.bids[0].understated) = (1_250_000, 250_000, true);
    let summary = told(1, live(plan));
    assert_eq!((summary.paid, summary.failed), (0, 1), "{summary:?}");
}

#[test]
fn on_a_market_of_version_1_the_bid_ends_paid_once_by_one_vote() {
    let mut plan = Plan::single(1, 0, Fault::Stranger);
    plan.legacy = true;
    let summary = told(1, live(plan));
    assert_eq!((summary.paid, summary.failed), (1, 0), "{summary:?}");
}

/// A bid on each market, the first one placed before the Router moves to the second, under one fault.
fn moved_under(fault: Fault) -> Summary {
    let mut plan = Plan::single(1, 140_000, fault);
    let bid = plan.bids[0].clone();
    plan.bids[0].at = 10_000;
    plan.bids.push(PlannedBid { at: 150_000, elsewhere: true, ..bid.clone() });
    plan.bids.push(PlannedBid { at: 150_000, elsewhere: true, repeats: true, ..bid });
    plan.moves = Some(Moves { deployed: 60_000, at: vec![130_000] });
    told(1, live(plan))
}

#[test]
fn bids_on_both_markets_end_paid_when_the_router_moves() {
    for fault in [
        Fault::Stranger,
        Fault::Reorg(4),
        Fault::Bomb { node: "hoster", actor: "listener" },
        Fault::Kill { node: "hoster", commits: 3, down_ms: 60_000 },
        Fault::Unfinal(120_000),
    ] {
        let summary = moved_under(fault.clone());
        assert_eq!((summary.paid, summary.failed), (3, 0), "{fault:?}: {summary:?}");
    }
}
