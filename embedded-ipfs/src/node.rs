//! The handle of a running node.

mod adding;
mod archives;
mod collect;
mod files;
mod mend;
mod names;
mod routing;
mod start;
mod verify;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cid::{Cid, Version};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ipns_record::{Name, SigningKey};
use libp2p::{Multiaddr, PeerId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch, Semaphore};

pub use self::adding::Adding;
use self::collect::Garbage;
use self::verify::Readings;
use crate::bitswap::service::Traffic;
use crate::block::{check_size, cid_of, inline, Key};
use crate::core::{walk_local, Core, Task};
use crate::dht::Counts;
use crate::publishing::Book;
use crate::store::{lock, Store, PAGE};
use crate::swarm::{peer_of, Command, View};
use crate::{Config, Error, Peer, PinLimits, PinReport, Progress, Stats, Swept, Walked};

/// A running node. Clones are the same node; it stops at [`Node::stop`], or when the last clone is dropped.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Node").field(&self.inner.id).finish()
    }
}

struct Inner {
    id: PeerId,
    key: SigningKey,
    core: Core,
    runtime: Handle,
    swarm: mpsc::Sender<Command>,
    view: Arc<Mutex<View>>,
    traffic: Traffic,
    counts: Arc<Counts>,
    asking: Semaphore,
    book: Arc<Mutex<Book>>,
    readings: Arc<Readings>,
    /// Where changes of the book are told, and whether their records were taken; `None` without hash tables.
    publishing: Option<mpsc::Sender<(Name, bool)>>,
    garbage: Garbage,
    /// After how long to collect garbage again.
    collect_later: mpsc::Sender<Option<Duration>>,
    /// Dropping it stops the node.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    ended: watch::Receiver<bool>,
}

impl Node {
    /// Opens the store, loads or makes the key, and starts listening and dialling, on threads of its own.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Key`], [`Error::Listen`], [`Error::Address`], [`Error::Io`], [`Error::Store`],
    /// [`Error::Format`], [`Error::Published`].
    pub async fn start(config: Config) -> Result<Node, Error> {
        Ok(Node { inner: Arc::new(start::start(config).await?) })
    }

    /// Stops the node: requests in flight end with [`Error::Stopped`], what was acknowledged is on disk, and the data
    /// directory is free when this returns. A second call waits for the first.
    pub async fn stop(&self) {
        drop(lock(&self.inner.stop).take());
        let mut ended = self.inner.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await; // an error: the thread is gone, too
    }

    /// This node's identity.
    pub fn peer_id(&self) -> PeerId {
        self.inner.id
    }

    /// Addresses listened on, and those announced, each with this node's `/p2p/` part.
    pub fn addrs(&self) -> Vec<Multiaddr> {
        lock(&self.inner.view).addresses.clone()
    }

    /// Connected peers, in the order of their ids.
    pub fn peers(&self) -> Vec<Peer> {
        lock(&self.inner.view).peers.clone()
    }

    /// Dials a peer once, unless it is connected, and waits until it has said what it is. The address has a `/p2p/` part; if
    /// it is nothing else, the hash tables are asked where the peer is.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Unreachable`].
    pub async fn connect(&self, peer: Multiaddr) -> Result<PeerId, Error> {
        let id = peer_of(&peer)?;
        let bare = peer.iter().count() == 1;
        let addresses = if bare { self.find_peer(&id).await? } else { vec![peer] };
        let (reply, answer) = oneshot::channel();
        self.command(Command::Dial { peer: id, addresses, reply }).await?;
        answer.await.map_err(|_| Error::Stopped)??;
        Ok(id)
    }

