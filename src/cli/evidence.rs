//! Checks evidence files again: hashes, seeds, draws, signature, verdict; with a provider the chain's part too.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Subcommand;
use scatter_actors::domain::evidence::verify::{verify, Report};
use serde_json::json;

use super::{output, Context};
use crate::adapters::ethereum::signing::recover;
use crate::adapters::ethereum::{self, Ethereum};
use crate::adapters::json_rpc;
use crate::exit::{told, Code, Fault};

mod on_chain;

use on_chain::Finding;

/// How long the provider has for all questions together.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to do with evidence.
#[derive(Debug, Subcommand)]
pub(super) enum Evidence {
    /// Check a file of evidence, and the CAR beside it, on its own: no network is asked without --rpc.
    Verify {
        /// The JSON document; its CAR has the same name and ends in `.car`.
        file: PathBuf,
        /// Ask this provider too: whether the chain has the bid, the blocks and the registrations.
        #[arg(long, value_name = "URL")]
        rpc: Option<String>,
    },
}

pub(super) fn execute(evidence: &Evidence, context: &Context) -> Result<(), Fault> {
    let Evidence::Verify { file, rpc } = evidence;
    let shown = file.display();
    #[allow(clippy::disallowed_methods, reason = "the command's own input")]
    let document =
        std::fs::read(file).map_err(|error| Fault::new(Code::Usage, format!("{shown}: {error}")))?;
    #[allow(clippy::disallowed_methods, reason = "the command's own input")]
    let car = std::fs::read(file.with_extension("car")).ok();
    let report = verify(&document, car.as_deref(), &|message, signature| recover(message, signature))
        .map_err(|doubt| Fault::new(Code::Refused, format!("{shown}: {doubt}")))?;
    let findings = match rpc {
        Some(url) => Some(actix::System::new().block_on(ask(url, &report))?),
        None => None,
    };
    let wrong = findings.iter().flatten().find(|finding| finding.holds == Some(false));
    if let Some(wrong) = wrong {
        let text = format!("{shown}: the chain knows better than that {}", wrong.claim);
        return Err(Fault::new(Code::Refused, text).with(json!({"chain": findings})));
    }
    let mut answer = json!({"file": file, "holds": true, "report": report});
    if let Some(findings) = findings {
        answer["chain"] = json!(findings);
    }
    context.output.answer(&answer, || output::plain(&answer));
    Ok(())
}

async fn ask(url: &str, report: &Report) -> Result<Vec<Finding>, Fault> {
    let client = json_rpc::Client::new(url, json_rpc::Config::default())
        .map_err(|error| Fault::new(Code::Usage, told(&error)).about("--rpc"))?;
    let market = ethereum::Config { market: Some(report.bid.market.address), ..ethereum::Config::default() };
    let chain = Ethereum::new(Rc::new(client), market);
    match tokio::time::timeout(PATIENCE, on_chain::compare(&chain, report)).await {
        Ok(Ok(findings)) => Ok(findings),
        Ok(Err(error)) => Err(Fault::new(Code::Unreachable, told(&error)).about("--rpc")),
        Err(_) => {
            let text = format!("no answer within {} s", PATIENCE.as_secs());
            Err(Fault::new(Code::Unreachable, text).about("--rpc"))
        }
    }
}
