//! The market contract's rules as a model: what each call does to the state of the market.
//!
//! A block keeps the state that stands after it, so a reorg has nothing to undo.
//! Source of the rules: `contracts/src/ScatterMarket.sol`, with which `contracts/README.md` deals in words.

use std::collections::BTreeMap;

use crate::domain::market::{BidState, BidTerms, MarketCall, MarketEvent, Settlement, Vote};
use crate::domain::units::{Address, BidId, ChainTime, FileHash, Wei};

/// Seconds that an accept holds a bid.
pub const ACCEPT_HOLD: u64 = 900;
/// Seconds that a bid is on offer.
pub const OFFER: u64 = 7 * 86_400;
/// Seconds that votes are taken after the end.
pub const VOTE: u64 = 86_400;
/// Shortest duration of a bid in seconds.
pub const MIN_DURATION: u64 = 7 * 86_400;

/// One bid of the model.
#[derive(Debug, Clone)]
pub struct Bid {
    /// The offer.
    pub terms: BidTerms,
    /// When it was placed.
    pub placed_at: ChainTime,
    /// Who accepted last.
    pub hoster: Option<Address>,
    /// Until when that holds.
    pub hold_until: ChainTime,
    /// When it was announced.
    pub pinned_at: Option<ChainTime>,
    /// The votes, in order.
    pub votes: Vec<(Address, bool)>,
    /// How it ended.
    pub outcome: Option<Settlement>,
}

impl Bid {
    fn end(&self) -> ChainTime {
        self.pinned_at.unwrap_or_default().plus(self.terms.duration)
    }
    fn close(&self) -> ChainTime {
        self.end().plus(VOTE)
    }
    fn is_open(&self, now: ChainTime) -> bool {
        self.outcome.is_none() && self.pinned_at.is_none() && now < self.offer_end()
    }
    fn offer_end(&self) -> ChainTime {
        self.placed_at.plus(OFFER)
    }
}

/// The state of the market after a history.
#[derive(Debug, Clone, Default)]
pub struct Market {
    /// All bids.
    pub bids: Vec<Bid>,
    /// What the market owes to each account.
    pub credits: BTreeMap<Address, Wei>,
    /// Registration files, and since when.
    pub registered: BTreeMap<Address, (FileHash, ChainTime)>,
    /// Ether that came in less what was withdrawn.
    pub held: Wei,
}

type Told = Result<Vec<MarketEvent>, String>;

fn revert<T>(why: &str) -> Result<T, String> {
    Err(why.to_owned())
}

impl Market {
    /// What one call does at a time. A revert changes nothing.
    pub fn apply(&mut self, from: Address, call: &MarketCall, now: ChainTime) -> Told {
        match call {
            MarketCall::Bid { file, size, duration, amount, pool, min_validations } => {
                let terms = BidTerms {
                    bidder: from,
                    file: *file,
                    size: *size,
                    amount: *amount,
                    pool: *pool,
                    duration: *duration,
                    min_validations: *min_validations,
                };
                Ok(self.place(terms, call.value(), now))
            }
            MarketCall::Accept(id) => self.accept(*id, from, now),
            MarketCall::Pinned(id) => self.pinned(*id, from, now),
            MarketCall::Vote { bid, valid, .. } => self.vote(*bid, from, *valid, now),
            MarketCall::Settle(id) => self.settle(*id, now),
            MarketCall::Withdraw => Ok(self.withdraw(from)),
            MarketCall::Register(file) => {
                let since = self.registered.get(&from).map_or(now, |(_, since)| *since);
                self.registered.insert(from, (*file, since));
                Ok(vec![MarketEvent::Registered { who: from, file: *file }])
            }
            MarketCall::NoOp => Ok(vec![]),
        }
    }

    fn bid_mut(&mut self, id: BidId) -> Result<&mut Bid, String> {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.bids.get_mut(index).ok_or_else(|| "unknown bid".to_owned())
    }

    fn place(&mut self, terms: BidTerms, value: Wei, now: ChainTime) -> Vec<MarketEvent> {
        self.held = self.held.plus(value);
        let fits = terms.size.0 >= 1
            && (1..=15).contains(&terms.min_validations)
            && terms.pool.0 >= terms.min_validations.into()
            && terms.duration >= MIN_DURATION;
        if !fits || terms.amount == Wei::ZERO {
            self.credit(terms.bidder, value);
            return vec![MarketEvent::BidRefused { file: terms.file, reason: "refused".to_owned() }];
        }
        let event = MarketEvent::BidPlaced {
            bid: BidId(self.bids.len() as u64),
            bidder: terms.bidder,
            amount: terms.amount,
            pool: terms.pool,
            file: terms.file,
            size: terms.size,
        };
        self.bids.push(Bid {
            terms,
            placed_at: now,
            hoster: None,
            hold_until: ChainTime(0),
            pinned_at: None,
            votes: vec![],
            outcome: None,
        });
        vec![event]
    }

