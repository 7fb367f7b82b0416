//! Reads every event of the market once, deep enough to act on, and undoes what a reorg removed.
//!
//! Final blocks are read by ranges side by side, the rest block by block with its parent checked; final blocks are read
//! a second time at leisure. What an answer is worth is decided in [`domain::listening`](crate::domain::listening),
//! which markets are read in [`domain::following`](crate::domain::following).
//!
//! Owns: the journal of facts, the blocks, parked logs, the chain's status, the markets that are followed.  Hears: nothing; it polls.
//! Says: [`BidPlaced`], [`BidAccepted`], [`BidPinned`], [`VoteRecorded`], [`Settled`], [`Retracted`],
//! [`HeadMoved`]. On restart: goes on behind the newest block in the store, whose hash it checks first.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use serde::Deserialize;

use crate::acting_as;
use crate::domain::market::BidKey;
use crate::domain::units::{BlockHeight, ChainTime};
use crate::line::Lines;
use crate::ports::chain::{self, Chain};
use crate::ports::clock::Clock;
use crate::ports::store::{self, Store};
use crate::supervised;
use crate::supervisor::Guard;
use crate::work::Works;

mod hints;
mod history;
mod ledger;
mod markets;
mod reader;
mod second_reading;
#[cfg(test)]
mod tests;

use reader::Reader;

macro_rules! hints {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
        #[rtype(result = "()")]
        pub struct $name {
            /// Which bid.
            pub bid: BidKey,
        })+
    };
}

hints! {
    /// A bid is open.
    BidPlaced,
    /// A hoster holds a bid.
    BidAccepted,
    /// A hoster announced that it has a bid's content.
    BidPinned,
    /// A validator voted.
    VoteRecorded,
    /// A bid's money is credited.
    Settled,
    /// A reorg removed something about a bid.
    Retracted,
}

/// There is a newer block to decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HeadMoved {
    /// Its timestamp.
    pub time: ChainTime,
}

/// Its name where it decides.
const READER: &str = "chain_listener";

/// How the chain is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The chain's id.
    pub chain_id: u64,
    /// The first block that is read; the market's deployment or later.
    pub start_block: u64,
    /// Blocks above an event before it is acted on.
    pub confirmations: u64,
    /// Milliseconds between two looks at the head.
    pub poll_ms: u64,
    /// Blocks of one ranged read at most.
    pub max_range: u64,
    /// Blocks below the head that count as final where the chain does not tell.
    pub finality_depth: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chain_id: 1,
            start_block: 0,
            confirmations: 12,
            poll_ms: 4_000,
            max_range: 2_000,
            finality_depth: 64,
        }
    }
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The chain.
    pub chain: Rc<dyn Chain>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
}

/// To whom it speaks.
#[derive(Clone, Default)]
pub struct Outbox {
    /// Told of open bids.
    pub placed: Lines<BidPlaced>,
    /// Told of accepts.
    pub accepted: Lines<BidAccepted>,
    /// Told of announcements.
    pub pinned: Lines<BidPinned>,
    /// Told of votes.
    pub voted: Lines<VoteRecorded>,
    /// Told of settlements.
    pub settled: Lines<Settled>,
    /// Told of what a reorg removed.
    pub retracted: Lines<Retracted>,
    /// Told of time.
    pub heads: Lines<HeadMoved>,
}

/// Why a poll did not get through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Chain(#[from] chain::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the provider is on chain {found}, not {wanted}")]
    WrongChain { found: u64, wanted: u64 },
    #[error("there is no market at the configured address")]
    NoMarket,
    #[error("a reorg went past finality: block {0} was final and is gone")]
    PastFinality(BlockHeight),
    #[error("the chain changed while it was read")]
    Moved,
}

impl Trouble {
    /// Its kind, for figures.
    fn kind(&self) -> &'static str {
        match self {
            Self::Chain(chain::Error::Unreachable { .. }) => "unreachable",
            Self::Chain(chain::Error::Refused { .. }) => "refused",
            Self::Chain(chain::Error::TooMuch { .. }) => "too_much",
            Self::Chain(chain::Error::Reverts { .. }) => "reverts",
            Self::Chain(chain::Error::Untrustworthy { .. }) => "untrustworthy",
            Self::Store(_) => "store",
            Self::WrongChain { .. } => "wrong_chain",
            Self::NoMarket => "no_market",
            Self::PastFinality(_) => "past_finality",
            Self::Moved => "moved",
        }
    }
}

/// The reader of a chain's markets.
pub struct ChainListener {
    reader: Rc<Reader>,
    _guard: Guard,
}

impl ChainListener {
    /// A listener that begins to poll when it is started.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        Self { reader: Rc::new(Reader::new(config, ports, outbox)), _guard: guard }
    }

    /// One poll, then the next after a pause; the next begins only when this one is over.
    fn poll(&mut self, ctx: &mut Context<Self>) {
        let reader = Rc::clone(&self.reader);
        let pause = Duration::from_millis(reader.config.poll_ms);
        let poll = async move { reader.read().await };
        ctx.work(acting_as!("chain_listener"), poll, move |outcome, _, ctx| {
            let again = match outcome {
                Ok(true) => Duration::ZERO,
                Ok(false) => pause,
                Err(trouble) => {
                    tracing::warn!(%trouble, "the chain could not be read");
                    pause
                }
            };
            ctx.run_later(again, Self::poll);
        });
    }
}

impl Actor for ChainListener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

supervised!(ChainListener);
