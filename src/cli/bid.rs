//! Bids: placing them, and how they fare.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cid::Cid;
use clap::{ArgGroup, Args, Subcommand};
use scatter_actors::domain::units::{Address, ByteSize, Wei};
use serde_json::{json, Value};

use super::client::{Client, PATIENCE};
use super::follow::{self, follow, Waiting};
use super::{output, terminal, Context};
use crate::config::{bytes, duration};
use crate::exit::{Code, Fault};

/// Adding a large file takes its time.
const ADD_PATIENCE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Subcommand)]
pub(super) enum Bid {
    /// Add a file to the running node's IPFS and offer money for keeping it.
    Place(Box<Place>),
    /// List the bids of the running node's account.
    List,
    /// Show one bid.
    Show {
        /// The bid's number.
        bid: u64,
        /// On which market: each counts its bids from 0. Otherwise the current one, or else the newest before it that
        /// knows the number.
        #[arg(long, value_name = "ADDRESS")]
        market: Option<Address>,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("content").required(true).args(["file", "cid"]))]
pub(super) struct Place {
    /// The file to keep. The node adds it to IPFS and serves it until a hoster has it.
    file: Option<PathBuf>,
    /// Content that is in IPFS already, instead of a file; needs --size.
    #[arg(long, requires = "size")]
    cid: Option<Cid>,
    /// The content's size, such as 5MiB, with --cid.
    #[arg(long, value_parser = bytes, requires = "cid")]
    size: Option<ByteSize>,
    /// What the hoster gets, such as "0.001 ether".
    #[arg(long, value_name = "MONEY")]
    amount: Wei,
    /// What the validators share, such as "0.0005 ether".
    #[arg(long, value_name = "MONEY")]
    pool: Wei,
    /// How long to keep it, such as 30d.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Duration,
    /// How many votes decide.
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_validations: u32,
    /// Do not ask before money is locked in spite of warnings.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) fn execute(bid: &Bid, context: &Context) -> Result<(), Fault> {
    match bid {
        Bid::Place(place) => execute_place(place, context),
        Bid::List => list(context),
        Bid::Show { bid, market } => show(*bid, *market, context),
    }
}

fn execute_place(place: &Place, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let content = content(place, &node, context)?;
    let offer = json!({
        "request": follow::request_id(),
        "cid": content["cid"],
        "size": content["size"],
        "amount": place.amount,
        "pool": place.pool,
        "duration": place.duration.as_secs(),
        "min_validations": place.min_validations,
    });
    let quote = node.post("/bid/quote", &offer, PATIENCE)?;
    let warnings: Vec<_> = quote["warnings"].as_array().into_iter().flatten().map(output::cell).collect();
    warnings.iter().for_each(|warning| context.output.remark(&format!("warning: {warning}")));
    if !warnings.is_empty() && !place.yes {
        // A script that did not say yes to what it could not know must not lock money.
        if !terminal::is_attended() {
            let text = format!(
                "no bid was placed, since nobody can be asked; with --yes it is: {}",
                warnings.join("; ")
            );
            return Err(Fault::new(Code::Refused, text));
        }
        let question = format!("Lock {} all the same? [y/N]", output::money(&quote["value"]));
        if !terminal::confirm(&question).unwrap_or(false) {
            return Err(Fault::new(Code::Refused, "no bid was placed"));
        }
    }
    let started = node.post("/bid", &offer, PATIENCE)?;
    let result = follow(&node, &started, &place.waiting, context.output)?;
    let placed = result.as_ref().map(placed).transpose()?;
    let mut document = follow::document(&started, result.as_ref());
    document["quote"] = quote.clone();
    document["bid"] = placed.clone().unwrap_or(Value::Null);
    context.output.answer(&document, || {
        let mut rows = vec![("cid", output::cell(&quote["cid"])), ("locked", output::money(&quote["value"]))];
        match (&placed, &result) {
            (Some(bid), Some(result)) => {
                rows.insert(0, ("bid", output::cell(bid)));
                rows.extend(follow::receipt(result));
            }
            _ => rows.push(("wanted as", output::cell(&started["intent"]))),
        }
        output::pairs(&rows)
    });
    Ok(())
}

