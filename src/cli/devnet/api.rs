//! What the nodes' APIs tell of a bid.

use scatter_actors::domain::audit::life::Stage as AuditStage;
use scatter_actors::domain::audit::schedule::Plan;
use scatter_actors::domain::audit::slot::{Purpose, Slot};
use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::units::BidId;
use scatter_actors::records::hosting::HostedBid;
use scatter_actors::records::intent::{Intent, IntentState};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::node::Node;
use super::standing::Standing;
use crate::exit::{Code, Fault};

/// How many blocks a slot asked for, and how many came right at once.
pub fn leaves(slot: &Slot) -> (usize, usize) {
    let leaves = || slot.asked().filter(|asked| asked.purpose == Purpose::Leaf);
    (leaves().count(), leaves().filter(|asked| asked.answer.is_right()).count())
}

/// An audit as far as a validator's API tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// How far it has come.
    pub stage: Option<AuditStage>,
    /// Its plan, once it is clear that there is one.
    pub plan: Option<Plan>,
    /// Its slots.
    pub slots: Vec<Slot>,
}

impl Audit {
    /// A validator's audit of a bid.
    ///
    /// # Errors
    /// If the node does not answer.
    pub fn of(node: &Node, bid: BidId) -> Result<Self, Fault> {
        let ours = |row: &&Value| row["bid"]["id"].as_u64() == Some(bid.0);
        let audits = items(node, "/api/v1/audits?limit=1000")?;
        let audit = audits.iter().find(ours);
        let stage = audit.map(|row| read(node, &row["stage"])).transpose()?;
        let plan = audit.map(|row| read(node, &row["plan"])).transpose()?.flatten();
        let slots = items(node, "/api/v1/slots?limit=1000")?;
        let slots = slots.iter().filter(ours).map(|row| read(node, &row["slot"]));
        Ok(Self { stage, plan, slots: slots.collect::<Result<_, _>>()? })
    }
}

/// A bid as the hoster has it.
///
/// # Errors
/// If the node does not answer.
pub fn hosted(node: &Node, bid: BidId) -> Result<Option<HostedBid>, Fault> {
    let rows = items(node, "/api/v1/bids?limit=1000")?;
    let row = rows.iter().find(|row| row["bid"]["id"].as_u64() == Some(bid.0));
    row.map(|row| read(node, row)).transpose()
}

/// Whether a transaction of the node is under way.
///
/// # Errors
/// If the node does not answer.
pub fn open_intent(node: &Node) -> Result<Standing, Fault> {
    for row in items(node, "/api/v1/intents?limit=1000")? {
        let intent: Intent = read(node, &row)?;
        if matches!(intent.state, IntentState::Queued | IntentState::InFlight { .. }) {
            let what = intent.key.0.split(':').next().unwrap_or_default().to_owned();
            return Ok(Standing::Busy(format!("transaction: {what}")));
        }
    }
    Ok(Standing::Rests)
}

fn items(node: &Node, path: &str) -> Result<Vec<Value>, Fault> {
    match node.get(path)?["items"].take() {
        Value::Array(items) => Ok(items),
        other => Err(Fault::new(Code::Bug, format!("{}: {path} answered {other}", node.name()))),
    }
}

fn read<T: DeserializeOwned>(node: &Node, value: &Value) -> Result<T, Fault> {
    T::deserialize(value)
        .map_err(|error| Fault::new(Code::Bug, format!("{}: {error} in {value}", node.name())))
}

/// A stage's name.
pub fn stage_name(stage: &Stage) -> String {
    let value = serde_json::to_value(stage).unwrap_or_default();
    value["stage"].as_str().unwrap_or_default().to_owned()
}
