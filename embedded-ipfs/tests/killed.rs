//! A node that is killed: what it acknowledged is there again, and beside Kubo both ways go on. Runs itself as the victim.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use std::time::Duration;

use embedded_ipfs::{
    AddOptions, Cid, Config, Node, PinLimits, Progress, PublishOptions, Published, SigningKey,
};
use futures::TryStreamExt;
use multihash_codetable::{Code, MultihashDigest};
use support::ipfs::Daemon;
use support::told::{block, obey, Told, FLAG};
use support::{address, noise, within, within_rounds, ROUNDS};

const VICTIM: &str = "--victim";
const FETCHER: &str = "--fetcher";
const SERVER: &str = "--server";
const COLLECTOR: &str = "--collector";
const PUBLISHER: &str = "--publisher";
const SIZE: usize = 700 << 10;
const FILE: usize = 20 << 20;

/// A harness of its own, so that the victim is no test: `killed --victim DIR` is one, everything else runs the test.
fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.as_slice() {
        [flag, dir] if flag == VICTIM => runtime.block_on(add_files_for_ever(dir)),
        [flag, dir, peer, cid] if flag == FETCHER => runtime.block_on(fetch(dir, peer, cid)),
        [flag, dir, peer] if flag == FLAG => runtime.block_on(obey(dir, peer)),
        [flag, dir] if flag == COLLECTOR => runtime.block_on(add_and_collect_for_ever(dir)),
        [flag, dir, peer] if flag == PUBLISHER => runtime.block_on(publish_for_ever(dir, peer)),
        [flag, dir] if flag == SERVER => runtime.block_on(serve_for_ever(dir)),
        [flag, ..] if flag == "--list" => {
            println!("what_was_acknowledged_survives_a_kill: test");
            println!("a_kill_in_the_middle_of_a_collection_takes_nothing_that_is_pinned: test");
            println!("a_kill_in_the_middle_of_publishing_takes_no_name_back: test");
            println!("a_kill_in_the_middle_of_a_fetch_beside_kubo_costs_little: test");
            println!("after_each_kill_both_fetch_at_once_and_what_was_wanted_comes: test");
        }
        _ => {
            runtime.block_on(within(what_was_acknowledged_survives_a_kill()));
            println!("test what_was_acknowledged_survives_a_kill ... ok");
            runtime.block_on(within(a_kill_in_the_middle_of_a_collection_takes_nothing_that_is_pinned()));
            println!("test a_kill_in_the_middle_of_a_collection_takes_nothing_that_is_pinned ... ok");
            runtime.block_on(within(a_kill_in_the_middle_of_publishing_takes_no_name_back()));
            println!("test a_kill_in_the_middle_of_publishing_takes_no_name_back ... ok");
            runtime.block_on(within(a_kill_in_the_middle_of_a_fetch_beside_kubo_costs_little()));
            println!("test a_kill_in_the_middle_of_a_fetch_beside_kubo_costs_little ... ok");
            let kills = after_each_kill_both_fetch_at_once_and_what_was_wanted_comes();
            runtime.block_on(within_rounds(kills));
            println!("test after_each_kill_both_fetch_at_once_and_what_was_wanted_comes ... ok");
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

/// Adds two files again and again and collects one of them; prints the root of the other, and when a collection begins.
async fn add_and_collect_for_ever(dir: &str) {
    let node = Node::start(Config::new(dir)).await.unwrap();
    for seed in (u64::from(std::process::id()) << 32..).step_by(2) {
        let gone = node.add(&noise(SIZE, seed)[..], AddOptions::default()).await.unwrap();
        let kept = node.add(&noise(SIZE, seed + 1)[..], AddOptions::default()).await.unwrap();
        println!("{}", kept.cid);
        node.unpin(&gone.cid).await.unwrap();
        println!("collecting");
        node.gc(Duration::ZERO).await.unwrap();
    }
}

/// The names that are published, and what they say with a sequence.
fn owners() -> [SigningKey; 2] {
    [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]).unwrap())
}

fn value(owner: &SigningKey, sequence: u64) -> String {
    format!("/ipfs/{}", raw(format!("{} {sequence}", owner.name()).as_bytes()))
}

