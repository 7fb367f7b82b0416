//! The handle.

use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::stream::BoxStream;
use libp2p::{Multiaddr, PeerId};
use tokio::io::AsyncRead;

use crate::{
    AddOptions, Added, Config, Error, Fetched, Peer, PinLimits, PinReport, Progress, Stats, Swept, Walked,
};

/// A running node. Clones are the same node; it stops when the last clone is dropped or at [`Node::stop`].
#[derive(Clone)]
pub struct Node {}

impl Node {
    /// Opens the store, loads or makes the key, and starts listening and dialling, on threads of its own.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Key`], [`Error::Listen`], [`Error::Address`], [`Error::Io`], [`Error::Store`].
    pub async fn start(_config: Config) -> Result<Node, Error> {
        Err(Error::Stopped)
    }
    /// This node's identity.
    pub fn peer_id(&self) -> PeerId {
        PeerId::random()
    }
    /// Addresses listened on, and those announced, each with this node's `/p2p/` part.
    pub fn addrs(&self) -> Vec<Multiaddr> {
        Vec::new()
    }
    /// Dials a peer once, unless it is connected. The address has a `/p2p/` part.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Unreachable`].
    pub async fn connect(&self, _peer: Multiaddr) -> Result<PeerId, Error> {
        Err(Error::Stopped)
    }
    /// Adds a peer to those that the node stays connected with, until it stops.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub async fn keep(&self, _peer: Multiaddr) -> Result<PeerId, Error> {
        Err(Error::Stopped)
    }
    /// Connected peers.
    pub fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }
    /// A block, from the store or else from connected peers. Waits as long as it takes: put a timeout around it;
    /// dropping the future takes the want back.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Full`], [`Error::Stopped`].
    pub async fn get(&self, _cid: &Cid) -> Result<Bytes, Error> {
        Err(Error::Stopped)
    }
    /// A block, if it is in the store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn local(&self, _cid: &Cid) -> Result<Option<Bytes>, Error> {
        Err(Error::Stopped)
    }
    /// Whether a block is in the store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn has(&self, _cid: &Cid) -> Result<bool, Error> {
        Err(Error::Stopped)
    }
    /// The bytes of a block in the store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn size(&self, _cid: &Cid) -> Result<Option<u64>, Error> {
        Err(Error::Stopped)
    }
    /// Stores a block under its sha2-256 CID of version 1. Durable on return; unpinned, so the next [`Node::gc`] removes it.
    ///
    /// # Errors
    /// [`Error::BlockTooLarge`], [`Error::Full`], [`Error::Store`].
    pub async fn put(&self, _codec: u64, _bytes: impl Into<Bytes>) -> Result<Cid, Error> {
        Err(Error::Stopped)
    }
    /// Fetches what is missing of a DAG and pins it. `progress` is called on the caller's task whenever the counts grew.
    /// The pin is recorded, durably, once every block is here. Dropping the future ends the work; what came stays until
    /// the next [`Node::gc`], so a second call resumes. A DAG that is pinned already answers from its record.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`], [`Error::TooManyBlocks`], [`Error::Codec`], [`Error::Malformed`], [`Error::Store`], [`Error::Full`].
    pub async fn pin(
        &self,
        _cid: &Cid,
        _limits: PinLimits,
        _progress: impl FnMut(Progress),
    ) -> Result<PinReport, Error> {
        Err(Error::Stopped)
    }
    /// Forgets a pin; says whether there was one. Its blocks stay until [`Node::gc`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn unpin(&self, _cid: &Cid) -> Result<bool, Error> {
        Err(Error::Stopped)
    }
    /// All pins, in the order of their CIDs' bytes.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn pins(&self) -> Result<Vec<PinReport>, Error> {
        Err(Error::Stopped)
    }
    /// The pin of this root, if it is pinned, whatever the version of the CID.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn pinned(&self, _cid: &Cid) -> Result<Option<PinReport>, Error> {
        Err(Error::Stopped)
    }
    /// Whether this root is pinned, whatever the version of the CID.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn is_pinned(&self, _cid: &Cid) -> Result<bool, Error> {
        Err(Error::Stopped)
    }
    /// Adds a file as UnixFS. The reader is polled on the caller's task; hashing and storing are not done there.
    ///
    /// # Errors
    /// [`Error::Io`] from the reader, [`Error::Store`], [`Error::Full`].
    pub async fn add(&self, _reader: impl AsyncRead + Unpin, _options: AddOptions) -> Result<Added, Error> {
        Err(Error::Stopped)
    }
    /// The bytes of a UnixFS file (or of a raw block) in order, fetching what is missing with some read-ahead.
    pub fn cat(&self, _cid: &Cid) -> BoxStream<'static, Result<Bytes, Error>> {
        Box::pin(futures::stream::empty())
    }
    /// A whole file of at most `max_bytes`.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`], and those of [`Node::cat`].
    pub async fn read(&self, _cid: &Cid, _max_bytes: u64) -> Result<Bytes, Error> {
        Err(Error::Stopped)
    }
    /// Each distinct block of a DAG in the store, once, depth first in the order of the links, identity CIDs excluded.
    /// Asks nobody: a missing block ends the walk with [`Error::NotHere`].
    pub fn walk(&self, _cid: &Cid) -> BoxStream<'static, Result<Walked, Error>> {
        Box::pin(futures::stream::empty())
    }
    /// Removes every block that no pin reaches. Blocks of pins and adds in flight are safe.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::NotHere`] if a pinned block is missing (then nothing was removed).
    pub async fn gc(&self) -> Result<Swept, Error> {
        Err(Error::Stopped)
    }
    /// Counters.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        Err(Error::Stopped)
    }
    /// Stops the node and joins its threads. Requests in flight end with [`Error::Stopped`].
    ///
    /// # Errors
    /// None today.
    pub async fn stop(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Asks one peer, and nobody else, for blocks, over a fresh connection under a fresh identity; nothing is stored or served.
/// Answers come in the order of `cids`. `deadline` bounds all of it; `max_bytes` bounds the blocks together.
/// Works on any runtime (it uses a thread of its own); dropping the future ends it.
///
/// # Errors
/// [`Error::Address`], [`Error::Unreachable`] if the peer could not be dialled or broke off, [`Error::Deadline`] if it was
/// not even connected by then, [`Error::TooManyBytes`], [`Error::Hash`].
pub async fn fetch_from(
    _peer: Multiaddr,
    _cids: Vec<Cid>,
    _deadline: Duration,
    _max_bytes: u64,
) -> Result<Vec<Fetched>, Error> {
    Err(Error::Stopped)
}
