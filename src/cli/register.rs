//! Registers this node's account, so that bidders, hosters and validators find it.

use serde_json::json;

use super::follow::{self, follow, Waiting};
use super::{output, Context};
use crate::exit::Fault;

pub(super) fn execute(waiting: &Waiting, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let body = json!({"request": follow::request_id()});
    let started = node.post("/register", &body, super::client::PATIENCE)?;
    let result = follow(&node, &started, waiting, context.output)?;
    context.output.answer(&follow::document(&started, result.as_ref()), || {
        let mut rows = vec![
            ("registration", output::cell(&started["cid"])),
            ("file", output::cell(&started["file"])),
            ("endpoint", output::cell(&started["endpoint"])),
        ];
        match &result {
            None => rows.push(("wanted as", output::cell(&started["intent"]))),
            Some(result) => rows.extend(follow::receipt(result)),
        }
        output::pairs(&rows)
    });
    Ok(())
}
