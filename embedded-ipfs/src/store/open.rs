//! Opens a store: the index as of its last transaction, then what the segments have beyond it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::books::Books;
use super::index::Index;
use super::planted::{Bug, Planted};
use super::protection::Protection;
use super::segment::{replay, Files, Tail, Unread};
use super::writer::{row_of, Writer};
use super::{old, Options};
use crate::Error;

/// The index, in the data directory.
pub(super) const INDEX: &str = "index.redb";
/// The segments' directory in it.
pub(super) const SEGMENTS: &str = "blocks";

/// Opens or makes the store below `dir`, as a writer that has not begun.
pub(super) fn open(dir: &Path, options: Options) -> Result<Writer, Error> {
    let index = Arc::new(Index::open(&dir.join(INDEX), options.cache_bytes)?);
    let files = Arc::new(Files::open(&dir.join(SEGMENTS))?);
    let (totals, segments) = index.counted()?;
    // The newest has a row from the first transaction on that it was there for.
    let newest = segments.last_key_value().map_or(1, |(newest, _)| *newest);
    let (left_over, written): (Vec<_>, Vec<_>) = files
        .segments()?
        .into_iter()
        .partition(|segment| *segment < newest && !segments.contains_key(segment));
    let planted = options.planted;
    for segment in left_over.into_iter().filter(|_| !planted.is(Bug::KeepLeftOver)) {
        files.remove(segment)?;
    }
    let mut books = Books { totals, segments };
    let mut touched = BTreeSet::new();
    let (mut tail, mut end) = (newest, 0);
    for segment in written.into_iter().filter(|segment| *segment >= newest) {
        let from = books.segments.get(&segment).map_or(0, |segment| segment.end);
        tail = segment;
        end = catch_up(&index, &files, &mut books, &mut touched, (segment, from), planted)?;
    }
    let mut writer = Writer {
        tail: Tail::open(&files, tail, end)?,
        index,
        files,
        books: Arc::new(Mutex::new(books)),
        protection: Arc::new(Mutex::new(Protection::new(planted))),
        options,
        touched,
        unsaved: 0,
    };
    writer.save().map_err(Error::Store)?;
    old::adopt(&mut writer, dir)?;
    Ok(writer)
}

/// Notes the records of a segment that came after the last transaction; answers with where they end.
fn catch_up(
    index: &Index,
    files: &Files,
    books: &mut Books,
    touched: &mut BTreeSet<u32>,
    (segment, from): (u32, u64),
    planted: Planted,
) -> Result<u64, Error> {
    let file = files.readable(segment).map_err(|unread| match unread {
        Unread::Io(error) => Error::Io(error),
        Unread::Damaged => Error::Io(std::io::ErrorKind::NotFound.into()),
    })?;
    let mut look = index.look();
    let end = replay(&file, segment, from, planted, |record, place| {
        let (before, row) = (look.row(&record.key)?, row_of(&record, place));
        match before {
            Some(before) => books.died(&record.key, before),
            None => books.totals.add(row),
        }
        books.born(&record.key, row);
        index.recent().insert(record.key, row);
        Ok::<_, Error>(())
    })?;
    if end > from {
        touched.insert(segment);
    }
    let segment = books.segments.entry(segment).or_default();
    segment.end = segment.end.max(end);
    Ok(end)
}
