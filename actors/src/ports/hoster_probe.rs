//! Asks one hoster, at the endpoint that it registered, for one block.

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::domain::market::BidKey;
use crate::domain::units::Address;

/// One question to one hoster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The endpoint as registered, such as `https://hoster.example`. Vetted by the adapter, each time anew.
    pub endpoint: String,
    /// Whose endpoint it should be.
    pub hoster: Address,
    /// For which bid; `None` for the probe `bafkqaaa`.
    pub bid: Option<BidKey>,
    /// Which block.
    pub cid: Cid,
    /// At most so many bytes of body are read.
    pub max_bytes: u64,
    /// The whole exchange may take so many milliseconds.
    pub timeout_ms: u64,
    /// Use a connection of its own, not one that an earlier question left open.
    pub fresh: bool,
}

/// What came back. The bytes are a stranger's: the caller hashes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP's status.
    pub status: u16,
    /// The body, complete.
    pub body: Vec<u8>,
}

/// Why there was no complete answer: all of it counts as dark, none of it as missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", content = "what", rename_all = "snake_case")]
pub enum Error {
    /// The endpoint's address or URL is one that we do not dial.
    #[error("the endpoint is not one that may be dialled: {0}")]
    Forbidden(String),
    /// No connection, or it broke.
    #[error("the endpoint could not be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the endpoint took longer than {0} ms")]
    TimedOut(u64),
    /// It sent more than was allowed.
    #[error("the answer is over {0} bytes")]
    TooLarge(u64),
}

/// The way to a hoster.
pub trait HosterProbe {
    /// Asks, without redirects, proxies or decompression.
    fn ask(&self, ask: Ask) -> Answer<'_, Reply, Error>;
}
