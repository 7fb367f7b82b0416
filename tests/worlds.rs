//! The simulation's worlds held against the real servers: what a model says, a real chain and a real IPFS node say, too.
//!
//! A history of the simulation is worth as much as its worlds are true. Each test plays the same script to the model and to
//! the server and compares all that can be seen after every step.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "worlds/ground.rs"]
mod ground;
#[path = "worlds/market.rs"]
mod market;
#[path = "worlds/mempool.rs"]
mod mempool;
mod support;
