//! The Kubo backend: held to the port's contract by a real Kubo.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "kubo/daemon.rs"]
mod daemon;
mod support;
