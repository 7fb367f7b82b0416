//! Removes what nothing reaches. Its room is given back by `compact`.

use redb::ReadableTable;

use super::index::{failed, Row, INDEX};
use super::protection;
use super::writer::Change;
use super::{lock, Store};
use crate::block::Key;
use crate::dag::Seen;
use crate::{Error, Swept};

/// Blocks deleted in one transaction: few enough that a pin does not wait long for the lock.
const SWEEP_BATCH: usize = 128;

impl Store {
    /// Removes every block that is neither in `reachable`'s answer nor protected nor stored in the minute `young_from`
    /// (since 1970) or later; a store more than nine tenths full spares no young ones. `reachable` runs after protection
    /// began, so a pin recorded meanwhile keeps its blocks. Blocks, also while another sweep runs.
    pub(crate) fn sweep(
        &self,
        young_from: u32,
        reachable: impl FnOnce(&Store) -> Result<Seen, Error>,
    ) -> Result<Swept, Error> {
        let _alone = lock(&self.shared.sweeps);
        let _sweeping = protection::Sweeping::begin(&self.shared.protection);
        self.ask(Change::Settle)?;
        let index = self.index()?;
        let snapshot = index.database.begin_read().map_err(failed)?;
        let reachable = reachable(self)?;
        let rows = snapshot.open_table(INDEX).map_err(failed)?;
        let short = self.totals().bytes > self.shared.limit / 10 * 9;
        let mut swept = Swept::default();
        let mut batch = Vec::with_capacity(SWEEP_BATCH);
        for row in rows.iter().map_err(failed)? {
            let (key, row) = row.map_err(failed)?;
            let key = Key::from_bytes(key.value());
            if reachable.0.contains_key(&key) {
                continue;
            }
            if Row::read(row.value()).minute >= young_from && !short {
                swept.spared += 1;
            } else {
                batch.push(key);
            }
            if batch.len() == SWEEP_BATCH {
                self.delete(std::mem::take(&mut batch), &mut swept)?;
            }
        }
        self.delete(batch, &mut swept)?;
        Ok(swept)
    }

    fn delete(&self, keys: Vec<Key>, swept: &mut Swept) -> Result<(), Error> {
        if !keys.is_empty() {
            let batch = self.ask(Change::Delete(keys))?.swept;
            swept.blocks += batch.blocks;
            swept.bytes += batch.bytes;
        }
        Ok(())
    }
}
