//! The index: where each block is, its size and age, the pins, and how much of each segment is alive, in one redb file.
//!
//! Rows of blocks stored lately are in memory only, until so many of them are written in one transaction: the segments
//! have them all, and are read from where the last transaction saw their end when the store is opened again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cid::Cid;
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::lock;
use super::segment::Place;
use super::Totals;
use crate::block::{normal, Key};
use crate::{Error, PinReport};

/// multihash → (when it was stored, in minutes since 1970, · 2³² + size in bytes · 2 + (1 if the block is a dag-pb leaf),
/// segment · 2³² + offset in bytes).
pub(super) const INDEX: TableDefinition<&[u8], (u64, u64)> = TableDefinition::new("index");
/// CID in version 1 → (CID as given, blocks, bytes, name).
pub(super) const PINS: TableDefinition<&[u8], PinRow> = TableDefinition::new("pins");
/// segment → (bytes of its records, bytes of those that are alive, their number). The last one is being written.
pub(super) const SEGMENTS: TableDefinition<u32, (u64, u64, u64)> = TableDefinition::new("segments");
/// "format", "blocks", "bytes".
pub(super) const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");

type PinRow = (&'static [u8], u64, u64, &'static str);
const FORMAT: u64 = 3;

/// Why a transaction failed, shared by all whose changes were in it.
pub(super) type Cause = Arc<dyn std::error::Error + Send + Sync>;

pub(super) fn cause<E>(error: E) -> Cause
where
    redb::Error: From<E>,
{
    Arc::new(redb::Error::from(error))
}

pub(super) fn failed<E>(error: E) -> Error
where
    redb::Error: From<E>,
{
    Error::Store(cause(error))
}

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Bytes of the block.
    pub(super) size: u64,
    /// The block, read as dag-pb, has no links.
    pub(super) pb_leaf: bool,
    /// When it was stored, in minutes since 1970.
    pub(super) minute: u32,
    pub(super) place: Place,
}

impl Row {
    pub(super) fn read((about, place): (u64, u64)) -> Row {
        Row {
            size: (about & u64::from(u32::MAX)) >> 1,
            pb_leaf: about & 1 == 1,
            minute: (about >> 32) as u32,
            place: Place { segment: (place >> 32) as u32, offset: place as u32 },
        }
    }

    /// A block has a few MiB at most.
    pub(super) fn written(self) -> (u64, u64) {
        (
            u64::from(self.minute) << 32 | self.size << 1 | u64::from(self.pb_leaf),
            u64::from(self.place.segment) << 32 | u64::from(self.place.offset),
        )
    }
}

/// A segment's records, in bytes, and what of them is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) end: u64,
    pub(super) live_bytes: u64,
    pub(super) live_blocks: u64,
}

/// The database and what is not in it yet.
pub(super) struct Index {
    pub(super) database: Database,
    /// Blocks stored since the last transaction; they go before the database's rows.
    pub(super) recent: RwLock<HashMap<Key, Row>>,
    /// Damaged blocks that the writer still has to drop: as good as gone.
    pub(super) broken: Mutex<HashMap<Key, Place>>,
}

impl Index {
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Index, Error> {
        let database = database(path, cache_bytes)?;
        let mut write = begin(&database)?;
        write.open_table(INDEX).map_err(failed)?;
        write.open_table(PINS).map_err(failed)?;
        write.open_table(SEGMENTS).map_err(failed)?;
        let new = {
            let mut counts = write.open_table(COUNTS).map_err(failed)?;
            let format = counts.get("format").map_err(failed)?.map(|row| row.value());
            match format {
                None => drop(counts.insert("format", FORMAT).map_err(failed)?),
                Some(FORMAT) => {}
                Some(other) => return Err(Error::Format(other)),
            }
            format.is_none()
        };
        if new {
            write.set_durability(redb::Durability::Immediate);
            write.commit().map_err(failed)?;
        } else {
            write.abort().map_err(failed)?;
        }
        Ok(Index { database, recent: RwLock::default(), broken: Mutex::default() })
    }

