//! Records: verified, read and compared.

use std::cmp::Ordering;
use std::fmt;

use cid::Cid;
use libp2p_identity::PublicKey;

use crate::content::{content, NotContent};
use crate::data::Document;
use crate::entry::Entry;
use crate::{Name, Timestamp};

/// The largest record, in bytes: 10 KiB.
pub const MAX_RECORD_BYTES: usize = 10 * 1024;

/// What signatures are made over: this and the document.
const SIGNED_PREFIX: &[u8] = b"ipns-signature:";

/// A record that the owner of a name signed. There is none that was not verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    name: Name,
    value: Vec<u8>,
    sequence: u64,
    eol: Timestamp,
    ttl_ns: u64,
    bytes: Vec<u8>,
}

/// Why bytes are no valid record of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record has more than [`MAX_RECORD_BYTES`].
    #[error("the record has {0} bytes, more than 10 KiB")]
    TooLarge(usize),
    /// The bytes are no protobuf of a record.
    #[error("the bytes are no record: {0}")]
    Malformed(&'static str),
    /// There is no signature of version 2; version 1 proves nothing.
    #[error("the record has no signature of version 2")]
    NoSignature,
    /// There is nothing that is signed.
    #[error("the record has no signed document")]
    NoDocument,
    /// The name is the hash of a key, and the record does not bring the key.
    #[error("the record does not bring the key of its name")]
    NoKey,
    /// The key is malformed or of a kind other than ed25519, RSA and secp256k1.
    #[error("the key is of no known kind")]
    UnknownKey,
    /// The record brings another key than its name's.
    #[error("the record brings another key than its name's")]
    WrongKey,
    /// The owner of the name did not sign this, or with an RSA key of less than 2048 bits, too short to prove anything.
    #[error("the signature does not match")]
    BadSignature,
    /// The signed document is not as the specification says.
    #[error("the signed document is malformed: {0}")]
    BadDocument(&'static str),
    /// A field of version 1 says something else than the signed document.
    #[error("the field {0} of version 1 says something else than what is signed")]
    Contradiction(&'static str),
    /// The record ends by another rule than a time.
    #[error("the record ends by an unknown rule: validity type {0}")]
    UnknownValidity(u64),
    /// The record was good until its end of life. What it says is still there, for who wants to say since when.
    #[error("the record ended at {}", .0.eol())]
    Expired(Box<Record>),
}

/// Verifies the bytes of a record of `name` at `now_ms` (milliseconds since 1970).
///
/// A record lives before its end of life, not at it.
///
/// # Errors
/// The first rule of the specification that the bytes break. Whoever wants the contents of a record past its end finds
/// them in [`Refusal::Expired`], which comes after all other checks.
pub fn verify(name: Name, bytes: &[u8], now_ms: u64) -> Result<Record, Refusal> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    let entry = Entry::decode(bytes).map_err(Refusal::Malformed)?;
    let signature = present(entry.signature_v2).ok_or(Refusal::NoSignature)?;
    let data = present(entry.data).ok_or(Refusal::NoDocument)?;
    if !public_key(name, &entry)?.verify(&signed_bytes(data), signature) {
        return Err(Refusal::BadSignature);
    }
    let document = Document::decode(data).map_err(Refusal::BadDocument)?;
    agree(&entry, &document)?;
    let record = Record {
        name,
        eol: eol(&document)?,
        value: document.value,
        sequence: document.sequence,
        ttl_ns: document.ttl,
        bytes: bytes.to_vec(),
    };
    if record.eol <= Timestamp::from_ms(now_ms) {
        return Err(Refusal::Expired(Box::new(record)));
    }
    Ok(record)
}

pub(crate) fn signed_bytes(document: &[u8]) -> Vec<u8> {
    [SIGNED_PREFIX, document].concat()
}

/// An empty field is as good as none.
fn present(field: Option<&[u8]>) -> Option<&[u8]> {
    field.filter(|bytes| !bytes.is_empty())
}

/// The key that the record brings, or the one in the name.
fn public_key(name: Name, entry: &Entry<'_>) -> Result<PublicKey, Refusal> {
    let Some(brought) = present(entry.pub_key) else {
        let inlined = name.inlined_key().ok_or(Refusal::NoKey)?;
        return PublicKey::try_decode_protobuf(&inlined).map_err(|_| Refusal::UnknownKey);
    };
    let key = PublicKey::try_decode_protobuf(brought).map_err(|_| Refusal::UnknownKey)?;
    // Names hash the one canonical encoding of a key: another one is not what the name stands for.
    if key.encode_protobuf() != brought || Name::of_peer(key.to_peer_id()) != name {
        return Err(Refusal::WrongKey);
    }
    Ok(key)
}

/// Fields of version 1 say what the document says, where there are any.
fn agree(entry: &Entry<'_>, document: &Document) -> Result<(), Refusal> {
    if present(entry.value).is_none() && present(entry.signature_v1).is_none() {
        return Ok(());
    }
    // In protobuf a field that is not there is empty or 0.
    for (field, agrees) in [
        ("value", entry.value.unwrap_or_default() == document.value),
        ("validityType", entry.validity_type.unwrap_or_default() == document.validity_type),
        ("validity", entry.validity.unwrap_or_default() == document.validity),
        ("sequence", entry.sequence.unwrap_or_default() == document.sequence),
        ("ttl", entry.ttl.unwrap_or_default() == document.ttl),
    ] {
        if !agrees {
            return Err(Refusal::Contradiction(field));
        }
    }
    Ok(())
}

fn eol(document: &Document) -> Result<Timestamp, Refusal> {
    if document.validity_type != 0 {
        return Err(Refusal::UnknownValidity(document.validity_type));
    }
    std::str::from_utf8(&document.validity)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Refusal::BadDocument("Validity is no RFC 3339 time"))
}

impl Record {
    /// The name whose owner signed it.
    pub fn name(&self) -> Name {
        self.name
    }

    /// To what the name points, as it was signed: mostly a text, sometimes the bytes of a CID.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The content to which the name points: a CID and the path below it.
    ///
    /// # Errors
    /// If the value is neither `/ipfs/CID[/path]` nor the bytes of a CID: another name, a domain, nothing.
    pub fn content(&self) -> Result<(Cid, Vec<String>), NotContent> {
        content(&self.value)
    }

    /// Counts the owner's changes.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// End of life: from then on the record is void.
    pub fn eol(&self) -> Timestamp {
        self.eol
    }

    /// For how many nanoseconds the owner would have it cached; a hint.
    pub fn ttl_ns(&self) -> u64 {
        self.ttl_ns
    }

    /// The record as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which of two records of one name counts: the one with the higher sequence, then with the later end of life.
    /// Between two that only differ otherwise the bytes decide, so that all nodes choose alike.
    pub fn compare(&self, other: &Self) -> Ordering {
        (self.sequence, self.eol, &self.bytes).cmp(&(other.sequence, other.eol, &other.bytes))
    }

    /// Whether this one counts rather than the other.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.compare(other).is_gt()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("name", &self.name)
            .field("value", &String::from_utf8_lossy(&self.value))
            .field("sequence", &self.sequence)
            .field("eol", &self.eol)
            .field("ttl_ns", &self.ttl_ns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
