//! The nonces of one account: which come next, which are missing, how many are on their way.

use std::collections::{BTreeMap, BTreeSet};

use super::slot::Slot;
use crate::domain::units::Wei;
use crate::planted::{planted, Bug};

/// The nonces that this node has given out and that are not final.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lane {
    /// The lowest nonce never given out.
    pub next: u64,
    /// All below are final.
    pub final_below: u64,
    /// Those in between, by nonce.
    pub slots: BTreeMap<u64, Slot>,
}

impl Lane {
    /// The nonce for the next transaction, when the chain has mined all below `latest`. A provider that lags
    /// says too little, a node with an older store knows too little: the larger counts.
    pub fn next_nonce(&self, latest: u64) -> u64 {
        let behind_all = self.slots.last_key_value().map_or(0, |(nonce, _)| nonce + 1);
        self.next.max(behind_all).max(latest) + u64::from(planted(Bug::SkipNonce))
    }

    /// Nonces that were given out and that nothing takes: all behind them wait for ever.
    pub fn gaps(&self, latest: u64) -> Vec<u64> {
        let taken: BTreeSet<u64> = self.slots.keys().copied().collect();
        let given_out = latest.max(self.final_below)..self.next_nonce(latest);
        given_out.filter(|nonce| !taken.contains(nonce) && !planted(Bug::SkipNonce)).collect()
    }

    /// How many nonces wait to be mined, when the chain has mined all below `latest`.
    pub fn in_flight(&self, latest: u64) -> usize {
        self.slots.range(latest..).filter(|(_, slot)| slot.standing.is_none()).count()
    }

    /// The most that those whose outcome is open can cost.
    pub fn outstanding(&self) -> Wei {
        self.worst_of(|slot| slot.standing.is_none())
    }

    /// The most that all can cost: until it is final, a reorg may have a transaction mined at another price.
    pub fn at_risk(&self) -> Wei {
        self.worst_of(|_| !planted(Bug::CountMinedOnly))
    }

    fn worst_of(&self, counts: impl Fn(&Slot) -> bool) -> Wei {
        let worst = self.slots.values().filter(|slot| counts(slot)).map(Slot::worst);
        worst.fold(Wei::ZERO, Wei::plus)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::slot::Wish;
    use super::*;

    fn lane(next: u64, final_below: u64, nonces: impl IntoIterator<Item = u64>) -> Lane {
        let slot =
            |nonce| Slot { nonce, tries: vec![], deadline: None, standing: None, wish: Wish::default() };
        Lane { next, final_below, slots: nonces.into_iter().map(|n| (n, slot(n))).collect() }
    }

    #[test]
    fn the_next_nonce_is_above_all_that_the_store_or_the_chain_knows() {
        for (lane, latest, next) in
            [(lane(0, 0, []), 0, 0), (lane(0, 0, []), 7, 7), (lane(9, 5, []), 7, 9), (lane(0, 0, [3]), 1, 4)]
        {
            assert_eq!(lane.next_nonce(latest), next, "{lane:?} {latest}");
        }
    }

    #[test]
    fn a_gap_is_a_nonce_given_out_that_nothing_takes_and_no_lagging_provider_invents_one() {
        for (lane, latest, gaps) in [
            (lane(3, 0, [0, 1, 2]), 0, vec![]),
            (lane(3, 0, [0, 2]), 0, vec![1]),
            (lane(0, 0, [2]), 0, vec![0, 1]),
            (lane(3, 0, []), 1, vec![1, 2]),
            (lane(8, 8, []), 5, vec![]),
        ] {
            assert_eq!(lane.gaps(latest), gaps, "{lane:?} {latest}");
        }
    }

    #[test]
    fn what_is_mined_makes_room_before_it_is_deep() {
        let lane = lane(4, 0, [0, 1, 2, 3]);
        assert_eq!([0, 2, 4, 9].map(|latest| lane.in_flight(latest)), [4, 2, 0, 0]);
    }

    proptest! {
        #[test]
        fn with_its_gaps_filled_a_lane_is_dense(
            next in 0u64..20, below in 0u64..20, latest in 0u64..20, nonces in prop::collection::btree_set(0u64..20, 0..20),
        ) {
            let lane = lane(next, below, nonces);
            let filled: BTreeSet<u64> = lane.slots.keys().copied().chain(lane.gaps(latest)).collect();
            for nonce in latest.max(below)..lane.next_nonce(latest) {
                prop_assert!(filled.contains(&nonce));
            }
            prop_assert!(!filled.contains(&lane.next_nonce(latest)));
        }
    }
}