    /// Stays connected with a peer until the node stops: dials it now, and again whenever it is lost, with growing pauses
    /// of at most 75 s.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub async fn keep(&self, peer: Multiaddr) -> Result<PeerId, Error> {
        let id = peer_of(&peer)?;
        self.command(Command::Keep { peer: id, address: peer }).await?;
        Ok(id)
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.inner.swarm.send(command).await.map_err(|_| Error::Stopped)
    }

    /// A block, from the store or else from connected peers, or from peers that the hash tables tell of. Waits as long as it takes: put a timeout around it; dropping
    /// the future takes the want back.
    ///
    /// # Errors
    /// [`Error::Hash`], [`Error::Store`], [`Error::Full`].
    pub async fn get(&self, cid: &Cid) -> Result<Bytes, Error> {
        let (core, cid) = (self.inner.core.clone(), *cid);
        Task::spawn(&self.inner.runtime, async move { core.get(cid).await }).join().await?
    }

    /// A block, if it is in the store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn local(&self, cid: &Cid) -> Result<Option<Bytes>, Error> {
        if let Some(bytes) = inline(cid) {
            return Ok(Some(Bytes::copy_from_slice(bytes)));
        }
        let key = Key::of(cid);
        self.blocking(move |store| store.get(&key)).await
    }

    /// Whether a block is in the store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn has(&self, cid: &Cid) -> Result<bool, Error> {
        Ok(self.size(cid).await?.is_some())
    }

    /// The bytes of a block in the store, by the index alone.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn size(&self, cid: &Cid) -> Result<Option<u64>, Error> {
        if let Some(bytes) = inline(cid) {
            return Ok(Some(bytes.len() as u64));
        }
        let key = Key::of(cid);
        Ok(self.blocking(move |store| store.meta(&key)).await?.map(|meta| meta.size))
    }

    /// Stores a block under its sha2-256 CID of version 1. Durable on return; unpinned, so the next [`Node::gc`] removes it.
    ///
    /// # Errors
    /// [`Error::BlockTooLarge`], [`Error::Full`], [`Error::Store`].
    pub async fn put(&self, codec: u64, bytes: impl Into<Bytes>) -> Result<Cid, Error> {
        let (core, bytes) = (self.inner.core.clone(), bytes.into());
        check_size(&bytes)?;
        let work = async move {
            let cid = cid_of(Version::V1, codec, &bytes);
            core.put(vec![(cid, bytes)]).await?;
            Ok(cid)
        };
        Task::spawn(&self.inner.runtime, work).join().await?
    }

    /// Fetches what is missing of a DAG and pins it, by no name. See [`Node::pin_named`], which is the same otherwise.
    ///
    /// # Errors
    /// Those of [`Node::pin_named`].
    pub async fn pin(
        &self,
        cid: &Cid,
        limits: PinLimits,
        progress: impl FnMut(Progress),
    ) -> Result<PinReport, Error> {
        self.fetch_and_pin(*cid, None, limits, progress).await
    }

    /// Fetches what is missing of a DAG and pins it by a name, at most 255 bytes, which need not be the only one. `progress` is called on the caller's task when the counts grew; a DAG
    /// whose blocks cannot be found makes no progress and no end, so watch it. The pin is recorded, durably, once every
    /// block is here. Dropping the future ends the work; what came stays until the next [`Node::gc`], so a second call
    /// resumes, after a restart or a kill, too. A root that is pinned already answers from its record, which gets the name.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`], [`Error::TooManyBlocks`], [`Error::TooDeep`], [`Error::PinName`], [`Error::Codec`],
    /// [`Error::Hash`], [`Error::Malformed`], [`Error::Store`], [`Error::Full`].
    pub async fn pin_named(
        &self,
        cid: &Cid,
        name: &str,
        limits: PinLimits,
        progress: impl FnMut(Progress),
    ) -> Result<PinReport, Error> {
        self.fetch_and_pin(*cid, Some(name.to_owned()), limits, progress).await
    }

    async fn fetch_and_pin(
        &self,
        cid: Cid,
        name: Option<String>,
        limits: PinLimits,
        progress: impl FnMut(Progress),
    ) -> Result<PinReport, Error> {
        let (tell, told) = watch::channel(Progress::default());
        let pinning = crate::pin::pin(self.inner.core.clone(), cid, name, limits, tell);
        watched(Task::spawn(&self.inner.runtime, pinning), told, progress).await
    }

    /// Forgets a pin; says whether there was one. Its blocks stay until [`Node::gc`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn unpin(&self, cid: &Cid) -> Result<bool, Error> {
        self.inner.core.remove_pin(*cid).await
    }

    /// All pins, in the order of their CIDs' bytes, some hundreds in memory at a time. Pins that come and go meanwhile may
    /// be among them or not. Ends after an error: [`Error::Store`] or [`Error::Stopped`].
    pub fn pins(&self) -> BoxStream<'static, Result<PinReport, Error>> {
        let (store, runtime) = (self.inner.core.store.clone(), self.inner.runtime.clone());
        let pages = futures::stream::try_unfold(Some(None), move |after: Option<Option<Cid>>| {
            let (store, runtime) = (store.clone(), runtime.clone());
            async move {
                let Some(after) = after else { return Ok::<_, Error>(None) };
                let page = runtime.spawn_blocking(move || store.pins_after(after.as_ref(), PAGE));
                let page = page.await.map_err(|_| Error::Stopped)??;
                let next = (page.len() == PAGE).then(|| page.last().map(|pin| pin.cid));
                Ok(Some((futures::stream::iter(page.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    /// The pin of a root, whatever the version of the CID.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn pinned(&self, cid: &Cid) -> Result<Option<PinReport>, Error> {
        let cid = *cid;
        self.blocking(move |store| store.pin(&cid)).await
    }

    /// Whether a root is pinned, whatever the version of the CID.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn is_pinned(&self, cid: &Cid) -> Result<bool, Error> {
        Ok(self.pinned(cid).await?.is_some())
    }

    /// Each distinct block of a DAG in the store, once, depth first in the order of the links, identity CIDs excluded.
    /// Asks nobody: a missing block ends the walk with [`Error::NotHere`], and a stop of the node with [`Error::Stopped`].
    pub fn walk(&self, cid: &Cid) -> BoxStream<'static, Result<Walked, Error>> {
        let (blocks, queue) = mpsc::channel(256);
        let (store, root) = (self.inner.core.store.clone(), *cid);
        let walk = move || {
            for walked in walk_local(&store, root) {
                if blocks.blocking_send(walked).is_err() {
                    break;
                }
            }
        };
        let walking = async { tokio::task::spawn_blocking(walk).await.map_err(|_| Error::Stopped) };
        stream(queue, Task::spawn(&self.inner.runtime, walking))
    }

    /// Removes every block that no pin reaches and that was stored longer than `grace` ago (to the minute; zero is no grace),
    /// so that what a pin fetched before it broke off is here when it is tried again. Blocks of pins and adds in flight are
    /// safe. A store more than nine tenths full gives no grace. What was spared goes by itself when the grace of the last
    /// call is over, after a restart, too.
    /// Disk is given back: at most a quarter of what the segments take is dead afterwards.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::NotHere`] if a block of a pin is missing, since it was damaged on disk: nothing was
    /// removed, and all that is missing is being asked for.
    pub async fn gc(&self, grace: Duration) -> Result<Swept, Error> {
        let (garbage, later) = (self.inner.garbage.clone(), self.inner.collect_later.clone());
        let collecting = move || {
            let swept = garbage.collect(grace)?;
            let _ = later.blocking_send((swept.spared > 0).then_some(grace)); // fails only when the node stops
            Ok(swept)
        };
        self.inner.runtime.spawn_blocking(collecting).await.map_err(|_| Error::Stopped)?
    }

    /// Counters.
    ///
    /// # Errors
    /// [`Error::Io`] if the size of the index cannot be had.
    pub async fn stats(&self) -> Result<Stats, Error> {
        let of_store = |store: &Store| Ok((store.totals(), store.disk_bytes()?, store.damaged()));
        let (totals, disk_bytes, damaged_blocks) = self.blocking(of_store).await?;
        let mut stats = Stats {
            blocks: totals.blocks,
            bytes: totals.bytes,
            disk_bytes,
            damaged_blocks,
            pins: totals.pins,
            ..Stats::default()
        };
        lock(&self.inner.view).report(&mut stats);
        self.inner.traffic.report(&mut stats);
        self.inner.counts.report(&mut stats);
        self.inner.readings.report(&mut stats);
        Ok(stats)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.inner.core.store.clone();
        self.inner.runtime.spawn_blocking(move || work(&store)).await.map_err(|_| Error::Stopped)?
    }
}

/// A task's end; its progress is told meanwhile.
async fn watched<T: Send + 'static>(
    task: Task<Result<T, Error>>,
    mut told: watch::Receiver<Progress>,
    mut progress: impl FnMut(Progress),
) -> Result<T, Error> {
    let mut outcome = std::pin::pin!(task.join());
    loop {
        tokio::select! {
            biased;
            Ok(()) = told.changed() => {
                let now = *told.borrow_and_update();
                progress(now);
            }
            outcome = &mut outcome => return outcome?,
        }
    }
}

/// What a task sends, for as long as the stream is wanted. One whose task did not come to its end, because the node was
/// stopped, ends with an error: what came would pass for all there is.
fn stream<T: Send + 'static>(
    queue: mpsc::Receiver<Result<T, Error>>,
    task: Task<Result<(), Error>>,
) -> BoxStream<'static, Result<T, Error>> {
    let next = |state: Option<(mpsc::Receiver<_>, Task<Result<(), Error>>)>| async move {
        let (mut queue, task) = state?;
        match queue.recv().await {
            Some(item) => Some((item, Some((queue, task)))),
            None => task.join().await.and_then(|ended| ended).err().map(|error| (Err(error), None)),
        }
    };
    futures::stream::unfold(Some((queue, task)), next).boxed()
}
