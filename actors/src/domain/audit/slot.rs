//! What one slot learnt: every question with its answer, and the outcome that follows from them.

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::schedule::Plan;
use super::walk::IndexNote;
use super::{Beacon, Policy};
use crate::domain::dag;
use crate::domain::units::{ChainTime, Digest, FileHash, WallTime};
use crate::planted::{planted, Bug};

#[cfg(test)]
mod tests;

/// How a slot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every block asked for came, and was right.
    Pass,
    /// A block was missing, confirmed, and came when it was asked for again later.
    Late,
    /// A block was missing on two fresh connections and when it was asked for again.
    Fail,
    /// The hoster was offline, silent, or refused.
    Dark,
    /// The node was not there to ask.
    NotRun,
}

/// What a question was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Purpose {
    /// To see that somebody is there.
    Probe,
    /// To walk the index. Those that were answered rightly are counted, not listed.
    Index,
    /// A block that was drawn.
    Leaf,
    /// A block that was missing, on a fresh connection.
    Confirm {
        /// Milliseconds that were waited since the question before, by a monotonic clock.
        after_ms: u64,
    },
    /// A block that was missing, some time later.
    Recheck,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The block.
    Right {
        /// Its size.
        bytes: u64,
    },
    /// The hoster said that it does not have it.
    Missing {
        /// HTTP's status.
        status: u16,
    },
    /// Other bytes than the block's.
    Wrong {
        /// Keccak of those bytes.
        digest: Digest,
    },
    /// No answer, or none to the question.
    Dark {
        /// HTTP's status, if there was one.
        status: Option<u16>,
        /// What happened instead: a kind of our own, never the stranger's words.
        why: String,
    },
}

impl Answer {
    /// Reads an answer that came whole. Only a plain "not found" and wrong bytes count as a missing block; a
    /// refusal of any other kind leaves open whether the block is there.
    pub fn read(cid: &Cid, status: u16, body: &[u8]) -> Self {
        match status {
            200 if dag::verify_block(cid, body).is_ok() || planted(Bug::TrustBytes) => {
                Self::Right { bytes: body.len() as u64 }
            }
            200 => Self::Wrong { digest: super::keccak(&[body]) },
            404 | 410 => Self::Missing { status },
            421 => Self::dark(status, "not the hoster of this bid, it says"),
            429 => Self::dark(status, "asked too often, it says"),
            _ => Self::dark(status, "refused"),
        }
    }

    fn dark(status: u16, why: &str) -> Self {
        Self::Dark { status: Some(status), why: why.to_owned() }
    }

    /// Whether the block came.
    pub fn is_right(&self) -> bool {
        matches!(self, Self::Right { .. })
    }

    /// Whether the hoster showed that it does not have the block.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Wrong { .. })
    }
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When, by the validator's machine.
    pub at: WallTime,
    /// When, by the chain's newest block.
    pub chain: ChainTime,
    /// For which block.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// What for.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// What came.
    #[serde(flatten)]
    pub answer: Answer,
}

/// A block that was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnBlock {
    /// Its number in the index.
    pub number: u64,
    /// Its CID.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// `keccak(seed ‖ bytes)` once it came: it shows that the validator had the bytes.
    pub proof: Option<Digest>,
}

/// What was drawn, and from what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// The index.
    pub index: IndexNote,
    /// The seed.
    pub seed: Digest,
    /// The blocks, in the order in which they are asked for.
    pub blocks: Vec<DrawnBlock>,
}

/// One attempt at a slot, from the probe on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// The registration file from which the endpoint was taken; `None` if it could not be had.
    pub registration: Option<FileHash>,
    /// The draw; `None` if it did not come to that.
    pub drawn: Option<Drawn>,
    /// How many blocks of the index came rightly.
    pub walked: u64,
    /// All other questions, in order.
    pub asked: Vec<Asked>,
}

/// A slot: what was fixed before, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its number, from 0.
    pub slot: u32,
    /// Its secret.
    pub secret: Digest,
    /// Its secret moment.
    pub due: ChainTime,
    /// The block to which its seed is bound; `None` until one is final.
    pub beacon: Option<Beacon>,
    /// Attempts, in order.
    pub tries: Vec<Try>,
    /// How it ended; `None` while it is open.
    pub outcome: Option<Outcome>,
}

