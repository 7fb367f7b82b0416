//! The pure part: types, rules and lifecycles, with neither clock nor network nor randomness.

pub mod admission;
pub mod audit;
pub mod backoff;
pub mod bid;
pub mod cids;
pub mod dag;
pub mod egress;
pub mod evidence;
pub mod following;
pub mod limits;
pub mod listening;
pub mod manifest;
pub mod market;
pub mod registration;
pub mod requests;
pub mod units;
pub mod wallet;
