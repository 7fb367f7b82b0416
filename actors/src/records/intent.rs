//! Transactions that somebody wants: the outbox between those who decide and the wallet.
//!
//! An intent is written in the batch of the stage change that causes it. Its key makes its effect happen once:
//! whoever derives the same wish again finds it there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::market::{BidKey, Market, MarketCall};
use crate::domain::units::{Address, ChainTime, WallTime};
use crate::planted::{planted, Bug};
use crate::ports::store::{self, Batch, Record, Store, Table};

/// What makes an intent's effect happen once, such as `accept:1337:0x…:42`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntentKey(pub String);

impl fmt::Display for IntentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl IntentKey {
    /// A key for something done once a bid: `WHAT:CHAIN:MARKET:BID`, and `:TRY` from the second try on.
    pub fn of_bid(what: &str, bid: BidKey, attempt: u32) -> Self {
        match attempt {
            0 => Self(format!("{what}:{bid}")),
            n => Self(format!("{what}:{bid}:{n}")),
        }
    }
    /// Which try of something done once a bid; 0 for the first.
    pub fn attempt(&self) -> u32 {
        self.0.split(':').nth(4).and_then(|n| n.parse().ok()).unwrap_or_default()
    }
    /// A key for something that an account does many times: `WHAT:CHAIN:MARKET:ACCOUNT:N`.
    pub fn of_account(what: &str, market: Market, account: Address, n: u64) -> Self {
        Self(format!("{what}:{market}:{account}:{n}"))
    }
}

/// A transaction wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What makes its effect happen once.
    pub key: IntentKey,
    /// On which market.
    pub market: Market,
    /// What to call.
    pub call: MarketCall,
    /// Chain time after which it is of no use: it is not sent any more.
    pub deadline: Option<ChainTime>,
    /// When it was wanted.
    pub created: WallTime,
    /// How far it has come. The wallet alone changes it.
    pub state: IntentState,
}

/// How far an intent has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum IntentState {
    /// No nonce, no signature.
    Queued,
    /// It has a nonce and at least one signed attempt; whether any was sent stands with the attempts.
    InFlight {
        /// The nonce that it owns.
        nonce: u64,
    },
    /// An attempt is mined and its outcome is in the journal, but a reorg could still take it back.
    Confirmed {
        /// The nonce that it used.
        nonce: u64,
    },
    /// Over: its outcome is in the journal and final.
    Done,
}

impl Record for Intent {
    const TABLE: Table = Table::Intents;
    fn key(&self) -> Vec<u8> {
        self.key.0.clone().into_bytes()
    }
}

/// Puts an intent into the batch unless its key is known already: then the first one stands.
///
/// # Errors
/// If the store fails.
pub fn want(store: &dyn Store, batch: &mut Batch, intent: Intent) -> Result<(), store::Error> {
    let known = store::read::<Intent>(store, intent.key.0.as_bytes())?.is_some();
    if !known || planted(Bug::WantAgain) {
        batch.put(&intent);
    }
    Ok(())
}