/// The root and size that the bid is about.
fn content(place: &Place, node: &Client, context: &Context) -> Result<Value, Fault> {
    let Some(file) = &place.file else {
        return Ok(json!({"cid": place.cid.map(|cid| cid.to_string()), "size": place.size}));
    };
    let path = whole(file)?;
    let spinner = follow::spinner(context.output);
    spinner.set_message(format!("adding {} to IPFS", file.display()));
    let added = node.post("/files", &json!({"path": path}), ADD_PATIENCE);
    spinner.finish_and_clear();
    added
}

/// The path as the node, which runs elsewhere, can open it.
fn whole(file: &Path) -> Result<PathBuf, Fault> {
    let wrong = |what: String| Fault::new(Code::Usage, format!("{}: {what}", file.display()));
    let path = file.canonicalize().map_err(|error| wrong(error.to_string()))?;
    match path.is_file() {
        true => Ok(path),
        false => Err(wrong("not a file".into())),
    }
}

/// The bid's number, or why there is none although the transaction was mined.
fn placed(result: &Value) -> Result<Value, Fault> {
    if let Some(event) = follow::event(result, "bid_placed") {
        return Ok(event["bid"].clone());
    }
    let reason = follow::event(result, "bid_refused").map(|event| output::cell(&event["reason"]));
    let reason = reason.unwrap_or_else(|| "no reason told".into());
    let text =
        format!("the market refused the bid: {reason}; what it credited comes back by scatter withdraw");
    Err(Fault::new(Code::Refused, text))
}

fn list(context: &Context) -> Result<(), Fault> {
    let document = context.node()?.get("/bids")?;
    context.output.answer(&document, || {
        let rows: Vec<_> = document["items"].as_array().into_iter().flatten().map(row).collect();
        let header = ["bid", "state", "size", "hoster gets", "validators share", "for", "cid"];
        output::table(&header, &rows, "no bids of this account")
    });
    Ok(())
}

fn row(bid: &Value) -> Vec<String> {
    let terms = &bid["terms"];
    vec![
        output::cell(&bid["bid"]),
        output::cell(&bid["phase"]),
        output::size(terms["size"].as_u64().unwrap_or_default()),
        output::money(&terms["amount"]),
        output::money(&terms["pool"]),
        output::span(terms["duration"].as_u64().unwrap_or_default()),
        output::cell(&bid["cid"]),
    ]
}

fn show(bid: u64, market: Option<Address>, context: &Context) -> Result<(), Fault> {
    let on = market.map(|market| format!("?market={market}")).unwrap_or_default();
    let document = context.node()?.get(&format!("/bids/{bid}{on}"))?;
    context.output.answer(&document, || {
        let [number, state, size, amount, pool, time, cid]: [String; 7] =
            row(&document).try_into().unwrap_or_default();
        let votes = document["votes"].as_array().map_or(&[][..], Vec::as_slice);
        let valid = votes.iter().filter(|vote| vote["valid"] == true).count();
        let mut rows = vec![
            ("bid", number),
            ("market", output::cell(&document["market"]["address"])),
            ("state", state),
            ("cid", cid),
            ("size", size),
            ("hoster gets", amount),
            ("validators share", pool),
            ("for", time),
            ("bidder", output::cell(&document["terms"]["bidder"])),
            ("hoster", output::cell(&document["hoster"])),
            ("votes", format!("{valid} valid, {} invalid", votes.len() - valid)),
        ];
        for decision in document["decisions"].as_array().into_iter().flatten() {
            rows.push((
                "decided",
                format!("{}: {}", output::cell(&decision["by"]), output::cell(&decision["said"])),
            ));
        }
        output::pairs(&rows)
    });
    Ok(())
}
