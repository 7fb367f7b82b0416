//! The market as the node sees it: bids, their terms, what the contract tells and what may be asked of it.
//!
//! Source: the version 1 interface (`BidSuccessful`, `Accepted`, …) and our version 2 (`Settled`, windows).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::units::{
    Address, BidId, BlockHash, BlockHeight, ByteSize, ChainTime, Digest, FileHash, TxHash, Wei,
};

/// One market contract on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Market {
    /// The chain's id (EIP-155).
    pub chain: u64,
    /// The contract's address.
    pub address: Address,
}

/// A bid named so that it is unique among all markets: `CHAIN:MARKET:BID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BidKey {
    /// The market that holds the bid.
    pub market: Market,
    /// The bid's number there.
    pub id: BidId,
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.chain, self.address)
    }
}

impl fmt::Display for BidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.market, self.id)
    }
}

impl BidKey {
    /// The key's bytes, ordered as the bids are: 8 of the chain, 20 of the market, 8 of the bid.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.market.chain.to_be_bytes().to_vec();
        bytes.extend(self.market.address.0);
        bytes.extend(self.id.0.to_be_bytes());
        bytes
    }
}

/// What a bidder offered (`getBid`). On our market the terms never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidTerms {
    /// Who offered.
    pub bidder: Address,
    /// The root's sha2-256 digest.
    pub file: FileHash,
    /// The declared size of the file in bytes.
    pub size: ByteSize,
    /// What the hoster gets.
    pub amount: Wei,
    /// What the validators share.
    pub pool: Wei,
    /// How long the file must be kept, in seconds.
    pub duration: u64,
    /// How many votes decide.
    pub min_validations: u32,
}

impl BidTerms {
    /// Whether an event tells of the placing of this bid. It does not tell the duration and the votes wanted.
    pub fn are_of(&self, event: &MarketEvent) -> bool {
        let MarketEvent::BidPlaced { bidder, amount, pool, file, size, .. } = event else { return false };
        (bidder, amount, pool, file, size) == (&self.bidder, &self.amount, &self.pool, &self.file, &self.size)
    }
}

/// Which rules the market contract follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// The seed project's contract, traps included: it has no `marketVersion()`.
    Legacy,
    /// Ours: `marketVersion()` is 2.
    V2,
}

/// The market's own constants, read once at start (a bid's windows on version 2 come from the bid).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketRules {
    /// Whose rules.
    pub version: Version,
    /// How long an accept holds the bid, in seconds.
    pub accept_hold: u64,
    /// How long after the end votes are taken, in seconds; 0 on the legacy market, which has no such window.
    pub vote_duration: u64,
}

/// How a bid ended on chain (version 2 only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The hoster and the valid voters were credited.
    Paid,
    /// The invalid voters were credited, the bidder refunded.
    Failed,
    /// Too few votes or a tie.
    Undecided,
    /// Nobody pinned in time.
    Expired,
}

/// Where a bid stands on chain at one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidState {
    /// The offer.
    pub terms: BidTerms,
    /// Who accepted or pinned last, if anybody.
    pub hoster: Option<Address>,
    /// Until when the accept holds; 0 if nobody accepted. The legacy market does not tell: 0.
    pub hold_until: ChainTime,
    /// When the hoster announced; `None` before.
    pub pinned_at: Option<ChainTime>,
    /// Votes so far, in order.
    pub votes: Vec<Vote>,
    /// The outcome, once settled. The legacy market does not tell.
    pub outcome: Option<Settlement>,
    /// From when on nobody can accept it any more; an offer on the legacy market stands for ever: `None`.
    #[serde(default)]
    pub offer_end: Option<ChainTime>,
    /// How many accounts may vote: those that had registered when it was placed. On the legacy market anybody may: `None`.
    #[serde(default)]
    pub voters: Option<u64>,
}

/// One validator's vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who voted.
    pub validator: Address,
    /// What they said.
    pub valid: bool,
    /// Whether the contract counts it as paid.
    pub paid: bool,
}

/// Where in the chain a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The block's number.
    pub block: BlockHeight,
    /// The log's index in the block.
    pub log: u32,
    /// The block's hash.
    pub hash: BlockHash,
    /// The block's timestamp.
    pub time: ChainTime,
    /// The transaction that emitted it.
    pub tx: TxHash,
}

