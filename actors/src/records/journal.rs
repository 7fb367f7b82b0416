//! The two journals, facts of the chain and outcomes of intents, and the cursors of their readers.
//!
//! A journal only grows. A fact enters it when its block is `confirmations` deep; if a deeper reorg removes
//! it all the same, a second entry says so ([`Fact::retracted`]). A reader keeps a cursor; it moves in the
//! same batch as what the reader made of the entries, so every entry is absorbed exactly once.

use serde::{Deserialize, Serialize};

use super::intent::IntentKey;
use crate::domain::market::{BidKey, Execution, Market, MarketCall, MarketEvent, Position};
use crate::domain::units::{Address, BlockHash, BlockHeight, ChainTime, Digest};
use crate::ports::store::{self, Batch, Order, Record, Store, Table};

mod compact;

/// Something that the chain told, deep enough to act on; or its retraction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Its place in the journal, from 1.
    pub seq: u64,
    /// Whose contract told it.
    pub market: Market,
    /// Where it stands in the chain.
    pub at: Position,
    /// What it says.
    pub event: MarketEvent,
    /// True: a reorg removed the event, and with it the journal's earlier entry for the same position.
    pub retracted: bool,
}

impl Fact {
    /// The bid that it is about, if it is about one.
    pub fn bid(&self) -> Option<BidKey> {
        self.event.bid().map(|id| BidKey { market: self.market, id })
    }
}

impl Record for Fact {
    const TABLE: Table = Table::Facts;
    fn key(&self) -> Vec<u8> {
        self.seq.to_be_bytes().to_vec()
    }
    fn to_doc(&self) -> serde_json::Result<Vec<u8>> {
        Ok(compact::encode(self))
    }
    fn from_row(key: &[u8], doc: &[u8]) -> serde_json::Result<Self> {
        if doc.first() == Some(&b'{') {
            // An older program wrote it.
            return serde_json::from_slice(doc);
        }
        let fact = key.try_into().ok().and_then(|seq| compact::decode(u64::from_be_bytes(seq), doc));
        fact.ok_or_else(|| serde::de::Error::custom("not a fact of a known version"))
    }
}

/// What became of an intent. The same intent may have several: a reorg can take one back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its place in the journal, from 1.
    pub seq: u64,
    /// Which intent.
    pub intent: IntentKey,
    /// On which market.
    pub market: Market,
    /// What it wanted.
    pub call: MarketCall,
    /// What came of it.
    pub result: Execution,
}

impl Record for Outcome {
    const TABLE: Table = Table::Outcomes;
    fn key(&self) -> Vec<u8> {
        self.seq.to_be_bytes().to_vec()
    }
}

/// How far a reader of a journal has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// `READER:JOURNAL`.
    pub name: String,
    /// The last sequence absorbed.
    pub seq: u64,
}

impl Record for Cursor {
    const TABLE: Table = Table::Cursors;
    fn key(&self) -> Vec<u8> {
        self.name.clone().into_bytes()
    }
}

/// An entry of a journal.
pub trait Entry: Record {
    /// The journal's name.
    const JOURNAL: &'static str;
    /// Its place in the journal.
    fn seq(&self) -> u64;
}

impl Entry for Fact {
    const JOURNAL: &'static str = "facts";
    fn seq(&self) -> u64 {
        self.seq
    }
}

impl Entry for Outcome {
    const JOURNAL: &'static str = "outcomes";
    fn seq(&self) -> u64 {
        self.seq
    }
}

fn cursor_name<E: Entry>(reader: &str) -> String {
    format!("{reader}:{}", E::JOURNAL)
}

/// Up to `limit` entries that a reader has not absorbed yet, in order.
///
/// # Errors
/// If the store fails.
pub fn unread<E: Entry>(store: &dyn Store, reader: &str, limit: usize) -> Result<Vec<E>, store::Error> {
    let seen = store::read::<Cursor>(store, cursor_name::<E>(reader).as_bytes())?.map_or(0, |c| c.seq);
    store::list_from(store, &(seen + 1).to_be_bytes(), limit)
}

/// Whether a reader has absorbed everything before `entry`.
///
/// # Errors
/// If the store fails.
pub fn has_read_up_to<E: Entry>(store: &dyn Store, reader: &str, entry: &E) -> Result<bool, store::Error> {
    let seen = store::read::<Cursor>(store, cursor_name::<E>(reader).as_bytes())?.map_or(0, |c| c.seq);
    Ok(seen + 1 >= entry.seq())
}

/// Whether a later entry says that a reorg removed this one.
///
/// # Errors
/// If the store fails.
pub fn is_taken_back(store: &dyn Store, fact: &Fact) -> Result<bool, store::Error> {
    let later = store::list_from::<Fact>(store, &(fact.seq + 1).to_be_bytes(), usize::MAX)?;
    Ok(later.iter().any(|later| later.retracted && (later.at, &later.event) == (fact.at, &fact.event)))
}

/// Moves a reader's cursor to behind `entry`, in the batch of what the reader made of it.
pub fn absorb<E: Entry>(batch: &mut Batch, reader: &str, entry: &E) {
    batch.put(&Cursor { name: cursor_name::<E>(reader), seq: entry.seq() });
}

/// The sequence that the next entry of a journal gets.
///
/// # Errors
/// If the store fails.
pub fn next_seq<E: Entry>(store: &dyn Store) -> Result<u64, store::Error> {
    Ok(store::list::<E>(store, &[], Order::Descending, 1)?.first().map_or(1, |last| last.seq() + 1))
}

/// A block that the listener has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its number.
    pub number: BlockHeight,
    /// Its hash.
    pub hash: BlockHash,
    /// Its parent's hash.
    pub parent: BlockHash,
    /// Its timestamp.
    pub time: ChainTime,
}

impl Record for Block {
    const TABLE: Table = Table::Blocks;
    fn key(&self) -> Vec<u8> {
        self.number.0.to_be_bytes().to_vec()
    }
}

/// A log of the market's contracts that could not be decoded: parked for a person to look at, while the rest is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poison {
    /// Where it stands in the chain.
    pub at: Position,
    /// Which contract told it.
    pub by: Address,
    /// Its topics.
    pub topics: Vec<Digest>,
    /// The start of its data, in hex.
    pub data: String,
}

impl Poison {
    /// Bytes of data that are kept at most.
    pub const LONGEST: usize = 4_096;
    /// Logs that are kept at most; further ones are counted only.
    pub const MOST: u64 = 1_000;
}

impl Record for Poison {
    const TABLE: Table = Table::Poison;
    fn key(&self) -> Vec<u8> {
        [&self.at.block.0.to_be_bytes()[..], &self.at.log.to_be_bytes()].concat()
    }
}
