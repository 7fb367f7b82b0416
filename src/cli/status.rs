//! How the running node is doing.

use serde_json::{json, Value};

use super::{output, Context};
use crate::exit::Fault;

pub(super) fn execute(context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    // Each part is told as far as the node has it: one without a wallet still has actors.
    let part = |path: &str| match node.get(path) {
        Ok(document) => Ok(document),
        Err(fault) if fault.code == crate::exit::Code::NotFound => Ok(Value::Null),
        Err(fault) => Err(fault),
    };
    let document = json!({
        "ready": part("/readyz")?,
        "actors": part("/api/v1/actors")?,
        "wallet": part("/api/v1/wallet")?,
    });
    context.output.answer(&document, || output::plain(&document));
    Ok(())
}