/// Has two names say something new in turns; prints each name and its sequence once that is acknowledged.
async fn publish_for_ever(dir: &str, peer: &str) {
    let node = Node::start(Config::new(dir)).await.unwrap();
    node.connect(peer.parse().unwrap()).await.unwrap();
    loop {
        for owner in owners() {
            let said = node.published().into_iter().find(|said| said.name == owner.name());
            let sequence = said.map_or(0, |said| said.sequence + 1);
            let value = value(&owner, sequence);
            let said = node.publish(&owner, &value, PublishOptions::default()).await.unwrap();
            println!("{} {}", said.name, said.sequence);
        }
    }
}

/// Prints how many blocks of a pin are here.
async fn fetch(dir: &str, peer: &str, cid: &str) {
    let node = Node::start(Config::new(dir)).await.unwrap();
    node.connect(peer.parse().unwrap()).await.unwrap();
    let progress = |now: Progress| println!("{}", now.blocks);
    node.pin(&cid.parse().unwrap(), PinLimits::default(), progress).await.unwrap();
}

/// Prints the root of a file, and where it is served.
async fn serve_for_ever(dir: &str) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let node = Node::start(Config { listen, ..Config::new(dir) }).await.unwrap();
    let added = node.add(&noise(FILE, 2)[..], AddOptions::default()).await.unwrap();
    println!("{}\n{}", added.cid, node.addrs()[0]);
    std::future::pending().await
}

fn raw(bytes: &[u8]) -> Cid {
    Cid::new_v1(0x55, Code::Sha2_256.digest(bytes))
}

fn start(arguments: &[&str]) -> (Child, impl Iterator<Item = String>) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    (victim, lines.map_while(Result::ok))
}

fn kill(mut victim: Child) {
    victim.kill().unwrap();
    victim.wait().unwrap();
}

async fn a_kill_in_the_middle_of_a_fetch_beside_kubo_costs_little() {
    let Some(daemon) = Daemon::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().join("fetcher"), dir.path().join("file"));
    std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), &noise(FILE, 1)).unwrap();
    let cid = daemon.run(&["add", "-Q", file.to_str().unwrap()]).await;
    for half in [15, 30, 45] {
        let (victim, mut said) = start(&[FETCHER, home.to_str().unwrap(), &daemon.address.to_string(), &cid]);
        let _ = said.find(|blocks| blocks.parse::<u64>().unwrap() >= half);
        kill(victim);
    }
    let node = Node::start(Config::new(&home)).await.unwrap();
    node.connect(daemon.address.clone()).await.unwrap();
    let report = node.pin(&cid.parse().unwrap(), PinLimits::default(), |_| {}).await.unwrap();
    let received = node.stats().await.unwrap().received_blocks;
    assert!(received + 45 <= report.blocks, "{received} of {} again", report.blocks);
    node.stop().await;

    let home = dir.path().join("server");
    let (victim, mut said) = start(&[SERVER, home.to_str().unwrap()]);
    let (cid, address) = (said.next().unwrap(), said.next().unwrap());
    daemon.run(&["swarm", "connect", &address]).await;
    // It ends well only if what Kubo wanted comes from one of those that follow.
    let arguments = ["pin", "add", &cid];
    let pin = daemon.run(&arguments);
    let kills = async {
        let mut victim = victim;
        for _ in 0..3 {
            kill(victim);
            let (again, mut said) = start(&[SERVER, home.to_str().unwrap()]);
            victim = again;
            let address = said.nth(1).unwrap();
            daemon.run(&["swarm", "connect", &address]).await;
        }
        victim
    };
    let (_, victim) = tokio::join!(pin, kills);
    kill(victim);
    daemon.kill().await;
}

async fn after_each_kill_both_fetch_at_once_and_what_was_wanted_comes() {
    let Some(daemon) = Daemon::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("told");
    let mut node = Told::start(&home, &daemon.address).await;
    for round in 0..ROUNDS {
        let [theirs, ours, other, another] = [1, 2, 3, 4].map(|n| 10 * round + n);
        let (wanted, kubos) = (raw(&block(theirs)), raw(&block(ours)));
        node.want(&wanted).await;
        daemon.until_wanted(Some(&node.id), &wanted).await;
        let text = kubos.to_string();
        let arguments = ["block", "get", &text];
        let pending = daemon.succeed(&arguments);
        let the_rest = async {
            daemon.until_wanted(None, &kubos).await;
            node.kill().await;
            let mut node = Told::start(&home, &daemon.address).await;
            // At once, each a new block of the other.
            let new = daemon.put(&block(other)).await;
            node.want(&new).await;
            node.got(&new).await;
            let new = node.put(another).await;
            assert_eq!(daemon.run(&["block", "stat", &new.to_string()]).await.lines().count(), 2);
            // What was wanted before: our caller died with the process, and comes again; Kubo's waits still.
            node.want(&wanted).await;
            daemon.until_wanted(Some(&node.id), &wanted).await;
            daemon.put(&block(theirs)).await;
            node.got(&wanted).await;
            assert_eq!(node.put(ours).await, kubos);
            node
        };
        ((), node) = tokio::join!(pending, the_rest);
    }
    node.kill().await;
    daemon.kill().await;
}

