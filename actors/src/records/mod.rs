//! What stands in the store: each record, its table and its key. Who writes which: see the crate doc.

pub mod audit;
pub mod consortium;
pub mod decision;
pub mod following;
pub mod hosting;
pub mod intent;
pub mod journal;
pub mod listening;
pub mod meta;
pub mod room;
pub mod upkeep;
pub mod wallet;
