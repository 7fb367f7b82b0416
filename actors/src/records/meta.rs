//! Single documents about this store and the chain below it.

use serde::{Deserialize, Serialize};

use super::journal::Block;
use crate::domain::market::{Market, MarketRules};
use crate::domain::units::{Address, BlockHeight, ChainTime, WallTime};
use crate::ports::store::{self, Order, Record, Store, Table};

/// What the listener knows of the chain: who is ready, and who decides by chain time, reads it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainStatus {
    /// The market that new bids are taken from. It changes only where a Router alone names it: see
    /// [`following`](super::following), which knows the others and by which rules each plays.
    pub market: Market,
    /// Its rules.
    pub rules: MarketRules,
    /// The newest block seen, not yet deep enough to act on.
    pub head: BlockHeight,
    /// That block's timestamp.
    pub head_time: ChainTime,
    /// The newest final block seen.
    pub finalized: BlockHeight,
    /// The latest timestamp that any head had so far.
    #[serde(default)]
    pub newest_time: ChainTime,
    /// When that was first seen, by this machine. A provider that falls back and catches up again brings nothing new.
    pub head_changed: WallTime,
    /// Logs that could not be decoded, so far.
    pub poison: u64,
    /// Why the listener has stopped for good: a reorg past finality. Nothing is sent then.
    pub halted: Option<String>,
}

impl ChainStatus {
    const KEY: &'static [u8] = b"chain";

    /// The status, if the listener has ever written it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Option<Self>, store::Error> {
        store::read(store, Self::KEY)
    }
}

impl Record for ChainStatus {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

/// Up to where the blocks that the listener has read are known to be final: none of them may ever be undone.
///
/// Less than the chain's finality: what was read before a reorg and looked at only after it was never final.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadForGood {
    /// The highest of them.
    pub height: BlockHeight,
}

impl ReadForGood {
    const KEY: &'static [u8] = b"read_for_good";

    /// The mark; 0 in a fresh store.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Self, store::Error> {
        Ok(store::read(store, Self::KEY)?.unwrap_or_default())
    }
}

impl Record for ReadForGood {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

/// Chain time by which decisions are taken: that of the newest block that is deep enough. 0 before the first.
///
/// # Errors
/// If the store fails.
pub fn chain_now(store: &dyn Store) -> Result<ChainTime, store::Error> {
    Ok(newest_block(store)?.map_or(ChainTime(0), |block| block.time))
}

/// The newest block whose facts are in the journal.
///
/// # Errors
/// If the store fails.
pub fn newest_block(store: &dyn Store) -> Result<Option<Block>, store::Error> {
    Ok(store::list::<Block>(store, &[], Order::Descending, 1)?.pop())
}

/// Whose store this is: a node never runs on with another account's intents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account.
    pub address: Address,
}

impl Account {
    const KEY: &'static [u8] = b"account";

    /// The account, if one was ever set.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Option<Self>, store::Error> {
        store::read(store, Self::KEY)
    }
}

impl Record for Account {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}
