//! Whole histories of the market on virtual time: production actors, supervised as in production, on the
//! production store, while everything behind their ports fails as it does in the world.
//!
//! One seed is one history: which bids there are, when blocks come, what breaks and when. After every step
//! each of the [`invariants`] is asked; after the weather has calmed, every bid must come to its end. A seed that
//! fails writes its history to a file. The command `simulate` plays seeds on all cores, and shows that planted bugs are
//! caught.
//! ```text
//! plan (from the seed) ──▶ world ──▶ chain, IPFS net, people ◀── mortal ports ◀── actors ◀── supervisor
//!                            └──▶ invariants, over the truth behind the ports; history, for people
//! ```
// A simulation may die of a broken assumption: that is how it tells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bomb;
pub mod case;
pub mod clock;
pub mod dice;
pub mod friends;
pub mod history;
pub mod invariants;
pub mod mortal;
pub mod node;
pub mod people;
pub mod plan;
pub mod shrink;
pub mod street;
pub mod telling;
pub mod truth;
pub mod world;

/// The simulated chain's id.
pub const CHAIN: u64 = 31_337;

#[cfg(test)]
mod tests;
