//! Why the node did what it did.

use clap::Args;
use serde_json::Value;

use super::{output, Context};
use crate::exit::Fault;

#[derive(Debug, Args)]
pub(super) struct Why {
    /// A bid's number or key (CHAIN:MARKET:BID), or a CID.
    subject: String,
}

pub(super) fn execute(why: &Why, context: &Context) -> Result<(), Fault> {
    let subject: String = url::form_urlencoded::byte_serialize(why.subject.as_bytes()).collect();
    let document = context.node()?.get(&format!("/api/v1/why/{subject}"))?;
    context.output.answer(&document, || words(&document));
    Ok(())
}

/// How things stand, then the decisions, oldest first.
fn words(document: &Value) -> String {
    let mut rows = vec![("subject", output::cell(&document["subject"]))];
    let bid = &document["bid"];
    if bid.is_object() {
        rows.push(("stage", output::cell(&bid["stage"]["stage"])));
        rows.push(("content", output::cell(&bid["cid"])));
        rows.push(("pays the hoster", output::money(&bid["terms"]["amount"])));
        rows.push(("for", output::span(bid["terms"]["duration"].as_u64().unwrap_or_default())));
    }
    let pin = &document["pin"];
    if pin.is_object() {
        let size = output::size(pin["bytes"].as_u64().unwrap_or_default());
        let state = if pin["pinned_at"].is_null() { "being fetched" } else { "pinned" };
        rows.push(("pin", format!("{state}, {size} in {} blocks", pin["blocks"])));
    }
    for reference in document["references"].as_array().into_iter().flatten() {
        let owner = &reference["owner"];
        let id = match &owner["id"] {
            Value::Object(bid) => bid.get("id").map(output::cell).unwrap_or_default(),
            id => output::cell(id),
        };
        rows.push(("kept for", format!("{} {id}", output::cell(&owner["owner"]))));
    }
    let decisions: Vec<_> = document["decisions"].as_array().into_iter().flatten().map(decision).collect();
    let decisions = output::table(&["when", "who", "decided", "because"], &decisions, "no decisions");
    format!("{}\n\n{decisions}", output::pairs(&rows))
}

fn decision(decision: &Value) -> Vec<String> {
    let details = match &decision["details"] {
        Value::Null => String::new(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| format!("{key} {}", output::cell(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => output::cell(other),
    };
    let at = output::moment(decision["at"].as_u64().unwrap_or_default());
    vec![at, output::cell(&decision["by"]), output::cell(&decision["said"]), details]
}
