//! The rules of `contracts/src/ScatterMarket.sol`.

use super::{revert, Bid, Market, Paid, Told, ACCEPT_HOLD, MAX_DURATION, MIN_DURATION, VOTE};
use crate::domain::market::{BidTerms, MarketEvent, Settlement};
use crate::domain::units::{Address, BidId, ChainTime, FileHash, Wei};

/// The most votes on each side.
const MAX_VOTES: usize = 31;

/// Who gets what of a bid's money: the hoster, each valid and each invalid voter.
struct Shares {
    outcome: Settlement,
    hoster: Wei,
    valid: Wei,
    invalid: Wei,
}

fn shares(bid: &Bid) -> Shares {
    let BidTerms { amount, pool, min_validations, .. } = bid.terms;
    let count = bid.votes.len() as u64;
    let valid = bid.votes.iter().filter(|(_, valid)| *valid).count() as u64;
    let (invalid, quorum) = (count - valid, u64::from(min_validations));
    let nobody =
        Shares { outcome: Settlement::Expired, hoster: Wei::ZERO, valid: Wei::ZERO, invalid: Wei::ZERO };
    if bid.pinned_at.is_none() {
        return nobody;
    }
    if count < quorum || valid == invalid {
        // Nobody won: those who voted are paid for it, as if at least a quorum had.
        let each = pool.divided_by(count.max(quorum));
        return Shares { outcome: Settlement::Undecided, valid: each, invalid: each, ..nobody };
    }
    match valid > invalid {
        true => Shares { outcome: Settlement::Paid, hoster: amount, valid: pool.divided_by(valid), ..nobody },
        false => Shares { outcome: Settlement::Failed, invalid: pool.divided_by(invalid), ..nobody },
    }
}

impl Market {
    /// Which rule an offer breaks.
    pub(super) fn fault(&self, terms: &BidTerms) -> Option<&'static str> {
        let too_much = |wei: Wei| wei.0.bits() > 128;
        Some(match terms {
            _ if terms.file == FileHash::default() => "no file",
            _ if terms.size.0 < 1 => "no size",
            _ if !(1..=15).contains(&terms.min_validations) => "votes out of range",
            _ if terms.pool < Wei::from(u128::from(terms.min_validations)) => "pool too small",
            _ if too_much(terms.amount) || too_much(terms.pool) => "value out of range",
            _ if terms.duration < MIN_DURATION => "too short",
            _ if terms.duration > MAX_DURATION => "too long",
            _ if terms.amount == Wei::ZERO || terms.amount < self.min_bid => "too low",
            _ => return None,
        })
    }

    fn known(&mut self, id: BidId) -> Result<&mut Bid, String> {
        self.bid_mut(id).ok_or_else(|| "unknown bid".to_owned())
    }

    pub(super) fn accept(&mut self, id: BidId, from: Address, now: ChainTime) -> Told {
        let bid = self.known(id)?;
        if bid.terms.bidder == from {
            return revert("own bid");
        }
        if !bid.is_open(now) || now < bid.hold_until {
            let held = bid.pinned_at.is_none() && now < bid.hold_until;
            let seconds = if held { bid.hold_until.since(now) } else { 0 };
            return Ok(vec![MarketEvent::AcceptWait { seconds }]);
        }
        bid.hoster = Some(from);
        bid.hold_until = now.plus(ACCEPT_HOLD);
        Ok(vec![MarketEvent::Accepted { bid: id, when: now, hoster: from }])
    }

    pub(super) fn pinned(&mut self, id: BidId, from: Address, now: ChainTime) -> Told {
        let bid = self.known(id)?;
        if bid.pinned_at.is_some() {
            return revert("already pinned");
        }
        if bid.hoster != Some(from) {
            let hoster = bid.hoster.unwrap_or_default();
            return Ok(vec![MarketEvent::NotAcceptedByPinner { bid: id, hoster }]);
        }
        if now >= bid.offer_end().max(bid.hold_until) {
            return revert("offer over");
        }
        bid.pinned_at = Some(now);
        Ok(vec![MarketEvent::Pinned { bid: id, hoster: from, file: bid.terms.file }])
    }

    pub(super) fn vote(&mut self, id: BidId, from: Address, valid: bool, now: ChainTime) -> Told {
        let place = self.voters.iter().position(|voter| *voter == from);
        let bid = self.known(id)?;
        if bid.outcome.is_some() {
            return revert("already settled");
        }
        if bid.pinned_at.is_none() {
            return revert("not pinned");
        }
        if now >= bid.close() {
            return self.settle(id, now);
        }
        if valid && now < bid.end() {
            return revert("too early");
        }
        if bid.hoster == Some(from) || bid.terms.bidder == from {
            return revert("party to the bid");
        }
        if bid.votes.iter().any(|(voter, _)| *voter == from) {
            return revert("already voted");
        }
        if place.is_none_or(|place| place >= bid.voters) {
            return revert("not a voter");
        }
        if bid.votes.iter().filter(|(_, said)| *said == valid).count() >= MAX_VOTES {
            return revert("too many votes");
        }
        bid.votes.push((from, valid));
        Ok(vec![MarketEvent::Voted { bid: id, validator: from, valid }])
    }

    pub(super) fn settle(&mut self, id: BidId, now: ChainTime) -> Told {
        let bid = self.known(id)?;
        if bid.outcome.is_some() {
            return revert("already settled");
        }
        let due = match bid.pinned_at {
            Some(_) => bid.end().plus(VOTE),
            None => bid.offer_end().max(bid.hold_until),
        };
        if now < due {
            return revert("too early");
        }
        let Shares { outcome, hoster: to_hoster, valid, invalid } = shares(bid);
        bid.outcome = Some(outcome);
        bid.payouts += 1;
        bid.paid = Paid::Sides(valid > Wei::ZERO, invalid > Wei::ZERO);
        let (terms, votes, hoster) = (bid.terms.clone(), bid.votes.clone(), bid.hoster.unwrap_or_default());
        let mut to_validators = Wei::ZERO;
        for (voter, said) in votes {
            let share = if said { valid } else { invalid };
            self.credit(voter, share);
            to_validators = to_validators.plus(share);
        }
        let to_bidder = terms.amount.plus(terms.pool).minus(to_validators).minus(to_hoster);
        self.credit(hoster, to_hoster);
        self.credit(terms.bidder, to_bidder);
        let (validators, bidder) = (to_validators, to_bidder);
        Ok(vec![MarketEvent::Settled { bid: id, outcome, hoster: to_hoster, validators, bidder }])
    }
}
