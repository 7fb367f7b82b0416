//! From the close of the votes to the money: who settles, and when another try makes sense.

use serde::{Deserialize, Serialize};

use super::{Case, Effect, Stage, Step};
use crate::domain::market::{Abandonment, Execution, MarketEvent, Settlement, Version};
use crate::domain::units::ChainTime;

/// Seconds of chain time before a settle that came to nothing is tried anew: a provider that lags takes it for too
/// early. Each further try waits twice as long.
pub const SETTLE_AGAIN_AFTER: u64 = 60;
/// Seconds of chain time that a try waits at most: what reverts costs gas, what is not settled pays nobody.
pub const SETTLE_AGAIN_WITHIN: u64 = 86_400;
/// How long after the close a legacy bid's payout is waited for: 64 turns of 10 minutes, and a day.
pub const LEGACY_PATIENCE: u64 = 64 * 600 + 86_400;

/// What is done about a bid that is over and not settled. Every try has an intent of its own: one that came to
/// nothing is never taken up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Settle {
    /// The settle is the wallet's.
    Asked {
        /// How many came to nothing before.
        attempt: u32,
    },
    /// The last one came to nothing: the next is sent when it is time.
    Again {
        /// How many came to nothing.
        attempt: u32,
        /// Not before this chain time.
        not_before: ChainTime,
    },
    /// The legacy market knows no settle: a vote pays.
    Vote,
}

impl Default for Settle {
    fn default() -> Self {
        Self::Asked { attempt: 0 }
    }
}

impl Settle {
    fn attempt(&self) -> u32 {
        match self {
            Self::Asked { attempt } | Self::Again { attempt, .. } => *attempt,
            Self::Vote => 0,
        }
    }
}

/// The votes are closed.
pub(super) fn begin(close: ChainTime, case: Case<'_>) -> Step {
    match case.rules.version {
        Version::V2 => ask(close, 0),
        Version::Legacy => Step::to(Stage::Settling { close, settle: Settle::Vote }, []),
    }
}

fn ask(close: ChainTime, attempt: u32) -> Step {
    let settle = Settle::Asked { attempt };
    Step::to(Stage::Settling { close, settle }, [Effect::Settle { attempt }])
}

/// Time has passed while nobody settled.
pub(super) fn tick(close: ChainTime, settle: &Settle, now: ChainTime) -> Step {
    match settle {
        Settle::Again { attempt, not_before } if now >= *not_before => ask(close, *attempt),
        Settle::Vote if now >= close.plus(LEGACY_PATIENCE) => {
            Step::to(Stage::Released { how: None, attempt: 0 }, [Effect::LetGo])
        }
        _ => Step::to(Stage::Settling { close, settle: settle.clone() }, []),
    }
}

/// Our settle is mined or given up. What it did the chain tells; what it did not do is to be done again, unless
/// somebody else did it: then it counts in case a reorg takes that back.
pub(super) fn ended(stage: &Stage, execution: &Execution, case: Case<'_>, now: ChainTime) -> Step {
    let ours = |event: &MarketEvent| matches!(event, MarketEvent::Settled { bid, .. } if *bid == case.bid);
    if matches!(execution, Execution::Mined { events, .. } if events.iter().any(ours)) {
        return Step::to(stage.clone(), []);
    }
    let next = match stage {
        Stage::Settling { close, settle: Settle::Asked { attempt } } => {
            let not_before = now.plus(settle_again_in(*attempt, execution));
            Stage::Settling { close: *close, settle: Settle::Again { attempt: attempt + 1, not_before } }
        }
        Stage::Released { how, attempt } => Stage::Released { how: *how, attempt: attempt + 1 },
        _ => stage.clone(),
    };
    Step::to(next, [])
}

/// Seconds of chain time before the next try of a settle that came to nothing, of which so many did before. Where the
/// operator took it back, as long as any.
pub fn settle_again_in(attempt: u32, execution: &Execution) -> u64 {
    match execution {
        Execution::Abandoned { reason: Abandonment::Cancelled } => SETTLE_AGAIN_WITHIN,
        _ => SETTLE_AGAIN_AFTER.saturating_mul(1 << attempt.min(16)).min(SETTLE_AGAIN_WITHIN),
    }
}

/// The money is decided, whoever settled.
pub(super) fn settled(stage: &Stage, outcome: Settlement) -> Step {
    let attempt = match stage {
        Stage::Settling { settle, .. } => settle.attempt(),
        _ => 0,
    };
    Step::to(Stage::Released { how: Some(outcome), attempt }, [Effect::StopFetch, Effect::LetGo])
}

/// A reorg took the settlement back. Where it was ours, the wallet knows the intent and sends it again.
pub(super) fn taken_back(attempt: u32) -> Step {
    let Step { next, effects } = ask(ChainTime(0), attempt);
    Step::to(next, [vec![Effect::Keep], effects].concat())
}

/// On the legacy market the first vote after the end pays out.
pub(super) fn paid_by_a_vote() -> Step {
    Step::to(Stage::Released { how: Some(Settlement::Paid), attempt: 0 }, [Effect::LetGo])
}
