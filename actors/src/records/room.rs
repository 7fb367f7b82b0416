//! How much room pins take and bids may still take: one document, changed by the batch that changes what it counts.
//!
//! Whoever asks reads one row, however many pins and bids there are. A store of a version that knew no such document
//! is counted, until the first change writes it.

use serde::{Deserialize, Serialize};

use super::hosting::{HostedBid, Pin};
use crate::domain::admission::byte_cap;
use crate::domain::bid::Stage;
use crate::ports::store::{self, Batch, Change, Record, Store, Table};

/// Room that is taken or promised, and by how many pins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Roots that are here as a whole.
    pub pins: u64,
    /// Bytes of these.
    pub pinned_bytes: u64,
    /// Bytes of roots that were here and are being released, or wanted again.
    pub leaving_bytes: u64,
    /// Bytes that admitted bids may still bring.
    pub promised_bytes: u64,
}

/// A record that takes room.
pub trait TakesRoom: Record {
    /// How much it takes by itself.
    fn room(&self) -> Room;
}

impl TakesRoom for Pin {
    fn room(&self) -> Room {
        match self.pinned_at {
            Some(_) => Room { pins: 1, pinned_bytes: self.bytes, ..Room::default() },
            None => Room { leaving_bytes: self.bytes, ..Room::default() },
        }
    }
}

impl TakesRoom for HostedBid {
    fn room(&self) -> Room {
        match self.stage {
            Stage::Admitted { .. } | Stage::Accepting { .. } | Stage::Fetching { .. } => {
                Room { promised_bytes: byte_cap(self.terms.size).0, ..Room::default() }
            }
            _ => Room::default(),
        }
    }
}

impl Record for Room {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

impl Room {
    const KEY: &'static [u8] = b"room";

    /// What is taken now.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Self, store::Error> {
        match store::read(store, Self::KEY)? {
            Some(room) => Ok(room),
            None => Self::count(store),
        }
    }

    /// What is taken, counted pin by pin and bid by bid.
    ///
    /// # Errors
    /// If the store fails.
    pub fn count(store: &dyn Store) -> Result<Self, store::Error> {
        let mut room = Self::default();
        store::visit::<Pin>(store, &[], |pin| room = room.with(pin.room()))?;
        store::visit::<HostedBid>(store, &[], |bid| room = room.with(bid.room()))?;
        Ok(room)
    }

