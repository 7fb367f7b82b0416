//! The market contract's rules as a model: what each call does to the state of the market.
//!
//! It knows both rule sets: ours (`ours`, `contracts/src/ScatterMarket.sol`), and version 1 with its traps (`legacy`,
//! `contracts/test/support/TrapMarket.sol`). A test plays the same random calls to the model and to the Solidity.
//! A block keeps the state that stands after it, so a reorg has nothing to undo.

use std::collections::BTreeMap;

use crate::domain::market::{
    BidState, BidTerms, MarketCall, MarketEvent, MarketRules, Settlement, Version, Vote,
};
use crate::domain::units::{Address, BidId, ChainTime, FileHash, Wei};

mod legacy;
mod ours;
#[cfg(test)]
mod tests;

/// Seconds that an accept holds a bid.
pub const ACCEPT_HOLD: u64 = 900;
/// Seconds that a bid is on offer.
pub const OFFER: u64 = 7 * 86_400;
/// Seconds that votes are taken after the end.
pub const VOTE: u64 = 86_400;
/// Shortest duration of a bid in seconds.
pub const MIN_DURATION: u64 = 7 * 86_400;
/// Longest duration of a bid in seconds.
pub const MAX_DURATION: u64 = 3_650 * 86_400;

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
    /// How it ended. Version 1 knows no end.
    pub outcome: Option<Settlement>,
    /// How often it was paid out: at most once by our rules, by version 1's with every vote behind the end.
    pub payouts: u64,
    /// How many accounts had registered when it was placed: those may vote.
    voters: usize,
    /// How many of the votes the contract calls paid.
    paid: Paid,
}

/// Which votes the contract calls paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paid {
    /// The first so many.
    First(usize),
    /// All of those sides on which anything was to be had: valid and invalid.
    Sides(bool, bool),
}

impl Bid {
    fn new(terms: BidTerms, placed_at: ChainTime, voters: usize) -> Self {
        Self {
            terms,
            placed_at,
            hoster: None,
            hold_until: ChainTime(0),
            pinned_at: None,
            votes: vec![],
            outcome: None,
            payouts: 0,
            voters,
            paid: Paid::First(0),
        }
    }
    fn end(&self) -> ChainTime {
        self.pinned_at.unwrap_or_default().plus(self.terms.duration)
    }
    fn close(&self) -> ChainTime {
        self.end().plus(VOTE)
    }
    /// How many accounts may vote on it by our rules: those that had registered when it was placed.
    pub fn voters(&self) -> usize {
        self.voters
    }
    /// When no vote counts any more by our rules; `None` until it is announced.
    pub fn closes_at(&self) -> Option<ChainTime> {
        self.pinned_at.map(|_| self.close())
    }
    fn is_open(&self, now: ChainTime) -> bool {
        self.outcome.is_none() && self.pinned_at.is_none() && now < self.offer_end()
    }
    fn offer_end(&self) -> ChainTime {
        self.placed_at.plus(OFFER)
    }
    fn is_paid(&self, index: usize, valid: bool) -> bool {
        match self.paid {
            Paid::First(count) => index < count,
            Paid::Sides(for_valid, for_invalid) => (valid && for_valid) || (!valid && for_invalid),
        }
    }
}

/// The state of the market.
#[derive(Debug, Clone)]
pub struct Market {
    /// By whose rules it plays.
    pub version: Version,
    /// The least that a hoster may be offered.
    pub min_bid: Wei,
    /// All bids.
    pub bids: Vec<Bid>,
    /// What the market owes to each account.
    pub credits: BTreeMap<Address, Wei>,
    /// Registration files, and since when.
    pub registered: BTreeMap<Address, (FileHash, ChainTime)>,
    /// Accounts in the order in which they registered.
    voters: Vec<Address>,
    /// Ether that came in less what was withdrawn.
    pub held: Wei,
}

/// What a call does: its events, or the words of its revert, which changes nothing.
pub type Told = Result<Vec<MarketEvent>, String>;

fn revert<T>(why: &str) -> Result<T, String> {
    Err(why.to_owned())
}

impl Default for Market {
    fn default() -> Self {
        Self::by(Version::V2)
    }
}

impl Market {
    /// An empty market by those rules, on which a bid of one wei is possible.
    pub fn by(version: Version) -> Self {
        Self {
            version,
            min_bid: Wei::from(1),
            bids: vec![],
            credits: BTreeMap::new(),
            registered: BTreeMap::new(),
            voters: vec![],
            held: Wei::ZERO,
        }
    }

    /// The constants that the views tell.
    pub fn rules(&self) -> MarketRules {
        let vote_duration = match self.version {
            Version::V2 => VOTE,
            Version::Legacy => 0,
        };
        MarketRules { version: self.version, accept_hold: ACCEPT_HOLD, vote_duration }
    }

