//! Whether a bid is worth hosting: every rule is asked, and every refusal told with its numbers.

use primitive_types::U256;
use serde::{Deserialize, Serialize};

use super::market::{BidState, BidTerms, MarketRules};
use super::units::{Address, ByteSize, ChainTime, Wei};

/// Seconds of the month by which prices are quoted: 30 days.
pub const MONTH: u64 = 30 * 86_400;
/// Bytes of a GiB.
pub const GIB: u64 = 1 << 30;
/// Gas of a vote and of its share of the settlement, measured on our market and rounded up.
pub const VOTE_AND_SETTLE_GAS: u64 = 250_000;
/// More validations than this are refused: each must find somebody to give it.
pub const MAX_VALIDATIONS: u32 = 3;

/// What the operator wants to host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// False: take no new bids.
    pub accept: bool,
    /// Floor of the price, in wei a GiB and month.
    pub min_price: Wei,
    /// Declared sizes taken, from and to, both included.
    pub sizes: (ByteSize, ByteSize),
    /// Durations taken in seconds, from and to, both included.
    pub durations: (u64, u64),
    /// Bytes that all hosted content may take.
    pub max_storage: ByteSize,
    /// Bytes that must stay free on the disk.
    pub min_free_disk: ByteSize,
    /// Only these bidders, where any are named.
    pub allow: Vec<Address>,
    /// Never these bidders.
    pub deny: Vec<Address>,
    /// Bytes a second at which content is assumed to arrive.
    pub assumed_speed: u64,
}

/// What the world is like while a bid is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The market that the Router names now, where the bid is on one that it named before.
    pub retired_for: Option<Address>,
    /// Bytes pinned or promised to be.
    pub used: ByteSize,
    /// Bytes free on the disk.
    pub free_disk: ByteSize,
    /// Wei a gas at the moment.
    pub gas_price: Wei,
    /// Seconds until our accept counts: confirmations times the block time.
    pub confirmation_time: u64,
    /// Chain time.
    pub now: ChainTime,
    /// This node's account.
    pub me: Address,
}

/// A rule that said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Refusal {
    /// The node takes no bids.
    #[error("this node takes no new bids")]
    NotAccepting,
    /// The Router names another market by now.
    #[error("its market is retired: the router names {current} now")]
    Retired {
        /// Which one.
        current: Address,
    },
    /// It is our own bid.
    #[error("it is this account's own bid")]
    OwnBid,
    /// It is hosted or over.
    #[error("it is hosted or settled already")]
    Taken,
    /// Nobody may accept it any more: as with what is read of a market's past.
    #[error("its offer ended at {ended}")]
    OfferOver {
        /// When.
        ended: ChainTime,
    },
    /// The bidder is denied, or not among those allowed.
    #[error("bidder {bidder} is not served")]
    Bidder {
        /// Who.
        bidder: Address,
    },
    /// Too cheap.
    #[error("{price} wei a GiB and month is below the floor of {floor}")]
    Price {
        /// Offered, wei a GiB and month.
        price: Wei,
        /// Wanted.
        floor: Wei,
    },
    /// Too small or too large.
    #[error("{size} bytes is outside {from} to {to}")]
    Size {
        /// Declared.
        size: ByteSize,
        /// Smallest taken.
        from: ByteSize,
        /// Largest taken.
        to: ByteSize,
    },
    /// Too short or too long.
    #[error("{seconds} s is outside {from} to {to} s")]
    Duration {
        /// Offered, in seconds.
        seconds: u64,
        /// Shortest taken.
        from: u64,
        /// Longest taken.
        to: u64,
    },
    /// No room within the storage that the operator gives.
    #[error("{needed} bytes do not fit: {used} of {limit} are used or promised")]
    Storage {
        /// Bytes that the bid may take at most.
        needed: ByteSize,
        /// Used or promised.
        used: ByteSize,
        /// Given.
        limit: ByteSize,
    },
    /// No room on the disk.
    #[error("{needed} bytes would leave less than {floor} of the {free} bytes free on the disk")]
    Disk {
        /// Bytes that the bid may take at most.
        needed: ByteSize,
        /// Free now.
        free: ByteSize,
        /// Must stay free.
        floor: ByteSize,
    },
    /// The content would not arrive within the hold.
    #[error("{needed} s to fetch and confirm do not fit into a hold of {hold} s")]
    Hold {
        /// Seconds needed.
        needed: u64,
        /// Seconds of the hold.
        hold: u64,
    },
    /// More validations than we believe in.
    #[error("{asked} validations are more than {most}")]
    Validations {
        /// Asked.
        asked: u32,
        /// Most.
        most: u32,
    },
    /// The pool would not pay for the votes.
    #[error("{share} wei a validator is below {needed}, one and a half times the gas of a vote")]
    Pool {
        /// Pool by validations.
        share: Wei,
        /// Needed.
        needed: Wei,
    },
    /// Not enough validators: those who register after the bid have no vote on it.
    #[error("{voters} accounts were registered when it was placed and may vote, {needed} are needed")]
    Validators {
        /// Who may vote.
        voters: u64,
        /// Needed.
        needed: u64,
    },
}

