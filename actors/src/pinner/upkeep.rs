//! Upkeep: finds roots that are needed and that the backend has pinned no more, and brings them again.
//!
//! Nobody tells when somebody runs `ipfs pin rm`, or when a repository is put back as it was yesterday: a hoster
//! would learn it from the audit that it fails. The store goes on saying that the root is here meanwhile: its room
//! is taken, and its bid hosted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;

use super::bring::pin;
use super::queue::Root;
use super::Pinner;
use crate::acting_as;
use crate::domain::units::{ByteSize, WallTime};
use crate::planted::{planted, Bug};
use crate::ports::store::{self, Batch};
use crate::records::hosting::{root_key, Pin};
use crate::records::upkeep::Upkeep;
use crate::work::Works;

/// Lost roots that are brought at once: new content comes beside them.
const AT_ONCE: usize = 4;
/// What was pinned so shortly before the question may be missing from an answer that the adapter has kept for others.
const SETTLED_MS: u64 = 60_000;

/// The comparison under way.
#[derive(Default)]
pub(super) struct Comparing {
    asking: bool,
    waiting: VecDeque<Root>,
    running: BTreeMap<Root, SpawnHandle>,
}

impl Pinner {
    /// Asks the backend for its pins, unless what was lost at the last look is still being brought.
    pub(super) fn compare(&mut self, ctx: &mut Context<Self>) {
        let busy = &self.comparing;
        if busy.asking || !busy.waiting.is_empty() || !busy.running.is_empty() || planted(Bug::TrustPins) {
            return;
        }
        self.comparing.asking = true;
        let (ipfs, asked) = (Rc::clone(&self.ports.ipfs), self.ports.clock.wall());
        let ask = async move { ipfs.pins().await };
        ctx.work(acting_as!("pinner"), ask, move |listed, this: &mut Self, ctx| {
            this.comparing.asking = false;
            match listed.map(|listed| this.find_lost(&listed, asked)) {
                Ok(Ok(())) => this.bring_lost(ctx),
                Ok(Err(error)) => tracing::error!(%error, "pins could not be compared with the backend's"),
                Err(error) => tracing::warn!(%error, "the backend did not list its pins; asking again later"),
            }
        });
    }

    /// Notes what is lost. A pin of somebody else that went is ours when we make it again: that stands in the store
    /// before the backend is asked for it.
    fn find_lost(&mut self, listed: &[Cid], asked: WallTime) -> Result<(), store::Error> {
        let store = &*self.ports.store;
        let here: BTreeSet<Vec<u8>> = listed.iter().map(root_key).collect();
        let (mut batch, mut lost) = (Batch::new(), VecDeque::new());
        store::visit::<Pin>(store, &[], |pin| {
            // Apart in either direction: a clock that was set back must not hide what is lost.
            let settled = pin.pinned_at.is_some_and(|at| at.0.abs_diff(asked.0) >= SETTLED_MS);
            if !settled || pin.unneeded_since.is_some() || here.contains(&root_key(&pin.cid)) {
                return;
            }
            tracing::warn!(cid = %pin.cid, bytes = pin.bytes, "the backend has a needed root pinned no more");
            lost.push_back(root_key(&pin.cid).into());
            if pin.foreign {
                batch.put(&Pin { foreign: false, ..pin });
            }
        })?;
        let before = Upkeep::read(store)?;
        batch.put(&Upkeep { looked: Some(asked), lost: lost.len() as u64, ..before });
        store.commit(batch)?;
        self.comparing.waiting = lost;
        Ok(())
    }

    fn bring_lost(&mut self, ctx: &mut Context<Self>) {
        while self.comparing.running.len() < AT_ONCE {
            let Some(root) = self.comparing.waiting.pop_front() else { return };
            match store::read::<Pin>(&*self.ports.store, &root) {
                Ok(Some(pin)) if pin.pinned_at.is_some() && pin.unneeded_since.is_none() => {
                    self.bring_back(root, pin.cid, ctx);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a lost root could not be read; looking again later"),
            }
        }
    }

    fn bring_back(&mut self, root: Root, cid: Cid, ctx: &mut Context<Self>) {
        let ipfs = Rc::clone(&self.ports.ipfs);
        let idle = Duration::from_millis(self.config.mirroring.idle_ms);
        // It was within every bound when it came first, and a root never names more than it did.
        let bring = async move { pin(&*ipfs, cid, ByteSize(u64::MAX), idle).await };
        let asked = Rc::clone(&root);
        let handle = ctx.work(acting_as!("pinner", %cid), bring, move |brought, this: &mut Self, ctx| {
            this.comparing.running.remove(&asked);
            match brought {
                Ok(_) => {
                    tracing::info!(%cid, "a lost root is here again");
                    this.note_restored();
                }
                Err(why) => tracing::warn!(%cid, %why, "a lost root did not come; trying again later"),
            }
            this.bring_lost(ctx);
        });
        self.comparing.running.insert(root, handle);
    }

    fn note_restored(&self) {
        let store = &*self.ports.store;
        let noted = Upkeep::read(store).and_then(|before| {
            let (lost, restored) = (before.lost.saturating_sub(1), before.restored + 1);
            let mut batch = Batch::new();
            batch.put(&Upkeep { lost, restored, ..before });
            store.commit(batch)
        });
        if let Err(error) = noted {
            tracing::error!(%error, "a restored root could not be counted");
        }
    }

    /// Brings a root no more: it is being released, and must not come back behind that.
    pub(super) fn forget_lost(&mut self, root: &Root, ctx: &mut Context<Self>) {
        self.comparing.waiting.retain(|lost| lost != root);
        if let Some(handle) = self.comparing.running.remove(root) {
            ctx.cancel_future(handle);
        }
    }
}
