//! Waits for a transaction that was wanted, and tells how far it is.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{json, Value};

use super::client::Client;
use super::output::{self, Output};
use crate::config::duration;
use crate::exit::{Code, Fault};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether to wait for the end of a transaction.
#[derive(Debug, Args)]
pub(super) struct Waiting {
    /// Do not wait for the transaction: tell its key and end. The node sends it all the same.
    #[arg(long)]
    no_wait: bool,
    /// Wait for the transaction no longer than this.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    timeout: Duration,
}

/// Follows the intent of an answer `{"intent": KEY, …}` to its end and gives its result, or `None` if nobody
/// wants to wait.
///
/// # Errors
/// [`Code::Refused`] if the transaction did not do what was wanted; [`Code::Unreachable`] if time is up first.
pub(super) fn follow(
    node: &Client,
    started: &Value,
    waiting: &Waiting,
    output: Output,
) -> Result<Option<Value>, Fault> {
    if waiting.no_wait {
        return Ok(None);
    }
    let key = started["intent"].as_str().unwrap_or_default();
    let path = format!("/intents/{key}");
    let spinner = spinner(output);
    for _ in 0..=waiting.timeout.as_millis() / PAUSE.as_millis() {
        let report = node.get(&path)?;
        if !report["outcome"].is_null() {
            spinner.finish_and_clear();
            return finished(&report["outcome"]["result"]).map(Some);
        }
        spinner.set_message(words(&report));
        #[allow(clippy::disallowed_methods, reason = "a command has no arbiter that this could block")]
        std::thread::sleep(PAUSE);
    }
    spinner.finish_and_clear();
    let text = format!(
        "not done within {} s; the node goes on with {key} by itself: see scatter status",
        waiting.timeout.as_secs()
    );
    Err(Fault::new(Code::Unreachable, text))
}

/// Something that turns on a terminal while one waits.
pub(super) fn spinner(output: Output) -> ProgressBar {
    if output.is_json() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// How far it is, in words.
fn words(report: &Value) -> String {
    let tx = output::cell(&report["tx"]);
    let state = match report["intent"]["state"]["state"].as_str() {
        Some("queued") => "waiting for its turn".to_owned(),
        Some("in_flight") => format!("sent as {tx}, waiting for blocks"),
        Some("confirmed" | "done") => format!("{tx} is deep enough"),
        _ => "unknown".to_owned(),
    };
    match report["alerts"].as_array().and_then(|alerts| alerts.first()) {
        Some(alert) => format!("{state} ({})", output::cell(&alert["what"])),
        None => state,
    }
}

/// The result of a transaction that is over; one that did nothing is a fault.
fn finished(result: &Value) -> Result<Value, Fault> {
    match result["result"].as_str() {
        Some("mined") => Ok(result.clone()),
        Some("reverted") => {
            let text = format!(
                "the transaction {} was reverted; it cost {}",
                output::cell(&result["tx"]),
                output::money(&result["cost"])
            );
            Err(Fault::new(Code::Refused, text))
        }
        _ => {
            let reason = &result["reason"];
            let why = match reason["reason"].as_str() {
                Some("too_late") => "its time passed".to_owned(),
                Some("cancelled") => "it was cancelled".to_owned(),
                Some("would_revert") => format!("it would revert: {}", output::cell(&reason["what"])),
                Some("over_cap") => format!("it is over a spend cap: {}", output::cell(&reason["what"])),
                _ => output::cell(reason),
            };
            Err(Fault::new(Code::Refused, format!("the transaction was not sent: {why}")))
        }
    }
}

/// The event of that name among what a mined transaction told.
pub(super) fn event<'a>(result: &'a Value, name: &str) -> Option<&'a Value> {
    result["events"].as_array()?.iter().find(|event| event["event"] == name)
}

/// What every mined transaction has to tell.
pub(super) fn receipt(result: &Value) -> [(&'static str, String); 3] {
    [
        ("transaction", output::cell(&result["tx"])),
        ("block", output::cell(&result["block"])),
        ("gas paid", output::money(&result["cost"])),
    ]
}

/// The document of a command that started a transaction: what the node said, and the result if it was waited for.
pub(super) fn document(started: &Value, result: Option<&Value>) -> Value {
    let mut document = started.clone();
    document["result"] = result.cloned().unwrap_or(Value::Null);
    document
}

/// A number that makes a request one: the node does the same request once, however often it hears of it.
pub(super) fn request_id() -> Value {
    json!(rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_did_nothing_is_a_fault_that_says_why() {
        let reverted = json!({"result": "reverted", "tx": "0x1", "cost": "5"});
        assert!(finished(&reverted).unwrap_err().message.contains("0x1 was reverted; it cost 5 wei"));
        let capped = json!({"result": "abandoned", "reason": {"reason": "over_cap", "what": "2 ether"}});
        assert!(finished(&capped).unwrap_err().message.contains("over a spend cap: 2 ether"));
        let late = json!({"result": "abandoned", "reason": {"reason": "too_late"}});
        assert_eq!(finished(&late).unwrap_err().code, Code::Refused);
    }

    #[test]
    fn outcomes_have_the_shape_that_is_read_here() {
        use scatter_actors::domain::market::{Abandonment, Execution};
        let cap = Execution::Abandoned { reason: Abandonment::OverCap("2 ether".into()) };
        let told = finished(&serde_json::to_value(cap).unwrap()).unwrap_err().message;
        assert!(told.ends_with("over a spend cap: 2 ether"), "{told}");
        let cancelled = Execution::Abandoned { reason: Abandonment::Cancelled };
        let told = finished(&serde_json::to_value(cancelled).unwrap()).unwrap_err().message;
        assert!(told.ends_with("it was cancelled"), "{told}");
    }
}
