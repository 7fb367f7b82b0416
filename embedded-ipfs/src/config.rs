//! What a node is started with.

use std::path::PathBuf;
use std::time::Duration;

use cid::Version;
use libp2p::Multiaddr;

use crate::{Error, Observer};

/// How a [`Node`](crate::Node) is started.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where blocks, pins and the key are kept; made if absent. One node at a time.
    pub data_dir: PathBuf,
    /// TCP addresses to listen on, such as `/ip4/0.0.0.0/tcp/4001`; port 0 takes a free one. May be empty.
    pub listen: Vec<Multiaddr>,
    /// Addresses told to others in addition to those listened on (behind a NAT or a service).
    pub announce: Vec<Multiaddr>,
    /// Peers to stay connected with, each with its `/p2p/` part.
    pub peers: Vec<Multiaddr>,
    /// Which hash tables this node takes part in.
    pub dht: Dht,
    /// Peers to enter a hash table by, each with its `/p2p/` part: dialled while the widest table that is on has fewer than
    /// four. See [`Config::public_bootstrap`].
    pub bootstrap: Vec<Multiaddr>,
    /// Bounds on what this node keeps and what others may make it do.
    pub limits: Limits,
    /// In how much running time the node reads everything in its store once, by itself, so that damage to what nobody reads is
    /// found while others still have the block. An hourly portion (smaller ones of a shorter time) at 16 MiB/s, from where the
    /// last run stopped; and once a day what pins lack is asked for again. 30 days by default, which is 39 kB/s for a store of
    /// 100 GB; `None` leaves it to [`Node::verify`](crate::Node::verify).
    pub verify_every: Option<Duration>,
    /// Hears what happens with peers, and of damage; nobody by default.
    pub observer: Observer,
}

impl Config {
    /// A node in `data_dir` that listens nowhere and knows nobody.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Config {
            data_dir: data_dir.into(),
            listen: Vec::new(),
            announce: Vec::new(),
            peers: Vec::new(),
            dht: Dht::default(),
            bootstrap: Vec::new(),
            limits: Limits::default(),
            verify_every: Some(Duration::from_secs(30 * 24 * 3600)),
            observer: Observer::default(),
        }
    }

    /// The peers by which Kubo enters the public hash table.
    pub fn public_bootstrap() -> Vec<Multiaddr> {
        PUBLIC_BOOTSTRAP.iter().filter_map(|address| address.parse().ok()).collect()
    }
}

const PUBLIC_BOOTSTRAP: [&str; 5] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
];

/// Which of Kubo's two hash tables a node takes part in: for names, for who has what, and for where peers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dht {
    /// None.
    Off,
    /// That of private networks and of one machine; it is made of the peers that this node is connected with, and of
    /// theirs, at private and loopback addresses.
    #[default]
    Lan,
    /// That and the internet's.
    LanAndWan,
}

/// Bounds on a node. The defaults suit a small hoster.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes of blocks in the store; a write beyond it fails with [`Error::Full`](crate::Error::Full).
    pub store_bytes: u64,
    /// Memory for pages of the store's index, in bytes.
    pub cache_bytes: usize,
    /// Most connections at once, in and out. Those with kept peers come on top.
    pub connections: u32,
    /// Most of them that others made; fewer than all, so that whoever fills them cannot keep this node from dialling.
    pub inbound_connections: u32,
    /// Most of them that this node made.
    pub outbound_connections: u32,
    /// Most connections with one peer, a kept one too: two that were dialled from both ends at once, and their successors
    /// while they are not yet known to be dead.
    pub connections_per_peer: u32,
    /// Most blocks one peer may have asked for and not yet have had; further wants are refused.
    pub wants_per_peer: usize,
    /// Bytes of one peer's messages that may be read and not yet be stored.
    pub inflight_bytes_per_peer: usize,
    /// Threads of the node's own runtime.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            store_bytes: u64::MAX,
            cache_bytes: 64 << 20,
            connections: 256,
            inbound_connections: 192,
            outbound_connections: 192,
            connections_per_peer: 4,
            wants_per_peer: 4096,
            inflight_bytes_per_peer: 16 << 20,
            threads: 2,
        }
    }
}

