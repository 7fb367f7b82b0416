//! Checks evidence without asking anybody: hashes again, derives again, judges again.

use serde::Serialize;
use std::collections::BTreeSet;

use cid::Cid;
use serde_json::Value;

use super::car::Car;
use super::{canonical, Evidence, Signed, MOST_INNER, SCHEMA};
use crate::domain::audit::draw::{draw, needed};
use crate::domain::audit::schedule::Plan;
use crate::domain::audit::secrets::Anchor;
use crate::domain::audit::seed::{seed, Ingredients};
use crate::domain::audit::slot::{recheck_at, Asked, Drawn, Outcome, Purpose, Slot, Try};
use crate::domain::audit::vote::{Tally, Verdict};
use crate::domain::audit::walk::{Caps, Index};
use crate::domain::audit::{keccak, Beacon};
use crate::domain::cids;
use crate::domain::dag;
use crate::domain::market::{BidKey, BidTerms};
use crate::domain::registration::{self, Registration};
use crate::domain::units::{Address, ChainTime, Digest, FileHash};

/// Finds the address that signed a message by EIP-191; `None` if the signature is none.
pub type Recover<'a> = &'a dyn Fn(&[u8], &[u8; 65]) -> Option<Address>;

/// Why evidence is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The file is no evidence in its one form.
    #[error("the file is no evidence in canonical form: {0}")]
    Form(String),
    /// The signature is not the validator's.
    #[error("the signature is not {0}'s")]
    Signature(Address),
    /// The CAR is missing, malformed, or another one.
    #[error("the CAR: {0}")]
    Car(String),
    /// A registration file is not what it should be.
    #[error("a registration file: {0}")]
    Registration(String),
    /// Somebody plays two parts.
    #[error("validator, hoster and bidder are not three")]
    Parties,
    /// A slot does not follow from what it rests on.
    #[error("slot {slot}: {what}")]
    Slot {
        /// Which.
        slot: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// The slots are not all there.
    #[error("{found} slots, where the bid has {wanted} and the verdict is open")]
    Slots {
        /// How many there are.
        found: usize,
        /// How many there should be.
        wanted: u32,
    },
    /// Another verdict follows.
    #[error("the slots say {found:?}, not {told:?}")]
    Verdict {
        /// What the document says.
        told: Verdict,
        /// What follows.
        found: Verdict,
    },
}

/// What a slot amounts to, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotReport {
    /// Its number.
    pub slot: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was due.
    pub due: ChainTime,
    /// Blocks drawn.
    pub drawn: usize,
    /// Of them, blocks whose bytes are in the CAR and were hashed again.
    pub rehashed: usize,
}

/// The block to which a slot's seed is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// The slot.
    pub slot: u32,
    /// The block should be the first of this time or later.
    pub from: ChainTime,
    /// The block.
    #[serde(flatten)]
    pub beacon: Beacon,
}

/// What was found to be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The digest that should stand behind the vote's calldata.
    pub digest: Digest,
    /// The bid.
    pub bid: BidKey,
    /// Who was audited.
    pub hoster: Address,
    /// Who audited.
    pub validator: Address,
    /// What follows.
    pub verdict: Verdict,
    /// The slots.
    pub slots: Vec<SlotReport>,
    /// The bid's terms, as the document tells them. Here and below: whoever has a provider finds it on the chain.
    pub terms: BidTerms,
    /// When the hoster announced.
    pub pinned_at: ChainTime,
    /// Blocks of the chain to which slots are bound.
    pub beacons: Vec<Bound>,
    /// Registration files by their owners.
    pub registrations: Vec<(Address, FileHash)>,
    /// What no file can prove, in words.
    pub testimony: Vec<&'static str>,
}

