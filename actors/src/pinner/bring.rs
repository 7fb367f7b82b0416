//! Brings wanted roots, as many at once as allowed, and writes those that came down together.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::queue::{Root, Start};
use super::Pinner;
use crate::acting_as;
use crate::domain::units::ByteSize;
use crate::ports::disk;
use crate::ports::ipfs::{self, Ipfs, Progress};
use crate::ports::store::{self, Batch};
use crate::records::hosting::{change_pin, Pin};
use crate::records::room::Room;
use crate::work::Works;

/// Roots that came within this time are written down together, unless somebody asks before: a commit costs as much for
/// one as for a hundred, rewrites as many pages, and waits for the same disk as the backend.
const GATHER: Duration = Duration::from_millis(500);
/// How long the backend may take to say who it is.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two questions to a backend that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Why a root did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// Nothing more came.
    #[error("{root} brought nothing for {} s", idle.as_secs())]
    Idle {
        /// Which root.
        root: Cid,
        /// So long.
        idle: Duration,
    },
    /// The backend gave up.
    #[error(transparent)]
    Ipfs(#[from] ipfs::Error),
}

/// Pins, and gives up when nothing has come for as long as `idle`.
pub(super) async fn pin(
    ipfs: &dyn Ipfs,
    root: Cid,
    cap: ByteSize,
    idle: Duration,
) -> Result<Progress, Broken> {
    let newest = Rc::new(Cell::new(Progress::default()));
    let report = {
        let newest = Rc::clone(&newest);
        Rc::new(move |progress| newest.set(progress))
    };
    let mut pin = ipfs.pin(root, cap, report);
    loop {
        let before = newest.get();
        match tokio::time::timeout(idle, &mut pin).await {
            Ok(done) => return Ok(done?),
            Err(_) if newest.get() == before => return Err(Broken::Idle { root, idle }),
            Err(_) => {}
        }
    }
}

/// Why nobody knows how many bytes may still come.
#[derive(Debug, thiserror::Error)]
enum NoRoom {
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A root that is being brought. Dropping it breaks that off.
pub(super) struct Task {
    number: u64,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// What became of a root that was being brought.
pub(super) struct Brought {
    root: Root,
    /// Of which task.
    number: u64,
    cap: u64,
    outcome: Result<Progress, Broken>,
}

impl StreamHandler<Brought> for Pinner {
    fn handle(&mut self, brought: Brought, ctx: &mut Self::Context) {
        self.brought(brought, ctx);
    }
}

impl Pinner {
    /// Bytes that may still come: within the storage that the operator gives, and above the disk's floor. Looked up
    /// at each sweep and whenever something was written down; what came since is off it.
    pub(super) fn room(&mut self) -> u64 {
        match self.mirror.open {
            Some(open) => open,
            None => {
                let open = self.look_for_room().unwrap_or_else(|error| {
                    tracing::warn!(%error, "the room that is left could not be told; nothing is brought");
                    0
                });
                self.mirror.open = Some(open);
                open
            }
        }
    }

    fn look_for_room(&self) -> Result<u64, NoRoom> {
        let bounds = &self.config.mirroring;
        let disk = self.ports.disk.free()?.0.saturating_sub(bounds.min_free_disk.0);
        let disk = disk.saturating_sub(self.comparing.claimed());
        let Some(most) = bounds.max_storage else { return Ok(disk) };
        let room = Room::read(&*self.ports.store)?;
        // What is leaving counts no more: it may be wanted again, and has to find its own place.
        let unwritten = self.mirror.came.values().map(|came| came.bytes).fold(0, u64::saturating_add);
        let taken = room.pinned_bytes.saturating_add(room.promised_bytes).saturating_add(unwritten);
        Ok(disk.min(most.0.saturating_sub(taken)))
    }

    /// Begins to bring roots until every place is taken.
    pub(super) fn fill(&mut self) {
        if !self.mirror.loaded || self.mirror.doubted {
            return;
        }
        let room = self.room();
        while let Some(start) = self.mirror.queue.next(room) {
            if let Err(error) = self.bring(&start) {
                tracing::error!(%error, "a pin could not be read; trying again");
                self.mirror.queue.failed(&start.root, self.ports.clock.monotonic(), false);
                return;
            }
        }
    }

