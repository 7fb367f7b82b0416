//! Whoever takes part, and what it can be asked to do.

use std::time::Duration;

use embedded_ipfs::{AddOptions, Cid, Config, Limits, Multiaddr, Node, PinLimits};
use tokio::sync::RwLock;

use crate::support::ipfs::Daemon;

/// A node of ours, restarted now and then; whoever uses it holds it for as long.
pub struct Ours {
    dir: tempfile::TempDir,
    listen: Multiaddr,
    peers: Vec<Multiaddr>,
    pub node: RwLock<Node>,
}

impl Ours {
    pub async fn start(peers: Vec<Multiaddr>) -> Ours {
        let dir = tempfile::tempdir().unwrap();
        let node = start(&dir, "/ip4/127.0.0.1/tcp/0".parse().unwrap(), &peers).await;
        // The same port again after a restart.
        let listen = node.addrs()[0].iter().take(2).collect();
        Ours { dir, listen, peers, node: RwLock::new(node) }
    }

    pub fn address(&self) -> Multiaddr {
        self.node.try_read().expect("it was just started").addrs().remove(0)
    }

    pub async fn restart(&self) {
        let mut node = self.node.write().await;
        node.stop().await;
        *node = start(&self.dir, self.listen.clone(), &self.peers).await;
    }
}

async fn start(dir: &tempfile::TempDir, listen: Multiaddr, peers: &[Multiaddr]) -> Node {
    // A small page cache, which is full before memory is judged.
    let limits = Limits { cache_bytes: 4 << 20, ..Limits::default() };
    let config = Config { listen: vec![listen], peers: peers.to_vec(), limits, ..Config::new(dir.path()) };
    Node::start(config).await.unwrap()
}

pub enum Party {
    Ours(Ours),
    Kubo(Daemon),
}

impl Party {
    /// Adds and pins a file in the layout of `ipfs add`.
    pub async fn add(&self, bytes: &[u8]) -> Cid {
        match self {
            Party::Ours(ours) => {
                let node = ours.node.read().await;
                node.add(bytes, AddOptions::default()).await.unwrap().cid
            }
            Party::Kubo(kubo) => kubo.feed(&["add", "-Q"], bytes).await.parse().unwrap(),
        }
    }

    pub async fn pin(&self, cid: &Cid) {
        match self {
            Party::Ours(ours) => {
                ours.node.read().await.pin(cid, PinLimits::default(), |_| {}).await.unwrap();
            }
            Party::Kubo(kubo) => kubo.pin(&cid.to_string()).await,
        }
    }

    pub async fn unpin(&self, cid: &Cid) {
        match self {
            Party::Ours(ours) => {
                assert!(ours.node.read().await.unpin(cid).await.unwrap(), "{cid} was pinned")
            }
            Party::Kubo(kubo) => {
                let (status, answer) = kubo.call(&format!("pin/rm?arg={cid}")).await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
            }
        }
    }

    pub async fn collect_garbage(&self) {
        match self {
            Party::Ours(ours) => drop(ours.node.read().await.gc(Duration::ZERO).await.unwrap()),
            Party::Kubo(kubo) => {
                let (status, answer) = kubo.call("repo/gc?quiet=true").await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
            }
        }
    }

    /// Waits in vain, for so long, for a block that nobody has.
    pub async fn want(&self, dead: &Cid, time: Duration) {
        match self {
            Party::Ours(ours) => {
                let node = ours.node.read().await;
                let waited = tokio::time::timeout(time, node.get(dead)).await;
                assert!(waited.is_err(), "nobody has {dead}: {waited:?}");
            }
            Party::Kubo(kubo) => {
                let call = format!("block/get?arg={dead}&timeout={}ms", time.as_millis());
                assert_ne!(kubo.call(&call).await.0, 200, "nobody has {dead}");
            }
        }
    }

    /// A file, from the party's own store.
    pub async fn read(&self, cid: &Cid) -> Vec<u8> {
        match self {
            Party::Ours(ours) => {
                let node = ours.node.read().await;
                // Whatever is missing fails here, instead of being fetched again from another.
                let walked: Vec<_> = futures::TryStreamExt::try_collect(node.walk(cid)).await.unwrap();
                assert!(!walked.is_empty());
                node.read(cid, u64::MAX).await.unwrap().to_vec()
            }
            Party::Kubo(kubo) => {
                let (status, bytes) = kubo.call(&format!("cat?arg={cid}&offline=true")).await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(&bytes));
                bytes
            }
        }
    }
}
