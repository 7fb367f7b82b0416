//! The spend guard: a cap for each transaction and one for any rolling day.
//!
//! A transaction counts with the most that it can cost from the moment it is signed until it is final, and
//! then with what it did cost, until a day after that became known. So at the moment of the last signature of any day, everything else
//! that this day spends is counted already, and the cap holds for every day, restarts included (I4).

use crate::domain::units::{WallTime, Wei};
use crate::planted::{planted, Bug};

/// The length of the rolling window: a day in milliseconds.
pub const WINDOW_MS: u64 = 86_400_000;

/// How much may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// By one transaction: its value and its gas at the highest price that it allows.
    pub per_tx: Wei,
    /// In any 24 hours.
    pub per_day: Wei,
}

/// Whether a transaction may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Fits,
    /// Not before older spending has left the window.
    Later,
    /// It costs more than a transaction, or a whole day, may.
    Never,
}

/// The most that a transaction can cost.
pub fn worst(gas_limit: u64, max_fee: Wei, value: Wei) -> Wei {
    max_fee.times(gas_limit).plus(value)
}

/// Judges a transaction that costs at most `cost`, when `spent` stands in the window and `reserved` is the
/// most that those which are not final can cost.
pub fn judge(caps: Caps, spent: Wei, reserved: Wei, cost: Wei) -> Verdict {
    if cost > caps.per_tx || cost > caps.per_day {
        Verdict::Never
    } else if spent.plus(reserved).plus(cost) > caps.per_day {
        Verdict::Later
    } else {
        Verdict::Fits
    }
}

/// The earliest moment whose spending still counts at `now`.
pub fn window_start(now: WallTime) -> WallTime {
    WallTime(now.0.saturating_sub(WINDOW_MS))
}

/// The sum of what was spent since the window began. A row from the future (the clock was set back) counts.
pub fn spent(rows: impl IntoIterator<Item = (WallTime, Wei)>, now: WallTime) -> Wei {
    let start = if planted(Bug::ForgetSpending) { WallTime(u64::MAX) } else { window_start(now) };
    rows.into_iter().filter(|(at, _)| *at >= start).fold(Wei::ZERO, |sum, (_, wei)| sum.plus(wei))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_transaction_is_judged_by_both_caps() {
        let caps = Caps { per_tx: Wei::from(10), per_day: Wei::from(25) };
        for (spent, reserved, cost, verdict) in [
            (0, 0, 10, Verdict::Fits),
            (0, 0, 11, Verdict::Never),
            (15, 0, 10, Verdict::Fits),
            (15, 1, 10, Verdict::Later),
            (30, 0, 0, Verdict::Later),
        ] {
            let judged = judge(caps, Wei::from(spent), Wei::from(reserved), Wei::from(cost));
            assert_eq!(judged, verdict, "{spent} {reserved} {cost}");
        }
        let narrow = Caps { per_tx: Wei::from(10), per_day: Wei::from(5) };
        assert_eq!(judge(narrow, Wei::ZERO, Wei::ZERO, Wei::from(6)), Verdict::Never);
    }

    #[test]
    fn spending_leaves_the_window_after_a_day_and_the_future_counts() {
        let now = WallTime(10 * WINDOW_MS);
        let rows = [(WallTime(9 * WINDOW_MS - 1), Wei::from(1)), (WallTime(9 * WINDOW_MS), Wei::from(2))];
        let future = [(WallTime(11 * WINDOW_MS), Wei::from(4))];
        assert_eq!(spent(rows.into_iter().chain(future), now), Wei::from(6));
    }

    proptest! {
        /// I4 on the guard alone: sign when it fits, mine some time later for at most the worst, learn of it
        /// some time after that; then no window of mined spending is above the cap.
        #[test]
        fn no_rolling_day_spends_more_than_its_cap(
            wishes in prop::collection::vec((0u64..WINDOW_MS / 3, 1u128..40, 0u64..WINDOW_MS / 2, 0u64..WINDOW_MS / 4, 0u128..40), 1..60),
        ) {
            let caps = Caps { per_tx: Wei::from(30), per_day: Wei::from(100) };
            let mut signed: Vec<(u64, u64, Wei, Wei)> = vec![]; // mined at, known at, worst, paid
            let mut now = WINDOW_MS;
            for (wait, cost, to_mined, to_known, paid) in wishes {
                now += wait;
                let known = signed.iter().filter(|tx| tx.1 <= now).map(|tx| (WallTime(tx.1), tx.3));
                let reserved = signed.iter().filter(|tx| tx.1 > now).fold(Wei::ZERO, |sum, tx| sum.plus(tx.2));
                let cost = Wei::from(cost);
                if judge(caps, spent(known, WallTime(now)), reserved, cost) == Verdict::Fits {
                    signed.push((now + to_mined, now + to_mined + to_known, cost, cost.min(Wei::from(paid))));
                }
            }
            for first in &signed {
                let window = first.0..=first.0 + WINDOW_MS;
                let sum = signed.iter().filter(|tx| window.contains(&tx.0)).fold(Wei::ZERO, |sum, tx| sum.plus(tx.3));
                prop_assert!(sum <= caps.per_day, "{sum:?}");
            }
        }
    }
}
