//! A small IPFS node as a library: bitswap beside Kubo, a durable block store, recursive pins, UnixFS files.
//!
//! [`Node`] is the whole facade: a cloneable `Send + Sync` handle. The node runs on threads of its own, so its methods
//! may be awaited on any runtime (an actix arbiter too) and never hash, encrypt or touch the disk there.
//!
//! Blocks are keyed by multihash: a CIDv0, its CIDv1 and a raw CID of one digest are one block.

mod config;
mod error;
mod node;
mod report;

pub use bytes::Bytes;
pub use cid::Cid;
pub use config::{AddOptions, Config, Limits, PinLimits};
pub use error::Error;
pub use libp2p::{Multiaddr, PeerId};
pub use node::{fetch_from, Node};
pub use report::{Added, Answer, Fetched, Peer, PinReport, Progress, Stats, Swept, Walked};

/// The largest block that a message can carry, in bytes (a message has at most 4 MiB).
pub const MAX_BLOCK: usize = (4 << 20) - 1024;
