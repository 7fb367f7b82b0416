//! Why the node did what it did: the trace that `scatter why` tells.

use serde::{Deserialize, Serialize};

use crate::domain::units::WallTime;
use crate::ports::store::{self, Order, Record, Store, Table};

/// One decision about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What it is about: a bid's key, or a CID.
    pub subject: String,
    /// Its place among the decisions on that subject, from 0.
    pub seq: u64,
    /// When.
    pub at: WallTime,
    /// The actor that decided.
    pub by: String,
    /// What was decided, in one line.
    pub said: String,
    /// The numbers behind it.
    pub details: serde_json::Value,
}

impl Record for Decision {
    const TABLE: Table = Table::Decisions;
    fn key(&self) -> Vec<u8> {
        let mut key = prefix(&self.subject);
        key.extend(self.seq.to_be_bytes());
        key
    }
}

/// The beginning of the keys of all decisions on a subject.
fn prefix(subject: &str) -> Vec<u8> {
    let mut key = subject.as_bytes().to_vec();
    key.push(0);
    key
}

/// The decisions on a subject, oldest first, at most `limit` of the newest.
///
/// # Errors
/// If the store fails.
pub fn on(store: &dyn Store, subject: &str, limit: usize) -> Result<Vec<Decision>, store::Error> {
    let mut newest: Vec<Decision> = store::list(store, &prefix(subject), Order::Descending, limit)?;
    newest.reverse();
    Ok(newest)
}

/// The place of the next decision on a subject.
///
/// # Errors
/// If the store fails.
pub fn next_seq(store: &dyn Store, subject: &str) -> Result<u64, store::Error> {
    Ok(on(store, subject, 1)?.last().map_or(0, |last| last.seq + 1))
}
