//! The swarm task: connections, who is dialled when, and the streams on them.
//!
//! Owns: the libp2p swarm, the peers to stay connected with.  Hears: [`Command`]s and the swarm's events.
//! Says: connected and disconnected to bitswap, and starts a reading task for every inbound stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, NetworkBehaviour, Stream, SwarmEvent};
use libp2p::{identify, noise, ping, tcp, yamux, Multiaddr, PeerId, Swarm, SwarmBuilder};
use tokio::sync::{mpsc, oneshot, Semaphore};
use tokio::time::Instant;

use crate::bitswap::engine::Event;
use crate::bitswap::streams::{self, Inbound, NoStream};
use crate::bitswap::{read_all, Bitswap};
use crate::redial::Redial;
use crate::store::lock;
use crate::{Error, Limits, Peer};

/// A connection without a stream ends after this long; both ends of a kept one just make it again.
const IDLE: Duration = Duration::from_secs(600);
/// Kubo opens a stream for each message that it sends.
const NEGOTIATING_STREAMS: usize = 512;
const CONNECTIONS_PER_PEER: u32 = 8;
/// How often a connection is probed, and how long it may take to answer, behind megabytes of blocks on a slow line.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

/// What the swarm task is asked to do.
pub(crate) enum Command {
    /// Connect once.
    Dial { peer: PeerId, address: Multiaddr, reply: oneshot::Sender<Result<(), Error>> },
    /// Stay connected.
    Keep { peer: PeerId, address: Multiaddr },
    /// Open a bitswap stream. The reply is dropped if the peer is not connected.
    Open { peer: PeerId, reply: oneshot::Sender<Result<Stream, NoStream>> },
}

/// What others may see of the network.
#[derive(Default)]
pub(crate) struct View {
    /// Addresses listened on, and those announced.
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) peers: Vec<Peer>,
}

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) streams: streams::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// A swarm over TCP, noise and yamux.
pub(crate) fn build(key: Keypair, connections: u32) -> Result<Swarm<Behaviour>, Error> {
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .map_err(std::io::Error::other)?
        .with_dns()
        .map_err(std::io::Error::other)?
        .with_behaviour(|key| {
            let limits = ConnectionLimits::default()
                .with_max_established_incoming(Some(connections))
                .with_max_pending_incoming(Some(connections))
                .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER));
            let agent = concat!("embedded-ipfs/", env!("CARGO_PKG_VERSION"));
            Behaviour {
                limits: connection_limits::Behaviour::new(limits),
                streams: streams::Behaviour::default(),
                identify: identify::Behaviour::new(
                    identify::Config::new("ipfs/0.1.0".into(), key.public()).with_agent_version(agent.into()),
                ),
                ping: ping::Behaviour::new(ping::Config::new().with_interval(PING.0).with_timeout(PING.1)),
            }
        })
        .map_err(std::io::Error::other)?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE)
                .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS)
        })
        .build();
    Ok(swarm)
}

/// The peer at the end of an address.
pub(crate) fn peer_of(address: &Multiaddr) -> Result<PeerId, Error> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Ok(peer),
        _ => Err(Error::Address(address.to_string())),
    }
}

pub(crate) struct SwarmTask {
    swarm: Swarm<Behaviour>,
    bitswap: Bitswap,
    started: Instant,
    budget: usize,
    redial: Redial,
    /// Callers that wait for a dial.
    dials: HashMap<ConnectionId, (PeerId, oneshot::Sender<Result<(), Error>>)>,
    connections: HashMap<PeerId, Connected>,
    view: Arc<Mutex<View>>,
    announce: Vec<Multiaddr>,
}

struct Connected {
    address: Multiaddr,
    budget: Arc<Semaphore>,
}

