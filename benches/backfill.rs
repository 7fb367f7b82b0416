//! `make bench-backfill`: 1,000,000 market events of 200,000 blocks read into the store by the listener, beside the floor:
//! the same answers fetched by the same HTTP client with as many in flight, decoded into the same values, and dropped.
//! Then the latency: from a block's first being served by Anvil to the BidFilter's verdict.
//!
//! The provider is a process of its own, and so is each run, so that memory is told of nothing else.

// It dies of what it did not expect, and it measures the wall clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "backfill/floor.rs"]
mod floor;
#[path = "backfill/latency.rs"]
mod latency;
#[path = "backfill/ours.rs"]
mod ours;
#[path = "backfill/replay.rs"]
mod replay;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{json, Value};

/// Turns; the middle one counts.
const TURNS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => replay::serve(),
        ["floor", url] => println!("{}", json!({ "seconds": floor::run(url) })),
        ["ours", url] => println!("{}", ours::run(url)),
        _ => measure(),
    }
}

fn measure() {
    let (mut server, url) = serve();
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        floor.push(run(&["floor", &url]));
        ours.push(run(&["ours", &url]));
        println!("turn {turn}: floor {} s, ours {}", floor[turn - 1]["seconds"], ours[turn - 1]);
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let by_time =
        |a: &Value, b: &Value| a["seconds"].as_f64().unwrap().total_cmp(&b["seconds"].as_f64().unwrap());
    floor.sort_by(by_time);
    ours.sort_by(by_time);
    let (floor, ours) = (&floor[TURNS / 2], &ours[TURNS / 2]);
    let rate = |run: &Value| (replay::BLOCKS as f64 / run["seconds"].as_f64().unwrap()).round();
    let hundredths = |number: f64| (number * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({
            "name": "backfill", "ours": rate(ours), "floor": rate(floor),
            "ratio": hundredths(rate(ours) / rate(floor)), "unit": "blocks/s",
            "events": replay::BLOCKS * replay::LOGS, "blocks": replay::BLOCKS, "turns": TURNS,
            "floor_seconds": floor["seconds"], "of_ours": ours,
            "times_the_published_mark": hundredths(rate(ours) / 4_100.0),
            "latency": latency::run(),
        })
    );
}

/// The provider and its URL.
fn serve() -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut server = command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (server, url.trim().to_owned())
}

/// One run in a process of its own; what it prints last.
fn run(arguments: &[&str]) -> Value {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}
