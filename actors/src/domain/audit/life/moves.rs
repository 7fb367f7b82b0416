//! The moves of an audit's life, one function each.

use super::super::slot::{recheck_at, Purpose};
use super::super::vote::{payout_turn, Tally};
use super::*;
use crate::domain::bid::settle_again_in;
use crate::domain::market::Version;

pub(super) fn skipped(reason: &Skip) -> Step {
    Step::to(Stage::Skipped { reason: reason.clone() }, [])
}

pub(super) fn abstained(why: &str) -> Step {
    Step::to(Stage::Abstained { reason: why.to_owned() }, [])
}

pub(super) fn slot_of<'a>(case: Case<'a>, slot: u32) -> Option<&'a Slot> {
    case.slots.iter().find(|known| known.slot == slot)
}

pub(super) fn tries(case: Case<'_>, slot: u32) -> u32 {
    slot_of(case, slot).map_or(0, |slot| slot.tries.len() as u32)
}

pub(super) fn watch(case: Case<'_>, slot: u32) -> Step {
    let due = slot_of(case, slot).map_or(ChainTime(0), |slot| slot.due);
    Step::to(Stage::Watching { slot, due }, [])
}

pub(super) fn tick(stage: &Stage, case: Case<'_>, now: Now) -> Step {
    let stay = || Step::to(stage.clone(), []);
    let Some(plan) = case.plan else {
        return match stage {
            Stage::Due => Step::to(Stage::Due, [Effect::Qualify]),
            _ => stay(),
        };
    };
    match stage {
        Stage::Due => Step::to(Stage::Due, [Effect::Qualify]),
        Stage::Watching { slot, .. } | Stage::Challenging { slot }
            if now.head >= plan.closes(*slot, case.policy.grace) =>
        {
            let missed = if tries(case, *slot) == 0 { Outcome::NotRun } else { Outcome::Dark };
            close(*slot, missed, plan, case, now)
        }
        Stage::Watching { slot, due } if now.head >= *due => {
            Step::to(Stage::Challenging { slot: *slot }, [Effect::Run { slot: *slot }])
        }
        Stage::Challenging { slot } => Step::to(stage.clone(), [Effect::Run { slot: *slot }]),
        Stage::Contained { slot, recheck_at } if now.head >= *recheck_at => {
            let last_call = plan.end.max(plan.stratum(*slot).until.plus(case.policy.recheck_after));
            if now.head < last_call.plus(case.policy.grace) {
                return Step::to(stage.clone(), [Effect::Recheck { slot: *slot }]);
            }
            let asked = slot_of(case, *slot)
                .is_some_and(|slot| slot.asked().any(|asked| asked.purpose == Purpose::Recheck));
            let outcome = if asked { Outcome::Dark } else { Outcome::NotRun };
            close(*slot, outcome, plan, case, now)
        }
        Stage::Decided { verdict, vote_at } => decided(stage, *verdict, *vote_at, plan, case, now),
        Stage::Voted { payout: Payout::Waiting { look_at, .. }, .. } if now.deep >= *look_at => {
            Step::to(stage.clone(), [Effect::LookAtBid])
        }
        Stage::Placed
        | Stage::Watching { .. }
        | Stage::Contained { .. }
        | Stage::Voting { .. }
        | Stage::Voted { .. }
        | Stage::Abstained { .. }
        | Stage::Skipped { .. } => stay(),
    }
}

/// An attempt at a slot is over.
pub(super) fn tried(slot: u32, standing: &Standing, case: Case<'_>, now: Now) -> Step {
    let Some(plan) = case.plan else { return Step::to(Stage::Challenging { slot }, []) };
    match standing {
        Standing::Passed => close(slot, Outcome::Pass, plan, case, now),
        Standing::Contained(_) => {
            let recheck_at = recheck_at(plan, case.policy, now.head);
            Step::to(Stage::Contained { slot, recheck_at }, [])
        }
        Standing::Late => close(slot, Outcome::Late, plan, case, now),
        Standing::Failed => close(slot, Outcome::Fail, plan, case, now),
        Standing::Dark if slot != plan.last() && tries(case, slot) >= case.policy.dark_tries => {
            close(slot, Outcome::Dark, plan, case, now)
        }
        // The last slot is tried on to the end, the first tries spread over what is left of it.
        Standing::Dark => {
            let left = plan.closes(slot, case.policy.grace).since(now.head);
            let pause = if slot == plan.last() { plan.tail / 8 } else { case.policy.grace / 4 };
            Step::to(Stage::Watching { slot, due: now.head.plus(pause.min(left / 3).max(1)) }, [])
        }
    }
}