    fn bring(&mut self, start: &Start) -> Result<(), store::Error> {
        let Start { root, cap } = start.clone();
        let Some(pin_record) = store::read::<Pin>(&*self.ports.store, &root)? else {
            // Every root in the queue has its record; should one be lost, the next look at its owner writes it anew.
            tracing::error!(root = hex::encode(&root), "a wanted root has no record of its pin");
            self.mirror.queue.failed(&root, self.ports.clock.monotonic(), true);
            return Ok(());
        };
        let (ipfs, cid) = (Rc::clone(&self.ports.ipfs), pin_record.cid);
        let idle = Duration::from_millis(self.config.mirroring.idle_ms);
        let (number, tell) = (self.mirror.next_number(), self.mirror.tell.clone());
        let asked = Rc::clone(&root);
        // A task of its own: the actor's context would poll all of them whenever one moves.
        let work = async move {
            let outcome = pin(&*ipfs, cid, ByteSize(cap), idle).await;
            // Nobody hears it if the actor has died; the next one finds the root in the store.
            let _unheard = tell.unbounded_send(Brought { root: asked, number, cap, outcome });
        };
        let task = actix::spawn(work.instrument(acting_as!("pinner", %cid)));
        self.mirror.running.insert(root, Task { number, handle: task });
        Ok(())
    }

    /// Stops bringing a root.
    pub(super) fn break_off(&mut self, root: &Root) {
        self.mirror.running.remove(root);
    }

    fn brought(&mut self, Brought { root, number, cap, outcome }: Brought, ctx: &mut Context<Self>) {
        if self.mirror.running.get(&root).is_none_or(|task| task.number != number) {
            // It was broken off when it had just ended.
            return;
        }
        self.mirror.running.remove(&root);
        let root = &root;
        let now = self.ports.clock.monotonic();
        match outcome {
            // What the backend has already is not cut off by a cap.
            Ok(Progress { bytes, .. }) if bytes > cap => self.too_large(root, now),
            Err(Broken::Ipfs(ipfs::Error::TooLarge { .. })) => self.too_large(root, now),
            Ok(progress) => {
                self.mirror.queue.came(root, progress.bytes);
                self.mirror.open = self.mirror.open.map(|open| open.saturating_sub(progress.bytes));
                if self.mirror.came.is_empty() {
                    ctx.run_later(GATHER, |this, _| this.write_came_or_tell());
                }
                self.mirror.came.insert(Rc::clone(root), progress);
            }
            Err(why) => {
                tracing::debug!(root = hex::encode(root), %why, "a root did not come");
                let hopeless = matches!(&why, Broken::Ipfs(error) if !error.is_transient());
                self.mirror.queue.failed(root, now, hopeless);
                if matches!(why, Broken::Ipfs(ipfs::Error::Unreachable(_))) {
                    self.doubt(ctx);
                }
            }
        }
        self.fill();
    }

    fn too_large(&mut self, root: &Root, now: u64) {
        let room = self.room();
        if self.mirror.queue.too_large(root, now, room) {
            tracing::warn!(root = hex::encode(root), "a root is larger than the bytes that are left for it");
        }
    }

    pub(super) fn write_came_or_tell(&mut self) {
        if let Err(error) = self.write_came() {
            tracing::error!(%error, "what came could not be written down; trying again");
        }
    }

    /// Writes down what came, all of it together.
    ///
    /// # Errors
    /// If the store fails; then nothing is forgotten.
    pub(super) fn write_came(&mut self) -> Result<(), store::Error> {
        let store = &*self.ports.store;
        let now = self.ports.clock.wall();
        let mut batch = Batch::new();
        for (root, progress) in &self.mirror.came {
            if let Some(pin) = store::read::<Pin>(store, root)? {
                let (bytes, blocks) = (progress.bytes, progress.blocks);
                let came = Pin { bytes, blocks, pinned_at: Some(now), ..pin.clone() };
                change_pin(store, &mut batch, Some(&pin), &came)?;
            }
        }
        if !batch.is_empty() {
            store.commit(batch)?;
            self.mirror.open = None;
        }
        self.mirror.came.clear();
        Ok(())
    }

    /// The backend seems to be away: nothing is begun until it says who it is, lest every root is tried in vain.
    fn doubt(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.mirror.doubted, true) {
            return;
        }
        self.ask_backend(ctx);
    }

    fn ask_backend(&mut self, ctx: &mut Context<Self>) {
        let ipfs = Rc::clone(&self.ports.ipfs);
        let ask = async move { matches!(tokio::time::timeout(ANSWER, ipfs.identity()).await, Ok(Ok(_))) };
        ctx.work(acting_as!("pinner"), ask, |answered, this, ctx| {
            if answered {
                this.mirror.doubted = false;
                this.fill();
            } else {
                tracing::warn!("the ipfs backend does not answer; nothing is brought until it does");
                ctx.run_later(ASK_AGAIN, |this, ctx| this.ask_backend(ctx));
            }
        });
    }
}
