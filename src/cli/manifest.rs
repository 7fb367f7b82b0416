//! This node's own list: what others should keep of it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cid::Cid;
use clap::{Args, Subcommand};
use scatter_actors::domain::manifest::{root, NotARoot};
use serde_json::{json, Value};

use super::client::{Client, PATIENCE};
use super::follow::spinner;
use super::{output, Context};
use crate::exit::{Code, Fault};

/// Adding a large file takes its time.
const ADD_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// The public network takes a minute to take a record; a slow Kubo several.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Roots of one request.
const ROOTS_A_REQUEST: usize = 500;
/// The largest list that is read, in bytes.
const LONGEST_LIST: u64 = 64 << 20;
/// So many entries are shown to people.
const SHOWN: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Manifest {
    /// List content for others to keep. This node keeps it too.
    Add(Roots),
    /// List content no longer. Others let go of it when they see it.
    Remove(Roots),
    /// Show this node's name, its list, and how far it is known to others.
    Show,
    /// Publish the list now, and wait until the network has it.
    Publish,
}

#[derive(Debug, Args)]
pub(super) struct Roots {
    /// CIDs; where something is added, files too: they are added to the node's IPFS.
    #[arg(required_unless_present = "list", value_name = "CID|FILE")]
    roots: Vec<String>,
    /// A file with CIDs, one a line or a JSON array; - reads standard input.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
}

pub(super) fn execute(manifest: &Manifest, context: &Context) -> Result<(), Fault> {
    match manifest {
        Manifest::Add(roots) => add(roots, context),
        Manifest::Remove(roots) => remove(roots, context),
        Manifest::Show => show(context),
        Manifest::Publish => publish(context),
    }
}

fn no_root(text: &str, why: &NotARoot) -> Fault {
    Fault::new(Code::Usage, format!("{text:?} is no root to list: {why}"))
}

/// The CIDs of a list: a JSON array of texts, or one a line; empty lines and `#` are passed over.
fn listed(path: &Path) -> Result<Vec<Cid>, Fault> {
    let failed = |error| Fault::new(Code::Usage, format!("{}: {error}", path.display()));
    let mut text = String::new();
    match path == Path::new("-") {
        true => std::io::stdin().take(LONGEST_LIST).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(LONGEST_LIST).read_to_string(&mut text)),
    }
    .map_err(failed)?;
    let texts: Vec<String> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(&text)
            .map_err(|error| Fault::new(Code::Usage, format!("{}: {error}", path.display())))?,
        false => {
            let lines = text.lines().map(str::trim);
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
        }
    };
    let read = |text: &String| {
        root(text).map_err(|why| Fault::new(Code::Usage, format!("{}: {text:?}: {why}", path.display())))
    };
    texts.iter().map(read).collect()
}

/// Sends roots in pieces that fit into a request, and joins what is answered under each of these keys.
fn send(node: &Client, route: &str, cids: &[Cid], keys: [&str; 2]) -> Result<Value, Fault> {
    let mut joined = json!({keys[0]: [], keys[1]: []});
    for some in cids.chunks(ROOTS_A_REQUEST) {
        let cids: Vec<_> = some.iter().map(Cid::to_string).collect();
        let answer = node.post(route, &json!({"cids": cids}), PATIENCE)?;
        for key in keys {
            if let (Some(all), Some(more)) = (joined[key].as_array_mut(), answer[key].as_array()) {
                all.extend(more.iter().cloned());
            }
        }
    }
    Ok(joined)
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

fn add(roots: &Roots, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let mut cids = roots.list.as_deref().map(listed).transpose()?.unwrap_or_default();
    let spinner = spinner(context.output);
    for text in &roots.roots {
        cids.push(match (root(text), Path::new(text).exists()) {
            (Ok(cid), _) => cid,
            (Err(why), false) => {
                let what = format!("{text:?} is neither a file nor a root to list: {why}");
                return Err(Fault::new(Code::Usage, what));
            }
            (Err(_), true) => {
                spinner.set_message(format!("adding {text}"));
                let path = std::path::absolute(text).map_err(|error| Fault::new(Code::Usage, error))?;
                let added = node.post("/files", &json!({"path": path}), ADD_PATIENCE)?;
                root(added["cid"].as_str().unwrap_or_default()).map_err(|why| no_root(text, &why))?
            }
        });
    }
    spinner.finish_and_clear();
    let answer = send(&node, "/manifest/add", &cids, ["added", "known"])?;
    context.output.answer(&answer, || {
        let lines: Vec<_> = answer["added"].as_array().into_iter().flatten().map(output::cell).collect();
        match count(&answer["known"]) {
            0 => lines.join("\n"),
            known if lines.is_empty() => format!("nothing new: {known} listed already"),
            known => format!("{}\n({known} listed already)", lines.join("\n")),
        }
    });
    Ok(())
}

fn remove(roots: &Roots, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let mut cids = roots.list.as_deref().map(listed).transpose()?.unwrap_or_default();
    for text in &roots.roots {
        cids.push(root(text).map_err(|why| no_root(text, &why))?);
    }
    let answer = send(&node, "/manifest/remove", &cids, ["removed", "unknown"])?;
    context.output.answer(&answer, || {
        let gone = format!("{} listed no longer", count(&answer["removed"]));
        match count(&answer["unknown"]) {
            0 => gone,
            unknown => format!("{gone}; {unknown} were not listed"),
        }
    });
    Ok(())
}

fn show(context: &Context) -> Result<(), Fault> {
    let document = context.node()?.get("/api/v1/manifest")?;
    context.output.answer(&document, || {
        let items = document["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = |item: &Value| {
            let added = item["added"].as_u64().map(output::moment).unwrap_or_default();
            let here = if item["pinned"] == true { "yes" } else { "not yet" };
            vec![output::cell(&item["cid"]), added, here.to_owned()]
        };
        let rows: Vec<_> = items.iter().take(SHOWN).map(row).collect();
        let table = output::table(
            &["root", "listed", "pinned here"],
            &rows,
            "nothing is listed: scatter manifest add",
        );
        let more = match items.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("\n… and {more} more: --json has all"),
        };
        format!(
            "{}\n\n{table}{more}",
            output::pairs(&publication(&document["name"], &document["publication"]))
        )
    });
    Ok(())
}

/// How far the list is known to others.
fn publication(name: &Value, publication: &Value) -> Vec<(&'static str, String)> {
    let name = match name {
        Value::Null => "this node does not publish (roles.consortium, consortium.publish)".to_owned(),
        name => output::cell(name),
    };
    let mut rows = vec![("name", name)];
    if !publication.is_object() {
        rows.push(("published", "never".into()));
        return rows;
    }
    let moment = |value: &Value| value.as_u64().map_or_else(|| "never".to_owned(), output::moment);
    rows.extend([
        ("directory", output::cell(&publication["directory"])),
        ("sequence", output::cell(&publication["sequence"])),
        ("published", moment(&publication["published_at"])),
        ("valid until", moment(&publication["eol"])),
    ]);
    if !publication["confirmed_at"].is_null() {
        rows.push(("seen by others", moment(&publication["confirmed_at"])));
    }
    if !publication["failing"].is_null() {
        rows.push(("failing", output::cell(&publication["failing"]["why"])));
    }
    rows
}

fn publish(context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let spinner = spinner(context.output);
    spinner.set_message("giving the record to the network");
    let answer = node.post("/manifest/publish", &json!({}), PUBLISH_PATIENCE);
    spinner.finish_and_clear();
    let answer = answer?;
    context.output.answer(&answer, || output::pairs(&publication(&answer["name"], &answer["publication"])));
    Ok(())
}
