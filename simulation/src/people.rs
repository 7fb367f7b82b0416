//! The others on the market, as scripts: a bidder, three voters, and strangers at the firewall.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cid::Cid;
use scatter_actors::domain::admission::byte_cap;
use scatter_actors::domain::cids;
use scatter_actors::domain::market::{BidKey, BidTerms, Market, MarketCall, Version};
use scatter_actors::domain::units::{Address, BidId, ByteSize, Digest, FileHash, Wei};
use scatter_actors::ports::keys::Fees;
use scatter_actors::testkit::chain::{FakeChain, Tx, CALL_GAS, MARKET};
use scatter_actors::testkit::ipfs::unixfs_file;
use scatter_actors::testkit::market::Bid;
use scatter_actors::testkit::MemoryIpfs;

use crate::dice::Dice;
use crate::history::History;
use crate::plan::moves::SECOND;
use crate::plan::{Plan, PlannedBid, Voter};
use crate::truth::{Markets, Truth};
use crate::CHAIN;

pub mod rivals;

use rivals::Rivalry;

/// Who offers.
pub const BIDDER: Address = Address([0xb1; 20]);
/// Who votes by script.
pub const VOTERS: [Address; 3] = [Address([0xc1; 20]), Address([0xc2; 20]), Address([0xc3; 20])];
/// Votes that decide.
pub const QUORUM: u32 = 2;
/// What the voters share, in wei.
const POOL: u128 = 20_000_000_000_000_000;

/// A market as transactions name it.
pub(crate) fn elsewhere(market: Address) -> Option<Address> {
    (market != MARKET).then_some(market)
}

/// All bids of all markets, with their markets' rules.
pub(crate) fn bids_on(markets: &Markets) -> impl Iterator<Item = (BidKey, &Bid, Version)> {
    markets.iter().flat_map(|(address, market)| {
        let (version, market_key) = (market.version, Market { chain: CHAIN, address: *address });
        let key = move |id| BidKey { market: market_key, id: BidId(id as u64) };
        market.bids.iter().enumerate().map(move |(id, bid)| (key(id), bid, version))
    })
}

/// A file that somebody wants hosted.
pub struct File {
    /// The root first.
    pub blocks: Vec<(Cid, Vec<u8>)>,
    /// From which millisecond on it is to be had.
    pub from: u64,
    /// From which millisecond on all of it is.
    pub whole: u64,
    loaded: usize,
}

impl File {
    /// The root's digest.
    pub fn hash(&self) -> FileHash {
        cids::file_hash(&self.blocks[0].0).unwrap()
    }
    /// The root.
    pub fn root(&self) -> Cid {
        self.blocks[0].0
    }
    /// Whether an offer says so little that a hoster must give up fetching it.
    pub fn is_understated(&self, terms: &BidTerms) -> bool {
        terms.file == self.hash() && byte_cap(terms.size).0 < self.bytes()
    }
    /// Bytes of all blocks.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

/// All of them.
pub struct People {
    chain: Rc<FakeChain>,
    truth: Rc<Truth>,
    history: History,
    ipfs: MemoryIpfs,
    voters: [Voter; 3],
    /// Every file of every bid so far.
    pub files: Rc<RefCell<Vec<File>>>,
    sent: BTreeMap<(Address, u64), Tx>,
    rivals: Vec<Rivalry>,
    settled: BTreeSet<BidKey>,
    dice: Dice,
}

impl People {
    /// People with nothing done yet; `ipfs` is the bidder's node.
    pub fn new(
        plan: &Plan,
        chain: &Rc<FakeChain>,
        truth: &Rc<Truth>,
        history: &History,
        ipfs: MemoryIpfs,
    ) -> Self {
        Self {
            chain: Rc::clone(chain),
            truth: Rc::clone(truth),
            history: history.clone(),
            ipfs,
            voters: plan.voters,
            files: Rc::default(),
            sent: BTreeMap::new(),
            rivals: Vec::new(),
            settled: BTreeSet::new(),
            dice: Dice::new(plan.seed, "people"),
        }
    }

    /// Sends a transaction of a scripted account, to the first market if it says none.
    pub fn send(&mut self, from: Address, on: Option<Address>, call: MarketCall) {
        let nonce = self.sent.keys().filter(|(who, _)| *who == from).count() as u64;
        let fees = Fees { max_fee: Wei::from(100_000_000_000), max_tip: Some(Wei::from(1_000_000_000)) };
        let tx = Tx { from, chain: CHAIN, nonce, gas_limit: CALL_GAS, fees, call, on };
        self.history.tell("people", format_args!("{from} sends {:?}", tx.call));
        self.sent.insert((from, nonce), tx.clone());
        self.chain.inject(tx);
    }

