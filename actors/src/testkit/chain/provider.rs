//! The chain as its provider tells it: with a delay of blocks, with errors, or not at all.

use std::rc::Rc;

use futures::FutureExt;
use serde::{Deserialize, Serialize};

use super::blocks::State;
use super::{gas, FakeChain, Law, Mined};
use crate::domain::following::{Contracts, Found, Named};
use crate::domain::market::{BidKey, BidState, BidTerms, MarketEvent, Position, Version};
use crate::domain::units::{Address, BlockHash, BlockHeight, ChainTime, FileHash, TxHash, Wei};
use crate::ports::chain::{At, CallAt, Chain, Error, Event, Events, FeeMarket, Header, Receipt, Said, Span};
use crate::ports::Answer;
use crate::testkit::market::Market;

/// Where the first market is.
pub const MARKET: Address = Address([0x3a; 20]);

/// How a provider fails one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// No answer, no effect.
    Lost,
    /// The effect, but no answer.
    AnswerLost,
    /// These words instead of an answer, no effect.
    Says(&'static str),
    /// Never an answer, no effect.
    Hangs,
    /// The effect, but never an answer.
    HangsAfter,
    /// An answer as of so many blocks ago.
    Lags(u64),
    /// An answer about logs that can't be right, or a refusal of its size. Other questions are answered.
    Tells(Logs),
}

/// What is wrong with logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Logs {
    /// Ranges of more blocks are refused.
    TooMuch {
        /// So many are answered.
        most: u64,
        /// Whether the provider tells how many.
        tells: bool,
    },
    /// None of a block, although its filter names us; a range tells all, since nobody could know.
    None,
    /// The first one twice.
    Twice,
    /// In the wrong order.
    Backwards,
    /// One of a contract that nobody asked about.
    Foreign,
    /// One of another block with that number.
    Elsewhere,
    /// One that a reorg removed.
    Removed,
    /// As of a machine that does not know the span's last block yet.
    Unborn,
}

impl Logs {
    /// Bends a true answer.
    fn bend(self, mut told: Events, span: Span) -> Result<Events, Error> {
        if let (Self::TooMuch { most, tells }, Span::Range(first, last)) = (self, span) {
            let message = format!("block range is too large, max is {most} blocks");
            let blocks = tells.then_some(most);
            return match last.0 - first.0 >= most {
                true => Err(Error::TooMuch { url: "memory".into(), message, blocks }),
                false => Ok(told),
            };
        }
        match (self, told.logs.first_mut()) {
            (Self::Unborn, _) => (told.last, told.logs) = (None, vec![]),
            (Self::None, Some(_)) if matches!(span, Span::Block(..)) => told.logs.clear(),
            (Self::Twice, Some(log)) => {
                let again = log.clone();
                told.logs.push(again);
            }
            (Self::Foreign, Some(log)) => log.by = Address([0x66; 20]),
            (Self::Elsewhere, Some(log)) => log.at.hash = BlockHash([0x66; 32]),
            (Self::Removed, Some(log)) => log.removed = true,
            (Self::Backwards, _) => told.logs.reverse(),
            _ => {}
        }
        Ok(told)
    }
}

/// The error of a provider that has words of its own.
pub(super) fn refused(method: &'static str, message: &str) -> Error {
    Error::Refused { url: "memory".into(), method, code: -32000, message: message.into() }
}

