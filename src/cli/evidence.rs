//! Checks evidence files again: hashes, seeds, draws, signature, verdict.

use std::path::PathBuf;

use clap::Subcommand;
use scatter_actors::domain::evidence::verify::verify;
use serde_json::json;

use super::{output, Context};
use crate::adapters::ethereum::signing::recover;
use crate::exit::{Code, Fault};

/// What to do with evidence.
#[derive(Debug, Subcommand)]
pub(super) enum Evidence {
    /// Check a file of evidence, and the CAR beside it, on its own: no network is asked.
    Verify {
        /// The JSON document; its CAR has the same name and ends in `.car`.
        file: PathBuf,
    },
}

pub(super) fn execute(evidence: &Evidence, context: &Context) -> Result<(), Fault> {
    let Evidence::Verify { file } = evidence;
    let shown = file.display();
    #[allow(clippy::disallowed_methods, reason = "the command's own input")]
    let document =
        std::fs::read(file).map_err(|error| Fault::new(Code::Usage, format!("{shown}: {error}")))?;
    #[allow(clippy::disallowed_methods, reason = "the command's own input")]
    let car = std::fs::read(file.with_extension("car")).ok();
    let report = verify(&document, car.as_deref(), &|message, signature| recover(message, signature))
        .map_err(|doubt| Fault::new(Code::Refused, format!("{shown}: {doubt}")))?;
    let answer = json!({"file": file, "holds": true, "report": report});
    context.output.answer(&answer, || output::plain(&answer));
    Ok(())
}
