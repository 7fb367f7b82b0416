//! Runs the engine: takes its inputs in order, carries out its effects, and never waits for any of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot, OwnedSemaphorePermit};
use tokio::time::{Instant, MissedTickBehavior};

use super::engine::limits::Breach;
use super::engine::{Counters, Effect, Engine, Event, Fault, Outgoing, WantId};
use super::message::Message;
use super::writer::{Sent, Writer};
use super::Bitswap;
use crate::block::Key;
use crate::store::{lock, Store};
use crate::swarm::Command;
use crate::{observe, Error, Observer, Stats};

const TICK: Duration = Duration::from_millis(500);

/// What the service is told.
pub(crate) enum Input {
    /// With a message goes its share of what may be read of its peer; it is given back when all that it caused is done.
    Event(Event, Option<OwnedSemaphorePermit>),
    Want {
        id: WantId,
        cid: Cid,
        reply: oneshot::Sender<Result<Bytes, Error>>,
    },
    /// A writer is done with a message.
    Written {
        peer: PeerId,
        generation: u64,
        ok: bool,
    },
}

/// The engine's counters as others may read them.
#[derive(Clone, Default)]
pub(crate) struct Traffic {
    counters: Arc<Mutex<Counters>>,
    sent: Arc<Sent>,
    left: Arc<AtomicU64>,
}

impl Traffic {
    /// Fills in what bitswap counts.
    pub(crate) fn report(&self, stats: &mut Stats) {
        let counters = *lock(&self.counters);
        stats.wants = counters.wants;
        stats.received_blocks = counters.received_blocks;
        stats.received_bytes = counters.received_bytes;
        stats.unwanted_blocks = counters.unwanted_blocks;
        stats.late_blocks = counters.late_blocks;
        stats.breaches = counters.breaches;
        stats.left_peers = self.left.load(Ordering::Relaxed);
        stats.sent_blocks = self.sent.blocks.load(Ordering::Relaxed);
        stats.sent_bytes = self.sent.bytes.load(Ordering::Relaxed);
    }
}

pub(crate) struct Service {
    engine: Engine,
    started: Instant,
    store: Store,
    swarm: mpsc::Sender<Command>,
    bitswap: Bitswap,
    replies: HashMap<WantId, oneshot::Sender<Result<Bytes, Error>>>,
    writers: HashMap<PeerId, (u64, mpsc::Sender<Outgoing>)>,
    generation: u64,
    traffic: Traffic,
    observer: Observer,
}

impl Service {
    pub(crate) fn new(
        wants_per_peer: usize,
        store: Store,
        swarm: mpsc::Sender<Command>,
        bitswap: Bitswap,
        traffic: Traffic,
        observer: Observer,
    ) -> Service {
        Service {
            engine: Engine::new(wants_per_peer),
            started: Instant::now(),
            store,
            swarm,
            bitswap,
            replies: HashMap::new(),
            writers: HashMap::new(),
            generation: 0,
            traffic,
            observer,
        }
    }

