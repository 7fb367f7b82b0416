//! The validator's secrets: a hash chain whose end is published before any of it is used.
//!
//! A secret that its owner could choose late could be chosen well; a signature can be ground by its signer.
//! Here the anchor `H^N(s0)` stands in the registration file, so every secret was fixed before its slot. Time
//! is cut into slots of the chain's own; what an audit uses is the secret of the slot in which its stratum
//! ends, so that giving secrets away after their slot tells nothing of strata that are still open.

use serde::{Deserialize, Serialize};

use super::keccak;
use crate::domain::units::{ChainTime, Digest};

/// Links of a chain: seven years of hours.
pub const LENGTH: u32 = 1 << 16;
/// Seconds of a slot of the chain.
pub const SLOT_SECONDS: u64 = 3_600;
/// Hashes that a check does at most.
const MOST: u64 = 1 << 20;

/// Links between two that are kept.
const STRIDE: u32 = 512;

/// A chain of secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Every 512th link from the first on, which no other follows from: so no secret is far. They never leave
    /// the store.
    marks: Vec<Digest>,
    /// The end of the chain.
    anchor: Digest,
    /// How many secrets there are.
    length: u32,
    /// The number of the first secret's slot: its beginning in seconds since 1970, divided by their length.
    first_slot: u64,
    /// Seconds of a slot.
    slot_seconds: u64,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("first_slot", &self.first_slot).finish_non_exhaustive()
    }
}

/// What the registration file says of a chain of secrets (`host.audit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The end of the chain, `H^N(s0)`.
    pub anchor: Digest,
    /// The number of the first secret's slot.
    pub first_slot: u64,
    /// Seconds of a slot.
    pub slot_seconds: u64,
}

fn hash(times: u64, from: Digest) -> Digest {
    (0..times).fold(from, |digest, _| keccak(&[&digest.0]))
}

impl Secrets {
    /// A chain that begins in the slot of `now`, grown from fresh random bytes.
    pub fn new(random: [u8; 32], now: ChainTime) -> Self {
        Self::with(random, now, LENGTH, SLOT_SECONDS)
    }

    /// The same with a length and slots of one's own.
    pub fn with(random: [u8; 32], now: ChainTime, length: u32, slot_seconds: u64) -> Self {
        let slot_seconds = slot_seconds.max(1);
        let mut marks = vec![Digest(random)];
        let mut link = Digest(random);
        for _ in 0..length / STRIDE {
            link = hash(STRIDE.into(), link);
            marks.push(link);
        }
        let anchor = hash((length % STRIDE).into(), link);
        Self { marks, anchor, length, first_slot: now.0 / slot_seconds, slot_seconds }
    }

    /// What is published before the first use.
    pub fn anchor(&self) -> Anchor {
        Anchor { anchor: self.anchor, first_slot: self.first_slot, slot_seconds: self.slot_seconds }
    }

    /// The secret of a moment; `None` if that lies before the chain's beginning or behind its end.
    pub fn at(&self, moment: ChainTime) -> Option<Digest> {
        let index = index(self.first_slot, self.slot_seconds, moment)?;
        let link = u64::from(self.length).checked_sub(1 + index)?;
        let mark = self.marks.get(usize::try_from(link / u64::from(STRIDE)).ok()?)?;
        Some(hash(link % u64::from(STRIDE), *mark))
    }
}

impl Anchor {
    /// Whether that is the chain's secret for that moment.
    pub fn reveals(&self, moment: ChainTime, secret: Digest) -> bool {
        match index(self.first_slot, self.slot_seconds, moment) {
            Some(index) if index < MOST => hash(index + 1, secret) == self.anchor,
            _ => false,
        }
    }

    /// When the secret of that moment may be told without harm: the end of its slot.
    pub fn public_after(&self, moment: ChainTime) -> ChainTime {
        let seconds = self.slot_seconds.max(1);
        ChainTime((moment.0 / seconds + 1).saturating_mul(seconds))
    }
}

fn index(first_slot: u64, slot_seconds: u64, moment: ChainTime) -> Option<u64> {
    moment.0.checked_div(slot_seconds)?.checked_sub(first_slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Secrets {
        Secrets::with([7; 32], ChainTime(1_000_000), 100, 600)
    }

    #[test]
    fn every_secret_hashes_to_the_anchor_and_only_in_its_own_slot() {
        let chain = Secrets::with([7; 32], ChainTime(1_000_000), 1_500, 600);
        let first = 1_000_000 / 600 * 600;
        let at = |t| chain.at(ChainTime(first + t)).unwrap();
        assert_eq!(at(0), at(599));
        assert_eq!(at(1_499 * 600), Digest([7; 32]));
        for moment in [0, 599, 600, 42 * 600 + 1, 987 * 600, 988 * 600, 1_499 * 600] {
            let secret = at(moment);
            assert!(chain.anchor().reveals(ChainTime(first + moment), secret), "{moment}");
            assert!(!chain.anchor().reveals(ChainTime(first + moment + 600), secret));
        }
    }

    #[test]
    fn a_moment_outside_of_the_chain_has_no_secret() {
        let first = ChainTime(1_000_000 / 600 * 600);
        assert_eq!(chain().at(first.minus(1)), None);
        assert!(chain().at(first.plus(100 * 600 - 1)).is_some());
        assert_eq!(chain().at(first.plus(100 * 600)), None);
    }

    #[test]
    fn a_secret_given_away_tells_older_ones_and_no_younger_one() {
        let first = ChainTime(1_000_000);
        let [older, younger] = [0, 600].map(|t| chain().at(first.plus(t)).unwrap());
        assert_eq!(keccak(&[&younger.0]), older);
        assert_ne!(keccak(&[&older.0]), younger);
    }

    #[test]
    fn a_chain_never_shows_its_beginning_in_logs() {
        assert!(!format!("{:?}", chain()).contains("0707"));
    }
}
