//! Manifests: what members of a consortium list for one another, read strictly and within bounds.
//!
//! A manifest is a directory; each of its `*.json` files is an array of strings, each a CID of any version in any
//! base, bare or as `/ipfs/CID` or `ipfs://CID`. A file is used whole or not at all: half of what somebody meant is
//! not what he meant. Which record of a name counts is [`judge`]d; what a newer set changes is [`plan`]ned; what
//! this node says itself is [`own`].

use std::collections::BTreeSet;

use cid::multibase::{self, Base};
use cid::{Cid, Version};

use super::cids::{DAG_CBOR, DAG_PB, RAW, SHA2_256};
use super::units::ByteSize;

pub mod own;
mod plan;
mod record;
#[cfg(test)]
mod tests;

pub use plan::{plan, Plan};
pub use record::{judge, Accepted, Judgement, Rollback};

/// Bytes of a file at most.
pub const MAX_FILE: ByteSize = ByteSize(1 << 20);
/// Files of a manifest at most.
pub const MAX_FILES: usize = 1_000;
/// Names in a directory at most, files that are not read included.
pub const MAX_ENTRIES: usize = 10_000;
/// Roots in a peer's set at most.
pub const MAX_ROOTS: usize = 100_000;
/// Bytes of a file's name at most.
const MAX_NAME: usize = 255;
/// Characters of a reason that are kept.
const LONGEST_REASON: usize = 200;
/// Characters of a CID at most: the longest that is taken, in base 2, with room.
const MAX_CID: usize = 600;
/// Hashes that backends compute, and the bytes of their digests: sha2-256, sha2-512, blake2b-256, blake3.
const HASHES: [(u64, usize); 4] = [(SHA2_256, 32), (0x13, 64), (0xb220, 32), (0x1e, 32)];

/// Why a text is no root that a node could be asked to keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotARoot {
    /// It reads as no CID.
    #[error("it is no CID")]
    NoCid,
    /// It leads on below a CID.
    #[error("it is a path below a CID")]
    SubPath,
    /// It names a key or anything else that is not content of a known kind.
    #[error("codec {0:#x} is none of raw, dag-pb and dag-cbor")]
    Codec(u64),
    /// Its hash is not one that everybody computes: identity, which carries its content itself, among them.
    #[error("multihash code {0:#x} is not taken")]
    Hash(u64),
    /// Its digest is not as long as its hash makes it.
    #[error("a digest of {0} bytes is cut")]
    Digest(usize),
}

/// Why a file is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFile {
    /// It is larger than [`MAX_FILE`].
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// It is no array of strings.
    #[error("it is no JSON array of strings: {0}")]
    Json(String),
    /// One of its strings is no root.
    #[error("entry {place}: {why}")]
    Entry {
        /// Which, counted from 1.
        place: usize,
        /// Why.
        why: NotARoot,
    },
}

/// Why no file of a directory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// It has more than [`MAX_FILES`] files that would be read.
    #[error("the manifest has more than 1,000 files")]
    Files,
    /// They list more than [`MAX_ROOTS`] roots.
    #[error("the manifest lists more than 100,000 roots")]
    Roots,
}

/// Reads one entry of a file: a CID, `/ipfs/CID` or `ipfs://CID`.
///
/// # Errors
/// If it is anything else, or a CID that is not content of a known kind under a known hash.
pub fn root(text: &str) -> Result<Cid, NotARoot> {
    let bare = text.strip_prefix("/ipfs/").or(text.strip_prefix("ipfs://")).unwrap_or(text);
    let cid = match cid_of(bare) {
        Some(cid) => cid,
        // A slash is a digit of base 64, so it is a path only where what stands before it is a CID.
        None => match bare.split_once('/') {
            Some((first, _)) if cid_of(first).is_some() => return Err(NotARoot::SubPath),
            _ => return Err(NotARoot::NoCid),
        },
    };
    usable(&cid)?;
    Ok(cid)
}

/// Whether a CID names content that peers take.
///
/// # Errors
/// If its codec or its hash is not among those.
pub fn usable(cid: &Cid) -> Result<(), NotARoot> {
    if ![RAW, DAG_PB, DAG_CBOR].contains(&cid.codec()) {
        return Err(NotARoot::Codec(cid.codec()));
    }
    let code = cid.hash().code();
    let (_, length) = HASHES.iter().find(|(known, _)| *known == code).ok_or(NotARoot::Hash(code))?;
    match cid.hash().digest().len() {
        found if found == *length => Ok(()),
        cut => Err(NotARoot::Digest(cut)),
    }
}

/// A text that is a CID from its first to its last character.
fn cid_of(text: &str) -> Option<Cid> {
    if text.len() > MAX_CID {
        return None;
    }
    let (bytes, version) = match text.len() == 46 && text.starts_with("Qm") {
        true => (Base::Base58Btc.decode(text).ok()?, Version::V0),
        false => (multibase::decode(text).ok()?.1, Version::V1),
    };
    let cid = Cid::try_from(bytes.as_slice()).ok()?;
    // The parser leaves what follows a CID; and a CID of version 0 stands without a base.
    (cid.version() == version && cid.to_bytes() == bytes).then_some(cid)
}

/// Reads a file: its roots in their order, each content once.
///
/// # Errors
/// If any part of it is not as it should be.
pub fn read(bytes: &[u8]) -> Result<Vec<Cid>, BadFile> {
    if bytes.len() as u64 > MAX_FILE.0 {
        return Err(BadFile::TooLarge);
    }
    let texts: Vec<String> =
        serde_json::from_slice(bytes).map_err(|error| BadFile::Json(error.to_string()))?;
    let mut seen = BTreeSet::new();
    let mut roots = Vec::new();
    for (place, text) in (1..).zip(&texts) {
        let cid = root(text).map_err(|why| BadFile::Entry { place, why })?;
        if seen.insert((cid.codec(), cid.hash().to_bytes())) {
            roots.push(cid);
        }
    }
    Ok(roots)
}

/// Whether a file of that name is read. What could paint a terminal is not a name that anybody gives a file.
pub fn is_read(name: &str) -> bool {
    name.ends_with(".json") && name.len() <= MAX_NAME && !name.contains(|c: char| c == '/' || c.is_control())
}

/// A reason as it is kept and shown: it may quote what a stranger wrote, so it is cut and put into one plain line.
pub fn brief(why: &str) -> String {
    let mut plain: String =
        why.chars().take(LONGEST_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if why.chars().nth(LONGEST_REASON).is_some() {
        plain.push('…');
    }
    plain
}