impl FakeChain {
    /// Answers a question with its trouble. `question` gets the newest block that the provider knows.
    fn answer<'a, T: 'a>(
        &'a self,
        method: &'static str,
        question: impl FnOnce(u64) -> Result<T, Error> + 'a,
    ) -> Answer<'a, T, Error> {
        self.answer_bent(method, question, |answer, _| Ok(answer))
    }

    /// The same where an answer about logs is `bent`.
    fn answer_bent<'a, T: 'a>(
        &'a self,
        method: &'static str,
        question: impl FnOnce(u64) -> Result<T, Error> + 'a,
        bent: impl FnOnce(T, Logs) -> Result<T, Error> + 'a,
    ) -> Answer<'a, T, Error> {
        let lost = || Error::Unreachable { url: "memory".into(), what: "lost".into() };
        async move {
            let trouble = (self.hook.borrow_mut())(method);
            // As over a network: nothing is answered within the same turn.
            tokio::task::yield_now().await;
            let head = self.height();
            match trouble {
                None => question(head),
                Some(Trouble::Lost) => Err(lost()),
                Some(Trouble::AnswerLost) => question(head).and_then(|_| Err(lost())),
                Some(Trouble::Says(words)) => Err(refused(method, words)),
                Some(Trouble::Hangs) => futures::future::pending().await,
                Some(Trouble::HangsAfter) => {
                    let _unheard = question(head);
                    futures::future::pending().await
                }
                Some(Trouble::Lags(blocks)) => question(head.saturating_sub(blocks)),
                Some(Trouble::Tells(logs)) => question(head).and_then(|answer| bent(answer, logs)),
            }
        }
        .boxed_local()
    }

    fn state_of(&self, bid: BidKey, head: u64) -> Option<BidState> {
        self.market_of(bid.market.address, head).state_of(bid.id)
    }

    fn has_market(&self) -> bool {
        matches!(self.law, Law::Market)
    }

    /// What stood after the newest block that the provider knows.
    fn state_at(&self, head: u64) -> Rc<State> {
        let blocks = self.blocks.borrow();
        Rc::clone(&blocks.at(head, head).unwrap_or_else(|| blocks.head()).state)
    }

    /// A market as it stood after the newest block that the provider knows.
    pub(super) fn market_of(&self, market: Address, head: u64) -> Market {
        self.state_at(head).markets.get(&market).cloned().unwrap_or_default()
    }

    /// What a caller is told who asks for the market at an address.
    fn found(&self, market: Address, head: u64) -> Option<Found> {
        let state = self.state_at(head);
        let rules = state.markets.get(&market)?.rules();
        let (register, voters, env) = (None, None, None);
        let contracts = Contracts { market, version: rules.version, register, voters, env };
        Some(Found { contracts, rules })
    }

    fn header_at(&self, number: u64, head: u64) -> Option<Header> {
        self.blocks.borrow().at(number, head).map(|block| block.header.clone())
    }

    fn events_in(&self, span: Span, head: u64) -> Result<Events, Error> {
        let blocks = self.blocks.borrow();
        let mut found = Events { contracts: self.followed.borrow().clone(), ..Events::default() };
        (found.first, found.last) = match span {
            Span::Range(first, last) => (self.header_at(first.0, head), self.header_at(last.0, head)),
            Span::Block(_, number) => (self.header_at(number.0, head), self.header_at(number.0, head)),
        };
        if let Span::Block(hash, number) = span {
            // As providers do (EIP-234): a block that is not theirs is an error, never an empty answer.
            if blocks.at(number.0, head).is_none_or(|block| block.header.hash != hash) {
                return Err(refused("events", "unknown block"));
            }
        }
        for block in blocks.iter().take_while(|block| block.header.number.0 <= head) {
            let header = &block.header;
            let inside = match span {
                Span::Range(first, last) => first <= header.number && header.number <= last,
                Span::Block(hash, _) => header.hash == hash,
            };
            let told = block
                .mined
                .iter()
                .flat_map(|mined| mined.receipt.events.iter().map(move |event| (mined, event.clone())));
            for (log, (mined, event)) in told.enumerate().filter(|_| inside) {
                let (block, hash, time, tx) = (header.number, header.hash, header.time, mined.receipt.tx);
                let at = Position { block, log: log as u32, hash, time, tx };
                let by = mined.tx.market();
                if found.contracts.contains(&by) {
                    found.logs.push(Event { at, by, removed: false, said: Said::Known(event) });
                }
            }
        }
        found.named = matches!(span, Span::Block(..)) && !found.logs.is_empty();
        Ok(found)
    }
}