    /// What one call does at a time. A revert changes nothing.
    ///
    /// # Errors
    /// The contract's words.
    pub fn apply(&mut self, from: Address, call: &MarketCall, now: ChainTime) -> Told {
        let legacy = self.version == Version::Legacy;
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
                self.held = self.held.plus(call.value());
                let refused = if legacy { self.legacy_fault(&terms) } else { self.fault(&terms) };
                if let Some(reason) = refused {
                    // Version 1 keeps the money of a bid that it refuses.
                    if !legacy {
                        self.credit(from, call.value());
                    }
                    return Ok(vec![MarketEvent::BidRefused { file: terms.file, reason: reason.to_owned() }]);
                }
                Ok(vec![self.place(terms, now)])
            }
            MarketCall::Accept(id) if legacy => Ok(vec![self.legacy_accept(*id, from, now)]),
            MarketCall::Accept(id) => self.accept(*id, from, now),
            MarketCall::Pinned(id) if legacy => self.legacy_pinned(*id, from, now),
            MarketCall::Pinned(id) => self.pinned(*id, from, now),
            MarketCall::Vote { bid, valid, .. } if legacy => self.legacy_vote(*bid, from, *valid, now),
            MarketCall::Vote { bid, valid, .. } => self.vote(*bid, from, *valid, now),
            // Version 1 has no such function.
            MarketCall::Settle(_) if legacy => revert(""),
            MarketCall::Settle(id) => self.settle(*id, now),
            MarketCall::Withdraw => self.withdraw(from),
            MarketCall::Register(file) => self.register(*file, from, now),
            MarketCall::NoOp => Ok(vec![]),
        }
    }

    /// Whether a call would be mined, paid for, and change nothing: ours answers `false` then.
    pub fn says_no(&self, events: &[MarketEvent]) -> bool {
        let no = |event: &MarketEvent| {
            matches!(
                event,
                MarketEvent::AcceptWait { .. }
                    | MarketEvent::NotAcceptedByPinner { .. }
                    | MarketEvent::BidRefused { .. }
            )
        };
        self.version == Version::V2 && events.iter().any(no)
    }

    fn bid_mut(&mut self, id: BidId) -> Option<&mut Bid> {
        self.bids.get_mut(usize::try_from(id.0).ok()?)
    }

    fn place(&mut self, terms: BidTerms, now: ChainTime) -> MarketEvent {
        let event = MarketEvent::BidPlaced {
            bid: BidId(self.bids.len() as u64),
            bidder: terms.bidder,
            amount: terms.amount,
            pool: terms.pool,
            file: terms.file,
            size: terms.size,
        };
        self.bids.push(Bid::new(terms, now, self.voters.len()));
        event
    }

    fn register(&mut self, file: FileHash, from: Address, now: ChainTime) -> Told {
        if file == FileHash::default() {
            return revert("no file");
        }
        let since = self.registered.get(&from).map_or(now, |(_, since)| *since);
        if self.registered.insert(from, (file, since)).is_none() {
            self.voters.push(from);
        }
        Ok(vec![MarketEvent::Registered { who: from, file }])
    }

    fn withdraw(&mut self, from: Address) -> Told {
        let credit = self.credits.get(&from).copied().unwrap_or_default();
        if credit == Wei::ZERO {
            let reason = if self.version == Version::Legacy { "zero balance" } else { "nothing to withdraw" };
            return Ok(vec![MarketEvent::WithdrawFailed { to: from, reason: reason.to_owned() }]);
        }
        // Version 1 does not pay the last one, not even where there is exactly enough.
        if self.version == Version::Legacy && credit >= self.held {
            return revert("not enough funds");
        }
        self.credits.remove(&from);
        self.held = self.held.minus(credit);
        Ok(vec![MarketEvent::Withdrawn { amount: credit, to: from }])
    }

    fn credit(&mut self, who: Address, amount: Wei) {
        if amount > Wei::ZERO {
            let credit = self.credits.entry(who).or_default();
            *credit = credit.plus(amount);
        }
    }

    /// Where a bid stands, as the contract's views tell. Version 1 tells no times and no outcome.
    pub fn state_of(&self, id: BidId) -> Option<BidState> {
        let bid = self.bids.get(usize::try_from(id.0).ok()?)?;
        let tells = self.version == Version::V2;
        let vote = |(index, (validator, valid)): (usize, &(Address, bool))| Vote {
            validator: *validator,
            valid: *valid,
            paid: bid.is_paid(index, *valid),
        };
        Some(BidState {
            terms: bid.terms.clone(),
            hoster: bid.hoster,
            hold_until: if tells { bid.hold_until } else { ChainTime(0) },
            pinned_at: bid.pinned_at.filter(|_| tells),
            votes: bid.votes.iter().enumerate().map(vote).collect(),
            outcome: bid.outcome,
            offer_end: tells.then(|| bid.offer_end()),
            voters: tells.then_some(bid.voters as u64),
        })
    }

    /// What the market owes in all: credits, and the escrow of bids that are not paid out.
    pub fn owes(&self) -> Wei {
        let escrow = self.bids.iter().filter(|bid| bid.payouts == 0);
        let escrow = escrow.fold(Wei::ZERO, |sum, bid| sum.plus(bid.terms.amount).plus(bid.terms.pool));
        self.credits.values().fold(escrow, |sum, credit| sum.plus(*credit))
    }
}
