//! Blocks and the links between them, read strictly: what a validator can check, and nothing else.
//!
//! One reading for Pinner, firewall and validator, so that nothing is hosted that could never be audited.
//! Sources: IPLD's dag-pb specification (canonical form: links before data, fields in order, no field that
//! is not defined), UnixFS's `unixfs.proto`, protobuf's wire format.

use cid::multihash::Multihash;
use cid::Cid;
use sha2::{Digest as _, Sha256};

use super::cids::{self, DAG_CBOR, DAG_PB, RAW, SHA2_256};
use super::units::FileHash;

#[cfg(any(test, feature = "testkit"))]
pub mod made;
mod wire;

use wire::{Field, Fields};

/// Multihash code of identity: the digest is the content itself.
pub const IDENTITY: u64 = 0x00;
/// Bytes of a block at most: more does not pass between IPFS nodes.
pub const MAX_BLOCK: usize = 2 << 20;
/// The empty raw block inside its own CID (`bafkqaaa`): a question that needs no block to be answered.
pub fn probe() -> Cid {
    Cid::new_v1(RAW, Multihash::wrap(IDENTITY, &[]).unwrap_or_default())
}

/// Why a block is not one that a validator can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unauditable {
    /// It is larger than IPFS nodes exchange.
    #[error("a block of {0} bytes is over 2 MiB")]
    TooLarge(usize),
    /// Its hash is one that is not computed here.
    #[error("multihash code {0:#x} is not sha2-256")]
    Hash(u64),
    /// Its digest is not as long as its hash makes it.
    #[error("a digest of {0} bytes is cut")]
    Digest(usize),
    /// Its codec is one whose links are not read here.
    #[error("codec {0:#x} is neither raw nor dag-pb")]
    Codec(u64),
    /// dag-cbor, whose links are not read here yet.
    #[error("dag-cbor is not audited yet")]
    Cbor,
    /// The bytes hash to something else.
    #[error("the bytes are not those of {0}")]
    WrongBytes(Cid),
    /// A node inside its own CID that leads on to blocks outside: a walk ends at such CIDs.
    #[error("a node inside its own CID has links")]
    InlineLinks,
    /// The bytes are no canonical dag-pb node.
    #[error("not a canonical dag-pb node: {0}")]
    Malformed(&'static str),
}

/// What of a CID decides whether its block can be checked: hash and codec.
///
/// # Errors
/// If the hash or the codec is not one of ours.
pub fn supported(cid: &Cid) -> Result<(), Unauditable> {
    match (cid.hash().code(), cid.hash().digest().len()) {
        (SHA2_256, 32) | (IDENTITY, _) => {}
        (SHA2_256, len) => return Err(Unauditable::Digest(len)),
        (code, _) => return Err(Unauditable::Hash(code)),
    }
    match cid.codec() {
        RAW | DAG_PB => Ok(()),
        DAG_CBOR => Err(Unauditable::Cbor),
        codec => Err(Unauditable::Codec(codec)),
    }
}

/// Whether the bytes are the block of that CID.
///
/// # Errors
/// If they are not, or if that can't be told here.
pub fn verify_block(cid: &Cid, bytes: &[u8]) -> Result<(), Unauditable> {
    supported(cid)?;
    if bytes.len() > MAX_BLOCK {
        return Err(Unauditable::TooLarge(bytes.len()));
    }
    let same = match cid.hash().code() {
        IDENTITY => cid.hash().digest() == bytes,
        _ => cid.hash().digest() == Sha256::digest(bytes).as_slice(),
    };
    if same {
        Ok(())
    } else {
        Err(Unauditable::WrongBytes(*cid))
    }
}

/// Whether a validator can check this block and go on from it: its bytes are right, its links are read, and
/// each of them has a hash and a codec that can be checked too. Tells where they lead, in order.
///
/// # Errors
/// If not. A DAG with one such block must not be announced: it could never be paid.
pub fn auditable(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, Unauditable> {
    verify_block(cid, bytes)?;
    let links = links(cid, bytes)?;
    for link in &links {
        supported(link)?;
        if is_identity(link) && !self::links(link, link.hash().digest())?.is_empty() {
            return Err(Unauditable::InlineLinks);
        }
    }
    Ok(links)
}

/// Whether a CID carries its content itself: there is no block to ask for.
pub fn is_identity(cid: &Cid) -> bool {
    cid.hash().code() == IDENTITY
}

/// A link from a block to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub cid: Cid,
    /// Bytes of everything below it, as its author says; 0 where he does not.
    pub size: u64,
}

