//! Reads every event of the market once, deep enough to act on, and undoes what a reorg removed.
//!
//! Owns: the journal of facts, the blocks, the chain's status.  Hears: nothing; it polls.
//! Says: [`BidPlaced`], [`BidAccepted`], [`BidPinned`], [`VoteRecorded`], [`Settled`], [`Retracted`],
//! [`HeadMoved`]. On restart: goes on behind the newest block in the store, whose hash it checks first.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use serde::Deserialize;

use crate::domain::market::{BidKey, MarketEvent};
use crate::domain::units::{BlockHeight, ChainTime};
use crate::line::Lines;
use crate::ports::chain::{self, Chain};
use crate::ports::clock::Clock;
use crate::ports::store::{self, Batch, Store};
use crate::records::journal::Fact;
use crate::records::meta::ChainStatus;
use crate::supervised;
use crate::supervisor::Guard;

mod reader;
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

/// The reader of one market on one chain.
pub struct ChainListener {
    config: Config,
    ports: Ports,
    outbox: Outbox,
    reader: Rc<Reader>,
    _guard: Guard,
}

impl ChainListener {
    /// A listener that begins to poll when it is started.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        let reader = Rc::new(Reader::new(config.clone(), ports.clone()));
        Self { config, ports, outbox, reader, _guard: guard }
    }

    /// One poll, then the next after a pause; the next begins only when this one is over.
    fn poll(&mut self, ctx: &mut Context<Self>) {
        let reader = Rc::clone(&self.reader);
        let poll = async move { reader.read().await }.into_actor(self);
        ctx.spawn(poll.map(|(facts, moved, outcome), this, ctx| {
            this.announce(&facts, moved);
            let again = match outcome {
                Ok(true) => Duration::ZERO,
                Ok(false) => Duration::from_millis(this.config.poll_ms),
                Err(trouble) => {
                    this.note(&trouble);
                    Duration::from_millis(this.config.poll_ms)
                }
            };
            ctx.run_later(again, Self::poll);
        }));
    }

    /// Tells of what is in the store now.
    fn announce(&self, facts: &[Fact], moved: Option<ChainTime>) {
        for fact in facts {
            let Some(bid) = fact.bid() else { continue };
            if fact.retracted {
                self.outbox.retracted.tell(&Retracted { bid });
                continue;
            }
            match fact.event {
                MarketEvent::BidPlaced { .. } => {
                    self.outbox.placed.tell(&BidPlaced { bid });
                }
                MarketEvent::Accepted { .. } => {
                    self.outbox.accepted.tell(&BidAccepted { bid });
                }
                MarketEvent::Pinned { .. } => {
                    self.outbox.pinned.tell(&BidPinned { bid });
                }
                MarketEvent::Voted { .. } => {
                    self.outbox.voted.tell(&VoteRecorded { bid });
                }
                MarketEvent::Settled { .. } => {
                    self.outbox.settled.tell(&Settled { bid });
                }
                _ => {}
            }
        }
        if let Some(time) = moved {
            self.outbox.heads.tell(&HeadMoved { time });
        }
    }

    /// Tells of trouble; past finality it is written down, so that nobody sends any more.
    fn note(&self, trouble: &Trouble) {
        tracing::warn!(trouble = %trouble, "the chain could not be read");
        if !matches!(trouble, Trouble::PastFinality(_)) {
            return;
        }
        let halt = || -> Result<(), store::Error> {
            let Some(mut status) = ChainStatus::read(&*self.ports.store)? else { return Ok(()) };
            status.halted = Some(trouble.to_string());
            let mut batch = Batch::new();
            batch.put(&status);
            self.ports.store.commit(batch)
        };
        if let Err(error) = halt() {
            tracing::error!(%error, "the halt could not be written down");
        }
    }
}

impl Actor for ChainListener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

supervised!(ChainListener);
