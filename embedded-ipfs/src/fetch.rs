//! Asks one peer, and nobody else: a throwaway swarm that has no store, no listener and no other peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{Stream, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, oneshot, Semaphore};
use tokio::time::Instant;

use crate::bitswap::engine::Event;
use crate::bitswap::message::{Entry, Kind, Message, RECEIVE_MAX};
use crate::bitswap::service::Input;
use crate::bitswap::streams::{Inbound, NoStream};
use crate::bitswap::{read_all, wire, Bitswap, READERS};
use crate::block::{check_known_hash, inline, Key};
use crate::swarm::{self, Behaviour, BehaviourEvent};
use crate::{Answer, Dht, Error, Fetched, Limits};

/// Wants that lie at the peer at once: Kubo drops those beyond 1,024.
const WINDOW: usize = 512;

/// Asks one peer, and nobody else, for blocks, over a fresh connection under a fresh identity; nothing is stored or served.
/// Answers come in the order of `cids`; what a peer that broke off left unanswered is [`Answer::Silence`]. `deadline`
/// bounds all of it; `max_bytes` bounds the distinct blocks together. Works on any runtime (it uses a thread of its own);
/// dropping the future ends it.
///
/// # Errors
/// [`Error::Address`] without a `/p2p/` part, [`Error::Hash`] for a CID that could not be checked, [`Error::Unreachable`] if
/// the peer could not be dialled or speaks no bitswap, [`Error::Deadline`] if it was not even connected by then,
/// [`Error::TooManyBytes`], [`Error::Io`].
pub async fn fetch_from(
    peer: Multiaddr,
    cids: Vec<Cid>,
    deadline: Duration,
    max_bytes: u64,
) -> Result<Vec<Fetched>, Error> {
    let id = swarm::peer_of(&peer)?;
    cids.iter().try_for_each(check_known_hash)?;
    let (mut reply, answer) = oneshot::channel();
    std::thread::Builder::new().name("ipfs-fetch".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(reply.send(Err(error.into()))),
        };
        runtime.block_on(async {
            tokio::select! {
                outcome = run(id, peer, cids, deadline, max_bytes) => drop(reply.send(outcome)),
                () = reply.closed() => {} // the caller went away
            }
        });
    })?;
    answer.await.map_err(|_| Error::Stopped)?
}

async fn run(
    peer: PeerId,
    address: Multiaddr,
    cids: Vec<Cid>,
    deadline: Duration,
    max_bytes: u64,
) -> Result<Vec<Fetched>, Error> {
    let until = Instant::now() + deadline;
    let limits = Limits { inbound_connections: 0, ..Limits::default() };
    let mut swarm = swarm::build(Keypair::generate_ed25519(), &limits, Dht::Off)?;
    swarm
        .dial(DialOpts::peer_id(peer).addresses(vec![address]).build())
        .map_err(|error| swarm::unreachable(&error))?;
    let (stream, early) =
        tokio::time::timeout_at(until, connect(&mut swarm, peer)).await.map_err(|_| Error::Deadline)??;
    let mut session = Session::new(cids, max_bytes);
    match tokio::time::timeout_at(until, session.ask(swarm, peer, stream, early)).await {
        Ok(outcome) => outcome?,
        Err(_) => tracing::debug!(%peer, "deadline of a fetch passed"),
    }
    Ok(session.answers())
}

/// Connects and opens a stream. A peer that wants something itself may have opened one before that: it comes, too, since it
/// is that on which the peer will answer.
async fn connect(swarm: &mut Swarm<Behaviour>, peer: PeerId) -> Result<(Stream, Vec<Stream>), Error> {
    let (reply, mut opened) = oneshot::channel();
    let (mut reply, mut early) = (Some(reply), Vec::new());
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { .. } => {
                    if let Some(reply) = reply.take() {
                        swarm.behaviour_mut().streams.open(peer, reply);
                    }
                }
                SwarmEvent::Behaviour(BehaviourEvent::Streams(Inbound { stream, .. })) if early.len() < READERS => {
                    early.push(stream);
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(swarm::unreachable(&error)),
                SwarmEvent::ConnectionClosed { .. } => return Err(Error::Unreachable("the peer broke off".into())),
                _ => {}
            },
            opened = &mut opened => return match opened {
                Ok(Ok(stream)) => Ok((stream, early)),
                Ok(Err(NoStream::Unsupported)) => Err(Error::Unreachable("the peer does not speak bitswap 1.2".into())),
                Ok(Err(NoStream::Failed)) | Err(_) => Err(Error::Unreachable("the peer opened no stream".into())),
            },
        }
    }
}

