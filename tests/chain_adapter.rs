//! The chain and key adapters against a real chain: our contracts, the legacy market's traps, and providers that lie.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "chain_adapter/liar.rs"]
mod liar;
#[path = "chain_adapter/listening.rs"]
mod listening;
#[path = "chain_adapter/logs.rs"]
mod logs;
#[path = "chain_adapter/market.rs"]
mod market;
#[path = "chain_adapter/moving.rs"]
mod moving;
#[path = "chain_adapter/provider.rs"]
mod provider;
mod support;
#[path = "chain_adapter/world.rs"]
mod world;
