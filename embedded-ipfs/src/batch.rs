//! Blocks in the making: stored some together, each once, safe from a sweep until the pin of their root is recorded.

use bytes::Bytes;
use cid::{Cid, Version};

use crate::block::cid_of;
use crate::core::Core;
use crate::dag::pb::Link;
use crate::dag::Sight;
use crate::store::Guard;
use crate::{Error, PinReport};

/// Bytes of blocks that are stored together.
const FULL: usize = 4 << 20;

pub(crate) struct Batch {
    core: Core,
    guard: Guard,
    /// Blocks to store.
    ready: Vec<(Cid, Bytes)>,
    ready_bytes: usize,
    /// Bytes of all distinct blocks so far.
    bytes: u64,
}

impl Batch {
    pub(crate) fn new(core: Core) -> Batch {
        let guard = core.store.guard();
        Batch { core, guard, ready: Vec::new(), ready_bytes: 0, bytes: 0 }
    }

    /// Makes a block; `below` is the total of its links. The answer is a link to it, without a name.
    pub(crate) fn block(&mut self, version: Version, codec: u64, bytes: Bytes, below: u64) -> Link<'static> {
        let cid = cid_of(version, codec, &bytes);
        let total_size = below + bytes.len() as u64;
        self.take(cid, bytes);
        Link { name: b"", cid, total_size }
    }

    /// Takes a block whose hash was checked.
    pub(crate) fn take(&mut self, cid: Cid, bytes: Bytes) {
        if self.guard.see(&cid) == Sight::New {
            self.bytes += bytes.len() as u64;
            self.ready_bytes += bytes.len();
            self.ready.push((cid, bytes));
        }
    }

    /// Distinct blocks so far, and their bytes.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.guard.len(), self.bytes)
    }

    /// Stores what is ready if it is much.
    pub(crate) async fn relieve(&mut self) -> Result<(), Error> {
        if self.ready_bytes < FULL {
            return Ok(());
        }
        self.flush().await
    }

    /// Stores what is ready.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.ready_bytes = 0;
        self.core.put(std::mem::take(&mut self.ready)).await
    }

    /// Stores the rest, and pins the root of all that was made if it is to be.
    pub(crate) async fn finish(mut self, root: Cid, pin: bool) -> Result<(), Error> {
        self.flush().await?;
        if pin {
            let (blocks, bytes) = self.counts();
            self.core.record_pin(PinReport { cid: root, blocks, bytes }).await?;
        }
        Ok(())
    }
}
