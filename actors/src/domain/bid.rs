//! The life of a bid that this node hosts, as a pure step.
//!
//! ```text
//! Declined                    ┌────────────── hold lapsed ───────────────┐
//!                             ▼                                          │
//! Admitted ──Start──▶ Accepting ──held──▶ Fetching ──content──▶ Announcing ──pinned──▶ Hosting
//!    ▲  somebody holds it │                                                              │ end, close
//!    └────────────────────┘     Lost(to) · Failed(reason)         Released(how) ◀── Settling
//! ```
//! Source of the windows: the market's rules (accept hold, duration, vote duration).

use serde::{Deserialize, Serialize};

use super::market::{BidTerms, Execution, MarketEvent, MarketRules, Settlement, Version};
use super::units::{Address, BidId, ChainTime};

mod holding;
mod settling;

pub use settling::{settle_again_in, Settle, LEGACY_PATIENCE, SETTLE_AGAIN_AFTER, SETTLE_AGAIN_WITHIN};

/// How often a bid is accepted anew after a hold lapsed: each accept costs gas.
pub const MAX_ACCEPTS: u32 = 3;
/// How often a bid is accepted anew where no accept was sent: the last try comes within nine hours.
pub const MAX_UNSENT: u32 = 10;
/// Seconds of chain time before an accept that the market did not take is tried anew: a reorg may have put it before
/// the bid itself.
pub const ACCEPT_AGAIN_AFTER: u64 = 60;
/// How far a bid has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// The filter said no.
    Declined {
        /// Why, in one word or a few.
        reason: String,
    },
    /// Wanted; waits for its turn.
    Admitted {
        /// Not before this chain time (somebody else's hold).
        not_before: ChainTime,
        /// How many accepts were sent before.
        attempt: u32,
    },
    /// The accept is the wallet's.
    Accepting {
        /// How many accepts were sent before this one.
        attempt: u32,
    },
    /// Ours to fetch until the hold ends.
    Fetching {
        /// End of the hold.
        hold_until: ChainTime,
        /// How many accepts were sent before this one.
        attempt: u32,
    },
    /// Pinned here; the announcement is the wallet's.
    Announcing {
        /// End of the hold.
        hold_until: ChainTime,
        /// How many accepts were sent before this one.
        attempt: u32,
    },
    /// Announced on chain: kept until the end.
    Hosting {
        /// When the duration began.
        pinned_at: ChainTime,
        /// When it ends.
        end: ChainTime,
        /// When the votes are closed; the end itself on the legacy market.
        close: ChainTime,
        /// How many accepts were sent before the one that holds.
        #[serde(default)]
        attempt: u32,
    },
    /// Over; the money is not decided yet.
    Settling {
        /// When the votes were closed.
        close: ChainTime,
        /// What is done about it.
        #[serde(default)]
        settle: Settle,
    },
    /// Over and decided; the content is let go.
    Released {
        /// How it ended; `None` where the legacy market never told.
        how: Option<Settlement>,
        /// How many settles of ours came to nothing: a reorg may make another one necessary.
        #[serde(default)]
        attempt: u32,
    },
    /// Somebody else's.
    Lost {
        /// Whose, where the chain told.
        to: Option<Address>,
    },
    /// It came to nothing.
    Failed {
        /// Why.
        reason: Failure,
    },
}

/// Why a bid came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "failure", content = "what", rename_all = "snake_case")]
pub enum Failure {
    /// The content is over the cap, or has a block that no validator could check.
    Content(String),
    /// The hold lapsed as often as we try.
    HoldExpired,
    /// The wallet gave up or the market refused.
    Transaction(String),
    /// A reorg removed the bid.
    Retracted,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a free place for it.
    Start,
    /// What became of our accept.
    AcceptEnded(Execution),
    /// What became of our announcement.
    AnnounceEnded(Execution),
    /// What became of our settle.
    SettleEnded(Execution),
    /// Every block is here, auditable, and pinned.
    Fetched,
    /// The content will never do.
    FetchFailed(String),
    /// The chain told something about this bid.
    Told(MarketEvent, ChainTime),
    /// A reorg took back what the chain had told.
    Retracted(MarketEvent),
    /// Time has passed.
    Tick,
}

