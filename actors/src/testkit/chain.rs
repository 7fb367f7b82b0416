//! A chain in memory: nonces, a mempool with geth's replacement rule, blocks on demand, reorgs, finality that
//! lags, and a provider that fails as providers do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures::FutureExt;
use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};

use super::market::{self, Market};
use crate::domain::market::{BidState, BidTerms, MarketCall, MarketEvent, MarketRules, Position, Version};
use crate::domain::units::{Address, BidId, BlockHash, BlockHeight, ChainTime, FileHash, TxHash, Wei};
use crate::ports::chain::{At, Chain, Error, Event, Events, FeeMarket, Header, Receipt, Said, Span};
use crate::ports::keys::{self, Fees, Keys, Signed, Unsigned};
use crate::ports::Answer;

/// Where the market is.
const MARKET: Address = Address([0x3a; 20]);
/// Gas that every call uses, except a transfer of nothing.
pub const CALL_GAS: u64 = 100_000;
/// Gas that a transfer of nothing uses.
pub const NO_OP_GAS: u64 = 21_000;
/// Seconds between blocks.
pub const BLOCK_SECONDS: u64 = 12;
/// What every account owns at first.
pub const WEALTH: u128 = 10_000_000_000_000_000_000;

/// How a provider fails one question.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// A transaction in this chain's encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tx {
    /// Who signed it.
    pub from: Address,
    /// For which chain.
    pub chain: u64,
    /// Its nonce.
    pub nonce: u64,
    /// Units of gas at most.
    pub gas_limit: u64,
    /// What it pays.
    pub fees: Fees,
    /// What it calls.
    pub call: MarketCall,
}

/// A transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mined {
    /// What was signed.
    pub tx: Tx,
    /// What became of it.
    pub receipt: Receipt,
    /// Its block's timestamp.
    pub time: ChainTime,
}

