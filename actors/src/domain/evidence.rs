//! What a validator shows for its vote: a document that it signs, and the blocks that it speaks of.
//!
//! The document is canonical JSON, its digest goes to the chain behind the vote, and [`verify`](verify::verify)
//! finds every derivation in it again. It can't prove that silence happened, that hoster and validator are
//! two people, that the hoster did not fetch what it gave, or possession between slots: [`verify::Report`] says
//! what is testimony.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit::slot::Slot;
use super::audit::vote::{Elsewhere, Verdict};
use super::audit::{keccak, Policy};
use super::market::{BidKey, BidTerms, MarketRules};
use super::units::{Address, ChainTime, Digest, FileHash, WallTime};

pub mod canonical;
pub mod car;
pub mod verify;

/// The form of the document.
pub const SCHEMA: &str = "scatter/evidence/1";
/// Bytes of inner nodes that are kept; of content with more, only the root is.
pub const MOST_INNER: u64 = 64 << 20;

/// A registration file, as the block that its digest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationFile {
    /// Whose.
    pub who: Address,
    /// Its digest in the Register.
    pub file: FileHash,
    /// The block's bytes in hex.
    pub block: String,
}

/// The CAR that belongs to the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarNote {
    /// Keccak of the file.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: u64,
}

/// Everything that a vote rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program that wrote it, with its version.
    pub program: String,
    /// The bid.
    pub bid: BidKey,
    /// Its terms, as `getBid` told them.
    pub terms: BidTerms,
    /// The market's rules.
    pub rules: MarketRules,
    /// Who was audited.
    pub hoster: Address,
    /// When the duration began.
    pub pinned_at: ChainTime,
    /// Who audited.
    pub validator: Address,
    /// The registration files that it relied on.
    pub registrations: Vec<RegistrationFile>,
    /// How strictly.
    pub policy: Policy,
    /// What was asked and answered, slot by slot. Slots behind an irrevocable verdict are left out.
    pub slots: Vec<Slot>,
    /// Other hosters' endpoints that answered.
    pub elsewhere: Vec<Elsewhere>,
    /// What follows.
    pub verdict: Verdict,
    /// Whether the CAR has the content's inner nodes; not if they are over 64 MiB.
    pub nodes_kept: bool,
    /// The CAR; `None` if no block ever came.
    pub car: Option<CarNote>,
    /// When it was written, by the validator's machine.
    pub written: WallTime,
}

/// The document as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    evidence: Value,
    signature: String,
}

/// A document that can be written and voted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The file.
    pub bytes: Vec<u8>,
    /// What goes behind the vote.
    pub digest: Digest,
}

/// Why a document can't be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError<E> {
    /// It can't be written as canonical JSON.
    #[error("the evidence has no canonical form: {0}")]
    Form(String),
    /// The key refused.
    #[error(transparent)]
    Key(E),
}

impl Evidence {
    /// The document's digest: keccak of its canonical form, without the signature.
    ///
    /// # Errors
    /// If it holds a number that has no exact form in JSON.
    pub fn digest(&self) -> Result<Digest, canonical::Error> {
        digest_of(&self.to_value())
    }

    fn to_value(&self) -> Value {
        // Plain records of numbers and texts always serialise.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Signs the document. `sign` signs 32 bytes by EIP-191.
    ///
    /// # Errors
    /// If there is no canonical form, or the key refuses.
    pub fn seal<E>(&self, sign: impl Fn(&[u8]) -> Result<[u8; 65], E>) -> Result<Sealed, SealError<E>> {
        let form = |error: canonical::Error| SealError::Form(error.to_string());
        let evidence = self.to_value();
        let digest = digest_of(&evidence).map_err(form)?;
        let signature = format!("0x{}", hex::encode(sign(&digest.0).map_err(SealError::Key)?));
        let signed = serde_json::to_value(Signed { evidence, signature }).unwrap_or_default();
        Ok(Sealed { bytes: canonical::write(&signed).map_err(form)?, digest })
    }
}

fn digest_of(evidence: &Value) -> Result<Digest, canonical::Error> {
    Ok(keccak(&[&canonical::write(evidence)?]))
}
