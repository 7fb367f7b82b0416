//! A Router that points elsewhere, and back: when, and what may come of bids that are under way then.

use scatter_actors::domain::units::Address;
use scatter_actors::testkit::chain::MARKET;
use serde::{Deserialize, Serialize};

use super::{PlannedBid, WEATHER_MS};
use crate::dice::Dice;

/// Where the second market is.
pub const SECOND: Address = Address([0x5e; 20]);
/// Milliseconds after which a node knows for sure where the Router points: its word must be final, and blocks may stall.
const KNOWN_MS: u64 = 600_000;

/// When a second market is deployed, and when the Router points to the other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// The millisecond from which on the second market is there.
    pub deployed: u64,
    /// At which milliseconds the Router is pointed to the other market, in order.
    pub at: Vec<u64>,
}

impl Moves {
    /// What the dice say, and which of the bids go to the second market.
    pub(super) fn of(dice: &Dice, bids: &mut [PlannedBid]) -> Self {
        let deployed = dice.between(5_000, 150_000);
        let mut at = vec![deployed + dice.between(0, 90_000)];
        for _ in 0..dice.between(0, 5).saturating_sub(3) {
            at.push(at[at.len() - 1] + dice.between(2_000, 400_000));
        }
        at.retain(|at| *at < WEATHER_MS);
        let moves = Self { deployed, at };
        for bid in bids.iter_mut().filter(|bid| bid.at >= deployed) {
            // Some go where the Router does not point, or not yet.
            let named = moves.named(bid.at) == SECOND;
            bid.elsewhere = named != dice.chance(25);
        }
        moves
    }

    /// The market that the Router names then.
    pub fn named(&self, at: u64) -> Address {
        let passed = self.at.iter().filter(|moved| **moved <= at).count();
        [MARKET, SECOND][passed % 2]
    }

    /// The market that it names in the end.
    pub fn last(&self) -> Address {
        self.named(u64::MAX)
    }

    /// Whether a bid that was placed then on a market may be declined because the Router names the other one: it does so
    /// at some time from then on, or did so too shortly before for a node to know better.
    pub fn may_retire(&self, market: Address, placed: u64) -> bool {
        let ends = self.at.iter().copied().chain([u64::MAX]);
        // The first market alone was followed from the beginning: whoever has not heard of the second declines nothing there.
        ends.enumerate().any(|(phase, end)| {
            let named = [MARKET, SECOND][phase % 2];
            named != market && !(phase == 0 && market == SECOND) && end.saturating_add(KNOWN_MS) > placed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bid_may_be_declined_only_where_the_router_names_the_other_market_then_or_later_or_a_moment_ago() {
        let moves = Moves { deployed: 50, at: vec![100, 2_000_000] };
        assert_eq!(
            [99, 100, 1_999_999, 2_000_000].map(|at| moves.named(at)),
            [MARKET, SECOND, SECOND, MARKET]
        );
        assert!(moves.may_retire(MARKET, 20), "the first move comes");
        assert!(moves.may_retire(SECOND, 200), "the second move comes");
        assert!(moves.may_retire(MARKET, 2_000_100), "a moment ago");
        assert!(!moves.may_retire(MARKET, 2_000_000 + KNOWN_MS));
        let once = Moves { deployed: 50, at: vec![100] };
        assert!(!once.may_retire(SECOND, 60), "it is judged once it is heard of");
        assert!(once.may_retire(MARKET, 5_000_000));
    }
}