/// Bytes that content declared as `size` may take at most: 2 % and 1 MiB for the nodes above its leaves.
pub fn byte_cap(size: ByteSize) -> ByteSize {
    ByteSize(size.0.saturating_add(size.0 / 50).saturating_add(1 << 20))
}

/// The price of a bid in wei a GiB and month, rounded down.
pub fn price(terms: &BidTerms) -> Wei {
    let unit = U256::from(GIB) * U256::from(MONTH);
    let bought = U256::from(terms.size.0.max(1)) * U256::from(terms.duration.max(1));
    // 2^128 × 2^30 × 2^22 fits easily; a hostile amount saturates.
    Wei(terms.amount.0.saturating_mul(unit).checked_div(bought).unwrap_or_default())
}

/// Asks every rule. Nothing refused means: take it.
pub fn judge(bid: &BidState, policy: &Policy, rules: &MarketRules, now: &Circumstances) -> Vec<Refusal> {
    let terms = &bid.terms;
    let needed = byte_cap(terms.size);
    let mut refusals = Vec::new();
    let mut refuse = |no: bool, refusal: Refusal| {
        if no {
            refusals.push(refusal);
        }
    };

    refuse(!policy.accept, Refusal::NotAccepting);
    if let Some(current) = now.retired_for {
        refuse(true, Refusal::Retired { current });
    }
    refuse(terms.bidder == now.me, Refusal::OwnBid);
    refuse(bid.pinned_at.is_some() || bid.outcome.is_some(), Refusal::Taken);
    if let Some(ended) = bid.offer_end {
        refuse(now.now >= ended, Refusal::OfferOver { ended });
    }
    let unknown = !policy.allow.is_empty() && !policy.allow.contains(&terms.bidder);
    refuse(unknown || policy.deny.contains(&terms.bidder), Refusal::Bidder { bidder: terms.bidder });

    let price = price(terms);
    refuse(price < policy.min_price, Refusal::Price { price, floor: policy.min_price });
    let (from, to) = policy.sizes;
    refuse(terms.size < from || terms.size > to, Refusal::Size { size: terms.size, from, to });
    let (from, to) = policy.durations;
    let seconds = terms.duration;
    refuse(seconds < from || seconds > to, Refusal::Duration { seconds, from, to });

    let total = now.used.0.saturating_add(needed.0);
    let limit = policy.max_storage;
    refuse(total > limit.0, Refusal::Storage { needed, used: now.used, limit });
    let floor = policy.min_free_disk;
    let left = now.free_disk.0.saturating_sub(needed.0);
    refuse(left < floor.0, Refusal::Disk { needed, free: now.free_disk, floor });

    let fetch = (terms.size.0 / policy.assumed_speed.max(1)).saturating_add(now.confirmation_time);
    refuse(fetch >= rules.accept_hold, Refusal::Hold { needed: fetch, hold: rules.accept_hold });

    let asked = terms.min_validations;
    refuse(asked > MAX_VALIDATIONS, Refusal::Validations { asked, most: MAX_VALIDATIONS });
    let share = terms.pool.divided_by(u64::from(asked.max(1)));
    let vote = now.gas_price.times(VOTE_AND_SETTLE_GAS * 3).divided_by(2);
    refuse(share < vote, Refusal::Pool { share, needed: vote });
    if let Some(voters) = bid.voters {
        let wanted = u64::from(asked) + 1;
        refuse(voters < wanted, Refusal::Validators { voters, needed: wanted });
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::market::Version;
    use crate::domain::units::FileHash;

    fn fair() -> (BidState, Policy, MarketRules, Circumstances) {
        let terms = BidTerms {
            bidder: Address([1; 20]),
            file: FileHash([2; 32]),
            size: ByteSize(GIB),
            amount: Wei::from(1_000_000),
            pool: Wei::from(2_000_000),
            duration: MONTH,
            min_validations: 2,
        };
        let bid = BidState {
            terms,
            hoster: None,
            hold_until: ChainTime(0),
            pinned_at: None,
            votes: vec![],
            outcome: None,
            offer_end: Some(ChainTime(2)),
            voters: Some(3),
        };
        let policy = Policy {
            accept: true,
            min_price: Wei::from(1_000_000),
            sizes: (ByteSize(1), ByteSize(2 * GIB)),
            durations: (MONTH, MONTH),
            max_storage: ByteSize(3 * GIB),
            min_free_disk: ByteSize(GIB),
            allow: vec![],
            deny: vec![],
            assumed_speed: 10 << 20,
        };
        let rules = MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 86_400 };
        let now = Circumstances {
            retired_for: None,
            used: ByteSize(GIB),
            free_disk: ByteSize(4 * GIB),
            gas_price: Wei::from(2),
            confirmation_time: 24,
            now: ChainTime(1),
            me: Address([9; 20]),
        };
        (bid, policy, rules, now)
    }

    #[test]
    fn a_fair_bid_is_taken() {
        let (bid, policy, rules, now) = fair();
        assert_eq!(judge(&bid, &policy, &rules, &now), vec![]);
    }

    #[test]
    fn every_rule_refuses_alone_and_says_its_numbers() {
        type Spoil = fn(&mut BidState, &mut Policy, &mut MarketRules, &mut Circumstances);
        let table: [(&str, Spoil); 19] = [
            ("not_accepting", |_, p, _, _| p.accept = false),
            ("retired", |_, _, _, n| n.retired_for = Some(Address([8; 20]))),
            ("own_bid", |b, _, _, n| n.me = b.terms.bidder),
            ("taken", |b, _, _, _| b.pinned_at = Some(ChainTime(5))),
            ("taken", |b, _, _, _| b.outcome = Some(crate::domain::market::Settlement::Expired)),
            ("offer_over", |_, _, _, n| n.now = ChainTime(2)),
            ("bidder", |b, p, _, _| p.deny = vec![b.terms.bidder]),
            ("bidder", |_, p, _, _| p.allow = vec![Address([7; 20])]),
            ("price", |b, _, _, _| b.terms.amount = Wei::from(999_999)),
            ("size", |_, p, _, _| p.sizes.1 = ByteSize(GIB - 1)),
            ("size", |_, p, _, _| p.sizes.0 = ByteSize(GIB + 1)),
            ("duration", |_, p, _, _| p.durations.1 = MONTH - 1),
            ("duration", |_, p, _, _| p.durations.0 = MONTH + 1),
            ("storage", |_, _, _, n| n.used = ByteSize(2 * GIB)),
            ("disk", |_, _, _, n| n.free_disk = ByteSize(2 * GIB)),
            ("hold", |_, p, _, _| p.assumed_speed = 1 << 20),
            ("validations", |b, _, _, _| (b.terms.min_validations, b.voters) = (4, None)),
            ("pool", |_, _, _, n| n.gas_price = Wei::from(3)),
            ("validators", |b, _, _, _| b.voters = Some(2)),
        ];
        for (rule, spoil) in table {
            let (mut bid, mut policy, mut rules, mut now) = fair();
            spoil(&mut bid, &mut policy, &mut rules, &mut now);
            let refusals = judge(&bid, &policy, &rules, &now);
            let told: Vec<String> = refusals
                .iter()
                .map(|r| serde_json::to_value(r).unwrap()["rule"].as_str().unwrap().to_owned())
                .collect();
            assert!(told.contains(&rule.to_owned()), "{rule}: {told:?}");
            assert!(told.len() <= 2, "{rule} alone is the matter: {told:?}");
        }
    }

    #[test]
    fn a_hostile_bid_with_the_largest_numbers_never_overflows() {
        let (mut bid, policy, rules, now) = fair();
        bid.terms.size = ByteSize(u64::MAX);
        bid.terms.duration = u64::MAX;
        bid.terms.amount = Wei(U256::MAX);
        bid.terms.pool = Wei(U256::MAX);
        bid.terms.min_validations = u32::MAX;
        assert!(!judge(&bid, &policy, &rules, &now).is_empty());
        bid.terms.size = ByteSize(0);
        bid.terms.duration = 0;
        bid.terms.min_validations = 0;
        assert!(!judge(&bid, &policy, &rules, &now).is_empty());
    }
}