async fn a_kill_in_the_middle_of_a_collection_takes_nothing_that_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept: Vec<String> = Vec::new();
    // Later and later in a collection: it takes some milliseconds.
    for round in 0..8 {
        let (victim, said) = start(&[COLLECTOR, dir.path().to_str().unwrap()]);
        let mut collections = 0;
        for line in said {
            if line != "collecting" {
                kept.push(line);
                continue;
            }
            collections += 1;
            if collections > round % 3 {
                tokio::time::sleep(Duration::from_millis(round)).await;
                break;
            }
        }
        kill(victim);
    }
    let node = Node::start(Config::new(dir.path())).await.unwrap();
    for cid in &kept {
        let cid = cid.parse().unwrap();
        assert!(node.is_pinned(&cid).await.unwrap());
        assert_eq!(node.read(&cid, u64::MAX).await.unwrap().len(), SIZE);
    }
    let pins: Vec<_> = node.pins().try_collect().await.unwrap();
    node.gc(Duration::ZERO).await.unwrap();
    let stats = node.stats().await.unwrap();
    assert_eq!(stats.blocks, pins.iter().map(|pin| pin.blocks).sum::<u64>());
    assert_eq!(stats.damaged_blocks, 0);
    let segments = std::fs::read_dir(dir.path().join("blocks")).unwrap();
    let disk: u64 = segments.map(|segment| segment.unwrap().metadata().unwrap().len()).sum();
    assert!(disk < stats.bytes * 4 / 3 + (1 << 20), "{disk} bytes for {}", stats.bytes);
    node.stop().await;
}

async fn a_kill_in_the_middle_of_publishing_takes_no_name_back() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let witness = support::node(&other).await;
    let mut acknowledged = [None; 2];
    // Later and later in a publishing: it takes some milliseconds.
    for round in 0..12 {
        let arguments = [PUBLISHER, dir.path().to_str().unwrap(), &address(&witness).to_string()];
        let (victim, mut said) = start(&arguments);
        for line in said.by_ref().take(round % 5) {
            let (name, sequence) = line.split_once(' ').unwrap();
            let at = owners().iter().position(|owner| owner.name().to_string() == name).unwrap();
            acknowledged[at] = Some(sequence.parse::<u64>().unwrap());
        }
        tokio::time::sleep(Duration::from_millis(round as u64)).await;
        kill(victim);

        // It says the same again to whoever comes, and what it was about to say if that was written already.
        let node = Node::start(Config::new(dir.path())).await.unwrap();
        let published = node.published();
        node.connect(address(&witness)).await.unwrap();
        for (owner, acknowledged) in owners().iter().zip(&mut acknowledged) {
            let said = published.iter().find(|said| said.name == owner.name());
            let Some(Published { name, value: says, sequence }) = said else {
                assert_eq!(*acknowledged, None, "{} is lost", owner.name());
                continue;
            };
            assert_eq!(*says, value(owner, *sequence));
            assert!(acknowledged.is_none_or(|last| last <= *sequence), "{acknowledged:?}, now {sequence}");
            while witness.name_get(*name).await.ok().is_none_or(|record| record.sequence() < *sequence) {}
            *acknowledged = Some(*sequence);
        }
        node.stop().await;
    }
    assert!(acknowledged.iter().all(|last| last.is_some_and(|last| last >= 4)), "{acknowledged:?}");
    assert_eq!(witness.stats().await.unwrap().dht_refused, 0, "nothing older was ever given away");
    witness.stop().await;
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
        let pins: Vec<_> = node.pins().try_collect().await.unwrap();
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
