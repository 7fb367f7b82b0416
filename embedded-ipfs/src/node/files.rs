//! Files and directories, read.

use std::ops::{Bound, Range, RangeBounds};

use bytes::{Bytes, BytesMut};
use cid::Cid;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use super::{stream, Node};
use crate::core::Task;
use crate::unixfs;
use crate::{Entry, Error};

impl Node {
    /// The entries of a directory, sharded or not, in the order of their names, fetching what is missing. However it was
    /// made, it costs at most `cap` entries and a bounded number of blocks and bytes. Two entries may have one name.
    ///
    /// # Errors
    /// [`Error::TooManyEntries`], also for names of more than 512 bytes on average; [`Error::TooManyBlocks`] if there are more
    /// than `cap + 64`; [`Error::NotADirectory`], [`Error::Malformed`], and those of [`Node::get`].
    pub async fn ls(&self, directory: &Cid, cap: usize) -> Result<Vec<Entry>, Error> {
        let listing = unixfs::ls::ls(self.inner.core.clone(), *directory, cap);
        Task::spawn(&self.inner.runtime, listing).join().await?
    }

    /// What lies at the end of a path of names below a directory, fetching what is missing: a block or a few a name.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::NotADirectory`], [`Error::Malformed`], and those of [`Node::get`].
    pub async fn find(&self, directory: &Cid, path: &[&str]) -> Result<Cid, Error> {
        let path = path.iter().map(|&name| name.to_owned()).collect();
        let finding = unixfs::ls::find_below(self.inner.core.clone(), *directory, path);
        Task::spawn(&self.inner.runtime, finding).join().await?
    }

    /// The bytes of a UnixFS file (or of a raw block) in order, a piece a block, so some are empty, fetching what is missing
    /// with some read-ahead. Of a range (`..` is all of the file) only the blocks are fetched that it needs, and what lies
    /// beyond the file's end is nothing. Ends after an error.
    ///
    /// # Errors
    /// In the stream: [`Error::NotAFile`]; [`Error::Malformed`], also if the range cannot be found because the file's nodes
    /// contradict one another about their sizes; [`Error::TooManyBlocks`], and those of [`Node::get`].
    pub fn cat(&self, cid: &Cid, range: impl RangeBounds<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        let (pieces, queue) = mpsc::channel(4);
        let reading = unixfs::cat::cat(self.inner.core.clone(), *cid, plain(range), pieces);
        stream(queue, Task::spawn(&self.inner.runtime, reading.map(Ok)))
    }

    /// A whole file of at most `max_bytes`. A tree of empty nodes ends, too.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`], [`Error::TooManyBlocks`] beyond two blocks a byte and 64, [`Error::NotAFile`],
    /// [`Error::Malformed`], and those of [`Node::get`].
    pub async fn read(&self, cid: &Cid, max_bytes: u64) -> Result<Bytes, Error> {
        let mut pieces = self.cat(cid, ..);
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

fn plain(range: impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
