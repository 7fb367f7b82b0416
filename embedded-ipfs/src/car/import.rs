//! Takes the blocks of an archive into the store, a few together, and pins its roots at the end.

use bytes::Bytes;
use cid::Cid;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{Decoder, Item};
use crate::batch::Batch;
use crate::block::inline;
use crate::core::{walk_local, Core};
use crate::dag::{Seen, Sight};
use crate::{Error, Imported, PinReport};

/// An archive on its way in. Nothing is pinned before its end, and nothing of it is swept until then.
pub(crate) struct Importing {
    core: Core,
    decoder: Decoder,
    batch: Batch,
    roots: Vec<Cid>,
}

impl Importing {
    /// Imports what comes in; `None` is the end. Without it (the caller failed, or went away) nothing is pinned.
    pub(crate) async fn run(
        core: Core,
        pin: bool,
        mut pieces: mpsc::Receiver<Option<Bytes>>,
    ) -> Result<Imported, Error> {
        let mut importing =
            Importing { batch: Batch::new(core.clone()), core, decoder: Decoder::new(), roots: Vec::new() };
        while let Some(piece) = pieces.recv().await.ok_or(Error::Stopped)? {
            importing.take(&piece).await?;
        }
        importing.finish(pin).await
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.decoder.feed(piece);
        while let Some(item) = self.decoder.next()? {
            match item {
                Item::Roots(roots) => self.roots = roots,
                Item::Block(cid, _) if inline(&cid).is_some() => {}
                Item::Block(cid, bytes) => {
                    self.batch.take(cid, bytes);
                    self.batch.relieve().await?;
                }
            }
        }
        Ok(())
    }

    async fn finish(mut self, pin: bool) -> Result<Imported, Error> {
        self.decoder.finish()?;
        self.batch.flush().await?;
        if pin {
            // First all are looked through: a root with something missing has none of them pinned.
            for report in self.reports().await? {
                self.core.record_pin(report).await?;
            }
        }
        let (blocks, bytes) = self.batch.counts();
        Ok(Imported { roots: self.roots, blocks, bytes })
    }

    async fn reports(&self) -> Result<Vec<PinReport>, Error> {
        let (store, mut roots, mut seen) = (self.core.store.clone(), self.roots.clone(), Seen::default());
        // A header has room for thousands of the same.
        roots.retain(|root| seen.see(root) != Sight::Known);
        let counting = spawn_blocking(move || {
            let count = |&cid: &Cid| {
                let mut report = PinReport { cid, blocks: 0, bytes: 0, name: String::new() };
                for walked in walk_local(&store, cid) {
                    report.blocks += 1;
                    report.bytes += walked?.size;
                }
                Ok(report)
            };
            roots.iter().map(count).collect()
        });
        counting.await.unwrap_or(Err(Error::Stopped))
    }
}
