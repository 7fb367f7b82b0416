//! When a bid is audited: strata of its duration, and a secret moment in each.

use serde::{Deserialize, Serialize};

use super::keccak;
use crate::domain::market::BidKey;
use crate::domain::units::{ChainTime, Digest};

const DAY: u64 = 86_400;

/// The slots of one bid's audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When the duration began.
    pub pinned_at: ChainTime,
    /// When it ends.
    pub end: ChainTime,
    /// How many slots there are.
    pub slots: u32,
    /// Seconds of the last slot's stratum, which ends with the duration.
    pub tail: u64,
}

/// The span of one slot, `[from, until)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stratum {
    /// Its beginning.
    pub from: ChainTime,
    /// Its end.
    pub until: ChainTime,
}

impl Plan {
    /// The plan for a duration in seconds: a slot a day, at least 4 and at most 32; the last in the tail of a
    /// fiftieth of the duration, at least a minute and at most six hours, but never over half of it.
    pub fn new(pinned_at: ChainTime, duration: u64) -> Self {
        let slots = duration.div_ceil(DAY).clamp(4, 32) as u32;
        let tail = (duration / 50).clamp(60, 6 * 3_600).min(duration / 2).max(1);
        Self { pinned_at, end: pinned_at.plus(duration), slots, tail }
    }

    /// The last slot's number.
    pub fn last(self) -> u32 {
        self.slots - 1
    }

    /// The stratum of a slot. Those before the last share the time before the tail evenly.
    pub fn stratum(self, slot: u32) -> Stratum {
        let tail_from = self.end.minus(self.tail).max(self.pinned_at);
        if slot >= self.last() {
            return Stratum { from: tail_from, until: self.end };
        }
        let span = u128::from(tail_from.since(self.pinned_at));
        let at = |n: u32| {
            let offset = span * u128::from(n) / u128::from(self.last());
            self.pinned_at.plus(offset as u64)
        };
        Stratum { from: at(slot), until: at(slot + 1) }
    }

    /// The moment from which a slot does not begin any more: `grace` seconds behind its stratum, none for the
    /// last.
    pub fn closes(self, slot: u32, grace: u64) -> ChainTime {
        let until = self.stratum(slot).until;
        if slot >= self.last() {
            until
        } else {
            until.plus(grace).min(self.end)
        }
    }

    /// The moment whose secret a slot uses: the last of its stratum.
    pub fn secret_moment(self, slot: u32) -> ChainTime {
        self.stratum(slot).until.minus(1)
    }

    /// The secret moment of a slot: uniform in its stratum, known only with the slot's secret.
    pub fn due(self, bid: BidKey, slot: u32, secret: Digest) -> ChainTime {
        let Stratum { from, until } = self.stratum(slot);
        let length = u128::from(until.since(from).max(1));
        let hash = keccak(&[b"scatter/audit/due/1", &bid.to_bytes(), &slot.to_be_bytes(), &secret.0]);
        let mut word = [0; 16];
        word.copy_from_slice(&hash.0[..16]);
        // 128 bits over a span of at most 64: the bias is below 2^-64.
        from.plus((u128::from_be_bytes(word) % length) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::market::Market;
    use crate::domain::units::{Address, BidId};
    use proptest::prelude::*;

    const HOUR: u64 = 3_600;

    fn bid() -> BidKey {
        BidKey { market: Market { chain: 1337, address: Address([1; 20]) }, id: BidId(7) }
    }

    #[test]
    fn a_slot_a_day_within_bounds_and_a_tail_within_bounds() {
        for (duration, slots, tail) in [
            (20, 4, 10),
            (60, 4, 30),
            (120, 4, 60),
            (HOUR, 4, 72),
            (DAY, 4, 1_728),
            (7 * DAY, 7, 12_096),
            (7 * DAY + 1, 8, 12_096),
            (30 * DAY, 30, 6 * HOUR),
            (3_650 * DAY, 32, 6 * HOUR),
        ] {
            let plan = Plan::new(ChainTime(1_000), duration);
            assert_eq!((plan.slots, plan.tail), (slots, tail), "{duration}");
        }
    }

    #[test]
    fn the_last_slot_has_no_grace_and_no_slot_begins_after_the_end() {
        let plan = Plan::new(ChainTime(0), 7 * DAY);
        assert_eq!(plan.closes(0, HOUR), plan.stratum(0).until.plus(HOUR));
        assert_eq!(plan.closes(plan.last(), HOUR), plan.end);
        assert_eq!(Plan::new(ChainTime(0), 20).closes(2, HOUR), ChainTime(20));
    }

    proptest! {
        #[test]
        fn strata_follow_each_other_without_gap_from_pin_to_end(
            pinned in 0..1u64 << 40, duration in 1..20 * 365 * DAY,
        ) {
            let plan = Plan::new(ChainTime(pinned), duration);
            let mut at = plan.pinned_at;
            for slot in 0..plan.slots {
                let stratum = plan.stratum(slot);
                prop_assert_eq!(stratum.from, at);
                prop_assert!(stratum.until >= stratum.from);
                at = stratum.until;
            }
            prop_assert_eq!(at, plan.end);
        }

        #[test]
        fn a_slot_is_due_within_its_stratum(
            duration in 1..20 * 365 * DAY, slot in 0..32u32, secret in any::<[u8; 32]>(),
        ) {
            let plan = Plan::new(ChainTime(1_000), duration);
            let slot = slot % plan.slots;
            let due = plan.due(bid(), slot, Digest(secret));
            let stratum = plan.stratum(slot);
            prop_assert!(stratum.from <= due && (due < stratum.until || stratum.from == stratum.until));
        }
    }

    #[test]
    fn secret_moments_are_spread_over_the_whole_stratum() {
        let plan = Plan::new(ChainTime(0), 7 * DAY);
        let stratum = plan.stratum(0);
        let mut tenths = [0u32; 10];
        for n in 0..2_000u64 {
            let secret = keccak(&[&n.to_be_bytes()]);
            let into = plan.due(bid(), 0, secret).since(stratum.from);
            tenths[(into * 10 / stratum.until.since(stratum.from)) as usize] += 1;
        }
        assert!(tenths.iter().all(|n| (140..=260).contains(n)), "{tenths:?}");
    }
}