impl SwarmTask {
    /// Listens on all of `listen`.
    pub(crate) async fn start(
        mut swarm: Swarm<Behaviour>,
        listen: Vec<Multiaddr>,
        announce: Vec<Multiaddr>,
        limits: &Limits,
        bitswap: Bitswap,
        view: Arc<Mutex<View>>,
    ) -> Result<SwarmTask, Error> {
        let mut waiting = HashMap::new();
        for address in listen {
            let failed = |_| Error::Listen(address.to_string());
            let id = swarm.listen_on(address.clone()).map_err(failed)?;
            waiting.insert(id, address);
        }
        for address in &announce {
            swarm.add_external_address(address.clone());
        }
        while !waiting.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, .. } => drop(waiting.remove(&listener_id)),
                SwarmEvent::ListenerClosed { listener_id, .. }
                | SwarmEvent::ListenerError { listener_id, .. } => {
                    if let Some(address) = waiting.remove(&listener_id) {
                        return Err(Error::Listen(address.to_string()));
                    }
                }
                _ => {}
            }
        }
        let task = SwarmTask {
            swarm,
            bitswap,
            started: Instant::now(),
            budget: limits.inflight_bytes_per_peer.max(crate::bitswap::message::RECEIVE_MAX),
            redial: Redial::default(),
            dials: HashMap::new(),
            connections: HashMap::new(),
            view,
            announce,
        };
        task.publish();
        Ok(task)
    }

    /// Serves until the runtime ends or every sender of commands is gone.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            self.dial_due();
            let next = self.redial.next().map(|at| self.started + at);
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event).await,
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                () = sleep_until(next) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn dial_due(&mut self) {
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

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Keep { peer, address } => {
                let (now, connected) = (self.now(), self.connections.contains_key(&peer));
                self.redial.keep(peer, address, connected, now);
                self.publish();
            }
            Command::Open { peer, reply } => self.swarm.behaviour_mut().streams.open(peer, reply),
            Command::Dial { peer, reply, .. } if self.connections.contains_key(&peer) => {
                let _ = reply.send(Ok(())); // the caller may have gone
            }
            Command::Dial { peer, address, reply } => {
                let options =
                    DialOpts::peer_id(peer).addresses(vec![address]).condition(PeerCondition::Always).build();
                let id = options.connection_id();
                match self.swarm.dial(options) {
                    Ok(()) => drop(self.dials.insert(id, (peer, reply))),
                    Err(error) => drop(reply.send(Err(unreachable(&error)))),
                }
            }
        }
    }

    async fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(Inbound { peer, stream })) => {
                self.read(peer, stream)
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.pinged(ping),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.established(peer_id, connection_id, endpoint.get_remote_address().clone()).await;
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "peer gone");
                self.connections.remove(&peer_id);
                let now = self.now();
                self.redial.lost(&peer_id, now);
                let _ = self.bitswap.tell(Event::Disconnected(peer_id)).await; // fails only when the node stops
                self.publish();
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                if let Some((_, reply)) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Err(unreachable(&error)));
                }
                if let Some(peer) = peer_id.filter(|peer| !self.connections.contains_key(peer)) {
                    tracing::debug!(%peer, %error, "dial failed");
                    let now = self.now();
                    self.redial.failed(&peer, now);
                }
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.publish(),
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

    async fn established(&mut self, peer: PeerId, connection: ConnectionId, address: Multiaddr) {
        if let Some((_, reply)) = self.dials.remove(&connection) {
            let _ = reply.send(Ok(())); // the caller may have gone
        }
        if self.connections.contains_key(&peer) {
            return;
        }
        tracing::debug!(%peer, %address, "peer connected");
        let budget = Arc::new(Semaphore::new(self.budget));
        self.connections.insert(peer, Connected { address, budget });
        let now = self.now();
        self.redial.connected(&peer, now);
        let _ = self.bitswap.tell(Event::Connected(peer)).await; // fails only when the node stops
        self.publish();
    }

    fn read(&mut self, peer: PeerId, stream: Stream) {
        let Some(connected) = self.connections.get(&peer) else {
            return;
        };
        let reading = read_all(peer, stream, connected.budget.clone(), self.bitswap.clone());
        tokio::spawn(async move {
            if let Err(error) = reading.await {
                tracing::debug!(%peer, %error, "bitswap stream given up");
            }
        });
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

pub(crate) fn unreachable(error: &DialError) -> Error {
    Error::Unreachable(error.to_string())
}

#[cfg(test)]
mod tests;
