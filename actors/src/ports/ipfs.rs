//! An IPFS node: pins, blocks, files. Every backend passes the same contract tests.

use std::path::Path;
use std::rc::Rc;

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::domain::units::ByteSize;

/// How far a fetch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Blocks walked so far.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where the bytes may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This node's own disk only.
    Local,
    /// The network too. The caller brings the deadline by dropping the answer.
    Network,
}

/// A file that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Its root.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// The file's bytes.
    pub size: ByteSize,
}

/// What a directory names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without a slash.
    pub name: String,
    /// The root of what it names.
    pub cid: Cid,
}

/// Who the node is on the IPFS network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Its peer id.
    pub peer: String,
    /// Where it is heard: multiaddrs that end in `/p2p/PEER`.
    pub addrs: Vec<String>,
    /// What it says of itself, such as `kubo/0.41.0`.
    pub agent: String,
}

/// What a backend would not or could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It did not answer, or broke off.
    #[error("the ipfs backend did not answer: {0}")]
    Unreachable(String),
    /// The content is larger than allowed.
    #[error("the content is over the cap of {cap} bytes")]
    TooLarge {
        /// Bytes allowed.
        cap: u64,
    },
    /// The directory names more than allowed.
    #[error("the directory is over the cap of {cap} entries")]
    TooMany {
        /// Entries allowed.
        cap: usize,
    },
    /// The block or DAG is not one that this node handles.
    #[error("unusable content: {0}")]
    Unusable(String),
    /// It is not here and nobody gave it.
    #[error("{0} was not found")]
    NotFound(Cid),
    /// The disk below the backend failed.
    #[error("the ipfs backend could not store: {0}")]
    Storage(String),
}

impl Error {
    /// Whether the same question may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::NotFound(_) | Self::Storage(_) => true,
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::Unusable(_) => false,
        }
    }
}

/// An IPFS node.
pub trait Ipfs {
    /// Fetches what is missing of a DAG and keeps it. Done means: every block is here and the pin is durable.
    /// Dropping the answer stops the fetch; what came stays for the next try. Waits for ever if nobody has the
    /// content: the caller watches `progress`. Pinning what is pinned is harmless.
    fn pin(&self, root: Cid, cap: ByteSize, progress: Rc<dyn Fn(Progress)>) -> Answer<'_, Progress, Error>;
    /// Gives a pin up; harmless if there is none.
    fn unpin(&self, root: Cid) -> Answer<'_, (), Error>;
    /// Whether exactly this root is pinned (compared as bytes).
    fn is_pinned(&self, root: Cid) -> Answer<'_, bool, Error>;
    /// All pinned roots.
    fn pins(&self) -> Answer<'_, Vec<Cid>, Error>;
    /// One block, its hash checked; `Ok(None)` if it is not here ([`Reach::Local`]).
    fn block(&self, cid: Cid, reach: Reach) -> Answer<'_, Option<Vec<u8>>, Error>;
    /// Keeps one block of up to 2 MiB, named by sha2-256.
    fn put(&self, codec: u64, bytes: Vec<u8>) -> Answer<'_, Cid, Error>;
    /// Adds and pins a file as a default `ipfs add` does.
    fn add<'a>(&'a self, file: &'a Path) -> Answer<'a, Added, Error>;
    /// The entries of a UnixFS directory, sharded ones too, fetched where they are missing. Sorted by name.
    /// [`Error::TooMany`] beyond `cap`, whatever the directory's size; the caller brings the deadline.
    fn ls(&self, directory: Cid, cap: usize) -> Answer<'_, Vec<Entry>, Error>;
    /// The bytes of a UnixFS file (or a raw block), fetched where they are missing. [`Error::TooLarge`] beyond `cap`.
    fn cat(&self, file: Cid, cap: ByteSize) -> Answer<'_, Vec<u8>, Error>;
    /// Adds and pins a directory of files, as `ipfs add -r` does with its defaults.
    fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Answer<'_, Cid, Error>;
    /// Connects to a peer that the operator trusts, by its multiaddr or by `/p2p/PEER` alone where the network tells
    /// its addresses: never to what a stranger names.
    fn connect<'a>(&'a self, multiaddr: &'a str) -> Answer<'a, (), Error>;
    /// Who the node is.
    fn identity(&self) -> Answer<'_, Identity, Error>;
    /// Bytes that its blocks take.
    fn stored(&self) -> Answer<'_, ByteSize, Error>;
}