/// What is to be done about it; durable with the stage, or derived from it again by [`resume`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send an accept.
    Accept {
        /// How many went before.
        attempt: u32,
    },
    /// Send the announcement.
    Announce {
        /// How many accepts went before.
        attempt: u32,
        /// Of no use after this.
        deadline: ChainTime,
    },
    /// Send a settle.
    Settle {
        /// How many came to nothing before.
        attempt: u32,
    },
    /// Keep the content for this bid.
    Keep,
    /// This bid needs the content no more.
    LetGo,
    /// Begin or go on to fetch.
    Fetch,
    /// Stop fetching; what came may stay.
    StopFetch,
}

/// What does not change about a bid while it is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Which bid.
    pub bid: BidId,
    /// Its terms.
    pub terms: &'a BidTerms,
    /// The market's rules.
    pub rules: &'a MarketRules,
    /// This node's account.
    pub me: Address,
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
            Self::Declined { .. } => "declined",
            Self::Admitted { .. } => "admitted",
            Self::Accepting { .. } => "accepting",
            Self::Fetching { .. } => "fetching",
            Self::Announcing { .. } => "announcing",
            Self::Hosting { .. } => "hosting",
            Self::Settling { .. } => "settling",
            Self::Released { .. } => "released",
            Self::Lost { .. } => "lost",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether nothing more will be done about the bid, short of a reorg.
    pub fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Declined { .. } | Self::Released { .. } | Self::Lost { .. } | Self::Failed { .. }
        )
    }

    /// Whether the bid's content is complete here and may be served.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Announcing { .. } | Self::Hosting { .. } | Self::Settling { .. })
    }
}

/// Decides what an event means for a bid at chain time `now`. What changes nothing returns the same stage.
pub fn step(stage: &Stage, event: &Event, case: Case<'_>, now: ChainTime) -> Step {
    let stay = || Step::to(stage.clone(), []);
    match event {
        Event::Start => match stage {
            Stage::Admitted { not_before, attempt } if now >= *not_before => {
                Step::to(Stage::Accepting { attempt: *attempt }, [Effect::Accept { attempt: *attempt }])
            }
            _ => stay(),
        },
        Event::AcceptEnded(execution) => match stage {
            Stage::Accepting { attempt } => holding::accepted(execution, *attempt, case, now),
            // A reorg mined it anew: the hold runs from there.
            Stage::Fetching { attempt, .. } => match holding::held_until(execution, case) {
                Some(hold_until) => Step::to(Stage::Fetching { hold_until, attempt: *attempt }, []),
                None => stay(),
            },
            _ => stay(),
        },
        Event::Fetched => match stage {
            Stage::Fetching { hold_until, attempt } => Step::to(
                Stage::Announcing { hold_until: *hold_until, attempt: *attempt },
                [Effect::Announce { attempt: *attempt, deadline: *hold_until }],
            ),
            _ => stay(),
        },
        Event::FetchFailed(reason) => match stage {
            Stage::Fetching { .. } => Step::to(
                Stage::Failed { reason: Failure::Content(reason.clone()) },
                [Effect::StopFetch, Effect::LetGo],
            ),
            _ => stay(),
        },
        Event::AnnounceEnded(execution) => match stage {
            Stage::Announcing { hold_until, attempt } => {
                holding::announced(execution, *hold_until, *attempt, case, now)
            }
            Stage::Hosting { attempt, .. } => holding::announced_anew(execution, *attempt, case, now),
            _ => stay(),
        },
        Event::SettleEnded(execution) => settling::ended(stage, execution, case, now),
        Event::Told(told, at) => told_by_chain(stage, told, *at, case),
        Event::Retracted(told) => retracted(stage, told),
        Event::Tick => match stage {
            Stage::Fetching { hold_until, attempt } if now >= *hold_until => {
                holding::lapsed(*hold_until, *attempt)
            }
            Stage::Hosting { close, .. } if now >= *close => settling::begin(*close, case),
            Stage::Settling { close, settle } => settling::tick(*close, settle, now),
            _ => stay(),
        },
    }
}

