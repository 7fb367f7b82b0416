//! Reads what is kept in the order in which it lies on disk, so that damage is found that nobody would come across.
//!
//! It holds no lock that a write, a read or a sweep waits for, and 16 bytes for each of the next records: the index is
//! read through once for so many of them. Segments may be written again meanwhile: what is moved is checked by that, and
//! what is written after the beginning is left out.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, BinaryHeap};
use std::hash::{Hash, Hasher};
use std::iter::Peekable;
use std::vec::IntoIter;

use redb::ReadableTable;

use super::index::{failed, Index, Row, INDEX};
use super::segment::{check, record_len, Place, Unread};
use super::writer::Change;
use super::{lock, Found, Store};
use crate::block::Key;
use crate::Error;

/// Records whose places are held in memory at a time: 8 MiB.
const PLACES: usize = 512 << 10;

/// A record to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    place: Place,
    /// Bytes of the record.
    len: u32,
    /// A sum of the multihash, so that a row that leads to another block's record is noticed.
    tag: u32,
}

impl Spot {
    fn new(key: &Key, row: Row) -> Spot {
        Spot { place: row.place, len: record_len(key, row.size) as u32, tag: tag(key) }
    }
}

fn tag(key: &Key) -> u32 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() as u32
}

/// What was read in one go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Blocks that are as they were stored.
    pub(crate) blocks: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Those that are not: they were dropped, and are asked for.
    pub(crate) damaged: Vec<Key>,
}

/// A reading of all blocks that there were when it began. It may be dropped at any time.
pub(crate) struct Verification {
    store: Store,
    /// All before it was read.
    next: Place,
    end: Place,
    /// The next records, in order.
    spots: Peekable<IntoIter<Spot>>,
    /// There are none behind these.
    last: bool,
    /// Bytes read so far, whole or not.
    read: u64,
    places: usize,
}

impl Store {
    /// Will read what is here now, from a place on. Blocks.
    pub(crate) fn verification(&self, from: Place) -> Result<Verification, Error> {
        self.ask(Change::Settle)?;
        let books = lock(&self.shared.books);
        let newest = books.segments.last_key_value();
        let end = newest.map_or_else(Place::default, |(segment, books)| Place {
            segment: *segment,
            offset: books.end as u32,
        });
        drop(books);
        Ok(Verification {
            store: self.clone(),
            next: from,
            end,
            spots: Vec::new().into_iter().peekable(),
            last: false,
            read: 0,
            places: PLACES,
        })
    }
}

impl Verification {
    /// Where another reading would go on.
    pub(crate) fn next(&self) -> Place {
        self.next
    }

    /// Bytes read so far, those of damaged records too.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// With so many places in memory at a time.
    #[cfg(test)]
    pub(super) fn holding(self, places: usize) -> Verification {
        Verification { places, ..self }
    }

    /// Reads on in one segment, at least a block and until it has so many bytes; `None` at the end. Blocks.
    pub(crate) fn step(&mut self, bytes: u64) -> Result<Option<Checked>, Error> {
        let index = self.store.index()?;
        if self.spots.peek().is_none() && !self.last {
            let spots = spots(&index, self.next..self.end, self.places)?;
            self.last = spots.len() < self.places;
            self.spots = spots.into_iter().peekable();
        }
        let Some(Place { segment, .. }) = self.spots.peek().map(|spot| spot.place) else {
            return Ok(None);
        };
        let file = match self.store.shared.files.readable(segment) {
            Ok(file) => Some(file),
            Err(Unread::Damaged) => None,
            Err(Unread::Io(error)) => return Err(error.into()),
        };
        let planted = self.store.shared.planted;
        let (mut checked, mut suspects, mut read) = (Checked::default(), BTreeSet::new(), 0);
        while read < bytes {
            let Some(spot) = self.spots.next_if(|spot| spot.place.segment == segment) else { break };
            let Place { offset, .. } = spot.place;
            let check = |file| check(file, offset, spot.len.into(), planted);
            let found = file.as_ref().map_or(Err(Unread::Damaged), check);
            let takes = file.as_ref().map_or(0, |_| u64::from(spot.len));
            (read, self.read) = (read + takes, self.read + takes);
            match found {
                Ok((key, size)) if tag(&key) == spot.tag => {
                    checked.blocks += 1;
                    checked.bytes += size;
                }
                Ok(_) | Err(Unread::Damaged) => drop(suspects.insert(spot)),
                Err(Unread::Io(error)) => return Err(error.into()),
            }
            self.next = Place { segment, offset: offset + 1 };
        }
        if !suspects.is_empty() {
            for key in keys_of(&index, &suspects)? {
                // A segment that was given up in the midst of this makes suspects, too.
                match self.store.find(&key)? {
                    Found::Damaged => checked.damaged.push(key),
                    Found::Whole(block) => {
                        checked.blocks += 1;
                        checked.bytes += block.len() as u64;
                    }
                    Found::Absent => {}
                }
            }
        }
        Ok(Some(checked))
    }
}

/// The first records in a range, in order, as the index has them.
fn spots(index: &Index, range: std::ops::Range<Place>, most: usize) -> Result<Vec<Spot>, Error> {
    let mut first = BinaryHeap::new();
    each_row(index, |key, row| {
        if range.contains(&row.place) {
            let spot = Spot::new(&Key::from_bytes(key), row);
            if first.len() < most {
                first.push(spot);
            } else if let Some(mut furthest) = first.peek_mut().filter(|furthest| spot < **furthest) {
                *furthest = spot;
            }
        }
    })?;
    Ok(first.into_sorted_vec())
}

/// Whose records these are, but for those that were moved or removed meanwhile.
fn keys_of(index: &Index, spots: &BTreeSet<Spot>) -> Result<Vec<Key>, Error> {
    let mut keys = Vec::new();
    each_row(index, |key, row| {
        let key = Key::from_bytes(key);
        if spots.contains(&Spot::new(&key, row)) {
            keys.push(key);
        }
    })?;
    Ok(keys)
}

fn each_row(index: &Index, mut row: impl FnMut(&[u8], Row)) -> Result<(), Error> {
    let read = index.database.begin_read().map_err(failed)?;
    for entry in read.open_table(INDEX).map_err(failed)?.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        row(key.value(), Row::read(value.value()));
    }
    Ok(())
}
