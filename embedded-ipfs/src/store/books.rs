//! What is counted: blocks, pins, and what is alive in each segment.

use std::collections::BTreeMap;

use super::index::{Row, Segment};
use super::segment::record_len;
use super::Totals;
use crate::block::Key;

/// The counts as of the last write.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) totals: Totals,
    pub(super) segments: BTreeMap<u32, Segment>,
}

impl Books {
    /// A record was written.
    pub(super) fn born(&mut self, key: &Key, row: Row) {
        let len = record_len(key, row.size);
        let segment = self.segments.entry(row.place.segment).or_default();
        segment.end = segment.end.max(u64::from(row.place.offset) + len);
        segment.live_bytes += len;
        segment.live_blocks += 1;
    }

    /// No row points to a record any more.
    pub(super) fn died(&mut self, key: &Key, row: Row) {
        if let Some(segment) = self.segments.get_mut(&row.place.segment) {
            segment.live_bytes = segment.live_bytes.saturating_sub(record_len(key, row.size));
            segment.live_blocks = segment.live_blocks.saturating_sub(1);
        }
    }

    /// Bytes of all segments.
    pub(super) fn disk(&self) -> u64 {
        self.segments.values().map(|segment| segment.end).sum()
    }
}

impl Totals {
    /// There is one more block.
    pub(super) fn add(&mut self, row: Row) {
        self.blocks += 1;
        self.bytes += row.size;
    }

    /// There is one less.
    pub(super) fn take(&mut self, row: Row) {
        self.blocks = self.blocks.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(row.size);
    }
}
