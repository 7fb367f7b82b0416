//! Cuts a file into blocks: a balanced tree, built from the left as the bytes come.

use bytes::Bytes;
use cid::Version;

use super::{inner, leaf};
use crate::batch::Batch;
use crate::block::{DAG_PB, RAW};
use crate::dag::pb::Link;
use crate::AddOptions;

/// A file in the making.
pub(super) struct File {
    options: AddOptions,
    /// Children that still lack a parent, leaves first. A level is closed when a child more than fits it comes, so that
    /// the last node of each is as full as can be.
    levels: Vec<Level>,
    /// Bytes so far.
    pub(super) size: u64,
}

#[derive(Default)]
struct Level {
    links: Vec<Link<'static>>,
    sizes: Vec<u64>,
}

impl File {
    pub(super) fn new(options: AddOptions) -> File {
        File { options, levels: vec![Level::default()], size: 0 }
    }

    /// Appends a chunk of the file.
    pub(super) fn push_leaf(&mut self, chunk: Bytes, batch: &mut Batch) {
        let size = chunk.len() as u64;
        self.size += size;
        let link = if self.options.raw_leaves {
            batch.block(Version::V1, RAW, chunk, 0)
        } else {
            batch.block(self.options.version(), DAG_PB, leaf(&chunk).into(), 0)
        };
        self.push(0, link, size, batch);
    }

    fn push(&mut self, level: usize, link: Link<'static>, size: u64, batch: &mut Batch) {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        if self.levels[level].links.len() == self.options.max_links {
            self.close(level, batch);
        }
        self.levels[level].links.push(link);
        self.levels[level].sizes.push(size);
    }

    fn close(&mut self, level: usize, batch: &mut Batch) {
        let Level { links, sizes } = std::mem::take(&mut self.levels[level]);
        let below = links.iter().map(|link| link.total_size).sum();
        let link = batch.block(self.options.version(), DAG_PB, inner(&links, &sizes).into(), below);
        self.push(level + 1, link, sizes.iter().sum(), batch);
    }

    /// Closes what is open, up to the root.
    pub(super) fn finish(mut self, batch: &mut Batch) -> Link<'static> {
        if self.levels[0].links.is_empty() && self.levels.len() == 1 {
            self.push_leaf(Bytes::new(), batch);
        }
        let mut level = 0;
        loop {
            let top = level + 1 == self.levels.len();
            if let ([root], true) = (&self.levels[level].links[..], top) {
                return *root;
            }
            self.close(level, batch);
            level += 1;
        }
    }
}
