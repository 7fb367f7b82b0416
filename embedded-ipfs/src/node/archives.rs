//! CAR archives in and out.

use bytes::{Bytes, BytesMut};
use cid::Cid;
use futures::stream::BoxStream;
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::{stream, Node};
use crate::core::Task;
use crate::{car, Error, Imported};

/// Bytes of an archive that are read at a time.
const PIECE: usize = 256 << 10;

impl Node {
    /// An archive (CAR, version 1) of all blocks below some roots, piece by piece: each block once, depth first in the order
    /// of the links, as `ipfs dag export` writes it. Fetches what is missing, with some read-ahead. Ends after an error.
    ///
    /// # Errors
    /// In the stream: [`Error::Codec`], [`Error::Malformed`], [`Error::TooManyBlocks`], and those of [`Node::get`].
    pub fn export(&self, roots: &[Cid]) -> BoxStream<'static, Result<Bytes, Error>> {
        let (pieces, queue) = mpsc::channel(8);
        let exporting = car::export(self.inner.core.clone(), roots.to_vec(), pieces);
        stream(queue, Task::spawn(&self.inner.runtime, exporting.map(Ok)))
    }

    /// Stores the blocks of an archive (CAR, version 1, or version 2 around it), each after its hash was checked, and pins
    /// its roots if that is wanted. The reader is polled on the caller's task; in memory is a section and what is about to be
    /// stored. Nothing is asked of others. Nothing is pinned unless the whole archive is good and every root complete; what was
    /// stored stays until the next [`Node::gc`].
    ///
    /// # Errors
    /// [`Error::Car`] with the place of what is wrong; [`Error::Io`] from the reader; [`Error::Full`], [`Error::Store`]. With
    /// pins also [`Error::NotHere`] if a root is not complete, and [`Error::Codec`].
    pub async fn import(&self, mut reader: impl AsyncRead + Unpin, pin: bool) -> Result<Imported, Error> {
        let (pieces, queue) = mpsc::channel(8);
        let importing = car::Importing::run(self.inner.core.clone(), pin, queue);
        let importing = Task::spawn(&self.inner.runtime, importing);
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            let more = reader.read_buf(&mut piece).await? > 0;
            // A queue that is closed: the outcome below says why.
            if pieces.send(more.then(|| piece.freeze())).await.is_err() || !more {
                break;
            }
        }
        importing.join().await?
    }
}
