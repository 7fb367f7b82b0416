//! The schedule of replacements: how long a transaction is left alone, and by how much the next one pays more. It
//! knows the deadline: the nearer that is, the sooner and the more.

/// A tenth: the least that a replacement must pay more (geth's `PriceBump`).
pub const LEAST_RISE: u64 = 10;

/// When to replace, and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Milliseconds until an unmined transaction is replaced.
    pub after_ms: u64,
    /// Per cent more that its replacement pays at least, as far as the ceiling allows.
    pub rise: u64,
}

/// The pace of a transaction that is replaced after `bump_after_ms` where nothing hurries, and that is of no use any
/// more in `left_ms`. So that four attempts still fit in, each gets at most a quarter of what is left, but never
/// less than a sixth of its patience: a block should have had the chance to take it.
pub fn pace(bump_after_ms: u64, left_ms: Option<u64>) -> Pace {
    let Some(left) = left_ms else { return Pace { after_ms: bump_after_ms, rise: LEAST_RISE } };
    let rise = match left / bump_after_ms.max(1) {
        0 => 50,
        1 | 2 => 25,
        _ => LEAST_RISE,
    };
    Pace { after_ms: (left / 4).clamp(bump_after_ms / 6, bump_after_ms), rise }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearer_the_deadline_the_sooner_and_the_more() {
        for (left, after_ms, rise) in [
            (None, 60_000, 10),
            (Some(900_000), 60_000, 10),
            (Some(240_000), 60_000, 10),
            (Some(180_000), 45_000, 10),
            (Some(120_000), 30_000, 25),
            (Some(60_000), 15_000, 25),
            (Some(59_999), 14_999, 50),
            (Some(20_000), 10_000, 50),
            (Some(0), 10_000, 50),
        ] {
            assert_eq!(pace(60_000, left), Pace { after_ms, rise }, "{left:?}");
        }
    }

    proptest! {
        #[test]
        fn less_time_never_makes_it_slower_or_cheaper(
            patience in 0u64..1 << 40, left in 0u64..1 << 40, later in 0u64..1 << 40,
        ) {
            let (near, far) = (pace(patience, Some(left)), pace(patience, Some(left + later)));
            prop_assert!(near.after_ms <= far.after_ms && near.rise >= far.rise);
            prop_assert!(far.after_ms <= pace(patience, None).after_ms && far.rise >= LEAST_RISE);
        }
    }
}
