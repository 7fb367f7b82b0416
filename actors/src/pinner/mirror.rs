//! Makes the references of each peer, and the pins of the operator's own references, what they should be.
//!
//! References, and a record for every pin, are written before the backend is asked for anything; whose a pin is
//! that the backend has already is found out before, by one listing. Changes go in batches between which others
//! have their turn, and the last of them says which generation stands: whoever dies before does it again.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures::channel::mpsc::{unbounded, UnboundedReceiver, UnboundedSender};

use super::bring::{Brought, Task};
use super::plan::{self, End, Move, Plan};
use super::queue::{Queue, Root};
use super::{Bounds, Pinner};
use crate::acting_as;
use crate::ports::ipfs::Progress;
use crate::ports::store::{self, Batch, Record};
use crate::records::consortium::{kept, peers, standing, Kept};
use crate::records::hosting::Owner;
use crate::work::Works;

/// References changed in one batch.
const CHANGES: usize = 250;
/// Between two looks at the operator's own references when nobody tells, in milliseconds.
const OWN_LOOK_MS: u64 = 60_000;

/// What the pinner knows of peers and of wanted roots, derived from the store at its start.
pub(super) struct Mirror {
    /// Whether it is derived yet.
    pub(super) loaded: bool,
    /// The backend does not answer.
    pub(super) doubted: bool,
    pub(super) queue: Queue,
    /// Roots that are being brought.
    pub(super) running: BTreeMap<Root, Task>,
    /// Where they end, and the other end until the actor starts.
    pub(super) tell: UnboundedSender<Brought>,
    pub(super) told: Option<UnboundedReceiver<Brought>>,
    /// Counts them.
    number: u64,
    /// Roots that came and are not written down yet.
    pub(super) came: BTreeMap<Root, Progress>,
    /// Bytes that may still come, as last looked up, less what came since; `None`: to be looked up.
    pub(super) open: Option<u64>,
    /// Whose references are being changed.
    pub(super) reconciling: Option<Rc<Owner>>,
    /// The operator's own references may have changed.
    pub(super) own_due: bool,
    /// Owners whose references are to be looked at.
    pub(super) behind: BTreeSet<Rc<Owner>>,
    /// Roots that the operator needs, as last seen.
    pub(super) own: BTreeSet<Root>,
    own_looked_ms: u64,
    /// Bytes and roots that each peer may take, as last seen.
    bounds: BTreeMap<String, (u64, u64)>,
    /// Roots of a peer beyond those that are kept for it.
    pub(super) over_limit: BTreeMap<String, u64>,
    /// Counts changes of references.
    round: u64,
    /// Room at the last look at those for which there was none.
    room: u64,
}

impl Mirror {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let (tell, told) = unbounded();
        Self {
            loaded: false,
            doubted: false,
            queue: Queue::new(bounds.at_once, bounds.per_peer, bounds.retry),
            running: BTreeMap::new(),
            tell,
            told: Some(told),
            number: 0,
            came: BTreeMap::new(),
            open: None,
            reconciling: None,
            own_due: true,
            behind: BTreeSet::new(),
            own: BTreeSet::new(),
            own_looked_ms: 0,
            bounds: BTreeMap::new(),
            over_limit: BTreeMap::new(),
            round: 0,
            room: u64::MAX,
        }
    }

    /// A number that no task had.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}

impl Pinner {
    /// Looks for owners whose references are not what they should be, and for roots whose time has come.
    pub(super) fn look_at_owners(&mut self, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        if !self.mirror.loaded {
            self.load()?;
        }
        let now = self.ports.clock.monotonic();
        self.look_at_peers()?;
        if self.mirror.own_due || now.saturating_sub(self.mirror.own_looked_ms) >= OWN_LOOK_MS {
            (self.mirror.own_due, self.mirror.own_looked_ms) = (false, now);
            self.mirror.behind.insert(Rc::new(Owner::Manual));
        }
        self.mirror.queue.retry(now);
        let room = self.room();
        if room / 9 > self.mirror.room / 8 {
            let owners: Vec<_> = self.mirror.queue.owners().map(|(owner, _)| Rc::clone(owner)).collect();
            owners.iter().for_each(|owner| self.mirror.queue.reconsider(owner, room));
            self.mirror.room = room;
        }
        self.mirror.room = self.mirror.room.min(room);
        self.write_came()?;
        self.reconcile_next(ctx);
        Ok(())
    }