/// Checks a document and its CAR.
///
/// # Errors
/// At the first thing that does not follow.
pub fn verify(document: &[u8], car: Option<&[u8]>, recover: Recover<'_>) -> Result<Report, Doubt> {
    let (evidence, digest) = read(document, recover)?;
    let parties = BTreeSet::from([evidence.validator, evidence.hoster, evidence.terms.bidder]);
    if parties.len() != 3 {
        return Err(Doubt::Parties);
    }
    let car = read_car(&evidence, car)?;
    let checked = Checked::new(&evidence, car)?;
    let slots = evidence.slots.iter().enumerate().map(|(n, slot)| checked.slot(n, slot));
    let slots = slots.collect::<Result<Vec<SlotReport>, Doubt>>()?;
    let tally = Tally::of(checked.plan, &evidence.policy, &evidence.slots, &evidence.elsewhere);
    if slots.len() != checked.plan.slots as usize && !tally.is_irrevocable() {
        return Err(Doubt::Slots { found: slots.len(), wanted: checked.plan.slots });
    }
    if evidence.elsewhere.iter().any(|other| other.hoster == evidence.hoster) {
        return Err(Doubt::Parties);
    }
    let bound = |slot: &Slot| {
        let from = checked.plan.stratum(slot.slot).from;
        Some(Bound { slot: slot.slot, from, beacon: slot.beacon? })
    };
    let found = tally.verdict();
    if found != evidence.verdict {
        return Err(Doubt::Verdict { told: evidence.verdict, found });
    }
    Ok(Report {
        digest,
        bid: evidence.bid,
        hoster: evidence.hoster,
        validator: evidence.validator,
        verdict: found,
        slots,
        terms: evidence.terms.clone(),
        pinned_at: evidence.pinned_at,
        beacons: evidence.slots.iter().filter_map(bound).collect(),
        registrations: evidence.registrations.iter().map(|file| (file.who, file.file)).collect(),
        testimony: checked.testimony(),
    })
}

/// Reads the document: canonical, of our schema, and signed by whom it says.
fn read(document: &[u8], recover: Recover<'_>) -> Result<(Evidence, Digest), Doubt> {
    let form = |error: &dyn std::fmt::Display| Doubt::Form(error.to_string());
    let value: Value = serde_json::from_slice(document).map_err(|e| form(&e))?;
    if canonical::write(&value).map_err(|e| form(&e))? != document {
        return Err(form(&"its members are written in another way"));
    }
    let signed: Signed = serde_json::from_value(value).map_err(|e| form(&e))?;
    let digest = super::digest_of(&signed.evidence).map_err(|e| form(&e))?;
    let evidence: Evidence = serde_json::from_value(signed.evidence.clone()).map_err(|e| form(&e))?;
    // What was read must be all that was written: nothing hides in a member that is not known.
    if evidence.to_value() != signed.evidence {
        return Err(form(&"it has members that are not known"));
    }
    if evidence.schema != SCHEMA {
        return Err(form(&"another schema"));
    }
    let mut signature = [0; 65];
    let digits = signed.signature.strip_prefix("0x").unwrap_or_default();
    hex::decode_to_slice(digits, &mut signature).map_err(|e| form(&e))?;
    if recover(&digest.0, &signature) != Some(evidence.validator) {
        return Err(Doubt::Signature(evidence.validator));
    }
    Ok((evidence, digest))
}

fn read_car(evidence: &Evidence, car: Option<&[u8]>) -> Result<Option<Car>, Doubt> {
    let wrong = |what: &str| Doubt::Car(what.to_owned());
    match (evidence.car, car) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(wrong("the evidence has none")),
        (Some(_), None) => Err(wrong("it is missing")),
        (Some(note), Some(bytes)) => {
            if note.bytes != bytes.len() as u64 || note.digest != keccak(&[bytes]) {
                return Err(wrong("it is another one"));
            }
            Car::parse(bytes).map(Some).map_err(|e| Doubt::Car(e.to_string()))
        }
    }
}

/// A registration file whose digest and owner are right.
fn read_registration(file: &super::RegistrationFile) -> Result<Registration, Doubt> {
    let wrong = |error: &dyn std::fmt::Display| Doubt::Registration(error.to_string());
    let block = hex::decode(&file.block).map_err(|e| wrong(&e))?;
    dag::verify_block(&cids::raw_of_file(file.file), &block).map_err(|e| wrong(&e))?;
    let root = dag::root_of(file.file, &block);
    let bytes = dag::file_bytes(&root, &block).map_err(|e| wrong(&e))?;
    registration::parse(bytes, file.who).map_err(|e| wrong(&e))
}

/// What all slots rest on.
struct Checked<'a> {
    evidence: &'a Evidence,
    plan: Plan,
    anchor: Anchor,
    /// Registration files of the hoster that name an endpoint.
    endpoints: BTreeSet<FileHash>,
    car: Option<Car>,
    index: Option<Index>,
}

