//! The one writer: takes what waits, writes it in one transaction, commits, and only then answers.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cid::Cid;
use redb::{Database, ReadableTable, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::protection::Protection;
use super::tables::{self, cause, Cause, BLOCKS, COUNTS, INDEX, PINS};
use super::{lock, Totals};
use crate::block::{normal, Key};
use crate::clock::now_minute;
use crate::{Error, PinReport, Swept};

/// A change to the store and whom to tell once it is durable. A caller that went away does not care.
pub(super) struct Write {
    pub(super) change: Change,
    pub(super) reply: oneshot::Sender<Result<Done, Error>>,
}

pub(super) enum Change {
    /// All of these blocks or, if they do not fit, none.
    Put(Vec<(Key, Bytes)>),
    Pin(PinReport),
    Unpin(Cid),
    Delete(Vec<Key>),
}

/// What a change came to.
#[derive(Default)]
pub(super) struct Done {
    /// There was a pin to remove.
    pub(super) existed: bool,
    pub(super) swept: Swept,
}

/// Bytes after which a transaction takes no more.
const GROUP_BYTES: usize = 16 << 20;

pub(super) struct Writer {
    database: Arc<Database>,
    totals: Arc<Mutex<Totals>>,
    protection: Arc<Mutex<Protection>>,
    limit: u64,
}

impl Writer {
    pub(super) fn new(
        database: Arc<Database>,
        totals: Arc<Mutex<Totals>>,
        protection: Arc<Mutex<Protection>>,
        limit: u64,
    ) -> Self {
        Writer { database, totals, protection, limit }
    }

    /// Writes until every sender is gone.
    pub(super) fn run(self, mut queue: mpsc::Receiver<Write>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.change.bytes();
            let mut group = vec![first];
            while bytes < GROUP_BYTES {
                let Ok(next) = queue.try_recv() else { break };
                bytes += next.change.bytes();
                group.push(next);
            }
            match self.commit(&group) {
                Ok(outcomes) => {
                    for (write, outcome) in group.into_iter().zip(outcomes) {
                        let _ = write.reply.send(outcome);
                    }
                }
                Err(cause) => {
                    tracing::error!(error = %cause, "block store commit failed");
                    for write in group {
                        let _ = write.reply.send(Err(Error::Store(cause.clone())));
                    }
                }
            }
        }
    }

    /// Writes a group in one transaction. The outer error is that of the whole group, of which nothing was written.
    fn commit(&self, group: &[Write]) -> Result<Vec<Result<Done, Error>>, Cause> {
        // Held to the end of a group that deletes, so that a pin either protects a block before it is looked at here, or
        // finds it gone.
        let deletes = group.iter().any(|write| matches!(write.change, Change::Delete(_)));
        let protection = deletes.then(|| lock(&self.protection));
        let mut write = self.database.begin_write().map_err(cause)?;
        // Commits cost a little more, opening after a crash does not read all blocks.
        write.set_quick_repair(true);
        let mut totals = *lock(&self.totals);
        let mut outcomes = Vec::with_capacity(group.len());
        for Write { change, .. } in group {
            outcomes.push(match change {
                Change::Put(blocks) => put(&write, blocks, &mut totals, self.limit)?,
                Change::Pin(pin) => {
                    let (key, (cid, blocks, bytes)) = tables::pin_row(pin);
                    let mut pins = write.open_table(PINS).map_err(cause)?;
                    let old = pins.insert(key.as_slice(), (cid.as_slice(), blocks, bytes)).map_err(cause)?;
                    totals.pins += u64::from(old.is_none());
                    Ok(Done::default())
                }
                Change::Unpin(cid) => {
                    let mut pins = write.open_table(PINS).map_err(cause)?;
                    let existed = pins.remove(normal(cid).to_bytes().as_slice()).map_err(cause)?.is_some();
                    totals.pins = totals.pins.saturating_sub(u64::from(existed));
                    Ok(Done { existed, ..Done::default() })
                }
                Change::Delete(keys) => {
                    let safe =
                        |key: &&Key| protection.as_ref().is_some_and(|protection| protection.covers(key));
                    let swept = delete(&write, keys.iter().filter(|key| !safe(key)), &mut totals)?;
                    Ok(Done { swept, ..Done::default() })
                }
            });
        }
        {
            let mut counts = write.open_table(COUNTS).map_err(cause)?;
            counts.insert("blocks", totals.blocks).map_err(cause)?;
            counts.insert("bytes", totals.bytes).map_err(cause)?;
        }
        write.commit().map_err(cause)?;
        *lock(&self.totals) = totals;
        Ok(outcomes)
    }
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Change::Put(blocks) => blocks.iter().map(|(_, bytes)| bytes.len()).sum(),
            Change::Pin(_) | Change::Unpin(_) => 0,
            // A sweep holds a lock that pins need: keep its transaction short.
            Change::Delete(_) => GROUP_BYTES,
        }
    }
}

fn put(
    write: &WriteTransaction,
    blocks: &[(Key, Bytes)],
    totals: &mut Totals,
    limit: u64,
) -> Result<Result<Done, Error>, Cause> {
    let mut index = write.open_table(INDEX).map_err(cause)?;
    let new = |index: &Table<&[u8], u64>, key: &Key| {
        Ok::<_, Cause>(index.get(key.as_bytes()).map_err(cause)?.is_none())
    };
    let mut more = 0;
    for (key, bytes) in blocks {
        if new(&index, key)? {
            more += bytes.len() as u64;
        }
    }
    if more > 0 && totals.bytes.saturating_add(more) > limit {
        return Ok(Err(Error::Full { limit }));
    }
    let mut table = write.open_table(BLOCKS).map_err(cause)?;
    let minute = now_minute();
    for (key, bytes) in blocks {
        if !new(&index, key)? {
            continue;
        }
        for (number, piece) in tables::pieces(bytes) {
            table.insert((key.as_bytes(), number), piece).map_err(cause)?;
        }
        index.insert(key.as_bytes(), tables::index_row(bytes, minute)).map_err(cause)?;
        totals.blocks += 1;
        totals.bytes += bytes.len() as u64;
    }
    Ok(Ok(Done::default()))
}

fn delete<'k>(
    write: &WriteTransaction,
    keys: impl Iterator<Item = &'k Key>,
    totals: &mut Totals,
) -> Result<Swept, Cause> {
    let mut index = write.open_table(INDEX).map_err(cause)?;
    let mut table = write.open_table(BLOCKS).map_err(cause)?;
    let mut swept = Swept::default();
    for key in keys {
        let Some(row) = index.remove(key.as_bytes()).map_err(cause)?.map(|row| row.value()) else {
            continue;
        };
        for number in 0.. {
            if table.remove((key.as_bytes(), number)).map_err(cause)?.is_none() {
                break;
            }
        }
        swept.blocks += 1;
        swept.bytes += tables::meta(row).size;
    }
    totals.blocks = totals.blocks.saturating_sub(swept.blocks);
    totals.bytes = totals.bytes.saturating_sub(swept.bytes);
    Ok(swept)
}
