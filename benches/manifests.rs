//! `make bench-manifests`: a manifest of 10,000 roots whose content is local, mirrored first and then looked at again
//! without change, beside the way of the scripts that people have: one `ipfs` process a step and a pin.

// It dies of what it did not expect, and it measures the wall clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::support::kubo::Kubo;
use common::{median, ratio, seconds, Content, Lister, Mirror, PATIENCE, ROOTS};
use serde_json::{json, Value};

/// Pins of the script that are really made; all take about the same time each.
const SAMPLE: usize = 300;
/// Looks without change; the middle one counts.
const LOOKS: usize = 9;

fn main() {
    let content = Content::new();
    let (ours, theirs) = (Kubo::start().expect("Kubo"), Kubo::start().expect("Kubo"));
    [&ours, &theirs].iter().for_each(|kubo| content.load(kubo));
    let lister = Lister::start(&content, &[&ours, &theirs]);

    let mirror = Mirror::new(&lister, &ours);
    let (first, told) = mirror.round();
    assert_eq!(told["peers"][0]["mirrored"]["pinned"], ROOTS as u64, "{told}");
    println!("node: first sync {first:?}");
    let again = looks(&mirror);
    println!("node: no-change sync {again:?}, as the operator's command {:?}", again.command);

    let look = script_look(&theirs, &lister);
    let begun = Instant::now();
    content.roots[..SAMPLE].iter().for_each(|cid| {
        theirs.cli(&["pin", "add", &cid.to_string()]);
    });
    let script_first = look + begun.elapsed() * (ROOTS / SAMPLE) as u32;
    println!("script: first sync {script_first:?} ({SAMPLE} pins made, the rest counted)");
    for part in content.roots.chunks(500) {
        let texts: Vec<String> = part.iter().map(ToString::to_string).collect();
        theirs.cli(&[&["pin", "add"][..], &texts.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    }
    let script_again = median((0..LOOKS).map(|_| script_look(&theirs, &lister)).collect());
    println!("script: no-change sync {script_again:?}");
    println!(
        "{}",
        json!({
            "name": "manifests", "ours": seconds(first), "floor": seconds(script_first),
            "ratio": ratio(script_first, first), "unit": "s", "roots": ROOTS,
            "floor_is": "a script: one ipfs process a step and a pin, and its full pin ls",
            "script_pins_made": SAMPLE,
            "no_change": {
                "ours": seconds(again.round), "ours_as_a_command": seconds(again.command),
                "floor": seconds(script_again), "ratio": ratio(script_again, again.round), "unit": "s",
            },
        })
    );
}

/// Looks at an unchanged list.
#[derive(Debug)]
struct Again {
    /// The round itself, asked of a running node.
    round: Duration,
    /// The operator's command that asks for it, a process of its own.
    command: Duration,
}

/// A running node is asked for round after round.
fn looks(mirror: &Mirror) -> Again {
    let mut run = mirror.command(&["run", "--until-stdin-closes"]);
    let mut node = run.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !mirror.command(&["status", "--json"]).output().unwrap().status.success() {
        assert!(Instant::now() < deadline, "the node does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    let command = median((0..LOOKS).map(|_| mirror.round().0).collect());
    let socket = mirror.data_dir().join("control.sock");
    let round = median((0..LOOKS).map(|_| post(&socket, "/mirror")).collect());
    drop(node.stdin.take());
    node.wait().unwrap();
    Again { round, command }
}

/// Asks the node at its socket, and waits for the answer.
fn post(socket: &std::path::Path, path: &str) -> Duration {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let begun = Instant::now();
    // No peers named: all of them.
    let body = r#"{"peers":[]}"#;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: scatter\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    begun.elapsed()
}

/// What the script does each time, before it pins: the name, the directory, its files, and all that is pinned.
fn script_look(kubo: &Kubo, lister: &Lister) -> Duration {
    let begun = Instant::now();
    let path = kubo.cli(&["name", "resolve", "--nocache", &lister.name]);
    let files = kubo.cli(&["ls", &path]);
    let file = files.split_whitespace().next().unwrap().to_owned();
    let listed: Value = serde_json::from_str(&kubo.cli(&["cat", &file])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), ROOTS);
    kubo.cli(&["pin", "ls"]);
    begun.elapsed()
}
