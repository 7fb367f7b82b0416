//! What others may see of the network.

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ListenError, SwarmEvent};
use libp2p::Multiaddr;

use crate::{Event, Peer, Stats};

/// Kept by the swarm task, read by whoever asks the node.
#[derive(Default)]
pub(crate) struct View {
    /// Addresses listened on, and those announced.
    pub(crate) addresses: Vec<Multiaddr>,
    /// In the order of their ids.
    pub(crate) peers: Vec<Peer>,
    inbound: u64,
    outbound: u64,
    refused: u64,
    failed_dials: u64,
}

impl View {
    /// Counts what becomes of connections; gives what is to be told of it.
    pub(super) fn note<E>(&mut self, event: &SwarmEvent<E>) -> Option<Event> {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                *self.standing(endpoint) += 1;
                let (address, inbound) = (endpoint.get_remote_address().clone(), endpoint.is_listener());
                Some(Event::Connected { peer: *peer_id, address, inbound })
            }
            SwarmEvent::ConnectionClosed { peer_id, endpoint, .. } => {
                let standing = self.standing(endpoint);
                *standing = standing.saturating_sub(1);
                Some(Event::Disconnected { peer: *peer_id })
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                self.failed_dials += 1;
                Some(Event::DialFailed { peer: *peer_id, reason: error.to_string() })
            }
            SwarmEvent::IncomingConnectionError {
                error: ListenError::Denied { .. }, send_back_addr, ..
            } => {
                self.refused += 1;
                Some(Event::Refused { address: send_back_addr.clone() })
            }
            _ => None,
        }
    }

    fn standing(&mut self, endpoint: &ConnectedPoint) -> &mut u64 {
        match endpoint {
            ConnectedPoint::Listener { .. } => &mut self.inbound,
            ConnectedPoint::Dialer { .. } => &mut self.outbound,
        }
    }

    /// Fills in what the network counts.
    pub(crate) fn report(&self, stats: &mut Stats) {
        stats.peers = self.peers.len() as u64;
        stats.inbound_connections = self.inbound;
        stats.outbound_connections = self.outbound;
        stats.refused_connections = self.refused;
        stats.failed_dials = self.failed_dials;
    }
}