/// What a call does, told from all that is mined before it: events, or the words of a revert. Being a
/// function of history, it needs no undo when a reorg rewrites that.
pub type Rule = dyn Fn(&[&Mined], Address, &MarketCall, ChainTime) -> Result<Vec<MarketEvent>, String>;
type Hook = dyn FnMut(&'static str) -> Option<Trouble>;
type Watcher = dyn Fn(TxHash);

struct Block {
    header: Header,
    mined: Vec<Mined>,
}

/// Blocks that a reorg removed.
pub struct Branch(Vec<Block>);

/// The chain.
pub struct FakeChain {
    id: u64,
    blocks: RefCell<Vec<Block>>,
    pool: RefCell<BTreeMap<(Address, u64), Tx>>,
    handed_over: RefCell<Vec<TxHash>>,
    rule: Box<Rule>,
    hook: RefCell<Box<Hook>>,
    watcher: RefCell<Box<Watcher>>,
    base_fee: Cell<u128>,
    tip: Cell<u128>,
    final_lag: Cell<Option<u64>>,
    forks: Cell<u64>,
    broke: Cell<bool>,
    owed: Cell<u128>,
    orphans: RefCell<Vec<Receipt>>,
    tells_orphans: Cell<bool>,
    skip: Cell<u64>,
    /// Whether the rule is the market's, so that the views tell of it.
    has_market: bool,
}

fn hash_of(tx: &Tx) -> TxHash {
    TxHash(Keccak256::digest(serde_json::to_vec(tx).unwrap()).into())
}

/// A tenth more, rounded up: what geth wants of a replacement.
fn replaces(old: Wei, new: Wei) -> bool {
    new > old && new.times(100) >= old.times(110)
}

impl FakeChain {
    /// A chain of one block, whose calls do what `rule` says.
    pub fn new(id: u64, rule: Box<Rule>) -> Self {
        let genesis = Header {
            number: BlockHeight(0),
            hash: BlockHash([0xff; 32]),
            parent: BlockHash::default(),
            time: ChainTime(1_700_000_000),
            base_fee: None,
        };
        Self {
            id,
            blocks: RefCell::new(vec![Block { header: genesis, mined: vec![] }]),
            pool: RefCell::default(),
            handed_over: RefCell::default(),
            rule,
            hook: RefCell::new(Box::new(|_| None)),
            watcher: RefCell::new(Box::new(|_| {})),
            base_fee: Cell::new(1_000_000_000),
            tip: Cell::new(100_000_000),
            final_lag: Cell::new(Some(10)),
            forks: Cell::new(0),
            broke: Cell::new(false),
            owed: Cell::new(0),
            orphans: RefCell::default(),
            tells_orphans: Cell::new(false),
            skip: Cell::new(0),
            has_market: false,
        }
    }
    /// A chain with the market on it: its rules are [`Market`]'s, and its views tell of them.
    pub fn with_market(id: u64) -> Self {
        let rule =
            |history: &[&Mined], from, call: &MarketCall, now| Market::after(history).apply(from, call, now);
        Self { has_market: true, ..Self::new(id, Box::new(rule)) }
    }
    /// The market as it stands at the newest block.
    pub fn market_now(&self) -> Market {
        let mined = self.mined();
        Market::after(&mined.iter().collect::<Vec<_>>())
    }
    /// Lets the next block come so many seconds later than it would.
    pub fn skip(&self, seconds: u64) {
        self.skip.set(seconds);
    }
    /// The timestamp of the newest block.
    pub fn now(&self) -> ChainTime {
        self.blocks.borrow().last().map_or(ChainTime(0), |block| block.header.time)
    }
    /// Asks `hook` before every question what goes wrong with it; the names are those of the port's methods.
    pub fn trouble(&self, hook: impl FnMut(&'static str) -> Option<Trouble> + 'static) {
        *self.hook.borrow_mut() = Box::new(hook);
    }
    /// Answers every question again.
    pub fn heal(&self) {
        self.trouble(|_| None);
    }
    /// Tells `watcher` of every transaction at the moment at which it is handed over.
    pub fn watch(&self, watcher: impl Fn(TxHash) + 'static) {
        *self.watcher.borrow_mut() = Box::new(watcher);
    }
    /// Sets what the next blocks want for gas, in wei.
    pub fn set_base_fee(&self, wei: u128) {
        self.base_fee.set(wei);
    }
    /// Makes the last `blocks` not final; `None`: the chain does not tell what is final.
    pub fn set_final_lag(&self, blocks: Option<u64>) {
        self.final_lag.set(blocks);
    }
    /// Takes all ether from everybody, or gives it back.
    pub fn set_broke(&self, broke: bool) {
        self.broke.set(broke);
    }
    /// Lets the market owe so much to everybody, less what was withdrawn.
    pub fn owe(&self, wei: u128) {
        self.owed.set(wei);
    }
    /// The number of the newest block.
    pub fn height(&self) -> u64 {
        self.blocks.borrow().len() as u64 - 1
    }
    /// The block of that number, if there is one: no question to the provider, so nothing goes wrong with it.
    pub fn block(&self, number: u64) -> Option<Header> {
        self.header_at(number, self.height())
    }
    /// What waits to be mined.
    pub fn pool(&self) -> Vec<Tx> {
        self.pool.borrow().values().cloned().collect()
    }
    /// What is mined, in order.
    pub fn mined(&self) -> Vec<Mined> {
        self.blocks.borrow().iter().flat_map(|block| block.mined.clone()).collect()
    }
    /// The hashes that were handed over, repeats and refusals too.
    pub fn handed_over(&self) -> Vec<TxHash> {
        self.handed_over.borrow().clone()
    }
    /// Forgets all that waits to be mined, as a full mempool does.
    pub fn evict(&self) {
        self.pool.borrow_mut().clear();
    }
    /// Puts a transaction of somebody else into the pool, whatever stood there.
    pub fn inject(&self, tx: Tx) {
        self.pool.borrow_mut().insert((tx.from, tx.nonce), tx);
    }
    /// A block with all that can be mined.
    pub fn mine(&self) {
        self.append(|_| true);
    }
    /// Blocks with nothing in them.
    pub fn mine_empty(&self, blocks: u64) {
        (0..blocks).for_each(|_| self.append(|_| false));
    }
    /// A block in which, of what can be mined, only that is mined which `wanted` says.
    pub fn append(&self, wanted: impl Fn(&Tx) -> bool) {
        let (number, parent, time) = {
            let blocks = self.blocks.borrow();
            let last = &blocks.last().unwrap().header;
            (last.number.0 + 1, last.hash, last.time.plus(BLOCK_SECONDS + self.skip.take()))
        };
        let salt = [self.forks.get().to_be_bytes(), number.to_be_bytes()].concat();
        let hash = BlockHash(Keccak256::digest([salt, parent.0.to_vec()].concat()).into());
        let base_fee = Wei::from(self.base_fee.get());
        let header = Header { number: BlockHeight(number), hash, parent, time, base_fee: Some(base_fee) };
        self.blocks.borrow_mut().push(Block { header, mined: vec![] });
        let pooled: Vec<Tx> = self.pool.borrow().values().cloned().collect();
        for tx in pooled {
            let next = self.next_nonce(tx.from, number);
            if tx.nonce == next && tx.fees.max_fee >= base_fee && wanted(&tx) && !self.broke.get() {
                self.pool.borrow_mut().remove(&(tx.from, tx.nonce));
                let mined = self.execute(tx, number, hash, time);
                self.blocks.borrow_mut().last_mut().unwrap().mined.push(mined);
            } else if tx.nonce < next {
                self.pool.borrow_mut().remove(&(tx.from, tx.nonce));
            }
        }
    }
    /// Removes the newest blocks; what was mined in them waits again. The next blocks differ.
    pub fn reorg(&self, depth: u64) -> Branch {
        self.forks.set(self.forks.get() + 1);
        let height = self.blocks.borrow().len() - usize::try_from(depth).unwrap();
        let removed = self.blocks.borrow_mut().split_off(height);
        for mined in removed.iter().flat_map(|block| &block.mined) {
            let mut pool = self.pool.borrow_mut();
            pool.entry((mined.tx.from, mined.tx.nonce)).or_insert_with(|| mined.tx.clone());
            self.orphans.borrow_mut().push(mined.receipt.clone());
        }
        Branch(removed)
    }
    /// Makes a removed branch canonical again, and forgets all that stood in its place.
    pub fn back_to(&self, branch: Branch) {
        let height = self.blocks.borrow().len() as u64 - branch.0[0].header.number.0;
        self.reorg(height);
        for mined in branch.0.iter().flat_map(|block| &block.mined) {
            self.pool.borrow_mut().remove(&(mined.tx.from, mined.tx.nonce));
        }
        self.blocks.borrow_mut().extend(branch.0);
    }
    /// Lets the provider tell receipts out of blocks that a reorg removed, or not any more.
    pub fn tell_orphans(&self, tell: bool) {
        self.tells_orphans.set(tell);
    }

    fn execute(&self, tx: Tx, number: u64, hash: BlockHash, time: ChainTime) -> Mined {
        let history = self.mined();
        let result = (self.rule)(&history.iter().collect::<Vec<_>>(), tx.from, &tx.call, time);
        let gas_used = gas(&tx.call);
        let base = Wei::from(self.base_fee.get());
        let tip = tx.fees.max_tip.unwrap_or(tx.fees.max_fee);
        let receipt = Receipt {
            tx: hash_of(&tx),
            block: BlockHeight(number),
            hash,
            succeeded: result.is_ok() && gas_used <= tx.gas_limit,
            gas_used,
            gas_price: tx.fees.max_fee.min(base.plus(tip)),
            events: result.unwrap_or_default(),
        };
        Mined { tx, receipt, time }
    }

    fn next_nonce(&self, of: Address, at: u64) -> u64 {
        let blocks = self.blocks.borrow();
        let upto = blocks.iter().take_while(|block| block.header.number.0 <= at);
        upto.flat_map(|block| &block.mined).filter(|mined| mined.tx.from == of).count() as u64
    }

    fn balance_of(&self, who: Address) -> Wei {
        if self.broke.get() {
            return Wei::ZERO;
        }
        let mut balance = Wei::from(WEALTH);
        for mined in self.mined() {
            for event in &mined.receipt.events {
                if let MarketEvent::Withdrawn { amount, to } = event {
                    balance = if *to == who { balance.plus(*amount) } else { balance };
                }
            }
            if mined.tx.from == who {
                balance = balance.minus(cost(&mined));
            }
        }
        balance
    }

    /// Takes a transaction into the pool, or says why not in geth's words.
    fn take(&self, raw: &[u8]) -> Result<TxHash, String> {
        let tx: Tx = serde_json::from_slice(raw).map_err(|e| format!("rlp: {e}"))?;
        let hash = hash_of(&tx);
        (self.watcher.borrow())(hash);
        self.handed_over.borrow_mut().push(hash);
        let next = self.next_nonce(tx.from, self.height());
        if tx.chain != self.id {
            return Err("invalid chain id for signer".into());
        }
        if tx.nonce < next {
            return Err(format!("nonce too low: next nonce {next}, tx nonce {}", tx.nonce));
        }
        let worst = tx.fees.max_fee.times(tx.gas_limit).plus(tx.call.value());
        if worst > self.balance_of(tx.from) {
            return Err("insufficient funds for gas * price + value".into());
        }
        let mut pool = self.pool.borrow_mut();
        if let Some(old) = pool.get(&(tx.from, tx.nonce)) {
            let tip = |tx: &Tx| tx.fees.max_tip.unwrap_or(tx.fees.max_fee);
            if hash_of(old) == hash {
                return Err("already known".into());
            }
            if !replaces(old.fees.max_fee, tx.fees.max_fee) || !replaces(tip(old), tip(&tx)) {
                return Err("replacement transaction underpriced".into());
            }
        }
        pool.insert((tx.from, tx.nonce), tx);
        Ok(hash)
    }

    /// Answers a question with its trouble. `question` gets the newest block that the provider knows.
    fn answer<'a, T: 'a>(
        &'a self,
        method: &'static str,
        question: impl FnOnce(u64) -> Result<T, Error> + 'a,
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
            }
        }
        .boxed_local()
    }

    fn header_at(&self, number: u64, head: u64) -> Option<Header> {
        if number > head {
            return None;
        }
        self.blocks.borrow().get(usize::try_from(number).ok()?).map(|block| block.header.clone())
    }
}

