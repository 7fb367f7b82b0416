//! `make soak-ipfs MINUTES=n`: two nodes of this crate and a Kubo, all connected with one another, live through random
//! adds, pins, unpins, collections of garbage, lost connections and restarts; one in twenty of what they fetch nobody has.
//!
//! Each minute they hold still, and it is checked that no want is left over, that everybody has all of what it pinned, and
//! that the stores of this crate hold that and nothing else. In the end their memory must not have grown but for noise.
//! Says the seed, and one JSON object last; exits with 1 if something was wrong and with 2 if there is no `ipfs`.

// It dies of what it did not expect, and it runs on the wall clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod checks;
mod dice;
mod lane;
mod party;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use support::ipfs::Daemon;
use support::memory::{resident, trend};
use tokio::task::JoinSet;

use world::World;

/// Things done at a time.
const LANES: usize = 4;
/// Between two looks at the memory.
const SAMPLE: Duration = Duration::from_secs(5);
/// Between two checks of everything.
const CHECK: Duration = Duration::from_secs(60);
/// Growth of this and less is no leak whatever the noise, in MiB: a page cache and an allocator fill up.
const SLACK_MIB: f64 = 8.0;
/// With fewer samples nothing is said of memory.
const SAMPLES: usize = 60;

fn argument<T: std::str::FromStr>(name: &str) -> Option<T> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok())
}

fn main() {
    let minutes: f64 = argument("--minutes").unwrap_or(1.0);
    let seed = argument("--seed").unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: {minutes} minutes");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let passed = runtime.block_on(soak(seed, minutes));
    std::process::exit(if passed { 0 } else { 1 });
}

/// Two nodes of ours in this process, and a Kubo.
async fn soak(seed: u64, minutes: f64) -> bool {
    let Some(kubo) = Daemon::configured(|_| {}).await else {
        eprintln!("soak-ipfs needs ipfs on the PATH (https://docs.ipfs.tech/install/command-line/)");
        std::process::exit(2);
    };
    let kubo_process = kubo.id();
    let world = Arc::new(World::new(kubo, LANES).await);
    let begun = Instant::now();
    let mut work = JoinSet::new();
    for number in 0..LANES {
        work.spawn(lane::run(
            world.clone(),
            number,
            dice::Dice::new(seed.wrapping_mul(1000) + number as u64),
        ));
    }
    work.spawn(lane::trouble(world.clone(), dice::Dice::new(seed.wrapping_mul(1000) + 999)));
    let mut samples = Vec::new();
    let mut fault = None;
    let mut check_due = begun + CHECK;
    while fault.is_none() && begun.elapsed().as_secs_f64() < minutes * 60.0 {
        tokio::select! {
            ended = work.join_next() => {
                fault = Some(ended.map_or("nothing runs".into(), |ended| match ended {
                    Ok(never) => match never {},
                    Err(panic) => panic.to_string(),
                }));
            }
            () = tokio::time::sleep(SAMPLE) => {}
        }
        if let (Some(ours), Some(theirs)) = (resident(std::process::id()), resident(kubo_process)) {
            samples.push((begun.elapsed().as_secs_f64() / 60.0, ours, theirs));
        }
        if fault.is_none() && Instant::now() >= check_due {
            fault = check(&world).await;
            check_due = Instant::now() + CHECK;
            println!("{:5.1} min: {}", begun.elapsed().as_secs_f64() / 60.0, world.line(samples.last()));
        }
    }
    if fault.is_none() {
        fault = check(&world).await;
    }
    work.shutdown().await;
    let summary = summary(&world, seed, begun.elapsed(), &samples, fault).await;
    let passed = summary["passed"] == true;
    println!("{summary}");
    passed
}

/// What is wrong, if anything.
async fn check(world: &Arc<World>) -> Option<String> {
    let world = world.clone();
    let checked = tokio::spawn(async move { checks::all(&world).await });
    checked.await.unwrap_or_else(|panic| Err(panic.to_string())).err()
}

/// Memory is judged by what follows the first quarter, in which stores and caches fill.
async fn summary(
    world: &World,
    seed: u64,
    took: Duration,
    samples: &[(f64, f64, f64)],
    fault: Option<String>,
) -> Value {
    let judged = &samples[samples.len() / 4..];
    let ours: Vec<_> = judged.iter().map(|(at, ours, _)| (*at, *ours)).collect();
    let theirs: Vec<_> = judged.iter().map(|(at, _, theirs)| (*at, *theirs)).collect();
    let enough = judged.len() >= SAMPLES;
    let (ours, theirs) = (trend(&ours), trend(&theirs));
    let leaks = enough && ours.is_some_and(|trend| trend.leaks(SLACK_MIB));
    let round = |number: f64| (number * 100.0).round() / 100.0;
    let memory = |trend: Option<support::memory::Trend>| {
        trend.map(|trend| {
            json!({
                "slope_mib_per_minute": round(trend.slope), "growth_mib": round(trend.growth),
                "noise_mib": round(trend.noise),
            })
        })
    };
    json!({
        "name": "soak", "seed": seed, "minutes": round(took.as_secs_f64() / 60.0),
        "passed": fault.is_none() && !leaks, "fault": fault, "done": world.tally.all(),
        "memory_judged": enough, "memory_leaks": leaks, "samples": judged.len(),
        "rss_mib": judged.last().map(|(_, ours, _)| round(*ours)), "rss": memory(ours),
        "kubo_rss_mib": judged.last().map(|(_, _, theirs)| round(*theirs)), "kubo_rss": memory(theirs),
        "nodes": world.stats().await,
    })
}
