#![doc = include_str!("../README.md")]

mod ahead;
mod batch;
mod bitswap;
mod block;
mod car;
mod clock;
mod config;
mod core;
mod dag;
mod dht;
mod durable;
mod error;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod node;
mod observe;
mod path;
mod pin;
mod proto;
mod providing;
mod publishing;
mod redial;
mod report;
mod seek;
mod store;
mod swarm;
mod unixfs;

pub use bitswap::engine::limits::Breach;
pub use block::verify;
pub use bytes::Bytes;
pub use car::BadCar;
pub use cid::Cid;
pub use config::{AddOptions, Config, Dht, DirectorySize, Limits, PinLimits, PublishOptions};
pub use dag::links;
pub use error::Error;
pub use fetch::fetch_from;
pub use ipns_record;
pub use ipns_record::{Name, Record, SigningKey};
pub use libp2p::{Multiaddr, PeerId};
pub use node::{Adding, Node};
pub use observe::{Event, Observer};
pub use report::{
    Added, Answer, Breaches, Entry, Fetched, Found, Imported, Peer, PinReport, Progress, Published, Stats,
    Swept, Verified, Walked,
};

/// The largest block that a message can carry, in bytes (a message has at most 4 MiB).
pub const MAX_BLOCK: usize = (4 << 20) - 1024;
