//! The chain port over JSON-RPC, for any EVM chain: blocks, the market's events and views, transactions.
//!
//! `ethers` gives the ABI, the types and the signing; asking is ours, because a listener must see what its providers
//! hide: limits, lagging machines, answers to other questions.

use std::cell::Cell;
use std::rc::Rc;

use ethers::utils::keccak256;
use futures::FutureExt;
use scatter_actors::domain::following::{Contracts, Found, Named};
use scatter_actors::domain::market::{BidKey, BidState, BidTerms, MarketEvent};
use scatter_actors::domain::units::{Address, BlockHash, BlockHeight, ChainTime, FileHash, TxHash, Wei};
use scatter_actors::ports::chain::{At, CallAt, Chain, Error, Events, FeeMarket, Header, Receipt, Span};
use scatter_actors::ports::{Answer, Answers};
use serde::de::DeserializeOwned;
use serde_json::json;

pub use self::directory::Directory;
use self::events::Topics;
pub use self::logs::Decoder;
use self::wire::{Bytes, Number, Quantity, RawHeader, RawReceipt, RawTransaction};
use super::json_rpc::{is_about_rate, Client, Raw, Request};

mod abi;
mod bids;
pub mod calls;
pub mod deploy;
mod directory;
mod events;
mod fees;
mod limits;
mod logs;
mod many;
mod revert;
pub mod signing;
mod views;
mod wire;

/// Where the market is and what a transaction should offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The Router that names the contracts; what stands below counts more than what it says.
    pub router: Option<Address>,
    /// The market.
    pub market: Option<Address>,
    /// The Register. Without it that of the Router, then that of the market.
    pub register: Option<Address>,
    /// The Env. That of a version 2 market counts more.
    pub env: Option<Address>,
    /// Which percentile of recent tips to offer, 0 to 100.
    pub tip_percentile: u8,
    /// Wei a gas: never offer less as a tip.
    pub min_tip: Wei,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            router: None,
            market: None,
            register: None,
            env: None,
            tip_percentile: 50,
            min_tip: Wei::from(1_000_000_u128),
        }
    }
}

/// One chain as one provider shows it. Not `Send`: it lives on the actors' arbiter.
#[derive(Debug)]
pub struct Ethereum {
    rpc: Rc<Client>,
    config: Config,
    directory: Directory,
    topics: Topics,
    /// Whether the provider has ever told a finalized block: then an error is a failure, not a lack of finality.
    tells_finality: Cell<bool>,
}

impl Ethereum {
    /// The chain behind `rpc`. Nothing is asked before the first question.
    pub fn new(rpc: Rc<Client>, config: Config) -> Self {
        let (directory, topics) = (Directory::default(), Topics::default());
        Self { rpc, config, directory, topics, tells_finality: Cell::new(false) }
    }

    /// Where the contracts' addresses will stand once found, for the signer.
    pub fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// The contracts whose logs are read.
    async fn emitters(&self) -> Result<Vec<Address>, Error> {
        self.contracts().await?;
        Ok(self.directory.emitters())
    }

    /// The contracts of the market that the configuration names, found at the first question.
    ///
    /// # Errors
    /// If the provider fails or there is no market.
    pub async fn contracts(&self) -> Result<Contracts, Error> {
        if let Some(known) = self.directory.first() {
            return Ok(known);
        }
        let found = self.resolve().await?;
        let found = found.ok_or_else(|| self.distrust("there is no market at its address"))?;
        self.directory.keep_first(&found);
        Ok(found)
    }

    /// The contracts of a market, found at the first question about it.
    async fn contracts_of(&self, market: Address) -> Result<Contracts, Error> {
        if let Some(known) = self.directory.of(market) {
            return Ok(known);
        }
        let found = self.resolve_at(market).await?;
        let found = found.ok_or_else(|| self.distrust(format!("there is no market at {market}")))?;
        self.directory.keep(found.clone());
        Ok(found)
    }

    async fn read_market(&self) -> Result<Option<Found>, Error> {
        let contracts = match self.directory.first() {
            Some(known) => self.has_code(known.market).await?.then_some(known),
            None => self.resolve().await?,
        };
        let Some(contracts) = contracts else { return Ok(None) };
        self.directory.keep_first(&contracts);
        Ok(Some(Found { rules: self.rules(&contracts).await?, contracts }))
    }

    async fn read_market_at(&self, market: Address) -> Result<Option<Found>, Error> {
        let Some(contracts) = self.resolve_at(market).await? else { return Ok(None) };
        self.directory.keep(contracts.clone());
        Ok(Some(Found { rules: self.rules(&contracts).await?, contracts }))
    }