    fn accept(&mut self, id: BidId, from: Address, now: ChainTime) -> Told {
        let bid = self.bid_mut(id)?;
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

    fn pinned(&mut self, id: BidId, from: Address, now: ChainTime) -> Told {
        let bid = self.bid_mut(id)?;
        if bid.pinned_at.is_some() {
            return revert("already pinned");
        }
        if bid.hoster != Some(from) {
            let hoster = bid.hoster.unwrap_or_default();
            return Ok(vec![MarketEvent::NotAcceptedByPinner { bid: id, hoster }]);
        }
        if bid.outcome.is_some() || now >= bid.offer_end().max(bid.hold_until) {
            return revert("offer over");
        }
        bid.pinned_at = Some(now);
        Ok(vec![MarketEvent::Pinned { bid: id, hoster: from, file: bid.terms.file }])
    }

    fn vote(&mut self, id: BidId, from: Address, valid: bool, now: ChainTime) -> Told {
        let since = self.registered.get(&from).map(|(_, since)| *since);
        let bid = self.bid_mut(id)?;
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
        if since.is_none_or(|since| since > bid.placed_at) {
            return revert("not a voter");
        }
        bid.votes.push((from, valid));
        Ok(vec![MarketEvent::Voted { bid: id, validator: from, valid }])
    }

    fn settle(&mut self, id: BidId, now: ChainTime) -> Told {
        let bid = self.bid_mut(id)?;
        if bid.outcome.is_some() {
            return revert("already settled");
        }
        let due = match bid.pinned_at {
            Some(_) => bid.close(),
            None => bid.offer_end().max(bid.hold_until),
        };
        if now < due {
            return revert("too early");
        }
        let (terms, votes, hoster) = (bid.terms.clone(), bid.votes.clone(), bid.hoster.unwrap_or_default());
        let valid = votes.iter().filter(|(_, valid)| *valid).count() as u64;
        let count = votes.len() as u64;
        let invalid = count - valid;
        let quorum = u64::from(terms.min_validations);
        let (outcome, winners, share) = if bid.pinned_at.is_none() {
            (Settlement::Expired, None, Wei::ZERO)
        } else if count >= quorum && valid > invalid {
            (Settlement::Paid, Some(true), terms.pool.divided_by(valid))
        } else if count >= quorum && invalid > valid {
            (Settlement::Failed, Some(false), terms.pool.divided_by(invalid))
        } else {
            (Settlement::Undecided, None, terms.pool.divided_by(count.max(quorum)))
        };
        bid.outcome = Some(outcome);
        let mut to_validators = Wei::ZERO;
        for (voter, vote) in &votes {
            if winners.is_none_or(|winner| winner == *vote) {
                self.credit(*voter, share);
                to_validators = to_validators.plus(share);
            }
        }
        let to_hoster = if outcome == Settlement::Paid { terms.amount } else { Wei::ZERO };
        let to_bidder = terms.amount.plus(terms.pool).minus(to_validators).minus(to_hoster);
        self.credit(hoster, to_hoster);
        self.credit(terms.bidder, to_bidder);
        Ok(vec![MarketEvent::Settled {
            bid: id,
            outcome,
            hoster: to_hoster,
            validators: to_validators,
            bidder: to_bidder,
        }])
    }

    fn withdraw(&mut self, from: Address) -> Vec<MarketEvent> {
        match self.credits.remove(&from).filter(|credit| *credit > Wei::ZERO) {
            Some(amount) => {
                self.held = self.held.minus(amount);
                vec![MarketEvent::Withdrawn { amount, to: from }]
            }
            None => vec![MarketEvent::WithdrawFailed { to: from, reason: "nothing to withdraw".to_owned() }],
        }
    }

    fn credit(&mut self, who: Address, amount: Wei) {
        if amount > Wei::ZERO {
            let credit = self.credits.entry(who).or_default();
            *credit = credit.plus(amount);
        }
    }

    /// Where a bid stands, as the contract's views tell.
    pub fn state_of(&self, id: BidId) -> Option<BidState> {
        let bid = self.bids.get(usize::try_from(id.0).ok()?)?;
        Some(BidState {
            terms: bid.terms.clone(),
            hoster: bid.hoster,
            hold_until: bid.hold_until,
            pinned_at: bid.pinned_at,
            votes: bid
                .votes
                .iter()
                .map(|(validator, valid)| Vote {
                    validator: *validator,
                    valid: *valid,
                    paid: bid.outcome.is_some(),
                })
                .collect(),
            outcome: bid.outcome,
        })
    }

    /// Whether somebody could accept a bid: it is on offer, and neither pinned nor settled.
    pub fn is_open(&self, id: BidId, now: ChainTime) -> bool {
        let bid = usize::try_from(id.0).ok().and_then(|index| self.bids.get(index));
        bid.is_some_and(|bid| bid.is_open(now))
    }

    /// What the market owes in all: credits, and the escrow of bids that are not settled.
    pub fn owes(&self) -> Wei {
        let escrow = self.bids.iter().filter(|bid| bid.outcome.is_none());
        let escrow = escrow.fold(Wei::ZERO, |sum, bid| sum.plus(bid.terms.amount).plus(bid.terms.pool));
        self.credits.values().fold(escrow, |sum, credit| sum.plus(*credit))
    }
}