    /// Rows as they are now.
    pub(super) fn look(&self) -> Look<'_> {
        Look { index: self, rows: None }
    }

    /// What is known of a block.
    pub(super) fn row(&self, key: &Key) -> Result<Option<Row>, Error> {
        self.look().row(key)
    }

    pub(super) fn recent(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Key, Row>> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and segments of the last transaction.
    pub(super) fn counted(&self) -> Result<(Totals, BTreeMap<u32, Segment>), Error> {
        let read = self.database.begin_read().map_err(failed)?;
        let counts = read.open_table(COUNTS).map_err(failed)?;
        let count = |name| Ok::<_, Error>(counts.get(name).map_err(failed)?.map_or(0, |row| row.value()));
        let pins = read.open_table(PINS).map_err(failed)?.len().map_err(failed)?;
        let mut segments = BTreeMap::new();
        for row in read.open_table(SEGMENTS).map_err(failed)?.iter().map_err(failed)? {
            let (segment, row) = row.map_err(failed)?;
            let (end, live_bytes, live_blocks) = row.value();
            segments.insert(segment.value(), Segment { end, live_bytes, live_blocks });
        }
        Ok((Totals { blocks: count("blocks")?, bytes: count("bytes")?, pins }, segments))
    }

    /// At most `most` pins whose normal CIDs' bytes come after those given, in their order.
    pub(super) fn pins_after(&self, after: &[u8], most: usize) -> Result<Vec<PinReport>, Error> {
        let read = self.database.begin_read().map_err(failed)?;
        let pins = read.open_table(PINS).map_err(failed)?;
        let bounds = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let some = pins.range::<&[u8]>(bounds).map_err(failed)?.take(most);
        some.map(|row| pin(row.map_err(failed)?.1.value())).collect()
    }

    /// The pin of a root, whatever the version of its CID.
    pub(super) fn pin(&self, cid: &Cid) -> Result<Option<PinReport>, Error> {
        let read = self.database.begin_read().map_err(failed)?;
        let pins = read.open_table(PINS).map_err(failed)?;
        let row = pins.get(normal(cid).to_bytes().as_slice()).map_err(failed)?;
        row.map(|row| pin(row.value())).transpose()
    }
}

/// Looks at many rows with one view of the database, opened only if the rows in memory do not answer.
pub(super) struct Look<'i> {
    index: &'i Index,
    rows: Option<ReadOnlyTable<&'static [u8], (u64, u64)>>,
}

impl Look<'_> {
    /// What is known of a block. Memory goes first: a row that leaves it is in the database by then.
    pub(super) fn row(&mut self, key: &Key) -> Result<Option<Row>, Error> {
        let recent = self.index.recent.read().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let row = match recent {
            Some(row) => Some(row),
            None => {
                let rows = match self.rows.take() {
                    Some(rows) => rows,
                    None => {
                        let read = self.index.database.begin_read().map_err(failed)?;
                        read.open_table(INDEX).map_err(failed)?
                    }
                };
                let row = rows.get(key.as_bytes()).map_err(failed)?.map(|row| Row::read(row.value()));
                self.rows = Some(rows);
                row
            }
        };
        Ok(row.filter(|row| lock(&self.index.broken).get(key) != Some(&row.place)))
    }
}

pub(super) fn database(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes).create_with_file_format_v3(true);
    match builder.create(path) {
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(Error::Locked),
        other => other.map_err(failed),
    }
}

/// A transaction that costs a little more, so that opening after a crash does not read all rows.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Error> {
    let mut write = database.begin_write().map_err(failed)?;
    write.set_quick_repair(true);
    Ok(write)
}

fn pin((cid, blocks, bytes, name): (&[u8], u64, u64, &str)) -> Result<PinReport, Error> {
    let cid = Cid::try_from(cid).map_err(|error| Error::Store(Arc::new(error)))?;
    Ok(PinReport { cid, blocks, bytes, name: name.to_owned() })
}

/// The key of a pin's row.
pub(super) fn pin_key(cid: &Cid) -> Vec<u8> {
    normal(cid).to_bytes()
}
