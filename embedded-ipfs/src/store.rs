//! The durable block store: blocks by multihash, an index of their sizes, and pins, in one redb file.
//!
//! Owns: the database and the one thread that writes it. A write is durable when its future resolves; writes that wait
//! together share one commit. Reads see the last commit and block: call them off the async threads.
//! On restart: redb recovers to the last commit, without reading the file through.

mod protection;
mod tables;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use cid::Cid;
use redb::{Database, ReadableTable};
use tokio::sync::{mpsc, oneshot};

use crate::block::{normal, Key};
use crate::{Error, PinReport, Swept};

pub(crate) use protection::Guard;
use protection::Protection;
use tables::{failed, BLOCKS, INDEX, PINS};
use writer::{Change, Done, Write};

/// What the index knows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Bytes of the block.
    pub(crate) size: u64,
    /// The block, read as dag-pb, has no links.
    pub(crate) pb_leaf: bool,
}

/// Blocks and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) pins: u64,
}

/// A handle to the open store; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once closed.
    database: RwLock<Option<Arc<Database>>>,
    writes: Mutex<Option<mpsc::Sender<Write>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    protection: Arc<Mutex<Protection>>,
    sweeps: Mutex<()>,
    totals: Arc<Mutex<Totals>>,
    /// Most bytes of blocks.
    limit: u64,
}

/// Blocks deleted in one transaction: few enough that a pin does not wait long for the lock.
const SWEEP_BATCH: usize = 128;

impl Store {
    /// Opens or makes the database at `path`. Blocks beyond `limit` bytes are refused.
    pub(crate) fn open(path: &Path, cache_bytes: usize, limit: u64) -> Result<Store, Error> {
        let database = Arc::new(tables::open(path, cache_bytes)?);
        let totals = Arc::new(Mutex::new(tables::totals(&database)?));
        let protection = Arc::new(Mutex::new(Protection::default()));
        let (writes, queue) = mpsc::channel(64);
        let writer = writer::Writer::new(database.clone(), totals.clone(), protection.clone(), limit);
        let writer =
            std::thread::Builder::new().name("ipfs-store".into()).spawn(move || writer.run(queue))?;
        Ok(Store {
            shared: Arc::new(Shared {
                database: RwLock::new(Some(database)),
                writes: Mutex::new(Some(writes)),
                writer: Mutex::new(Some(writer)),
                protection,
                sweeps: Mutex::new(()),
                totals,
                limit,
            }),
        })
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
        self.shared.database.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn database(&self) -> Result<Arc<Database>, Error> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        database.clone().ok_or(Error::Stopped)
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

    /// Forgets a pin; says whether there was one.
    pub(crate) async fn remove_pin(&self, cid: Cid) -> Result<bool, Error> {
        Ok(self.write(Change::Unpin(cid)).await?.existed)
    }

    /// A block's bytes.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let read = self.database()?.begin_read().map_err(failed)?;
        let index = read.open_table(INDEX).map_err(failed)?;
        let Some(meta) = index.get(key.as_bytes()).map_err(failed)? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(tables::meta(meta.value()).size as usize);
        let blocks = read.open_table(BLOCKS).map_err(failed)?;
        for piece in blocks.range((key.as_bytes(), 0)..=(key.as_bytes(), u32::MAX)).map_err(failed)? {
            bytes.extend_from_slice(piece.map_err(failed)?.1.value());
        }
        Ok(Some(bytes.into()))
    }

    /// What the index knows of each block, in order.
    pub(crate) fn metas<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Result<Vec<Option<Meta>>, Error> {
        let read = self.database()?.begin_read().map_err(failed)?;
        let index = read.open_table(INDEX).map_err(failed)?;
        let meta = |key: &Key| {
            Ok(index.get(key.as_bytes()).map_err(failed)?.map(|found| tables::meta(found.value())))
        };
        keys.into_iter().map(meta).collect()
    }

    /// What the index knows of a block.
    pub(crate) fn meta(&self, key: &Key) -> Result<Option<Meta>, Error> {
        Ok(self.metas([key])?.into_iter().next().flatten())
    }

    /// All pins, in the order of their normal CIDs' bytes.
    pub(crate) fn pins(&self) -> Result<Vec<PinReport>, Error> {
        let read = self.database()?.begin_read().map_err(failed)?;
        let pins = read.open_table(PINS).map_err(failed)?;
        let all = pins.iter().map_err(failed)?;
        all.map(|row| tables::pin(row.map_err(failed)?.1.value())).collect()
    }

    /// The pin of a root, whatever the version of its CID.
    pub(crate) fn pin(&self, cid: &Cid) -> Result<Option<PinReport>, Error> {
        let read = self.database()?.begin_read().map_err(failed)?;
        let pins = read.open_table(PINS).map_err(failed)?;
        let row = pins.get(normal(cid).to_bytes().as_slice()).map_err(failed)?;
        row.map(|row| tables::pin(row.value())).transpose()
    }

    /// Counts of the last commit.
    pub(crate) fn totals(&self) -> Totals {
        *lock(&self.shared.totals)
    }

    /// A guard that keeps the blocks which it is told of from being swept.
    pub(crate) fn guard(&self) -> Guard {
        Guard::new(self.shared.protection.clone())
    }

    /// Removes every block that is neither in `reachable`'s answer nor protected nor stored in the minute `young_from`
    /// (since 1970) or later; a store more than nine tenths full spares no young ones. `reachable` runs after protection
    /// began, so a pin recorded meanwhile keeps its blocks. Blocks, also while another sweep runs.
    pub(crate) fn sweep(
        &self,
        young_from: u32,
        reachable: impl FnOnce(&Store) -> Result<HashSet<Key>, Error>,
    ) -> Result<Swept, Error> {
        let _alone = lock(&self.shared.sweeps);
        let _sweeping = protection::Sweeping::begin(&self.shared.protection);
        let snapshot = self.database()?.begin_read().map_err(failed)?;
        let reachable = reachable(self)?;
        let index = snapshot.open_table(INDEX).map_err(failed)?;
        let short = self.totals().bytes > self.shared.limit / 10 * 9;
        let mut swept = Swept::default();
        let mut batch = Vec::with_capacity(SWEEP_BATCH);
        for row in index.iter().map_err(failed)? {
            let (key, row) = row.map_err(failed)?;
            let key = Key::from_bytes(key.value());
            if reachable.contains(&key) {
                continue;
            }
            if tables::stored(row.value()) >= young_from && !short {
                swept.spared += 1;
            } else {
                batch.push(key);
            }
            if batch.len() == SWEEP_BATCH {
                self.delete(std::mem::take(&mut batch), &mut swept)?;
            }
        }
        self.delete(batch, &mut swept)?;
        Ok(swept)
    }

    fn delete(&self, keys: Vec<Key>, swept: &mut Swept) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let writes = lock(&self.shared.writes).clone().ok_or(Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        let write = Write { change: Change::Delete(keys), reply };
        writes.blocking_send(write).map_err(|_| Error::Stopped)?;
        let batch = answer.blocking_recv().map_err(|_| Error::Stopped)??.swept;
        swept.blocks += batch.blocks;
        swept.bytes += batch.bytes;
        Ok(())
    }
}

/// A poisoned lock only says that a thread panicked while it held plain data, which is whole all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
