//! Upkeep: finds roots that are needed and that the backend has pinned no more, and brings them again.
//!
//! Nobody tells when somebody runs `ipfs pin rm`, or when a repository is put back as it was yesterday: a hoster
//! would learn it from the audit that it fails. The store goes on saying that the root is here meanwhile: its room
//! is taken, and its bid hosted. The disk's floor holds for what is brought again as for everything else: what has no
//! room above it waits, and has the next that comes free.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;

use super::bring::{pin, Broken};
use super::queue::Root;
use super::Pinner;
use crate::acting_as;
use crate::domain::dag;
use crate::domain::units::{ByteSize, WallTime};
use crate::planted::{planted, Bug};
use crate::ports::ipfs::{self, Ipfs, Reach};
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
    running: BTreeMap<Root, Bringing>,
    /// Those for which the disk has no room, and the bytes that are missing of each.
    held: BTreeMap<Root, u64>,
}

/// A lost root that is being brought.
struct Bringing {
    handle: SpawnHandle,
    /// Bytes that may come for it.
    claim: u64,
}

/// What became of a lost root.
enum Back {
    Here,
    /// The disk has no room for its missing bytes.
    NoRoom {
        missing: u64,
    },
}

impl Comparing {
    /// Bytes that may come for what is being brought.
    fn under_way(&self) -> u64 {
        self.running.values().map(|bringing| bringing.claim).fold(0, u64::saturating_add)
    }

    /// Bytes that no root of a peer may take: what is lost goes before what never was here.
    pub(super) fn claimed(&self) -> u64 {
        self.held.values().copied().fold(self.under_way(), u64::saturating_add)
    }
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
        batch.put(&Upkeep { looked: Some(asked), lost: lost.len() as u64, no_room: 0, ..before });
        store.commit(batch)?;
        self.comparing.held.clear();
        self.comparing.waiting = lost;
        Ok(())
    }

    fn bring_lost(&mut self, ctx: &mut Context<Self>) {
        while self.comparing.running.len() < AT_ONCE {
            let Some(root) = self.comparing.waiting.pop_front() else { return };
            match store::read::<Pin>(&*self.ports.store, &root) {
                Ok(Some(pin)) if pin.pinned_at.is_some() && pin.unneeded_since.is_none() => {
                    self.bring_back(root, &pin, ctx);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a lost root could not be read; looking again later"),
            }
        }
    }

    fn bring_back(&mut self, root: Root, pin: &Pin, ctx: &mut Context<Self>) {
        let (ipfs, cid, bytes) = (Rc::clone(&self.ports.ipfs), pin.cid, pin.bytes);
        let room = self.room_for_lost();
        let idle = Duration::from_millis(self.config.mirroring.idle_ms);
        let bring = async move { bring_back(&*ipfs, cid, bytes, room, idle).await };
        let asked = Rc::clone(&root);
        let handle = ctx.work(acting_as!("pinner", %cid), bring, move |back, this: &mut Self, ctx| {
            this.comparing.running.remove(&asked);
            match back {
                Ok(Back::Here) => {
                    tracing::info!("a lost root is here again");
                    this.note(|upkeep| {
                        upkeep.lost = upkeep.lost.saturating_sub(1);
                        upkeep.restored += 1;
                    });
                }
                Ok(Back::NoRoom { missing }) => {
                    tracing::warn!(missing, room, "a lost root has to wait: the disk has no room for it");
                    this.comparing.held.insert(asked, missing);
                    this.note_held();
                }
                Err(why) => tracing::warn!(%why, "a lost root did not come; trying again later"),
            }
            this.bring_lost(ctx);
        });
        self.comparing.running.insert(root, Bringing { handle, claim: bytes.min(room) });
    }

    /// Bytes that may still come for lost roots. The storage that the operator gives bounds them no more: the store
    /// says that they are here. The disk does.
    fn room_for_lost(&self) -> u64 {
        let free = self.ports.disk.free().map_or_else(
            |error| {
                tracing::warn!(%error, "the room that is left could not be told; what is lost waits");
                0
            },
            |free| free.0.saturating_sub(self.config.mirroring.min_free_disk.0),
        );
        free.saturating_sub(self.mirror.queue.reserved()).saturating_sub(self.comparing.under_way())
    }

    /// Brings what waited for the disk and has room now. Not while the backend is asked for its pins: its answer will call
    /// what is held lost once more.
    pub(super) fn bring_held(&mut self, ctx: &mut Context<Self>) {
        if self.comparing.held.is_empty() || self.comparing.asking {
            return;
        }
        let mut room = self.room_for_lost();
        let Comparing { held, waiting, .. } = &mut self.comparing;
        held.retain(|root, missing| {
            let fits = *missing <= room;
            if fits {
                room -= *missing;
                waiting.push_back(Rc::clone(root));
            }
            !fits
        });
        self.note_held();
        self.bring_lost(ctx);
    }

    /// Tells how many wait for the disk, if that changed.
    fn note_held(&self) {
        let held = self.comparing.held.len() as u64;
        self.note(|upkeep| upkeep.no_room = held);
    }

    fn note(&self, change: impl FnOnce(&mut Upkeep)) {
        let store = &*self.ports.store;
        let noted = Upkeep::read(store).and_then(|before| {
            let mut after = before;
            change(&mut after);
            if after == before {
                return Ok(());
            }
            let mut batch = Batch::new();
            batch.put(&after);
            store.commit(batch)
        });
        if let Err(error) = noted {
            tracing::error!(%error, "what became of lost roots could not be noted");
        }
    }

    /// Brings a root no more: it is being released, and must not come back behind that.
    pub(super) fn forget_lost(&mut self, root: &Root, ctx: &mut Context<Self>) {
        self.comparing.waiting.retain(|lost| lost != root);
        if self.comparing.held.remove(root).is_some() {
            self.note_held();
        }
        if let Some(bringing) = self.comparing.running.remove(root) {
            ctx.cancel_future(bringing.handle);
        }
    }
}

/// Brings a lost root of so many bytes again, unless that takes more than there is room for. Where its blocks are here
/// still, as after `ipfs pin rm`, it takes none: they are read only where it matters.
async fn bring_back(
    ipfs: &dyn Ipfs,
    root: Cid,
    bytes: u64,
    room: u64,
    idle: Duration,
) -> Result<Back, Broken> {
    if bytes > room {
        let missing = bytes.saturating_sub(bytes_here(ipfs, root).await?);
        if missing > room {
            return Ok(Back::NoRoom { missing });
        }
    }
    // It was within every bound when it came first, and a root never names more than it did.
    pin(ipfs, root, ByteSize(u64::MAX), idle).await?;
    Ok(Back::Here)
}

/// Bytes of a root's blocks that are here, as far down as they hang together.
async fn bytes_here(ipfs: &dyn Ipfs, root: Cid) -> Result<u64, ipfs::Error> {
    let (mut bytes, mut seen, mut ahead) = (0, BTreeSet::new(), vec![root]);
    while let Some(cid) = ahead.pop() {
        if dag::is_identity(&cid) || !seen.insert(cid.hash().to_bytes()) {
            continue;
        }
        if let Some(block) = ipfs.block(cid, Reach::Local).await? {
            bytes += block.len() as u64;
            // What lies below a block of a kind that we do not read counts as missing.
            ahead.extend(dag::links(&cid, &block).unwrap_or_default());
        }
    }
    Ok(bytes)
}
