//! How a validator learns whether a hoster keeps a bid's content: when it asks, what, and what follows.
//!
//! All of it is pure. Time comes in as chain time, secrets and the world's answers as arguments; the same
//! functions decide in the node and, from an evidence file, in the hands of anybody who doubts it.

use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};

use super::units::{BlockHash, BlockHeight, ChainTime, Digest};

pub mod draw;
pub mod life;
pub mod schedule;
pub mod secrets;
pub mod seed;
pub mod slot;
pub mod vote;
pub mod walk;

/// Keccak-256 of the parts, one behind the other.
pub fn keccak(parts: &[&[u8]]) -> Digest {
    let mut hash = Keccak256::new();
    parts.iter().for_each(|part| hash.update(part));
    Digest(hash.finalize().into())
}

/// A block of the chain to which a slot is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// Its number.
    pub number: BlockHeight,
    /// Its hash.
    pub hash: BlockHash,
    /// Its timestamp.
    pub time: ChainTime,
}

/// How strictly a validator audits. It stands in every evidence file, so that the numbers can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// A loss of this share of all blocks, in basis points, …
    pub loss_bp: u32,
    /// … is found in one slot with this probability, in basis points.
    pub confidence_bp: u32,
    /// Milliseconds between the two fresh connections that confirm that a block is missing.
    pub confirm_gap_ms: u64,
    /// Milliseconds that one question may take.
    pub leaf_timeout_ms: u64,
    /// Seconds of chain time after which what was missing is asked for again.
    pub recheck_after: u64,
    /// Seconds of chain time for which a slot may still run after its stratum (not the last).
    pub grace: u64,
    /// How often a silent hoster is tried in one slot, at least.
    pub dark_tries: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            loss_bp: 500,
            confidence_bp: 9_500,
            confirm_gap_ms: 60_000,
            leaf_timeout_ms: 15_000,
            recheck_after: 3_600,
            grace: 3_600,
            dark_tries: 3,
        }
    }
}
