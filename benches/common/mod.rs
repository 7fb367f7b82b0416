//! What the benchmarks of mirroring share: content that is local, somebody who lists it, and a node that mirrors.

// A benchmark uses what it needs.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "../../tests/support/mod.rs"]
pub mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cid::Cid;
use scatter_actors::domain::cids::RAW;
use scatter_actors::testkit::ipfs::cid_of;
use serde_json::Value;

use support::kubo::Kubo;

/// Roots of a list.
pub const ROOTS: usize = 10_000;
/// Bytes of a root: one raw block.
pub const BLOCK: usize = 1024;
/// Longest time for anything here.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Roots, each a raw block, as a CAR file that any node imports.
pub struct Content {
    /// The roots in their order.
    pub roots: Vec<Cid>,
    car: PathBuf,
    directory: tempfile::TempDir,
}

impl Content {
    /// The same blocks each time.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let car = directory.path().join("content.car");
        let blocks: Vec<(Cid, Vec<u8>)> = (0..ROOTS as u64)
            .map(|n| {
                let bytes = n.to_be_bytes().repeat(BLOCK / 8);
                (cid_of(RAW, &bytes), bytes)
            })
            .collect();
        let roots: Vec<Cid> = blocks.iter().map(|(cid, _)| *cid).collect();
        fs::write(&car, car_of(&blocks)).unwrap();
        Self { roots, car, directory }
    }

    /// Puts all blocks into a node, pinned by nobody.
    pub fn load(&self, kubo: &Kubo) {
        kubo.cli(&["dag", "import", "--pin-roots=false", self.car.to_str().unwrap()]);
    }

    /// A directory with the list as a manifest; gives its path.
    pub fn manifest(&self) -> PathBuf {
        let list = self.directory.path().join("list");
        fs::create_dir_all(&list).unwrap();
        let texts: Vec<String> = self.roots.iter().map(Cid::to_string).collect();
        fs::write(list.join("manifest.json"), serde_json::to_vec(&texts).unwrap()).unwrap();
        list
    }
}

/// A CAR of version 1; its header names the first block.
fn car_of(blocks: &[(Cid, Vec<u8>)]) -> Vec<u8> {
    let root = [&[0][..], &blocks[0].0.to_bytes()].concat();
    // {"roots": [42(root)], "version": 1} as dag-cbor.
    let mut header = vec![0xa2, 0x65];
    header.extend(b"roots");
    header.extend([0x81, 0xd8, 0x2a, 0x58, root.len() as u8]);
    header.extend(root);
    header.push(0x67);
    header.extend(b"version");
    header.push(0x01);
    let mut car = section(&header);
    for (cid, bytes) in blocks {
        car.extend(section(&[&cid.to_bytes()[..], bytes].concat()));
    }
    car
}

fn section(bytes: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    let mut length = bytes.len();
    while length >= 0x80 {
        section.push(length as u8 | 0x80);
        length >>= 7;
    }
    section.push(length as u8);
    section.extend(bytes);
    section
}

/// Somebody who lists the content: a Kubo that published it under its own name.
pub struct Lister {
    /// The node.
    pub kubo: Kubo,
    /// Its name.
    pub name: String,
}

impl Lister {
    /// Publishes the list once somebody is there to take the record.
    pub fn start(content: &Content, around: &[&Kubo]) -> Self {
        let kubo = Kubo::start().expect("Kubo");
        around.iter().for_each(|other| kubo.connect(other));
        let list = content.manifest();
        let root = kubo.cli(&["add", "-r", "--quieter", list.to_str().unwrap()]);
        kubo.cli(&["name", "publish", "--allow-offline", &format!("/ipfs/{root}")]);
        let name = kubo.id();
        Self { kubo, name }
    }
}

/// A node that mirrors the lister with a Kubo as its backend.
pub struct Mirror {
    directory: tempfile::TempDir,
}

impl Mirror {
    /// Configures it; nothing runs yet.
    pub fn new(lister: &Lister, kubo: &Kubo) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let config = format!(
            "[node]\ndata_dir = {data:?}\n[roles]\nconsortium = true\n\
             [ipfs]\nbackend = \"kubo\"\napi = \"{api}\"\n\
             [consortium]\npeers = [\"lister={name}\"]\nmax_pins = 100000\n\
             [hoster]\nmin_free_disk = \"64MiB\"\n[status]\nlisten = \"127.0.0.1:0\"\n",
            api = kubo.url(),
            name = lister.name,
        );
        fs::write(directory.path().join("scatter.toml"), config).unwrap();
        Self { directory }
    }

    /// A command of the program with its configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scatter"));
        command.args(arguments).arg("--config").arg(self.directory.path().join("scatter.toml"));
        command.current_dir(self.directory.path());
        command
    }

    /// Where the node keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Does one round in a process of its own; gives the time from its start to its end, and what it told.
    pub fn round(&self) -> (Duration, Value) {
        let begun = Instant::now();
        let output = self.command(&["mirror", "--once", "--json"]).output().unwrap();
        let took = begun.elapsed();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (took, serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// Seconds, rounded to a tenth of a millisecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10_000.0
}

/// A ratio, rounded to two digits.
pub fn ratio(of: Duration, to: Duration) -> f64 {
    (of.as_secs_f64() / to.as_secs_f64() * 100.0).round() / 100.0
}

/// The middle of some times.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
