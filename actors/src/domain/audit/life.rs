//! The life of one audit, as a pure step.
//!
//! ```text
//! Placed ──announced──▶ Due ──qualified──▶ Watching(slot) ──its moment──▶ Challenging ──▶ the next slot …
//!                        │                       ▲  silence │                  │ missing
//!                        ▼                       └──────────┘              Contained ──asked again──▶ …
//!                     Skipped                                 … ──the last──▶ Decided ──evidence──▶ Voting
//!                                                                                │                   │
//!                                                                            Abstained             Voted
//! ```
//! There is one vote per bid for ever (I7): nothing leads from Voting or Voted back to where a vote is wanted.

use serde::{Deserialize, Serialize};

use super::schedule::Plan;
use super::slot::{Outcome, Slot, Standing};
use super::vote::{Elsewhere, Verdict};
use super::Policy;
use crate::domain::market::{BidKey, Execution, MarketEvent, MarketRules, Settlement};
use crate::domain::units::{Address, ChainTime, Digest};

mod moves;
mod payout;
#[cfg(test)]
mod tests;

pub use payout::Payout;

use moves::*;

/// Why a bid is not audited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "skip", content = "what", rename_all = "snake_case")]
pub enum Skip {
    /// It is our own bid.
    #[error("it is our own bid")]
    OwnBid,
    /// We host it.
    #[error("we host it ourselves")]
    OwnHosting,
    /// The market does not know it.
    #[error("the market does not know the bid")]
    Unknown,
    /// We were not registered before the bid was placed.
    #[error("we were not registered before the bid was placed")]
    RegisteredLate,
    /// Our registration file does not carry the anchor of our secrets.
    #[error("our registration file does not carry the anchor of our audit secrets: register again")]
    NoAnchor,
    /// Our chain of secrets does not reach over the bid's duration.
    #[error("our chain of audit secrets does not cover the bid's duration")]
    NoSecrets,
    /// The operator's limits.
    #[error("the operator's limits leave it out: {0}")]
    Limits(String),
    /// The hoster registered no endpoint that could be asked.
    #[error("the hoster registered no endpoint")]
    NoEndpoint,
    /// Its content is over a cap, or has a block that can't be checked.
    #[error("the content can't be audited: {0}")]
    Content(String),
    /// A reorg removed the hoster's announcement.
    #[error("a reorg removed the hoster's announcement")]
    Retracted,
}

/// How far an audit has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// The bid is known; nobody hosts it yet.
    Placed,
    /// A hoster announced; whether we audit it is not known yet.
    Due,
    /// Waits for a slot's secret moment, or for the next try after silence.
    Watching {
        /// The slot.
        slot: u32,
        /// The moment.
        due: ChainTime,
    },
    /// A slot is being run.
    Challenging {
        /// The slot.
        slot: u32,
    },
    /// Something was missing; it is asked for again.
    Contained {
        /// The slot.
        slot: u32,
        /// From then on.
        recheck_at: ChainTime,
    },
    /// All that was to be learnt is learnt.
    Decided {
        /// What it says.
        verdict: Verdict,
        /// When to vote.
        vote_at: ChainTime,
    },
    /// The evidence is written; the vote is the wallet's.
    Voting {
        /// Which vote.
        valid: bool,
        /// The evidence's digest.
        evidence: Digest,
    },
    /// The vote counts.
    Voted {
        /// Which vote.
        valid: bool,
        /// The evidence's digest.
        evidence: Digest,
        /// What became of the money.
        payout: Payout,
    },
    /// No vote.
    Abstained {
        /// Why, in a few words.
        reason: String,
    },
    /// No audit.
    Skipped {
        /// Why.
        reason: Skip,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A hoster announced that it has the content.
    Announced,
    /// Whether the bid is audited. With `Ok`, plan and slots are in the case.
    Qualified(Result<(), Skip>),
    /// An attempt at a slot is over and stands with the slot.
    Tried(Standing),
    /// What was missing was asked for again; the answers stand with the slot.
    Rechecked(Standing),
    /// The slot can't be run for good.
    Refused(Skip),
    /// The evidence is written.
    Testified(Digest),
    /// Whether any vote on the bid is paid already (legacy market).
    PayoutSeen {
        /// Whether.
        paid: bool,
    },
    /// The bid, when it was looked at for the money.
    BidSeen {
        /// How it was settled, if it was.
        settled: Option<Settlement>,
        /// When it is our turn to settle it, if we gain by that.
        turn: Option<ChainTime>,
    },
    /// What became of our vote.
    VoteEnded(Execution),
    /// What became of a settle of ours.
    SettleEnded {
        /// Which try.
        attempt: u32,
        /// What.
        execution: Execution,
    },
    /// The market settled the bid.
    Settled(Settlement),
    /// A reorg removed this.
    Retracted(MarketEvent),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Find out whether the bid is audited.
    Qualify,
    /// Run a slot.
    Run {
        /// Which.
        slot: u32,
    },
    /// Ask again for what a slot missed.
    Recheck {
        /// Which.
        slot: u32,
    },
    /// Keep a slot's outcome.
    Close {
        /// Which.
        slot: u32,
        /// How it ended.
        outcome: Outcome,
    },
    /// Write the evidence.
    Testify {
        /// The verdict in it.
        verdict: Verdict,
    },
    /// See whether any vote is paid.
    LookForPayout,
    /// Send the vote.
    Vote {
        /// Which.
        valid: bool,
        /// The evidence's digest.
        evidence: Digest,
        /// Of no use after this.
        deadline: Option<ChainTime>,
    },
    /// See whose turn it is to settle.
    LookAtBid,
    /// Send a settle.
    Settle {
        /// How many came to nothing before.
        attempt: u32,
    },
}