    fn look_at_peers(&mut self) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let room = self.room();
        let mut gone: BTreeSet<Rc<Owner>> =
            self.mirror.queue.owners().map(|(owner, _)| Rc::clone(owner)).collect();
        gone.remove(&Owner::Manual);
        for peer in peers(&*store)? {
            let owner = Rc::new(Owner::Peer(peer.name.clone()));
            gone.remove(&owner);
            let standing = standing(&*store, &peer.name)?;
            let (generation, listed) =
                standing.map_or((0, 0), |standing| (standing.generation, standing.roots));
            let kept = kept(&*store, &peer.name)?.generation;
            let bounds = (peer.max_bytes.0, peer.max_pins);
            let roots = self.mirror.queue.counts(&owner).roots();
            let before = self.mirror.bounds.insert(peer.name.clone(), bounds);
            // At the first look nobody knows by which bounds the references were chosen.
            let by_others = match before {
                Some(before) => before != bounds,
                None => roots != listed.min(peer.max_pins),
            };
            if before != Some(bounds) {
                self.mirror.queue.limit(&owner, bounds.0, room);
            }
            if by_others || generation != kept {
                self.mirror.behind.insert(owner);
            }
        }
        self.mirror.behind.extend(gone);
        Ok(())
    }

    /// Begins with the next owner that is behind, unless roots are being released: what the backend has then is
    /// not what it will have.
    pub(super) fn reconcile_next(&mut self, ctx: &mut Context<Self>) {
        if !self.mirror.loaded || self.mirror.reconciling.is_some() || !self.releasing.is_empty() {
            return;
        }
        let Some(owner) = self.mirror.behind.pop_first() else { return };
        self.mirror.round += 1;
        self.mirror.reconciling = Some(Rc::clone(&owner));
        let (ipfs, store) = (Rc::clone(&self.ports.ipfs), Rc::clone(&self.ports.store));
        let own = self.mirror.own.clone();
        let span = match &*owner {
            Owner::Peer(peer) => acting_as!("pinner", peer),
            Owner::Bid(_) | Owner::Manual => acting_as!("pinner"),
        };
        let work = async move { plan::draw(&*store, &*ipfs, owner, own).await };
        ctx.work(span, work, |drawn, this: &mut Self, ctx| match drawn {
            Ok(plan) => this.reconcile(plan, ctx),
            Err(fault) => {
                tracing::warn!(%fault, "references could not be looked at; trying again");
                this.mirror.behind.extend(this.mirror.reconciling.take());
            }
        });
    }

    /// Changes some references, then lets others have their turn.
    fn reconcile(&mut self, mut plan: Plan, ctx: &mut Context<Self>) {
        match self.reconcile_some(&mut plan) {
            Ok(true) => {
                self.mirror.reconciling = None;
                // What is due goes first, so that neither waits for ever.
                self.release(ctx);
                self.reconcile_next(ctx);
            }
            Ok(false) => {
                ctx.run_later(Duration::ZERO, |this, ctx| this.reconcile(plan, ctx));
            }
            Err(error) => {
                tracing::error!(%error, "references could not be changed; trying again");
                self.mirror.behind.extend(self.mirror.reconciling.take());
            }
        }
        self.fill();
    }

    /// Changes some references. Tells whether all is done.
    fn reconcile_some(&mut self, plan: &mut Plan) -> Result<bool, store::Error> {
        // Bytes and pins are counted by what the store says.
        self.write_came()?;
        let store = Rc::clone(&self.ports.store);
        let mut batch = Batch::new();
        let moves = plan.take(&*store, &mut batch, CHANGES, self.ports.clock.wall())?;
        let done = plan.is_done();
        if let (true, Owner::Peer(name)) = (done, &*plan.owner) {
            match plan.end {
                End::Kept { generation, .. } => batch.put(&Kept { name: name.clone(), generation }),
                End::Gone => batch.delete::<Kept>(&Kept { name: name.clone(), generation: 0 }.key()),
                End::Seen => {}
            }
        }
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        for moved in moves {
            self.apply(moved, &plan.owner);
        }
        if done {
            self.reconciled(plan);
        }
        Ok(done)
    }

    fn apply(&mut self, moved: Move, owner: &Rc<Owner>) {
        let mirror = &mut self.mirror;
        if **owner == Owner::Manual {
            match &moved {
                Move::Have(root, _) | Move::Want(root) => mirror.own.insert(Rc::clone(root)),
                Move::DropPinned(root, _) | Move::DropWanted(root) => mirror.own.remove(root),
            };
        }
        match moved {
            Move::Have(_, bytes) => mirror.queue.have(owner, bytes),
            Move::Want(root) => mirror.queue.want(&root, owner, mirror.round),
            Move::DropPinned(_, bytes) => mirror.queue.drop_pinned(owner, bytes),
            Move::DropWanted(root) => {
                if mirror.queue.drop_wanted(&root, owner) {
                    self.break_off(&root);
                }
            }
        }
    }

    fn reconciled(&mut self, plan: &Plan) {
        let room = self.room();
        self.mirror.queue.reconsider(&plan.owner, room);
        let Owner::Peer(name) = &*plan.owner else { return };
        let roots = self.mirror.queue.counts(&plan.owner).roots();
        match plan.end {
            End::Gone => {
                self.mirror.queue.forget(&plan.owner);
                self.mirror.bounds.remove(name);
                self.mirror.over_limit.remove(name);
                tracing::info!(peer = name, "a peer is mirrored no more");
            }
            End::Kept { generation, over_limit } => {
                if over_limit > 0 {
                    tracing::warn!(peer = name, over_limit, "a peer lists more roots than are kept for it");
                }
                self.mirror.over_limit.insert(name.clone(), over_limit);
                tracing::info!(peer = name, generation, roots, "references stand");
            }
            End::Seen => {}
        }
    }
}