/// The effects that a stage needs again after a restart. All are idempotent: the durable ones find their keys.
pub fn resume(stage: &Stage) -> Vec<Effect> {
    match stage {
        Stage::Accepting { attempt } => vec![Effect::Accept { attempt: *attempt }],
        Stage::Fetching { .. } => vec![Effect::Keep, Effect::Fetch],
        Stage::Announcing { hold_until, attempt } => {
            vec![Effect::Keep, Effect::Announce { attempt: *attempt, deadline: *hold_until }]
        }
        Stage::Hosting { .. } => vec![Effect::Keep],
        Stage::Settling { settle: Settle::Asked { attempt }, .. } => {
            vec![Effect::Keep, Effect::Settle { attempt: *attempt }]
        }
        Stage::Settling { .. } => vec![Effect::Keep],
        Stage::Declined { .. }
        | Stage::Admitted { .. }
        | Stage::Released { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. } => vec![],
    }
}

fn told_by_chain(stage: &Stage, told: &MarketEvent, at: ChainTime, case: Case<'_>) -> Step {
    let stay = || Step::to(stage.clone(), []);
    match told {
        MarketEvent::Accepted { hoster, when, .. } if *hoster != case.me => match stage {
            // Nothing is spent yet: come back when that hold is over.
            Stage::Admitted { attempt, .. } => Step::to(
                Stage::Admitted { not_before: when.plus(case.rules.accept_hold), attempt: *attempt },
                [],
            ),
            _ => stay(),
        },
        MarketEvent::Pinned { hoster, .. } if *hoster != case.me => match stage {
            Stage::Admitted { .. }
            | Stage::Accepting { .. }
            | Stage::Fetching { .. }
            | Stage::Announcing { .. } => {
                Step::to(Stage::Lost { to: Some(*hoster) }, [Effect::StopFetch, Effect::LetGo])
            }
            _ => stay(),
        },
        // After a reorg the number went to another bid.
        MarketEvent::BidPlaced { .. } if !case.terms.are_of(told) && !stage.is_over() => retracted_for_good(),
        MarketEvent::Settled { outcome, .. } if !stage.is_over() => settling::settled(stage, *outcome),
        // On the legacy market the first vote after the end pays out.
        MarketEvent::Voted { .. } if case.rules.version == Version::Legacy => match stage {
            Stage::Hosting { end, .. } if at >= *end => settling::paid_by_a_vote(),
            Stage::Settling { close, .. } if at >= *close => settling::paid_by_a_vote(),
            _ => stay(),
        },
        _ => stay(),
    }
}

fn retracted(stage: &Stage, told: &MarketEvent) -> Step {
    let stay = || Step::to(stage.clone(), []);
    match (told, stage) {
        // Nothing is spent yet: if it is placed again, it is judged again.
        (MarketEvent::BidPlaced { .. }, Stage::Admitted { attempt: 0, .. }) => retracted_for_good(),
        // Else its transaction is mined again sooner or later, and ours behind it: if not, they fail.
        (MarketEvent::Settled { .. }, Stage::Released { attempt, .. }) => settling::taken_back(*attempt),
        // Our own accept and announcement: the wallet sends them again and tells the outcome anew.
        _ => stay(),
    }
}

fn retracted_for_good() -> Step {
    Step::to(Stage::Failed { reason: Failure::Retracted }, [Effect::StopFetch, Effect::LetGo])
}

#[cfg(test)]
mod tests;
