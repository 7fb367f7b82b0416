//! Somebody who publishes whatever the test wants: a real IPFS node inside the test, and a key of its own.

use cid::Cid;
use embedded_ipfs::{AddOptions, Config, Node};
use ipns_record::{SigningKey, Timestamp};
use scatter::adapters::system_clock::SystemClock;
use scatter_actors::ports::clock::Clock;
use tempfile::TempDir;

/// How long its records are good, in milliseconds.
const LIFETIME_MS: u64 = 3_600_000;

/// A publisher that keeps to no rule.
pub struct Publisher {
    node: Node,
    key: SigningKey,
    directory: TempDir,
    members: Vec<String>,
}

async fn node(directory: &TempDir, members: &[String]) -> Node {
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        peers: members.iter().map(|member| member.parse().unwrap()).collect(),
        ..Config::new(directory.path())
    };
    Node::start(config).await.unwrap()
}

impl Publisher {
    /// A running node that is connected with the members at these multiaddrs.
    pub async fn start(members: &[String]) -> Self {
        let directory = TempDir::new().unwrap();
        let node = node(&directory, members).await;
        let key = SigningKey::from_seed(&rand::random::<[u8; 32]>()).unwrap();
        Self { node, key, directory, members: members.to_vec() }
    }

    /// Loses its machine: what comes up in its place knows its key, and nothing else.
    pub async fn lose_everything(&mut self) {
        self.node.stop().await;
        self.directory = TempDir::new().unwrap();
        self.node = node(&self.directory, &self.members).await;
    }

    /// The name under which it publishes.
    pub fn ipns(&self) -> String {
        self.key.name().to_string()
    }

    /// How its node is reached.
    pub fn multiaddr(&self) -> String {
        self.node.addrs()[0].to_string()
    }

    /// Adds a file.
    pub async fn add(&self, bytes: &[u8]) -> Cid {
        self.node.add(bytes, AddOptions::default()).await.unwrap().cid
    }

    /// Keeps a block, whatever it is.
    pub async fn put(&self, codec: u64, bytes: Vec<u8>) -> Cid {
        self.node.put(codec, bytes).await.unwrap()
    }

    /// Publishes a directory of these files.
    pub async fn publish(&self, files: Vec<(String, Vec<u8>)>, sequence: u64) {
        let directory = self.node.add_directory(files).await.unwrap();
        self.point_to(directory.cid, sequence).await.unwrap();
    }

    /// Publishes a directory whose one manifest lists these roots.
    pub async fn list(&self, roots: &[Cid], sequence: u64) {
        let directory = self.add_directory(roots).await;
        self.point_to(directory, sequence).await.unwrap();
    }

    /// Adds a directory whose one manifest lists these roots.
    pub async fn add_directory(&self, roots: &[Cid]) -> Cid {
        let files = vec![("list.json".to_owned(), manifest(roots))];
        self.node.add_directory(files).await.unwrap().cid
    }

    /// Gives a record to the network that points to this CID.
    ///
    /// # Errors
    /// If those who are asked know a newer one.
    pub async fn point_to(&self, cid: Cid, sequence: u64) -> Result<(), embedded_ipfs::Error> {
        let eol = Timestamp::from_ms(SystemClock::new().wall().0 + LIFETIME_MS);
        let record = self.key.sign(format!("/ipfs/{cid}").as_bytes(), sequence, eol, 1_000_000_000).unwrap();
        self.node.name_put(self.key.name(), record).await.map(drop)
    }

    /// Goes away.
    pub async fn stop(self) {
        self.node.stop().await;
    }
}

/// A manifest: a JSON array of roots.
pub fn manifest(roots: &[Cid]) -> Vec<u8> {
    serde_json::to_vec(&roots.iter().map(Cid::to_string).collect::<Vec<_>>()).unwrap()
}
