//! Peers of the consortium: whom this node mirrors, and how each stands.

use clap::{Args, Subcommand};
use scatter_actors::domain::units::ByteSize;
use serde_json::{json, Value};

use super::client::PATIENCE;
use super::{output, Context};
use crate::config::bytes;
use crate::exit::{Code, Fault};

/// A change is accepted by a whole round with the peer.
const ROUND: std::time::Duration = std::time::Duration::from_secs(15 * 60);

/// Above the cells of [`row`].
pub(super) const HEADS: [&str; 7] = ["peer", "ipns", "roots", "pinned", "bytes", "last seen", "state"];

#[derive(Debug, Subcommand)]
pub(super) enum Peer {
    /// Mirror somebody, or mirror somebody by other bounds.
    Add(Add),
    /// List the peers and how each stands.
    List,
    /// Show one peer: its newest record, what is mirrored, what is wrong, what waits for your word.
    Show {
        /// Its name here.
        name: String,
    },
    /// Take over a change that waits for your word: a removal of much, or an older record.
    Accept {
        /// Its name here.
        name: String,
    },
    /// Mirror a peer no longer. What it listed is unpinned when its grace is over and nobody else needs it.
    Remove {
        /// Its name here.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// What to call it here: letters, digits, '.', '_' and '-'.
    name: String,
    /// The name under which it publishes: 12D3…, k51… or Qm….
    ipns: String,
    /// Where its node may be dialled, besides what the network tells; ends in /p2p/ and the node's peer id.
    #[arg(long = "addr", value_name = "MULTIADDR")]
    addrs: Vec<String>,
    /// Most bytes that its content may take here, such as 10GiB; without it consortium.max_bytes.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_bytes: Option<ByteSize>,
    /// Most roots that are kept for it; without it consortium.max_pins.
    #[arg(long, value_name = "N")]
    max_pins: Option<u64>,
}

pub(super) fn execute(peer: &Peer, context: &Context) -> Result<(), Fault> {
    match peer {
        Peer::Add(add) => execute_add(add, context),
        Peer::List => list(context),
        Peer::Show { name } => show(name, context),
        Peer::Accept { name } => accept(name, context),
        Peer::Remove { name } => remove(name, context),
    }
}

fn execute_add(add: &Add, context: &Context) -> Result<(), Fault> {
    let entry = json!({
        "name": add.name,
        "ipns": add.ipns,
        "addrs": add.addrs,
        "max_bytes": add.max_bytes.map(|bytes| format!("{bytes}B")),
        "max_pins": add.max_pins,
    });
    let answer = context.node()?.post("/peers", &entry, PATIENCE).map_err(or_by_file)?;
    context.output.answer(&answer, || {
        let peer = &answer["peer"];
        let word =
            if answer["added"] == true { "is mirrored from now on" } else { "is mirrored by these bounds" };
        let size = output::size(peer["max_bytes"].as_u64().unwrap_or_default());
        let (name, ipns) = (output::cell(&peer["name"]), output::cell(&peer["ipns"]));
        format!("{name} ({ipns}) {word}: at most {size} and {} roots", peer["max_pins"])
    });
    Ok(())
}

/// Without a node there is still another way to name a peer.
fn or_by_file(fault: Fault) -> Fault {
    match fault.code {
        Code::NoNode => {
            let message =
                format!("{}; or name the peer in the configuration, as consortium.peers", fault.message);
            Fault { message, ..fault }
        }
        _ => fault,
    }
}

fn list(context: &Context) -> Result<(), Fault> {
    let document = context.node()?.get("/api/v1/peers")?;
    context.output.answer(&document, || {
        let rows: Vec<_> = document["items"].as_array().into_iter().flatten().map(row).collect();
        output::table(&HEADS, &rows, "no peers: scatter peer add NAME IPNS")
    });
    Ok(())
}

pub(super) fn row(peer: &Value) -> Vec<String> {
    let (standing, mirrored) = (&peer["standing"], &peer["mirrored"]);
    vec![
        output::cell(&peer["name"]),
        output::cell(&peer["ipns"]),
        output::cell(&standing["roots"]),
        format!("{} of {}", mirrored["pinned"], mirrored["roots"]),
        output::size(mirrored["bytes"].as_u64().unwrap_or_default()),
        moment(&standing["resolved_at"]),
        state(peer),
    ]
}

fn moment(value: &Value) -> String {
    value.as_u64().map_or_else(|| "never".to_owned(), output::moment)
}

/// How a peer stands, in a word or two.
pub(super) fn state(peer: &Value) -> String {
    let standing = &peer["standing"];
    let bad = standing["bad_files"].as_object().map_or(0, serde_json::Map::len);
    match standing {
        Value::Null => "not looked up yet".into(),
        _ if !standing["held"].is_null() => format!("waits for your word: {}", held(&standing["held"])),
        _ if !standing["failing"].is_null() => {
            format!("failing: {}", output::cell(&standing["failing"]["why"]))
        }
        _ if bad > 0 => format!("{bad} bad files"),
        _ => "good".into(),
    }
}

/// What waits for the operator, in words.
fn held(held: &Value) -> String {
    match held["why"].as_str() {
        Some("removal") => format!("{} of {} roots would go", held["removed"], held["of"]),
        Some("rollback") => {
            format!("its record went back from {} to {}", held["accepted"], held["found"])
        }
        _ => output::cell(held),
    }
}

fn show(name: &str, context: &Context) -> Result<(), Fault> {
    let document = context.node()?.get(&route(name, ""))?;
    context.output.answer(&document, || words(&document));
    Ok(())
}

/// The API's way to a peer.
pub(super) fn route(name: &str, more: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let base = if more.is_empty() { "/api/v1/peers" } else { "/peers" };
    format!("{base}/{name}{more}")
}

fn words(peer: &Value) -> String {
    let (standing, mirrored) = (&peer["standing"], &peer["mirrored"]);
    let size = |value: &Value| output::size(value.as_u64().unwrap_or_default());
    let mut rows = vec![
        ("peer", output::cell(&peer["name"])),
        ("ipns", output::cell(&peer["ipns"])),
        ("named by", output::cell(&peer["source"])),
        ("bounds", format!("{} and {} roots", size(&peer["max_bytes"]), peer["max_pins"])),
        ("state", state(peer)),
        ("last seen", moment(&standing["resolved_at"])),
        (
            "mirrored",
            format!("{} of {} roots, {}", mirrored["pinned"], mirrored["roots"], size(&mirrored["bytes"])),
        ),
    ];
    if peer["addrs"].as_array().is_some_and(|addrs| !addrs.is_empty()) {
        rows.insert(2, ("addresses", output::cell(&peer["addrs"])));
    }
    let record = &standing["accepted"];
    if record.is_object() {
        let ends = record["eol"].as_u64().map(output::moment).unwrap_or_default();
        rows.push(("record", format!("sequence {}, good until {ends}", record["sequence"])));
        rows.push(("directory", output::cell(&standing["directory"])));
    }
    let failing = &standing["failing"];
    if failing.is_object() {
        rows.push((
            "failing since",
            format!("{}, {} times in a row", moment(&failing["since"]), failing["times"]),
        ));
    }
    if !standing["held"].is_null() {
        rows.push(("to accept it", format!("scatter peer accept {}", output::cell(&peer["name"]))));
    }
    let bad: Vec<_> = standing["bad_files"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(file, why)| vec![output::cell(&json!(file)), output::cell(why)])
        .collect();
    match bad.is_empty() {
        true => output::pairs(&rows),
        false => {
            let files = output::table(&["bad file", "why its last good content stays"], &bad, "");
            format!("{}\n\n{files}", output::pairs(&rows))
        }
    }
}

fn accept(name: &str, context: &Context) -> Result<(), Fault> {
    let answer = context.node()?.post(&route(name, "/accept"), &json!({}), ROUND)?;
    context.output.answer(&answer, || match &answer["held"] {
        Value::Null => format!("accepted: {}", held(&answer["accepted"])),
        again => format!("accepted: {}; now this waits: {}", held(&answer["accepted"]), held(again)),
    });
    Ok(())
}

fn remove(name: &str, context: &Context) -> Result<(), Fault> {
    let answer = context.node()?.post(&route(name, "/remove"), &json!({}), PATIENCE)?;
    context.output.answer(&answer, || {
        format!("{name} is mirrored no longer; {} roots go unless somebody else needs them", answer["roots"])
    });
    Ok(())
}
