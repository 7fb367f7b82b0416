//! Withdraws what the market owes.

use serde_json::json;

use super::follow::{self, follow, Waiting};
use super::{output, Context};
use crate::exit::{Code, Fault};

pub(super) fn execute(waiting: &Waiting, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let body = json!({"request": follow::request_id()});
    let started = node.post("/withdraw", &body, super::client::PATIENCE)?;
    let result = follow(&node, &started, waiting, context.output)?;
    if let Some(result) = &result {
        if follow::event(result, "withdrawn").is_none() {
            let reason = follow::event(result, "withdraw_failed").map(|event| output::cell(&event["reason"]));
            let text =
                format!("the market paid nothing out: {}", reason.unwrap_or_else(|| "no reason told".into()));
            return Err(Fault::new(Code::Refused, text));
        }
    }
    context.output.answer(&follow::document(&started, result.as_ref()), || match &result {
        None => format!("wanted as {}", output::cell(&started["intent"])),
        Some(result) => {
            let paid = follow::event(result, "withdrawn").map(|event| output::money(&event["amount"]));
            let mut rows = vec![("withdrawn", paid.unwrap_or_default())];
            rows.extend(follow::receipt(result));
            output::pairs(&rows)
        }
    });
    Ok(())
}
