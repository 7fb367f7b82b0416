//! Why the node did what it did.

use clap::Args;

use super::{output, Context};
use crate::exit::Fault;

#[derive(Debug, Args)]
pub(super) struct Why {
    /// A bid's number or key, or a CID.
    subject: String,
}

pub(super) fn execute(why: &Why, context: &Context) -> Result<(), Fault> {
    let subject: String = url::form_urlencoded::byte_serialize(why.subject.as_bytes()).collect();
    let document = context.node()?.get(&format!("/api/v1/why/{subject}"))?;
    context.output.answer(&document, || output::plain(&document));
    Ok(())
}
