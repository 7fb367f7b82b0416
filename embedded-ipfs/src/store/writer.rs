//! The one writer: takes what waits, appends it to the newest segment with one fsync, and only then answers. What is not a
//! block goes into the index, in one transaction, with the rows of the blocks before it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cid::Cid;
use redb::WriteTransaction;
use tokio::sync::{mpsc, oneshot};

use super::books::Books;
use super::draft::{delete, name, pin, unpin, Draft};
use super::index::{self, cause, Cause, Index, Row, Segment, COUNTS, INDEX, SEGMENTS};
use super::planted::Bug;
use super::protection::Protection;
use super::segment::{record_len, Files, Place, Record, Tail};
use super::{lock, Options};
use crate::block::Key;
use crate::clock::now_minute;
use crate::dag::is_pb_leaf;
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
    /// Names a pin, if there is one.
    Name(Cid, String),
    Unpin(Cid),
    Delete(Vec<Key>),
    /// Records to be written again, from where they are; those that are there no more are left out.
    Move(Vec<(Place, Record)>),
    /// Writes a new segment from now on.
    Roll,
    /// Gives up segments in which nothing is alive.
    Retire(Vec<u32>),
    /// Puts all rows into the database.
    Settle,
}

/// What a change came to.
#[derive(Default)]
pub(super) struct Done {
    /// There was a pin to name or to remove.
    pub(super) existed: bool,
    pub(super) swept: Swept,
}

/// Bytes after which a group takes no more.
const GROUP_BYTES: usize = 16 << 20;
/// Rows that are in memory only before they are written. Few would be dear: they lie all over the index, and each
/// transaction writes whole pages.
const RECENT: usize = 32_768;

pub(super) struct Writer {
    pub(super) index: Arc<Index>,
    pub(super) files: Arc<Files>,
    pub(super) tail: Tail,
    pub(super) books: Arc<Mutex<Books>>,
    pub(super) protection: Arc<Mutex<Protection>>,
    pub(super) options: Options,
    /// Segments that changed since the last transaction.
    pub(super) touched: BTreeSet<u32>,
    /// Bytes of records written since then: they are read when the store is opened after a crash.
    pub(super) unsaved: u64,
}

