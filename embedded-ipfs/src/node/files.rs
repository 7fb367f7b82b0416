//! Files and directories.

use bytes::{BufMut, Bytes, BytesMut};
use cid::Cid;
use futures::stream::BoxStream;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::{stream, Node};
use crate::core::Task;
use crate::{AddOptions, Added, Entry, Error};

impl Node {
    /// Adds a file as UnixFS. The reader is polled on the caller's task; hashing and storing are not done there. Dropping
    /// the future leaves nothing pinned.
    ///
    /// # Errors
    /// [`Error::Io`] from the reader or for a chunk size out of range, [`Error::Store`], [`Error::Full`].
    pub async fn add(&self, mut reader: impl AsyncRead + Unpin, options: AddOptions) -> Result<Added, Error> {
        let size = options.chunk_bytes;
        if !(1..=AddOptions::MAX_CHUNK).contains(&size) {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput).into());
        }
        let (chunks, queue) = mpsc::channel(8);
        let adding = Task::spawn(
            &self.inner.runtime,
            crate::unixfs::add::add(self.inner.core.clone(), options, queue),
        );
        loop {
            let mut room = BytesMut::with_capacity(size).limit(size);
            while room.has_remaining_mut() && reader.read_buf(&mut room).await? > 0 {}
            let last = room.has_remaining_mut();
            let chunk = room.into_inner();
            // A queue that is closed: the outcome below says why.
            if !chunk.is_empty() && chunks.send(Some(chunk.freeze())).await.is_err() {
                break;
            }
            if last {
                let _ = chunks.send(None).await;
                break;
            }
        }
        adding.join().await?
    }

    /// Adds files and a directory of them, and pins it: its CID is that of a default `ipfs add -r`. Sharded where a block of
    /// names and CIDs would have more than 256 KiB.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Store`], [`Error::Full`].
    pub async fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Result<Added, Error> {
        let adding = crate::unixfs::directory::add(self.inner.core.clone(), files);
        Task::spawn(&self.inner.runtime, adding).join().await?
    }

    /// The entries of a directory, sharded or not, in the order of their names, fetching what is missing. However it was
    /// made, it costs at most `cap` entries and a bounded number of blocks and bytes. Two entries may have one name.
    ///
    /// # Errors
    /// [`Error::TooManyEntries`], also for names of more than 512 bytes on average; [`Error::TooManyBlocks`] if there are more
    /// than `cap + 64`; [`Error::NotADirectory`], [`Error::Malformed`], and those of [`Node::get`].
    pub async fn ls(&self, directory: &Cid, cap: usize) -> Result<Vec<Entry>, Error> {
        let listing = crate::unixfs::ls::ls(self.inner.core.clone(), *directory, cap);
        Task::spawn(&self.inner.runtime, listing).join().await?
    }

    /// What lies at the end of a path of names below a directory, fetching what is missing: a block or a few a name.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::NotADirectory`], [`Error::Malformed`], and those of [`Node::get`].
    pub async fn resolve(&self, directory: &Cid, path: &[&str]) -> Result<Cid, Error> {
        let path = path.iter().map(|&name| name.to_owned()).collect();
        let resolving = crate::unixfs::ls::resolve(self.inner.core.clone(), *directory, path);
        Task::spawn(&self.inner.runtime, resolving).join().await?
    }

    /// The bytes of a UnixFS file (or of a raw block) in order, a piece a block, so some are empty, fetching what is missing
    /// with some read-ahead. Ends after an error.
    pub fn cat(&self, cid: &Cid) -> BoxStream<'static, Result<Bytes, Error>> {
        let (pieces, queue) = mpsc::channel(4);
        let task =
            Task::spawn(&self.inner.runtime, crate::unixfs::cat::cat(self.inner.core.clone(), *cid, pieces));
        stream(queue, task)
    }

    /// A whole file of at most `max_bytes`. A tree of empty nodes ends, too.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`], [`Error::TooManyBlocks`] beyond two blocks a byte and 64, [`Error::NotAFile`],
    /// [`Error::Malformed`], and those of [`Node::get`].
    pub async fn read(&self, cid: &Cid, max_bytes: u64) -> Result<Bytes, Error> {
        let mut pieces = self.cat(cid);
        let mut file = BytesMut::new();
        let limit = max_bytes.saturating_mul(2).saturating_add(64);
        let mut blocks = 0;
        while let Some(piece) = pieces.next().await {
            file.extend_from_slice(&piece?);
            blocks += 1;
            if blocks > limit {
                return Err(Error::TooManyBlocks { limit });
            }
            if file.len() as u64 > max_bytes {
                return Err(Error::TooManyBytes { limit: max_bytes });
            }
        }
        Ok(file.freeze())
    }
}
