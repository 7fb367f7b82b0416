//! What every request works with: the store, and bitswap behind it. Lives on the node's own runtime.

use std::future::Future;

use bytes::Bytes;
use cid::Cid;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::bitswap::engine::Event;
use crate::bitswap::Bitswap;
use crate::block::{check_known_hash, inline, Key, DAG_PB, RAW};
use crate::dag::{knows, links, Seen, Sight};
use crate::providing::Change;
use crate::seek::Seek;
use crate::store::{Meta, Store};
use crate::{Error, PinReport, Walked};

#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) bitswap: Bitswap,
    pub(crate) seek: Seek,
    /// Where changes of pins are told; `None` without hash tables.
    pub(crate) pins: Option<mpsc::Sender<Change>>,
}

/// A block's place in a DAG.
#[derive(Clone, Debug)]
pub(crate) struct Visited {
    pub(crate) size: u64,
    pub(crate) links: Vec<Cid>,
}

impl Core {
    /// A block from itself, the store or the network. On the node's own runtime only: it has a timer.
    pub(crate) async fn get(&self, cid: Cid) -> Result<Bytes, Error> {
        if let Some(bytes) = inline(&cid) {
            return Ok(Bytes::copy_from_slice(bytes));
        }
        check_known_hash(&cid)?;
        tokio::select! {
            biased;
            block = self.bitswap.get(cid) => block,
            never = self.seek.search(cid) => match never {},
        }
    }

    /// For what lies below a root: others are asked for the root where a block is not found.
    pub(crate) fn below(&self, root: Cid) -> Core {
        Core { seek: self.seek.below(root), ..self.clone() }
    }

    /// Records a pin whose blocks are all here, and has it told.
    pub(crate) async fn record_pin(&self, pin: PinReport) -> Result<(), Error> {
        let cid = pin.cid;
        self.store.record_pin(pin).await?;
        self.tell(Change::Pinned(cid)).await;
        Ok(())
    }

    /// Forgets a pin; says whether there was one.
    pub(crate) async fn remove_pin(&self, cid: Cid) -> Result<bool, Error> {
        let existed = self.store.remove_pin(cid).await?;
        self.tell(Change::Unpinned(cid)).await;
        Ok(existed)
    }

    async fn tell(&self, change: Change) {
        if let Some(pins) = &self.pins {
            let _ = pins.send(change).await; // fails only when the node stops
        }
    }

    /// Stores blocks, and lets those know who wait for them, here or at peers.
    pub(crate) async fn put(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), Error> {
        self.store.put(blocks.iter().map(|(cid, bytes)| (Key::of(cid), bytes.clone())).collect()).await?;
        self.bitswap.tell(Event::Stored(blocks)).await
    }

    /// A block's size and links, fetched if it is not here. Leaves that are here are not read.
    pub(crate) async fn visit(&self, cid: Cid) -> Result<Visited, Error> {
        let store = self.store.clone();
        let here = spawn_blocking(move || visit_local(&store, &cid)).await;
        if let Some(visited) = here.unwrap_or(Err(Error::Stopped))? {
            return Ok(visited);
        }
        let bytes = self.get(cid).await?;
        Ok(Visited { size: bytes.len() as u64, links: links(&cid, &bytes)? })
    }
}

/// A block's size and links, if it is in the store.
pub(crate) fn visit_local(store: &Store, cid: &Cid) -> Result<Option<Visited>, Error> {
    check_codec(cid)?;
    let key = Key::of(cid);
    let Some(meta) = store.meta(&key)? else {
        return Ok(None);
    };
    if is_leaf(cid, meta) {
        return Ok(Some(Visited { size: meta.size, links: Vec::new() }));
    }
    let Some(bytes) = store.get(&key)? else {
        return Ok(None);
    };
    Ok(Some(Visited { size: meta.size, links: links(cid, &bytes)? }))
}

fn is_leaf(cid: &Cid, meta: Meta) -> bool {
    cid.codec() == RAW || (cid.codec() == DAG_PB && meta.pb_leaf)
}

/// Refuses a DAG whose links could not be followed before anything of it is fetched.
pub(crate) fn check_codec(cid: &Cid) -> Result<(), Error> {
    if !knows(cid.codec()) {
        return Err(Error::Codec(cid.codec()));
    }
    check_known_hash(cid)
}

/// Everything that the pins reach, from the store alone. All that is missing of it is told there, and is an error in the
/// end. Blocks.
pub(crate) fn reachable(store: &Store) -> Result<Seen, Error> {
    let mut walk = LocalWalk { past_missing: true, ..walk_of(store, Vec::new()) };
    let mut missing = None;
    for pin in store.pins() {
        walk.stack.push(pin?.cid);
        for walked in &mut walk {
            match walked {
                Ok(_) => {}
                Err(Error::NotHere(cid)) => {
                    store.miss(&Key::of(&cid));
                    missing.get_or_insert(cid);
                }
                Err(error) => return Err(error),
            }
        }
    }
    missing.map_or(Ok(walk.seen), |cid| Err(Error::NotHere(cid)))
}

/// The distinct blocks below a root, each once, depth first in the order of the links, from the store alone. Ends after an
/// error. Blocks.
pub(crate) fn walk_local(store: &Store, root: Cid) -> LocalWalk<'_> {
    walk_of(store, vec![root])
}

fn walk_of(store: &Store, stack: Vec<Cid>) -> LocalWalk<'_> {
    LocalWalk { store, seen: Seen::default(), stack, past_missing: false }
}

/// A walk through the store; see [`walk_local`].
pub(crate) struct LocalWalk<'s> {
    store: &'s Store,
    seen: Seen,
    stack: Vec<Cid>,
    /// Goes on where a block is missing, instead of ending there.
    past_missing: bool,
}

impl Iterator for LocalWalk<'_> {
    type Item = Result<Walked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let cid = self.stack.pop()?;
            let sight = if inline(&cid).is_some() { Sight::Known } else { self.seen.see(&cid) };
            if sight == Sight::Known {
                continue;
            }
            match visit_local(self.store, &cid).and_then(|visited| visited.ok_or(Error::NotHere(cid))) {
                Ok(Visited { size, links }) => {
                    let walked = Walked { cid, size, links: links.len() };
                    self.stack.extend(links.into_iter().rev());
                    if sight == Sight::New {
                        return Some(Ok(walked));
                    }
                }
                Err(error) => {
                    if !(self.past_missing && matches!(error, Error::NotHere(_))) {
                        self.stack.clear();
                    }
                    return Some(Err(error));
                }
            }
        }
    }
}

/// A task of the node's runtime that ends when nobody waits for it any more.
pub(crate) struct Task<T>(tokio::task::JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(
        runtime: &tokio::runtime::Handle,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        Task(runtime.spawn(work))
    }

    /// Waits for the end; dropping the future ends the task. A stopped runtime is [`Error::Stopped`].
    pub(crate) async fn join(mut self) -> Result<T, Error> {
        (&mut self.0).await.map_err(|_| Error::Stopped)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
