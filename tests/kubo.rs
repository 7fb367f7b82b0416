//! The Kubo backend, faced with what a real Kubo was recorded to answer in every run, and with a real Kubo where there is
//! one.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "kubo/bursts.rs"]
mod bursts;
#[path = "kubo/calls.rs"]
mod calls;
#[path = "kubo/daemon.rs"]
mod daemon;
#[path = "kubo/faults.rs"]
mod faults;
#[path = "kubo/recordings.rs"]
mod recordings;
#[path = "kubo/rows.rs"]
mod rows;
mod support;
