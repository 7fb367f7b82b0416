//! What is mined: blocks in a row, and branches that a reorg took off it.

use std::collections::BTreeMap;
use std::rc::Rc;

use sha3::{Digest as _, Keccak256};

use super::{Mined, Tx, BLOCK_SECONDS, MARKET};
use crate::domain::units::{Address, BlockHash, BlockHeight, ChainTime, Wei};
use crate::ports::chain::{Header, Receipt};
use crate::testkit::market::Market;

/// What stands after a block. Each block keeps its own, so a reorg has nothing to undo.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) markets: BTreeMap<Address, Market>,
    pub(super) nonces: BTreeMap<Address, u64>,
    /// Where the Router points.
    pub(super) router: Address,
}

#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) header: Header,
    pub(super) mined: Vec<Mined>,
    pub(super) state: Rc<State>,
}

/// Blocks that a reorg removed.
#[derive(Debug, Clone)]
pub struct Branch(pub(super) Vec<Block>);

impl Branch {
    /// How many there are.
    pub fn depth(&self) -> u64 {
        self.0.len() as u64
    }
    /// The hash of the block on which they grew.
    pub fn parent(&self) -> BlockHash {
        self.0.first().map_or(BlockHash::default(), |block| block.header.parent)
    }
    /// The number of the lowest.
    pub fn from(&self) -> u64 {
        self.0.first().map_or(0, |block| block.header.number.0)
    }
}

/// The canonical blocks; never none.
#[derive(Debug)]
pub(super) struct Blocks {
    row: Vec<Block>,
    /// Makes the blocks of each branch differ.
    forks: u64,
    /// Receipts out of blocks that are canonical no more.
    pub(super) orphans: Vec<Receipt>,
}

impl Blocks {
    pub(super) fn from_genesis(market: Market) -> Self {
        let header = Header {
            number: BlockHeight(0),
            hash: BlockHash([0xff; 32]),
            parent: BlockHash::default(),
            time: ChainTime(1_700_000_000),
            base_fee: None,
        };
        let markets = [(MARKET, market)].into();
        let state = Rc::new(State { markets, nonces: BTreeMap::new(), router: MARKET });
        Self { row: vec![Block { header, mined: vec![], state }], forks: 0, orphans: vec![] }
    }

    pub(super) fn head(&self) -> &Block {
        self.row.last().unwrap()
    }
    pub(super) fn height(&self) -> u64 {
        self.row.len() as u64 - 1
    }
    /// The block of that number, as whoever knows no block above `head` tells it.
    pub(super) fn at(&self, number: u64, head: u64) -> Option<&Block> {
        let index = usize::try_from(number).ok().filter(|_| number <= head)?;
        self.row.get(index)
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = &Block> {
        self.row.iter()
    }
    pub(super) fn mined(&self) -> impl Iterator<Item = &Mined> {
        self.row.iter().flat_map(|block| &block.mined)
    }
    pub(super) fn next_nonce(&self, of: Address, at: u64) -> u64 {
        let block = self.at(at, at).unwrap_or_else(|| self.head());
        block.state.nonces.get(&of).copied().unwrap_or_default()
    }

    /// The header of a block on top of the newest, so many seconds later than it would come.
    pub(super) fn next_header(&self, later: u64, base_fee: Wei) -> Header {
        let last = &self.head().header;
        let number = last.number.0 + 1;
        let salt = [self.forks.to_be_bytes(), number.to_be_bytes()].concat();
        let hash = BlockHash(Keccak256::digest([salt, last.hash.0.to_vec()].concat()).into());
        let time = last.time.plus(BLOCK_SECONDS + later);
        let number = BlockHeight(number);
        Header { number, hash, parent: last.hash, time, base_fee: Some(base_fee) }
    }
    pub(super) fn push(&mut self, block: Block) {
        self.row.push(block);
    }

    /// Takes the newest blocks off. The next ones differ.
    pub(super) fn take_off(&mut self, depth: u64) -> Branch {
        self.forks += 1;
        let kept = self.row.len() - usize::try_from(depth).unwrap();
        let removed = self.row.split_off(kept.max(1));
        let receipts = removed.iter().flat_map(|block| &block.mined).map(|mined| mined.receipt.clone());
        self.orphans.extend(receipts);
        Branch(removed)
    }
    /// Puts a branch on top of the block on which it grew.
    pub(super) fn put_back(&mut self, branch: Branch) {
        self.row.extend(branch.0);
    }
}

impl Branch {
    pub(super) fn transactions(&self) -> impl Iterator<Item = &Tx> {
        self.0.iter().flat_map(|block| &block.mined).map(|mined| &mined.tx)
    }
}
