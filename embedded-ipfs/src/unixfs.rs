//! UnixFS files (<https://specs.ipfs.tech/unixfs/>), laid out as Kubo's `ipfs add` does.

pub(crate) mod add;
pub(crate) mod cat;

use crate::dag::pb;
use crate::proto::{fields, put_bytes, put_int, Malformed};

const TYPE_RAW: u64 = 0;
const TYPE_FILE: u64 = 2;

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
pub(crate) fn inner(links: &[pb::Link], sizes: &[u64]) -> Vec<u8> {
    let mut data = Vec::with_capacity(16 + 4 * sizes.len());
    put_int(&mut data, 1, TYPE_FILE);
    put_int(&mut data, 3, sizes.iter().sum());
    for &size in sizes {
        put_int(&mut data, 4, size);
    }
    pb::encode(links, &data)
}

/// The bytes of a file that lie in a node itself; `None` if the node is no file.
pub(crate) fn file_data(data: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let (mut kind, mut bytes) = (None, &b""[..]);
    for field in fields(data) {
        match field? {
            (1, value) => kind = Some(value.varint()?),
            (2, value) => bytes = value.bytes()?,
            _ => {}
        }
    }
    Ok(matches!(kind, Some(TYPE_FILE | TYPE_RAW)).then_some(bytes))
}