/// What was missing was asked for again.
pub(super) fn rechecked(
    slot: u32,
    recheck_at: ChainTime,
    standing: &Standing,
    case: Case<'_>,
    now: Now,
) -> Step {
    let Some(plan) = case.plan else { return Step::to(Stage::Contained { slot, recheck_at }, []) };
    match standing {
        Standing::Late => close(slot, Outcome::Late, plan, case, now),
        Standing::Failed => close(slot, Outcome::Fail, plan, case, now),
        Standing::Passed | Standing::Dark | Standing::Contained(_) => {
            let again = now.head.plus((case.policy.grace / 4).max(1));
            Step::to(Stage::Contained { slot, recheck_at: again }, [])
        }
    }
}

/// A slot has its outcome: on to the next, or to the vote.
pub(super) fn close(slot: u32, outcome: Outcome, plan: Plan, case: Case<'_>, now: Now) -> Step {
    let closed = Effect::Close { slot, outcome };
    let tally = Tally::of(plan, case.policy, case.slots, case.elsewhere).with(plan, slot, outcome);
    if slot < plan.last() && !tally.is_irrevocable() {
        return Step::to(watch(case, slot + 1).next, [closed]);
    }
    let verdict = tally.verdict();
    let vote_at = match (verdict, case.rules.version) {
        (Verdict::Abstain, _) | (Verdict::Invalid, Version::V2) => now.head,
        (Verdict::Valid, Version::V2) => plan.end.plus(case.jitter),
        (_, Version::Legacy) => plan.end.minus(plan.tail / 2),
    };
    Step::to(Stage::Decided { verdict, vote_at }, [closed])
}

/// The moment after which a vote is of no use.
pub(super) fn deadline(case: Case<'_>) -> Option<ChainTime> {
    let plan = case.plan?;
    match case.rules.version {
        Version::V2 => {
            let spare = (case.rules.vote_duration / 4).min(3_600);
            Some(plan.end.plus(case.rules.vote_duration).minus(spare))
        }
        // A vote that is mined behind the end pays out, and pays again if somebody else's did.
        Version::Legacy => Some(plan.end.minus(plan.tail / 8)),
    }
}

pub(super) fn decided(
    stage: &Stage,
    verdict: Verdict,
    vote_at: ChainTime,
    plan: Plan,
    case: Case<'_>,
    now: Now,
) -> Step {
    let testify = || Step::to(stage.clone(), [Effect::Testify { verdict }]);
    let stay = || Step::to(stage.clone(), []);
    let in_time = deadline(case).is_some_and(|deadline| now.head < deadline);
    match (verdict, case.rules.version) {
        (Verdict::Abstain, _) => testify(),
        (Verdict::Invalid, Version::V2) if in_time => testify(),
        (Verdict::Valid, Version::V2) if in_time && now.deep >= vote_at => testify(),
        (_, Version::V2) if in_time => stay(),
        (_, Version::V2) => abstained("the time to vote is over"),
        (_, Version::Legacy) if in_time && now.head >= vote_at => testify(),
        (_, Version::Legacy) if now.head < plan.end => stay(),
        (Verdict::Invalid, Version::Legacy) => abstained("a vote behind the end would pay the hoster"),
        (Verdict::Valid, Version::Legacy) if now.head >= payout_turn(plan, case.bid.id, case.me) => {
            Step::to(stage.clone(), [Effect::LookForPayout])
        }
        (Verdict::Valid, Version::Legacy) => stay(),
    }
}

pub(super) fn testified(verdict: Verdict, evidence: Digest, case: Case<'_>, now: Now) -> Step {
    let valid = match verdict {
        Verdict::Abstain => return abstained("the slots do not tell"),
        Verdict::Valid => true,
        Verdict::Invalid => false,
    };
    // Behind the end of a legacy bid the vote is the payout's trigger, which has no deadline.
    let deadline = deadline(case).filter(|deadline| now.head < *deadline);
    Step::to(Stage::Voting { valid, evidence }, [Effect::Vote { valid, evidence, deadline }])
}

