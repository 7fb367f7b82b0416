//! Where a node listens and whom it knows, and in plain words why an address did not do.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, TcpListener};

use futures::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, TransportError};

use super::Behaviour;
use crate::error::cause;
use crate::Error;

/// Where a node listens and whom it knows, by configuration.
#[derive(Default)]
pub(crate) struct Addresses {
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) announce: Vec<Multiaddr>,
    pub(crate) bootstrap: Vec<(PeerId, Multiaddr)>,
}

/// The peer at the end of an address.
pub(crate) fn peer_of(address: &Multiaddr) -> Result<PeerId, Error> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Ok(peer),
        _ => Err(Error::Address(address.to_string())),
    }
}

/// Listens on all of these, or says on which it cannot, and why.
pub(super) async fn listen_on(swarm: &mut Swarm<Behaviour>, listen: Vec<Multiaddr>) -> Result<(), Error> {
    let failed = |address: &Multiaddr, why: String| Error::Listen(format!("{address}: {why}"));
    if let Some(taken) = listen.iter().find(|address| is_taken(address)) {
        return Err(failed(taken, "somebody listens there already".to_owned()));
    }
    let mut waiting = HashMap::new();
    for address in listen {
        let id = swarm.listen_on(address.clone()).map_err(|error| failed(&address, why(&error)))?;
        waiting.insert(id, address);
    }
    while !waiting.is_empty() {
        let (id, why) = match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, .. } => {
                waiting.remove(&listener_id);
                continue;
            }
            SwarmEvent::ListenerError { listener_id, error } => (listener_id, cause(&error)),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                (listener_id, reason.map_or_else(|error| cause(&error), |()| "closed".to_owned()))
            }
            _ => continue,
        };
        if let Some(address) = waiting.remove(&id) {
            return Err(failed(&address, why));
        }
    }
    Ok(())
}

/// Whether somebody listens on a port. Listeners of libp2p, those of Kubo too, share theirs with whoever asks for it
/// (`SO_REUSEPORT`), and each would get some of the other's connections; a plain socket is refused.
fn is_taken(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        // A plain socket for all addresses of version 6 would be one for version 4, too.
        Some(Protocol::Ip6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.into(),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return false,
    };
    let Some(Protocol::Tcp(port @ 1..)) = parts.next() else { return false };
    TcpListener::bind((ip, port)).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// Why a peer was not reached, in one line.
pub(crate) fn unreachable(error: &DialError) -> Error {
    Error::Unreachable(match error {
        DialError::Transport(failed) => {
            let failed = failed.iter().map(|(address, error)| format!("{address}: {}", why(error)));
            failed.collect::<Vec<_>>().join("; ")
        }
        error => cause(error),
    })
}

fn why(error: &TransportError<std::io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "not an address of TCP".to_owned(),
        TransportError::Other(error) => cause(error),
    }
}
