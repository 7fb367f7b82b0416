//! CIDs: the ones that a market's digest may mean, and their place in JSON.

use cid::multihash::Multihash;
use cid::Cid;
use serde::{de, Deserialize, Deserializer, Serializer};

use super::units::FileHash;

/// Codec of UnixFS and other protobuf nodes.
pub const DAG_PB: u64 = 0x70;
/// Codec of bare bytes.
pub const RAW: u64 = 0x55;
/// Codec of dag-cbor.
pub const DAG_CBOR: u64 = 0x71;
/// Multihash code of sha2-256.
pub const SHA2_256: u64 = 0x12;

/// The root that a market's digest means first of all: a CIDv0 (dag-pb, sha2-256).
pub fn of_file(file: FileHash) -> Cid {
    Cid::new_v0(multihash_of(file)).unwrap_or_else(|_| raw_of_file(file))
}

/// The other root that it may mean: a single raw block.
pub fn raw_of_file(file: FileHash) -> Cid {
    Cid::new_v1(RAW, multihash_of(file))
}

/// The digest by which a market names a root; `None` if its hash is not sha2-256.
pub fn file_hash(cid: &Cid) -> Option<FileHash> {
    if cid.hash().code() != SHA2_256 {
        return None;
    }
    <[u8; 32]>::try_from(cid.hash().digest()).ok().map(FileHash)
}

fn multihash_of(file: FileHash) -> Multihash<64> {
    // 32 bytes always fit into a multihash of 64.
    Multihash::wrap(SHA2_256, &file.0).unwrap_or_default()
}

/// Writes a CID as text; for `#[serde(with)]`.
///
/// # Errors
/// As the serializer.
pub fn serialize<S: Serializer>(cid: &Cid, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(cid)
}

/// Reads a CID from text; for `#[serde(with)]`.
///
/// # Errors
/// If the text is no CID.
pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Cid, D::Error> {
    String::deserialize(d)?.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_means_a_cid_of_version_0_and_back() {
        let cid: Cid = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o".parse().unwrap();
        let file = file_hash(&cid).unwrap();
        assert_eq!(of_file(file), cid);
        assert_eq!(file_hash(&raw_of_file(file)), Some(file));
    }
}
