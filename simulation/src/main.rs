//! Plays many seeds on all cores, or shows that every planted bug is caught. The last line is one JSON object.
// A command for people who work on the node: it may die of what it did not expect, and it writes files and takes time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use scatter_actors::planted::{plant, Bug};
use scatter_simulation::case::{name_of, Case};
use scatter_simulation::plan::Plan;
use scatter_simulation::shrink::{shrink, Shrunk};
use scatter_simulation::world::{live, Ended};
use serde_json::{json, Value};

/// Plays the whole node under seeded faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds; with --planted, how many each bug has to be caught in.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Plant one bug after the other and tell which invariant catches each, and at which seed.
    #[arg(long)]
    planted: bool,
    /// Plant this one alone, and shrink what it breaks.
    #[arg(long, value_name = "BUG", requires = "planted")]
    only: Option<String>,
    /// Replay this plan alone, as a failing seed or a regression left it.
    #[arg(long, value_name = "FILE", conflicts_with = "planted")]
    plan: Option<PathBuf>,
    /// How many histories may be lived to make a failing one smaller; 0: leave it.
    #[arg(long, value_name = "N", default_value_t = 100)]
    shrink: usize,
    /// Where histories that broke an invariant are written.
    #[arg(long, value_name = "DIR", default_value = "target/simulation")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (summary, is_right) = match &arguments.plan {
        Some(file) => replayed(file),
        None if arguments.planted => planted(&arguments),
        None => clean(&arguments),
    };
    println!("{summary}");
    ExitCode::from(u8::from(!is_right))
}

/// All seeds, none of which may break anything.
fn clean(arguments: &Arguments) -> (Value, bool) {
    let total = Mutex::new(Total::default());
    let bar = bar(arguments.seeds, "seeds");
    let began = Instant::now();
    let next = AtomicU64::new(arguments.from);
    on_all_cores(|| loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= arguments.from + arguments.seeds {
            return;
        }
        let ended = live(Plan::of(seed));
        total.lock().unwrap().add(seed, &ended);
        if ended.verdict.is_err() {
            let told = told(seed, ended, arguments);
            bar.suspend(|| eprintln!("{told}"));
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    let total = total.into_inner().unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let is_right = total.violations.is_empty();
    (total.document(arguments, seconds), is_right)
}

/// Writes a failed history down, and the smallest plan that breaks the same. Tells where.
fn told(seed: u64, ended: Ended, arguments: &Arguments) -> String {
    fs::create_dir_all(&arguments.out).unwrap();
    let write = |ended: &Ended, name: String| {
        let file = arguments.out.join(name);
        fs::write(&file, ended.history()).unwrap();
        file.display().to_string()
    };
    let broken = ended.verdict.clone().unwrap_err();
    let (faults, whole) = (ended.plan.faults.len(), write(&ended, format!("seed-{seed}.txt")));
    let Shrunk { ended, lived } = shrink(ended, arguments.shrink);
    let case = Case::of(&ended.plan, &ended.verdict.clone().unwrap_err());
    let file = arguments.out.join(format!("seed-{seed}.json"));
    fs::write(&file, case.text()).unwrap();
    let small = write(&ended, format!("seed-{seed}-shrunk.txt"));
    let Plan { bids, faults: left, .. } = &ended.plan;
    let faulty: String = left.iter().map(|(at, fault)| format!("\n    {at:>7} ms  {fault:?}")).collect();
    format!(
        "seed {seed}: {broken}\n  its history: {whole}\n  shrunk in {lived} histories from {faults} to {} faults, {} \
         bids: {}, history {small}{faulty}",
        left.len(),
        bids.len(),
        file.display(),
    )
}

/// One plan, which may break nothing. Its history goes to stderr.
fn replayed(file: &Path) -> (Value, bool) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let case = Case::of_text(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let ended = live(case.plan);
    eprintln!("{}", ended.history());
    let broken = ended.verdict.err();
    (json!({"name": "simulate", "plan": file, "events": ended.events, "violation": broken}), broken.is_none())
}

#[derive(Default)]
struct Total {
    events: u64,
    virtual_ms: u64,
    chain_seconds: u64,
    restarts: u64,
    paid: usize,
    votes: usize,
    faults: BTreeMap<&'static str, u64>,
    violations: BTreeMap<u64, String>,
}

impl Total {
    fn add(&mut self, seed: u64, ended: &Ended) {
        self.events += ended.events;
        self.virtual_ms += ended.lasted.0;
        self.chain_seconds += ended.lasted.1;
        match &ended.verdict {
            Ok(summary) => {
                self.restarts += summary.restarts;
                self.paid += summary.paid;
                self.votes += summary.votes;
                for (kind, count) in &summary.faults {
                    *self.faults.entry(kind).or_default() += count;
                }
            }
            Err(broken) => {
                self.violations.insert(seed, broken.clone());
            }
        }
    }

    fn document(&self, arguments: &Arguments, seconds: f64) -> Value {
        json!({
            "name": "simulate", "seeds": arguments.seeds, "from": arguments.from,
            "events": self.events, "events_per_second": (self.events as f64 / seconds).round(),
            "seconds": (seconds * 10.0).round() / 10.0,
            "virtual_days": (self.virtual_ms as f64 / 864_000.0).round() / 100.0,
            "chain_days": self.chain_seconds / 86_400,
            "restarts": self.restarts, "paid": self.paid, "votes": self.votes,
            "faults": self.faults, "violations": self.violations,
        })
    }
}

/// Every bug, each of which must be caught.
fn planted(arguments: &Arguments) -> (Value, bool) {
    let wanted = |bug: &&Bug| arguments.only.as_ref().is_none_or(|only| *only == format!("{bug:?}"));
    let bugs: Vec<&Bug> = Bug::ALL.iter().filter(wanted).collect();
    let bar = bar(bugs.len() as u64, "bugs");
    let next = AtomicU64::new(0);
    let caught = Mutex::new(BTreeMap::new());
    on_all_cores(|| loop {
        let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed) as usize) else { return };
        let found = seek(**bug, arguments);
        let told = match &found {
            Some((seed, broken)) => format!("{bug:?}: caught at seed {seed}: {broken:.160}"),
            None => format!("{bug:?}: NOT CAUGHT in {} seeds", arguments.seeds),
        };
        bar.suspend(|| println!("{told}"));
        caught.lock().unwrap().insert(
            format!("{bug:?}"),
            found.map(|(seed, broken)| json!({ "seed": seed, "by": name_of(&broken) })),
        );
        bar.inc(1);
    });
    bar.finish_and_clear();
    let caught = caught.into_inner().unwrap();
    let missed = caught.values().filter(|found| found.is_none()).count();
    (
        json!({"name": "simulate-planted", "bugs": caught.len(), "missed": missed, "caught": caught}),
        missed == 0,
    )
}

/// The first seed that catches a bug.
fn seek(bug: Bug, arguments: &Arguments) -> Option<(u64, String)> {
    let mut seeds = arguments.from..arguments.from + arguments.seeds;
    seeds.find_map(|seed| {
        plant(Some(bug));
        let ended = live(Plan::of(seed));
        let broken = ended.verdict.clone().err();
        if broken.is_some() && arguments.only.is_some() {
            eprintln!("{}", told(seed, ended, arguments));
        }
        plant(None);
        broken.map(|broken| (seed, broken))
    })
}

/// Runs the same on as many threads as there are cores; a panic on one ends them all.
fn on_all_cores(work: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(&work)).is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!failed.into_inner(), "a history panicked");
}

fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}, {eta} left").unwrap();
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}
