//! What a node answers with.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cid::Cid;
use ipns_record::Name;
use libp2p::{Multiaddr, PeerId};

/// How far a pin or a verification has come. Both numbers only grow; a caller's idle timer watches them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Distinct blocks that are here, or were found whole.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A complete recursive pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinReport {
    /// The root, in the form in which it was pinned.
    pub cid: Cid,
    /// Distinct blocks of the DAG, identity CIDs not counted.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What whoever pinned it calls it; empty if nothing.
    pub name: String,
}

/// An added file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The root.
    pub cid: Cid,
    /// Bytes of the file, or of the directory's files.
    pub size: u64,
}

/// What was in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its roots, in its order.
    pub roots: Vec<Cid>,
    /// Distinct blocks in it, identity CIDs not counted.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A name that this node publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The name.
    pub name: Name,
    /// To what it points: `/ipfs/` and a CID, and maybe a path below it.
    pub value: String,
    /// Counts the changes of the value.
    pub sequence: u64,
}

/// What a directory names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, as the directory's maker wrote it: check it before it becomes a path.
    pub name: String,
    /// The root of what it names.
    pub cid: Cid,
    /// Bytes of all blocks below, as the directory's maker claims.
    pub total_size: u64,
}

/// A block met by [`Node::walk`](crate::Node::walk).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The CID by which it was reached first.
    pub cid: Cid,
    /// Bytes of the block.
    pub size: u64,
    /// Number of its links, 0 for a leaf. Repeated links count each time.
    pub links: usize,
}

/// What a garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blocks removed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that no pin reaches and that are too young to be removed.
    pub spared: u64,
}

/// What a reading of the whole store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blocks that are as they were stored.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that are not: they were dropped, and are asked for again.
    pub damaged_blocks: u64,
    /// The first 1,024 of them, as raw blocks: the store knows multihashes only.
    pub damaged: Vec<Cid>,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub id: PeerId,
    /// The address of its oldest connection.
    pub address: Multiaddr,
    /// It is one of those that the node stays connected with.
    pub kept: bool,
}

/// A node's counters. Those of traffic start at 0 with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks in the store.
    pub blocks: u64,
    /// Bytes of the blocks in the store.
    pub bytes: u64,
    /// Bytes that the store takes on disk: these blocks, those that were removed and whose room was not given back yet, and
    /// the index.
    pub disk_bytes: u64,
    /// Blocks found damaged on disk: they were dropped, and are asked for again.
    pub damaged_blocks: u64,
    /// Blocks found whole by reading everything, in all such readings since the start.
    pub verified_blocks: u64,
    /// Their bytes.
    pub verified_bytes: u64,
    /// When everything was read last, by [`Node::verify`](crate::Node::verify) or by itself. Survives a restart.
    pub last_verified: Option<SystemTime>,
    /// Recursive pins.
    pub pins: u64,
    /// Connected peers.
    pub peers: u64,
    /// Connections that others made and that stand.
    pub inbound_connections: u64,
    /// Connections that this node made and that stand.
    pub outbound_connections: u64,
    /// Connections that others wanted to make and that were not let in: too many were there, or the peer was left lately.
    pub refused_connections: u64,
    /// Dials of this node that failed.
    pub failed_dials: u64,
    /// Distinct blocks that local callers wait for.
    pub wants: u64,
    /// Blocks received that had been asked for.
    pub received_blocks: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Blocks received that nobody waited for (any more); dropped.
    pub unwanted_blocks: u64,
    /// Those of them that had been asked for and came after all, from another peer first or after the want was taken back.
    pub late_blocks: u64,
    /// What peers did against the rules of bitswap, that of those who were not left for it included.
    pub breaches: Breaches,
    /// Peers that were disconnected because they kept breaking the rules of bitswap; the log says which.
    pub left_peers: u64,
    /// Blocks sent to peers.
    pub sent_blocks: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Peers in the routing tables of the hash tables.
    pub dht_peers: u64,
    /// Records of names that this node keeps.
    pub dht_names: u64,
    /// Contents of others of which this node knows providers.
    pub dht_provided: u64,
    /// Records that peers gave and that were refused: not signed by the name's owner, older than what is here, of something
    /// else than a name, or too many.
    pub dht_refused: u64,
}

/// How often peers broke which rule of bitswap. An honest peer does now and then: its line breaks in the middle of a message,
/// its answer is late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaches {
    /// Blocks that were not asked for; bytes that are not those of their CID are such.
    pub unasked_blocks: u64,
    /// Blocks without a prefix that makes sense.
    pub senseless_blocks: u64,
    /// Presences of what was not asked for.
    pub unasked_presences: u64,
    /// Wants beyond what is read of a message or remembered of a peer.
    pub excess_wants: u64,
    /// Messages that say nothing.
    pub empty_messages: u64,
    /// Messages longer than is read, without anything in them that was asked for.
    pub oversize_messages: u64,
    /// Messages that are none.
    pub malformed_messages: u64,
    /// Messages that began and did not end in time.
    pub stalled_messages: u64,
    /// Streams beyond those that a peer may have open.
    pub excess_streams: u64,
}

/// A peer that the hash tables told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub peer: PeerId,
    /// Where it can be dialled; may be empty.
    pub addresses: Vec<Multiaddr>,
}

/// What one peer answered when it was asked for one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The block, whose hash was checked, and how long after the asking it was complete.
    Block {
        /// Its bytes.
        bytes: Bytes,
        /// Time from sending the want to having checked the hash.
        after: Duration,
    },
    /// The peer says that it does not have the block.
    DontHave,
    /// No answer by the deadline.
    Silence,
}

/// One CID of [`fetch_from`](crate::fetch_from) with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The CID as given.
    pub cid: Cid,
    /// What came of it.
    pub answer: Answer,
}
