//! The table `tests/fixtures/kubo/table.txt`: to which call of the adapter each recorded answer is given, with which
//! others around it, whether it was recorded for the same question, and what must come of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{json, Value};

use crate::support::replay::{Answer, Request};
use crate::support::root;

/// One recorded exchange.
#[derive(Clone)]
pub struct Recorded {
    pub request: Request,
    pub response: Vec<u8>,
    /// Whether the connection ended with it.
    pub closes: bool,
}

/// One line of the table.
#[derive(Clone)]
pub struct Row {
    pub fixture: String,
    /// The call, and the cap that it has.
    pub call: String,
    pub cap: Option<u64>,
    /// Keys of the query that may differ; `None` if it is another question altogether.
    pub same_but: Option<Vec<String>>,
    pub steps: Vec<String>,
    pub outcome: String,
}

fn directory() -> PathBuf {
    root().join("tests/fixtures/kubo")
}

/// All exchanges on disk, by name.
pub fn recorded() -> BTreeMap<String, Recorded> {
    let index = std::fs::read(directory().join("exchanges.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let complete: BTreeMap<_, _> = index["exchanges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry["body_complete"] == true))
        .collect();
    let names = std::fs::read_dir(directory()).unwrap().filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".response").map(str::to_owned)
    });
    names
        .map(|name| {
            let bytes = |kind| std::fs::read(directory().join(format!("{name}.{kind}"))).unwrap();
            let request = Request::read(&mut &bytes("request")[..]).unwrap().unwrap();
            let closes = !complete[&name];
            (name.clone(), Recorded { request, response: bytes("response"), closes })
        })
        .collect()
}

/// The table.
pub fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(directory().join("table.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let columns: Vec<_> =
                line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
            let [fixture, call, asked, steps, outcome] = columns[..] else {
                panic!("not five columns: {line}")
            };
            let (call, cap) = match call.split_once(':') {
                Some((call, cap)) => (call, Some(cap.parse().unwrap())),
                None => (call, None),
            };
            let mut asked = asked.split('+');
            let same_but = match asked.next().unwrap() {
                "same" => Some(asked.map(str::to_owned).collect()),
                "other" => None,
                word => panic!("{word}: {line}"),
            };
            Row {
                fixture: fixture.to_owned(),
                call: call.to_owned(),
                cap,
                same_but,
                steps: steps.split(',').map(str::to_owned).collect(),
                outcome: outcome.to_owned(),
            }
        })
        .collect()
}

impl Row {
    /// The answers that it takes, each with the command that has to be asked for it where that is not the fixture's.
    pub fn answers(&self, all: &BTreeMap<String, Recorded>) -> Vec<(Option<&'static str>, Answer)> {
        let arg = all[&self.fixture].request.values("arg").next().unwrap_or_default().to_owned();
        let arg = arg.trim_start_matches("/ipfs/");
        let ok = |value: Value| Answer::json("200 OK", &value);
        let failed = || {
            let words = json!({ "Message": "made for this test", "Code": 0, "Type": "error" });
            Answer::json("500 Internal Server Error", &words)
        };
        let answer = |step: &str| {
            let (step, rest) = step.split_once(':').unwrap_or((step, ""));
            let number = |place| rest.split(':').nth(place).unwrap_or_default().parse::<u64>().unwrap();
            match step {
                "*" => (None, recorded_answer(&all[&self.fixture])),
                "unpinned" => (Some("pin/ls"), failed()),
                "pinned" => {
                    let root = if rest.is_empty() { arg } else { rest };
                    (Some("pin/ls"), ok(json!({ "Keys": { root: { "Type": "recursive", "Name": "" } } })))
                }
                "repo" => (Some("repo/stat"), ok(json!({ "RepoSize": 1 }))),
                "peers" => (Some("swarm/peers"), ok(json!({ "Peers": [{}] }))),
                "offline" => (Some("swarm/peers"), failed()),
                "block" => (Some("block/stat"), ok(json!({ "Key": arg, "Size": number(0) }))),
                "dag" => {
                    let stats = json!([{ "Size": number(1), "NumBlocks": number(0) }]);
                    (Some("dag/stat"), ok(json!({ "UniqueBlocks": number(0), "DagStats": stats })))
                }
                "none" => {
                    let head =
                        "HTTP/1.1 200 OK\r\nTrailer: X-Stream-Error\r\nTransfer-Encoding: chunked\r\n\r\n";
                    (Some("ls"), Answer::of(format!("{head}0\r\n\r\n")))
                }
                "file" => (Some("files/stat"), ok(json!({ "Size": number(0), "Type": "file" }))),
                "dir" => (Some("files/stat"), ok(json!({ "Size": 0, "Type": "directory" }))),
                "valid" => (Some("name/inspect"), ok(json!({ "Validation": { "Valid": true } }))),
                "gone" => (Some("pin/rm"), ok(json!({ "Pins": [arg] }))),
                name => {
                    (Some(""), recorded_answer(all.get(name).unwrap_or_else(|| panic!("no step {name}"))))
                }
            }
        };
        self.steps.iter().map(|step| answer(step)).collect()
    }
}

fn recorded_answer(recorded: &Recorded) -> Answer {
    Answer { bytes: recorded.response.clone(), closes: recorded.closes, pauses: Vec::new() }
}
