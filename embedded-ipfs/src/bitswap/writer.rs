//! Writes the messages to one peer, over one stream that is opened when there is something to say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt;
use libp2p::swarm::Stream;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};

use super::engine::Outgoing;
use super::message::{Message, SEND_MAX};
use super::service::Input;
use super::streams::NoStream;
use super::{wire, Bitswap};
use crate::block::Key;
use crate::observe::Event;
use crate::store::Store;
use crate::swarm::Command;
use crate::{Error, Observer};

/// An unused stream is closed after this long, so that an idle connection can end.
const IDLE: Duration = Duration::from_secs(30);

/// Blocks and bytes sent to all peers.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) blocks: AtomicU64,
    pub(super) bytes: AtomicU64,
}

pub(super) struct Writer {
    pub(super) peer: PeerId,
    /// Tells this connection's writer from an earlier one's.
    pub(super) generation: u64,
    pub(super) store: Store,
    pub(super) swarm: mpsc::Sender<Command>,
    pub(super) bitswap: Bitswap,
    pub(super) sent: Arc<Sent>,
    pub(super) observer: Observer,
}

impl Writer {
    /// Writes until the other end of `queue` is dropped.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut stream = None;
        loop {
            let outgoing = match tokio::time::timeout(IDLE, queue.recv()).await {
                Ok(outgoing) => outgoing,
                Err(_) => {
                    hang_up(&mut stream).await;
                    queue.recv().await
                }
            };
            let Some(outgoing) = outgoing else { break };
            let ok = self.send(&mut stream, outgoing).await;
            let written = Input::Written { peer: self.peer, generation: self.generation, ok };
            if self.bitswap.send(written).await.is_err() {
                break;
            }
        }
        hang_up(&mut stream).await;
    }

    async fn send(&self, stream: &mut Option<Stream>, outgoing: Outgoing) -> bool {
        let store = self.store.clone();
        let Ok(loaded) = tokio::task::spawn_blocking(move || load(&store, outgoing)).await else {
            return false;
        };
        let (body, blocks, bytes) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(peer = %self.peer, %error, "blocks not read for a peer");
                return false;
            }
        };
        // A stream that the peer closed meanwhile shows only when it is written to: once more on a new one.
        for _ in 0..2 {
            if stream.is_none() {
                *stream = self.open().await.ok();
            }
            let Some(open) = stream.as_mut() else {
                continue;
            };
            match wire::write(open, &body).await {
                Ok(()) => {
                    self.sent.blocks.fetch_add(blocks, Ordering::Relaxed);
                    self.sent.bytes.fetch_add(bytes, Ordering::Relaxed);
                    if blocks > 0 {
                        self.observer.tell(Event::Sent { peer: self.peer, blocks, bytes });
                    }
                    return true;
                }
                Err(error) => {
                    tracing::debug!(peer = %self.peer, %error, "bitswap stream broke");
                    *stream = None;
                }
            }
        }
        false
    }

    async fn open(&self) -> Result<Stream, NoStream> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Open { peer: self.peer, reply };
        self.swarm.send(command).await.map_err(|_| NoStream::Failed)?;
        answer.await.unwrap_or(Err(NoStream::Failed))
    }
}

async fn hang_up(stream: &mut Option<Stream>) {
    if let Some(mut stream) = stream.take() {
        let _ = stream.close().await; // it may be broken already
    }
}

/// The message with its blocks read from the store, and their number and bytes. A block that was swept meanwhile becomes
/// a "don't have".
fn load(store: &Store, outgoing: Outgoing) -> Result<(Vec<u8>, u64, u64), Error> {
    let Outgoing { full, entries, mut presences, blocks: cids } = outgoing;
    let mut blocks = Vec::with_capacity(cids.len());
    for cid in cids {
        match store.get(&Key::of(&cid))? {
            Some(bytes) => blocks.push((cid, bytes)),
            None => presences.push((cid, false)),
        }
    }
    let bytes = blocks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let count = blocks.len() as u64;
    let body = Message { full, entries, blocks, presences, ..Message::default() }.encode();
    debug_assert!(body.len() <= SEND_MAX, "a message of {} bytes", body.len());
    Ok((body, count, bytes))
}
