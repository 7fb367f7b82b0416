//! The durable block store: blocks by multihash in segment files, and an index of them and of the pins in a database.
//!
//! Owns: the files and the one thread that writes them. A write is durable when its future resolves; writes that wait
//! together share one fsync. Reads block: call them off the async threads. A block that is not what was stored is noticed
//! when it is read, told, and dropped, so that it can be had from others.
//! On restart: the index is as of its last transaction, and the segments are read from where that saw their end.

mod books;
mod compact;
mod draft;
mod index;
mod old;
mod open;
mod planted;
mod protection;
mod segment;
mod sweep;
mod verify;
mod writer;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use cid::Cid;
use tokio::sync::{mpsc, oneshot};

use crate::block::Key;
use crate::{Error, Event, Observer, PinReport};

use books::Books;
use index::{Index, Row};
use planted::Planted;
pub(crate) use protection::Guard;
use protection::Protection;
pub(crate) use segment::Place;
use segment::{Files, Unread};
pub(crate) use verify::{Checked, Verification};
use writer::{Change, Done, Write};

/// What the index knows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Bytes of the block.
    pub(crate) size: u64,
    /// The block, read as dag-pb, has no links.
    pub(crate) pb_leaf: bool,
}

impl From<Row> for Meta {
    fn from(row: Row) -> Meta {
        Meta { size: row.size, pb_leaf: row.pb_leaf }
    }
}

/// What came of looking for a block.
enum Found {
    Whole(Bytes),
    /// It was here, and was dropped.
    Damaged,
    Absent,
}

/// Blocks, their bytes, and pins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) pins: u64,
}

/// How a store is opened.
#[derive(Clone)]
pub(crate) struct Options {
    /// Memory for pages of the index, in bytes.
    pub(crate) cache_bytes: usize,
    /// Most bytes of blocks; a write beyond them is refused.
    pub(crate) limit: u64,
    /// A segment takes no more once it has so many bytes.
    segment_bytes: u64,
    observer: Observer,
    planted: Planted,
    /// Is told of each step of a write, and may look at the disk as a kill would leave it there.
    #[cfg(test)]
    witness: Option<Arc<dyn Fn(&'static str) + Send + Sync>>,
}

impl Options {
    pub(crate) fn new(cache_bytes: usize, limit: u64) -> Options {
        Options {
            cache_bytes,
            limit,
            segment_bytes: 64 << 20,
            observer: Observer::default(),
            planted: Planted::default(),
            #[cfg(test)]
            witness: None,
        }
    }

    /// Has damage told to somebody.
    pub(crate) fn heard_by(self, observer: Observer) -> Options {
        Options { observer, ..self }
    }

    fn step(&self, _step: &'static str) {
        #[cfg(test)]
        if let Some(witness) = &self.witness {
            witness(_step);
        }
    }
}

/// A handle to the open store; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once closed.
    index: RwLock<Option<Arc<Index>>>,
    index_file: PathBuf,
    files: Arc<Files>,
    writes: Mutex<Option<mpsc::Sender<Write>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    protection: Arc<Mutex<Protection>>,
    sweeps: Mutex<()>,
    books: Arc<Mutex<Books>>,
    /// Damaged blocks found since the store was opened.
    damaged: AtomicU64,
    observer: Observer,
    planted: Planted,
    /// Where blocks are told that pins need and that are not here.
    lost: mpsc::Sender<Key>,
    losses: Mutex<Option<mpsc::Receiver<Key>>>,
    /// Most bytes of blocks.
    limit: u64,
}

/// Pins read together.
pub(crate) const PAGE: usize = 256;

