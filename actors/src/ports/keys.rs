//! The account's key: it signs, and never leaves.

use serde::{Deserialize, Serialize};

use crate::domain::market::MarketCall;
use crate::domain::units::{Address, TxHash, Wei};

/// What a transaction pays for gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    /// At most this many wei a gas in all (the gas price without EIP-1559).
    pub max_fee: Wei,
    /// Of it at most this much as a tip; `None` makes a transaction without EIP-1559.
    pub max_tip: Option<Wei>,
}

/// A transaction to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// The chain's id.
    pub chain: u64,
    /// The market's address; the adapter knows the Register's.
    pub market: Address,
    /// The account's nonce.
    pub nonce: u64,
    /// Units of gas at most.
    pub gas_limit: u64,
    /// What a unit of gas pays.
    pub fees: Fees,
    /// What to call.
    pub call: MarketCall,
}

/// A transaction ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its bytes as the network wants them.
    pub raw: Vec<u8>,
    /// Its hash.
    pub hash: TxHash,
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The signing library refused.
    #[error("could not sign: {0}")]
    Refused(String),
}

/// The holder of one account's key.
pub trait Keys {
    /// The account.
    fn address(&self) -> Address;
    /// Signs a transaction; the same input gives the same bytes (RFC 6979).
    ///
    /// # Errors
    /// If the library refuses.
    fn sign(&self, tx: &Unsigned) -> Result<Signed, Error>;
    /// Signs a message by EIP-191 (`personal_sign`): 65 bytes r, s, v with v of 27 or 28.
    ///
    /// # Errors
    /// If the library refuses.
    fn sign_message(&self, message: &[u8]) -> Result<[u8; 65], Error>;
}
