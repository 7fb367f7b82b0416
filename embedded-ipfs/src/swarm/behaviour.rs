//! What the swarm is made of: TCP, noise, yamux, and the behaviours on them.

use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, noise, ping, tcp, yamux, Swarm, SwarmBuilder};

use crate::bitswap::streams;
use crate::dht::Tables;
use crate::{Error, Limits};

/// A connection without a stream ends after this long; both ends of a kept one just make it again.
const IDLE: Duration = Duration::from_secs(600);
/// Kubo opens a stream for each message that it sends.
const NEGOTIATING_STREAMS: usize = 512;
/// How often a connection is probed, and how long it may take to answer, behind megabytes of blocks on a slow line.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// In total; kept peers are not counted.
    pub(super) totals: connection_limits::Behaviour,
    per_peer: connection_limits::Behaviour,
    pub(super) left: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) streams: streams::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) tables: Tables,
}

/// A swarm over TCP, noise and yamux.
pub(crate) fn build(key: Keypair, limits: &Limits, dht: crate::Dht) -> Result<Swarm<Behaviour>, Error> {
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .map_err(std::io::Error::other)?
        .with_dns()
        .map_err(std::io::Error::other)?
        .with_behaviour(|key| {
            let totals = ConnectionLimits::default()
                .with_max_established(Some(limits.connections))
                .with_max_established_incoming(Some(limits.inbound_connections))
                .with_max_pending_incoming(Some(limits.inbound_connections))
                .with_max_established_outgoing(Some(limits.outbound_connections));
            let per_peer =
                ConnectionLimits::default().with_max_established_per_peer(Some(limits.connections_per_peer));
            let agent = concat!("embedded-ipfs/", env!("CARGO_PKG_VERSION"));
            Behaviour {
                totals: connection_limits::Behaviour::new(totals),
                per_peer: connection_limits::Behaviour::new(per_peer),
                left: allow_block_list::Behaviour::default(),
                streams: streams::Behaviour::default(),
                identify: identify::Behaviour::new(
                    identify::Config::new("ipfs/0.1.0".into(), key.public()).with_agent_version(agent.into()),
                ),
                ping: ping::Behaviour::new(ping::Config::new().with_interval(PING.0).with_timeout(PING.1)),
                tables: Tables::new(key.public().to_peer_id(), dht),
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
