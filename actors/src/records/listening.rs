//! How listening goes: what status and metrics tell of it, and how far final blocks were read again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::market::Position;
use crate::domain::units::BlockHeight;
use crate::ports::store::{self, Order, Record, Store, Table};

/// The listener's own figures since the store was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listening {
    /// Blocks asked for at once at the moment.
    pub range: u64,
    /// Reorgs that removed blocks which were read, by how many.
    pub reorgs: BTreeMap<u64, u64>,
    /// Polls that did not get through, by kind of trouble.
    pub errors: BTreeMap<String, u64>,
    /// The pass that reads final blocks again.
    pub second_reading: SecondReading,
    /// Why what the Router says is not followed; `None` while it is.
    pub router: Option<String>,
}

/// How far final blocks were read a second time, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SecondReading {
    /// The next block to read again.
    pub next: BlockHeight,
    /// The first entry of the journal that may be about it or a later one.
    pub seq: u64,
    /// Whole passes so far.
    pub passes: u64,
    /// Events found that the first reading had not been shown: they are in the journal since.
    pub missed: u64,
    /// Events of the journal that were not shown again, or not as they were.
    pub vanished: u64,
}

impl Listening {
    const KEY: &'static [u8] = b"listening";

    /// The figures; none in a fresh store.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Self, store::Error> {
        Ok(store::read(store, Self::KEY)?.unwrap_or_default())
    }
}

impl Record for Listening {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

/// An event that only the second reading found, or one of a market's history: its entry stands in the journal behind
/// those of later blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Where the event stands in the chain.
    pub at: Position,
    /// Where its entry stands in the journal.
    pub seq: u64,
}

impl Late {
    const PREFIX: &'static [u8] = b"late:";

    /// Whether the event at that place was read late.
    ///
    /// # Errors
    /// If the store fails.
    pub fn is(store: &dyn Store, at: &Position) -> Result<bool, store::Error> {
        Ok(store::read::<Self>(store, &Self::key_of(at))?.is_some())
    }

    /// The events of these blocks, both ends included, that were read late.
    ///
    /// # Errors
    /// If the store fails.
    pub fn of(store: &dyn Store, first: BlockHeight, last: BlockHeight) -> Result<Vec<Self>, store::Error> {
        let from = [Self::PREFIX, &first.0.to_be_bytes()].concat();
        let until = [Self::PREFIX, &last.0.saturating_add(1).to_be_bytes()].concat();
        let rows = store.scan(Self::TABLE, &from, Some(&until), Order::Ascending, usize::MAX)?;
        rows.iter().map(|(key, doc)| store::decode(key, doc)).collect()
    }

    fn key_of(at: &Position) -> Vec<u8> {
        [Self::PREFIX, &at.block.0.to_be_bytes()[..], &at.log.to_be_bytes()].concat()
    }
}

impl Record for Late {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::key_of(&self.at)
    }
}
