//! Whether the IPFS node does its work, and whether the peers of the consortium are found through it.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use rand::RngCore;
use scatter_actors::domain::cids::RAW;
use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::ipfs::{self, Ipfs, Reach};
use scatter_actors::records::consortium::Peer;
use serde_json::Value;

use super::super::client::Client;
use super::super::{output, peer};
use super::Verdict;
use crate::adapters::name_key;
use crate::adapters::system_clock::SystemClock;
use crate::config::{self, Config};
use crate::exit::{told, Code, Fault};
use crate::node::Backend;
use crate::preflight;

/// The backend has so long for all questions.
const BACKEND_TAKES: Duration = Duration::from_secs(20);
/// A peer has so long to take a connection.
const CONNECT_TAKES: Duration = Duration::from_secs(10);
/// The network has so long for a name.
const NAME_TAKES: Duration = Duration::from_secs(40);

/// Tries the configured backend: an embedded node of its own in a directory that is gone afterwards, on the configured
/// addresses, or the Kubo. Where a node of ours is running, that one is asked.
pub(super) async fn verdicts(config: &Config) -> Vec<Verdict> {
    let running = Client::new(&config.node);
    let mut verdicts = Vec::new();
    if running.get("/readyz").is_ok() {
        verdicts.push(Verdict::of("ipfs", Ok("the running node's; see scatter status".to_owned())));
        if config.roles.consortium {
            verdicts.push(own_name(config));
            verdicts.push(mirrored(&running));
        }
        return verdicts;
    }
    let key = match &config.ipfs.backend {
        config::Backend::Embedded => "ipfs.listen",
        config::Backend::Kubo(_) => "ipfs.api",
    };
    let mut names = None;
    verdicts.push(match started(config).await {
        Err(fault) => {
            Verdict::of("ipfs", Err(Fault { key: fault.key.clone().or(Some(key.into())), ..fault }))
        }
        Ok((backend, scratch)) => {
            let found = probe(config, &*backend.ipfs).await.map_err(|fault| fault.about(key));
            if found.is_ok() && config.roles.consortium {
                names = Some(resolvable(&backend, &config.consortium.peers).await);
            }
            backend.stop().await;
            drop(scratch);
            Verdict::of("ipfs", found)
        }
    });
    if config.roles.consortium {
        verdicts.push(own_name(config));
        verdicts.extend(names);
    }
    verdicts
}

async fn started(config: &Config) -> Result<(Backend, Scratch), Fault> {
    let scratch = Scratch::new().map_err(|error| Fault::new(Code::DataDir, told(&error)))?;
    Ok((Backend::start(config, &scratch.0).await?, scratch))
}

/// Who the backend is, once a block went in and came out again.
async fn probe(config: &Config, ipfs: &dyn Ipfs) -> Result<String, Fault> {
    let mut block = [0; 32];
    rand::rngs::OsRng.fill_bytes(&mut block);
    let exchange = async {
        let identity = ipfs.identity().await?;
        let cid = ipfs.put(RAW, block.to_vec()).await?;
        match ipfs.block(cid, Reach::Local).await? {
            Some(back) if back == block => Ok(identity),
            _ => Err(ipfs::Error::NotFound(cid)),
        }
    };
    let unreachable = |what: String| Fault::new(Code::Unreachable, what);
    let identity = match tokio::time::timeout(BACKEND_TAKES, exchange).await {
        Ok(answer) => answer.map_err(|error| unreachable(told(&error)))?,
        Err(_) => return Err(unreachable(format!("no answer within {} s", BACKEND_TAKES.as_secs()))),
    };
    Ok(match &config.ipfs.backend {
        config::Backend::Embedded => format!("embedded, listens at {}", config.ipfs.listen.join(", ")),
        config::Backend::Kubo(kubo) => {
            let token = if kubo.token_file.is_some() { "with a token" } else { "without a token" };
            format!("{} at {}, {token}, peer {}", identity.agent, kubo.api, identity.peer)
        }
    })
}

/// The key of the own name: a missing one is made when the node starts.
fn own_name(config: &Config) -> Verdict {
    let path = config.consortium.key_file(&config.node.data_dir);
    let found = match name_key::open(&path) {
        _ if !config.consortium.publish => Ok("nothing is published (consortium.publish)".to_owned()),
        Ok(key) => Ok(key.name().to_string()),
        Err(name_key::Error::Missing(path)) => Ok(format!("{} will be made", path.display())),
        Err(error) => Err(preflight::name_fault(&error)),
    };
    Verdict::of("own name", found)
}

/// A verdict on the peers: those with a trouble are named.
fn on_peers(all: usize, troubles: &[String]) -> Verdict {
    match (all, troubles) {
        (0, _) => Verdict::of("peers", Ok("none yet: scatter peer add NAME IPNS".to_owned())),
        (all, []) => Verdict::of("peers", Ok(format!("{all} found"))),
        (all, troubles) => {
            let found = format!("{} of {all}: {}", troubles.len(), troubles.join("; "));
            Verdict::warning("peers", found, "consortium.peers")
        }
    }
}

/// How the peers of the running node stand.
fn mirrored(running: &Client) -> Verdict {
    let document = match running.get("/api/v1/peers") {
        Ok(document) => document,
        Err(fault) => return Verdict::of("peers", Err(fault)),
    };
    let items = document["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let trouble = |item: &Value| match peer::state(item).as_str() {
        "good" => None,
        state => Some(format!("{}: {state}", output::cell(&item["name"]))),
    };
    on_peers(items.len(), &items.iter().filter_map(trouble).collect::<Vec<_>>())
}

/// Whether each configured peer's record is found, side by side.
async fn resolvable(backend: &Backend, peers: &[Peer]) -> Verdict {
    let looked = peers.iter().map(|peer| async {
        // Where it may be dialled is known better than the network knows it; it need not be there.
        for addr in &peer.addrs {
            let _absent = tokio::time::timeout(CONNECT_TAKES, backend.ipfs.connect(addr)).await;
        }
        let found = tokio::time::timeout(NAME_TAKES, backend.names.get(peer.ipns)).await;
        match found {
            Ok(Ok(record)) => match ipns_record::verify(peer.ipns, &record, SystemClock::new().wall().0) {
                Ok(_) => None,
                Err(refusal) => Some(format!("{}: {refusal}", peer.name)),
            },
            Ok(Err(error)) => Some(format!("{}: {error}", peer.name)),
            Err(_) => Some(format!("{}: no record within {} s", peer.name, NAME_TAKES.as_secs())),
        }
    });
    let troubles: Vec<_> = join_all(looked).await.into_iter().flatten().collect();
    on_peers(peers.len(), &troubles)
}

/// A directory that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("scatter-check-{:016x}", rand::random::<u64>()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
