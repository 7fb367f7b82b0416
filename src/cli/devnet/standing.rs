//! What a node waits for, read from its API: whether chain time may be moved, and to where.
//!
//! Moving it while something is under way would let a hold lapse or a slot pass that a node of flesh and blood would
//! have met. So it moves only when everybody waits for a later moment, and then to the earliest of them.

use scatter_actors::domain::audit::life::{Payout, Stage as AuditStage};
use scatter_actors::domain::audit::schedule::Plan;
use scatter_actors::domain::audit::vote::payout_turn;
use scatter_actors::domain::bid::{Settle, Stage as BidStage, LEGACY_PATIENCE};
use scatter_actors::domain::units::{Address, BidId, ChainTime};

/// What somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Something is under way: chain time must go its own pace.
    Busy(String),
    /// Nothing until that moment.
    Waits(Moment),
    /// Nothing that the clock could bring.
    Rests,
}

/// A moment that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: ChainTime,
    /// The audit's slot that is due then.
    pub slot: Option<u32>,
    /// What for.
    pub what: String,
}

/// A moment that is still to come is waited for; one that has come is being dealt with.
fn until(now: ChainTime, at: ChainTime, slot: Option<u32>, what: &str) -> Standing {
    match at > now {
        true => Standing::Waits(Moment { at, slot, what: what.to_owned() }),
        false => Standing::Busy(what.to_owned()),
    }
}

/// What a hoster waits for.
pub fn of_hosting(stage: &BidStage, now: ChainTime) -> Standing {
    match stage {
        BidStage::Admitted { not_before, .. } => until(now, *not_before, None, "accepting"),
        BidStage::Accepting { .. } => Standing::Busy("accepting".into()),
        BidStage::Fetching { .. } => Standing::Busy("fetching".into()),
        BidStage::Announcing { .. } => Standing::Busy("announcing".into()),
        BidStage::Hosting { close, .. } => until(now, *close, None, "the close of the votes"),
        BidStage::Settling { close, settle: Settle::Vote } => {
            until(now, close.plus(LEGACY_PATIENCE), None, "a payout that may never come")
        }
        BidStage::Settling { settle: Settle::Again { not_before, .. }, .. } => {
            until(now, *not_before, None, "another settle")
        }
        // Its settle is an open intent where it has one; where it has none it waits for others.
        BidStage::Settling { .. }
        | BidStage::Declined { .. }
        | BidStage::Released { .. }
        | BidStage::Lost { .. }
        | BidStage::Failed { .. } => Standing::Rests,
    }
}

/// On a legacy market a vote behind the end pays out, so nobody votes between a deadline and the validator's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyTurn {
    /// Votes go out before.
    pub deadline: ChainTime,
    /// The validator's turn to trigger the payout.
    pub turn: ChainTime,
}

impl LegacyTurn {
    /// That of a validator.
    pub fn of(plan: Plan, bid: BidId, validator: Address) -> Self {
        Self { deadline: plan.end.minus(plan.tail / 8), turn: payout_turn(plan, bid, validator) }
    }
}

/// What a validator waits for. `is_pinned`: whether the chain has the hoster's announcement.
pub fn of_audit(stage: &AuditStage, is_pinned: bool, legacy: Option<LegacyTurn>, now: ChainTime) -> Standing {
    match stage {
        AuditStage::Placed if is_pinned => Standing::Busy("learning of the announcement".into()),
        AuditStage::Placed | AuditStage::Abstained { .. } | AuditStage::Skipped { .. } => Standing::Rests,
        AuditStage::Due => Standing::Busy("preparing the audit".into()),
        AuditStage::Watching { slot, due } => until(now, *due, Some(*slot), &format!("slot {}", slot + 1)),
        AuditStage::Challenging { slot } => Standing::Busy(format!("auditing slot {}", slot + 1)),
        AuditStage::Contained { slot, recheck_at } => {
            until(now, *recheck_at, None, &format!("asking again in slot {}", slot + 1))
        }
        AuditStage::Decided { vote_at, .. } if now >= *vote_at => match legacy {
            Some(LegacyTurn { deadline, turn }) if now >= deadline => {
                until(now, turn, None, "the payout's turn")
            }
            _ => Standing::Busy("the vote".into()),
        },
        AuditStage::Decided { vote_at, .. } => until(now, *vote_at, None, "the vote"),
        AuditStage::Voting { .. } => Standing::Busy("voting".into()),
        AuditStage::Voted { payout: Payout::Waiting { look_at, .. }, .. } => {
            until(now, *look_at, None, "the payout")
        }
        AuditStage::Voted { .. } => Standing::Rests,
    }
}

