//! The Pod of `deploy/pod.yaml` under podman, on a market of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{kill_process, Pid, Signal};
use scatter::cli::devnet::{Audience, Drive, Market, Offer, Options, Report, Story};
use scatter_actors::domain::market::MarketEvent;
use scatter_actors::domain::units::ByteSize;

use crate::support::{not_run, root, tool};

/// Runs `podman ARGUMENTS` to its end.
fn podman(arguments: &[&str]) -> Output {
    Command::new("podman").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether this machine has all that it takes; what is missing is told.
fn can_run(images: &[String]) -> bool {
    if tool("podman").is_none() {
        not_run("podman", "Debian: apt-get install podman catatonit");
        return false;
    }
    if tool("anvil").is_none() {
        not_run("Anvil", "tools/install anvil");
        return false;
    }
    for image in images {
        if !podman(&["image", "exists", image]).status.success() {
            not_run(&format!("the image {image}"), "make image; podman pull docker.io/ipfs/kubo:v0.41.0");
            return false;
        }
    }
    let tried = podman(&["run", "--rm", "--network", "host", "--entrypoint", "true", &images[0]]);
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr);
        let why = why.trim().lines().last().unwrap_or_default();
        not_run("a podman that runs containers", why);
    }
    tried.status.success()
}

/// Kills the first process of a container, as the machine's want of memory would.
fn kill(container: &str) -> String {
    let pid = said(&podman(&["inspect", "--format", "{{.State.Pid}}", container]));
    kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    pid
}

/// The Pod's name, and with it all that podman made of it, until dropped.
struct Made(String);

impl Drop for Made {
    fn drop(&mut self) {
        podman(&["pod", "rm", "--force", &self.0]);
        let volumes = said(&podman(&["volume", "ls", "--quiet", "--filter", &format!("name={}-", self.0)]));
        for volume in volumes.lines() {
            podman(&["volume", "rm", "--force", volume]);
        }
        podman(&["secret", "rm", &format!("{}-keys", self.0)]);
    }
}

/// A program for the market that runs its hoster in a Pod.
fn hoster_in(pod: &str, directory: &Path) -> std::path::PathBuf {
    let program = directory.join("hoster-in-pod");
    let (scatter, script) = (env!("CARGO_BIN_EXE_scatter"), root().join("tests/deploy/hoster_in_pod.py"));
    let text = format!("#!/bin/sh\nexec python3 '{}' '{scatter}' {pod} \"$@\"\n", script.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[actix_rt::test]
async fn a_hoster_in_the_single_pod_is_ready_comes_back_when_it_is_killed_and_ends_paid() {
    let images = [format!("scatter:{}", env!("CARGO_PKG_VERSION")), "ipfs/kubo:v0.41.0".to_owned()];
    if !can_run(&images) {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let made = Made(format!("scatter-try-{}", std::process::id()));
    let pod = &made.0;
    let mut options = Options::new(hoster_in(pod, out.path()), out.path().join("report"));
    options.anvil = tool("anvil");
    // Ready, by the word of /readyz, before it returns.
    let started = Market::start(options, Story::new(Audience::Nobody)).await;
    let log = || fs::read_to_string(out.path().join("report/logs/hoster.log")).unwrap_or_default();
    let mut market = started.unwrap_or_else(|fault| panic!("{fault}\n{}", log()));
    let mut before = Vec::new();
    for node in market.nodes() {
        before.push(market.purse(node).await.unwrap().0);
    }
    let mut drive = Drive::default();
    let placed = market.place(&Offer::of(ByteSize(4 << 20))).await.unwrap();
    let accepted = |event: &MarketEvent| matches!(event, MarketEvent::Accepted { .. });
    market.carry_until(placed.id, &mut drive, &accepted).await.unwrap();

    let node = format!("{pod}-node");
    let killed = kill(&node);
    market.hoster().is_ready().await.unwrap();
    assert_ne!(said(&podman(&["inspect", "--format", "{{.State.Pid}}", &node])), killed, "another process");
    let probe = podman(&["exec", &node, "scatter", "status", "--ready"]);
    assert!(probe.status.success(), "{probe:?}");

    let pinned = |event: &MarketEvent| matches!(event, MarketEvent::Pinned { .. });
    market.carry_until(placed.id, &mut drive, &pinned).await.unwrap();
    let root = placed.cid.to_string();
    let api =
        said(&podman(&["exec", &format!("{pod}-kubo"), "ipfs", "pin", "ls", "--type=recursive", &root]));
    assert!(api.contains(&root), "Kubo has the pin: {api}");

    market.carry(placed.id, &mut drive).await.unwrap();
    let report = Report::of(&mut market, placed, &before).await.unwrap();
    assert_eq!((report.untrue(), report.outcome()), (Vec::<&str>::new(), "paid"));
    market.end().await;
}
