//! Small DAGs made by hand, for tests.

use std::collections::BTreeMap;

use cid::Cid;
use sha2::{Digest as _, Sha256};

use crate::domain::cids;
use crate::domain::units::FileHash;

/// Blocks by their hash.
pub type Blocks = BTreeMap<FileHash, Vec<u8>>;

fn keep(blocks: &mut Blocks, bytes: Vec<u8>) -> FileHash {
    let hash = FileHash(Sha256::digest(&bytes).into());
    blocks.insert(hash, bytes);
    hash
}

/// A raw block.
pub fn raw(blocks: &mut Blocks, bytes: &[u8]) -> Cid {
    cids::raw_of_file(keep(blocks, bytes.to_vec()))
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
}

/// A piece of a file inside a dag-pb node, as adders made leaves before raw ones.
pub fn old_leaf(blocks: &mut Blocks, content: &[u8]) -> Cid {
    let mut unixfs = b"\x08\x02".to_vec();
    field(2, content, &mut unixfs);
    let mut bytes = Vec::new();
    field(1, &unixfs, &mut bytes);
    cids::of_file(keep(blocks, bytes))
}

/// A UnixFS file node (dag-pb) with these children.
pub fn node(blocks: &mut Blocks, children: &[Cid]) -> Cid {
    let mut bytes = Vec::new();
    for child in children {
        let mut link = Vec::new();
        field(1, &child.to_bytes(), &mut link);
        field(2, b"", &mut link);
        field(2, &link, &mut bytes);
    }
    field(1, b"\x08\x02", &mut bytes);
    cids::of_file(keep(blocks, bytes))
}

/// A file of raw leaves of `chunk` bytes below nodes of at most `width` links, as an adder would build it.
pub fn file(blocks: &mut Blocks, content: &[u8], chunk: usize, width: usize) -> Cid {
    let mut level: Vec<Cid> = content.chunks(chunk).map(|bytes| raw(blocks, bytes)).collect();
    while level.len() > 1 {
        level = level.chunks(width).map(|children| node(blocks, children)).collect();
    }
    level.pop().unwrap_or_else(|| raw(blocks, b""))
}
