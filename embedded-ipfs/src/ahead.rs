//! Blocks of a DAG in the order in which they are wanted, with some of them asked for ahead.

use std::collections::VecDeque;

use bytes::Bytes;
use cid::Cid;
use tokio::runtime::Handle;

use crate::core::{Core, Task};
use crate::Error;

/// Blocks asked for ahead of the reader.
const AHEAD: usize = 16;

pub(crate) struct Ahead<T> {
    core: Core,
    runtime: Handle,
    queue: VecDeque<Slot<T>>,
    /// Blocks that are known of and not yet read: far more than any honest DAG has open, and memory that a hostile one may
    /// take.
    most: usize,
}

struct Slot<T> {
    cid: Cid,
    about: T,
    block: Option<Task<Result<Bytes, Error>>>,
}

impl<T> Ahead<T> {
    /// On the node's own runtime only.
    pub(crate) fn new(core: Core, most: usize) -> Ahead<T> {
        Ahead { core, runtime: Handle::current(), queue: VecDeque::new(), most }
    }

    /// What comes next from now on, in this order.
    pub(crate) fn push_front(&mut self, blocks: Vec<(Cid, T)>) -> Result<(), Error> {
        if self.queue.len() + blocks.len() > self.most {
            return Err(Error::TooManyBlocks { limit: self.most as u64 });
        }
        for (cid, about) in blocks.into_iter().rev() {
            self.queue.push_front(Slot { cid, about, block: None });
        }
        Ok(())
    }

    /// The next block.
    pub(crate) async fn next(&mut self) -> Option<(Cid, T, Result<Bytes, Error>)> {
        for slot in self.queue.iter_mut().take(AHEAD).filter(|slot| slot.block.is_none()) {
            let (core, cid) = (self.core.clone(), slot.cid);
            slot.block = Some(Task::spawn(&self.runtime, async move { core.get(cid).await }));
        }
        let Slot { cid, about, block } = self.queue.pop_front()?;
        let block = block?.join().await.unwrap_or_else(Err);
        Some((cid, about, block))
    }
}