impl Store {
    /// Opens or makes the store in a directory, which may hold other files.
    pub(crate) fn open(dir: &Path, options: Options) -> Result<Store, Error> {
        let (limit, observer, planted) = (options.limit, options.observer.clone(), options.planted);
        let writer = open::open(dir, options)?;
        let (writes, queue) = mpsc::channel(64);
        let (lost, losses) = mpsc::channel(1024);
        let shared = Shared {
            index: RwLock::new(Some(writer.index.clone())),
            index_file: dir.join(open::INDEX),
            files: writer.files.clone(),
            writes: Mutex::new(Some(writes)),
            writer: Mutex::default(),
            protection: writer.protection.clone(),
            sweeps: Mutex::new(()),
            books: writer.books.clone(),
            damaged: AtomicU64::new(0),
            observer,
            planted,
            lost,
            losses: Mutex::new(Some(losses)),
            limit,
        };
        let writer =
            std::thread::Builder::new().name("ipfs-store".into()).spawn(move || writer.run(queue))?;
        *lock(&shared.writer) = Some(writer);
        Ok(Store { shared: Arc::new(shared) })
    }

    /// Finishes the writes that wait, ends the writing thread and releases the file. Blocks.
    pub(crate) fn close(&self) {
        drop(lock(&self.shared.writes).take());
        let writer = lock(&self.shared.writer).take();
        if let Some(writer) = writer {
            if writer.join().is_err() {
                tracing::error!("the thread that writes blocks panicked");
            }
        }
        self.shared.index.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn index(&self) -> Result<Arc<Index>, Error> {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        index.clone().ok_or(Error::Stopped)
    }

    async fn write(&self, change: Change) -> Result<Done, Error> {
        let writes = lock(&self.shared.writes).clone().ok_or(Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        writes.send(Write { change, reply }).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Stores blocks whose hashes were checked. Durable when it resolves; all or none.
    pub(crate) async fn put(&self, blocks: Vec<(Key, Bytes)>) -> Result<(), Error> {
        self.write(Change::Put(blocks)).await.map(drop)
    }

    /// Records a pin whose blocks are all here.
    pub(crate) async fn record_pin(&self, pin: PinReport) -> Result<(), Error> {
        self.write(Change::Pin(pin)).await.map(drop)
    }

    /// Names a pin; says whether there was one.
    pub(crate) async fn name_pin(&self, cid: Cid, name: String) -> Result<bool, Error> {
        Ok(self.write(Change::Name(cid, name)).await?.existed)
    }

    /// Forgets a pin; says whether there was one.
    pub(crate) async fn remove_pin(&self, cid: Cid) -> Result<bool, Error> {
        Ok(self.write(Change::Unpin(cid)).await?.existed)
    }

    /// A block's bytes, which were checked. A damaged one is not here (any more).
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let Found::Whole(bytes) = self.find(key)? else { return Ok(None) };
        Ok(Some(bytes))
    }

    /// Reads and checks a block; drops it if it is damaged.
    fn find(&self, key: &Key) -> Result<Found, Error> {
        let index = self.index()?;
        let mut tried = None;
        while let Some(row) = index.row(key)? {
            let (file, planted) = (self.shared.files.readable(row.place.segment), self.shared.planted);
            match file.and_then(|file| segment::read(&file, row.place.offset, key, row.size, planted)) {
                Ok(bytes) => return Ok(Found::Whole(bytes)),
                // It may have been moved since the index was looked at.
                Err(_) if tried != Some(row.place) => tried = Some(row.place),
                Err(Unread::Damaged) => return self.lose(key, row.place).map(|()| Found::Damaged),
                Err(Unread::Io(error)) => return Err(error.into()),
            }
        }
        Ok(Found::Absent)
    }

    /// Drops a damaged block, so that it can be stored again.
    fn lose(&self, key: &Key, place: Place) -> Result<(), Error> {
        if lock(&self.index()?.broken).insert(key.clone(), place) == Some(place) {
            return Ok(()); // somebody else found it at the same time
        }
        tracing::error!(block = ?key.raw(), segment = place.segment, offset = place.offset, "a block on disk is damaged: dropped");
        self.shared.damaged.fetch_add(1, Ordering::Relaxed);
        if let Some(cid) = key.raw() {
            self.shared.observer.tell(Event::Damaged { cid });
        }
        self.miss(key);
        // The writer drops it before whatever it does next; this is only for it not to wait for that.
        if let Some(writes) = lock(&self.shared.writes).as_ref() {
            let _ = writes.try_send(Write { change: Change::Settle, reply: oneshot::channel().0 });
        }
        Ok(())
    }

    /// Tells of a block that a pin needs and that is not here. Beyond those that wait to be asked for, it is told when it is
    /// missed again.
    pub(crate) fn miss(&self, key: &Key) {
        let _ = self.shared.lost.try_send(key.clone());
    }

    /// Blocks that are missed, for whoever asks first.
    pub(crate) fn losses(&self) -> Option<mpsc::Receiver<Key>> {
        lock(&self.shared.losses).take()
    }

    /// Damaged blocks found since the store was opened.
    pub(crate) fn damaged(&self) -> u64 {
        self.shared.damaged.load(Ordering::Relaxed)
    }

    /// What the index knows of each block, in order.
    pub(crate) fn metas<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Result<Vec<Option<Meta>>, Error> {
        let index = self.index()?;
        let mut look = index.look();
        keys.into_iter().map(|key| Ok(look.row(key)?.map(Meta::from))).collect()
    }

    /// What the index knows of a block.
    pub(crate) fn meta(&self, key: &Key) -> Result<Option<Meta>, Error> {
        Ok(self.index()?.row(key)?.map(Meta::from))
    }

    /// At most `most` pins after one, or from the first on, in the order of their normal CIDs' bytes.
    pub(crate) fn pins_after(&self, after: Option<&Cid>, most: usize) -> Result<Vec<PinReport>, Error> {
        self.index()?.pins_after(&after.map_or_else(Vec::new, index::pin_key), most)
    }

    /// All pins, as [`Store::pins_after`] orders them, a page in memory at a time. Ends after an error.
    pub(crate) fn pins(&self) -> impl Iterator<Item = Result<PinReport, Error>> + use<'_> {
        let (mut page, mut last, mut ended) = (Vec::new().into_iter(), None, false);
        std::iter::from_fn(move || {
            if page.len() == 0 && !ended {
                match self.pins_after(last.as_ref(), PAGE) {
                    Ok(pins) => {
                        ended = pins.len() < PAGE;
                        page = pins.into_iter();
                    }
                    Err(error) => {
                        ended = true;
                        return Some(Err(error));
                    }
                }
            }
            let pin: PinReport = page.next()?;
            last = Some(pin.cid);
            Some(Ok(pin))
        })
    }

    /// The pin of a root, whatever the version of its CID.
    pub(crate) fn pin(&self, cid: &Cid) -> Result<Option<PinReport>, Error> {
        self.index()?.pin(cid)
    }

    /// Counts of the last commit.
    pub(crate) fn totals(&self) -> Totals {
        lock(&self.shared.books).totals
    }

    /// Bytes that the store takes on disk.
    pub(crate) fn disk_bytes(&self) -> Result<u64, Error> {
        // What it takes, not its length: the database grows its file ahead of use, as a hole.
        let index = std::fs::metadata(&self.shared.index_file)?.blocks() * 512;
        Ok(lock(&self.shared.books).disk() + index)
    }

    /// A guard that keeps the blocks which it is told of from being swept.
    pub(crate) fn guard(&self) -> Guard {
        Guard::new(self.shared.protection.clone())
    }

    /// Has a change made, and waits for it. Blocks.
    fn ask(&self, change: Change) -> Result<Done, Error> {
        let writes = lock(&self.shared.writes).clone().ok_or(Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        writes.blocking_send(Write { change, reply }).map_err(|_| Error::Stopped)?;
        answer.blocking_recv().map_err(|_| Error::Stopped)?
    }
}

/// A poisoned lock only says that a thread panicked while it held plain data, which is whole all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
