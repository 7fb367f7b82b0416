//! Which blocks a slot asks for: as many as the policy wants, drawn without replacement from a seed.

use std::collections::BTreeMap;

use super::keccak;
use crate::domain::units::Digest;

/// A slot never asks for more blocks, whatever the policy wants.
pub const MOST: u64 = 4_096;

/// How many random blocks find a loss of `loss_bp` with probability `confidence_bp` (both basis points):
/// the smallest k with `(1 − loss)^k ≤ 1 − confidence`, at most [`MOST`].
pub fn needed(loss_bp: u32, confidence_bp: u32) -> u64 {
    // Fixed point with 34 decimals: times 10,000 it still fits into 128 bits, and no platform's logarithm
    // decides about a block more or less.
    const ONE: u128 = 10u128.pow(34);
    let keep = u128::from(10_000 - loss_bp.min(10_000));
    let allowed = ONE / 10_000 * u128::from(10_000 - confidence_bp.min(10_000));
    let mut missed = ONE;
    let mut k = 0;
    while missed > allowed && k < MOST {
        missed = (missed * keep).div_ceil(10_000);
        k += 1;
    }
    k
}

/// Draws `k` of the numbers below `n` by a partial Fisher–Yates shuffle: the i-th number comes from the first
/// 8 bytes of `keccak(seed ‖ counter)`, taken modulo what is left, unless that would favour some (then the
/// next counter is tried). If `n ≤ k`, all numbers in their order.
pub fn draw(seed: Digest, n: u64, k: u64) -> Vec<u64> {
    if n <= k {
        return (0..n).collect();
    }
    // Only places that were swapped are kept: n may be millions, k is dozens.
    let mut moved: BTreeMap<u64, u64> = BTreeMap::new();
    let mut words = Words { seed, counter: 0 };
    (0..k)
        .map(|i| {
            let j = i + words.below(n - i);
            let at_i = moved.get(&i).copied().unwrap_or(i);
            let at_j = moved.get(&j).copied().unwrap_or(j);
            moved.insert(j, at_i);
            moved.insert(i, at_j);
            at_j
        })
        .collect()
}

struct Words {
    seed: Digest,
    counter: u64,
}

impl Words {
    /// A number below `bound`, each with the same chance.
    fn below(&mut self, bound: u64) -> u64 {
        let fair = (1u128 << 64) / u128::from(bound) * u128::from(bound);
        loop {
            let hash = keccak(&[&self.seed.0, &self.counter.to_be_bytes()]);
            self.counter += 1;
            let mut word = [0; 8];
            word.copy_from_slice(&hash.0[..8]);
            let word = u64::from_be_bytes(word);
            if u128::from(word) < fair {
                return word % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sample_is_as_large_as_the_table_of_losses_and_confidences_says() {
        for (loss, at_95, at_99) in [(5_000, 5, 7), (1_000, 29, 44), (500, 59, 90), (100, 299, 459)] {
            assert_eq!(needed(loss, 9_500), at_95);
            assert_eq!(needed(loss, 9_900), at_99);
        }
        // Where the powers meet the threshold exactly, and at the ends.
        assert_eq!(needed(5_000, 5_000), 1);
        assert_eq!(needed(5_000, 7_500), 2);
        assert_eq!(needed(10_000, 9_999), 1);
        assert_eq!(needed(1, 9_999), MOST);
        assert_eq!(needed(0, 10_000), MOST);
        assert_eq!(needed(100, 0), 0);
    }

    /// The vectors were computed apart from this code, in another language.
    #[test]
    fn a_draw_is_the_same_for_everybody_who_has_the_seed() {
        let seed: Digest =
            "0x381505fae18fd5f0af888e757503c9ca7df80ae98c01e059e0c3ee358dfe9658".parse().unwrap();
        let some = [3883, 206, 3230, 3477, 2163, 3778, 3254, 2686, 4088, 3010, 3740, 3956];
        assert_eq!(draw(seed, 4_121, 12), some);
        let nearly_all = [15, 4, 8, 14, 16, 10, 2, 7, 17, 1, 12, 6, 3, 5, 19, 0, 11, 9, 18];
        assert_eq!(draw(seed, 20, 19), nearly_all);
        assert_eq!(draw(seed, 4, 4), [0, 1, 2, 3]);
        assert_eq!(draw(seed, 0, 4), Vec::<u64>::new());
    }

    proptest! {
        #[test]
        fn a_draw_has_k_different_numbers_below_n(seed in any::<[u8; 32]>(), n in 0..5_000u64, k in 0..200u64) {
            let drawn = draw(Digest(seed), n, k);
            let distinct: std::collections::BTreeSet<_> = drawn.iter().collect();
            prop_assert_eq!(drawn.len() as u64, n.min(k));
            prop_assert_eq!(distinct.len(), drawn.len());
            prop_assert!(drawn.iter().all(|d| *d < n));
        }
    }

    #[test]
    fn every_block_is_drawn_equally_often() {
        let mut times = [0u32; 50];
        for n in 0..2_000u64 {
            draw(keccak(&[&n.to_be_bytes()]), 50, 5).iter().for_each(|d| times[*d as usize] += 1);
        }
        // 200 on average, with a standard deviation of about 13.
        assert!(times.iter().all(|t| (140..=260).contains(t)), "{times:?}");
    }
}
