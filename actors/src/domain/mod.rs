//! The pure part: types, rules and lifecycles, with neither clock nor network nor randomness.

pub mod backoff;
pub mod bid;
pub mod cids;
pub mod market;
pub mod units;
pub mod wallet;