    async fn has_code(&self, market: Address) -> Result<bool, Error> {
        let code: Bytes = self.rpc.call("eth_getCode", json!([market, "latest"])).await?;
        Ok(!code.0.is_empty())
    }

    fn read<T: DeserializeOwned>(&self, method: &'static str, raw: &Raw) -> Result<T, Error> {
        let value = self.rpc.read(method, raw)?;
        value.ok_or_else(|| self.distrust(format!("{method} answered null")))
    }

    async fn wei(&self, method: &'static str, params: serde_json::Value) -> Result<Wei, Error> {
        Ok(self.rpc.call::<Quantity>(method, params).await?.wei())
    }

    fn header_request(&self, number: BlockHeight) -> Request {
        Request::new("eth_getBlockByNumber", json!([Self::known_block(number), false]))
    }

    /// Reads a header that should have that number, if one is given.
    fn read_header(&self, raw: &Raw, number: Option<BlockHeight>) -> Result<Option<Header>, Error> {
        let Some(raw) = self.rpc.read::<RawHeader>("eth_getBlockByNumber", raw)? else { return Ok(None) };
        match raw.header() {
            Some(header) if number.is_none_or(|number| number == header.number) => Ok(Some(header)),
            Some(header) => {
                Err(self.distrust(format!("block {} where {number:?} was asked for", header.number)))
            }
            None => Err(self.distrust("a block without number or hash")),
        }
    }

    async fn tagged(&self, tag: &str) -> Result<Option<Header>, Error> {
        let raw = self.rpc.call::<Raw>("eth_getBlockByNumber", json!([tag, false])).await?;
        self.read_header(&raw, None)
    }

    async fn read_finalized(&self) -> Result<Option<Header>, Error> {
        match self.tagged("finalized").await {
            Ok(Some(header)) => {
                self.tells_finality.set(true);
                Ok(Some(header))
            }
            Err(Error::Refused { code, ref message, .. })
                if !self.tells_finality.get() && !is_about_rate(code, message) =>
            {
                Ok(None)
            }
            other => other,
        }
    }

    /// The hash under which a provider took a transaction, if that is its hash.
    fn sent_as(&self, raw: &[u8], hash: TxHash) -> Result<TxHash, Error> {
        let expected = TxHash(keccak256(raw));
        match hash == expected {
            true => Ok(hash),
            false => Err(self.distrust(format!("transaction {expected} was called {hash}"))),
        }
    }

    async fn receipt_of(&self, tx: TxHash, raw: RawReceipt) -> Result<Option<Receipt>, Error> {
        if raw.transaction_hash != tx {
            return Err(self.distrust(format!("the receipt of {} for {tx}", raw.transaction_hash)));
        }
        // Some clients show a receipt before its block.
        let (Some(block), Some(hash)) = (raw.block_number, raw.block_hash) else { return Ok(None) };
        let succeeded = match raw.status {
            Some(Number(0)) => false,
            Some(Number(1)) => true,
            other => return Err(self.distrust(format!("{tx} has the status {other:?}"))),
        };
        let gas_price = match raw.effective_gas_price {
            Some(price) => price.wei(),
            None => {
                let params = json!([tx]);
                self.rpc.call::<RawTransaction>("eth_getTransactionByHash", params).await?.gas_price.wei()
            }
        };
        let events = self.events_of(&raw).await?;
        let (block, gas_used) = (BlockHeight(block.0), raw.gas_used.0);
        Ok(Some(Receipt { tx, block, hash, succeeded, gas_used, gas_price, events }))
    }

    async fn events_of(&self, receipt: &RawReceipt) -> Result<Vec<MarketEvent>, Error> {
        let ours = self.emitters().await?;
        let of_another = |log: &&wire::RawLog| {
            log.transaction_hash != Some(receipt.transaction_hash) || log.block_hash != receipt.block_hash
        };
        if let Some(log) = receipt.logs.iter().find(of_another) {
            let of = log.transaction_hash;
            return Err(
                self.distrust(format!("the receipt of {} has a log of {of:?}", receipt.transaction_hash))
            );
        }
        let logs = receipt.logs.iter().filter(|log| ours.contains(&log.address));
        Ok(logs.filter_map(|log| self.topics.decode(&log.topics, &log.data.0)).collect())
    }
}

