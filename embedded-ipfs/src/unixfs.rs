//! UnixFS files and directories (<https://specs.ipfs.tech/unixfs/>), laid out as Kubo's `ipfs add` does.

pub(crate) mod add;
pub(crate) mod cat;
mod directory;
mod file;
pub(crate) mod ls;
mod murmur3;

use crate::dag::pb;
use crate::proto::{fields, put_bytes, put_int, Malformed};

const TYPE_RAW: u64 = 0;
const TYPE_DIRECTORY: u64 = 1;
const TYPE_FILE: u64 = 2;
const TYPE_SYMLINK: u64 = 4;
const TYPE_SHARD: u64 = 5;
/// The multicodec of the only hash function that shards have.
const HASH_MURMUR3: u64 = 0x22;
/// Slots of a shard that we make; others may have 8 to 1,024.
const FANOUT: u64 = 256;

/// The data of a file's leaf; the whole file if it fits one.
pub(crate) fn leaf(chunk: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(chunk.len() + 16);
    put_int(&mut data, 1, TYPE_FILE);
    if !chunk.is_empty() {
        put_bytes(&mut data, 2, chunk);
    }
    put_int(&mut data, 3, chunk.len() as u64);
    pb::encode(&[], &data)
}

/// A node of a file above its leaves. `sizes` are the file's bytes below each link.
pub(crate) fn inner(links: &[pb::Link<'_>], sizes: &[u64]) -> Vec<u8> {
    let mut data = Vec::with_capacity(16 + 4 * sizes.len());
    put_int(&mut data, 1, TYPE_FILE);
    put_int(&mut data, 3, sizes.iter().sum());
    for &size in sizes {
        put_int(&mut data, 4, size);
    }
    pb::encode(links, &data)
}

/// A directory whose entries are the node's links.
pub(crate) fn directory(entries: &[pb::Link<'_>]) -> Vec<u8> {
    let mut data = Vec::with_capacity(2);
    put_int(&mut data, 1, TYPE_DIRECTORY);
    pb::encode(entries, &data)
}

/// A symbolic link.
pub(crate) fn symlink(target: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(target.len() + 8);
    put_int(&mut data, 1, TYPE_SYMLINK);
    put_bytes(&mut data, 2, target.as_bytes());
    pb::encode(&[], &data)
}

/// A node of a sharded directory. `slots` has a bit for each link, the first slot's last.
pub(crate) fn shard(slots: &[u8], links: &[pb::Link<'_>]) -> Vec<u8> {
    let mut data = Vec::with_capacity(slots.len() + 16);
    put_int(&mut data, 1, TYPE_SHARD);
    put_bytes(&mut data, 2, slots);
    put_int(&mut data, 5, HASH_MURMUR3);
    put_int(&mut data, 6, FANOUT);
    pb::encode(links, &data)
}

/// How many bytes of the file lie below each link of a file's node, as its maker claims.
pub(crate) fn sizes(data: &[u8]) -> Result<Vec<u64>, Malformed> {
    let mut sizes = Vec::new();
    for field in fields(data) {
        if let (4, value) = field? {
            sizes.push(value.varint()?);
        }
    }
    Ok(sizes)
}

/// What a node's data says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A file, or a part of one, and the bytes that lie in the node itself.
    File(&'a [u8]),
    Directory,
    /// A part of a sharded directory: how many bits of a name's hash each level takes.
    Shard(u32),
    /// A link of the file system, metadata, or what later versions bring.
    Other,
}

/// Reads the data of a node.
pub(crate) fn kind(data: &[u8]) -> Result<Kind<'_>, Malformed> {
    let (mut kind, mut bytes, mut hash, mut fanout) = (None, &b""[..], 0, 0);
    for field in fields(data) {
        match field? {
            (1, value) => kind = Some(value.varint()?),
            (2, value) => bytes = value.bytes()?,
            (5, value) => hash = value.varint()?,
            (6, value) => fanout = value.varint()?,
            _ => {}
        }
    }
    match kind {
        Some(TYPE_FILE | TYPE_RAW) => Ok(Kind::File(bytes)),
        Some(TYPE_DIRECTORY) => Ok(Kind::Directory),
        Some(TYPE_SHARD)
            if hash == HASH_MURMUR3 && fanout.is_power_of_two() && (8..=1024).contains(&fanout) =>
        {
            Ok(Kind::Shard(fanout.trailing_zeros()))
        }
        Some(TYPE_SHARD) => Err(Malformed),
        _ => Ok(Kind::Other),
    }
}