    /// Writes what a change of one record does to the room: `before` is what stands in the store or in the batch,
    /// `after` what the batch makes of it. The batch is to be committed before another is begun.
    ///
    /// # Errors
    /// If the store fails.
    pub fn change<T: TakesRoom>(
        store: &dyn Store,
        batch: &mut Batch,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<(), store::Error> {
        let [before, after] = [before, after].map(|record| record.map(T::room).unwrap_or_default());
        if before == after {
            return Ok(());
        }
        let standing = match Self::take(batch) {
            Some(room) => room,
            None => Self::read(store)?,
        };
        batch.put(&standing.with(after).without(before));
        Ok(())
    }

    /// What is taken once a batch is committed.
    ///
    /// # Errors
    /// If the store fails.
    pub fn after(store: &dyn Store, batch: &Batch) -> Result<Self, store::Error> {
        match batch.changes.iter().rev().find_map(Self::in_change) {
            Some(room) => Ok(room),
            None => Self::read(store),
        }
    }

    fn in_change(change: &Change) -> Option<Self> {
        match change {
            Change::Put(Self::TABLE, key, doc) if key == Self::KEY => serde_json::from_slice(doc).ok(),
            _ => None,
        }
    }

    /// Takes out of a batch what it says of the room so far.
    fn take(batch: &mut Batch) -> Option<Self> {
        let is_room =
            |change: &Change| matches!(change, Change::Put(Self::TABLE, key, _) if key == Self::KEY);
        // The newest change is the last: a batch of many pins is not searched again for each.
        let place = batch.changes.iter().rposition(is_room)?;
        match batch.changes.remove(place) {
            Change::Put(_, _, doc) => serde_json::from_slice(&doc).ok(),
            Change::Delete(..) => None,
        }
    }

    /// Corrects the document where it is not what was counted. Tells whether it was wrong.
    ///
    /// # Errors
    /// If the store fails.
    pub fn mend(store: &dyn Store) -> Result<bool, store::Error> {
        let counted = Self::count(store)?;
        let written = store::read::<Self>(store, Self::KEY)?;
        if written == Some(counted) {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.put(&counted);
        store.commit(batch)?;
        Ok(written.is_some())
    }

    fn with(self, more: Self) -> Self {
        self.each(more, u64::saturating_add)
    }

    fn without(self, less: Self) -> Self {
        self.each(less, u64::saturating_sub)
    }

    fn each(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            pins: of(self.pins, other.pins),
            pinned_bytes: of(self.pinned_bytes, other.pinned_bytes),
            leaving_bytes: of(self.leaving_bytes, other.leaving_bytes),
            promised_bytes: of(self.promised_bytes, other.promised_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::cids;
    use crate::domain::market::{BidKey, BidTerms, Market};
    use crate::domain::units::{Address, BidId, ByteSize, ChainTime, FileHash, WallTime, Wei};
    use crate::testkit::MemoryStore;

    fn pin(n: u8, bytes: u64, complete: bool) -> Pin {
        let pinned_at = complete.then_some(WallTime(1));
        Pin { bytes, blocks: 1, pinned_at, ..Pin::wanted(cids::of_file(FileHash([n; 32])), false) }
    }

    fn bid(n: u8, size: u64, stage: Stage) -> HostedBid {
        let file = FileHash([n; 32]);
        let terms = BidTerms {
            bidder: Address([7; 20]),
            file,
            size: ByteSize(size),
            amount: Wei::from(1),
            pool: Wei::from(1),
            duration: 1,
            min_validations: 1,
        };
        let market = Market { chain: 1, address: Address([2; 20]) };
        HostedBid {
            bid: BidKey { market, id: BidId(n.into()) },
            terms,
            cid: cids::of_file(file),
            placed_at: ChainTime(1),
            stage,
            since: WallTime(1),
        }
    }

    /// Bytes of a record below this.
    const MOST: u64 = 1 << 40;

    /// One change of one record.
    #[derive(Debug, Clone)]
    enum Op {
        Pin(u8, Option<(u64, bool)>),
        Bid(u8, u64, bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        let pinned = (0..6u8, prop::option::of((0..MOST, any::<bool>())));
        prop_oneof![
            pinned.prop_map(|(n, pin)| Op::Pin(n, pin)),
            (0..4u8, 1..MOST, any::<bool>()).prop_map(|(n, size, live)| Op::Bid(n, size, live)),
        ]
    }

    /// What the batch or the store says of a record.
    fn standing<R: Record>(store: &MemoryStore, batch: &Batch, key: &[u8]) -> Option<R> {
        let pending = batch.changes.iter().rev().find_map(|change| match change {
            Change::Put(table, at, doc) if *table == R::TABLE && at == key => {
                Some(serde_json::from_slice(doc).ok())
            }
            Change::Delete(table, at) if *table == R::TABLE && at == key => Some(None),
            _ => None,
        });
        pending.unwrap_or_else(|| store::read(store, key).unwrap())
    }

    fn write(store: &MemoryStore, batch: &mut Batch, op: &Op) {
        match *op {
            Op::Pin(n, after) => {
                let key = pin(n, 0, false).key();
                let before = standing::<Pin>(store, batch, &key);
                let after = after.map(|(bytes, complete)| pin(n, bytes, complete));
                match &after {
                    Some(pin) => batch.put(pin),
                    None => batch.delete::<Pin>(&key),
                }
                Room::change(store, batch, before.as_ref(), after.as_ref()).unwrap();
            }
            Op::Bid(n, size, live) => {
                let stage = match live {
                    true => Stage::Admitted { not_before: ChainTime(1), attempt: 0 },
                    false => Stage::Declined { reason: String::new() },
                };
                let after = bid(n, size, stage);
                let before = standing::<HostedBid>(store, batch, &after.key());
                batch.put(&after);
                Room::change(store, batch, before.as_ref(), Some(&after)).unwrap();
            }
        }
    }

    proptest! {
        /// Batches of any changes, some of which never reach the disk, over a store that began without the document.
        #[test]
        fn the_room_written_is_the_room_counted(
            before in prop::collection::vec((0..6u8, 0..MOST, any::<bool>()), 0..4),
            batches in prop::collection::vec((prop::collection::vec(op(), 1..6), any::<bool>()), 1..12),
        ) {
            let store = MemoryStore::new();
            let mut old = Batch::new();
            before.iter().for_each(|(n, bytes, complete)| old.put(&pin(*n, *bytes, *complete)));
            store.commit(old).unwrap();
            for (ops, lost) in batches {
                let mut batch = Batch::new();
                ops.iter().for_each(|op| write(&store, &mut batch, op));
                if !lost {
                    store.commit(batch).unwrap();
                }
                prop_assert_eq!(Room::read(&store).unwrap(), Room::count(&store).unwrap());
            }
        }
    }

    #[test]
    fn a_document_that_is_wrong_is_found_out_and_corrected() {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(&pin(1, 7, true));
        batch.put(&Room { pins: 9, ..Room::default() });
        store.commit(batch).unwrap();
        assert!(Room::mend(&store).unwrap());
        assert_eq!(Room::read(&store).unwrap(), Room { pins: 1, pinned_bytes: 7, ..Room::default() });
        assert!(!Room::mend(&store).unwrap());
    }
}
