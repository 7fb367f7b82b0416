//! The swarm task: connections, who is dialled when, and the streams on them.
//!
//! Owns: the libp2p swarm, the peers to stay connected with, the hash tables ([`Dht`]).  Hears: [`Command`]s and the swarm's
//! events.  Says: connected and disconnected to bitswap, and starts a reading task for every inbound stream.

mod addresses;
mod behaviour;
mod left;
mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::RecordKey;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, Stream, SwarmEvent};
use libp2p::{identify, ping, Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, oneshot, Semaphore};
use tokio::time::Instant;

use crate::bitswap::engine::limits::Breach;
use crate::bitswap::engine::Event;
use crate::bitswap::streams::{Inbound, NoStream};
use crate::bitswap::{read_all, Bitswap, READERS};
use crate::dht::{Ask, Counts, Dht, Scope};
use crate::error::cause;
use crate::redial::Redial;
use crate::store::lock;
use crate::{Error, Limits, Observer, Peer};
use addresses::listen_on;
pub(crate) use addresses::{peer_of, unreachable, Addresses};
pub(crate) use behaviour::{build, Behaviour, BehaviourEvent};
use left::Left;
pub(crate) use view::View;

/// Connections that only the public hash table made, most: they are the first to go.
const PASSING: usize = 64;
/// Fewer peers in the widest hash table than this, and the bootstrap peers are dialled, so often.
const LONELY: (usize, Duration) = (4, Duration::from_secs(30));

/// What the swarm task is asked to do.
pub(crate) enum Command {
    /// Connect once, and hear who it is.
    Dial { peer: PeerId, addresses: Vec<Multiaddr>, reply: oneshot::Sender<Result<(), Error>> },
    /// Stay connected.
    Keep { peer: PeerId, address: Multiaddr },
    /// Ask the hash tables.
    Ask(Ask),
    /// Answer for these contents in the hash tables, or no more.
    Hold { keys: Vec<RecordKey>, held: bool },
    /// Open a bitswap stream. The reply is dropped if the peer is not connected.
    Open { peer: PeerId, reply: oneshot::Sender<Result<Stream, NoStream>> },
    /// Disconnect a peer and have nothing to do with it for a while.
    Leave { peer: PeerId },
}

type Dialled = oneshot::Sender<Result<(), Error>>;

pub(crate) struct SwarmTask {
    swarm: Swarm<Behaviour>,
    bitswap: Bitswap,
    started: Instant,
    budget: usize,
    redial: Redial,
    dht: Dht,
    /// Callers that wait for a dial, and then to hear what the peer says of itself: before, the hash tables do not know it.
    dials: HashMap<ConnectionId, Dialled>,
    connections: HashMap<PeerId, Connected>,
    /// Peers that only the public hash table is connected with, oldest first. Bitswap does not know them.
    passing: VecDeque<PeerId>,
    view: Arc<Mutex<View>>,
    announce: Vec<Multiaddr>,
    bootstrap: Vec<(PeerId, Multiaddr)>,
    bootstrap_due: Instant,
    left: Left,
    observer: Observer,
}

struct Connected {
    address: Multiaddr,
    /// Bytes of it that may be read and not yet be dealt with.
    budget: Arc<Semaphore>,
    /// Streams of it that may be read at a time.
    readers: Arc<Semaphore>,
}

impl SwarmTask {
    /// Listens on all that it should.
    pub(crate) async fn start(
        mut swarm: Swarm<Behaviour>,
        addresses: Addresses,
        limits: &Limits,
        bitswap: Bitswap,
        view: Arc<Mutex<View>>,
        counts: Arc<Counts>,
        observer: Observer,
    ) -> Result<SwarmTask, Error> {
        let Addresses { listen, announce, bootstrap } = addresses;
        listen_on(&mut swarm, listen).await?;
        for address in &announce {
            swarm.add_external_address(address.clone());
        }
        let task = SwarmTask {
            swarm,
            bitswap,
            started: Instant::now(),
            budget: limits.inflight_bytes_per_peer.max(crate::bitswap::message::RECEIVE_MAX),
            redial: Redial::default(),
            dht: Dht::new(counts),
            dials: HashMap::new(),
            connections: HashMap::new(),
            passing: VecDeque::new(),
            view,
            announce,
            bootstrap,
            bootstrap_due: Instant::now(),
            left: Left::default(),
            observer,
        };
        task.publish();
        Ok(task)
    }