impl Chain for Ethereum {
    fn chain_id(&self) -> Answer<'_, u64, Error> {
        async { Ok(self.rpc.call::<Number>("eth_chainId", json!([])).await?.0) }.boxed_local()
    }

    fn market(&self) -> Answer<'_, Option<Found>, Error> {
        self.read_market().boxed_local()
    }

    fn market_at(&self, market: Address) -> Answer<'_, Option<Found>, Error> {
        self.read_market_at(market).boxed_local()
    }

    fn named(&self, at: BlockHeight) -> Answer<'_, Named, Error> {
        self.read_named(at).boxed_local()
    }

    fn follow(&self, markets: &[Contracts]) {
        self.directory.follow(markets);
    }

    fn head(&self) -> Answer<'_, Header, Error> {
        async { self.tagged("latest").await?.ok_or_else(|| self.distrust("there is no head")) }.boxed_local()
    }

    fn finalized(&self) -> Answer<'_, Option<Header>, Error> {
        self.read_finalized().boxed_local()
    }

    fn header(&self, number: BlockHeight) -> Answer<'_, Option<Header>, Error> {
        async move {
            let [answer] = self.rpc.ask([self.header_request(number)]).await?;
            self.read_header(&answer?, Some(number))
        }
        .boxed_local()
    }

    fn events(&self, span: Span) -> Answer<'_, Events, Error> {
        self.read_events(span).boxed_local()
    }

    fn others_fill_the_filter(&self, block: BlockHash) -> Answer<'_, bool, Error> {
        self.compare_with_filter(block).boxed_local()
    }

    fn distrust(&self, what: &str) -> Error {
        self.rpc.distrust(what).into()
    }

    fn terms(&self, bid: BidKey) -> Answer<'_, Option<BidTerms>, Error> {
        self.read_terms(bid).boxed_local()
    }

    fn bid(&self, bid: BidKey) -> Answer<'_, Option<BidState>, Error> {
        async move { self.only(self.read_bids(&[bid]).await) }.boxed_local()
    }

    fn bid_count(&self, market: Address) -> Answer<'_, u64, Error> {
        self.read_bid_count(market).boxed_local()
    }

    fn registration(
        &self,
        market: Address,
        who: Address,
    ) -> Answer<'_, Option<(FileHash, ChainTime)>, Error> {
        self.read_registration(market, who).boxed_local()
    }

    fn registered_count(&self, market: Address) -> Answer<'_, Option<u64>, Error> {
        self.read_registered_count(market).boxed_local()
    }

    fn credit(&self, market: Address, who: Address) -> Answer<'_, Wei, Error> {
        self.read_credit(market, who).boxed_local()
    }

    fn balance(&self, who: Address) -> Answer<'_, Wei, Error> {
        self.wei("eth_getBalance", json!([who, "latest"])).boxed_local()
    }

    fn nonce(&self, who: Address, at: At) -> Answer<'_, u64, Error> {
        let tag = match at {
            At::Latest => "latest",
            At::Pending => "pending",
        };
        async move { Ok(self.rpc.call::<Number>("eth_getTransactionCount", json!([who, tag])).await?.0) }
            .boxed_local()
    }

    fn fees(&self) -> Answer<'_, FeeMarket, Error> {
        self.read_fees().boxed_local()
    }

    fn simulate<'a>(&'a self, from: Address, call: &'a CallAt, known: BlockHeight) -> Answer<'a, u64, Error> {
        async move { self.only(self.run_all(from, std::slice::from_ref(call), known).await) }.boxed_local()
    }

    fn submit<'a>(&'a self, raw: &'a [u8]) -> Answer<'a, TxHash, Error> {
        async move { self.only(self.send_all(&[raw]).await) }.boxed_local()
    }

    fn receipt(&self, tx: TxHash) -> Answer<'_, Option<Receipt>, Error> {
        async move { self.only(self.read_receipts(&[tx]).await) }.boxed_local()
    }

    fn bids<'a>(&'a self, bids: &'a [BidKey]) -> Answers<'a, Option<BidState>, Error> {
        self.read_bids(bids).boxed_local()
    }

    fn headers<'a>(&'a self, numbers: &'a [BlockHeight]) -> Answers<'a, Option<Header>, Error> {
        self.read_headers(numbers).boxed_local()
    }

    fn simulate_all<'a>(
        &'a self,
        from: Address,
        calls: &'a [CallAt],
        known: BlockHeight,
    ) -> Answers<'a, u64, Error> {
        self.run_all(from, calls, known).boxed_local()
    }

    fn submit_all<'a>(&'a self, raws: &'a [&'a [u8]]) -> Answers<'a, TxHash, Error> {
        self.send_all(raws).boxed_local()
    }

    fn receipts<'a>(&'a self, txs: &'a [TxHash]) -> Answers<'a, Option<Receipt>, Error> {
        self.read_receipts(txs).boxed_local()
    }
}
