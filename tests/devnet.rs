//! A whole market on this machine, as its user meets it.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};
use serde_json::{json, Value};
use support::member::ipfs;
use support::scatter::{Finished, Scatter};
use support::{eventually, not_run, tool, PATIENCE};

/// A bid's whole life, on a machine that is busy with other tests.
const LIFE: Duration = Duration::from_secs(240);

/// `scatter devnet ARGS` where Anvil is found, or `None` (said and recorded) where it is not installed.
fn devnet(directory: &Path, args: &[&str]) -> Option<Command> {
    let Some(anvil) = tool("anvil") else {
        not_run("Anvil", "tools/install anvil");
        return None;
    };
    let mut command = Scatter::command(directory, &[&["devnet"], args].concat());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::iter::once(anvil.parent().unwrap().to_owned()).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(tools).unwrap());
    Some(command)
}

/// Where a devnet's nodes keep everything that goes.
fn scratch(report: &Path) -> PathBuf {
    let config = fs::read_to_string(report.join("configs/hoster.toml")).unwrap();
    let line = config.lines().find_map(|line| line.strip_prefix("data_dir = ")).unwrap();
    Path::new(line.trim_matches('"')).parent().unwrap().to_owned()
}

/// A process as the kernel tells of it.
struct Told {
    pid: i32,
    parent: i32,
    name: String,
    is_dead: bool,
}

impl Told {
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let (head, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        Some(Self {
            pid,
            parent: fields.next()?.parse().ok()?,
            name: head.split_once('(')?.1.to_owned(),
            is_dead,
        })
    }

    fn all() -> Vec<Self> {
        let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| Self::of(name.to_str()?.parse().ok()?)).collect()
    }
}

/// The nodes, guards and chains that a process started, directly and not.
fn descendants(of: Pid) -> Vec<i32> {
    let all = Told::all();
    let mut found = BTreeSet::from([of.as_raw_nonzero().get()]);
    loop {
        let known = found.len();
        let more = all.iter().filter(|told| found.contains(&told.parent)).map(|told| told.pid);
        found.extend(more.collect::<Vec<_>>());
        if found.len() == known {
            break;
        }
    }
    // The test's own leash is among them, too.
    let ours = |told: &&Told| {
        found.contains(&told.pid) && ["scatter", "anvil", "ipfs"].contains(&told.name.as_str())
    };
    all.iter().filter(ours).map(|told| told.pid).filter(|pid| *pid != of.as_raw_nonzero().get()).collect()
}

fn assert_gone(processes: &[i32], scratch: &Path) {
    for process in processes {
        eventually("end of a child", PATIENCE, || {
            Told::of(*process).is_none_or(|told| told.is_dead).then_some(())
        });
    }
    eventually("end of the directories", PATIENCE, || (!scratch.exists()).then_some(()));
}

