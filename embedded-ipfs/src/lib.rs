#![doc = include_str!("../README.md")]

mod bitswap;
mod block;
mod clock;
mod config;
mod core;
mod dag;
mod dht;
mod error;
mod fetch;
mod identity;
mod node;
mod observe;
mod pin;
mod proto;
mod providing;
mod redial;
mod report;
mod seek;
mod store;
mod swarm;
mod unixfs;

pub use bitswap::engine::limits::Breach;
pub use block::verify;
pub use bytes::Bytes;
pub use cid::Cid;
pub use config::{AddOptions, Config, Dht, Limits, PinLimits};
pub use dag::links;
pub use error::Error;
pub use fetch::fetch_from;
pub use libp2p::{Multiaddr, PeerId};
pub use node::Node;
pub use observe::{Event, Observer};
pub use report::{
    Added, Answer, Breaches, Entry, Fetched, Found, Peer, PinReport, Progress, Stats, Swept, Walked,
};

/// The largest block that a message can carry, in bytes (a message has at most 4 MiB).
pub const MAX_BLOCK: usize = (4 << 20) - 1024;