fn refused(method: &'static str, message: &str) -> Error {
    Error::Refused { url: "memory".into(), method, code: -32000, message: message.into() }
}

fn gas(call: &MarketCall) -> u64 {
    match call {
        MarketCall::NoOp => NO_OP_GAS,
        _ => CALL_GAS,
    }
}

/// What a mined transaction took from its signer.
pub fn cost(mined: &Mined) -> Wei {
    let value = if mined.receipt.succeeded { mined.tx.call.value() } else { Wei::ZERO };
    mined.receipt.gas_price.times(mined.receipt.gas_used).plus(value)
}

impl Chain for FakeChain {
    fn chain_id(&self) -> Answer<'_, u64, Error> {
        self.answer("chain_id", |_| Ok(self.id))
    }
    fn market(&self) -> Answer<'_, Option<(Address, MarketRules)>, Error> {
        let rules = MarketRules {
            version: Version::V2,
            accept_hold: market::ACCEPT_HOLD,
            vote_duration: market::VOTE,
        };
        self.answer("market", move |_| Ok(Some((MARKET, rules))))
    }
    fn head(&self) -> Answer<'_, Header, Error> {
        self.answer("head", |head| Ok(self.header_at(head, head).unwrap()))
    }
    fn finalized(&self) -> Answer<'_, Option<Header>, Error> {
        self.answer("finalized", |head| {
            let lag = self.final_lag.get();
            Ok(lag.and_then(|lag| self.header_at(self.height().saturating_sub(lag), head)))
        })
    }
    fn header(&self, number: BlockHeight) -> Answer<'_, Option<Header>, Error> {
        self.answer("header", move |head| Ok(self.header_at(number.0, head)))
    }
    fn events(&self, span: Span) -> Answer<'_, Events, Error> {
        self.answer("events", move |head| {
            let blocks = self.blocks.borrow();
            let mut found = Events { contracts: vec![MARKET], ..Events::default() };
            (found.first, found.last) = match span {
                Span::Range(first, last) => (self.header_at(first.0, head), self.header_at(last.0, head)),
                Span::Block(_, number) => (self.header_at(number.0, head), self.header_at(number.0, head)),
            };
            if let Span::Block(hash, number) = span {
                // As providers do (EIP-234): a block that is not theirs is an error, never an empty answer.
                if self.header_at(number.0, head).is_none_or(|header| header.hash != hash) {
                    return Err(refused("events", "unknown block"));
                }
            }
            for block in blocks.iter().take_while(|block| block.header.number.0 <= head) {
                let header = &block.header;
                let inside = match span {
                    Span::Range(first, last) => first <= header.number && header.number <= last,
                    Span::Block(hash, _) => header.hash == hash,
                };
                let told = block.mined.iter().flat_map(|mined| {
                    mined.receipt.events.iter().map(move |event| (mined.receipt.tx, event.clone()))
                });
                for (log, (tx, event)) in told.enumerate().filter(|_| inside) {
                    let (block, hash, time) = (header.number, header.hash, header.time);
                    let at = Position { block, log: log as u32, hash, time, tx };
                    found.logs.push(Event { at, by: MARKET, removed: false, said: Said::Known(event) });
                }
            }
            found.named = matches!(span, Span::Block(..)) && !found.logs.is_empty();
            Ok(found)
        })
    }
    fn others_fill_the_filter(&self, block: BlockHash) -> Answer<'_, bool, Error> {
        self.answer("others_fill_the_filter", move |head| {
            let blocks = self.blocks.borrow();
            let block =
                blocks.iter().find(|known| known.header.hash == block && known.header.number.0 <= head);
            let block = block.ok_or_else(|| refused("others_fill_the_filter", "unknown block"))?;
            Ok(block.mined.iter().all(|mined| mined.receipt.events.is_empty()))
        })
    }
    fn distrust(&self, what: &str) -> Error {
        Error::Untrustworthy { url: "memory".into(), what: what.into() }
    }
    fn terms(&self, bid: BidId) -> Answer<'_, Option<BidTerms>, Error> {
        self.answer("terms", move |_| Ok(self.market_now().state_of(bid).map(|bid| bid.terms)))
    }
    fn bid(&self, bid: BidId) -> Answer<'_, Option<BidState>, Error> {
        self.answer("bid", move |_| Ok(self.market_now().state_of(bid)))
    }
    fn bid_count(&self) -> Answer<'_, u64, Error> {
        self.answer("bid_count", |_| Ok(self.market_now().bids.len() as u64))
    }
    fn registration(&self, who: Address) -> Answer<'_, Option<(FileHash, ChainTime)>, Error> {
        self.answer("registration", move |_| Ok(self.market_now().registered.get(&who).copied()))
    }
    fn registered_count(&self) -> Answer<'_, Option<u64>, Error> {
        self.answer("registered_count", |_| {
            Ok(self.has_market.then(|| self.market_now().registered.len() as u64))
        })
    }
    fn credit(&self, who: Address) -> Answer<'_, Wei, Error> {
        self.answer("credit", move |_| {
            if self.has_market {
                return Ok(self.market_now().credits.get(&who).copied().unwrap_or_default());
            }
            let mined = self.mined();
            let events = mined.iter().flat_map(|mined| &mined.receipt.events);
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
            while at == At::Pending && self.pool.borrow().contains_key(&(who, next)) {
                next += 1;
            }
            Ok(next)
        })
    }
    fn fees(&self) -> Answer<'_, FeeMarket, Error> {
        self.answer("fees", |_| {
            Ok(FeeMarket { base_fee: Some(Wei::from(self.base_fee.get())), tip: Wei::from(self.tip.get()) })
        })
    }
    fn simulate<'a>(&'a self, from: Address, call: &'a MarketCall) -> Answer<'a, u64, Error> {
        self.answer("simulate", move |head| {
            let time = self.header_at(head, head).unwrap().time;
            let history = self.mined();
            match (self.rule)(&history.iter().collect::<Vec<_>>(), from, call, time) {
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
            let orphan = self.orphans.borrow().iter().find(|receipt| receipt.tx == tx).cloned();
            let orphan = orphan.filter(|_| self.tells_orphans.get());
            Ok(orphan.or_else(|| self.mined().into_iter().find(known).map(|mined| mined.receipt)))
        })
    }
}