/// What does not change while one event is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Which bid.
    pub bid: BidKey,
    /// This node's account.
    pub me: Address,
    /// The market's rules.
    pub rules: &'a MarketRules,
    /// How strictly is audited.
    pub policy: &'a Policy,
    /// The plan; `None` until the bid is qualified.
    pub plan: Option<Plan>,
    /// The slots with what they learnt.
    pub slots: &'a [Slot],
    /// Other endpoints that answered.
    pub elsewhere: &'a [Elsewhere],
    /// Seconds behind the end that this node lets pass before it votes.
    pub jitter: u64,
}

/// Chain time, in two depths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Of the newest block: it rules when something is asked.
    pub head: ChainTime,
    /// Of the newest block that is deep enough to act on: it rules when a vote goes out.
    pub deep: ChainTime,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// The stage from now on.
    pub next: Stage,
    /// What to do.
    pub effects: Vec<Effect>,
}

impl Step {
    fn to(next: Stage, effects: impl Into<Vec<Effect>>) -> Self {
        Self { next, effects: effects.into() }
    }
}

impl Stage {
    /// The stage's name, as in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Due => "due",
            Self::Watching { .. } => "watching",
            Self::Challenging { .. } => "challenging",
            Self::Contained { .. } => "contained",
            Self::Decided { .. } => "decided",
            Self::Voting { .. } => "voting",
            Self::Voted { .. } => "voted",
            Self::Abstained { .. } => "abstained",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// From when on a [`Event::Tick`] may change something; `None` if none ever does.
    pub fn wakes_at(&self) -> Option<ChainTime> {
        match self {
            Self::Due | Self::Challenging { .. } => Some(ChainTime(0)),
            Self::Watching { due, .. } => Some(*due),
            Self::Contained { recheck_at, .. } => Some(*recheck_at),
            Self::Decided { vote_at, .. } => Some(*vote_at),
            Self::Voted { payout: Payout::Waiting { look_at, .. }, .. } => Some(*look_at),
            Self::Placed
            | Self::Voting { .. }
            | Self::Voted { .. }
            | Self::Abstained { .. }
            | Self::Skipped { .. } => None,
        }
    }

    /// Whether an announcement begins the audit: there is none yet, or a reorg took it back.
    pub fn may_be_announced(&self) -> bool {
        matches!(self, Self::Placed | Self::Skipped { reason: Skip::Retracted })
    }

    /// Whether nothing more is learnt and no vote will come: short of a reorg, and of the money.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Voted { .. } | Self::Abstained { .. } | Self::Skipped { .. })
    }
}

/// Decides what an event means. What changes nothing returns the same stage.
pub fn step(stage: &Stage, event: &Event, case: Case<'_>, now: Now) -> Step {
    let stay = || Step::to(stage.clone(), []);
    match event {
        Event::Announced if stage.may_be_announced() => Step::to(Stage::Due, [Effect::Qualify]),
        Event::Announced => stay(),
        Event::Qualified(Ok(())) if *stage == Stage::Due => watch(case, 0),
        Event::Qualified(Err(reason)) if *stage == Stage::Due => skipped(reason),
        Event::Qualified(_) => stay(),
        Event::Tried(standing) => match stage {
            Stage::Challenging { slot } => tried(*slot, standing, case, now),
            _ => stay(),
        },
        Event::Rechecked(standing) => match stage {
            Stage::Contained { slot, recheck_at } => rechecked(*slot, *recheck_at, standing, case, now),
            _ => stay(),
        },
        Event::Refused(reason) => match stage {
            Stage::Challenging { .. } | Stage::Contained { .. } => skipped(reason),
            _ => stay(),
        },
        Event::Testified(evidence) => match stage {
            Stage::Decided { verdict, .. } => testified(*verdict, *evidence, case, now),
            _ => stay(),
        },
        Event::PayoutSeen { paid } => match stage {
            Stage::Decided { .. } if *paid => abstained("the payout is triggered already"),
            Stage::Decided { verdict, .. } => {
                Step::to(stage.clone(), [Effect::Testify { verdict: *verdict }])
            }
            _ => stay(),
        },
        Event::BidSeen { settled, turn } => match stage {
            Stage::Voted { valid, evidence, payout: Payout::Waiting { attempt, .. } } => {
                let (payout, effects) = paying(*settled, *turn, *attempt, now);
                Step::to(Stage::Voted { valid: *valid, evidence: *evidence, payout }, effects)
            }
            _ => stay(),
        },
        Event::VoteEnded(execution) => match stage {
            Stage::Voting { valid, evidence } => voted(*valid, *evidence, execution, case),
            _ => stay(),
        },
        Event::SettleEnded { attempt, execution } => settle_ended(stage, *attempt, execution, case, now),
        Event::Settled(how) => settled(stage, *how),
        Event::Retracted(told) => retracted(stage, told),
        Event::Tick => tick(stage, case, now),
    }
}

/// The effects that a stage needs again after a restart. What is only asked of the world comes again with the
/// next [`Event::Tick`]; what is durable finds its key.
pub fn resume(stage: &Stage, case: Case<'_>) -> Vec<Effect> {
    match stage {
        Stage::Voting { valid, evidence } => {
            vec![Effect::Vote { valid: *valid, evidence: *evidence, deadline: deadline(case) }]
        }
        Stage::Voted { payout: Payout::Asked { attempt }, .. } => vec![Effect::Settle { attempt: *attempt }],
        Stage::Placed
        | Stage::Due
        | Stage::Watching { .. }
        | Stage::Challenging { .. }
        | Stage::Contained { .. }
        | Stage::Decided { .. }
        | Stage::Voted { .. }
        | Stage::Abstained { .. }
        | Stage::Skipped { .. } => vec![],
    }
}