/// Bounds on one pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinLimits {
    /// Most bytes of distinct blocks; one more fails the pin with [`Error::TooManyBytes`](crate::Error::TooManyBytes).
    pub max_bytes: u64,
    /// Most distinct blocks; one more fails the pin with [`Error::TooManyBlocks`](crate::Error::TooManyBlocks).
    pub max_blocks: u64,
    /// Most links from the root to a block; one more fails the pin with [`Error::TooDeep`](crate::Error::TooDeep). A block
    /// that is reached on several ways counts by the one on which the walk met it first: a DAG without a longer way always
    /// passes, one with a block that has longer ways only never does.
    pub max_depth: u32,
}

impl Default for PinLimits {
    /// No cap on bytes, 4 Mi blocks, 4,096 links deep: files and directories have ten or so, and a chain of blocks takes a
    /// question to its peers for each.
    fn default() -> Self {
        PinLimits { max_bytes: u64::MAX, max_blocks: 4 << 20, max_depth: 4096 }
    }
}

/// How a name is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishOptions {
    /// How long a record is valid after it was signed, in whole seconds: how long the name lives when this node is gone.
    pub lifetime: Duration,
    /// How long others may use what they know before they ask again, in whole seconds; a hint.
    pub ttl: Duration,
}

impl Default for PublishOptions {
    /// As Kubo: a life of 48 hours, used for 5 minutes.
    fn default() -> Self {
        PublishOptions { lifetime: Duration::from_secs(48 * 3600), ttl: Duration::from_secs(300) }
    }
}

/// How files and directories are cut into blocks. The default gives the CID of a plain `ipfs add -r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddOptions {
    /// Bytes of a file in a leaf, 1 to [`AddOptions::MAX_CHUNK`] (`--chunker=size-N`).
    pub chunk_bytes: usize,
    /// Links in a node of a file, 2 to [`AddOptions::MAX_LINKS`] (`--max-file-links`).
    pub max_links: usize,
    /// Leaves are raw blocks rather than dag-pb nodes (`--raw-leaves`).
    pub raw_leaves: bool,
    /// Nodes get CIDs of version 1 (`--cid-version=1`, which implies `raw_leaves`).
    pub cid_v1: bool,
    /// What decides that a directory is sharded.
    pub directory_size: DirectorySize,
    /// Files and directories whose names begin with a dot are added too (`--hidden`).
    pub hidden: bool,
    /// What was added is pinned when that is done; otherwise the next `gc` removes it.
    pub pin: bool,
}

/// What of a directory may have 256 KiB before it is sharded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectorySize {
    /// Names and CIDs together, as Kubo has always counted.
    Links,
    /// The block that the directory would be.
    Block,
}

impl Default for AddOptions {
    fn default() -> Self {
        AddOptions {
            chunk_bytes: 256 << 10,
            max_links: 174,
            raw_leaves: false,
            cid_v1: false,
            directory_size: DirectorySize::Links,
            hidden: false,
            pin: true,
        }
    }
}

impl AddOptions {
    /// The largest chunk, in bytes: Kubo takes no blocks of more than 2 MiB, and leaves 256 bytes for what is around it.
    pub const MAX_CHUNK: usize = (2 << 20) - 256;
    /// Most links of a node: its block stays below 1 MiB.
    pub const MAX_LINKS: usize = 8192;

    /// The layout of `ipfs add --cid-version=1`: raw leaves, version 1 throughout.
    pub fn v1() -> Self {
        AddOptions { raw_leaves: true, cid_v1: true, ..Self::default() }
    }

    /// The layout of Kubo's profile `unixfs-v1-2025` (IPIP-499): version 1, leaves of 1 MiB, 1,024 links a node.
    pub fn v1_2025() -> Self {
        AddOptions {
            chunk_bytes: 1 << 20,
            max_links: 1024,
            directory_size: DirectorySize::Block,
            ..Self::v1()
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(1..=Self::MAX_CHUNK).contains(&self.chunk_bytes) {
            return Err(Error::Layout("a chunk has 1 to 2,096,896 bytes"));
        }
        if !(2..=Self::MAX_LINKS).contains(&self.max_links) {
            return Err(Error::Layout("a node has 2 to 8,192 links"));
        }
        Ok(())
    }

    pub(crate) fn version(&self) -> Version {
        if self.cid_v1 {
            Version::V1
        } else {
            Version::V0
        }
    }
}
