//! Which record of a name counts: a name's owner counts up, and whoever plays an old record is not followed.

use serde::{Deserialize, Serialize};

use crate::domain::units::WallTime;

/// What of a verified record decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its sequence.
    pub sequence: u64,
    /// When it ends, in milliseconds since 1970.
    pub eol: WallTime,
    /// To what it points, as text: `/ipfs/CID[/PATH]`.
    pub value: String,
}

/// What becomes of a record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It counts from now on. It may say the same as the one before, for longer.
    Follow,
    /// It counts, but its owner said two things under one sequence: somebody should know.
    FollowWithAlert,
    /// The one accepted before goes on to count: this is an older signature of the same sequence.
    Keep,
    /// The same, but it says something else: somebody should know.
    KeepWithAlert,
}

/// The record is older than the accepted one: its owner lost count, or somebody plays an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record has sequence {found}, but {accepted} was accepted before")]
pub struct Rollback {
    /// The sequence found.
    pub found: u64,
    /// The sequence accepted.
    pub accepted: u64,
}

/// Judges a verified, living record by the one that was accepted last.
///
/// # Errors
/// If it is older.
pub fn judge(accepted: Option<&Accepted>, found: &Accepted) -> Result<Judgement, Rollback> {
    let Some(accepted) = accepted else { return Ok(Judgement::Follow) };
    if found.sequence < accepted.sequence {
        return Err(Rollback { found: found.sequence, accepted: accepted.sequence });
    }
    let same = found.value == accepted.value;
    Ok(match (found.sequence > accepted.sequence, found.eol > accepted.eol, same) {
        (true, _, _) | (false, true, true) => Judgement::Follow,
        (false, true, false) => Judgement::FollowWithAlert,
        (false, false, true) => Judgement::Keep,
        (false, false, false) => Judgement::KeepWithAlert,
    })
}

impl Judgement {
    /// Whether the found record counts from now on.
    pub fn follows(self) -> bool {
        matches!(self, Self::Follow | Self::FollowWithAlert)
    }
    /// Whether its owner said two things under one sequence.
    pub fn alerts(self) -> bool {
        matches!(self, Self::FollowWithAlert | Self::KeepWithAlert)
    }
}
