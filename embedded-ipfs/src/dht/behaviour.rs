//! One of the two hash tables: libp2p's Kademlia, which hears and tells of the addresses of its own scope alone.

use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::kad::{self, BucketInserts, Caching, KBucketKey, StoreInserts};
use libp2p::swarm::{
    behaviour::{ExternalAddrConfirmed, ExternalAddrExpired},
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::records::Records;
use super::Scope;

/// How long a question may take in all.
const QUERY: Duration = Duration::from_secs(60);
/// How long what others gave is kept, unless they give it again.
const KEEP: Duration = Duration::from_secs(48 * 3600);
/// How often the routing table is refreshed, as in Kubo.
const REFRESH: Duration = Duration::from_secs(600);
/// A record of 10 KiB and 20 peers with many addresses each, or many providers.
const MAX_MESSAGE: usize = 128 << 10;
/// Addresses kept of a peer.
const MAX_ADDRESSES: usize = 8;

type Kademlia = kad::Behaviour<Records>;

pub(crate) struct Table {
    scope: Scope,
    me: PeerId,
    kad: Kademlia,
}

impl Table {
    pub(super) fn new(scope: Scope, me: PeerId) -> Table {
        let mut config = kad::Config::new(scope.protocol());
        config
            .set_query_timeout(QUERY)
            .set_max_packet_size(MAX_MESSAGE)
            .set_record_ttl(Some(KEEP))
            .set_provider_record_ttl(Some(KEEP))
            .set_periodic_bootstrap_interval(Some(REFRESH))
            // We look at records before they are kept, and at what identify says before a peer is.
            .set_record_filtering(StoreInserts::FilterBoth)
            .set_kbucket_inserts(BucketInserts::Manual)
            .set_caching(Caching::Disabled)
            // Whoever has something says so again: names their owners, contents `providing`.
            .set_replication_interval(None)
            .set_publication_interval(None)
            .set_provider_publication_interval(None);
        Table { scope, me, kad: Kademlia::with_config(me, Records::new(me), config) }
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// This node.
    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    /// The Kademlia within.
    pub(super) fn kad(&mut self) -> &mut Kademlia {
        &mut self.kad
    }

    /// Learns where a peer listens that speaks this table's protocol.
    pub(super) fn learn(
        &mut self,
        peer: PeerId,
        protocols: &[libp2p::StreamProtocol],
        addresses: &[Multiaddr],
    ) {
        if !protocols.contains(&self.scope.protocol()) {
            self.kad.remove_peer(&peer);
            return;
        }
        let told: Vec<_> = addresses
            .iter()
            .filter(|address| self.scope.admits(address))
            .filter_map(|address| address.clone().with_p2p(peer).ok())
            .take(MAX_ADDRESSES)
            .collect();
        let known = self.known(&peer);
        // A peer that moved: the table would keep its old addresses, too, for ever.
        if known.iter().any(|address| !told.contains(address)) {
            self.kad.remove_peer(&peer);
        }
        for address in told.into_iter().filter(|address| !known.contains(address)) {
            self.kad.add_address(&peer, address);
        }
    }

    fn known(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let key = KBucketKey::from(*peer);
        let Some(bucket) = self.kad.kbucket(*peer) else { return Vec::new() };
        let found = bucket.iter().find(|entry| *entry.node.key == key);
        found.map(|entry| entry.node.value.clone().into_vec()).unwrap_or_default()
    }

    /// Where a peer may be dialled, by the routing table or by what the questions under way were told of it.
    pub(super) fn addresses_of(&mut self, peer: PeerId) -> Vec<Multiaddr> {
        let nowhere = ConnectionId::new_unchecked(usize::MAX);
        let known = self.handle_pending_outbound_connection(nowhere, Some(peer), &[], Endpoint::Dialer);
        known.unwrap_or_default()
    }

    /// Peers in the routing table.
    pub(super) fn peers(&mut self) -> usize {
        self.kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }
}

impl NetworkBehaviour for Table {
    type ConnectionHandler = <Kademlia as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.kad.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut known = self.kad.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        known.retain(|address| self.scope.admits(address));
        known.truncate(MAX_ADDRESSES);
        Ok(known)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    /// Addresses of the scope count as reachable, which makes this node a server of the table: it is for those who
    /// configure it to listen on, or to announce, what can be dialled.
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(listen) if self.scope.admits(listen.addr) => {
                self.kad.on_swarm_event(event);
                let addr = listen.addr;
                self.kad.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
            }
            FromSwarm::ExpiredListenAddr(listen) if self.scope.admits(listen.addr) => {
                self.kad.on_swarm_event(event);
                let addr = listen.addr;
                self.kad.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
            }
            FromSwarm::NewListenAddr(_) | FromSwarm::ExpiredListenAddr(_) => {}
            FromSwarm::ExternalAddrConfirmed(external) if !self.scope.admits(external.addr) => {}
            FromSwarm::ExternalAddrExpired(external) if !self.scope.admits(external.addr) => {}
            event => self.kad.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.kad.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<kad::Event, THandlerInEvent<Self>>> {
        self.kad.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_table_learns_the_addresses_of_its_scope_of_those_who_speak_its_protocol() {
        let told =
            addresses(&["/ip4/10.0.0.1/tcp/4001", "/ip4/8.8.8.8/tcp/4001", "/ip4/8.8.8.8/udp/4001/quic-v1"]);
        for (scope, expected) in [(Scope::Lan, &told[..1]), (Scope::Wan, &told[1..2])] {
            let (mut table, peer) = (Table::new(scope, PeerId::random()), PeerId::random());
            table.learn(peer, &[libp2p::StreamProtocol::new("/ipfs/bitswap/1.2.0")], &told);
            assert_eq!(table.peers(), 0);
            table.learn(peer, &[scope.protocol()], &told);
            let expected: Vec<_> = expected.iter().map(|a| a.clone().with_p2p(peer).unwrap()).collect();
            assert_eq!(table.addresses_of(peer), expected);
            table.learn(peer, &[], &told);
            assert_eq!(table.peers(), 0, "it speaks the protocol no more");
        }
    }

    #[tokio::test]
    async fn a_peer_that_moves_or_floods_leaves_no_more_than_its_last_addresses() {
        let (mut table, peer) = (Table::new(Scope::Lan, PeerId::random()), PeerId::random());
        for host in 1..100u8 {
            let told: Vec<_> =
                (1..50).map(|port| format!("/ip4/10.0.0.{host}/tcp/{port}").parse().unwrap()).collect();
            table.learn(peer, &[Scope::Lan.protocol()], &told);
            let known = table.addresses_of(peer);
            assert_eq!(known.len(), MAX_ADDRESSES);
            assert!(known.iter().all(|address| address.to_string().contains(&format!("10.0.0.{host}/"))));
        }
        assert_eq!(table.peers(), 1);
    }
}
