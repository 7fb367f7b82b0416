//! References and pins: a root is unpinned only when nobody needs it, its grace is over, and the pin is ours.

use std::rc::Rc;

use actix::prelude::*;
use cid::Cid;

use super::Pinner;
use crate::domain::admission::byte_cap;
use crate::domain::units::{ByteSize, WallTime};
use crate::ports::ipfs::{self, Ipfs};
use crate::ports::store::{self, Batch, Order, Record, Store};
use crate::records::hosting::{
    forget_leaf, leaves_of, refer, references, root_key, unrefer, Owner, Pin, Reference,
};

/// Leaves forgotten in one batch.
const LEAVES_A_BATCH: usize = 1_000;

/// The pin of a root, if we know of one.
pub(super) fn of(store: &dyn Store, cid: &Cid) -> Result<Option<Pin>, store::Error> {
    store::read::<Pin>(store, &root_key(cid))
}

/// Writes that somebody needs a root.
pub(super) fn keep(store: &dyn Store, batch: &mut Batch, cid: Cid, owner: Owner) -> Result<(), store::Error> {
    if store::read::<Reference>(store, &Reference::new(cid, owner.clone()).key())?.is_none() {
        refer(batch, cid, owner);
    }
    if let Some(pin) = of(store, &cid)?.filter(|pin| pin.unneeded_since.is_some()) {
        batch.put(&Pin { unneeded_since: None, ..pin });
    }
    Ok(())
}

/// Writes that somebody needs a root no more; if nobody does, its grace begins.
pub(super) fn let_go(
    store: &dyn Store,
    batch: &mut Batch,
    cid: Cid,
    owner: Owner,
    now: WallTime,
) -> Result<(), store::Error> {
    let needed = references(store, &cid)?.iter().any(|other| other.owner != owner);
    unrefer(batch, cid, owner);
    if let (false, Some(pin)) = (needed, of(store, &cid)?) {
        batch.put(&Pin { unneeded_since: pin.unneeded_since.or(Some(now)), ..pin });
    }
    Ok(())
}

impl Pinner {
    /// Unpins what is due, one root after another.
    pub(super) fn release(&mut self, ctx: &mut Context<Self>) {
        if self.releasing.is_some() {
            return;
        }
        let pin = match self.next_release() {
            Ok(Some(pin)) => pin,
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "pins could not be read"),
        };
        self.releasing = Some(pin.cid);
        let (ipfs, store) = (Rc::clone(&self.ports.ipfs), Rc::clone(&self.ports.store));
        let release = async move { unpin(&*ipfs, &*store, &pin).await }.into_actor(self);
        ctx.spawn(release.map(|released, this, ctx| {
            this.releasing = None;
            match released {
                Ok(()) => this.release(ctx),
                Err(fault) => tracing::warn!(%fault, "a root could not be released; trying again"),
            }
        }));
    }

    /// A pin whose grace is over and that nobody needs, asked of the references themselves once more.
    fn next_release(&self) -> Result<Option<Pin>, store::Error> {
        let store = &*self.ports.store;
        let now = self.ports.clock.wall();
        for pin in store::list::<Pin>(store, &[], Order::Ascending, usize::MAX)? {
            let over = pin.unneeded_since.is_some_and(|since| now.since(since) >= self.config.grace_ms);
            if over && references(store, &pin.cid)?.is_empty() {
                return Ok(Some(pin));
            }
        }
        Ok(None)
    }
}

/// Why a root was not released.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Ipfs(#[from] ipfs::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Unpins a root and forgets it; pins it again if somebody came to need it meanwhile.
async fn unpin(ipfs: &dyn Ipfs, store: &dyn Store, pin: &Pin) -> Result<(), Fault> {
    if !pin.foreign {
        ipfs.unpin(pin.cid).await?;
    }
    if !references(store, &pin.cid)?.is_empty() {
        ipfs.pin(pin.cid, byte_cap(ByteSize(pin.bytes)), Rc::new(|_| ())).await?;
        return Ok(());
    }
    forget(store, pin)?;
    tracing::info!(cid = %pin.cid, bytes = pin.bytes, "content released");
    Ok(())
}

/// Forgets a pin and the leaves below it.
fn forget(store: &dyn Store, pin: &Pin) -> Result<(), store::Error> {
    loop {
        let leaves = leaves_of(store, &pin.cid, LEAVES_A_BATCH)?;
        let mut batch = Batch::new();
        leaves.iter().for_each(|leaf| forget_leaf(&mut batch, leaf));
        let last = leaves.len() < LEAVES_A_BATCH;
        if last {
            batch.delete::<Pin>(&pin.key());
        }
        store.commit(batch)?;
        if last {
            return Ok(());
        }
    }
}
