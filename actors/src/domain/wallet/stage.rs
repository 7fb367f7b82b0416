//! How far an intent is, as people see it, and whether what was mined did what was wanted.

use serde::Serialize;

use crate::domain::market::{Abandonment, Execution, MarketCall, MarketEvent};
use crate::domain::units::Address;

/// How far an intent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", content = "why", rename_all = "snake_case")]
pub enum Stage {
    /// It has no nonce.
    Queued,
    /// It has a nonce and a signature, and no provider has said that it took it.
    Signed,
    /// A provider took it.
    Sent,
    /// It is in a block that is not deep yet.
    Mined,
    /// It did what was wanted, in a block that is deep; a reorg could still take that back.
    Confirmed,
    /// It did what was wanted, for good.
    Finalized,
    /// It did not, and will not.
    Failed(Failure),
}

/// Why nothing came of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "failure", content = "reason", rename_all = "snake_case")]
pub enum Failure {
    /// It was given up, without an effect.
    #[error("{0}")]
    Abandoned(Abandonment),
    /// It was mined and reverted.
    #[error("it was mined and reverted")]
    Reverted,
    /// It was mined, and the market's events say that something else happened: another one was faster.
    #[error("it was mined without the effect that was wanted")]
    WithoutEffect,
}

/// What is known of an intent's transaction that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// A provider took an attempt.
    pub sent: bool,
    /// An attempt is in a block.
    pub mined: bool,
}

impl Stage {
    /// The stage of an intent that has a nonce and no outcome yet.
    pub fn under_way(way: Way) -> Self {
        match way {
            Way { mined: true, .. } => Self::Mined,
            Way { sent: true, .. } => Self::Sent,
            Way { .. } => Self::Signed,
        }
    }

    /// The stage of an intent that `me` wanted, by what came of it.
    pub fn of(call: &MarketCall, outcome: &Execution, me: Address, is_final: bool) -> Self {
        match failure(call, outcome, me) {
            Some(failure) => Self::Failed(failure),
            None if is_final => Self::Finalized,
            None => Self::Confirmed,
        }
    }
}

/// Why nothing came of what `me` wanted, unless it happened: a receipt without a revert is no success by itself.
pub fn failure(call: &MarketCall, outcome: &Execution, me: Address) -> Option<Failure> {
    match outcome {
        Execution::Abandoned { reason } => Some(Failure::Abandoned(reason.clone())),
        Execution::Reverted { .. } => Some(Failure::Reverted),
        Execution::Mined { events, .. } => (!events.iter().any(|event| is_effect(call, event, me))
            && has_events(call))
        .then_some(Failure::WithoutEffect),
    }
}

/// Whether an event tells that a call of `me` did what it should.
fn is_effect(call: &MarketCall, event: &MarketEvent, me: Address) -> bool {
    match (call, event) {
        (MarketCall::Bid { .. }, MarketEvent::BidPlaced { bidder, .. }) => *bidder == me,
        (MarketCall::Accept(wanted), MarketEvent::Accepted { bid, hoster, .. })
        | (MarketCall::Pinned(wanted), MarketEvent::Pinned { bid, hoster, .. }) => {
            bid == wanted && *hoster == me
        }
        (
            MarketCall::Vote { bid: wanted, valid: voted, .. },
            MarketEvent::Voted { bid, validator, valid },
        ) => bid == wanted && *validator == me && valid == voted,
        (MarketCall::Settle(wanted), MarketEvent::Settled { bid, .. }) => bid == wanted,
        (MarketCall::Withdraw, MarketEvent::Withdrawn { to, .. }) => *to == me,
        _ => false,
    }
}

/// Whether every market tells of the call's effect: a legacy Register and a transfer say nothing.
fn has_events(call: &MarketCall) -> bool {
    !matches!(call, MarketCall::Register(_) | MarketCall::NoOp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::units::{BidId, BlockHeight, ChainTime, TxHash, Wei};

    const ME: Address = Address([1; 20]);
    const OTHER: Address = Address([2; 20]);

    fn mined(events: Vec<MarketEvent>) -> Execution {
        let (tx, block, time) = (TxHash([1; 32]), BlockHeight(1), ChainTime(1));
        Execution::Mined { tx, block, time, gas: 1, cost: Wei::ZERO, events }
    }
    fn accepted(bid: u64, hoster: Address) -> MarketEvent {
        MarketEvent::Accepted { bid: BidId(bid), when: ChainTime(1), hoster }
    }

    #[test]
    fn only_the_events_make_a_success() {
        let (accept, withdraw) = (MarketCall::Accept(BidId(7)), MarketCall::Withdraw);
        let vote = |valid| MarketCall::Vote {
            bid: BidId(7),
            valid,
            evidence: crate::domain::units::Digest::default(),
        };
        let voted = |valid| MarketEvent::Voted { bid: BidId(7), validator: ME, valid };
        for (call, events, lost) in [
            (accept.clone(), vec![accepted(7, ME)], false),
            (accept.clone(), vec![], true),
            (accept.clone(), vec![accepted(8, ME)], true),
            (accept.clone(), vec![accepted(7, OTHER)], true),
            (accept.clone(), vec![MarketEvent::AcceptWait { seconds: 9 }], true),
            (accept, vec![MarketEvent::AcceptWait { seconds: 9 }, accepted(7, ME)], false),
            (vote(true), vec![voted(true)], false),
            (vote(true), vec![voted(false)], true),
            (withdraw.clone(), vec![MarketEvent::Withdrawn { amount: Wei::ZERO, to: ME }], false),
            (withdraw, vec![MarketEvent::WithdrawFailed { to: ME, reason: "no".into() }], true),
            (MarketCall::NoOp, vec![], false),
        ] {
            let failed = failure(&call, &mined(events.clone()), ME);
            assert_eq!(failed, lost.then_some(Failure::WithoutEffect), "{call:?} {events:?}");
        }
    }

    #[test]
    fn the_stages_follow_one_another() {
        let (accept, won) = (MarketCall::Accept(BidId(7)), mined(vec![accepted(7, ME)]));
        assert_eq!(Stage::under_way(Way::default()), Stage::Signed);
        assert_eq!(Stage::under_way(Way { sent: true, mined: false }), Stage::Sent);
        assert_eq!(Stage::under_way(Way { sent: false, mined: true }), Stage::Mined);
        assert_eq!(Stage::of(&accept, &won, ME, false), Stage::Confirmed);
        assert_eq!(Stage::of(&accept, &won, ME, true), Stage::Finalized);
        let reverted = Execution::Reverted { tx: TxHash([1; 32]), cost: Wei::ZERO };
        assert_eq!(Stage::of(&accept, &reverted, ME, false), Stage::Failed(Failure::Reverted));
        let late = Execution::Abandoned { reason: Abandonment::TooLate };
        let failed = Stage::Failed(Failure::Abandoned(Abandonment::TooLate));
        assert_eq!(Stage::of(&accept, &late, ME, true), failed);
        let told = serde_json::to_string(&failed).unwrap();
        assert_eq!(
            told,
            r#"{"stage":"failed","why":{"failure":"abandoned","reason":{"reason":"too_late"}}}"#
        );
    }
}
