//! A chain in memory: nonces, a mempool with geth's replacement rule, blocks on demand, reorgs of any depth, finality
//! that lags, and a provider that fails as providers do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};

use super::market::Market;
use crate::domain::market::{MarketCall, MarketEvent, Version};
use crate::domain::units::{Address, ChainTime, TxHash, Wei};
use crate::ports::chain::{Header, Receipt};
use crate::ports::keys::Fees;

mod blocks;
mod keys;
mod pool;
mod provider;
#[cfg(test)]
mod tests;

pub use blocks::Branch;
use blocks::{Block, Blocks, State};
pub use keys::FakeKeys;
use pool::Pool;
pub use provider::{Logs, Trouble, MARKET};

/// Gas that every call uses, except a transfer of nothing.
pub const CALL_GAS: u64 = 100_000;
/// Gas that a transfer of nothing uses.
pub const NO_OP_GAS: u64 = 21_000;
/// Seconds between blocks.
pub const BLOCK_SECONDS: u64 = 12;
/// What every account owns at first.
pub const WEALTH: u128 = 10_000_000_000_000_000_000;

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
    /// On which market; `None`: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Address>,
}

impl Tx {
    /// On which market it is meant.
    pub fn market(&self) -> Address {
        self.on.unwrap_or(MARKET)
    }
    /// Its hash.
    pub fn hash(&self) -> TxHash {
        hash_of(self)
    }
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

/// What the contracts on the chain do.
enum Law {
    /// What a test says.
    Rule(Box<Rule>),
    /// The market's rules; the views tell of it.
    Market,
}

/// The chain.
pub struct FakeChain {
    id: u64,
    law: Law,
    blocks: RefCell<Blocks>,
    pool: RefCell<Pool>,
    handed_over: RefCell<Vec<TxHash>>,
    hook: RefCell<Box<Hook>>,
    watcher: RefCell<Box<Watcher>>,
    base_fee: Cell<u128>,
    legacy: Cell<bool>,
    tip: Cell<u128>,
    final_lag: Cell<Option<u64>>,
    final_stop: Cell<Option<u64>>,
    broke: Cell<bool>,
    owed: Cell<u128>,
    tells_orphans: Cell<bool>,
    skip: Cell<u64>,
    followed: RefCell<Vec<Address>>,
    owner: RefCell<Vec<Order>>,
}

/// What the owner of the contracts does in the next block.
enum Order {
    Deploy(Address, Market),
    Point(Address),
}

fn hash_of(tx: &Tx) -> TxHash {
    TxHash(Keccak256::digest(serde_json::to_vec(tx).unwrap()).into())
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

impl FakeChain {
    /// A chain of one block, whose calls do what `rule` says.
    pub fn new(id: u64, rule: Box<Rule>) -> Self {
        Self::by(id, Law::Rule(rule), Market::default())
    }
    /// A chain with the market on it: its rules are [`Market`]'s, and its views tell of them.
    pub fn with_market(id: u64) -> Self {
        Self::by(id, Law::Market, Market::by(Version::V2))
    }
    /// The same with a market of version 1, which has its traps.
    pub fn with_legacy_market(id: u64) -> Self {
        Self::by(id, Law::Market, Market::by(Version::Legacy))
    }
    fn by(id: u64, law: Law, market: Market) -> Self {
        Self {
            id,
            law,
            blocks: RefCell::new(Blocks::from_genesis(market)),
            pool: RefCell::default(),
            handed_over: RefCell::default(),
            hook: RefCell::new(Box::new(|_| None)),
            watcher: RefCell::new(Box::new(|_| {})),
            base_fee: Cell::new(1_000_000_000),
            legacy: Cell::new(false),
            tip: Cell::new(100_000_000),
            final_lag: Cell::new(Some(10)),
            final_stop: Cell::new(None),
            broke: Cell::new(false),
            owed: Cell::new(0),
            tells_orphans: Cell::new(false),
            skip: Cell::new(0),
            followed: RefCell::new(vec![MARKET]),
            owner: RefCell::default(),
        }
    }

    // What stands ----------------------------------------------------------------------------------------------------

    /// The market as it stands at the newest block.
    pub fn market_now(&self) -> Market {
        self.market_of(MARKET, self.height())
    }
    /// The same of the market at an address.
    pub fn market_on(&self, market: Address) -> Market {
        self.market_of(market, self.height())
    }
    /// All markets as they stand at the newest block, by address.
    pub fn markets_now(&self) -> BTreeMap<Address, Market> {
        self.blocks.borrow().head().state.markets.clone()
    }
    /// The market that the Router names at the newest block.
    pub fn router(&self) -> Address {
        self.blocks.borrow().head().state.router
    }
    /// The timestamp of the newest block.
    pub fn now(&self) -> ChainTime {
        self.blocks.borrow().head().header.time
    }
    /// The number of the newest block.
    pub fn height(&self) -> u64 {
        self.blocks.borrow().height()
    }
    /// The block of that number, if there is one: no question to the provider, so nothing goes wrong with it.
    pub fn block(&self, number: u64) -> Option<Header> {
        self.blocks.borrow().at(number, number).map(|block| block.header.clone())
    }
    /// What waits to be mined.
    pub fn pool(&self) -> Vec<Tx> {
        self.pool.borrow().list()
    }
    /// What is mined, in order.
    pub fn mined(&self) -> Vec<Mined> {
        self.blocks.borrow().mined().cloned().collect()
    }
    /// The hashes that were handed over, repeats and refusals too.
    pub fn handed_over(&self) -> Vec<TxHash> {
        self.handed_over.borrow().clone()
    }

    // What a test or a seed turns ------------------------------------------------------------------------------------

    /// Lets the next block come so many seconds later than it would.
    pub fn skip(&self, seconds: u64) {
        self.skip.set(seconds);
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
    /// Makes it a chain without EIP-1559: it names one price, and takes no transaction with a tip.
    pub fn set_legacy(&self) {
        self.legacy.set(true);
    }
    /// Makes the last `blocks` not final; `None`: the chain does not tell what is final.
    pub fn set_final_lag(&self, blocks: Option<u64>) {
        self.final_lag.set(blocks);
    }
    /// Lets nothing more become final, as where too few vote on the chain; or lets it go on.
    pub fn stop_finality(&self, stop: bool) {
        let newest = self.final_lag.get().map(|lag| self.height().saturating_sub(lag));
        self.final_stop.set(newest.filter(|_| stop));
    }
    /// Takes all ether from everybody, or gives it back.
    pub fn set_broke(&self, broke: bool) {
        self.broke.set(broke);
    }
    /// Lets the market owe so much to everybody, less what was withdrawn.
    pub fn owe(&self, wei: u128) {
        self.owed.set(wei);
    }
    /// Lets the provider tell receipts out of blocks that a reorg removed, or not any more.
    pub fn tell_orphans(&self, tell: bool) {
        self.tells_orphans.set(tell);
    }

    /// Puts another market there in the next block.
    pub fn deploy(&self, at: Address, version: Version) {
        self.owner.borrow_mut().push(Order::Deploy(at, Market::by(version)));
    }
    /// Points the Router elsewhere in the next block.
    pub fn point_router(&self, to: Address) {
        self.owner.borrow_mut().push(Order::Point(to));
    }

    // The mempool ----------------------------------------------------------------------------------------------------

    /// Forgets all that waits to be mined, as a full mempool does.
    pub fn evict(&self) {
        self.evict_those(|_| true);
    }
    /// Forgets those of the waiting transactions.
    pub fn evict_those(&self, gone: impl Fn(&Tx) -> bool) {
        self.pool.borrow_mut().evict(gone);
    }
    /// Puts a transaction of somebody else into the pool, whatever stood there.
    pub fn inject(&self, tx: Tx) {
        self.pool.borrow_mut().put(tx);
    }
    /// Takes a transaction into the pool, or says why not in geth's words.
    fn take(&self, raw: &[u8]) -> Result<TxHash, String> {
        let tx: Tx = serde_json::from_slice(raw).map_err(|e| format!("rlp: {e}"))?;
        let hash = hash_of(&tx);
        (self.watcher.borrow())(hash);
        self.handed_over.borrow_mut().push(hash);
        if self.legacy.get() && tx.fees.max_tip.is_some() {
            return Err("transaction type not supported".into());
        }
        let next = self.next_nonce(tx.from, self.height());
        let balance = self.balance_of(tx.from);
        self.pool.borrow_mut().take(tx, self.id, next, balance)
    }

    // Blocks ---------------------------------------------------------------------------------------------------------

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
        let base_fee = Wei::from(self.base_fee.get());
        let next = self.blocks.borrow().next_header(self.skip.take(), base_fee);
        let header = Header { base_fee: next.base_fee.filter(|_| !self.legacy.get()), ..next };
        let mut state = Rc::clone(&self.blocks.borrow().head().state);
        for order in self.owner.take() {
            let state = Rc::make_mut(&mut state);
            match order {
                Order::Deploy(at, market) => drop(state.markets.insert(at, market)),
                Order::Point(to) => state.router = to,
            }
        }
        let mut mined = Vec::new();
        for tx in self.pool() {
            let next = state.nonces.get(&tx.from).copied().unwrap_or_default();
            if tx.nonce == next && tx.fees.max_fee >= base_fee && wanted(&tx) && !self.broke.get() {
                self.pool.borrow_mut().remove(&tx);
                let done = self.execute(tx, &header, Rc::make_mut(&mut state), &mined);
                mined.push(done);
            } else if tx.nonce < next {
                self.pool.borrow_mut().remove(&tx);
            }
        }
        self.blocks.borrow_mut().push(Block { header, mined, state });
    }
    /// Removes the newest blocks; what was mined in them waits again. The next blocks differ.
    pub fn reorg(&self, depth: u64) -> Branch {
        let branch = self.blocks.borrow_mut().take_off(depth);
        branch.transactions().for_each(|tx| self.pool.borrow_mut().put_back(tx));
        branch
    }
    /// Makes a removed branch canonical again, and forgets all that stood in its place.
    pub fn back_to(&self, branch: Branch) {
        self.reorg(self.height() + 1 - branch.from());
        branch.transactions().for_each(|tx| self.pool.borrow_mut().remove(tx));
        self.blocks.borrow_mut().put_back(branch);
    }

    fn execute(&self, tx: Tx, header: &Header, state: &mut State, before: &[Mined]) -> Mined {
        let gas_used = gas(&tx.call);
        let enough = gas_used <= tx.gas_limit;
        let result = match enough {
            true => self.call(state, before, tx.from, (tx.market(), &tx.call), header.time),
            false => Err("out of gas".to_owned()),
        };
        *state.nonces.entry(tx.from).or_default() += 1;
        let base = header.base_fee.unwrap_or_default();
        let tip = tx.fees.max_tip.unwrap_or(tx.fees.max_fee);
        let receipt = Receipt {
            tx: hash_of(&tx),
            block: header.number,
            hash: header.hash,
            succeeded: result.is_ok(),
            gas_used,
            gas_price: tx.fees.max_fee.min(base.plus(tip)),
            events: result.unwrap_or_default(),
        };
        Mined { tx, receipt, time: header.time }
    }

    /// Does what a call does, on top of what is mined and of what stands `before` it in its block.
    fn call(
        &self,
        state: &mut State,
        before: &[Mined],
        from: Address,
        (market, call): (Address, &MarketCall),
        now: ChainTime,
    ) -> Result<Vec<MarketEvent>, String> {
        match &self.law {
            // A transfer to oneself is no call.
            Law::Market if *call == MarketCall::NoOp => Ok(vec![]),
            Law::Market => match state.markets.get_mut(&market) {
                Some(market) => market.apply(from, call, now),
                // Whoever calls where there is no code succeeds, and nothing happens.
                None => Ok(vec![]),
            },
            Law::Rule(rule) => {
                let blocks = self.blocks.borrow();
                let history: Vec<&Mined> = blocks.mined().chain(before).collect();
                rule(&history, from, call, now)
            }
        }
    }

    fn next_nonce(&self, of: Address, at: u64) -> u64 {
        self.blocks.borrow().next_nonce(of, at)
    }

    fn balance_of(&self, who: Address) -> Wei {
        if self.broke.get() {
            return Wei::ZERO;
        }
        let mut balance = Wei::from(WEALTH);
        for mined in self.blocks.borrow().mined() {
            for event in &mined.receipt.events {
                if let MarketEvent::Withdrawn { amount, to } = event {
                    balance = if *to == who { balance.plus(*amount) } else { balance };
                }
            }
            if mined.tx.from == who {
                balance = balance.minus(cost(mined));
            }
        }
        balance
    }
}
