//! What can go wrong, and whether asking again later may help.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cid::Cid;
use ipns_record::Name;

use crate::BadCar;

/// A failure of the node or of one request to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node was stopped, or is stopping.
    #[error("the node is stopped")]
    Stopped,
    /// The data directory, the key file or a thread could not be had.
    #[error("input or output failed")]
    Io(#[from] io::Error),
    /// Another process (or node) has this data directory open.
    #[error("the block store is open elsewhere")]
    Locked,
    /// The files of the store failed; the write, if it was one, is not durable.
    #[error("the block store failed")]
    Store(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The block store was written by another version of this crate.
    #[error("unknown format {0} of the block store")]
    Format(u64),
    /// The store would exceed its limit, in bytes.
    #[error("the block store is full: {limit} bytes")]
    Full {
        /// The configured limit in bytes.
        limit: u64,
    },
    /// The key file does not hold an ed25519 key.
    #[error("the identity key is not usable")]
    Key,
    /// A multiaddr without a `/p2p/` part where the peer must be known, or one that cannot be dialled.
    #[error("not the address of a peer: {0}")]
    Address(String),
    /// The node could not listen on an address: which, and why.
    #[error("cannot listen on {0}")]
    Listen(String),
    /// The peer could not be reached, refused, or broke off.
    #[error("peer not reached: {0}")]
    Unreachable(String),
    /// A deadline passed.
    #[error("deadline passed")]
    Deadline,
    /// More bytes than the caller allowed.
    #[error("more than {limit} bytes")]
    TooManyBytes {
        /// The cap in bytes.
        limit: u64,
    },
    /// More blocks than the caller allowed.
    #[error("more than {limit} blocks")]
    TooManyBlocks {
        /// The cap in blocks.
        limit: u64,
    },
    /// A block further from its root than the caller allowed.
    #[error("more than {limit} links deep")]
    TooDeep {
        /// The cap in links.
        limit: u32,
    },
    /// A name of a pin with more than 255 bytes.
    #[error("a pin's name of {size} bytes is too long")]
    PinName {
        /// Its length in bytes.
        size: usize,
    },
    /// A single block above [`MAX_BLOCK`](crate::MAX_BLOCK), which no message can carry.
    #[error("a block of {size} bytes is too large")]
    BlockTooLarge {
        /// The size of the block in bytes.
        size: usize,
    },
    /// A codec whose links this crate does not know (it knows raw, dag-pb, dag-cbor and dag-json).
    #[error("unknown codec {0:#x}")]
    Codec(u64),
    /// A hash function that this crate does not compute, or a digest whose length is not that function's.
    #[error("unknown hash function {0:#x}")]
    Hash(u64),
    /// The bytes do not hash to the CID.
    #[error("the bytes are not those of {0}")]
    Mismatch(Cid),
    /// A block whose bytes are not valid in its codec.
    #[error("malformed block {0}")]
    Malformed(Cid),
    /// A UnixFS node that is not a file.
    #[error("{0} is not a file")]
    NotAFile(Cid),
    /// A node that is neither a UnixFS directory nor a shard of one.
    #[error("{0} is not a directory")]
    NotADirectory(Cid),
    /// A directory without that name.
    #[error("{directory} has no entry {name:?}")]
    NoEntry {
        /// The directory.
        directory: Cid,
        /// The name.
        name: String,
    },
    /// A name that a directory cannot have (empty, `.`, `..`, with a slash or a zero byte, not UTF-8), or one that is taken.
    #[error("a directory cannot have an entry {0:?}")]
    Name(String),
    /// Options by which nothing can be added.
    #[error("{0}")]
    Layout(&'static str),
    /// Something that is no archive, or one that is damaged.
    #[error("the CAR is not usable at byte {at}")]
    Car {
        /// Where what is wrong begins, in bytes from the start of the archive.
        at: u64,
        /// What is wrong.
        #[source]
        fault: BadCar,
    },
    /// A text that is neither a CID, a name, nor a path of one of them.
    #[error("{0:?} is no path (/ipfs/CID/..., /ipns/NAME/..., CID or NAME)")]
    Path(String),
    /// More entries of a directory than the caller allowed.
    #[error("more than {limit} entries")]
    TooManyEntries {
        /// The cap in entries.
        limit: usize,
    },
    /// Nobody who was asked has a valid record of the name.
    #[error("no record of {0} was found")]
    NoRecord(Name),
    /// The record of a name is not valid, so nobody would take it.
    #[error("the record is not valid")]
    Record(#[source] ipns_record::Refusal),
    /// A name points to something else than content: to another name, say.
    #[error("{0} does not point to content")]
    NotContent(Name, #[source] ipns_record::NotContent),
    /// A key did not sign a record, or what it is to say is too long for one.
    #[error("no record was signed")]
    Unsigned(#[source] ipns_record::Unsigned),
    /// The file of a published name in the data directory is not what this node wrote.
    #[error("the file of a published name is not usable: {0}")]
    Published(PathBuf),
    /// A record that counts more than the one given is known of the name: a higher sequence, or the same for longer.
    #[error("a newer record of {0} is known")]
    Outdated(Name),
    /// A block is not in the local store, and the request does not ask the network.
    #[error("{0} is not here")]
    NotHere(Cid),
}

impl Error {
    /// True if the same request may succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Io(error) => !is_lasting(error.kind()),
            Error::Store(_)
            | Error::Full { .. }
            | Error::Locked
            | Error::Unreachable(_)
            | Error::Deadline
            | Error::NoRecord(_)
            | Error::NotHere(_) => true,
            Error::Stopped
            | Error::Key
            | Error::Format(_)
            | Error::Address(_)
            | Error::Listen(_)
            | Error::TooManyBytes { .. }
            | Error::TooManyBlocks { .. }
            | Error::TooDeep { .. }
            | Error::PinName { .. }
            | Error::BlockTooLarge { .. }
            | Error::Codec(_)
            | Error::Hash(_)
            | Error::Mismatch(_)
            | Error::Malformed(_)
            | Error::NotAFile(_)
            | Error::NotADirectory(_)
            | Error::NoEntry { .. }
            | Error::Name(_)
            | Error::Layout(_)
            | Error::Car { .. }
            | Error::Path(_)
            | Error::NotContent(..)
            | Error::Unsigned(_)
            | Error::Published(_)
            | Error::Record(_)
            | Error::Outdated(_)
            | Error::TooManyEntries { .. } => false,
        }
    }
}

/// What the file system says of a path that is not as it should be, rather than of itself.
fn is_lasting(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::AlreadyExists
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::InvalidInput
            | Kind::InvalidFilename
            | Kind::Unsupported
    )
}

/// Names the file in what the operating system says of it.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error + '_ {
    |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The last cause of an error of the network, in one line: what wraps it repeats it.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    let text = last.unwrap_or(error).to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        let io = |kind: io::ErrorKind| Error::Io(kind.into());
        for error in [io::ErrorKind::StorageFull, io::ErrorKind::Interrupted, io::ErrorKind::Other].map(io) {
            assert!(error.is_transient(), "{error:?}");
        }
        let lasting =
            [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied, io::ErrorKind::NotADirectory];
        for error in lasting.map(io) {
            assert!(!error.is_transient(), "{error:?}");
        }
        assert!(Error::Deadline.is_transient() && !Error::Stopped.is_transient());
    }

    #[test]
    fn a_file_is_named_with_what_is_wrong_with_it() {
        let error = at(Path::new("a/b"))(io::ErrorKind::NotFound.into());
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::NotFound, "a/b: entity not found".into())
        );
    }
}
