//! A store in memory that can be killed between any two commits, and the contract that every store keeps.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::ports::store::{Batch, Change, Error, Order, Row, Store, Table};

/// Burns after a number of commits; then the store is dead, as after a kill of the process.
///
/// Clones share one fuse, so that other fakes can die with the store.
#[derive(Debug, Clone)]
pub struct Fuse(Rc<Cell<Option<u64>>>);

impl Fuse {
    /// A fuse that never burns by itself.
    pub fn lasting() -> Self {
        Self(Rc::new(Cell::new(None)))
    }
    /// From now on `commits` more succeed, then everything fails.
    pub fn burn_after(&self, commits: u64) {
        self.0.set(Some(commits));
    }
    /// Everything fails from now on.
    pub fn blow(&self) {
        self.burn_after(0);
    }
    /// Whether it has burnt.
    pub fn is_blown(&self) -> bool {
        self.0.get() == Some(0)
    }
    /// For stores: whether the next call may go through.
    ///
    /// # Errors
    /// Once the fuse has burnt.
    pub fn check(&self) -> Result<(), Error> {
        match self.is_blown() {
            true => Err(Error::Failed("the fuse has blown".into())),
            false => Ok(()),
        }
    }
    /// For stores: a commit has succeeded.
    pub fn count(&self) {
        self.0.set(self.0.get().map(|left| left - 1));
    }
}

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    rows: Rc<RefCell<Rows>>,
    fuse: Fuse,
    commits: Cell<u64>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { rows: Rc::default(), fuse: Fuse::lasting(), commits: Cell::new(0) }
    }
    /// What kills it.
    pub fn fuse(&self) -> Fuse {
        self.fuse.clone()
    }
    /// How many commits have succeeded (empty batches too).
    pub fn commits(&self) -> u64 {
        self.commits.get()
    }
    /// The store as the next process finds it: the same rows, a new fuse. The old handle becomes inert.
    pub fn reopen(&self) -> Self {
        self.fuse.blow();
        Self { rows: self.rows.clone(), fuse: Fuse::lasting(), commits: Cell::new(0) }
    }
    /// All rows, to compare two stores or two moments.
    pub fn dump(&self) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        self.rows.borrow().iter().map(|((table, key), doc)| (*table, key.clone(), doc.clone())).collect()
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.fuse.check()?;
        Ok(self.rows.borrow().get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        self.fuse.check()?;
        let rows = self.rows.borrow();
        let span = rows
            .range((table, from.to_vec())..)
            .take_while(|((t, key), _)| *t == table && until.is_none_or(|until| key.as_slice() < until))
            .map(|((_, key), doc)| (key.clone(), doc.clone()));
        Ok(match order {
            Order::Ascending => span.take(limit).collect(),
            Order::Descending => {
                let all: Vec<Row> = span.collect();
                all.into_iter().rev().take(limit).collect()
            }
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.fuse.check()?;
        let mut rows = self.rows.borrow_mut();
        for change in batch.changes {
            match change {
                Change::Put(table, key, doc) => rows.insert((table, key), doc),
                Change::Delete(table, key) => rows.remove(&(table, key)),
            };
        }
        self.fuse.count();
        self.commits.set(self.commits.get() + 1);
        Ok(())
    }
}

/// What every store keeps to. Wants an empty store; leaves some rows behind.
///
/// # Panics
/// If the store breaks the contract.
pub fn store_contract(store: &dyn Store) {
    let put = |table, key: &[u8], doc: &[u8]| Change::Put(table, key.to_vec(), doc.to_vec());
    let commit = |changes| store.commit(Batch { changes }).unwrap();
    let keys = |from: &[u8], until: Option<&[u8]>, order, limit| -> Vec<Vec<u8>> {
        let rows = store.scan(Table::Bids, from, until, order, limit).unwrap();
        rows.into_iter().map(|(key, _)| key).collect()
    };

    // What was never written is not there; an empty batch and a delete of nothing are harmless.
    assert_eq!(store.get(Table::Bids, b"a").unwrap(), None);
    commit(vec![]);
    commit(vec![Change::Delete(Table::Bids, b"a".to_vec())]);

    // Keys are arbitrary bytes in byte order, the shorter first; tables do not see each other.
    let ordered: [&[u8]; 6] = [b"", &[0], &[0, 0], b"a", b"ab", &[255, 255]];
    commit(ordered.iter().rev().map(|key| put(Table::Bids, key, b"1")).collect());
    commit(vec![put(Table::Pins, b"a", b"other"), put(Table::Audits, &[255, 255, 255], b"other")]);
    let up: Vec<Vec<u8>> = ordered.iter().map(|key| key.to_vec()).collect();
    let down: Vec<Vec<u8>> = up.iter().rev().cloned().collect();
    assert_eq!(keys(b"", None, Order::Ascending, 100), up);
    assert_eq!(keys(b"", None, Order::Descending, 100), down);

    // `from` is included, `until` is not; the limit cuts at the end where the scan goes to.
    assert_eq!(keys(b"a", Some(b"ab"), Order::Ascending, 100), [b"a".to_vec()]);
    assert_eq!(keys(b"a", Some(&[255, 255]), Order::Descending, 1), [b"ab".to_vec()]);
    assert_eq!(keys(b"", None, Order::Ascending, 2), up[..2]);
    assert_eq!(keys(b"", None, Order::Ascending, 0), Vec::<Vec<u8>>::new());
    assert_eq!(keys(b"b", Some(b"a"), Order::Ascending, 100), Vec::<Vec<u8>>::new());

    // A put replaces; the changes of a batch happen in their order.
    commit(vec![
        put(Table::Bids, b"a", b"2"),
        put(Table::Bids, b"b", b"gone"),
        Change::Delete(Table::Bids, b"b".to_vec()),
        Change::Delete(Table::Bids, b"ab".to_vec()),
        put(Table::Bids, b"ab", b"back"),
    ]);
    assert_eq!(store.get(Table::Bids, b"a").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(store.get(Table::Bids, b"b").unwrap(), None);
    assert_eq!(store.get(Table::Bids, b"ab").unwrap().as_deref(), Some(&b"back"[..]));
    assert_eq!(store.get(Table::Pins, b"a").unwrap().as_deref(), Some(&b"other"[..]));

    // Every table of the port exists.
    for table in Table::ALL {
        commit(vec![put(table, b"every", b"x")]);
        assert_eq!(store.get(table, b"every").unwrap().as_deref(), Some(&b"x"[..]), "{}", table.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_store_keeps_the_contract_of_stores() {
        store_contract(&MemoryStore::new());
    }

    #[test]
    fn a_store_whose_fuse_burns_keeps_what_was_committed_before_and_nothing_after() {
        let store = MemoryStore::new();
        let put = |key: u8| Batch { changes: vec![Change::Put(Table::Bids, vec![key], vec![key])] };
        store.fuse().burn_after(2);
        store.commit(put(1)).unwrap();
        store.commit(put(2)).unwrap();
        assert!(store.commit(put(3)).is_err());
        assert!(store.get(Table::Bids, &[1]).is_err());
        let next = store.reopen();
        assert_eq!(next.dump().len(), 2);
        next.commit(put(3)).unwrap();
        assert!(store.commit(put(4)).is_err(), "the dead process writes no more");
        assert_eq!(next.dump().len(), 3);
    }
}