/// A key whose signatures this chain, and only this chain, believes.
#[derive(Debug, Clone, Copy)]
pub struct FakeKeys(pub Address);

impl Keys for FakeKeys {
    fn address(&self) -> Address {
        self.0
    }
    fn sign(&self, tx: &Unsigned) -> Result<Signed, keys::Error> {
        let Unsigned { chain, nonce, gas_limit, fees, .. } = *tx;
        let tx = Tx { from: self.0, chain, nonce, gas_limit, fees, call: tx.call.clone() };
        Ok(Signed { raw: serde_json::to_vec(&tx).unwrap(), hash: hash_of(&tx) })
    }
    fn sign_message(&self, message: &[u8]) -> Result<[u8; 65], keys::Error> {
        let mut signature = [27; 65];
        signature[..32].copy_from_slice(&Keccak256::digest(message));
        signature[32..52].copy_from_slice(&self.0 .0);
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: FakeKeys = FakeKeys(Address([1; 20]));

    fn chain() -> FakeChain {
        FakeChain::new(1, Box::new(|_, _, _, _| Ok(vec![])))
    }
    fn signed(nonce: u64, fee: u128, tip: u128) -> Signed {
        let fees = Fees { max_fee: Wei::from(fee), max_tip: Some(Wei::from(tip)) };
        let (market, call) = (Address::default(), MarketCall::Withdraw);
        ME.sign(&Unsigned { chain: 1, market, nonce, gas_limit: CALL_GAS, fees, call }).unwrap()
    }

    #[actix_rt::test]
    async fn a_replacement_needs_a_tenth_more_on_both_fields() {
        let chain = chain();
        let gwei = 1_000_000_000u128;
        chain.submit(&signed(0, 100 * gwei, 10 * gwei).raw).await.unwrap();
        for (fee, tip, taken) in [
            (109, 11, Err("replacement transaction underpriced")),
            (110, 10, Err("replacement transaction underpriced")),
            (100, 10, Err("already known")),
            (110, 11, Ok(())),
        ] {
            let answer = chain.submit(&signed(0, fee * gwei, tip * gwei).raw).await;
            let taken = taken.map_err(|words| refused("submit", words));
            assert_eq!(answer.map(|_| ()), taken, "{fee} {tip}");
        }
        assert_eq!(chain.pool().len(), 1);
    }

    #[actix_rt::test]
    async fn a_reorg_puts_what_was_mined_back_into_the_pool() {
        let chain = chain();
        let tx = signed(0, 2_000_000_000, 1).hash;
        chain.submit(&signed(0, 2_000_000_000, 1).raw).await.unwrap();
        chain.mine();
        let first = chain.receipt(tx).await.unwrap().unwrap();
        assert_eq!(chain.nonce(ME.0, At::Latest).await.unwrap(), 1);
        chain.reorg(1);
        assert_eq!((chain.receipt(tx).await.unwrap(), chain.pool().len()), (None, 1));
        chain.mine();
        let second = chain.receipt(tx).await.unwrap().unwrap();
        assert_eq!(first.block, second.block);
        assert_ne!(first.hash, second.hash);
    }
}
