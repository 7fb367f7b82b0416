//! The durable truth: documents in tables, changed only by batches that happen whole or not at all.
//!
//! One mechanism for all records: a table maps ordered byte keys to documents, which are JSON but for those of which
//! there are very many ([`Record::to_doc`]). What a record is and how
//! its key is made stands with the record ([`Record`]). A batch is the unit of durability, so a stage change
//! and the intents that it causes are one [`Batch`], and a simulated kill can strike between any two.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::Serialize;

/// Rows that [`visit`] reads at once.
const PAGE: usize = 1_000;

/// The store's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Headers of the newest blocks, by number.
    Blocks,
    /// The journal of what the chain told, by sequence.
    Facts,
    /// The journal of what became of intents, by sequence.
    Outcomes,
    /// Logs that could not be decoded, by block and index.
    Poison,
    /// How far each reader of a journal has come, by name.
    Cursors,
    /// Hosted bids and their stages, by bid.
    Bids,
    /// Audits, by bid.
    Audits,
    /// Transactions wanted, by idempotency key.
    Intents,
    /// Transactions signed, by nonce and try.
    Attempts,
    /// What was spent, by time.
    Spend,
    /// Who needs which root: by root, then owner.
    Refs,
    /// Pins that we made, by root.
    Pins,
    /// Blocks reached from pinned roots, by multihash and by root.
    LeafIndex,
    /// Why a decision was taken, by subject and sequence.
    Decisions,
    /// Single facts about this store: chain, market, secrets' chains.
    Meta,
    /// Peers of the consortium and how each stands, by kind and name.
    Peers,
    /// What peers list, file by file, and what this node lists itself.
    Manifests,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 17] = [
        Self::Blocks,
        Self::Facts,
        Self::Outcomes,
        Self::Poison,
        Self::Cursors,
        Self::Bids,
        Self::Audits,
        Self::Intents,
        Self::Attempts,
        Self::Spend,
        Self::Refs,
        Self::Pins,
        Self::LeafIndex,
        Self::Decisions,
        Self::Meta,
        Self::Peers,
        Self::Manifests,
    ];

    /// The table's name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Facts => "facts",
            Self::Outcomes => "outcomes",
            Self::Poison => "poison",
            Self::Cursors => "cursors",
            Self::Bids => "bids",
            Self::Audits => "audits",
            Self::Intents => "intents",
            Self::Attempts => "attempts",
            Self::Spend => "spend",
            Self::Refs => "refs",
            Self::Pins => "pins",
            Self::LeafIndex => "leaf_index",
            Self::Decisions => "decisions",
            Self::Meta => "meta",
            Self::Peers => "peers",
            Self::Manifests => "manifests",
        }
    }
}

/// Why the store failed. Nothing of a failed batch is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The database refused or the disk did.
    #[error("the store failed: {0}")]
    Failed(String),
    /// A document is not what its table should hold.
    #[error("{table} {key}: unreadable record: {what}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The key in hex.
        key: String,
        /// The parser's words.
        what: String,
    },
}

impl Error {
    /// Whether the same write may succeed later (a full disk may be emptied).
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// A key and its document, as stored.
pub type Row = (Vec<u8>, Vec<u8>);

/// One change in a batch.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a document, replacing what stood there.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Removes a document; harmless if there is none.
    Delete(Table, Vec<u8>),
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(table, key, doc) => {
                write!(f, "put {} {} {}", table.name(), hex::encode(key), String::from_utf8_lossy(doc))
            }
            Self::Delete(table, key) => write!(f, "delete {} {}", table.name(), hex::encode(key)),
        }
    }
}

