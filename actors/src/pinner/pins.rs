//! Releases: a root is unpinned only when nobody needs it, its grace is over, and the pin is ours.

use std::rc::Rc;

use actix::prelude::*;
use futures::stream::{self, StreamExt};

use super::queue::Root;
use super::Pinner;
use crate::acting_as;
use crate::domain::units::WallTime;
use crate::planted::{planted, Bug};
use crate::ports::ipfs;
use crate::ports::store::{self, Batch, Order, Record};
use crate::records::hosting::{
    change_pin, forget_leaf, forget_pin, leaves_of, pin_of, references, set_unneeded, unneeded,
    unneeded_after, Owner, Pin, Reference, Unneeded,
};
use crate::work::Works;

/// Leaves forgotten in one batch.
const LEAVES_A_BATCH: usize = 1_000;
/// Roots released together.
const RELEASES: usize = 64;
/// Of these, asked of the backend at once.
const UNPINS: usize = 8;
/// A release that failed is tried again after so many milliseconds.
const AGAIN_MS: u64 = 60_000;

type Unpinned = (Pin, Result<(), ipfs::Error>);

impl Pinner {
    /// Unpins what is due, some roots together, unless references are being changed: nobody comes to need a
    /// root while it is being released, but a bid, and that waits.
    pub(super) fn release(&mut self, ctx: &mut Context<Self>) {
        if !self.releasing.is_empty() || self.mirror.reconciling.is_some() || !self.mirror.loaded {
            return;
        }
        let pins = match self.begin_release() {
            Ok(pins) if pins.is_empty() => return,
            Ok(pins) => pins,
            Err(error) => return tracing::error!(%error, "pins could not be read"),
        };
        self.releasing = pins.iter().map(|pin| Root::from(pin.key())).collect();
        for root in self.releasing.clone() {
            self.forget_lost(&root, ctx);
        }
        let ipfs = Rc::clone(&self.ports.ipfs);
        let work = async move {
            let unpin = |pin: Pin| {
                let ipfs = Rc::clone(&ipfs);
                async move {
                    let spared = pin.foreign && !planted(Bug::UnpinForeign);
                    let done = if spared { Ok(()) } else { ipfs.unpin(pin.cid).await };
                    (pin, done)
                }
            };
            stream::iter(pins).map(unpin).buffer_unordered(UNPINS).collect::<Vec<Unpinned>>().await
        };
        ctx.work(acting_as!("pinner"), work, |unpinned, this, ctx| {
            this.releasing.clear();
            match this.end_release(unpinned) {
                // Whoever wants roots kept goes first.
                Ok(()) => {
                    this.reconcile_next(ctx);
                    this.release(ctx);
                }
                Err(error) => tracing::error!(%error, "releases could not be written down; trying again"),
            }
        });
    }

    /// Pins whose grace is over and that nobody needs, asked of the references themselves once more. From now on
    /// the store says that they are not here: whoever comes to need one pins it again, whatever becomes of us.
    fn begin_release(&mut self) -> Result<Vec<Pin>, store::Error> {
        self.write_came()?;
        self.mend_graces()?;
        let store = &*self.ports.store;
        let until = WallTime(self.ports.clock.wall().0.saturating_sub(self.config.grace_ms));
        let (mut batch, mut pins) = (Batch::new(), Vec::new());
        for unneeded in unneeded(store, until, RELEASES)? {
            let pin = pin_of(store, &unneeded.cid)?;
            match pin.filter(|pin| pin.unneeded_since == Some(unneeded.since)) {
                Some(pin) if is_needed(store, &pin)? => set_unneeded(&mut batch, pin, None),
                Some(pin) => {
                    if pin.pinned_at.is_some() {
                        let leaving = Pin { pinned_at: None, ..pin.clone() };
                        change_pin(store, &mut batch, Some(&pin), &leaving)?;
                    }
                    pins.push(pin);
                }
                // An entry of a moment that does not count any more.
                None => batch.delete::<Unneeded>(&unneeded.key()),
            }
        }
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        self.mirror.open = None;
        Ok(pins)
    }

    /// A grace that began in the future would last until a clock that was set back is there again: it begins now.
    fn mend_graces(&self) -> Result<(), store::Error> {
        let (store, now) = (&*self.ports.store, self.ports.clock.wall());
        let latest = WallTime(now.0.saturating_add(AGAIN_MS));
        let mut batch = Batch::new();
        for late in unneeded_after(store, latest, RELEASES)? {
            match pin_of(store, &late.cid)?.filter(|pin| pin.unneeded_since == Some(late.since)) {
                Some(pin) => set_unneeded(&mut batch, pin, Some(now)),
                None => batch.delete::<Unneeded>(&late.key()),
            }
        }
        match batch.is_empty() {
            true => Ok(()),
            false => store.commit(batch),
        }
    }

    fn end_release(&mut self, unpinned: Vec<Unpinned>) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let mut batch = Batch::new();
        for (asked, done) in unpinned {
            let Some(pin) = store::read::<Pin>(&*store, &asked.key())? else { continue };
            if let Err(error) = done {
                tracing::warn!(cid = %pin.cid, %error, "a root could not be released; trying again");
                let again =
                    self.ports.clock.wall().0.saturating_add(AGAIN_MS).saturating_sub(self.config.grace_ms);
                if pin.unneeded_since.is_some() {
                    set_unneeded(&mut batch, pin, Some(WallTime(again)));
                }
                continue;
            }
            let references = references(&*store, &pin.cid)?;
            if references.is_empty() {
                forget_leaves(&*store, &pin, &mut batch)?;
                forget_pin(&*store, &mut batch, &pin)?;
                tracing::info!(cid = %pin.cid, bytes = pin.bytes, "content released");
            } else {
                // Somebody came to need it meanwhile. A bid's fetch pins it again, the operator's look wants it.
                set_unneeded(&mut batch, pin, None);
                if references.iter().any(|reference| reference.owner == Owner::Manual) {
                    self.mirror.own_due = true;
                }
            }
        }
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        Ok(())
    }
}

/// Whether anybody needs a pin's root.
fn is_needed(store: &dyn store::Store, pin: &Pin) -> Result<bool, store::Error> {
    if planted(Bug::CountReferencesOnce) {
        return Ok(false);
    }
    let prefix = [vec![b'r'], pin.key()].concat();
    Ok(!store::list::<Reference>(store, &prefix, Order::Ascending, 1)?.is_empty())
}

/// Forgets the leaves below a root; the last of them in the batch given.
fn forget_leaves(store: &dyn store::Store, pin: &Pin, last: &mut Batch) -> Result<(), store::Error> {
    loop {
        let leaves = leaves_of(store, &pin.cid, LEAVES_A_BATCH)?;
        if leaves.len() < LEAVES_A_BATCH {
            leaves.iter().for_each(|leaf| forget_leaf(last, leaf));
            return Ok(());
        }
        let mut batch = Batch::new();
        leaves.iter().for_each(|leaf| forget_leaf(&mut batch, leaf));
        store.commit(batch)?;
    }
}
