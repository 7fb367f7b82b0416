//! The chain: blocks, the market's events and views, and raw transactions.

use futures::future::join_all;
use futures::FutureExt;

use super::{Answer, Answers};
use crate::domain::following::{Contracts, Found, Named};
pub use crate::domain::listening::{Event, Events, Header, Said, Span};
use crate::domain::market::{BidKey, BidState, BidTerms, MarketCall, MarketEvent};
use crate::domain::units::{Address, BlockHash, BlockHeight, ChainTime, FileHash, TxHash, Wei};

/// What new transactions pay at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeMarket {
    /// Wei a gas of the next block; `None` on chains without EIP-1559.
    pub base_fee: Option<Wei>,
    /// Wei a gas: the tip that gets in, or the whole gas price without EIP-1559.
    pub tip: Wei,
}

/// The receipt of a mined transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Of which transaction.
    pub tx: TxHash,
    /// The block's number.
    pub block: BlockHeight,
    /// The block's hash: it must be canonical to count.
    pub hash: BlockHash,
    /// False for a revert. True alone is no success: read the events.
    pub succeeded: bool,
    /// Gas used.
    pub gas_used: u64,
    /// Wei a gas that was paid.
    pub gas_price: Wei,
    /// The market's events in it.
    pub events: Vec<MarketEvent>,
}

/// Which state a nonce is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Mined transactions only.
    Latest,
    /// With those in the provider's mempool.
    Pending,
}

/// What the chain's provider said or did not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No answer, or none that could be understood.
    #[error("{url}: {what}")]
    Unreachable {
        /// The provider, without credentials.
        url: String,
        /// What went wrong.
        what: String,
    },
    /// The provider answered with an error of its own.
    #[error("{url}: {method} answered {code}: {message}")]
    Refused {
        /// The provider, without credentials.
        url: String,
        /// The method asked.
        method: &'static str,
        /// JSON-RPC's code.
        code: i64,
        /// The provider's words, kept whole.
        message: String,
    },
    /// The provider refuses an answer as large as this one would be; less may be answered at once.
    #[error("{url}: too much was asked for: {message}")]
    TooMuch {
        /// The provider, without credentials.
        url: String,
        /// The provider's words, kept whole.
        message: String,
        /// The range that the provider's words allow, in blocks, where they tell one.
        blocks: Option<u64>,
    },
    /// The call would revert.
    #[error("the call would revert: {reason}")]
    Reverts {
        /// The contract's words.
        reason: String,
    },
    /// An answer that cannot be right (wrong hash, gap, duplicate).
    #[error("{url}: {what}")]
    Untrustworthy {
        /// The provider, without credentials.
        url: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// Whether the same question may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::TooMuch { .. }
            | Self::Untrustworthy { .. } => true,
            Self::Reverts { .. } => false,
        }
    }
}

/// A call, and the market that it is meant for.
pub type CallAt = (Address, MarketCall);

