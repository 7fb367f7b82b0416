//! A node that is killed: what it acknowledged is there again. Runs itself as the victim.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use std::time::Duration;

use embedded_ipfs::{AddOptions, Cid, Config, Node};
use futures::TryStreamExt;
use support::{noise, within};

const VICTIM: &str = "--victim";
const SIZE: usize = 700 << 10;

/// A harness of its own, so that the victim is no test: `killed --victim DIR` is one, everything else runs the test.
fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.as_slice() {
        [flag, dir] if flag == VICTIM => runtime.block_on(add_files_for_ever(dir)),
        [flag, ..] if flag == "--list" => println!("what_was_acknowledged_survives_a_kill: test"),
        _ => {
            runtime.block_on(within(what_was_acknowledged_survives_a_kill()));
            println!("test what_was_acknowledged_survives_a_kill ... ok");
        }
    }
}

/// Prints the root of each file once it is pinned.
async fn add_files_for_ever(dir: &str) {
    let node = Node::start(Config::new(dir)).await.unwrap();
    for seed in 1.. {
        let added = node.add(&noise(SIZE, seed)[..], AddOptions::default()).await.unwrap();
        println!("{}", added.cid);
    }
}

async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<Cid> = Vec::new();
    for round in 1..=3 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([VICTIM, dir.path().to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut said: Vec<Cid> = lines.take(4 * round).map(|line| line.unwrap().parse().unwrap()).collect();
        victim.kill().unwrap();
        victim.wait().unwrap();
        acknowledged.append(&mut said);

        let node = Node::start(Config::new(dir.path())).await.unwrap();
        let pins = node.pins().await.unwrap();
        for cid in &acknowledged {
            let pin = pins.iter().find(|pin| pin.cid == *cid).expect("the pin is there");
            let blocks: Vec<_> = node.walk(cid).try_collect().await.expect("with all its blocks");
            assert_eq!(blocks.len() as u64, pin.blocks);
            assert_eq!(node.read(cid, u64::MAX).await.unwrap().len(), SIZE);
        }
        let swept = node.gc(Duration::ZERO).await.unwrap();
        assert!(swept.blocks <= 4, "at most the file that was being added: {swept:?}");
        let stats = node.stats().await.unwrap();
        assert_eq!((stats.pins, stats.blocks), (pins.len() as u64, pins.iter().map(|pin| pin.blocks).sum()));
        node.stop().await;
    }
}
