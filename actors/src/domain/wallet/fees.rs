//! What to pay for gas, and how much more to pay so that a stuck transaction may be replaced.

use serde::{Deserialize, Serialize};

use crate::domain::units::Wei;

/// What a transaction pays for a unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    /// At most this many wei a gas in all (the gas price without EIP-1559).
    pub max_fee: Wei,
    /// Of it at most this much as a tip; `None` on chains without EIP-1559.
    pub max_tip: Option<Wei>,
}

/// What new transactions pay at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Going {
    /// Wei a gas of the next block; `None` on chains without EIP-1559.
    pub base_fee: Option<Wei>,
    /// Wei a gas: the tip that gets in, or the whole gas price without EIP-1559.
    pub tip: Wei,
}

/// A first offer: the tip that gets in, and room for a base fee that doubles. `None` while even the next
/// block costs more than `ceiling` wei a gas.
pub fn offer(going: Going, ceiling: Wei) -> Option<Fees> {
    let fees = wanted(going);
    if going.base_fee.unwrap_or(going.tip) > ceiling {
        return None;
    }
    Some(capped(fees, ceiling))
}

/// The least that replaces `old`: a tenth more on both fields, rounded up. `None` if that would pass `ceiling` wei a
/// gas.
pub fn least_over(old: Fees, ceiling: Wei) -> Option<Fees> {
    let least = Fees { max_fee: a_tenth_more(old.max_fee), max_tip: old.max_tip.map(a_tenth_more) };
    (least.max_fee <= ceiling).then_some(least)
}

/// An offer that replaces `old`: at least a tenth more on both fields, rounded up (geth's `PriceBump`), `rise` per
/// cent more where the ceiling allows that, and what is going if that is still more. `None` if a tenth more would
/// pass `ceiling` wei a gas.
pub fn outbid(old: Fees, going: Going, ceiling: Wei, rise: u64) -> Option<Fees> {
    let least = least_over(old, ceiling)?;
    let (eager, now) = (capped(raised(old, rise), ceiling), capped(wanted(going), ceiling));
    let max_fee = least.max_fee.max(eager.max_fee).max(now.max_fee);
    // The tip follows the market only as far as it stays within the fee; the rise itself always does.
    let better = eager.max_tip.max(now.max_tip).unwrap_or_default();
    let max_tip = least.max_tip.map(|tip| tip.max(better).min(max_fee));
    Some(Fees { max_fee, max_tip })
}

/// `rise` per cent more on both fields, rounded up.
fn raised(old: Fees, rise: u64) -> Fees {
    let more = |wei: Wei| wei.plus(wei.times(rise).plus(Wei::from(99)).divided_by(100));
    Fees { max_fee: more(old.max_fee), max_tip: old.max_tip.map(more) }
}

fn wanted(going: Going) -> Fees {
    match going.base_fee {
        Some(base) => Fees { max_fee: base.times(2).plus(going.tip), max_tip: Some(going.tip) },
        None => Fees { max_fee: going.tip, max_tip: None },
    }
}

fn capped(fees: Fees, ceiling: Wei) -> Fees {
    let max_fee = fees.max_fee.min(ceiling);
    Fees { max_fee, max_tip: fees.max_tip.map(|tip| tip.min(max_fee)) }
}

/// A tenth more, rounded up, and never the same.
fn a_tenth_more(old: Wei) -> Wei {
    let tenth = old.plus(Wei::from(9)).divided_by(10);
    old.plus(tenth.max(Wei::from(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn going(base: u128, tip: u128) -> Going {
        Going { base_fee: Some(Wei::from(base)), tip: Wei::from(tip) }
    }
    fn fees(max_fee: u128, tip: u128) -> Fees {
        Fees { max_fee: Wei::from(max_fee), max_tip: Some(Wei::from(tip)) }
    }

    #[test]
    fn a_first_offer_leaves_room_for_a_base_fee_that_doubles_and_stays_below_the_ceiling() {
        for (base, tip, ceiling, offered) in [
            (100, 3, 1_000, Some(fees(203, 3))),
            (100, 3, 150, Some(fees(150, 3))),
            (100, 3, 100, Some(fees(100, 3))),
            (100, 3, 99, None),
            (1, 500, 90, Some(fees(90, 90))),
            (0, 0, 10, Some(fees(0, 0))),
        ] {
            assert_eq!(offer(going(base, tip), Wei::from(ceiling)), offered, "{base} {tip} {ceiling}");
        }
    }

    #[test]
    fn without_eip_1559_the_gas_price_is_all() {
        let price = Going { base_fee: None, tip: Wei::from(7) };
        let flat = Fees { max_fee: Wei::from(7), max_tip: None };
        assert_eq!(offer(price, Wei::from(9)), Some(flat));
        assert_eq!(offer(price, Wei::from(6)), None);
        assert_eq!(
            outbid(flat, price, Wei::from(9), 10),
            Some(Fees { max_fee: Wei::from(8), max_tip: None })
        );
    }

    #[test]
    fn a_replacement_rises_by_a_tenth_rounded_up_on_both_fields_or_to_what_is_going() {
        for (old, going, ceiling, offered) in [
            (fees(100, 10), going(1, 1), 1_000, Some(fees(110, 11))),
            (fees(101, 11), going(1, 1), 1_000, Some(fees(112, 13))),
            (fees(0, 0), going(0, 0), 1_000, Some(fees(1, 1))),
            (fees(100, 10), going(300, 50), 1_000, Some(fees(650, 50))),
            (fees(100, 10), going(300, 50), 400, Some(fees(400, 50))),
            (fees(100, 10), going(1, 1), 110, Some(fees(110, 11))),
            (fees(100, 10), going(1, 1), 109, None),
        ] {
            assert_eq!(outbid(old, going, Wei::from(ceiling), 10), offered, "{old:?} {going:?} {ceiling}");
        }
    }

    #[test]
    fn who_hurries_rises_by_more_but_never_past_the_ceiling() {
        for (rise, ceiling, offered) in [
            (25, 1_000, Some(fees(125, 13))),
            (50, 1_000, Some(fees(150, 15))),
            (50, 120, Some(fees(120, 15))),
            (50, 109, None),
        ] {
            assert_eq!(
                outbid(fees(100, 10), going(1, 1), Wei::from(ceiling), rise),
                offered,
                "{rise} {ceiling}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_offer_passes_the_ceiling_and_every_replacement_is_one_for_geth(
            base in 0u128..1 << 100, tip in 0u128..1 << 100, ceiling in 0u128..1 << 101, bumps in 0usize..40, rise in 10u64..60,
        ) {
            let ceiling = Wei::from(ceiling);
            let Some(mut held) = offer(going(base, tip), ceiling) else { return Ok(()) };
            for _ in 0..=bumps {
                prop_assert!(held.max_fee <= ceiling && held.max_tip.unwrap() <= held.max_fee);
                let Some(next) = outbid(held, going(base, tip), ceiling, rise) else { break };
                prop_assert!(next.max_fee.times(100) >= held.max_fee.times(110));
                prop_assert!(next.max_tip.unwrap().times(100) >= held.max_tip.unwrap().times(110));
                prop_assert!(next.max_fee > held.max_fee && next.max_tip > held.max_tip);
                held = next;
            }
        }
    }
}
