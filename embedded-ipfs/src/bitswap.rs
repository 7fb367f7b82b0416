//! Bitswap 1.2, both sides. [`engine`] decides and is pure; [`service`] carries its effects out, with a writing task per
//! peer ([`writer`]) and a reading task per inbound stream ([`reader`]).
//!
//! Whatever a peer does, it costs bounded memory: so many streams are read at a time, so many bytes of it are held that
//! were not dealt with, every channel is bounded, and the engine bounds what it remembers.

pub(crate) mod engine;
pub(crate) mod message;
mod reader;
pub(crate) mod service;
pub(crate) mod skim;
pub(crate) mod streams;
pub(crate) mod wire;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use engine::{Event, WantId};
pub(crate) use reader::read_all;
use service::Input;

/// Most streams of one peer that are read at a time. Kubo opens one for each message that it sends, so for every block that
/// is hoped for of it at worst; the engine hopes for half as many.
pub(crate) const READERS: usize = 256;

/// A handle to the running service; clones share it.
#[derive(Clone)]
pub(crate) struct Bitswap {
    inbox: mpsc::Sender<Input>,
    ids: Arc<AtomicU64>,
}

impl Bitswap {
    /// A handle, and the inbox that the service is to empty. Bounded: whoever sends faster than the engine decides waits.
    pub(crate) fn new() -> (Bitswap, mpsc::Receiver<Input>) {
        let (inbox, receiver) = mpsc::channel(256);
        (Bitswap { inbox, ids: Arc::default() }, receiver)
    }

    /// A block from the store or else from peers, however long it takes. Dropping the future takes the want back.
    pub(crate) async fn get(&self, cid: Cid) -> Result<Bytes, Error> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let mut guard = DropWant { bitswap: self, id, armed: true };
        self.inbox.send(Input::Want { id, cid, reply }).await.map_err(|_| Error::Stopped)?;
        let answer = answer.await.map_err(|_| Error::Stopped);
        guard.armed = false;
        answer?
    }

    /// Tells the engine of something that happened.
    pub(crate) async fn tell(&self, event: Event) -> Result<(), Error> {
        self.send(Input::Event(event, None)).await
    }

    async fn send(&self, input: Input) -> Result<(), Error> {
        self.inbox.send(input).await.map_err(|_| Error::Stopped)
    }
}

/// Takes a want back when its caller goes away. With a full inbox it is left to the service's next look at its waiters.
struct DropWant<'b> {
    bitswap: &'b Bitswap,
    id: WantId,
    armed: bool,
}

impl Drop for DropWant<'_> {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.bitswap.inbox.try_send(Input::Event(Event::Dropped(self.id), None));
        }
    }
}
