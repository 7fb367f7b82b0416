//! A provider whose logs are not what stands on the chain.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::FutureExt;

use crate::domain::following::{Contracts, Found, Named};
use crate::domain::market::{BidKey, BidState, BidTerms};
use crate::domain::units::{Address, BlockHash, BlockHeight, ChainTime, FileHash, TxHash, Wei};
use crate::ports::chain::{At, CallAt, Chain, Error, Events, FeeMarket, Header, Receipt, Span};
use crate::ports::Answer;
use crate::testkit::chain::FakeChain;

/// What it makes of a span's true answer.
type Lie = dyn FnMut(Span, Events) -> Result<Events, Error>;

/// The provider. All but logs is the chain's.
pub struct Lying {
    pub chain: Rc<FakeChain>,
    lie: RefCell<Box<Lie>>,
    /// Answers to the question whether other contracts fill a block's filter; `None`: the chain's.
    pub filled: Cell<Option<bool>>,
    /// What it was told that it is not believed.
    pub doubts: RefCell<Vec<String>>,
    in_flight: Cell<usize>,
    /// The most questions for logs that were open at once.
    pub side_by_side: Cell<usize>,
}

impl Lying {
    pub fn about(chain: &Rc<FakeChain>) -> Rc<Self> {
        Rc::new(Self {
            chain: Rc::clone(chain),
            lie: RefCell::new(Box::new(|_, truth| Ok(truth))),
            filled: Cell::default(),
            doubts: RefCell::default(),
            in_flight: Cell::default(),
            side_by_side: Cell::default(),
        })
    }

    pub fn lie(&self, lie: impl FnMut(Span, Events) -> Result<Events, Error> + 'static) {
        *self.lie.borrow_mut() = Box::new(lie);
    }
}

pub fn too_much(blocks: Option<u64>) -> Error {
    Error::TooMuch { url: "memory".into(), message: "too much".into(), blocks }
}

impl Chain for Lying {
    fn events(&self, span: Span) -> Answer<'_, Events, Error> {
        async move {
            self.in_flight.set(self.in_flight.get() + 1);
            self.side_by_side.set(self.side_by_side.get().max(self.in_flight.get()));
            let truth = self.chain.events(span).await;
            self.in_flight.set(self.in_flight.get() - 1);
            (self.lie.borrow_mut())(span, truth?)
        }
        .boxed_local()
    }
    fn others_fill_the_filter(&self, block: BlockHash) -> Answer<'_, bool, Error> {
        async move {
            match self.filled.get() {
                Some(filled) => Ok(filled),
                None => self.chain.others_fill_the_filter(block).await,
            }
        }
        .boxed_local()
    }
    fn distrust(&self, what: &str) -> Error {
        self.doubts.borrow_mut().push(what.to_owned());
        self.chain.distrust(what)
    }
    fn chain_id(&self) -> Answer<'_, u64, Error> {
        self.chain.chain_id()
    }
    fn market(&self) -> Answer<'_, Option<Found>, Error> {
        self.chain.market()
    }
    fn market_at(&self, market: Address) -> Answer<'_, Option<Found>, Error> {
        self.chain.market_at(market)
    }
    fn named(&self, at: BlockHeight) -> Answer<'_, Named, Error> {
        self.chain.named(at)
    }
    fn follow(&self, markets: &[Contracts]) {
        self.chain.follow(markets);
    }
    fn head(&self) -> Answer<'_, Header, Error> {
        self.chain.head()
    }
    fn finalized(&self) -> Answer<'_, Option<Header>, Error> {
        self.chain.finalized()
    }
    fn header(&self, number: BlockHeight) -> Answer<'_, Option<Header>, Error> {
        self.chain.header(number)
    }
    fn terms(&self, bid: BidKey) -> Answer<'_, Option<BidTerms>, Error> {
        self.chain.terms(bid)
    }
    fn bid(&self, bid: BidKey) -> Answer<'_, Option<BidState>, Error> {
        self.chain.bid(bid)
    }
    fn bid_count(&self, market: Address) -> Answer<'_, u64, Error> {
        self.chain.bid_count(market)
    }
    fn registration(
        &self,
        market: Address,
        who: Address,
    ) -> Answer<'_, Option<(FileHash, ChainTime)>, Error> {
        self.chain.registration(market, who)
    }
    fn registered_count(&self, market: Address) -> Answer<'_, Option<u64>, Error> {
        self.chain.registered_count(market)
    }
    fn credit(&self, market: Address, who: Address) -> Answer<'_, Wei, Error> {
        self.chain.credit(market, who)
    }
    fn balance(&self, who: Address) -> Answer<'_, Wei, Error> {
        self.chain.balance(who)
    }
    fn nonce(&self, who: Address, at: At) -> Answer<'_, u64, Error> {
        self.chain.nonce(who, at)
    }
    fn fees(&self) -> Answer<'_, FeeMarket, Error> {
        self.chain.fees()
    }
    fn simulate<'a>(&'a self, from: Address, call: &'a CallAt, known: BlockHeight) -> Answer<'a, u64, Error> {
        self.chain.simulate(from, call, known)
    }
    fn submit<'a>(&'a self, raw: &'a [u8]) -> Answer<'a, TxHash, Error> {
        self.chain.submit(raw)
    }
    fn receipt(&self, tx: TxHash) -> Answer<'_, Option<Receipt>, Error> {
        self.chain.receipt(tx)
    }
}