/// Whether a hoster is done with a bid.
pub fn is_hosting_over(stage: &BidStage) -> bool {
    matches!(
        stage,
        BidStage::Released { .. }
            | BidStage::Lost { .. }
            | BidStage::Failed { .. }
            | BidStage::Declined { .. }
    )
}

/// Where to move the clock: `Err` tells who is busy with what, `Ok(None)` that nobody waits for anything.
///
/// Validators that wait for the same slot are met together: its last due moment is before the slot's end, and a slot may
/// run for a while after its moment.
///
/// # Errors
/// What is under way.
pub fn next(standings: &[(String, Standing)]) -> Result<Option<Moment>, String> {
    let busy = standings.iter().find_map(|(who, standing)| match standing {
        Standing::Busy(what) => Some(format!("{who}: {what}")),
        _ => None,
    });
    if let Some(busy) = busy {
        return Err(busy);
    }
    let moments = || {
        standings.iter().filter_map(|(_, standing)| match standing {
            Standing::Waits(moment) => Some(moment),
            _ => None,
        })
    };
    let Some(first) = moments().min_by_key(|moment| moment.at) else { return Ok(None) };
    let same_slot = moments().filter(|moment| first.slot.is_some() && moment.slot == first.slot);
    Ok(same_slot.max_by_key(|moment| moment.at).or(Some(first)).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(at: u64, slot: Option<u32>) -> Standing {
        Standing::Waits(Moment { at: ChainTime(at), slot, what: "x".into() })
    }

    fn among(standings: &[Standing]) -> Result<Option<u64>, String> {
        let named: Vec<_> = standings.iter().map(|standing| ("a".to_owned(), standing.clone())).collect();
        next(&named).map(|moment| moment.map(|moment| moment.at.0))
    }

    #[test]
    fn the_clock_stands_while_anybody_is_busy() {
        assert!(among(&[waits(5, None), Standing::Busy("fetching".into())]).is_err());
        assert_eq!(among(&[Standing::Rests]), Ok(None));
    }

    #[test]
    fn the_clock_moves_to_the_earliest_moment_and_meets_a_slot_once() {
        assert_eq!(among(&[waits(50, Some(1)), waits(70, Some(1)), waits(900, None)]), Ok(Some(70)));
        assert_eq!(among(&[waits(50, Some(1)), waits(40, Some(0)), Standing::Rests]), Ok(Some(40)));
        assert_eq!(among(&[waits(50, None), waits(60, None)]), Ok(Some(50)));
    }

    #[test]
    fn a_validator_that_has_not_heard_of_an_announcement_is_busy() {
        assert_eq!(of_audit(&AuditStage::Placed, false, None, ChainTime(0)), Standing::Rests);
        assert!(matches!(of_audit(&AuditStage::Placed, true, None, ChainTime(0)), Standing::Busy(_)));
    }

    #[test]
    fn a_moment_that_has_come_keeps_its_owner_busy() {
        let stage = AuditStage::Watching { slot: 2, due: ChainTime(10) };
        assert!(matches!(of_audit(&stage, true, None, ChainTime(9)), Standing::Waits(_)));
        assert!(matches!(of_audit(&stage, true, None, ChainTime(10)), Standing::Busy(_)));
    }
}
