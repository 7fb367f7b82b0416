//! Where a bid stands, in one word, by the market's windows (each is half open: `[from, to)`).

use scatter_actors::domain::market::{BidState, MarketRules, Settlement, Version};
use scatter_actors::domain::units::ChainTime;

/// The word for a bid's state at a moment.
pub(super) fn phase(bid: &BidState, rules: &MarketRules, now: ChainTime) -> &'static str {
    if let Some(outcome) = bid.outcome {
        return match outcome {
            Settlement::Paid => "paid",
            Settlement::Failed => "failed",
            Settlement::Undecided => "undecided",
            Settlement::Expired => "expired",
        };
    }
    let Some(pinned_at) = bid.pinned_at else {
        let held = bid.hoster.is_some() && now < bid.hold_until;
        return if held { "held" } else { "open" };
    };
    let end = pinned_at.plus(bid.terms.duration);
    match rules.version {
        _ if now < end => "hosted",
        // It does not tell how it ended.
        Version::Legacy => "over",
        Version::V2 if now < end.plus(rules.vote_duration) => "voting",
        Version::V2 => "to_settle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scatter_actors::domain::market::BidTerms;
    use scatter_actors::domain::units::{Address, ByteSize, FileHash, Wei};

    fn bid() -> BidState {
        let terms = BidTerms {
            bidder: Address([1; 20]),
            file: FileHash([2; 32]),
            size: ByteSize(1),
            amount: Wei::from(1),
            pool: Wei::from(2),
            duration: 100,
            min_validations: 2,
        };
        BidState {
            terms,
            hoster: None,
            hold_until: ChainTime(0),
            pinned_at: None,
            votes: vec![],
            outcome: None,
            offer_end: Some(ChainTime(100)),
            voters: Some(3),
        }
    }

    #[test]
    fn a_bid_goes_through_its_windows() {
        let rules = MarketRules { version: Version::V2, accept_hold: 10, vote_duration: 20 };
        let held = BidState { hoster: Some(Address([3; 20])), hold_until: ChainTime(50), ..bid() };
        let pinned = BidState { pinned_at: Some(ChainTime(40)), ..held.clone() };
        let settled = BidState { outcome: Some(Settlement::Paid), ..pinned.clone() };
        for (bid, now, word) in [
            (&bid(), 5, "open"),
            (&held, 49, "held"),
            (&held, 50, "open"),
            (&pinned, 139, "hosted"),
            (&pinned, 140, "voting"),
            (&pinned, 159, "voting"),
            (&pinned, 160, "to_settle"),
            (&settled, 160, "paid"),
        ] {
            assert_eq!(phase(bid, &rules, ChainTime(now)), word, "at {now}");
        }
        let legacy = MarketRules { version: Version::Legacy, ..rules };
        assert_eq!(phase(&pinned, &legacy, ChainTime(140)), "over");
    }
}