impl Chain for FakeChain {
    fn chain_id(&self) -> Answer<'_, u64, Error> {
        self.answer("chain_id", |_| Ok(self.id))
    }
    fn market(&self) -> Answer<'_, Option<Found>, Error> {
        self.answer("market", |head| Ok(self.found(self.state_at(head).router, head)))
    }
    fn market_at(&self, market: Address) -> Answer<'_, Option<Found>, Error> {
        self.answer("market_at", move |head| Ok(self.found(market, head)))
    }
    fn named(&self, at: BlockHeight) -> Answer<'_, Named, Error> {
        self.answer("named", move |head| {
            let router = self.state_at(at.0.min(head)).router;
            let unusable = || Named::Unusable { what: format!("there is no code at {router}") };
            Ok(self.found(router, at.0.min(head)).map_or_else(unusable, Named::Market))
        })
    }
    fn follow(&self, markets: &[Contracts]) {
        *self.followed.borrow_mut() = markets.iter().map(|contracts| contracts.market).collect();
    }
    fn head(&self) -> Answer<'_, Header, Error> {
        self.answer("head", |head| Ok(self.header_at(head, head).unwrap()))
    }
    fn finalized(&self) -> Answer<'_, Option<Header>, Error> {
        self.answer("finalized", |head| {
            let newest = self.final_lag.get().map(|lag| self.height().saturating_sub(lag));
            let newest = newest.map(|newest| self.final_stop.get().map_or(newest, |stop| stop.min(newest)));
            Ok(newest.and_then(|newest| self.header_at(newest, head)))
        })
    }
    fn header(&self, number: BlockHeight) -> Answer<'_, Option<Header>, Error> {
        self.answer("header", move |head| Ok(self.header_at(number.0, head)))
    }
    fn events(&self, span: Span) -> Answer<'_, Events, Error> {
        let question = move |head| self.events_in(span, head);
        self.answer_bent("events", question, move |told, logs| logs.bend(told, span))
    }
    fn others_fill_the_filter(&self, block: BlockHash) -> Answer<'_, bool, Error> {
        self.answer("others_fill_the_filter", move |head| {
            let blocks = self.blocks.borrow();
            let mut known = blocks.iter().take_while(|known| known.header.number.0 <= head);
            let block = known.find(|known| known.header.hash == block);
            let block = block.ok_or_else(|| refused("others_fill_the_filter", "unknown block"))?;
            Ok(block.mined.iter().all(|mined| mined.receipt.events.is_empty()))
        })
    }
    fn distrust(&self, what: &str) -> Error {
        Error::Untrustworthy { url: "memory".into(), what: what.into() }
    }
    fn terms(&self, bid: BidKey) -> Answer<'_, Option<BidTerms>, Error> {
        self.answer("terms", move |head| Ok(self.state_of(bid, head).map(|bid| bid.terms)))
    }
    fn bid(&self, bid: BidKey) -> Answer<'_, Option<BidState>, Error> {
        self.answer("bid", move |head| Ok(self.state_of(bid, head)))
    }
    fn bid_count(&self, market: Address) -> Answer<'_, u64, Error> {
        self.answer("bid_count", move |head| Ok(self.market_of(market, head).bids.len() as u64))
    }
    fn registration(
        &self,
        market: Address,
        who: Address,
    ) -> Answer<'_, Option<(FileHash, ChainTime)>, Error> {
        self.answer("registration", move |head| {
            Ok(self.market_of(market, head).registered.get(&who).copied())
        })
    }
    fn registered_count(&self, market: Address) -> Answer<'_, Option<u64>, Error> {
        self.answer("registered_count", move |head| {
            let market = self.market_of(market, head);
            // Version 1 keeps no list of voters.
            let tells = self.has_market() && market.version == Version::V2;
            Ok(tells.then_some(market.registered.len() as u64))
        })
    }
    fn credit(&self, market: Address, who: Address) -> Answer<'_, Wei, Error> {
        self.answer("credit", move |head| {
            if self.has_market() {
                return Ok(self.market_of(market, head).credits.get(&who).copied().unwrap_or_default());
            }
            let blocks = self.blocks.borrow();
            let events = blocks.mined().flat_map(|mined| &mined.receipt.events);
            Ok(events.fold(Wei::from(self.owed.get()), |owed, event| match event {
                MarketEvent::Withdrawn { amount, to } if *to == who => owed.minus(*amount),
                _ => owed,
            }))
        })
    }
    fn balance(&self, who: Address) -> Answer<'_, Wei, Error> {
        self.answer("balance", move |_| Ok(self.balance_of(who)))
    }
    fn nonce(&self, who: Address, at: At) -> Answer<'_, u64, Error> {
        self.answer("nonce", move |head| {
            let mut next = self.next_nonce(who, head);
            while at == At::Pending && self.pool.borrow().has(who, next) {
                next += 1;
            }
            Ok(next)
        })
    }
    fn fees(&self) -> Answer<'_, FeeMarket, Error> {
        self.answer("fees", |_| {
            let (base_fee, tip) = (Wei::from(self.base_fee.get()), Wei::from(self.tip.get()));
            Ok(match self.legacy.get() {
                true => FeeMarket { base_fee: None, tip: base_fee.plus(tip) },
                false => FeeMarket { base_fee: Some(base_fee), tip },
            })
        })
    }
    fn simulate<'a>(&'a self, from: Address, call: &'a CallAt, known: BlockHeight) -> Answer<'a, u64, Error> {
        self.answer("simulate", move |head| {
            if head < known.0 {
                return Err(refused("simulate", "not yet that far"));
            }
            let time = self.header_at(head, head).unwrap().time;
            let mut state = (*self.state_at(head)).clone();
            let (market, call) = call;
            match self.call(&mut state, &[], from, (*market, call), time) {
                Ok(events) if self.market_of(*market, head).says_no(&events) => {
                    Err(Error::Reverts { reason: "the market would refuse it".into() })
                }
                Ok(_) => Ok(gas(call)),
                Err(reason) => Err(Error::Reverts { reason }),
            }
        })
    }
    fn submit<'a>(&'a self, raw: &'a [u8]) -> Answer<'a, TxHash, Error> {
        self.answer("submit", move |_| self.take(raw).map_err(|words| refused("submit", &words)))
    }
    fn receipt(&self, tx: TxHash) -> Answer<'_, Option<Receipt>, Error> {
        self.answer("receipt", move |head| {
            let known = |mined: &Mined| mined.receipt.tx == tx && mined.receipt.block.0 <= head;
            let blocks = self.blocks.borrow();
            let orphan = blocks.orphans.iter().find(|receipt| receipt.tx == tx);
            let orphan = orphan.filter(|_| self.tells_orphans.get());
            let mined = blocks.mined().find(|mined| known(mined)).map(|mined| &mined.receipt);
            Ok(orphan.or(mined).cloned())
        })
    }
}
