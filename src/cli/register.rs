//! Registers this node's account with the market.

use clap::Args;
use serde_json::json;

use super::client::PATIENCE;
use super::follow::{self, follow, Waiting};
use super::{output, Context};
use crate::exit::{Code, Fault};

#[derive(Debug, Args)]
pub(super) struct Register {
    /// Where validators reach this node's firewall; without it hoster.announce_url.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A name for people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    alias: String,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) fn execute(register: &Register, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let body = json!({
        "request": follow::request_id(),
        "endpoint": register.endpoint,
        "alias": register.alias,
    });
    let started = node.post("/register", &body, PATIENCE)?;
    for warning in started["warnings"].as_array().into_iter().flatten() {
        context.output.remark(&format!("warning: {}", output::cell(warning)));
    }
    let result = match started["intent"].is_null() {
        true => None,
        false => follow(&node, &started, &register.waiting, context.output)?,
    };
    if result.as_ref().is_some_and(|result| follow::event(result, "registered").is_none()) {
        return Err(Fault::new(Code::Refused, "the market did not register the account"));
    }
    context.output.answer(&follow::document(&started, result.as_ref()), || {
        let registration = &started["registration"];
        let mut rows = vec![
            ("account", output::cell(&registration["address"])),
            ("file", output::cell(&started["cid"])),
            ("endpoint", output::cell(&registration["host"]["endpoint"])),
            ("ipfs", output::cell(&registration["host"]["multiaddr"])),
        ];
        match &result {
            Some(result) => rows.extend(follow::receipt(result)),
            None if started["intent"].is_null() => rows.push(("registered", "this file already".into())),
            None => rows.push(("wanted as", output::cell(&started["intent"]))),
        }
        output::pairs(&rows)
    });
    Ok(())
}