    /// Serves until the runtime ends or every sender of commands is gone.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            self.dial_due();
            self.left.forgive(&mut self.swarm.behaviour_mut().left);
            self.dht.settle(&mut self.swarm.behaviour_mut().tables);
            let next = self.next();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event).await,
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => break,
                },
                () = sleep_until(next) => {}
            }
        }
    }

    /// When there is something to do even if nothing happens.
    fn next(&self) -> Option<Instant> {
        let redial = self.redial.next().map(|at| self.started + at);
        let bootstrap = (!self.bootstrap.is_empty()).then_some(self.bootstrap_due);
        [redial, bootstrap, self.dht.next(), self.left.next()].into_iter().flatten().min()
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn dial_due(&mut self) {
        if self.bootstrap_due <= Instant::now() {
            self.bootstrap_due = Instant::now() + LONELY.1;
            self.dial_bootstrap();
        }
        for (peer, addresses) in self.redial.due(self.now()) {
            let options =
                DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::Disconnected).build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "not dialled");
                let now = self.now();
                self.redial.failed(&peer, now);
            }
        }
    }

    fn dial_bootstrap(&mut self) {
        if self.dht.peers(&mut self.swarm.behaviour_mut().tables) >= LONELY.0 {
            return;
        }
        for (peer, address) in self.bootstrap.clone() {
            let options = DialOpts::peer_id(peer).addresses(vec![address]).build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "bootstrap peer not dialled");
            }
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Ask(ask) => self.dht.ask(ask, &mut self.swarm.behaviour_mut().tables),
            Command::Hold { keys, held } => {
                self.dht.hold(keys, held, &mut self.swarm.behaviour_mut().tables);
            }
            Command::Keep { peer, address } => {
                self.promote(peer).await;
                let (now, connected) = (self.now(), self.connections.contains_key(&peer));
                self.redial.keep(peer, address, connected, now);
                self.swarm.behaviour_mut().totals.bypass_peer_id(&peer);
                self.publish();
            }
            Command::Leave { peer } => self.left.leave(peer, &mut self.swarm.behaviour_mut().left),
            Command::Open { peer, reply } => self.swarm.behaviour_mut().streams.open(peer, reply),
            Command::Dial { peer, reply, .. } if self.connections.contains_key(&peer) => {
                self.promote(peer).await;
                let _ = reply.send(Ok(())); // the caller may have gone
            }
            Command::Dial { peer, addresses, reply } => {
                let options =
                    DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::Always).build();
                let id = options.connection_id();
                match self.swarm.dial(options) {
                    Ok(()) => drop(self.dials.insert(id, reply)),
                    Err(error) => drop(reply.send(Err(unreachable(&error)))),
                }
            }
        }
    }

    async fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let told = lock(&self.view).note(&event);
        if let Some(told) = told {
            self.observer.tell(told);
        }
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(Inbound { peer, stream })) => {
                self.promote(peer).await;
                self.read(peer, stream).await
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.pinged(ping),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.identified(event),
            SwarmEvent::Behaviour(BehaviourEvent::Tables(event)) => {
                self.dht.on_event(event, &mut self.swarm.behaviour_mut().tables);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let passing = endpoint.is_dialer()
                    && !self.dials.contains_key(&connection_id)
                    && !self.redial.keeps(&peer_id)
                    && Scope::Wan.admits(endpoint.get_remote_address());
                self.established(peer_id, endpoint.get_remote_address().clone(), passing).await;
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Err(Error::Unreachable("the peer broke off".into())));
                }
                if num_established == 0 {
                    tracing::debug!(peer = %peer_id, ?cause, "peer gone");
                    self.gone(peer_id).await;
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Err(unreachable(&error)));
                }
                if let Some(peer) = peer_id.filter(|peer| !self.connections.contains_key(peer)) {
                    tracing::debug!(%peer, %error, "dial failed");
                    let now = self.now();
                    self.redial.failed(&peer, now);
                }
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.publish(),
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(error = cause(&error), "a connection was not taken");
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                let reason = reason.err().map(|error| cause(&error));
                tracing::error!(?addresses, reason, "the node listens there no more");
            }
            _ => {}
        }
    }

    fn pinged(&mut self, event: ping::Event) {
        match event.result {
            Ok(_) | Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "a connection does not answer pings");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    fn identified(&mut self, event: identify::Event) {
        let connection = event.connection_id();
        match event {
            identify::Event::Received { peer_id, info, .. } => {
                self.dht.identified(peer_id, &info, &mut self.swarm.behaviour_mut().tables);
            }
            identify::Event::Error { peer_id, error, .. } => {
                tracing::debug!(peer = %peer_id, %error, "a peer did not say what it is");
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => return,
        }
        if let Some(reply) = self.dials.remove(&connection) {
            let _ = reply.send(Ok(())); // the caller may have gone
        }
    }

    async fn established(&mut self, peer: PeerId, address: Multiaddr, passing: bool) {
        if self.connections.contains_key(&peer) {
            return;
        }
        tracing::debug!(%peer, %address, passing, "peer connected");
        let budget = Arc::new(Semaphore::new(self.budget));
        let readers = Arc::new(Semaphore::new(READERS));
        self.connections.insert(peer, Connected { address, budget, readers });
        let now = self.now();
        self.redial.connected(&peer, now);
        if passing {
            self.passing.push_back(peer);
            if self.passing.len() > PASSING {
                let oldest = self.passing.front().copied();
                let _ = oldest.map(|peer| self.swarm.disconnect_peer_id(peer)); // an error: it is gone already
            }
        } else {
            let _ = self.bitswap.tell(Event::Connected(peer)).await; // fails only when the node stops
        }
        self.publish();
    }

    /// A peer is wanted for more than a question of the public hash table.
    async fn promote(&mut self, peer: PeerId) {
        if let Some(at) = self.passing.iter().position(|passing| *passing == peer) {
            self.passing.remove(at);
            let _ = self.bitswap.tell(Event::Connected(peer)).await; // fails only when the node stops
        }
    }

    async fn gone(&mut self, peer: PeerId) {
        self.connections.remove(&peer);
        let now = self.now();
        self.redial.lost(&peer, now);
        match self.passing.iter().position(|passing| *passing == peer) {
            Some(at) => drop(self.passing.remove(at)),
            None => drop(self.bitswap.tell(Event::Disconnected(peer)).await), // fails only when the node stops
        }
        self.publish();
    }

    async fn read(&mut self, peer: PeerId, stream: Stream) {
        let Some(connected) = self.connections.get(&peer) else {
            return;
        };
        let Ok(reader) = connected.readers.clone().try_acquire_owned() else {
            // Fails only when the node stops.
            let _ = self.bitswap.tell(Event::Breached(peer, Breach::Streams)).await;
            return;
        };
        let reading = read_all(peer, stream, connected.budget.clone(), reader, self.bitswap.clone());
        tokio::spawn(reading);
    }

    fn publish(&self) {
        let me = *self.swarm.local_peer_id();
        let with_me = |address: &Multiaddr| address.clone().with_p2p(me).ok();
        let mut view = lock(&self.view);
        view.addresses = self.swarm.listeners().chain(&self.announce).filter_map(with_me).collect();
        let peers = self.connections.iter();
        view.peers = peers
            .map(|(id, connected)| Peer {
                id: *id,
                address: connected.address.clone(),
                kept: self.redial.keeps(id),
            })
            .collect();
        view.peers.sort_by_key(|peer| peer.id);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
