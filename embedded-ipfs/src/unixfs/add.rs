//! Cuts a file into blocks: a balanced tree, built from the left as the bytes come.

use bytes::Bytes;
use cid::{Cid, Version};
use tokio::sync::mpsc;

use super::{inner, leaf};
use crate::block::{cid_of, DAG_PB, RAW};
use crate::core::Core;
use crate::dag::pb::Link;
use crate::dag::Sight;
use crate::store::Guard;
use crate::{AddOptions, Added, Error, PinReport};

/// Links of a node, as in Kubo: 174 make it about 8 KiB.
const WIDTH: usize = 174;
/// Bytes of blocks that are stored together.
const BATCH: usize = 4 << 20;

/// Adds the file whose chunks come in. `None` is the end of the file; without it (the caller failed, or went away) nothing
/// is pinned.
pub(crate) async fn add(
    core: Core,
    options: AddOptions,
    mut chunks: mpsc::Receiver<Option<Bytes>>,
) -> Result<Added, Error> {
    let mut tree = Tree {
        options,
        guard: core.store.guard(),
        levels: vec![Level::default()],
        ready: Vec::new(),
        bytes: 0,
    };
    let mut size = 0;
    while let Some(chunk) = chunks.recv().await.ok_or(Error::Stopped)? {
        size += chunk.len() as u64;
        tree.push_leaf(chunk);
        if tree.ready.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() >= BATCH {
            core.put(std::mem::take(&mut tree.ready)).await?;
        }
    }
    if size == 0 {
        tree.push_leaf(Bytes::new());
    }
    let cid = tree.finish();
    core.put(std::mem::take(&mut tree.ready)).await?;
    if options.pin {
        core.store.record_pin(PinReport { cid, blocks: tree.guard.len(), bytes: tree.bytes }).await?;
    }
    Ok(Added { cid, size })
}

struct Tree {
    options: AddOptions,
    /// Blocks so far; safe from a sweep until the pin is recorded.
    guard: Guard,
    /// Children that still lack a parent, leaves first. A level is closed when a child more than fits it comes, so that
    /// the last node of each is as full as can be.
    levels: Vec<Level>,
    /// Blocks to store.
    ready: Vec<(Cid, Bytes)>,
    /// Bytes of distinct blocks.
    bytes: u64,
}

#[derive(Default)]
struct Level {
    links: Vec<Link>,
    sizes: Vec<u64>,
}

impl Tree {
    fn push_leaf(&mut self, chunk: Bytes) {
        let size = chunk.len() as u64;
        let link = if self.options.raw_leaves {
            self.block(Version::V1, RAW, chunk, 0)
        } else {
            self.block(self.version(), DAG_PB, leaf(&chunk).into(), 0)
        };
        self.push(0, link, size);
    }

    fn version(&self) -> Version {
        if self.options.cid_v1 {
            Version::V1
        } else {
            Version::V0
        }
    }

    /// Makes a block; `below` is the total of its links.
    fn block(&mut self, version: Version, codec: u64, bytes: Bytes, below: u64) -> Link {
        let cid = cid_of(version, codec, &bytes);
        let total_size = below + bytes.len() as u64;
        if self.guard.see(&cid) == Sight::New {
            self.bytes += bytes.len() as u64;
            self.ready.push((cid, bytes));
        }
        Link { cid, total_size }
    }

    fn push(&mut self, level: usize, link: Link, size: u64) {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        if self.levels[level].links.len() == WIDTH {
            self.close(level);
        }
        self.levels[level].links.push(link);
        self.levels[level].sizes.push(size);
    }

    fn close(&mut self, level: usize) {
        let Level { links, sizes } = std::mem::take(&mut self.levels[level]);
        let below = links.iter().map(|link| link.total_size).sum();
        let link = self.block(self.version(), DAG_PB, inner(&links, &sizes).into(), below);
        self.push(level + 1, link, sizes.iter().sum());
    }

    /// Closes what is open, up to the root.
    fn finish(&mut self) -> Cid {
        let mut level = 0;
        loop {
            let top = level + 1 == self.levels.len();
            if let ([root], true) = (&self.levels[level].links[..], top) {
                return root.cid;
            }
            self.close(level);
            level += 1;
        }
    }
}