/// What was asked and what was answered.
struct Session {
    cids: Vec<Cid>,
    wants: HashMap<Key, Want>,
    /// Not asked yet, last first.
    queue: Vec<Key>,
    /// Asked and not answered.
    open: usize,
    left: u64,
    limit: u64,
}

struct Want {
    cid: Cid,
    asked: Option<Instant>,
    answer: Option<Answer>,
}

impl Session {
    fn new(cids: Vec<Cid>, limit: u64) -> Session {
        let mut session =
            Session { wants: HashMap::new(), queue: Vec::new(), open: 0, left: limit, limit, cids };
        for cid in session.cids.iter().rev().filter(|cid| inline(cid).is_none()) {
            let want = Want { cid: *cid, asked: None, answer: None };
            if session.wants.insert(Key::of(cid), want).is_none() {
                session.queue.push(Key::of(cid));
            }
        }
        session
    }

    /// Asks until all is answered or the peer breaks off.
    async fn ask(
        &mut self,
        mut swarm: Swarm<Behaviour>,
        peer: PeerId,
        mut stream: Stream,
        early: Vec<Stream>,
    ) -> Result<(), Error> {
        let (bitswap, mut inbox): (Bitswap, mpsc::Receiver<Input>) = Bitswap::new();
        let budget = Arc::new(Semaphore::new(RECEIVE_MAX));
        let readers = Arc::new(Semaphore::new(READERS));
        let read = |stream| {
            if let Ok(reader) = readers.clone().try_acquire_owned() {
                tokio::spawn(read_all(peer, stream, budget.clone(), reader, bitswap.clone()));
            }
        };
        early.into_iter().for_each(read);
        let mut first = true;
        while self.open > 0 || !self.queue.is_empty() {
            if self.open <= WINDOW / 2 && !self.queue.is_empty() {
                let body = self.next_wants(first).encode();
                first = false;
                if wire::write(&mut stream, &body).await.is_err() {
                    break;
                }
            }
            tokio::select! {
                event = swarm.select_next_some() => match event {
                    SwarmEvent::Behaviour(BehaviourEvent::Streams(Inbound { stream, .. })) => read(stream),
                    SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
                        tracing::debug!(%peer, "the peer broke off");
                        break;
                    }
                    _ => {}
                },
                Some(input) = inbox.recv() => match input {
                    Input::Event(Event::Received(_, message), _share) => self.take(message)?,
                    Input::Event(Event::Oversize(_, cid, _), _) => self.give_up(&cid),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn next_wants(&mut self, full: bool) -> Message {
        let mut message = Message { full, ..Message::default() };
        while self.open < WINDOW {
            let Some(want) = self.queue.pop().and_then(|key| self.wants.get_mut(&key)) else {
                break;
            };
            want.asked = Some(Instant::now());
            self.open += 1;
            message.entries.push(Entry { cid: want.cid, kind: Some(Kind::Block), send_dont_have: true });
        }
        message
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        for (cid, bytes) in message.blocks {
            self.answer(&cid, Some(bytes))?;
        }
        for (cid, has) in message.presences {
            if !has {
                self.answer(&cid, None)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, cid: &Cid, bytes: Option<Bytes>) -> Result<(), Error> {
        let Some(want) = self.wants.get_mut(&Key::of(cid)) else {
            return Ok(());
        };
        let (Some(asked), None) = (want.asked, &want.answer) else {
            return Ok(());
        };
        self.open -= 1;
        want.answer = Some(match bytes {
            Some(bytes) => {
                let size = bytes.len() as u64;
                self.left = self.left.checked_sub(size).ok_or(Error::TooManyBytes { limit: self.limit })?;
                // A copy of its own: the message may be much larger than the block.
                Answer::Block { bytes: Bytes::copy_from_slice(&bytes), after: asked.elapsed() }
            }
            None => Answer::DontHave,
        });
        Ok(())
    }

    /// No message can carry it: there will be no answer.
    fn give_up(&mut self, cid: &Cid) {
        if let Some(want) = self.wants.get_mut(&Key::of(cid)) {
            if want.asked.is_some() && want.answer.is_none() {
                self.open -= 1;
                want.answer = Some(Answer::Silence);
            }
        }
    }

    fn answers(self) -> Vec<Fetched> {
        let answer = |cid: &Cid| match inline(cid) {
            Some(bytes) => Answer::Block { bytes: Bytes::copy_from_slice(bytes), after: Duration::ZERO },
            None => {
                self.wants.get(&Key::of(cid)).and_then(|want| want.answer.clone()).unwrap_or(Answer::Silence)
            }
        };
        self.cids.iter().map(|cid| Fetched { cid: *cid, answer: answer(cid) }).collect()
    }
}

#[cfg(test)]
mod tests;