    /// Serves until the runtime ends.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Input>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                input = inbox.recv() => input,
                _ = ticks.tick() => {
                    self.drop_abandoned();
                    Some(Input::Event(Event::Tick, None))
                }
            };
            let Some(input) = input else { break };
            self.take(input);
            *lock(&self.traffic.counters) = self.engine.counters();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(event, share) => {
                match event {
                    Event::Connected(peer) => self.start_writer(peer),
                    Event::Disconnected(peer) => drop(self.writers.remove(&peer)),
                    Event::Dropped(id) => drop(self.replies.remove(&id)),
                    Event::Received(peer, ref message) => self.tell_received(peer, message),
                    _ => {}
                }
                self.step(event, share);
            }
            Input::Want { id, cid, reply } => {
                self.replies.insert(id, reply);
                self.step(Event::Wanted(id, cid), None);
            }
            Input::Written { peer, generation, ok } => {
                if self.writers.get(&peer).is_some_and(|(current, _)| *current == generation) {
                    self.step(if ok { Event::Sent(peer) } else { Event::SendFailed(peer) }, None);
                }
            }
        }
    }

    fn step(&mut self, event: Event, share: Option<OwnedSemaphorePermit>) {
        let share = share.map(Arc::new);
        for effect in self.engine.step(event, self.started.elapsed()) {
            self.perform(effect, share.clone());
        }
    }

    fn perform(&mut self, effect: Effect, share: Option<Arc<OwnedSemaphorePermit>>) {
        match effect {
            Effect::Send(peer, outgoing) => {
                if let Some((_, writer)) = self.writers.get(&peer) {
                    // The engine has one message under way (E3), so there is room.
                    if writer.try_send(outgoing).is_err() {
                        tracing::error!(%peer, "a bitswap message found no writer");
                    }
                }
            }
            Effect::Deliver(ids, bytes) => {
                for reply in ids.iter().filter_map(|id| self.replies.remove(id)) {
                    let _ = reply.send(Ok(bytes.clone())); // the caller may have gone
                }
            }
            Effect::Fail(ids, fault) => {
                for reply in ids.iter().filter_map(|id| self.replies.remove(id)) {
                    let _ = reply.send(Err(fault.clone().into()));
                }
            }
            Effect::Leave(peer, breach) => self.leave(peer, breach),
            Effect::Read(cid) => {
                let key = Key::of(&cid);
                let read = self.blocking(move |store| store.get(&key));
                let key = Key::of(&cid);
                self.answer(share, async move {
                    match read.await {
                        Ok(bytes) => Event::Read(key, bytes),
                        Err(error) => Event::NotStored(vec![key], Fault::from(&error)),
                    }
                });
            }
            Effect::Store(blocks) => {
                let store = self.store.clone();
                self.answer(share, async move {
                    let keyed: Vec<_> =
                        blocks.iter().map(|(cid, bytes)| (Key::of(cid), bytes.clone())).collect();
                    let keys = keyed.iter().map(|(key, _)| key.clone()).collect();
                    match store.put(keyed).await {
                        Ok(()) => Event::Stored(blocks),
                        Err(error) => Event::NotStored(keys, Fault::from(&error)),
                    }
                });
            }
            Effect::Find(peer, asked) => {
                let found = self.blocking(move |store| {
                    let keys: Vec<_> = asked.iter().map(|asked| Key::of(&asked.entry.cid)).collect();
                    let metas = store.metas(&keys)?;
                    Ok(asked
                        .into_iter()
                        .zip(metas)
                        .map(|(asked, meta)| (asked, meta.map(|meta| meta.size)))
                        .collect())
                });
                self.answer(share, async move {
                    Event::Found(
                        peer,
                        found.await.unwrap_or_else(|error| {
                            tracing::warn!(%peer, %error, "wants of a peer not looked up");
                            Vec::new()
                        }),
                    )
                });
            }
        }
    }

    fn tell_received(&self, peer: PeerId, message: &Message) {
        if !message.blocks.is_empty() {
            let bytes = message.blocks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            let blocks = message.blocks.len() as u64;
            self.observer.tell(observe::Event::Received { peer, blocks, bytes });
        }
    }

    fn leave(&mut self, peer: PeerId, breach: Breach) {
        tracing::warn!(%peer, reason = %breach, "left a peer that keeps breaking the rules of bitswap");
        self.traffic.left.fetch_add(1, Ordering::Relaxed);
        self.observer.tell(observe::Event::Left { peer, reason: breach });
        self.writers.remove(&peer);
        let swarm = self.swarm.clone();
        // The swarm may be waiting for the engine just now.
        tokio::spawn(async move {
            let _ = swarm.send(Command::Leave { peer }).await; // fails only when the node stops
        });
    }

    async fn join<T>(task: tokio::task::JoinHandle<Result<T, Error>>) -> Result<T, Error> {
        task.await.unwrap_or(Err(Error::Stopped))
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> impl std::future::Future<Output = Result<T, Error>> {
        let store = self.store.clone();
        Self::join(tokio::task::spawn_blocking(move || work(&store)))
    }

    /// Tells the engine what comes of an effect, and only then gives the share back.
    fn answer(
        &self,
        share: Option<Arc<OwnedSemaphorePermit>>,
        event: impl std::future::Future<Output = Event> + Send + 'static,
    ) {
        let bitswap = self.bitswap.clone();
        tokio::spawn(async move {
            let _ = bitswap.tell(event.await).await; // fails only when the node stops
            drop(share);
        });
    }

    fn start_writer(&mut self, peer: PeerId) {
        self.generation += 1;
        let (queue, receiver) = mpsc::channel(1);
        let writer = Writer {
            peer,
            generation: self.generation,
            store: self.store.clone(),
            swarm: self.swarm.clone(),
            bitswap: self.bitswap.clone(),
            sent: self.traffic.sent.clone(),
            observer: self.observer.clone(),
        };
        self.writers.insert(peer, (self.generation, queue));
        tokio::spawn(writer.run(receiver));
    }

    /// Wants whose callers went away while the inbox was full.
    fn drop_abandoned(&mut self) {
        let gone = |(id, reply): (&WantId, &oneshot::Sender<_>)| reply.is_closed().then_some(*id);
        for id in self.replies.iter().filter_map(gone).collect::<Vec<_>>() {
            self.take(Input::Event(Event::Dropped(id), None));
        }
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Fault {
        match error {
            Error::Full { limit } => Fault::Full(*limit),
            other => Fault::Broken(other.to_string()),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Full(limit) => Error::Full { limit },
            Fault::TooLarge(size) => Error::BlockTooLarge { size: size as usize },
            Fault::Broken(why) => {
                Error::Store(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(why)))
            }
        }
    }
}