pub(super) fn voted(valid: bool, evidence: Digest, execution: &Execution, case: Case<'_>) -> Step {
    match execution {
        Execution::Mined { events, .. } => {
            let counts = events.iter().any(|event| {
                matches!(event, MarketEvent::Voted { bid, validator, .. }
                    if *bid == case.bid.id && *validator == case.me)
            });
            if !counts {
                return abstained("the vote was mined and did not count");
            }
            let payout = match (case.rules.version, case.plan) {
                (Version::V2, Some(plan)) => {
                    Payout::Waiting { look_at: plan.end.plus(case.rules.vote_duration), attempt: 0 }
                }
                _ => Payout::NotOurs,
            };
            Step::to(Stage::Voted { valid, evidence, payout }, [])
        }
        Execution::Reverted { .. } => abstained("the vote was reverted"),
        Execution::Abandoned { reason } => abstained(&format!("the vote was given up: {reason}")),
    }
}

/// The bid at its close: whose turn it is.
pub(super) fn paying(
    settled: Option<Settlement>,
    turn: Option<ChainTime>,
    attempt: u32,
    now: Now,
) -> (Payout, Vec<Effect>) {
    match (settled, turn) {
        (Some(how), _) => (Payout::Settled { how, attempt }, vec![]),
        (None, None) => (Payout::NotOurs, vec![]),
        (None, Some(turn)) if now.deep < turn => (Payout::Waiting { look_at: turn, attempt }, vec![]),
        (None, Some(_)) => (Payout::Asked { attempt }, vec![Effect::Settle { attempt }]),
    }
}

/// Our settle is mined or given up. One that came to nothing is tried anew as the hoster's is, for as long as nobody
/// settled; where somebody did, it counts in case a reorg takes that back. A reorg may also tell of an earlier try once more.
pub(super) fn settle_ended(
    stage: &Stage,
    tried: u32,
    execution: &Execution,
    case: Case<'_>,
    now: Now,
) -> Step {
    if let Execution::Mined { events, .. } = execution {
        for event in events {
            if let MarketEvent::Settled { bid, outcome, .. } = event {
                if *bid == case.bid.id {
                    return settled(stage, *outcome);
                }
            }
        }
    }
    let Stage::Voted { valid, evidence, payout } = stage else { return Step::to(stage.clone(), []) };
    let payout = match *payout {
        Payout::Asked { attempt } if attempt == tried => Payout::Waiting {
            look_at: now.deep.plus(settle_again_in(attempt, execution)),
            attempt: attempt + 1,
        },
        Payout::Settled { how, attempt } => Payout::Settled { how, attempt: attempt.max(tried + 1) },
        Payout::Waiting { look_at, attempt } => Payout::Waiting { look_at, attempt: attempt.max(tried + 1) },
        Payout::Asked { .. } | Payout::NotOurs => *payout,
    };
    Step::to(Stage::Voted { valid: *valid, evidence: *evidence, payout }, [])
}

pub(super) fn settled(stage: &Stage, how: Settlement) -> Step {
    match stage {
        Stage::Voted { valid, evidence, payout } => {
            let payout = Payout::Settled { how, attempt: payout.attempt() };
            Step::to(Stage::Voted { valid: *valid, evidence: *evidence, payout }, [])
        }
        // Our vote's own outcome is still to come.
        Stage::Voting { .. } | Stage::Abstained { .. } | Stage::Skipped { .. } => Step::to(stage.clone(), []),
        Stage::Placed
        | Stage::Due
        | Stage::Watching { .. }
        | Stage::Challenging { .. }
        | Stage::Contained { .. }
        | Stage::Decided { .. } => abstained("the bid is settled"),
    }
}

pub(super) fn retracted(stage: &Stage, told: &MarketEvent) -> Step {
    let stay = || Step::to(stage.clone(), []);
    match (told, stage) {
        (
            MarketEvent::Pinned { .. },
            Stage::Due
            | Stage::Watching { .. }
            | Stage::Challenging { .. }
            | Stage::Contained { .. }
            | Stage::Decided { .. },
        ) => skipped(&Skip::Retracted),
        // Where it was ours, the wallet knows the intent and sends it again.
        (
            MarketEvent::Settled { .. },
            Stage::Voted { valid, evidence, payout: Payout::Settled { attempt, .. } },
        ) => {
            let payout = Payout::Waiting { look_at: ChainTime(0), attempt: *attempt };
            Step::to(Stage::Voted { valid: *valid, evidence: *evidence, payout }, [])
        }
        // Our own vote: the wallet sends it again and tells the outcome anew.
        _ => stay(),
    }
}
