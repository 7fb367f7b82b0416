//! IPNS: names that are the hash of a key, and the signed records by which the key's owner says to what they point.
//!
//! Source: the specification `src/ipns/ipns-record.md` of ipfs/specs. No network is in here: records come and go as
//! bytes, and time is an argument.

mod name;

pub use name::{Name, NotAName};
