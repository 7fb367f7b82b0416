//! Keys of names: kept, moved between nodes, and used to sign records.

use std::fmt;

use cid::multibase::Base;
use libp2p_identity::{KeyType, Keypair};
use zeroize::Zeroizing;

use crate::data::Document;
use crate::entry::Entry;
use crate::record::{signed_bytes, MAX_RECORD_BYTES};
use crate::{Name, Timestamp};

/// All of a PKCS #8 file of an ed25519 key but the 32 bytes of its seed, which end it (RFC 8410, section 7).
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The private key of a name: ed25519, RSA or secp256k1. It wipes its bytes when it is dropped (an RSA key leaves the
/// numbers that `ring` made of it) and does not show them in `Debug`.
#[derive(Clone)]
pub struct SigningKey {
    pair: Keypair,
    /// libp2p's `PrivateKey` message. RSA pairs cannot be encoded again, so it is kept.
    encoded: Zeroizing<Vec<u8>>,
}

/// Bytes that are no private key of a known kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no private key: {0}")]
pub struct BadKey(String);

/// Why no record was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// The value leaves no room: the record would have more than [`MAX_RECORD_BYTES`].
    #[error("the record would have {0} bytes, more than 10 KiB")]
    TooLarge(usize),
    /// The key did not sign; only RSA keys ever don't.
    #[error("the key did not sign: {0}")]
    Failed(String),
}

impl SigningKey {
    /// The ed25519 key of 32 random bytes.
    ///
    /// # Errors
    /// If they are not 32.
    pub fn from_seed(seed: &[u8]) -> Result<Self, BadKey> {
        let mut seed = Zeroizing::new(seed.to_vec());
        let pair = Keypair::ed25519_from_bytes(seed.as_mut_slice()).map_err(|e| BadKey(e.to_string()))?;
        let encoded = pair.to_protobuf_encoding().map_err(|e| BadKey(e.to_string()))?;
        Ok(Self { pair, encoded: Zeroizing::new(encoded) })
    }

    /// Reads libp2p's `PrivateKey` message, the form in which Kubo exports keys (`ipfs key export NAME`) and keeps them
    /// in its keystore.
    ///
    /// # Errors
    /// If the bytes are none, or the key is of another kind than ed25519, RSA of 2048 to 4096 bits and secp256k1.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, BadKey> {
        let pair = Keypair::from_protobuf_encoding(bytes).map_err(|e| BadKey(e.to_string()))?;
        Ok(Self { pair, encoded: Zeroizing::new(bytes.to_vec()) })
    }

    /// Reads an ed25519 key in PEM, as `ipfs key export --format=pem-pkcs8-cleartext` and OpenSSL write it.
    ///
    /// # Errors
    /// If the text is no `PRIVATE KEY`, or the key is of another kind.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        let refused = |why: &str| BadKey(why.to_owned());
        let body = text
            .trim()
            .strip_prefix("-----BEGIN PRIVATE KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"))
            .ok_or_else(|| refused("no PRIVATE KEY in PEM"))?;
        let body = Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
        let der = Base::Base64Pad.decode(body.as_str()).map_err(|_| refused("no base64 in PEM"))?;
        let der = Zeroizing::new(der);
        let seed = der.strip_prefix(&ED25519_PKCS8).ok_or_else(|| refused("no ed25519 key in PEM"))?;
        Self::from_seed(seed)
    }

    /// libp2p's `PrivateKey` message: what [`SigningKey::from_protobuf`] and `ipfs key import` read. It is the secret.
    pub fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        self.encoded.clone()
    }

    /// The name that this key owns.
    pub fn name(&self) -> Name {
        Name::of_peer(self.pair.public().to_peer_id())
    }

    /// Makes a record with the fields of version 1 beside those of version 2, as Kubo does unless told otherwise:
    /// readers of before 2021 understand it too.
    ///
    /// `value` is mostly a path (`/ipfs/CID`), `sequence` higher than any before if the value is another, `ttl_ns` a hint
    /// in nanoseconds; Kubo reads neither number above `i64::MAX`.
    ///
    /// # Errors
    /// If the record is larger than others take, or an RSA key fails.
    pub fn sign(
        &self,
        value: &[u8],
        sequence: u64,
        eol: Timestamp,
        ttl_ns: u64,
    ) -> Result<Vec<u8>, Unsigned> {
        let document = Document::until(value, sequence, eol, ttl_ns);
        let legacy_text = [value, &document.validity, b"EOL"].concat();
        let signature_v1 = self.signature(&legacy_text)?;
        self.seal(
            &document,
            Entry {
                value: Some(value),
                signature_v1: Some(&signature_v1),
                validity_type: Some(document.validity_type),
                validity: Some(&document.validity),
                sequence: Some(sequence),
                ttl: Some(ttl_ns),
                ..Entry::default()
            },
        )
    }

    /// Makes a record of version 2 alone: smaller, and enough for every reader since 2021.
    ///
    /// # Errors
    /// As [`SigningKey::sign`].
    pub fn sign_v2_only(
        &self,
        value: &[u8],
        sequence: u64,
        eol: Timestamp,
        ttl_ns: u64,
    ) -> Result<Vec<u8>, Unsigned> {
        self.seal(&Document::until(value, sequence, eol, ttl_ns), Entry::default())
    }

    /// Puts the document, its signature and, unless the name has it, the key into an entry.
    fn seal(&self, document: &Document, legacy: Entry<'_>) -> Result<Vec<u8>, Unsigned> {
        let data = document.encode();
        let signature_v2 = self.signature(&signed_bytes(&data))?;
        let key = self.pair.public().encode_protobuf();
        let pub_key = self.name().inlined_key().is_none().then_some(key.as_slice());
        let entry = Entry { pub_key, signature_v2: Some(&signature_v2), data: Some(&data), ..legacy };
        let bytes = entry.encode();
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(Unsigned::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        self.pair.sign(message).map_err(|e| Unsigned::Failed(e.to_string()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind: KeyType = self.pair.key_type();
        write!(f, "SigningKey({kind:?}, of {})", self.name())
    }
}
