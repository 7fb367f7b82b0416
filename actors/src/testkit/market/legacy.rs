//! The rules of version 1, traps included, as `contracts/test/support/TrapMarket.sol` has them.
//!
//! The money of a refused bid and of one that nobody hosts stays; anybody announces once a hold has lapsed or where
//! there is none; anybody votes at any time and as often as they like; each vote behind the end pays everybody again,
//! the hoster whatever the votes say; and the last one out can't withdraw.

use super::{revert, Bid, Market, Paid, Told, ACCEPT_HOLD, MIN_DURATION};
use crate::domain::market::{BidTerms, MarketEvent};
use crate::domain::units::{Address, BidId, ChainTime, FileHash, Wei};

fn is_held(bid: &Bid, now: ChainTime) -> bool {
    now < bid.hold_until
}

impl Market {
    /// Why an offer is refused; version 1 has one word for everything.
    pub(super) fn legacy_fault(&self, terms: &BidTerms) -> Option<&'static str> {
        let bad = terms.file == FileHash::default()
            || terms.size.0 < 1
            || terms.amount == Wei::ZERO
            || terms.amount < self.min_bid
            || terms.pool < Wei::from(u128::from(terms.min_validations))
            || terms.duration < MIN_DURATION;
        bad.then_some("failed validation")
    }

    pub(super) fn legacy_accept(&mut self, id: BidId, from: Address, now: ChainTime) -> MarketEvent {
        // A bid that does not exist was never accepted, and all time has passed since.
        let Some(bid) = self.bid_mut(id) else { return MarketEvent::AcceptWait { seconds: now.0 } };
        if bid.pinned_at.is_some() || is_held(bid, now) || bid.terms.bidder == from {
            let accepted = bid.hold_until.minus(ACCEPT_HOLD);
            return MarketEvent::AcceptWait { seconds: now.since(accepted) };
        }
        bid.hold_until = now.plus(ACCEPT_HOLD);
        bid.hoster = Some(from);
        MarketEvent::Accepted { bid: id, when: now, hoster: from }
    }

    pub(super) fn legacy_pinned(&mut self, id: BidId, from: Address, now: ChainTime) -> Told {
        let nobody = MarketEvent::NotAcceptedByPinner { bid: id, hoster: Address::default() };
        let Some(bid) = self.bid_mut(id) else { return Ok(vec![nobody]) };
        if bid.pinned_at.is_some() {
            return revert("already pinned");
        }
        if is_held(bid, now) && bid.hoster != Some(from) {
            let hoster = bid.hoster.unwrap_or_default();
            return Ok(vec![MarketEvent::NotAcceptedByPinner { bid: id, hoster }]);
        }
        bid.pinned_at = Some(now);
        bid.hoster = Some(from);
        Ok(vec![MarketEvent::Pinned { bid: id, hoster: from, file: bid.terms.file }])
    }

    pub(super) fn legacy_vote(&mut self, id: BidId, from: Address, valid: bool, now: ChainTime) -> Told {
        let Some(bid) = self.bid_mut(id).filter(|bid| bid.pinned_at.is_some()) else {
            return revert("not open");
        };
        bid.votes.push((from, valid));
        if now >= bid.end() {
            let count = bid.votes.len();
            bid.payouts += 1;
            bid.paid = Paid::First(count);
            let (terms, votes, hoster) =
                (bid.terms.clone(), bid.votes.clone(), bid.hoster.unwrap_or_default());
            let share = terms.pool.divided_by(count as u64);
            votes.iter().for_each(|(voter, _)| self.credit(*voter, share));
            self.credit(hoster, terms.amount);
        }
        Ok(vec![MarketEvent::Voted { bid: id, validator: from, valid }])
    }
}
