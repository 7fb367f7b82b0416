//! Links of blocks: dag-pb, raw, dag-cbor and dag-json.

pub(crate) mod cbor;
mod json;
pub(crate) mod pb;
mod seen;

use cid::Cid;

use crate::block::{DAG_CBOR, DAG_JSON, DAG_PB, RAW};
use crate::Error;
pub(crate) use seen::{Seen, Sight};

/// The links of a block in their order, repeated ones included.
///
/// # Errors
/// [`Error::Codec`] for a codec other than raw, dag-pb, dag-cbor and dag-json; [`Error::Malformed`] if the bytes are not of
/// that codec.
pub fn links(cid: &Cid, block: &[u8]) -> Result<Vec<Cid>, Error> {
    let links = match cid.codec() {
        RAW => Some(Vec::new()),
        DAG_PB => pb::links(block),
        DAG_CBOR => cbor::links(block),
        DAG_JSON => json::links(block),
        other => return Err(Error::Codec(other)),
    };
    links.ok_or(Error::Malformed(*cid))
}

/// Whether the links of a codec are known here.
pub(crate) fn knows(codec: u64) -> bool {
    matches!(codec, RAW | DAG_PB | DAG_CBOR | DAG_JSON)
}

/// Whether a block has no links when it is read as dag-pb, so that walks need not read it again.
pub(crate) fn is_pb_leaf(block: &[u8]) -> bool {
    pb::decode(block).is_some_and(|node| node.links.is_empty())
}
