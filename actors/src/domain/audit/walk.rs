//! The index of a DAG: every block of it once, in an order that everybody finds.

use std::collections::BTreeSet;

use cid::Cid;
use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};

use crate::domain::cids::{self, DAG_PB};
use crate::domain::dag::{self, Unauditable};
use crate::domain::units::{ByteSize, Digest, FileHash};

/// What a walk may take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Blocks with links.
    pub inner: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of the blocks that were read.
    pub bytes: u64,
}

impl Caps {
    /// For content of that declared size: 65,536 inner nodes, 4 Mi blocks, 1.1 times the size and one block,
    /// which is what a small file carries around it.
    pub fn for_size(size: ByteSize) -> Self {
        let bytes = size.0.saturating_add(size.0 / 10).saturating_add(dag::MAX_BLOCK as u64);
        Self { inner: 1 << 16, blocks: 4 << 20, bytes }
    }
}

/// Why a DAG is not audited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More inner nodes than are walked.
    #[error("more than {0} inner nodes")]
    Inner(u64),
    /// More blocks than are walked.
    #[error("more than {0} blocks")]
    Blocks(u64),
    /// More bytes than the declared size allows.
    #[error("more than {0} bytes, which is what the declared size allows")]
    Bytes(u64),
    /// A block that can't be checked.
    #[error("{cid}: {why}")]
    Unauditable {
        /// Which.
        cid: Cid,
        /// Why not.
        why: Unauditable,
    },
}

/// A block of the index, as compactly as millions of them want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: FileHash,
    node: bool,
}

impl Entry {
    fn cid(self) -> Cid {
        if self.node {
            cids::of_file(self.hash)
        } else {
            cids::raw_of_file(self.hash)
        }
    }
}

/// The distinct blocks of a DAG, depth first, inner nodes too; what CIDs carry themselves is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index(Vec<Entry>);

/// What of an index is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexNote {
    /// How many blocks.
    pub blocks: u64,
    /// Keccak of their multihashes, one behind the other.
    pub digest: Digest,
}

impl Index {
    /// How many blocks, and the digest over all of them.
    pub fn note(&self) -> IndexNote {
        let mut hash = Keccak256::new();
        for entry in &self.0 {
            hash.update([0x12, 0x20]);
            hash.update(entry.hash.0);
        }
        IndexNote { blocks: self.0.len() as u64, digest: Digest(hash.finalize().into()) }
    }

    /// Whether a block is among them.
    pub fn contains(&self, cid: &Cid) -> bool {
        cids::file_hash(cid).is_some_and(|hash| self.0.iter().any(|entry| entry.hash == hash))
    }

    /// A block by its number.
    pub fn cid(&self, number: u64) -> Option<Cid> {
        self.0.get(usize::try_from(number).ok()?).map(|entry| entry.cid())
    }
}

/// What a block turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has links, or is the root: the index can't be found again without it.
    Inner,
    /// It has none.
    Leaf,
}

/// A walk over a DAG that asks for one block at a time.
#[derive(Debug)]
pub struct Walk {
    root: FileHash,
    caps: Caps,
    /// Whether the root's codec is known.
    decided: bool,
    ahead: Vec<Entry>,
    seen: BTreeSet<FileHash>,
    index: Vec<Entry>,
    inner: u64,
    bytes: u64,
}

impl Walk {
    /// A walk from the root that a market's digest names.
    pub fn new(root: FileHash, caps: Caps) -> Self {
        Self {
            root,
            caps,
            decided: false,
            ahead: Vec::new(),
            seen: BTreeSet::new(),
            index: Vec::new(),
            inner: 0,
            bytes: 0,
        }
    }

    /// The block that the walk needs next; `None` at its end. It stays the same until it is [given](Self::give).
    ///
    /// # Errors
    /// If the DAG has more blocks than are walked.
    pub fn wants(&mut self) -> Result<Option<Cid>, Refusal> {
        if !self.decided {
            return Ok(Some(cids::of_file(self.root)));
        }
        while let Some(entry) = self.ahead.last().copied() {
            if entry.node && !self.seen.contains(&entry.hash) {
                return Ok(Some(entry.cid()));
            }
            self.ahead.pop();
            if !entry.node {
                self.enter(entry)?;
            }
        }
        Ok(None)
    }

    /// Takes the bytes of the block that was wanted.
    ///
    /// # Errors
    /// [`Refusal::Unauditable`] with [`Unauditable::WrongBytes`] if they are another's: then the walk may be
    /// given the right ones. Any other refusal ends it.
    pub fn give(&mut self, bytes: &[u8]) -> Result<Kind, Refusal> {
        let Some(wanted) = self.wants()? else { return Ok(Kind::Leaf) };
        let refused = |cid| move |why| Refusal::Unauditable { cid, why };
        dag::verify_block(&wanted, bytes).map_err(refused(wanted))?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > self.caps.bytes {
            return Err(Refusal::Bytes(self.caps.bytes));
        }
        let is_root = !self.decided;
        let cid = if is_root { dag::root_of(self.root, bytes) } else { wanted };
        let links = dag::auditable(&cid, bytes).map_err(refused(cid))?;
        self.decided = true;
        if !is_root {
            self.ahead.pop();
        }
        if let Some(entry) = entry(&cid) {
            self.enter(entry)?;
        }
        self.ahead.extend(links.iter().rev().filter_map(entry));
        if links.is_empty() && !is_root {
            return Ok(Kind::Leaf);
        }
        self.inner += 1;
        if self.inner > self.caps.inner {
            return Err(Refusal::Inner(self.caps.inner));
        }
        Ok(Kind::Inner)
    }

    fn enter(&mut self, entry: Entry) -> Result<(), Refusal> {
        if self.seen.insert(entry.hash) {
            if self.index.len() as u64 >= self.caps.blocks {
                return Err(Refusal::Blocks(self.caps.blocks));
            }
            self.index.push(entry);
        }
        Ok(())
    }

    /// What was found. Whole only if nothing is [wanted](Self::wants) any more.
    pub fn finish(self) -> Index {
        Index(self.index)
    }

    /// Passes over a block without links whose bytes are not at hand: for those who trust, or were told, that
    /// it has none.
    ///
    /// # Errors
    /// As [`Self::wants`].
    pub fn skip_leaf(&mut self) -> Result<(), Refusal> {
        if self.decided && self.wants()?.is_some() {
            if let Some(entry) = self.ahead.pop() {
                self.enter(entry)?;
            }
        }
        Ok(())
    }

    /// Bytes that were given so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An entry for a block; `None` for what a CID carries itself.
fn entry(cid: &Cid) -> Option<Entry> {
    Some(Entry { hash: cids::file_hash(cid)?, node: cid.codec() == DAG_PB })
}

#[cfg(test)]
mod tests;