fn wei(value: &Value) -> i128 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_bid_is_paid_and_nothing_but_the_report_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut command) = devnet(directory.path(), &["--once", "--size", "2MiB", "--out", "report"]) else {
        return;
    };
    command.arg("--json");
    let finished: Finished = Scatter::spawn(&command).finish(LIFE);
    assert_eq!(finished.code(), 0, "{finished:?}");

    let document = finished.json();
    assert_eq!(document["outcome"], "paid");
    assert_eq!(document["bid"]["stage"], "released");
    let (amount, pool) = (wei(&document["bid"]["amount_wei"]), wei(&document["bid"]["pool_wei"]));
    let gained = |role: &str| -> Vec<i128> {
        let nodes = document["nodes"].as_array().unwrap().iter().filter(|node| node["role"] == role);
        nodes.map(|node| wei(&node["balance_after_wei"]) - wei(&node["balance_before_wei"])).collect()
    };
    let gas = amount / 100;
    assert!(gained("hoster").iter().all(|gain| (amount - gas..amount).contains(gain)), "{document}");
    let validators = gained("validator");
    assert_eq!(validators.len(), 2);
    assert!(validators.iter().all(|gain| (pool / 2 - gas..pool / 2).contains(gain)), "{document}");
    assert!(
        gained("bidder").iter().all(|gain| (-amount - pool - gas..-amount - pool).contains(gain)),
        "{document}"
    );
    for vote in document["votes"].as_array().unwrap() {
        assert_eq!(vote["valid"], true);
        assert!(Path::new(vote["evidence"].as_str().unwrap()).is_file(), "{vote}");
    }
    for call in ["accept", "pinned", "validate", "settle", "withdraw"] {
        assert!(document["gas"][call].as_u64().is_some_and(|gas| gas > 21_000), "{call}: {document}");
    }
    assert!(document["seconds"]["chain_advanced"].as_u64().unwrap() > 7 * 86_400);

    // The peer keeps what the hoster listed, and nothing else; that the hoster let go of it is among the checks.
    assert_eq!(document["mirror"]["peer"], "peer");
    assert!(document["mirror"]["manifest_cid"].as_str().unwrap().parse::<cid::Cid>().is_ok());
    assert_eq!(document["mirror"]["pinned"], json!([document["bid"]["cid"]]));
    let checks = document["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["ok"] == true), "{document}");
    assert_eq!(checks.iter().filter(|check| check["what"].as_str().unwrap().contains("the peer")).count(), 2);

    let report = directory.path().join("report");
    assert!(!scratch(&report).exists());
    assert_eq!(
        serde_json::from_slice::<Value>(&fs::read(report.join("summary.json")).unwrap()).unwrap(),
        document
    );
    for name in ["hoster", "validator-1", "validator-2", "bidder", "peer"] {
        assert!(
            fs::read_to_string(report.join(format!("logs/{name}.log"))).unwrap().contains("drained"),
            "{name}"
        );
    }
}

fn assert_that_a_kill_leaves_nothing(args: &[&str], least: usize) {
    let directory = tempfile::tempdir().unwrap();
    let Some(command) = devnet(directory.path(), args) else { return };
    let devnet = Scatter::spawn(&command);
    devnet.wait_for_line("bid", LIFE, |line| line.contains("bid 0 accepted").then_some(()));
    let children = descendants(devnet.pid());
    assert!(children.len() >= least, "{children:?}");
    let scratch = scratch(&directory.path().join("devnet-report"));
    assert!(scratch.exists());
    devnet.kill();
    assert_gone(&children, &scratch);
}

#[test]
fn a_devnet_that_is_killed_leaves_nothing_running() {
    // Five nodes, the guard and its Anvil.
    assert_that_a_kill_leaves_nothing(&[], 7);
}

#[test]
fn a_devnet_with_kubos_that_is_killed_leaves_nothing_running() {
    if ipfs().is_some() {
        // Beside those, five guards and their Kubos.
        assert_that_a_kill_leaves_nothing(&["--ipfs", "kubo"], 17);
    }
}

#[test]
fn a_signal_ends_everything_and_the_report_stays() {
    let directory = tempfile::tempdir().unwrap();
    let Some(command) = devnet(directory.path(), &["--size", "1MiB"]) else { return };
    let devnet = Scatter::spawn(&command);
    devnet.wait_for_line("node", LIFE, |line| line.contains("registered").then_some(()));
    let children = descendants(devnet.pid());
    let report = directory.path().join("devnet-report");
    let scratch = scratch(&report);
    kill_process(devnet.pid(), Signal::INT).unwrap();
    assert_eq!(devnet.wait(PATIENCE).code(), Some(130));
    assert_gone(&children, &scratch);
    assert!(report.join("configs/hoster.toml").exists() && report.join("logs/hoster.log").exists());
}

#[test]
fn without_anvil_the_remedy_is_told_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Scatter::command(directory.path(), &["devnet", "--once", "--json"]);
    command.env("PATH", directory.path());
    // The leash needs a shell, which the emptied path would hide.
    let finished = command.output().unwrap();
    assert_eq!(finished.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert!(document["error"]["message"].as_str().unwrap().contains("tools/install anvil"), "{document}");
    assert!(!directory.path().join("devnet-report").exists());
}

#[test]
fn without_kubo_the_remedy_is_told_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Scatter::command(directory.path(), &["devnet", "--once", "--ipfs", "kubo", "--json"]);
    command.env("PATH", directory.path());
    let finished = command.output().unwrap();
    assert_eq!(finished.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("ipfs is not installed") && message.contains("https://"), "{document}");
    assert!(!directory.path().join("devnet-report").exists());
}