/// How an attempt stands, read from its questions alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Every block drawn came.
    Passed,
    /// These blocks were missing, twice over; they are still to be asked for again.
    Contained(Vec<Cid>),
    /// They came later.
    Late,
    /// They did not.
    Failed,
    /// Something was left without an answer.
    Dark,
}

impl Try {
    /// How the attempt stands.
    pub fn standing(&self, policy: &Policy) -> Standing {
        let confirmed = self.confirmed(policy);
        if !confirmed.is_empty() {
            return self.recheck(confirmed);
        }
        let came = |cid: &Cid| self.asked.iter().any(|q| q.cid == *cid && q.answer.is_right());
        let all_came = |drawn: &Drawn| drawn.blocks.iter().all(|block| came(&block.cid));
        if self.found_somebody() && self.drawn.as_ref().is_some_and(all_came) {
            Standing::Passed
        } else {
            Standing::Dark
        }
    }

    /// Blocks that were asked for again.
    pub fn rechecked(&self) -> Vec<Cid> {
        let again = self.asked.iter().filter(|asked| asked.purpose == Purpose::Recheck);
        let mut cids: Vec<Cid> = again.map(|asked| asked.cid).collect();
        cids.sort();
        cids.dedup();
        cids
    }

    /// Whether the probe was answered.
    pub fn found_somebody(&self) -> bool {
        self.asked.iter().any(|q| q.purpose == Purpose::Probe && q.answer.is_right())
    }

    /// Blocks that were missing, then missing on two fresh connections far enough from each other, and that
    /// came on none.
    fn confirmed(&self, policy: &Policy) -> Vec<Cid> {
        let mut found: Vec<Cid> = Vec::new();
        for asked in &self.asked {
            let (cid, first) = (asked.cid, matches!(asked.purpose, Purpose::Index | Purpose::Leaf));
            if !first || !asked.answer.is_missing() || found.contains(&cid) {
                continue;
            }
            let fresh: Vec<(u64, &Answer)> = self
                .asked
                .iter()
                .filter(|q| q.cid == cid)
                .filter_map(|q| match q.purpose {
                    Purpose::Confirm { after_ms } => Some((after_ms, &q.answer)),
                    _ => None,
                })
                .collect();
            let twice = fresh.len() >= 2 && fresh.iter().all(|(_, answer)| answer.is_missing());
            if twice && fresh.iter().skip(1).any(|(after, _)| *after >= policy.confirm_gap_ms) {
                found.push(cid);
            }
        }
        found
    }

    fn recheck(&self, confirmed: Vec<Cid>) -> Standing {
        let again = |cid: &Cid| {
            let asked = self.asked.iter().filter(|q| q.cid == *cid && q.purpose == Purpose::Recheck);
            asked.map(|q| q.answer.clone()).collect::<Vec<_>>()
        };
        let answers: Vec<Vec<Answer>> = confirmed.iter().map(again).collect();
        if answers.iter().any(Vec::is_empty) {
            Standing::Contained(confirmed)
        } else if answers.iter().all(|of_one| of_one.iter().any(Answer::is_right)) {
            Standing::Late
        } else if answers.iter().any(|of_one| of_one.iter().any(Answer::is_missing)) {
            Standing::Failed
        } else {
            Standing::Dark
        }
    }
}

impl Slot {
    /// A slot that has not begun.
    pub fn new(slot: u32, secret: Digest, due: ChainTime) -> Self {
        Self { slot, secret, due, beacon: None, tries: Vec::new(), outcome: None }
    }

    /// The outcome that the attempts so far amount to.
    pub fn amounts_to(&self, policy: &Policy) -> Outcome {
        match self.tries.last().map(|attempt| attempt.standing(policy)) {
            Some(Standing::Passed) => Outcome::Pass,
            Some(Standing::Late) => Outcome::Late,
            Some(Standing::Failed) => Outcome::Fail,
            Some(Standing::Dark) => Outcome::Dark,
            // What was missing was never asked for again: the node was not there.
            Some(Standing::Contained(_)) | None => Outcome::NotRun,
        }
    }

    /// The questions of all attempts.
    pub fn asked(&self) -> impl Iterator<Item = &Asked> + '_ {
        self.tries.iter().flat_map(|attempt| &attempt.asked)
    }
}

/// When what was missing at `at` is asked for again: later, but no later than the end, where the last slot's
/// hoster may let go.
pub fn recheck_at(plan: Plan, policy: &Policy, at: ChainTime) -> ChainTime {
    at.plus(policy.recheck_after).min(plan.end).max(at)
}
