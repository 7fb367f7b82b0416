//! Fakes for tests of the actors and for the simulation; never compiled into the shipped binary.
//!
//! Each fake keeps its port's contract and is driven by hand: no real clock, disk or randomness is behind it.
// Test code may die of a broken assumption: that is how it tells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod chain;
mod directories;
pub mod ipfs;
mod ipfs_contract;
pub mod market;
mod memory;
pub mod names;
mod store;

pub use directories::unixfs_directory;
pub use ipfs::MemoryIpfs;
pub use ipfs_contract::{ipfs_contract, ipfs_directory_contract, ipfs_layout_contract, ipfs_twin_contract};
pub use memory::{ManualClock, MemoryDisk, SeededRandomness};
pub use names::MemoryNames;
pub use store::{store_contract, Fuse, MemoryStore};
