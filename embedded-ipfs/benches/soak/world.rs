//! The three parties, what they hold, and what was done.

use std::collections::BTreeMap;
use std::sync::Mutex as StdMutex;

use embedded_ipfs::Cid;
use serde_json::{json, Value};
use tokio::sync::{Mutex, RwLock};

use crate::party::{Ours, Party};
use crate::support::ipfs::Daemon;

/// A file, and who has it pinned.
pub struct Content {
    /// What its bytes are made of.
    pub seed: u64,
    pub size: usize,
    pub cid: Cid,
    pub holders: Vec<usize>,
}

/// What was done how often.
#[derive(Default)]
pub struct Tally(StdMutex<BTreeMap<&'static str, u64>>);

impl Tally {
    pub fn note(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn all(&self) -> Value {
        json!(*self.0.lock().unwrap())
    }
}

pub struct World {
    pub parties: Vec<Party>,
    /// The contents of each lane, which alone changes them.
    pub books: Vec<Mutex<Vec<Content>>>,
    /// Held to do something, and alone to check.
    pub going: RwLock<()>,
    pub tally: Tally,
}

impl World {
    /// All three connected with one another, and to stay so.
    pub async fn new(kubo: Daemon, lanes: usize) -> World {
        let first = Ours::start(vec![kubo.address.clone()]).await;
        let second = Ours::start(vec![kubo.address.clone(), first.address()]).await;
        World {
            parties: vec![Party::Ours(first), Party::Ours(second), Party::Kubo(kubo)],
            books: (0..lanes).map(|_| Mutex::default()).collect(),
            going: RwLock::default(),
            tally: Tally::default(),
        }
    }

    pub fn kubo(&self) -> &Daemon {
        let kubo = self.parties.iter().find_map(|party| match party {
            Party::Kubo(kubo) => Some(kubo),
            Party::Ours(_) => None,
        });
        kubo.expect("one is a Kubo")
    }

    pub fn ours(&self) -> impl Iterator<Item = (usize, &Ours)> {
        self.parties.iter().enumerate().filter_map(|(number, party)| match party {
            Party::Ours(ours) => Some((number, ours)),
            Party::Kubo(_) => None,
        })
    }

    /// What is said each minute.
    pub fn line(&self, sample: Option<&(f64, f64, f64)>) -> String {
        let (_, ours, theirs) = sample.copied().unwrap_or_default();
        format!("all is there; {} done; memory {ours:.1} MiB, Kubo's {theirs:.1} MiB", self.tally.all())
    }

    /// The counters of our nodes, of which one began anew with each restart.
    pub async fn stats(&self) -> Value {
        let mut all = Vec::new();
        for (_, ours) in self.ours() {
            let stats = ours.node.read().await.stats().await.unwrap();
            all.push(json!({
                "blocks": stats.blocks, "bytes": stats.bytes, "disk_bytes": stats.disk_bytes, "pins": stats.pins,
                "received_blocks": stats.received_blocks, "sent_blocks": stats.sent_blocks,
                "unwanted_blocks": stats.unwanted_blocks, "late_blocks": stats.late_blocks,
                "left_peers": stats.left_peers, "wants": stats.wants,
            }));
        }
        json!(all)
    }
}
