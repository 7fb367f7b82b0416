//! What a provider tells of a span's logs, and whether that can be right.
//!
//! A provider behind a load balancer answers "no logs" when the machine that was asked has not seen the block yet. So
//! the ends of a span must be known to the same exchange, and a block whose bloom filter names one of our contracts
//! but that has no log of ours is not believed at once.

use serde::{Deserialize, Serialize};

use crate::domain::market::{MarketEvent, Position};
use crate::domain::units::{Address, BlockHash, BlockHeight, ChainTime, Digest, Wei};

/// A block's header, as much of it as the node needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its number.
    pub number: BlockHeight,
    /// Its hash.
    pub hash: BlockHash,
    /// Its parent's hash.
    pub parent: BlockHash,
    /// Its timestamp.
    pub time: ChainTime,
    /// Wei a gas; `None` on chains without EIP-1559.
    pub base_fee: Option<Wei>,
}

/// Which logs to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All blocks from the first to the last, both included. Only for blocks that no reorg can reach.
    Range(BlockHeight, BlockHeight),
    /// The one block with this hash.
    Block(BlockHash, BlockHeight),
}

impl Span {
    /// The last block.
    pub fn last(self) -> BlockHeight {
        match self {
            Self::Range(_, last) | Self::Block(_, last) => last,
        }
    }
}

/// What a log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An event of the market.
    Known(MarketEvent),
    /// Nothing that could be decoded: an unknown event, or numbers that do not fit.
    Poison {
        /// Its topics.
        topics: Vec<Digest>,
        /// Its data.
        data: Vec<u8>,
    },
}

/// A log as a provider tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it stands.
    pub at: Position,
    /// Which contract told it.
    pub by: Address,
    /// Whether the provider says that a reorg removed it.
    pub removed: bool,
    /// What it says.
    pub said: Said,
}

/// What a provider told of a span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    /// The logs, in the provider's order.
    pub logs: Vec<Event>,
    /// The contracts whose logs were asked for.
    pub contracts: Vec<Address>,
    /// The span's first block as the same exchange told it; `None` if the provider does not know it.
    pub first: Option<Header>,
    /// Its last block, likewise.
    pub last: Option<Header>,
    /// Whether the bloom filter of a single block names one of the contracts; never for a range.
    pub named: bool,
}

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The provider's machine has not seen the block yet, or has another one there.
    #[error("block {0} is not known where its logs were asked for")]
    Unknown(BlockHeight),
    /// A log that is none any more.
    #[error("log {} of block {}, which a reorg removed", .0.log, .0.block)]
    Removed(Position),
    /// A log of a contract that nobody asked about.
    #[error("log {} of block {} is of {by}, which nobody asked for", .at.log, .at.block)]
    Foreign {
        /// Where it stands.
        at: Position,
        /// Whose it is.
        by: Address,
    },
    /// A log of another block.
    #[error("a log of block {} {}, which is not in the span", .0.block, .0.hash)]
    Outside(Position),
    /// Two logs with one index, or of two blocks with one number.
    #[error("two logs {} of block {}, in {} and {}", .0.log, .0.block, .0.hash, .1.hash)]
    Twice(Position, Position),
    /// A time that its neighbours rule out.
    #[error("block {} has the time {}, which can't be", .0.block, .0.time)]
    Untimely(Position),
    /// No logs, although the block's bloom filter names one of the contracts.
    #[error("no logs for block {0}, whose bloom filter names our contract")]
    Silent(BlockHeight),
}

/// Puts an answer in order, if it can be right: the span's ends are known, each log is one of ours in the span, in the
/// very block whose number it has, and stands there once.
///
/// # Errors
/// The first doubt. [`Doubt::Silent`] may come of chance: a filter names some contracts falsely.
pub fn examine(span: Span, answer: Events) -> Result<(Header, Vec<Event>, Header), Doubt> {
    let Events { mut logs, contracts, first, last, named } = answer;
    let (Some(first), Some(last)) = (first, last) else { return Err(Doubt::Unknown(span.last())) };
    let known = match span {
        Span::Range(from, to) => (first.number, last.number) == (from, to) && first.time <= last.time,
        Span::Block(hash, number) => (first.hash, first.number) == (hash, number) && first == last,
    };
    if !known {
        return Err(Doubt::Unknown(span.last()));
    }
    // Most providers keep the order; those that put several machines' answers together may not.
    logs.sort_by_key(|log| (log.at.block, log.at.log));
    let mut before: Option<&Position> = None;
    for Event { at, by, removed, .. } in &logs {
        if *removed {
            return Err(Doubt::Removed(*at));
        }
        if !contracts.contains(by) {
            return Err(Doubt::Foreign { at: *at, by: *by });
        }
        let is_end = |end: &Header| at.block != end.number || (at.hash, at.time) == (end.hash, end.time);
        if at.block < first.number || at.block > last.number || !is_end(&first) || !is_end(&last) {
            return Err(Doubt::Outside(*at));
        }
        if let Some(before) = before.filter(|before| before.block == at.block) {
            if before.log == at.log || before.hash != at.hash {
                return Err(Doubt::Twice(*before, *at));
            }
        }
        let same_time = before.is_none_or(|before| before.block != at.block || before.time == at.time);
        let floor = before.map_or(first.time, |before| before.time);
        if at.time < floor || at.time > last.time || !same_time {
            return Err(Doubt::Untimely(*at));
        }
        before = Some(at);
    }
    if logs.is_empty() && named {
        return Err(Doubt::Silent(span.last()));
    }
    Ok((first, logs, last))
}

#[cfg(test)]
mod tests;
