//! Audits as others see them.

use serde::Serialize;

use crate::domain::audit::life::Stage;
use crate::domain::audit::slot::Outcome;
use crate::domain::audit::Policy;
use crate::domain::market::BidKey;
use crate::domain::units::{Address, ChainTime};
use crate::ports::store::{self, Store};
use crate::records::audit;

/// An audit as others see it. It tells this node's secret moments: for its operator's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditView {
    /// The bid.
    pub bid: BidKey,
    /// Who is audited.
    pub hoster: Address,
    /// How far it has come.
    #[serde(flatten)]
    pub stage: Stage,
    /// The slots.
    pub slots: Vec<SlotView>,
    /// End of the bid's duration, once known.
    pub end: Option<ChainTime>,
    /// The evidence's file below the data directory, once there is one.
    pub evidence_file: Option<String>,
}

/// A slot as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SlotView {
    /// Its number.
    pub slot: u32,
    /// Its secret moment.
    pub due: ChainTime,
    /// It does not begin any more from then on.
    pub closes: ChainTime,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// The audits of hosted bids, newest bid first, at most `limit`.
///
/// # Errors
/// If the store fails.
pub fn views(store: &dyn Store, policy: &Policy, limit: usize) -> Result<Vec<AuditView>, store::Error> {
    let mut views = Vec::new();
    for known in audit::all(store, usize::MAX)? {
        let Some(announced) = known.announced else { continue };
        if views.len() >= limit {
            break;
        }
        let plan = known.plan;
        let slots = audit::slots(store, known.bid)?.into_iter().filter_map(|slot| {
            let closes = plan?.closes(slot.slot, policy.grace);
            Some(SlotView { slot: slot.slot, due: slot.due, closes, outcome: slot.outcome })
        });
        let has_evidence = matches!(known.stage, Stage::Voting { .. } | Stage::Voted { .. });
        views.push(AuditView {
            bid: known.bid,
            hoster: announced.hoster,
            slots: slots.collect(),
            end: plan.map(|plan| plan.end),
            evidence_file: has_evidence.then(|| format!("{}.json", known.file_name())),
            stage: known.stage,
        });
    }
    Ok(views)
}