impl Writer {
    /// Writes until every sender is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.change.bytes();
            let mut group = vec![first];
            while bytes < GROUP_BYTES {
                let Ok(next) = queue.try_recv() else { break };
                bytes += next.change.bytes();
                group.push(next);
            }
            let (changes, replies): (Vec<_>, Vec<_>) =
                group.into_iter().map(|write| (write.change, write.reply)).unzip();
            for (outcome, reply) in self.commit(changes).into_iter().zip(replies) {
                let _ = reply.send(outcome);
            }
        }
        if let Err(cause) = self.save() {
            tracing::warn!(error = %cause, "the index was not written at the end: it will be made up for at the next start");
        }
    }

    /// Carries out a group, with an outcome for each change.
    fn commit(&mut self, group: Vec<Change>) -> Vec<Result<Done, Error>> {
        // Held to the end of a group that deletes, so that a pin either protects a block before it is looked at here, or
        // finds it gone.
        let guarded = group.iter().any(|change| matches!(change, Change::Delete(_)));
        let protection = self.protection.clone();
        let protection = guarded.then(|| lock(&protection));
        let prepared = self.drop_broken().and_then(|()| self.save_much());
        if let Err(cause) = prepared {
            tracing::error!(error = %cause, "block index not written");
            return group.iter().map(|_| Err(Error::Store(cause.clone()))).collect();
        }
        let mut outcomes = self.append(&group);
        if group.iter().all(|change| matches!(change, Change::Put(_) | Change::Move(_))) {
            return outcomes;
        }
        if let Err(cause) = self.change(&group, protection.as_deref(), &mut outcomes) {
            tracing::error!(error = %cause, "block index not written");
            for (change, outcome) in group.iter().zip(&mut outcomes) {
                if !matches!(change, Change::Put(_) | Change::Move(_)) {
                    *outcome = Err(Error::Store(cause.clone()));
                }
            }
        }
        outcomes
    }

    /// Appends the group's blocks and makes them durable.
    fn append(&mut self, group: &[Change]) -> Vec<Result<Done, Error>> {
        let mut outcomes = Vec::with_capacity(group.len());
        let (mut records, mut known) = (Vec::new(), HashSet::new());
        let limit = self.options.limit;
        let mut bytes = lock(&self.books).totals.bytes;
        let mut look = self.index.look();
        for change in group {
            let before = records.len();
            let outcome = match change {
                Change::Put(blocks) => (|| {
                    let (minute, mut more) = (now_minute(), 0);
                    for (key, block) in blocks {
                        if look.row(key)?.is_none() && known.insert(key.clone()) {
                            more += block.len() as u64;
                            records.push((None, Record { key: key.clone(), bytes: block.clone(), minute }));
                        }
                    }
                    if more > 0 && bytes.saturating_add(more) > limit {
                        return Err(Error::Full { limit });
                    }
                    bytes += more;
                    Ok(())
                })(),
                Change::Move(moves) => (|| {
                    for (from, record) in moves {
                        if look.row(&record.key)?.is_some_and(|row| row.place == *from) {
                            records.push((Some(*from), record.clone()));
                        }
                    }
                    Ok(())
                })(),
                _ => Ok(()),
            };
            if outcome.is_err() {
                for (_, record) in records.drain(before..) {
                    known.remove(&record.key);
                }
            }
            outcomes.push(outcome.map(|()| Done::default()));
        }
        drop(look);
        if let Err(error) = self.write(&records) {
            tracing::error!(%error, segment = self.tail.segment, "blocks not written");
            let cause: Cause = Arc::new(error);
            for (change, outcome) in group.iter().zip(&mut outcomes) {
                if matches!(change, Change::Put(_) | Change::Move(_)) && outcome.is_ok() {
                    *outcome = Err(Error::Store(cause.clone()));
                }
            }
        }
        outcomes
    }

    /// Writes records, some of them moved from another place, and lets readers see them.
    pub(super) fn write(&mut self, records: &[(Option<Place>, Record)]) -> std::io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let options = &self.options;
        let blocks = records.iter().map(|(_, record)| record);
        let places = self.tail.append(&self.files, options, blocks)?;
        let mut books = lock(&self.books);
        let mut recent = self.index.recent();
        for ((from, record), place) in records.iter().zip(places) {
            let row = row_of(record, place);
            recent.insert(record.key.clone(), row);
            books.born(&record.key, row);
            self.unsaved += record_len(&record.key, row.size);
            self.touched.insert(place.segment);
            match from {
                Some(from) => {
                    books.died(&record.key, Row { place: *from, ..row });
                    self.touched.insert(from.segment);
                }
                None => books.totals.add(row),
            }
        }
        drop((books, recent));
        self.options.step("durable");
        Ok(())
    }

    /// Carries out what concerns the index, in one transaction.
    fn change(
        &mut self,
        group: &[Change],
        protection: Option<&Protection>,
        outcomes: &mut [Result<Done, Error>],
    ) -> Result<(), Cause> {
        if group.iter().any(|change| matches!(change, Change::Roll)) {
            self.tail.roll(&self.files).map_err(|error| Arc::new(error) as Cause)?;
            lock(&self.books).segments.entry(self.tail.segment).or_default();
            self.touched.insert(self.tail.segment);
            self.options.step("a new segment");
        }
        if group.iter().all(|change| matches!(change, Change::Put(_) | Change::Move(_) | Change::Settle)) {
            return self.save();
        }
        let mut retired = Vec::new();
        self.transact(|write, draft| {
            for (change, outcome) in group.iter().zip(outcomes.iter_mut()) {
                let done = match change {
                    Change::Put(_) | Change::Move(_) | Change::Roll | Change::Settle => continue,
                    Change::Pin(report) => pin(write, draft, report).map(|()| Done::default())?,
                    Change::Name(cid, label) => Done { existed: name(write, cid, label)?, ..Done::default() },
                    Change::Unpin(cid) => Done { existed: unpin(write, draft, cid)?, ..Done::default() },
                    Change::Delete(keys) => {
                        let ignored = draft.planted.is(Bug::IgnoreProtection);
                        let safe = |key: &Key| !ignored && protection.is_some_and(|all| all.covers(key));
                        let garbage = keys.iter().filter(|key| !safe(key)).map(|key| (key, None));
                        Done { swept: delete(write, draft, garbage)?, ..Done::default() }
                    }
                    Change::Retire(segments) => {
                        retired.extend(segments.iter().copied().filter(|segment| draft.retire(*segment)));
                        Done::default()
                    }
                };
                *outcome = Ok(done);
            }
            Ok(())
        })?;
        for segment in retired {
            if let Err(error) = self.files.remove(segment) {
                tracing::warn!(%error, segment, "a segment without blocks is not gone: it will be at the next start");
            }
            self.options.step("a segment gone");
        }
        Ok(())
    }

    /// Drops what readers found damaged, so that it can be stored again.
    fn drop_broken(&mut self) -> Result<(), Cause> {
        let broken: Vec<_> =
            lock(&self.index.broken).iter().map(|(key, place)| (key.clone(), *place)).collect();
        if broken.is_empty() || self.options.planted.is(Bug::KeepDamaged) {
            return Ok(());
        }
        self.transact(|write, draft| {
            delete(write, draft, broken.iter().map(|(key, place)| (key, Some(*place)))).map(drop)
        })?;
        let mut noted = lock(&self.index.broken);
        for (key, _) in broken {
            noted.remove(&key);
        }
        Ok(())
    }

    /// Puts all rows into the database.
    pub(super) fn save(&mut self) -> Result<(), Cause> {
        if self.touched.is_empty() {
            return Ok(());
        }
        self.transact(|_, _| Ok(()))
    }

    fn save_much(&mut self) -> Result<(), Cause> {
        if self.index.recent().len() < RECENT && self.unsaved < self.options.segment_bytes {
            return Ok(());
        }
        self.save()
    }

    /// One transaction: the rows of memory, and what else is to be done.
    pub(super) fn transact(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &mut Draft) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let mut write = index::begin(&self.index.database).map_err(|error| Arc::new(error) as Cause)?;
        let planted = self.options.planted;
        if planted.is(Bug::SkipPinSync) {
            write.set_quick_repair(false);
            write.set_durability(redb::Durability::None);
        }
        if !planted.is(Bug::ForgetRows) {
            let mut rows = write.open_table(INDEX).map_err(cause)?;
            let recent: BTreeMap<_, _> =
                self.index.recent().iter().map(|(key, row)| (key.clone(), *row)).collect();
            for (key, row) in recent {
                rows.insert(key.as_bytes(), row.written()).map_err(cause)?;
            }
        }
        let mut draft = Draft { books: lock(&self.books).clone(), touched: self.touched.clone(), planted };
        work(&write, &mut draft)?;
        {
            let mut segments = write.open_table(SEGMENTS).map_err(cause)?;
            for segment in &draft.touched {
                match draft.books.segments.get(segment) {
                    Some(&Segment { end, live_bytes, live_blocks }) => {
                        segments.insert(segment, (end, live_bytes, live_blocks)).map_err(cause)?
                    }
                    None => segments.remove(segment).map_err(cause)?,
                };
            }
            let mut counts = write.open_table(COUNTS).map_err(cause)?;
            counts.insert("blocks", draft.books.totals.blocks).map_err(cause)?;
            counts.insert("bytes", draft.books.totals.bytes).map_err(cause)?;
        }
        write.commit().map_err(cause)?;
        *lock(&self.books) = draft.books;
        self.touched.clear();
        self.unsaved = 0;
        self.options.step("indexed");
        self.index.recent().clear();
        Ok(())
    }
}

/// What the index is to say of a record.
pub(super) fn row_of(record: &Record, place: Place) -> Row {
    Row { size: record.bytes.len() as u64, pb_leaf: is_pb_leaf(&record.bytes), minute: record.minute, place }
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Change::Put(blocks) => blocks.iter().map(|(_, bytes)| bytes.len()).sum(),
            Change::Move(moves) => moves.iter().map(|(_, record)| record.bytes.len()).sum(),
            // A sweep holds a lock that pins need: keep its transaction short.
            Change::Delete(_) => GROUP_BYTES,
            Change::Pin(_) | Change::Name(..) | Change::Unpin(_) => 0,
            Change::Roll | Change::Retire(_) | Change::Settle => 0,
        }
    }
}