/// A provider of one chain, with the markets on it that are followed. Whoever asks about a bid or an account says on
/// which market, by its address.
pub trait Chain {
    /// The chain's id as the provider tells it.
    fn chain_id(&self) -> Answer<'_, u64, Error>;
    /// The market that the configuration names, through its Router where one is configured: the one that was found
    /// first. `Ok(None)` where there is no code at the address.
    fn market(&self) -> Answer<'_, Option<Found>, Error>;
    /// The market at an address. `Ok(None)` where there is no code.
    fn market_at(&self, market: Address) -> Answer<'_, Option<Found>, Error>;
    /// What names the market in the state of a block.
    fn named(&self, at: BlockHeight) -> Answer<'_, Named, Error>;
    /// From now on, the logs of these contracts are read. Before the first call it is those of [`Chain::market`].
    fn follow(&self, markets: &[Contracts]);
    /// The newest block.
    fn head(&self) -> Answer<'_, Header, Error>;
    /// The newest final block; `None` where the chain does not tell.
    fn finalized(&self) -> Answer<'_, Option<Header>, Error>;
    /// The canonical block of that number, if there is one.
    fn header(&self, number: BlockHeight) -> Answer<'_, Option<Header>, Error>;
    /// What the provider tells of a span's logs, of all contracts that are followed. Nobody has checked it: that is
    /// [`examine`](crate::domain::listening::examine)'s part.
    ///
    /// # Errors
    /// [`Error::TooMuch`] if less may be answered.
    fn events(&self, span: Span) -> Answer<'_, Events, Error>;
    /// Whether the logs of other contracts alone make up a block's bloom filter, which names ours then by chance.
    ///
    /// # Errors
    /// [`Error::Refused`] by a provider that does not show all logs of a block.
    fn others_fill_the_filter(&self, block: BlockHash) -> Answer<'_, bool, Error>;
    /// Tells that the last answer can't be right, which only who asked could see: the next question goes to another
    /// provider, if there is one. Gives the error to go on with.
    fn distrust(&self, what: &str) -> Error;
    /// A bid's terms; `None` for an unknown bid.
    fn terms(&self, bid: BidKey) -> Answer<'_, Option<BidTerms>, Error>;
    /// Where a bid stands at the head; `None` for an unknown bid.
    fn bid(&self, bid: BidKey) -> Answer<'_, Option<BidState>, Error>;
    /// How many bids a market has had.
    fn bid_count(&self, market: Address) -> Answer<'_, u64, Error>;
    /// The digest of somebody's registration file in a market's Register, if registered, and since when (0 on the
    /// legacy market).
    fn registration(&self, market: Address, who: Address)
        -> Answer<'_, Option<(FileHash, ChainTime)>, Error>;
    /// How many accounts are registered; `None` where the market does not tell.
    fn registered_count(&self, market: Address) -> Answer<'_, Option<u64>, Error>;
    /// What a market owes to an account.
    fn credit(&self, market: Address, who: Address) -> Answer<'_, Wei, Error>;
    /// An account's ether.
    fn balance(&self, who: Address) -> Answer<'_, Wei, Error>;
    /// The next nonce of an account.
    fn nonce(&self, who: Address, at: At) -> Answer<'_, u64, Error>;
    /// What transactions pay now.
    fn fees(&self) -> Answer<'_, FeeMarket, Error>;
    /// Runs a call at the head without sending it, and tells the gas it would take.
    ///
    /// # Errors
    /// [`Error::Reverts`] if the call would revert. Another error if whoever answers has not seen block `known`: it
    /// would take for a revert what it only does not know yet.
    fn simulate<'a>(&'a self, from: Address, call: &'a CallAt, known: BlockHeight) -> Answer<'a, u64, Error>;
    /// Hands over a signed transaction. An error means that its fate is unknown.
    fn submit<'a>(&'a self, raw: &'a [u8]) -> Answer<'a, TxHash, Error>;
    /// The receipt of a transaction, if it is mined.
    fn receipt(&self, tx: TxHash) -> Answer<'_, Option<Receipt>, Error>;

    /// [`Chain::bid`] of several bids; the answers are in the order of the questions.
    fn bids<'a>(&'a self, bids: &'a [BidKey]) -> Answers<'a, Option<BidState>, Error> {
        join_all(bids.iter().map(|bid| self.bid(*bid))).boxed_local()
    }
    /// [`Chain::header`] of several blocks; the answers are in the order of the questions.
    fn headers<'a>(&'a self, numbers: &'a [BlockHeight]) -> Answers<'a, Option<Header>, Error> {
        join_all(numbers.iter().map(|number| self.header(*number))).boxed_local()
    }
    /// [`Chain::simulate`] of several calls, each by itself at the head.
    fn simulate_all<'a>(
        &'a self,
        from: Address,
        calls: &'a [CallAt],
        known: BlockHeight,
    ) -> Answers<'a, u64, Error> {
        join_all(calls.iter().map(move |call| self.simulate(from, call, known))).boxed_local()
    }
    /// [`Chain::submit`] of several transactions.
    fn submit_all<'a>(&'a self, raws: &'a [&'a [u8]]) -> Answers<'a, TxHash, Error> {
        join_all(raws.iter().map(|raw| self.submit(raw))).boxed_local()
    }
    /// [`Chain::receipt`] of several transactions.
    fn receipts<'a>(&'a self, txs: &'a [TxHash]) -> Answers<'a, Option<Receipt>, Error> {
        join_all(txs.iter().map(|tx| self.receipt(*tx))).boxed_local()
    }
}
