//! Blocks by hash: keys, CIDs, and what a prefix on the wire says.

use bytes::Bytes;
use cid::multihash::Multihash;
use cid::{Cid, Version};
use multihash_codetable::{Code, MultihashDigest};

use crate::{Error, MAX_BLOCK};

pub(crate) const RAW: u64 = 0x55;
pub(crate) const DAG_PB: u64 = 0x70;
pub(crate) const DAG_CBOR: u64 = 0x71;
pub(crate) const DAG_JSON: u64 = 0x0129;
const IDENTITY: u64 = 0x00;

/// The bytes of a multihash: what a block is kept and looked for under, whatever the version and codec of the CID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(Box<[u8]>);

impl Key {
    pub(crate) fn of(cid: &Cid) -> Key {
        Key(cid.hash().to_bytes().into_boxed_slice())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Key {
        Key(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes that an identity CID carries in itself; `None` for every other CID.
pub(crate) fn inline(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == IDENTITY).then(|| cid.hash().digest())
}

/// The same block under version 1, so that v0 and v1 of a root compare equal.
pub(crate) fn normal(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

/// The sha2-256 CID of a block. Version 0 implies dag-pb.
pub(crate) fn cid_of(version: Version, codec: u64, bytes: &[u8]) -> Cid {
    let hash = Code::Sha2_256.digest(bytes);
    match (version, Cid::new_v0(hash)) {
        (Version::V0, Ok(cid)) if codec == DAG_PB => cid,
        _ => Cid::new_v1(codec, hash),
    }
}

/// Checks that `bytes` are the block of `cid`.
///
/// # Errors
/// [`Error::Mismatch`], or [`Error::Hash`] for a hash function that is not computed here.
pub fn verify(cid: &Cid, bytes: &[u8]) -> Result<(), Error> {
    if let Some(inline) = inline(cid) {
        return if inline == bytes { Ok(()) } else { Err(Error::Mismatch(*cid)) };
    }
    let code = cid.hash().code();
    let code = Code::try_from(code).map_err(|_| Error::Hash(code))?;
    if code.digest(bytes) == *cid.hash() {
        Ok(())
    } else {
        Err(Error::Mismatch(*cid))
    }
}

/// Refuses a CID whose block could never be checked: an unknown hash function, or a digest of another length than its own.
pub(crate) fn check_known_hash(cid: &Cid) -> Result<(), Error> {
    let code = cid.hash().code();
    let computed = Code::try_from(code).ok().map(|code| code.digest(b"").size());
    if code == IDENTITY || computed == Some(cid.hash().size()) {
        Ok(())
    } else {
        Err(Error::Hash(code))
    }
}

pub(crate) fn check_size(bytes: &Bytes) -> Result<(), Error> {
    if bytes.len() > MAX_BLOCK {
        return Err(Error::BlockTooLarge { size: bytes.len() });
    }
    Ok(())
}

/// What stands before a block on the wire: version, codec, hash function and digest length, each a varint.
/// Version 0 is written out as `00 70 12 20`: Kubo does not know `12 20` as a prefix.
pub(crate) fn prefix_of(cid: &Cid) -> Vec<u8> {
    let version = match cid.version() {
        Version::V0 => 0,
        Version::V1 => 1,
    };
    let mut out = Vec::with_capacity(8);
    for n in [version, cid.codec(), cid.hash().code(), u64::from(cid.hash().size())] {
        crate::proto::put_varint(&mut out, n);
    }
    out
}

/// The CID that a received block has by its own bytes; `None` if the prefix makes no sense or its hash is unknown.
pub(crate) fn cid_from_prefix(prefix: &[u8], bytes: &[u8]) -> Option<Cid> {
    let code = Code::try_from(hash_of_prefix(prefix)?).ok()?;
    cid_from_digest(prefix, code.digest(bytes).digest())
}

/// The code of the hash function that a prefix names; that of identity is none.
pub(crate) fn hash_of_prefix(prefix: &[u8]) -> Option<u64> {
    read_prefix(prefix).map(|[_, _, code, _]| code)
}

/// The CID of what has this digest.
pub(crate) fn cid_from_digest(prefix: &[u8], digest: &[u8]) -> Option<Cid> {
    let [version, codec, code, size] = read_prefix(prefix)?;
    if digest.len() as u64 != size {
        return None;
    }
    let hash = Multihash::wrap(code, digest).ok()?;
    match version {
        0 if codec == DAG_PB => Cid::new_v0(hash).ok(),
        1 => Some(Cid::new_v1(codec, hash)),
        _ => None,
    }
}

fn read_prefix(prefix: &[u8]) -> Option<[u64; 4]> {
    let (mut rest, mut numbers) = (prefix, [0; 4]);
    for number in &mut numbers {
        (*number, rest) = unsigned_varint::decode::u64(rest).ok()?;
    }
    (numbers[2] != IDENTITY && rest.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_prefix_of_version_0_is_spelled_out_for_kubo() {
        let cid = cid_of(Version::V0, DAG_PB, b"x");
        assert_eq!(prefix_of(&cid), [0x00, 0x70, 0x12, 0x20]);
    }

    #[test]
    fn versions_and_codecs_of_one_digest_share_a_key() {
        let v0 = cid_of(Version::V0, DAG_PB, b"x");
        let raw = cid_of(Version::V1, RAW, b"x");
        assert_eq!(Key::of(&v0), Key::of(&raw));
        assert_eq!(normal(&v0), cid_of(Version::V1, DAG_PB, b"x"));
        assert_ne!(normal(&v0), raw);
    }

    #[test]
    fn bytes_that_are_not_those_of_the_cid_are_found_out() {
        let cid = cid_of(Version::V1, RAW, b"right");
        assert!(verify(&cid, b"right").is_ok());
        assert!(matches!(verify(&cid, b"wrong"), Err(Error::Mismatch(_))));
    }

    #[test]
    fn a_cid_that_no_bytes_can_have_is_refused() {
        let digest = Code::Sha2_256.digest(b"x");
        let truncated = cid::multihash::Multihash::wrap(digest.code(), &digest.digest()[..20]).unwrap();
        let unknown = cid::multihash::Multihash::wrap(0xd5, digest.digest()).unwrap(); // md5
        assert!(check_known_hash(&Cid::new_v1(RAW, digest)).is_ok());
        assert!(matches!(check_known_hash(&Cid::new_v1(RAW, truncated)), Err(Error::Hash(0x12))));
        assert!(matches!(check_known_hash(&Cid::new_v1(RAW, unknown)), Err(Error::Hash(0xd5))));
    }

    proptest! {
        #[test]
        fn a_block_has_the_cid_that_its_prefix_was_made_from(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            code in prop_oneof![Just(Code::Sha2_256), Just(Code::Sha2_512), Just(Code::Blake2b256), Just(Code::Blake3_256)],
            codec in prop_oneof![Just(RAW), Just(DAG_PB), Just(DAG_CBOR)],
        ) {
            let cid = Cid::new_v1(codec, code.digest(&bytes));
            prop_assert_eq!(cid_from_prefix(&prefix_of(&cid), &bytes), Some(cid));
            let v0 = cid_of(Version::V0, DAG_PB, &bytes);
            prop_assert_eq!(cid_from_prefix(&prefix_of(&v0), &bytes), Some(v0));
        }

        #[test]
        fn any_prefix_is_survived(prefix in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = cid_from_prefix(&prefix, b"x");
        }
    }
}