impl<'a> Checked<'a> {
    fn new(evidence: &'a Evidence, car: Option<Car>) -> Result<Self, Doubt> {
        let mut anchor = None;
        let mut endpoints = BTreeSet::new();
        for file in &evidence.registrations {
            let read = read_registration(file)?;
            if file.who == evidence.validator {
                anchor = read.host.audit.or(anchor);
            } else if file.who == evidence.hoster && read.host.endpoint.is_some() {
                endpoints.insert(file.file);
            }
        }
        let anchor = anchor.ok_or(Doubt::Registration("none carries the validator's anchor".into()))?;
        let caps = Caps::for_size(evidence.terms.size);
        let index = match &car {
            Some(car) if evidence.nodes_kept => {
                car.index(evidence.terms.file, caps).map_err(|e| Doubt::Car(e.to_string()))?
            }
            _ => None,
        };
        // So many nodes are never read of content that small.
        if !evidence.nodes_kept && caps.bytes <= MOST_INNER {
            return Err(Doubt::Car("it could have kept the content's inner nodes".into()));
        }
        let plan = Plan::new(evidence.pinned_at, evidence.terms.duration);
        Ok(Self { evidence, plan, anchor, endpoints, car, index })
    }

    fn slot(&self, n: usize, slot: &Slot) -> Result<SlotReport, Doubt> {
        let number = slot.slot;
        let ensure = |holds, what| if holds { Ok(()) } else { Err(Doubt::Slot { slot: number, what }) };
        let Evidence { bid, policy, .. } = self.evidence;
        ensure(number as usize == n && number < self.plan.slots, "it is out of its place")?;
        let moment = self.plan.secret_moment(number);
        ensure(self.anchor.reveals(moment, slot.secret), "the secret is not of the anchor's chain")?;
        ensure(slot.due == self.plan.due(*bid, number, slot.secret), "it was due at another moment")?;
        let from = self.plan.stratum(number).from;
        ensure(slot.beacon.is_none_or(|beacon| beacon.time >= from), "its block is too old")?;
        let outcome = slot.amounts_to(policy);
        ensure(slot.outcome == Some(outcome), "its answers amount to another outcome")?;
        let mut report = SlotReport { slot: number, outcome, due: slot.due, drawn: 0, rehashed: 0 };
        let keeps_bytes = number == self.plan.last() || outcome != Outcome::Pass;
        for attempt in &slot.tries {
            self.times(slot, attempt, &ensure)?;
            let known = attempt.registration.is_none_or(|file| self.endpoints.contains(&file));
            ensure(known, "the endpoint is in no registration file of the hoster")?;
            ensure(
                attempt.registration.is_some() || attempt.asked.is_empty(),
                "nobody's endpoint was asked",
            )?;
            self.questions(attempt, &ensure)?;
            if let Some(drawn) = &attempt.drawn {
                let beacon = slot.beacon.map(|beacon| beacon.hash);
                ensure(beacon.is_some(), "a draw without a block")?;
                self.drawn(slot, drawn, &ensure)?;
                report.drawn = drawn.blocks.len();
                report.rehashed = self.proofs(attempt, drawn, keeps_bytes, &ensure)?;
            }
        }
        Ok(report)
    }

    /// Questions were asked when they should have been.
    fn times(&self, slot: &Slot, attempt: &Try, ensure: Ensure<'_>) -> Result<(), Doubt> {
        let policy = &self.evidence.policy;
        let closes = self.plan.closes(slot.slot, policy.grace);
        let Some(first) = attempt.asked.first() else { return Ok(()) };
        ensure(slot.due <= first.chain && first.chain < closes, "it was run outside of its time")?;
        let is_recheck = |asked: &&Asked| asked.purpose == Purpose::Recheck;
        let before = attempt.asked.iter().rfind(|asked| !is_recheck(asked)).map(|asked| asked.chain);
        let rechecks_from = before.map(|at| recheck_at(self.plan, policy, at));
        let late_enough = |asked: &Asked| Some(asked.chain) >= rechecks_from;
        let in_time = attempt.asked.iter().filter(is_recheck).all(late_enough);
        ensure(in_time, "what was missing was asked for again too early")
    }

