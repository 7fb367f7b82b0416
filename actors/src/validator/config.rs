//! What a validator audits, and how strictly.

use serde::{Deserialize, Serialize};

use crate::domain::audit::Policy;
use crate::domain::units::{ByteSize, Wei};

/// What is audited, and how strictly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A loss of this share of all blocks, in basis points (1/10,000), …
    pub loss_bp: u32,
    /// … is found in one slot with this probability, in basis points.
    pub confidence_bp: u32,
    /// Milliseconds between the two fresh connections that confirm that a block is missing.
    pub confirm_gap_ms: u64,
    /// Milliseconds that one question may take.
    pub leaf_timeout_ms: u64,
    /// Milliseconds that all questions of one slot may take, the index apart.
    pub slot_timeout_ms: u64,
    /// Milliseconds that the walk of an index may take; it is walked once a bid.
    pub index_timeout_ms: u64,
    /// Milliseconds that a registration file is waited for.
    pub registration_timeout_ms: u64,
    /// Seconds of chain time after which what was missing is asked for again.
    pub recheck_after: u64,
    /// Seconds of chain time for which a slot may still begin behind its stratum (not the last).
    pub grace: u64,
    /// How often a silent hoster is tried in one slot.
    pub dark_tries: u32,
    /// Seconds of chain time over which votes are spread behind the end of a bid.
    pub jitter: u64,
    /// Audits that ask at the same time.
    pub at_once: usize,
    /// Bytes: smaller content is not audited.
    pub min_size: ByteSize,
    /// Bytes: larger content is not audited.
    pub max_size: ByteSize,
    /// Seconds: shorter bids are not audited.
    pub min_duration: u64,
    /// Seconds: longer bids are not audited.
    pub max_duration: u64,
    /// Wei that one of the votes wanted would get at least.
    pub min_reward: Wei,
    /// Whether private and loopback endpoints are dialled, on development chains only.
    pub allow_private_endpoints: bool,
}

impl Default for Config {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            loss_bp: policy.loss_bp,
            confidence_bp: policy.confidence_bp,
            confirm_gap_ms: policy.confirm_gap_ms,
            leaf_timeout_ms: policy.leaf_timeout_ms,
            slot_timeout_ms: 600_000,
            index_timeout_ms: 3_600_000,
            registration_timeout_ms: 60_000,
            recheck_after: policy.recheck_after,
            grace: policy.grace,
            dark_tries: policy.dark_tries,
            jitter: 600,
            at_once: 8,
            min_size: ByteSize(0),
            max_size: ByteSize(64 << 30),
            min_duration: 0,
            max_duration: 10 * 365 * 86_400,
            min_reward: Wei::ZERO,
            allow_private_endpoints: false,
        }
    }
}

impl Config {
    /// What of it stands in evidence.
    pub fn policy(&self) -> Policy {
        Policy {
            loss_bp: self.loss_bp,
            confidence_bp: self.confidence_bp,
            confirm_gap_ms: self.confirm_gap_ms,
            leaf_timeout_ms: self.leaf_timeout_ms,
            recheck_after: self.recheck_after,
            grace: self.grace,
            dark_tries: self.dark_tries,
        }
    }
}