/// What a contract of the market told in one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MarketEvent {
    /// `BidSuccessful`: a bid is open.
    BidPlaced {
        /// The bid.
        bid: BidId,
        /// Who offered.
        bidder: Address,
        /// What the hoster gets.
        amount: Wei,
        /// What the validators share.
        pool: Wei,
        /// The root's digest.
        file: FileHash,
        /// Declared bytes.
        size: ByteSize,
    },
    /// `BidInvalid` or `BidTooLow`: no bid came of it.
    BidRefused {
        /// The root's digest.
        file: FileHash,
        /// The contract's words; a stranger's text.
        reason: String,
    },
    /// `Accepted`: a hoster holds the bid.
    Accepted {
        /// The bid.
        bid: BidId,
        /// Chain time of the accept.
        when: ChainTime,
        /// Who holds it.
        hoster: Address,
    },
    /// `AcceptWait`: somebody else holds it. On the legacy market the number is the time elapsed.
    AcceptWait {
        /// Seconds.
        seconds: u64,
    },
    /// `Pinned`: the hoster says that it has the content; the duration runs from here.
    Pinned {
        /// The bid.
        bid: BidId,
        /// Who announced.
        hoster: Address,
        /// The root's digest.
        file: FileHash,
    },
    /// `NotAcceptedByPinner`: the caller is not the recorded hoster.
    NotAcceptedByPinner {
        /// The bid.
        bid: BidId,
        /// The recorded hoster.
        hoster: Address,
    },
    /// `ValidationOcurred`: a vote counts.
    Voted {
        /// The bid.
        bid: BidId,
        /// Who voted.
        validator: Address,
        /// What they said.
        valid: bool,
    },
    /// `Settled`: the money is credited (version 2 only).
    Settled {
        /// The bid.
        bid: BidId,
        /// How it ended.
        outcome: Settlement,
        /// Credited to the hoster.
        hoster: Wei,
        /// Credited to the voters together.
        validators: Wei,
        /// Credited to the bidder.
        bidder: Wei,
    },
    /// `Withdraw`: a credit was paid out.
    Withdrawn {
        /// How much.
        amount: Wei,
        /// To whom.
        to: Address,
    },
    /// `WithdrawFailed`: nothing was paid out.
    WithdrawFailed {
        /// Who asked.
        to: Address,
        /// The contract's words; a stranger's text.
        reason: String,
    },
    /// `Registered`: somebody's registration file (our Register).
    Registered {
        /// Who.
        who: Address,
        /// The file's digest.
        file: FileHash,
    },
}

impl MarketEvent {
    /// The bid that the event is about, if it is about one.
    pub fn bid(&self) -> Option<BidId> {
        match self {
            Self::BidPlaced { bid, .. }
            | Self::Accepted { bid, .. }
            | Self::Pinned { bid, .. }
            | Self::NotAcceptedByPinner { bid, .. }
            | Self::Voted { bid, .. }
            | Self::Settled { bid, .. } => Some(*bid),
            Self::BidRefused { .. }
            | Self::AcceptWait { .. }
            | Self::Withdrawn { .. }
            | Self::WithdrawFailed { .. }
            | Self::Registered { .. } => None,
        }
    }
}

/// A transaction that the node may want, in the market's words; the chain adapter makes the calldata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", content = "of", rename_all = "snake_case")]
pub enum MarketCall {
    /// `bid(…)` with `amount + pool` as its value.
    Bid {
        /// The root's digest.
        file: FileHash,
        /// Declared bytes.
        size: ByteSize,
        /// Seconds to keep it.
        duration: u64,
        /// For the hoster.
        amount: Wei,
        /// For the validators.
        pool: Wei,
        /// Votes that decide.
        min_validations: u32,
    },
    /// `accept(bid)`.
    Accept(BidId),
    /// `pinned(bid)`.
    Pinned(BidId),
    /// `validate(bid)` or `invalidate(bid)`, with the evidence's digest behind the ABI's arguments.
    Vote {
        /// The bid.
        bid: BidId,
        /// validate or invalidate.
        valid: bool,
        /// Digest of the evidence file.
        evidence: Digest,
    },
    /// `settle(bid)`; version 2 only.
    Settle(BidId),
    /// `withdraw()` of all credit.
    Withdraw,
    /// `register(file)` on the Register.
    Register(FileHash),
    /// A transfer of nothing to oneself: takes a nonce that must not stay a gap.
    NoOp,
}

impl MarketCall {
    /// The ether that goes with the call.
    pub fn value(&self) -> Wei {
        match self {
            Self::Bid { amount, pool, .. } => amount.plus(*pool),
            Self::Accept(_)
            | Self::Pinned(_)
            | Self::Vote { .. }
            | Self::Settle(_)
            | Self::Withdraw
            | Self::Register(_)
            | Self::NoOp => Wei::ZERO,
        }
    }
}

/// The end of a transaction that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Execution {
    /// Mined, not reverted, and `confirmations` deep. Whether it did what was wanted stands in the events.
    Mined {
        /// The transaction.
        tx: TxHash,
        /// Its block.
        block: BlockHeight,
        /// That block's timestamp.
        time: ChainTime,
        /// Gas used.
        gas: u64,
        /// Gas times price.
        cost: Wei,
        /// What the market's contracts told in it.
        events: Vec<MarketEvent>,
    },
    /// Mined and reverted: the gas is gone, nothing else happened.
    Reverted {
        /// The transaction.
        tx: TxHash,
        /// Gas times price.
        cost: Wei,
    },
    /// Never sent, or its nonce went to something else. Nothing happened.
    Abandoned {
        /// Why.
        reason: Abandonment,
    },
}

/// Why a transaction was given up without an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", content = "what", rename_all = "snake_case")]
pub enum Abandonment {
    /// `eth_call` said that it would revert.
    #[error("it would revert: {0}")]
    WouldRevert(String),
    /// Its deadline passed before it was mined.
    #[error("its deadline passed")]
    TooLate,
    /// The operator took it back.
    #[error("the operator cancelled it")]
    Cancelled,
    /// It costs more than a transaction may.
    #[error("it is over the spend cap: {0}")]
    OverCap(String),
    /// A transaction that this node did not sign took its nonce for good.
    #[error("a transaction that this node did not sign took its nonce")]
    NonceTaken,
}