    /// Questions were about this content, and each answer is one that can be.
    fn questions(&self, attempt: &Try, ensure: Ensure<'_>) -> Result<(), Doubt> {
        let drawn =
            |cid: &Cid| attempt.drawn.iter().any(|drawn| drawn.blocks.iter().any(|block| block.cid == *cid));
        let indexed = |cid: &Cid| {
            let file = cids::file_hash(cid);
            file == Some(self.evidence.terms.file)
                || self.index.as_ref().is_none_or(|index| index.contains(cid))
        };
        if let Some((first, rest)) = attempt.asked.split_first() {
            let probed = first.purpose == Purpose::Probe;
            ensure(probed && (first.answer.is_right() || rest.is_empty()), "the probe did not come first")?;
        }
        for asked in &attempt.asked {
            let fits = match asked.purpose {
                Purpose::Probe => asked.cid == dag::probe(),
                Purpose::Index => indexed(&asked.cid),
                Purpose::Leaf => drawn(&asked.cid),
                Purpose::Confirm { .. } | Purpose::Recheck => drawn(&asked.cid) || indexed(&asked.cid),
            };
            ensure(fits, "a question was about another block")?;
        }
        Ok(())
    }

    /// The draw follows from secret, block and index.
    fn drawn(&self, slot: &Slot, drawn: &Drawn, ensure: Ensure<'_>) -> Result<(), Doubt> {
        let Evidence { bid, terms, hoster, validator, policy, .. } = self.evidence;
        let k = needed(policy.loss_bp, policy.confidence_bp);
        let found = seed(Ingredients {
            bid: *bid,
            root: &cids::of_file(terms.file),
            hoster: *hoster,
            validator: *validator,
            slot: slot.slot,
            secret: slot.secret,
            beacon: slot.beacon.map(|beacon| beacon.hash).unwrap_or_default(),
            leaf_count: drawn.index.blocks,
            k,
        });
        ensure(found == drawn.seed, "another seed follows")?;
        let numbers = drawn.blocks.iter().map(|block| block.number);
        let same = numbers.eq(draw(found, drawn.index.blocks, k));
        ensure(same, "other blocks are drawn by the seed")?;
        let Some(index) = &self.index else {
            return ensure(!self.evidence.nodes_kept, "the CAR lacks the content's inner nodes");
        };
        ensure(index.note() == drawn.index, "the content has another index")?;
        let hidden = self.car.as_ref().and_then(Car::missing_node);
        ensure(hidden.is_none(), "the CAR lacks a node that has links")?;
        let right = drawn.blocks.iter().all(|block| index.cid(block.number) == Some(block.cid));
        ensure(right, "a number in the index stands for another block")
    }

    /// Blocks that came have a proof; where their bytes are at hand, it is theirs. Tells how many were.
    fn proofs(
        &self,
        attempt: &Try,
        drawn: &Drawn,
        keeps_bytes: bool,
        ensure: Ensure<'_>,
    ) -> Result<usize, Doubt> {
        let mut rehashed = 0;
        for block in &drawn.blocks {
            let came = attempt.asked.iter().any(|asked| asked.cid == block.cid && asked.answer.is_right());
            ensure(came == block.proof.is_some(), "a block that came has no proof, or the reverse")?;
            let bytes = self.car.as_ref().and_then(|car| car.get(&block.cid));
            if let (Some(proof), Some(bytes)) = (block.proof, bytes) {
                ensure(keccak(&[&drawn.seed.0, bytes]) == proof, "a proof is not of the block's bytes")?;
                rehashed += 1;
            }
            ensure(!(came && keeps_bytes && bytes.is_none()), "the bytes of a block are not kept")?;
        }
        Ok(rehashed)
    }

    fn testimony(&self) -> Vec<&'static str> {
        let mut said = vec![
            "that questions were asked at these times and answered so: answers are not signed by the hoster",
            "that validator, hoster and bidder are different people, and the hoster had its own copy",
        ];
        let outcomes = || self.evidence.slots.iter().filter_map(|slot| slot.outcome);
        if outcomes().any(|outcome| outcome == Outcome::Dark) {
            said.push("that the hoster was silent");
        }
        if outcomes().any(|outcome| matches!(outcome, Outcome::Late | Outcome::Fail)) {
            said.push("that a block was missing");
        }
        if !self.evidence.nodes_kept {
            said.push("which blocks the content has: there are too many inner nodes to keep them");
        } else if self.index.is_some() {
            said.push("that nodes which are not in the CAR have no links");
        }
        said
    }
}

type Ensure<'a> = &'a dyn Fn(bool, &'static str) -> Result<(), Doubt>;
