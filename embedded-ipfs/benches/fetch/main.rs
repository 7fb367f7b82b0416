//! `make bench-ipfs`: two files and a directory pinned from a Kubo, by this node and by another Kubo, one at a time and turn
//! by turn. Each turn has a new receiver with an empty store, connected before the clock starts.
//!
//! Durability: this node's blocks are fsynced before they count, in groups; Kubo's are with `sync: true` in its datastore's
//! configuration (`floor`), and are not with `sync: false` (`relaxed`). The pin itself is fsynced by both.
//!
//! For checking the benchmark itself there are `BENCH_MIB`, `BENCH_FILES` and `BENCH_TURNS`.

// It dies of what it did not expect, and it measures the wall clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod cases;
mod idle;

use std::time::{Duration, Instant};

use embedded_ipfs::{Node, PinLimits};
use serde_json::{json, Value};
use support::ipfs::Daemon;

use cases::Case;

/// What a bound of the benchmark is, unless the environment says otherwise.
fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |text| text.parse().expect("a number"))
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.iter().position(|argument| argument == idle::FLAG) {
        Some(at) => runtime.block_on(idle::run(&arguments[at + 1])),
        None => runtime.block_on(bench()),
    }
}

/// Who pins.
#[derive(Clone, Copy, PartialEq)]
enum Receiver {
    Ours,
    /// With `sync` in its datastore's configuration.
    Kubo(bool),
}

const RECEIVERS: [Receiver; 3] = [Receiver::Ours, Receiver::Kubo(true), Receiver::Kubo(false)];

async fn bench() {
    let (mib, files) = (setting("BENCH_MIB", 200), setting("BENCH_FILES", 10_000));
    let turns = setting("BENCH_TURNS", 5);
    let Some(source) = Daemon::configured(|_| {}).await else {
        eprintln!("bench-ipfs needs ipfs on the PATH (https://docs.ipfs.tech/install/command-line/)");
        std::process::exit(2);
    };
    let cases = cases::prepare(&source, mib, files).await;
    let mut times = vec![[const { Vec::new() }; 3]; cases.len()];
    for turn in 1..=turns {
        for (case, times) in cases.iter().zip(&mut times) {
            // Who goes first changes, so that nobody always finds the machine as the same one left it.
            for n in 0..RECEIVERS.len() {
                let who = (n + turn) % RECEIVERS.len();
                times[who].push(pin(&source, case, RECEIVERS[who]).await);
            }
            let [ours, floor, relaxed] = [0, 1, 2].map(|who| times[who][turn - 1]);
            println!(
                "turn {turn}, {}: ours {ours:.2?}, Kubo {floor:.2?}, without sync {relaxed:.2?}",
                case.name
            );
        }
    }
    let idle = idle::measure().await;
    let results: Vec<_> = cases.iter().zip(times).map(|(case, times)| result(case, times)).collect();
    let ratio = |result: &&Value| result["ratio"].as_f64().unwrap();
    let least = results.iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap();
    println!(
        "{}",
        json!({
            "name": "ipfs-fetch", "case": least["case"], "ours": least["ours"], "floor": least["floor"],
            "ratio": least["ratio"], "unit": least["unit"], "turns": turns, "idle_rss_mib": idle,
            "floor_is": "Kubo pinning from the same Kubo, its blocks fsynced as ours are",
            "relaxed_is": "the same without fsync of blocks", "cases": results,
        })
    );
    source.kill().await;
}

/// How long a new receiver takes to pin.
async fn pin(source: &Daemon, case: &Case, receiver: Receiver) -> Duration {
    // What the one before left to be written is not this one's.
    assert!(tokio::process::Command::new("sync").status().await.unwrap().success());
    match receiver {
        Receiver::Ours => {
            let dir = tempfile::tempdir().unwrap();
            let node = Node::start(support::config(&dir)).await.unwrap();
            node.connect(source.address.clone()).await.unwrap();
            let begun = Instant::now();
            let report = node.pin(&case.cid, PinLimits::default(), |_| {}).await.unwrap();
            let took = begun.elapsed();
            assert_eq!(report.blocks, case.blocks, "{}", case.name);
            assert_eq!(node.stats().await.unwrap().received_blocks, case.blocks, "none twice");
            node.stop().await;
            took
        }
        Receiver::Kubo(sync) => {
            let blocks = "/Datastore/Spec/mounts/0/sync";
            let configure = |config: &mut Value| *config.pointer_mut(blocks).unwrap() = sync.into();
            let kubo = Daemon::configured(configure).await.unwrap();
            let (status, _) = kubo.call(&format!("swarm/connect?arg={}", source.address)).await;
            assert_eq!(status, 200);
            let begun = Instant::now();
            kubo.pin(&case.cid.to_string()).await;
            let took = begun.elapsed();
            kubo.kill().await;
            took
        }
    }
}

fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// What else the machine does changes from turn to turn: each turn is compared within itself.
fn result(case: &Case, times: [Vec<Duration>; 3]) -> Value {
    let [ours, floor, relaxed] = times;
    let ratios = |others: &[Duration]| -> Vec<f64> {
        others.iter().zip(&ours).map(|(other, ours)| other.as_secs_f64() / ours.as_secs_f64()).collect()
    };
    let rate =
        |times: &[Duration]| rounded(case.amount / middle(times.iter().map(Duration::as_secs_f64).collect()));
    let durable = ratios(&floor);
    json!({
        "case": case.name, "unit": case.unit, "blocks": case.blocks,
        "ours": rate(&ours), "floor": rate(&floor), "relaxed": rate(&relaxed),
        "ratio": rounded(middle(durable.clone())),
        "ratio_least": rounded(durable.iter().copied().fold(f64::MAX, f64::min)),
        "ratio_most": rounded(durable.iter().copied().fold(0.0, f64::max)),
        "ratio_relaxed": rounded(middle(ratios(&relaxed))),
    })
}
