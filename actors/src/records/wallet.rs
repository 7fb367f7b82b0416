//! What the wallet keeps: signed transactions until they are final, the nonces given out, and what was spent.

use serde::{Deserialize, Serialize};

use super::intent::{Intent, IntentKey, IntentState};
use crate::domain::market::{Abandonment, Market, MarketCall};
use crate::domain::units::{Address, BlockHash, BlockHeight, TxHash, WallTime, Wei};
use crate::domain::wallet::fees::Fees;
use crate::ports::store::{self, Order, Record, Store, Table};

/// A signed transaction. It is durable before it is sent (I2), and forgotten when its nonce is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its nonce.
    pub nonce: u64,
    /// Which attempt at that nonce, from 0.
    pub number: u32,
    /// Which intent owns the nonce; `None` where it only fills a gap.
    pub intent: Option<IntentKey>,
    /// What it calls.
    pub call: MarketCall,
    /// Why it only takes the nonce instead of doing what its intent wants.
    pub gives_up: Option<Abandonment>,
    /// Units of gas at most.
    pub gas_limit: u64,
    /// What it pays for gas.
    pub fees: Fees,
    /// Its bytes as the network wants them.
    #[serde(with = "hex_text")]
    pub raw: Vec<u8>,
    /// Its hash.
    pub tx: TxHash,
    /// When it was signed.
    pub signed_at: WallTime,
    /// When a provider first took it. `None` does not mean that none has.
    pub accepted_at: Option<WallTime>,
    /// Where it was mined when its outcome was journaled.
    pub mined: Option<Mined>,
}

/// Where an attempt was mined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mined {
    /// The block's number.
    pub block: BlockHeight,
    /// The block's hash.
    pub hash: BlockHash,
    /// When its outcome was journaled: the time of its [`Spend`].
    pub at: WallTime,
    /// False once a reorg has taken it back.
    pub standing: bool,
}

impl Attempt {
    /// The most that it can cost, in wei.
    pub fn worst(&self) -> Wei {
        crate::domain::wallet::spend::worst(self.gas_limit, self.fees.max_fee, self.call.value())
    }
}

impl Record for Attempt {
    const TABLE: Table = Table::Attempts;
    fn key(&self) -> Vec<u8> {
        let mut key = self.nonce.to_be_bytes().to_vec();
        key.extend(self.number.to_be_bytes());
        key
    }
}

/// All attempts whose nonces are not final, by nonce and number.
///
/// # Errors
/// If the store fails.
pub fn attempts(store: &dyn Store) -> Result<Vec<Attempt>, store::Error> {
    store::list(store, &[], Order::Ascending, MANY)
}

/// What a person wants done about an intent that has a nonce. It stands until it is done, or until there is nothing
/// left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// About which intent.
    pub intent: IntentKey,
    /// What.
    pub act: Act,
    /// Since when.
    pub at: WallTime,
}

/// What can be wanted of a transaction that is not mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// A transfer of nothing should take its nonce.
    Cancel,
    /// A dearer one should replace it at once.
    Bump {
        /// The number of the attempt to be replaced.
        attempt: u32,
    },
}

impl Instruction {
    const PREFIX: &'static str = "wallet-instruction:";
}

impl Record for Instruction {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        let act = match self.act {
            Act::Cancel => "cancel",
            Act::Bump { .. } => "bump",
        };
        format!("{}{act}:{}", Self::PREFIX, self.intent).into_bytes()
    }
}

/// All instructions that stand.
///
/// # Errors
/// If the store fails.
pub fn instructions(store: &dyn Store) -> Result<Vec<Instruction>, store::Error> {
    store::list(store, Instruction::PREFIX.as_bytes(), Order::Ascending, MANY)
}

/// The wallet's own withdrawal from a market that is not mined yet, if there is one: a second one would find nothing.
/// So many were wanted so far, on all markets together.
///
/// # Errors
/// If the store fails.
pub fn under_way(
    store: &dyn Store,
    market: Market,
    account: Address,
    withdrawals: u64,
) -> Result<Option<IntentKey>, store::Error> {
    for number in (0..withdrawals).rev() {
        let key = IntentKey::of_account("withdraw", market, account, number);
        // The newest of this market; those in between went elsewhere.
        if let Some(intent) = store::read::<Intent>(store, key.0.as_bytes())? {
            let open = matches!(intent.state, IntentState::Queued | IntentState::InFlight { .. });
            return Ok(open.then_some(key));
        }
    }
    Ok(None)
}

/// More attempts or spends than a node makes in a window.
const MANY: usize = 100_000;

/// What a transaction cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// When its outcome was journaled.
    pub at: WallTime,
    /// Its nonce.
    pub nonce: u64,
    /// Gas times price, and the value if it did not revert.
    pub wei: Wei,
}

impl Record for Spend {
    const TABLE: Table = Table::Spend;
    fn key(&self) -> Vec<u8> {
        let mut key = self.at.0.to_be_bytes().to_vec();
        key.extend(self.nonce.to_be_bytes());
        key
    }
}

/// What was spent since a moment.
///
/// # Errors
/// If the store fails.
pub fn spent_since(store: &dyn Store, start: WallTime) -> Result<Vec<Spend>, store::Error> {
    store::list_from(store, &start.0.to_be_bytes(), MANY)
}

/// How far the account's counters have come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// The lowest nonce never given out.
    pub next: u64,
    /// All nonces below are final.
    pub final_below: u64,
    /// The number of the next withdrawal.
    pub withdrawals: u64,
    /// The account's nonce when this store first saw it.
    #[serde(default)]
    pub floor: Option<u64>,
    /// Nonces from there on that were used by transactions which this store does not know.
    #[serde(default)]
    pub foreign: u64,
}

impl Counters {
    const KEY: &'static [u8] = b"wallet";

    /// The counters; all 0 in a fresh store.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Self, store::Error> {
        Ok(store::read(store, Self::KEY)?.unwrap_or_default())
    }
}

impl Record for Counters {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

mod hex_text {
    use serde::{de, Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(bytes))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(d)?).map_err(de::Error::custom)
    }
}
