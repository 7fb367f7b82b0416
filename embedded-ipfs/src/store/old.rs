//! Stores of formats 1 and 2, which had blocks in pieces and everything else in one redb file: taken over once, when the
//! store is opened. A take-over that is broken off begins again; the file goes when all of it is durable here.

use std::path::Path;
use std::sync::Arc;

use cid::Cid;
use redb::{ReadableTable, TableDefinition};

use super::draft::pin;
use super::index::{database, failed};
use super::segment::Record;
use super::writer::Writer;
use crate::block::Key;
use crate::{Error, PinReport};

const FILE: &str = "blocks.redb";
/// (multihash, piece) → bytes.
const BLOCKS: TableDefinition<(&[u8], u32), &[u8]> = TableDefinition::new("blocks");
/// multihash → minute · 2³² + size · 2 + leaf; format 1 had no minutes, so its blocks are very old.
const INDEX: TableDefinition<&[u8], u64> = TableDefinition::new("index");
/// CID in version 1 → (CID as given, blocks, bytes).
const PINS: TableDefinition<&[u8], PinRow> = TableDefinition::new("pins");
const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");
type PinRow = (&'static [u8], u64, u64);
/// Bytes of blocks that are taken over at a time.
const BATCH: usize = 4 << 20;

/// Takes an old store over, if there is one in the data directory.
pub(super) fn adopt(writer: &mut Writer, dir: &Path) -> Result<(), Error> {
    let path = dir.join(FILE);
    if !path.try_exists()? {
        return Ok(());
    }
    tracing::info!("blocks are taken over from the format of an older version");
    let old = database(&path, writer.options.cache_bytes)?;
    let read = old.begin_read().map_err(failed)?;
    let counts = read.open_table(COUNTS).map_err(failed)?;
    let format = counts.get("format").map_err(failed)?.map_or(1, |row| row.value());
    if format > 2 {
        return Err(Error::Format(format));
    }
    let (index, pieces) = (read.open_table(INDEX).map_err(failed)?, read.open_table(BLOCKS).map_err(failed)?);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for row in index.iter().map_err(failed)? {
        let (key, about) = row.map_err(failed)?;
        let (key, minute) = (Key::from_bytes(key.value()), (about.value() >> 32) as u32);
        if writer.index.row(&key)?.is_some() {
            continue;
        }
        let mut block = Vec::new();
        for piece in pieces.range((key.as_bytes(), 0)..=(key.as_bytes(), u32::MAX)).map_err(failed)? {
            block.extend_from_slice(piece.map_err(failed)?.1.value());
        }
        bytes += block.len();
        batch.push((None, Record { key, bytes: block.into(), minute }));
        if bytes >= BATCH {
            store(writer, &mut batch)?;
            bytes = 0;
        }
    }
    store(writer, &mut batch)?;
    let mut pins = Vec::new();
    for row in read.open_table(PINS).map_err(failed)?.iter().map_err(failed)? {
        let row = row.map_err(failed)?.1;
        let (cid, blocks, bytes) = row.value();
        let cid = Cid::try_from(cid).map_err(|error| Error::Store(Arc::new(error)))?;
        pins.push(PinReport { cid, blocks, bytes, name: String::new() });
    }
    let recorded =
        writer.transact(|write, draft| pins.iter().try_for_each(|report| pin(write, draft, report)));
    recorded.map_err(Error::Store)?;
    drop((counts, index, pieces, read, old));
    std::fs::remove_file(path)?;
    Ok(())
}

fn store(writer: &mut Writer, batch: &mut Vec<(Option<super::segment::Place>, Record)>) -> Result<(), Error> {
    writer.write(batch)?;
    batch.clear();
    writer.save().map_err(Error::Store)
}
