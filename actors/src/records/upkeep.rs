//! What came of comparing the pins in the store with those that the backend has.

use serde::{Deserialize, Serialize};

use crate::domain::units::WallTime;
use crate::ports::store::{self, Record, Store, Table};

/// The newest comparison, and what was mended since the store was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Upkeep {
    /// When the backend was asked last for all its pins, and answered.
    pub looked: Option<WallTime>,
    /// Roots that are needed, were pinned, and are not any more: they are being brought again.
    pub lost: u64,
    /// Of these, those that wait for the disk: what is missing of them would leave it less than its floor.
    pub no_room: u64,
    /// Roots that were brought again.
    pub restored: u64,
}

impl Upkeep {
    const KEY: &'static [u8] = b"upkeep";

    /// The figures; none in a fresh store.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Self, store::Error> {
        Ok(store::read(store, Self::KEY)?.unwrap_or_default())
    }
}

impl Record for Upkeep {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}