/// Where the links of a block lead whose bytes are known to be right, in order.
///
/// # Errors
/// If its codec is not ours, or it is no canonical dag-pb node.
pub fn links(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, Unauditable> {
    Ok(sized_links(cid, bytes)?.into_iter().map(|link| link.cid).collect())
}

/// The same with the sizes that the block's author gave.
///
/// # Errors
/// As [`links`].
pub fn sized_links(cid: &Cid, bytes: &[u8]) -> Result<Vec<Link>, Unauditable> {
    match cid.codec() {
        RAW => Ok(Vec::new()),
        DAG_PB => Ok(Node::decode(bytes)?.links),
        DAG_CBOR => Err(Unauditable::Cbor),
        codec => Err(Unauditable::Codec(codec)),
    }
}

/// The root that a market's digest means, decided on its bytes alone: dag-pb if they are a canonical node
/// with UnixFS data, raw otherwise. The bytes are known to be those of the digest.
pub fn root_of(file: FileHash, bytes: &[u8]) -> Cid {
    let unixfs = Node::decode(bytes).and_then(|node| Unixfs::decode(node.data.unwrap_or_default()));
    match unixfs {
        Ok(_) => cids::of_file(file),
        Err(_) => cids::raw_of_file(file),
    }
}

/// The content of a file that is one block: raw bytes, or a UnixFS file without links.
///
/// # Errors
/// If the block is something else.
pub fn file_bytes<'a>(root: &Cid, bytes: &'a [u8]) -> Result<&'a [u8], Unauditable> {
    if root.codec() == RAW {
        return Ok(bytes);
    }
    let node = Node::decode(bytes)?;
    let unixfs = Unixfs::decode(node.data.unwrap_or_default())?;
    match unixfs.kind {
        Unixfs::RAW | Unixfs::FILE if node.links.is_empty() => Ok(unixfs.data),
        _ => Err(Unauditable::Malformed("not a file in one block")),
    }
}

/// A dag-pb node.
struct Node<'a> {
    links: Vec<Link>,
    data: Option<&'a [u8]>,
}

impl<'a> Node<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Unauditable> {
        let mut node = Self { links: Vec::new(), data: None };
        for field in Fields::of(bytes) {
            match field? {
                (2, Field::Bytes(link)) if node.data.is_none() => node.links.push(link_of(link)?),
                (1, Field::Bytes(data)) if node.data.is_none() => node.data = Some(data),
                _ => return Err(Unauditable::Malformed("a field that does not belong there")),
            }
        }
        Ok(node)
    }
}

/// A dag-pb link: hash, then name, then size.
fn link_of(bytes: &[u8]) -> Result<Link, Unauditable> {
    let mut cid = None;
    let mut size = 0;
    let mut last = 0;
    for field in Fields::of(bytes) {
        let (number, value) = field?;
        if number <= last {
            return Err(Unauditable::Malformed("a link's fields are out of order"));
        }
        last = number;
        match (number, value) {
            (1, Field::Bytes(hash)) => cid = Some(cid_of(hash)?),
            (2, Field::Bytes(name)) => {
                std::str::from_utf8(name).map_err(|_| Unauditable::Malformed("a name is not UTF-8"))?;
            }
            (3, Field::Varint(bytes)) => size = bytes,
            _ => return Err(Unauditable::Malformed("a link has a field that is not defined")),
        }
    }
    let cid = cid.ok_or(Unauditable::Malformed("a link leads nowhere"))?;
    Ok(Link { cid, size })
}

/// A CID in bytes, whole and in its only form.
fn cid_of(bytes: &[u8]) -> Result<Cid, Unauditable> {
    let cid = Cid::try_from(bytes).map_err(|_| Unauditable::Malformed("a link's CID is none"))?;
    if cid.to_bytes() == bytes {
        Ok(cid)
    } else {
        Err(Unauditable::Malformed("a link's CID has another form"))
    }
}

/// The UnixFS message in a node's data, as much of it as is needed.
struct Unixfs<'a> {
    kind: u64,
    data: &'a [u8],
}

impl<'a> Unixfs<'a> {
    const RAW: u64 = 0;
    const FILE: u64 = 2;
    /// HAMT shard: the last type that is defined.
    const LAST: u64 = 5;

    fn decode(bytes: &'a [u8]) -> Result<Self, Unauditable> {
        const WRONG: Unauditable = Unauditable::Malformed("not UnixFS data");
        let mut kind = None;
        let mut data: &[u8] = &[];
        let mut last = 0;
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            // Only the block sizes repeat.
            if number < last || (number == last && number != 4) {
                return Err(WRONG);
            }
            last = number;
            match (number, value) {
                (1, Field::Varint(found)) if found <= Self::LAST => kind = Some(found),
                (2, Field::Bytes(found)) => data = found,
                // Block sizes packed into one field are the same message to every reader.
                (3..=7, Field::Varint(_)) | (4, Field::Bytes(_)) | (8, Field::Bytes(_)) => {}
                _ => return Err(WRONG),
            }
        }
        Ok(Self { kind: kind.ok_or(WRONG)?, data })
    }
}

#[cfg(test)]
mod tests;
