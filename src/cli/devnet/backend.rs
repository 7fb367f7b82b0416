//! The IPFS node beside or inside a node: how others reach it, how its node is told of it, and what lies on its disk.

use std::path::PathBuf;

use cid::Cid;
use clap::ValueEnum;

use super::embedded;
use super::kubo::Kubo;
use super::node::quoted;
use crate::exit::{Code, Fault};

/// Kubo pins it in every new repository.
const EMPTY_DIRECTORY: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

/// Which IPFS node each node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Kind {
    /// The one inside its process.
    #[default]
    Embedded,
    /// A Kubo daemon of its own: the program `ipfs`.
    Kubo,
}

/// The IPFS node of a node.
#[derive(Debug)]
pub enum Backend {
    /// Inside its process.
    Embedded {
        /// Where its blocks, pins and key are kept.
        directory: PathBuf,
        /// How its peers reach it.
        multiaddr: String,
    },
    /// A daemon of its own.
    Kubo(Box<Kubo>),
}

/// What lies on disk of a DAG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnDisk {
    /// Its root is pinned.
    pub is_pinned: bool,
    /// Its root's block is there.
    pub has_root: bool,
    /// Every block of it is there.
    pub is_whole: bool,
}

impl Backend {
    /// Makes the key of an embedded node, so that others can be told of it before it first runs.
    ///
    /// # Errors
    /// If its directory can't be written.
    pub async fn embedded(directory: PathBuf, port: u16) -> Result<Self, Fault> {
        let multiaddr = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", embedded::peer_id(&directory).await?);
        Ok(Self::Embedded { directory, multiaddr })
    }

    /// How its peers reach it.
    pub fn multiaddr(&self) -> String {
        match self {
            Self::Embedded { multiaddr, .. } => multiaddr.clone(),
            Self::Kubo(kubo) => kubo.multiaddr(),
        }
    }

    /// The section `[ipfs]` of its node's configuration. `peers`: the multiaddrs of the others.
    ///
    /// # Errors
    /// If Kubo's own configuration can't be written.
    pub fn settings(&self, peers: &[String]) -> Result<String, Fault> {
        match self {
            Self::Embedded { multiaddr, .. } => {
                let listen = multiaddr.split("/p2p/").next().unwrap_or_default();
                let peers: Vec<_> = peers.iter().map(|peer| format!("\n    {},", quoted(peer))).collect();
                Ok(format!("listen = [{}]\npeers = [{}\n]\n", quoted(listen), peers.concat()))
            }
            Self::Kubo(kubo) => {
                kubo.configure(peers)?;
                Ok(format!("backend = \"kubo\"\napi = {}\n", quoted(&kubo.api_url())))
            }
        }
    }

    /// The daemon, if it is one.
    pub fn kubo(&mut self) -> Option<&mut Kubo> {
        match self {
            Self::Embedded { .. } => None,
            Self::Kubo(kubo) => Some(kubo),
        }
    }

    /// Connects it with others that run already; one inside a process looks for them by itself.
    ///
    /// # Errors
    /// If one of them is not reached.
    pub async fn connect(&self, multiaddrs: &[String]) -> Result<(), Fault> {
        match self {
            Self::Embedded { .. } => Ok(()),
            Self::Kubo(kubo) => kubo.connect(multiaddrs).await,
        }
    }

    /// Looks at what lies on disk of a DAG, asking nobody else. The node must have ended.
    ///
    /// # Errors
    /// If the disk can't be read.
    pub async fn look(&self, root: &Cid) -> Result<OnDisk, Fault> {
        match self {
            Self::Embedded { directory, .. } => embedded::look(directory, root).await,
            Self::Kubo(kubo) => {
                let root = root.to_string();
                // A command that fails says no: the daemon is there, or else its repository.
                Ok(OnDisk {
                    is_pinned: kubo.run(&["pin", "ls", "--type=recursive", "--quiet", &root]).await.is_ok(),
                    has_root: kubo.run(&["--offline", "block", "stat", &root]).await.is_ok(),
                    is_whole: kubo
                        .run(&["--offline", "dag", "stat", "--progress=false", &root])
                        .await
                        .is_ok(),
                })
            }
        }
    }

    /// Removes what nothing keeps, as each node does by itself when it has been unneeded for a while. The node must have
    /// ended.
    ///
    /// # Errors
    /// If the disk can't be written.
    pub async fn collect_garbage(&self) -> Result<(), Fault> {
        match self {
            Self::Embedded { directory, .. } => embedded::collect_garbage(directory).await,
            Self::Kubo(kubo) => kubo.run(&["repo", "gc", "--silent"]).await.map(drop),
        }
    }

    /// All roots that are pinned. The node must have ended.
    ///
    /// # Errors
    /// If the disk can't be read.
    pub async fn pins(&self) -> Result<Vec<Cid>, Fault> {
        match self {
            Self::Embedded { directory, .. } => embedded::pins(directory).await,
            Self::Kubo(kubo) => {
                let pins = kubo.run(&["pin", "ls", "--type=recursive", "--quiet"]).await?;
                let garbled = |error: cid::Error| Fault::new(Code::Bug, format!("ipfs pin ls: {error}"));
                let pins = pins.split_whitespace().filter(|pin| *pin != EMPTY_DIRECTORY);
                let cids = pins.map(|cid| cid.parse().map_err(garbled));
                cids.collect()
            }
        }
    }
}