/// Changes that happen together or not at all, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a record, replacing the one of the same key.
    pub fn put<R: Record>(&mut self, record: &R) {
        let doc = record.to_doc().unwrap_or_else(|error| {
            // A record that has no JSON is a bug of its type, and every test that writes one finds it here. In
            // a release the null is told when it is read: nothing is taken for something else.
            debug_assert!(
                false,
                "{} {record_type}: {error}",
                R::TABLE.name(),
                record_type = std::any::type_name::<R>()
            );
            b"null".to_vec()
        });
        self.changes.push(Change::Put(R::TABLE, record.key(), doc));
    }
    /// Removes the record of that key.
    pub fn delete<R: Record>(&mut self, key: &[u8]) {
        self.changes.push(Change::Delete(R::TABLE, key.to_vec()));
    }
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A document with a place in the store.
pub trait Record: Serialize + DeserializeOwned {
    /// Where it stands.
    const TABLE: Table;
    /// Its key there; keys sort as bytes.
    fn key(&self) -> Vec<u8>;
    /// Its document, JSON as a rule.
    ///
    /// # Errors
    /// If it has none.
    fn to_doc(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
    /// The record that a row holds.
    ///
    /// # Errors
    /// If the row holds something else.
    fn from_row(_key: &[u8], doc: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(doc)
    }
}

/// Which way a scan runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// The store. Synchronous: transactions are short, and there is one writer.
pub trait Store {
    /// The document of a key.
    ///
    /// # Errors
    /// If the database fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
    /// At most `limit` rows with `from <= key` and, where `until` is given, `key < until`.
    ///
    /// # Errors
    /// If the database fails.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error>;
    /// Makes all changes durable together.
    ///
    /// # Errors
    /// If the database fails; then nothing is changed.
    fn commit(&self, batch: Batch) -> Result<(), Error>;
}

/// Reads one record.
///
/// # Errors
/// If the store fails or holds something else there.
pub fn read<R: Record>(store: &dyn Store, key: &[u8]) -> Result<Option<R>, Error> {
    store.get(R::TABLE, key)?.map(|doc| decode::<R>(key, &doc)).transpose()
}

/// Reads records whose keys begin with `prefix`, at most `limit`.
///
/// # Errors
/// If the store fails or holds something else there.
pub fn list<R: Record>(
    store: &dyn Store,
    prefix: &[u8],
    order: Order,
    limit: usize,
) -> Result<Vec<R>, Error> {
    let until = end_of(prefix);
    store
        .scan(R::TABLE, prefix, until.as_deref(), order, limit)?
        .into_iter()
        .map(|(key, doc)| decode::<R>(&key, &doc))
        .collect()
}

/// Visits all records whose keys begin with `prefix`, a page at a time: a large table is never in memory as a whole.
///
/// # Errors
/// If the store fails or holds something else there.
pub fn visit<R: Record>(store: &dyn Store, prefix: &[u8], mut each: impl FnMut(R)) -> Result<(), Error> {
    let until = end_of(prefix);
    let mut from = prefix.to_vec();
    loop {
        let rows = store.scan(R::TABLE, &from, until.as_deref(), Order::Ascending, PAGE)?;
        let last = rows.len() < PAGE;
        for (key, doc) in rows {
            each(decode::<R>(&key, &doc)?);
            from = key;
            // The smallest key behind this one.
            from.push(0);
        }
        if last {
            return Ok(());
        }
    }
}

/// Reads records from a key on, at most `limit`.
///
/// # Errors
/// If the store fails or holds something else there.
pub fn list_from<R: Record>(store: &dyn Store, from: &[u8], limit: usize) -> Result<Vec<R>, Error> {
    store
        .scan(R::TABLE, from, None, Order::Ascending, limit)?
        .into_iter()
        .map(|(key, doc)| decode::<R>(&key, &doc))
        .collect()
}

/// The smallest key behind all keys that begin with `prefix`; `None` if there is no such key.
pub fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(end);
        }
        end.pop();
    }
    None
}

pub(crate) fn decode<R: Record>(key: &[u8], doc: &[u8]) -> Result<R, Error> {
    R::from_row(key, doc).map_err(|e| Error::Unreadable {
        table: R::TABLE.name(),
        key: hex::encode(key),
        what: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_its_keys() {
        assert_eq!(end_of(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of(&[1, 255]), Some(vec![2]));
        assert_eq!(end_of(&[255, 255]), None);
        assert_eq!(end_of(b""), None);
    }
}
