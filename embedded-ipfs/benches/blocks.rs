//! `make bench-blocks`: a store of 1,000,000 blocks of 1 KiB is filled, killed while it takes more, and opened again, beside
//! the floor: its index read from beginning to end. Then writing: 200 MiB in blocks of 256 KiB and of 1 MiB, 32 at a time,
//! beside the floor: the same bytes appended to a file, with an fsync after every 32 blocks.
//!
//! Each run is a process of its own, and none that has the store open ever closes it: every opening is one after a kill.
//! The files are in the page cache, for both.

// It dies of what it did not expect, and it measures the wall clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Instant;

use embedded_ipfs::{AddOptions, Config, Node};
use futures::{StreamExt, TryStreamExt};
use serde_json::{json, Value};
use tokio::io::{AsyncRead, ReadBuf};

/// Blocks of 1 KiB in the store that is opened.
const BLOCKS: u64 = 1_000_000;
/// Blocks put after them, one by one, so that the index is behind when the kill comes.
const LAST: u64 = 5000;
const RAW: u64 = 0x55;
/// Bytes that are written.
const WRITTEN: usize = 200 << 20;
const IN_FLIGHT: usize = 32;
/// Turns; the middle one counts.
const TURNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", dir] => runtime.block_on(fill(dir)),
        ["open", dir] => runtime.block_on(open(dir)),
        ["write", dir, size] => runtime.block_on(write(dir, size.parse().unwrap())),
        _ => measure(),
    }
}

fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("node");
    let filling = Instant::now();
    let mut victim = start(&["fill", home.to_str().unwrap()]);
    let mut told = String::new();
    BufReader::new(victim.stdout.take().unwrap()).read_line(&mut told).unwrap();
    let filled = filling.elapsed().as_secs_f64();
    victim.kill().unwrap();
    victim.wait().unwrap();

    let index = home.join("index.redb");
    let (mut ours, mut floor, mut opened) = (Vec::new(), Vec::new(), Value::Null);
    for turn in 1..=TURNS {
        opened = run(&["open", home.to_str().unwrap()]);
        ours.push(opened["seconds"].as_f64().unwrap());
        floor.push(seconds(|| std::fs::read(&index).unwrap().len()));
        println!("turn {turn}: opened in {} s, read in {} s", ours[turn - 1], floor[turn - 1]);
    }
    let written: Vec<Value> =
        [256 << 10, 1 << 20].into_iter().map(|size| writing(dir.path(), size)).collect();
    let (ours, floor) = (middle(ours), middle(floor));
    println!(
        "{}",
        json!({
            "name": "blocks", "ours": ours, "floor": floor, "ratio": hundredths(ours / floor), "unit": "s to open",
            "wanted": "ours below 2", "turns": TURNS, "store": opened,
            "filled": { "blocks/s": (BLOCKS as f64 / filled).round() },
            "index_bytes": index.metadata().unwrap().len(), "written": written,
        })
    );
}

/// How fast blocks of a size are written, beside plain appending.
fn writing(dir: &Path, size: usize) -> Value {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        let home = dir.join(format!("write-{size}-{turn}"));
        ours.push(run(&["write", home.to_str().unwrap(), &size.to_string()])["seconds"].as_f64().unwrap());
        floor.push(append(&home.join("appended"), size));
        std::fs::remove_dir_all(home).unwrap();
        println!(
            "turn {turn}: {size} bytes: written in {} s, appended in {} s",
            ours[turn - 1],
            floor[turn - 1]
        );
    }
    let rate = |seconds: f64| (WRITTEN as f64 / f64::from(1 << 20) / seconds).round();
    let (ours, floor) = (rate(middle(ours)), rate(middle(floor)));
    json!({ "block": size, "ours": ours, "floor": floor, "ratio": hundredths(ours / floor), "unit": "MiB/s" })
}

async fn fill(dir: &str) {
    let node = Node::start(Config::new(dir)).await.unwrap();
    let options = AddOptions { chunk_bytes: 1024, ..AddOptions::v1() };
    node.add(Noise { state: 1, left: BLOCKS * 1024 }, options).await.unwrap();
    let puts = (0..LAST).map(|n| node.put(RAW, noise(1024, BLOCKS + n)));
    let _: Vec<_> = futures::stream::iter(puts).buffer_unordered(IN_FLIGHT).try_collect().await.unwrap();
    println!("filled");
    for n in BLOCKS + LAST.. {
        node.put(RAW, noise(1024, n)).await.unwrap();
    }
}

async fn open(dir: &str) {
    let started = Instant::now();
    let node = Node::start(Config::new(dir)).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let stats = node.stats().await.unwrap();
    assert!(stats.blocks >= BLOCKS + LAST && stats.pins == 1 && stats.damaged_blocks == 0, "{stats:?}");
    // So that the next one has to make up for something, too.
    node.put(RAW, noise(1024, std::process::id().into())).await.unwrap();
    println!("{}", json!({ "seconds": seconds, "blocks": stats.blocks, "disk_bytes": stats.disk_bytes }));
    std::process::exit(0);
}

async fn write(dir: &str, size: usize) {
    let blocks: Vec<_> = (0..WRITTEN / size).map(|n| noise(size, n as u64)).collect();
    let node = Node::start(Config::new(dir)).await.unwrap();
    let started = Instant::now();
    let puts = blocks.into_iter().map(|block| node.put(RAW, block));
    let _: Vec<_> = futures::stream::iter(puts).buffer_unordered(IN_FLIGHT).try_collect().await.unwrap();
    println!("{}", json!({ "seconds": started.elapsed().as_secs_f64() }));
    node.stop().await;
}

/// Seconds that it takes to append as many bytes.
fn append(path: &Path, size: usize) -> f64 {
    let blocks: Vec<_> = (0..WRITTEN / size).map(|n| noise(size, n as u64)).collect();
    let mut file = std::fs::File::create(path).unwrap();
    seconds(|| {
        for some in blocks.chunks(IN_FLIGHT) {
            some.iter().for_each(|block| file.write_all(block).unwrap());
            file.sync_data().unwrap();
        }
    })
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    std::hint::black_box(work());
    started.elapsed().as_secs_f64()
}

fn middle(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdout(Stdio::piped()).spawn().unwrap()
}

/// One run in a process of its own; what it prints last.
fn run(arguments: &[&str]) -> Value {
    let output = start(arguments).wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap()
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Bytes that neither compress nor repeat.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&next(&mut state).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A file of such bytes that is never in memory whole.
struct Noise {
    state: u64,
    left: u64,
}

impl AsyncRead for Noise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while room.remaining() > 0 && self.left > 0 {
            let bytes = next(&mut self.state).to_le_bytes();
            let taken = room.remaining().min(bytes.len()).min(usize::try_from(self.left).unwrap());
            room.put_slice(&bytes[..taken]);
            self.left -= taken as u64;
        }
        Poll::Ready(Ok(()))
    }
}
