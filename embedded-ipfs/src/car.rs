//! CAR archives (<https://ipld.io/specs/transport/car/>): blocks one after the other behind a list of roots.

mod decoder;
mod export;
mod import;

pub(crate) use decoder::{Decoder, Item};
pub(crate) use export::export;
pub(crate) use import::Importing;

use cid::Cid;

use crate::proto::put_varint;

/// What is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCar {
    /// Neither version 1 nor version 2.
    #[error("version {0} is unknown")]
    Version(u64),
    /// The header is not the map that it should be.
    #[error("the header is malformed")]
    Header,
    /// A length that is not a varint, or one that is written longer than needed.
    #[error("a length is malformed")]
    Length,
    /// A header or a section with more bytes than can be.
    #[error("a section of {0} bytes is too long")]
    TooLong(u64),
    /// The archive ends in the middle of something.
    #[error("it is cut short")]
    CutShort,
    /// A section does not begin with a CID.
    #[error("a CID is malformed")]
    Cid,
    /// A block's hash function is not computed here, or the digest has another length than that function's.
    #[error("unknown hash function {0:#x}")]
    Hash(u64),
    /// A block's bytes are not those of its CID.
    #[error("the bytes are not those of {0}")]
    Mismatch(Cid),
}

/// The header of version 1, with its length.
fn header(roots: &[Cid]) -> Vec<u8> {
    let mut map = Vec::with_capacity(24 + 42 * roots.len());
    map.push(0xa2);
    map.extend_from_slice(b"\x65roots");
    put_head(&mut map, 0x80, roots.len());
    for root in roots {
        let bytes = root.to_bytes();
        map.extend_from_slice(&[0xd8, 42]);
        put_head(&mut map, 0x40, bytes.len() + 1);
        map.push(0);
        map.extend_from_slice(&bytes);
    }
    map.extend_from_slice(b"\x67version\x01");
    let mut out = Vec::with_capacity(map.len() + 5);
    put_varint(&mut out, map.len() as u64);
    out.extend_from_slice(&map);
    out
}

/// Type and argument of a cbor item, in the shortest form; lists of roots have no more than 2³² of them.
fn put_head(out: &mut Vec<u8>, major: u8, n: usize) {
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        _ => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
    }
}

/// What stands before a block's bytes.
fn section(cid: &Cid, size: usize) -> Vec<u8> {
    let bytes = cid.to_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 5);
    put_varint(&mut out, (bytes.len() + size) as u64);
    out.extend_from_slice(&bytes);
    out
}

/// A whole archive.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn write_archive(roots: &[Cid], blocks: &[(Cid, bytes::Bytes)]) -> Vec<u8> {
    let mut out = header(roots);
    for (cid, bytes) in blocks {
        out.extend_from_slice(&section(cid, bytes.len()));
        out.extend_from_slice(bytes);
    }
    out
}

#[cfg(test)]
mod tests;