    /// Makes the file of a bid and places the bid. Tells the file's root.
    pub fn place(&mut self, bid: &PlannedBid, now: u64) -> Cid {
        if !bid.repeats || self.files.borrow().is_empty() {
            let blocks = unixfs_file(&self.dice.bytes(bid.len), bid.chunk);
            let from = now + bid.arrives_after;
            let whole = from + bid.torn_for;
            self.files.borrow_mut().push(File { blocks, from, whole, loaded: 0 });
        }
        let (file, size, root) = {
            let files = self.files.borrow();
            let file = files.last().unwrap();
            let size = if bid.understated { 1 } else { file.bytes() };
            (file.hash(), ByteSize(size), file.root())
        };
        let (duration, amount) = (bid.duration, bid.amount);
        let pool = Wei::from(POOL);
        let on = bid.elsewhere.then_some(SECOND);
        self.send(
            BIDDER,
            on,
            MarketCall::Bid { file, size, duration, amount, pool, min_validations: QUORUM },
        );
        root
    }

    /// What they do after each step: give content that is due, vote when it is time, send again what a mempool
    /// forgot.
    pub fn act(&mut self, now: u64) {
        for file in self.files.borrow_mut().iter_mut() {
            let there = match file.blocks.len() {
                all if file.whole <= now => all,
                all if file.from <= now => all.div_ceil(2),
                _ => 0,
            };
            if there > file.loaded {
                file.loaded = there;
                self.ipfs.load(&file.blocks[..there]);
                let of = file.blocks.len();
                self.history
                    .tell("people", format_args!("{there} of {of} blocks of {} are to be had", file.root()));
            }
        }
        let mined: BTreeSet<(Address, u64)> =
            self.truth.mined().iter().map(|mined| (mined.tx.from, mined.tx.nonce)).collect();
        for (bid, voter) in self.due_votes() {
            let valid = self.voters[voter] == Voter::Honest;
            let vote = MarketCall::Vote { bid: bid.id, valid, evidence: Digest::default() };
            let (who, on) = (VOTERS[voter], bid.market.address);
            // What a mempool forgot comes back: on version 1 a second vote would be mined, too.
            let waits = |(key, tx): (&(Address, u64), &Tx)| {
                (tx.from, tx.market()) == (who, on) && tx.call == vote && !mined.contains(key)
            };
            if !self.sent.iter().any(waits) {
                self.send(who, elsewhere(on), vote);
            }
        }
        self.race();
        let pooled: BTreeSet<(Address, u64)> =
            self.chain.pool().iter().map(|tx| (tx.from, tx.nonce)).collect();
        for (key, tx) in &self.sent {
            if !mined.contains(key) && !pooled.contains(key) {
                self.chain.inject(tx.clone());
            }
        }
    }

    /// Votes that could be mined now and are not: bid and voter.
    pub fn due_votes(&self) -> Vec<(BidKey, usize)> {
        let (markets, now) = (self.truth.markets(), self.chain.now());
        let mut due = Vec::new();
        for (key, bid, version) in bids_on(&markets) {
            let Some(end) = bid.pinned_at.map(|at| at.plus(bid.terms.duration)) else { continue };
            let close = end.plus(scatter_actors::testkit::market::VOTE);
            if bid.outcome.is_some() || now < end || now >= close {
                continue;
            }
            if version == Version::Legacy {
                // The first vote behind the end pays out, and each one more would pay again.
                let first = self.voters.iter().position(|voter| *voter != Voter::Absent);
                due.extend(first.filter(|_| bid.payouts == 0).map(|voter| (key, voter)));
                continue;
            }
            for (voter, who) in VOTERS.iter().enumerate() {
                let voted = bid.votes.iter().any(|(voted, _)| voted == who);
                if !voted && self.voters[voter] != Voter::Absent {
                    due.push((key, voter));
                }
            }
        }
        due
    }

    /// Whether nothing of theirs waits to be mined.
    pub fn are_quiet(&self) -> bool {
        let mined = self.truth.mined();
        let all = self.sent.keys();
        self.due_votes().is_empty()
            && all.clone().all(|key| mined.iter().any(|mined| (mined.tx.from, mined.tx.nonce) == *key))
    }
}
