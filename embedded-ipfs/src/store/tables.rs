//! The tables of the database and how their rows are written.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use redb::{Database, DatabaseError, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Meta, Totals};
use crate::block::normal;
use crate::{Error, PinReport};

/// (multihash, piece) → bytes. redb gives each value a power of two of pages: a whole leaf of 256 KiB and some would take
/// 512 KiB.
pub(super) const BLOCKS: TableDefinition<(&[u8], u32), &[u8]> = TableDefinition::new("blocks");
/// multihash → when it was stored, in minutes since 1970, · 2³² + size in bytes · 2 + (1 if the block is a dag-pb leaf).
/// Format 1 had no minutes: its blocks read as very old, which is what they are to a sweep.
pub(super) const INDEX: TableDefinition<&[u8], u64> = TableDefinition::new("index");
/// CID in version 1 → (CID as given, blocks, bytes).
pub(super) const PINS: TableDefinition<&[u8], PinRow> = TableDefinition::new("pins");
/// "format", "blocks", "bytes".
pub(super) const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");

type PinRow = (&'static [u8], u64, u64);
const FORMAT: u64 = 2;
/// With its key and redb's header a piece fills 64 KiB of pages.
const PIECE: usize = (64 << 10) - 256;

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

pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes).create_with_file_format_v3(true);
    let database = match builder.create(path) {
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(Error::Locked),
        other => other.map_err(failed)?,
    };
    let mut write = database.begin_write().map_err(failed)?;
    write.set_quick_repair(true);
    write.open_table(BLOCKS).map_err(failed)?;
    write.open_table(INDEX).map_err(failed)?;
    write.open_table(PINS).map_err(failed)?;
    {
        let mut counts = write.open_table(COUNTS).map_err(failed)?;
        let format = counts.get("format").map_err(failed)?.map(|row| row.value());
        match format {
            None | Some(1) => drop(counts.insert("format", FORMAT).map_err(failed)?),
            Some(FORMAT) => {}
            Some(other) => return Err(Error::Format(other)),
        }
    }
    write.commit().map_err(failed)?;
    Ok(database)
}

pub(super) fn totals(database: &Database) -> Result<Totals, Error> {
    let read = database.begin_read().map_err(failed)?;
    let counts = read.open_table(COUNTS).map_err(failed)?;
    let count = |name| Ok::<_, Error>(counts.get(name).map_err(failed)?.map_or(0, |row| row.value()));
    let pins = read.open_table(PINS).map_err(failed)?.len().map_err(failed)?;
    Ok(Totals { blocks: count("blocks")?, bytes: count("bytes")?, pins })
}

pub(super) fn meta(row: u64) -> Meta {
    Meta { size: (row & u64::from(u32::MAX)) >> 1, pb_leaf: row & 1 == 1 }
}

/// When a row's block was stored, in minutes since 1970.
pub(super) fn stored(row: u64) -> u32 {
    (row >> 32) as u32
}

/// `minute` is the time in minutes since 1970. A block has a few MiB at most.
pub(super) fn index_row(bytes: &Bytes, minute: u32) -> u64 {
    u64::from(minute) << 32 | (bytes.len() as u64) << 1 | u64::from(crate::dag::is_pb_leaf(bytes))
}

/// The pieces of a block with their numbers; an empty block has none.
pub(super) fn pieces(bytes: &Bytes) -> impl Iterator<Item = (u32, &[u8])> {
    (0..).zip(bytes.chunks(PIECE))
}

pub(super) fn pin((cid, blocks, bytes): (&[u8], u64, u64)) -> Result<PinReport, Error> {
    let cid = Cid::try_from(cid).map_err(|error| Error::Store(Arc::new(error)))?;
    Ok(PinReport { cid, blocks, bytes })
}

/// Key and value of a pin's row.
pub(super) fn pin_row(pin: &PinReport) -> (Vec<u8>, (Vec<u8>, u64, u64)) {
    (normal(&pin.cid).to_bytes(), (pin.cid.to_bytes(), pin.blocks, pin.bytes))
}
