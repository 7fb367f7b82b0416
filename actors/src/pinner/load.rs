//! What the pinner derives from the store when it starts, and what it says of it when asked.

use std::collections::HashMap;
use std::rc::Rc;

use super::queue::Root;
use super::{Mirrored, Pinner};
use crate::ports::store::{self, Batch, Record};
use crate::records::consortium::{kept, Kept};
use crate::records::hosting::{root_key, set_unneeded, visit_references, Owner, Pin, Unneeded};
use crate::records::room::Room;

/// Pins mended in one batch.
const MENDED: usize = 500;

/// What is known of a pin while references are counted.
struct Seen {
    bytes: u64,
    complete: bool,
    unneeded: bool,
    needed: bool,
}

impl Pinner {
    /// Derives the queue from references and pins, in one pass over each, and mends pins whose grace does not
    /// fit their references: those that write references are not all as careful as we are.
    pub(super) fn load(&mut self) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let mirror = &mut self.mirror;
        let mut pins = HashMap::<Root, Seen>::new();
        store::visit::<Pin>(&*store, &[], |pin| {
            let (complete, unneeded) = (pin.pinned_at.is_some(), pin.unneeded_since.is_some());
            pins.insert(pin.key().into(), Seen { bytes: pin.bytes, complete, unneeded, needed: false });
        })?;
        // A peer whose set became empty has no references, and may be gone.
        store::visit::<Kept>(&*store, b"k", |kept| {
            mirror.queue.know(&Rc::new(Owner::Peer(kept.name)));
        })?;
        let mut owner = Rc::new(Owner::Manual);
        visit_references(&*store, |reference| {
            if *owner != reference.owner {
                owner = Rc::new(reference.owner);
            }
            let root: Root = root_key(&reference.cid).into();
            let Some(pin) = pins.get_mut(&root) else {
                // The operator's are looked at anyway, and a bid makes its own.
                if matches!(*owner, Owner::Peer(_)) {
                    mirror.behind.insert(Rc::clone(&owner));
                }
                return;
            };
            pin.needed = true;
            match (&*owner, pin.complete) {
                (Owner::Bid(_), _) => return,
                (_, true) => mirror.queue.have(&owner, pin.bytes),
                (_, false) => mirror.queue.want(&root, &owner, 0),
            }
            if *owner == Owner::Manual {
                mirror.own.insert(root);
            }
        })?;
        let odd = pins.into_iter().filter(|(_, pin)| pin.unneeded || !pin.needed);
        let odd: Vec<(Root, bool)> = odd.map(|(root, pin)| (root, pin.needed)).collect();
        self.mend(&odd)?;
        if Room::mend(&*store)? {
            tracing::warn!("the room that pins and bids take was written down wrong, and is counted anew");
        }
        self.mirror.loaded = true;
        Ok(())
    }

    /// Begins or ends the grace of pins, by whether anybody needs them, and lets those be found whose grace runs.
    fn mend(&self, roots: &[(Root, bool)]) -> Result<(), store::Error> {
        let store = &*self.ports.store;
        let now = self.ports.clock.wall();
        for some in roots.chunks(MENDED) {
            let mut batch = Batch::new();
            for (root, needed) in some {
                let Some(pin) = store::read::<Pin>(store, root)? else { continue };
                let since = if *needed { None } else { pin.unneeded_since.or(Some(now)) };
                let entry = since.map(|since| Unneeded { cid: pin.cid, since }.key());
                let found = entry.map_or(Ok(None), |key| store.get(Unneeded::TABLE, &key))?.is_some();
                if pin.unneeded_since != since || (since.is_some() && !found) {
                    set_unneeded(&mut batch, pin, since);
                }
            }
            if !batch.is_empty() {
                store.commit(batch)?;
            }
        }
        Ok(())
    }

    /// How much of each peer's set is here.
    pub(super) fn mirrored(&self, peer: Option<&str>) -> Vec<Mirrored> {
        let named = |owner: &Owner| match owner {
            Owner::Peer(name) => Some(name.clone()).filter(|name| peer.is_none_or(|peer| peer == name)),
            Owner::Bid(_) | Owner::Manual => None,
        };
        let found = self.mirror.queue.owners().filter_map(|(owner, counts)| Some((named(owner)?, counts)));
        let row = |(peer, counts): (String, super::queue::Counts)| {
            let generation_kept = kept(&*self.ports.store, &peer).map_or(0, |kept| kept.generation);
            Mirrored {
                roots: counts.roots(),
                pinned: counts.pinned,
                pending: counts.pending,
                failing: counts.failing,
                too_large: counts.too_large,
                over_limit: self.mirror.over_limit.get(&peer).copied().unwrap_or_default(),
                bytes: counts.bytes,
                generation_kept,
                peer,
            }
        };
        found.map(row).collect()
    }
}
