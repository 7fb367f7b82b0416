//! A peer of a hash table that says what it is told to say.

use std::future::Future;
use std::time::Duration;

use embedded_ipfs::Node;
use futures::StreamExt;
use ipns_record::Name;
use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::kad::{self, Mode, Quorum, Record};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{identify, noise, tcp, yamux, PeerId, StreamProtocol, Swarm, SwarmBuilder};

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

pub struct Peer {
    swarm: Swarm<Behaviour>,
    node: PeerId,
}

impl Peer {
    /// A peer that is connected with a node and in its routing table.
    pub async fn connect(node: &Node) -> Peer {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|key| {
                let me = key.public().to_peer_id();
                let protocol = StreamProtocol::new("/ipfs/lan/kad/1.0.0");
                let mut kad =
                    kad::Behaviour::with_config(me, MemoryStore::new(me), kad::Config::new(protocol));
                kad.set_mode(Some(Mode::Server));
                let identify = identify::Config::new("ipfs/0.1.0".into(), key.public());
                Behaviour { kad, identify: identify::Behaviour::new(identify) }
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let before = node.stats().await.unwrap().dht_peers;
        let mut peer = Peer { swarm, node: node.peer_id() };
        while !matches!(peer.swarm.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
        peer.swarm.dial(node.addrs().remove(0)).unwrap();
        peer.until(|| async { node.stats().await.unwrap().dht_peers > before }).await;
        peer
    }

    /// A peer that answers with these records for as long as the task lives.
    pub async fn serve(node: &Node, records: &[(Name, Vec<u8>)]) -> tokio::task::JoinHandle<()> {
        let mut peer = Peer::connect(node).await;
        for (name, value) in records {
            let record = Record::new(name.routing_key(), value.clone());
            peer.swarm.behaviour_mut().kad.store_mut().put(record).unwrap();
        }
        tokio::spawn(async move { peer.until(std::future::pending).await })
    }

    /// Has the node store a record.
    pub async fn push(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let record = Record::new(key, value);
        self.swarm.behaviour_mut().kad.put_record_to(record, [self.node].into_iter(), Quorum::One);
    }

    /// Runs until something is so.
    pub async fn until<F: Future<Output = bool>>(&mut self, so: impl Fn() -> F) {
        let so = async {
            while !so().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        self.meanwhile(so).await;
    }

    /// Runs while something else does.
    pub async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = self.swarm.select_next_some() => {}
            }
        }
    }
}
