//! What a transaction changes, beside the rows of blocks that were written.

use std::collections::BTreeSet;

use cid::Cid;
use redb::{ReadableTable, WriteTransaction};

use super::books::Books;
use super::index::{self, cause, Cause, Row, INDEX, PINS};
use super::planted::{Bug, Planted};
use super::segment::Place;
use crate::block::Key;
use crate::{PinReport, Swept};

/// What a transaction makes of the books, if it is committed.
pub(super) struct Draft {
    pub(super) books: Books,
    /// Segments whose rows change.
    pub(super) touched: BTreeSet<u32>,
    pub(super) planted: Planted,
}

impl Draft {
    /// Gives up a segment, unless something in it is alive.
    pub(super) fn retire(&mut self, segment: u32) -> bool {
        let dead = self.books.segments.get(&segment).is_some_and(|segment| segment.live_blocks == 0)
            || self.planted.is(Bug::ForgetLiving);
        if dead {
            self.books.segments.remove(&segment);
            self.touched.insert(segment);
        }
        dead
    }
}

/// Records a pin.
pub(super) fn pin(write: &WriteTransaction, draft: &mut Draft, report: &PinReport) -> Result<(), Cause> {
    let (key, cid) = (index::pin_key(&report.cid), report.cid.to_bytes());
    let row = (cid.as_slice(), report.blocks, report.bytes, report.name.as_str());
    let mut pins = write.open_table(PINS).map_err(cause)?;
    let old = pins.insert(key.as_slice(), row).map_err(cause)?;
    draft.books.totals.pins += u64::from(old.is_none());
    Ok(())
}

/// Names a pin; says whether there was one.
pub(super) fn name(write: &WriteTransaction, cid: &Cid, name: &str) -> Result<bool, Cause> {
    let mut pins = write.open_table(PINS).map_err(cause)?;
    let key = index::pin_key(cid);
    let old = pins.remove(key.as_slice()).map_err(cause)?.map(|row| {
        let (cid, blocks, bytes, _) = row.value();
        (cid.to_vec(), blocks, bytes)
    });
    let Some((cid, blocks, bytes)) = old else {
        return Ok(false);
    };
    pins.insert(key.as_slice(), (cid.as_slice(), blocks, bytes, name)).map_err(cause)?;
    Ok(true)
}

/// Forgets a pin; says whether there was one.
pub(super) fn unpin(write: &WriteTransaction, draft: &mut Draft, cid: &Cid) -> Result<bool, Cause> {
    let mut pins = write.open_table(PINS).map_err(cause)?;
    let existed = pins.remove(index::pin_key(cid).as_slice()).map_err(cause)?.is_some();
    draft.books.totals.pins -= u64::from(existed);
    Ok(existed)
}

/// Removes rows: those whose block is where it is said to be, if that is said.
pub(super) fn delete<'k>(
    write: &WriteTransaction,
    draft: &mut Draft,
    keys: impl Iterator<Item = (&'k Key, Option<Place>)>,
) -> Result<Swept, Cause> {
    let mut rows = write.open_table(INDEX).map_err(cause)?;
    let mut swept = Swept::default();
    for (key, place) in keys {
        let row = rows.get(key.as_bytes()).map_err(cause)?.map(|row| Row::read(row.value()));
        let Some(row) = row.filter(|row| place.is_none_or(|place| place == row.place)) else {
            continue;
        };
        if !draft.planted.is(Bug::KeepRow) {
            rows.remove(key.as_bytes()).map_err(cause)?;
        }
        draft.books.died(key, row);
        draft.touched.insert(row.place.segment);
        draft.books.totals.take(row);
        swept.blocks += 1;
        swept.bytes += row.size;
    }
    Ok(swept)
}
