//! Gives disk back: segments of which much is dead are written again without it.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::index::{failed, Row, Segment, INDEX};
use super::planted::Bug;
use super::segment::{read, Place, Record, Unread};
use super::writer::Change;
use super::{lock, Store};
use crate::block::Key;
use crate::Error;

/// A segment is written again if one part in so many of it is dead. A byte freed costs at most so many less one moved.
const DEAD: u64 = 4;
/// Blocks whose rows are held in memory at a time.
const ROWS: u64 = 200_000;
/// Bytes of blocks that are moved at a time.
const BATCH: u64 = 4 << 20;

impl Store {
    /// Gives back what dead blocks take on disk, but for a quarter of what living ones take, at most. Blocks, also while
    /// another one runs.
    pub(crate) fn compact(&self) -> Result<(), Error> {
        let _alone = lock(&self.shared.sweeps);
        let (dead, mut sparse): (Vec<_>, Vec<_>) =
            self.victims()?.into_iter().partition(|(_, live)| *live == 0);
        // These first: they give the room that the others take for a while.
        if !dead.is_empty() {
            self.ask(Change::Retire(dead.into_iter().map(|(segment, _)| segment).collect()))?;
        }
        while !sparse.is_empty() {
            let (mut some, mut blocks) = (BTreeMap::new(), 0);
            while let Some((segment, live)) = sparse.pop() {
                some.insert(segment, Vec::new());
                blocks += live;
                if blocks >= ROWS {
                    break;
                }
            }
            self.empty(some)?;
        }
        Ok(())
    }

    /// Segments of which much is dead, and how many of their blocks are alive.
    fn victims(&self) -> Result<Vec<(u32, u64)>, Error> {
        let much = |segment: &Segment| (segment.end - segment.live_bytes) * DEAD >= segment.end.max(1);
        let newest = {
            let books = lock(&self.shared.books);
            books.segments.last_key_value().is_some_and(|(_, segment)| much(segment))
        };
        if newest {
            self.ask(Change::Roll)?;
        }
        let books = lock(&self.shared.books);
        let newest = books.segments.last_key_value().map(|(newest, _)| *newest);
        let victims =
            books.segments.iter().filter(|(number, segment)| Some(**number) != newest && much(segment));
        Ok(victims.map(|(number, segment)| (*number, segment.live_blocks)).collect())
    }

    /// Moves what is alive in some segments, and gives them up.
    fn empty(&self, mut segments: BTreeMap<u32, Vec<(u32, Key, Row)>>) -> Result<(), Error> {
        self.ask(Change::Settle)?;
        let index = self.index()?;
        {
            let read = index.database.begin_read().map_err(failed)?;
            for row in read.open_table(INDEX).map_err(failed)?.iter().map_err(failed)? {
                let (key, row) = row.map_err(failed)?;
                let row = Row::read(row.value());
                if let Some(rows) = segments.get_mut(&row.place.segment) {
                    rows.push((row.place.offset, Key::from_bytes(key.value()), row));
                }
            }
        }
        for (segment, mut rows) in segments {
            rows.sort_unstable_by_key(|(offset, ..)| *offset);
            self.move_out(segment, rows)?;
            self.ask(Change::Retire(vec![segment]))?;
        }
        Ok(())
    }

    fn move_out(&self, segment: u32, mut rows: Vec<(u32, Key, Row)>) -> Result<(), Error> {
        let file = match self.shared.files.readable(segment) {
            Ok(file) => Some(file),
            Err(Unread::Damaged) => None,
            Err(Unread::Io(error)) => return Err(error.into()),
        };
        let planted = self.shared.planted;
        if planted.is(Bug::ForgetLiving) {
            rows.pop();
        }
        let (mut moves, mut bytes): (Vec<(Place, Record)>, u64) = (Vec::new(), 0);
        for (offset, key, row) in rows {
            let read = |file| read(file, offset, &key, row.size, planted);
            let block = file.as_ref().map_or(Err(Unread::Damaged), read);
            match block {
                Ok(block) => moves.push((row.place, Record { key, bytes: block, minute: row.minute })),
                Err(Unread::Damaged) => self.lose(&key, row.place)?,
                Err(Unread::Io(error)) => return Err(error.into()),
            }
            bytes += row.size;
            if bytes >= BATCH {
                self.ask(Change::Move(std::mem::take(&mut moves)))?;
                bytes = 0;
            }
        }
        self.ask(Change::Move(moves)).map(drop)
    }
}
