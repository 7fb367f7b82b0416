//! From the accept to the announcement: what became of our transactions, and when another try makes sense.

use super::{Case, Effect, Failure, Stage, Step, ACCEPT_AGAIN_AFTER, MAX_ACCEPTS, MAX_UNSENT};
use crate::domain::market::{Abandonment, Execution, MarketEvent, Version};
use crate::domain::units::ChainTime;
use crate::planted::{planted, Bug};

/// Until when a mined accept gives us the bid, if it does.
pub(super) fn held_until(execution: &Execution, case: Case<'_>) -> Option<ChainTime> {
    let Execution::Mined { events, .. } = execution else { return None };
    events.iter().find_map(|event| match event {
        MarketEvent::Accepted { bid, when, hoster } if *bid == case.bid && *hoster == case.me => {
            Some(when.plus(case.rules.accept_hold))
        }
        _ => None,
    })
}

/// Our accept is mined or given up: the receipt's own events tell whether we hold the bid.
pub(super) fn accepted(execution: &Execution, attempt: u32, case: Case<'_>, now: ChainTime) -> Step {
    match execution {
        Execution::Mined { events, time, .. } => {
            if let Some(hold_until) = held_until(execution, case) {
                return Step::to(Stage::Fetching { hold_until, attempt }, [Effect::Keep, Effect::Fetch]);
            }
            for event in events {
                match event {
                    // The legacy market tells the time elapsed, ours the time left: both end within a hold.
                    // Ours says 0 where no hold is in the way: the offer is over or the bid is pinned.
                    MarketEvent::AcceptWait { seconds: 0 } if case.rules.version == Version::V2 => {
                        return Step::to(Stage::Lost { to: None }, [Effect::LetGo]);
                    }
                    MarketEvent::AcceptWait { seconds } => {
                        let wait = match case.rules.version {
                            Version::V2 => *seconds,
                            Version::Legacy => case.rules.accept_hold.saturating_sub(*seconds),
                        };
                        return wait_for_the_hold(time.plus(wait), attempt);
                    }
                    _ => {}
                }
            }
            Step::to(Stage::Lost { to: None }, [Effect::LetGo])
        }
        Execution::Reverted { .. } => again("the accept was reverted", attempt, now),
        Execution::Abandoned { reason: reason @ Abandonment::WouldRevert(_) } => {
            unsent(&reason.to_string(), attempt, now)
        }
        Execution::Abandoned { reason } => failed(&reason.to_string()),
    }
}

/// The provider foresaw a revert, not why, and nothing was spent: where it lags it knows better soon, and where a hold is
/// in the way that is over after its time. So there are more tries, each of which waits twice as long.
fn unsent(why: &str, attempt: u32, now: ChainTime) -> Step {
    if attempt + 1 >= MAX_UNSENT || planted(Bug::AcceptOnce) {
        return failed(why);
    }
    let not_before = now.plus(ACCEPT_AGAIN_AFTER << attempt);
    Step::to(Stage::Admitted { not_before, attempt: attempt + 1 }, [Effect::StopFetch])
}

/// The market took a transaction for nothing, as it does when a reorg puts the answer before the question: accept
/// anew, as long as that makes sense.
fn again(why: &str, attempt: u32, now: ChainTime) -> Step {
    if attempt + 1 >= MAX_ACCEPTS || planted(Bug::AcceptOnce) {
        return failed(why);
    }
    let not_before = now.plus(ACCEPT_AGAIN_AFTER);
    Step::to(Stage::Admitted { not_before, attempt: attempt + 1 }, [Effect::StopFetch])
}

fn wait_for_the_hold(not_before: ChainTime, attempt: u32) -> Step {
    if attempt + 1 >= MAX_ACCEPTS {
        return Step::to(Stage::Lost { to: None }, [Effect::LetGo]);
    }
    Step::to(Stage::Admitted { not_before, attempt: attempt + 1 }, [])
}

fn failed(why: &str) -> Step {
    Step::to(
        Stage::Failed { reason: Failure::Transaction(why.to_owned()) },
        [Effect::StopFetch, Effect::LetGo],
    )
}

/// Our announcement is mined or given up.
pub(super) fn announced(
    execution: &Execution,
    hold_until: ChainTime,
    attempt: u32,
    case: Case<'_>,
    now: ChainTime,
) -> Step {
    match execution {
        Execution::Mined { events, time, .. } => {
            for event in events {
                match event {
                    MarketEvent::Pinned { bid, hoster, .. } if *bid == case.bid && *hoster == case.me => {
                        return Step::to(hosting_from(*time, attempt, case), [Effect::Keep]);
                    }
                    MarketEvent::NotAcceptedByPinner { bid, hoster } if *bid == case.bid => {
                        return Step::to(Stage::Lost { to: Some(*hoster) }, [Effect::LetGo]);
                    }
                    _ => {}
                }
            }
            failed("the announcement was mined without effect")
        }
        Execution::Reverted { .. } => again("the announcement was reverted", attempt, now),
        Execution::Abandoned { reason } if now >= hold_until || *reason == Abandonment::TooLate => {
            lapsed(hold_until, attempt)
        }
        Execution::Abandoned { reason: reason @ Abandonment::WouldRevert(_) } => {
            unsent(&reason.to_string(), attempt, now)
        }
        Execution::Abandoned { reason } => failed(&reason.to_string()),
    }
}

/// A reorg took our announcement back, and this became of it: the duration runs from where it is mined now, or
/// the bid is to be had anew.
pub(super) fn announced_anew(execution: &Execution, attempt: u32, case: Case<'_>, now: ChainTime) -> Step {
    let Execution::Mined { events, time, .. } = execution else {
        return again("a reorg took the announcement back for good", attempt, now);
    };
    let ours = |event: &MarketEvent| matches!(event, MarketEvent::Pinned { bid, hoster, .. } if *bid == case.bid && *hoster == case.me);
    match events.iter().any(ours) {
        true => Step::to(hosting_from(*time, attempt, case), [Effect::Keep]),
        false => again("a reorg left the announcement without effect", attempt, now),
    }
}

fn hosting_from(pinned_at: ChainTime, attempt: u32, case: Case<'_>) -> Stage {
    let end = pinned_at.plus(case.terms.duration);
    Stage::Hosting { pinned_at, end, close: end.plus(case.rules.vote_duration), attempt }
}

/// The hold ends before the announcement: accept again behind it, as long as that makes sense.
pub(super) fn lapsed(hold_until: ChainTime, attempt: u32) -> Step {
    if attempt + 1 >= MAX_ACCEPTS {
        return Step::to(Stage::Failed { reason: Failure::HoldExpired }, [Effect::StopFetch, Effect::LetGo]);
    }
    Step::to(Stage::Admitted { not_before: hold_until, attempt: attempt + 1 }, [Effect::StopFetch])
}
