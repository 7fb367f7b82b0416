//! What the operator wants: defaults, then a file, then the environment, checked as a whole before anything starts.
//!
//! `config/default.toml` is both the documentation of every key and the lowest layer, so the two never differ.
//! Each section here turns into the `Config` of whoever needs it in `node`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use scatter_actors::domain::admission::Policy;
use scatter_actors::domain::limits::Limits;
use scatter_actors::{supervisor, validator, wallet_signer};
use secrecy::SecretString;
use url::Url;

mod chain;
mod consortium;
mod ipfs;
mod layers;
mod read;
mod secrets;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write the files that are read")]
mod tests;
mod values;

pub use chain::{Chain, ProviderUrl};
pub use consortium::{Bounds, Consortium, Entry};
pub use ipfs::{Backend, Dht, Ipfs, Kubo};
pub use layers::{Mistake, Mistakes};
pub use secrets::first_line;
pub use values::{bytes, duration};

/// A whole configuration. What it says is consistent; whether the world agrees is found out at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The process itself.
    pub node: Node,
    /// What the node does.
    pub roles: Roles,
    /// The chain; `None` for a node that has nothing to do with one.
    pub chain: Option<Chain>,
    /// The account; `None` for a node that sends nothing.
    pub wallet: Option<Wallet>,
    /// The IPFS node.
    pub ipfs: Ipfs,
    /// The role of those who mirror each other.
    pub consortium: Consortium,
    /// The role of hosters.
    pub hoster: Hoster,
    /// The role of validators.
    pub validator: Validator,
    /// What validators may read.
    pub firewall: Firewall,
    /// Health, metrics, API.
    pub status: Status,
    /// How actors are kept alive.
    pub supervision: Supervision,
}

/// `[node]`
#[derive(Debug, Clone)]
pub struct Node {
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// What is logged, as directives of `tracing`.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
}

impl Node {
    /// The socket at which a running node hears the commands of its operator.
    pub fn control_socket(&self) -> PathBuf {
        self.data_dir.join("control.sock")
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON document a line.
    Json,
}

/// `[roles]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Earn by pinning.
    pub hoster: bool,
    /// Earn by checking.
    pub validator: bool,
    /// Mirror trusted peers, and be mirrored by them.
    pub consortium: bool,
    /// Serve validators the blocks of paid bids.
    pub firewall: bool,
}

impl Roles {
    /// Whether any role needs the chain.
    pub fn need_chain(self) -> bool {
        self.hoster || self.validator || self.firewall
    }
    /// Whether any role sends transactions.
    pub fn need_wallet(self) -> bool {
        self.hoster || self.validator
    }
}

/// Milliseconds of a duration, as the actors count.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `[wallet]`
#[derive(Debug, Clone)]
pub struct Wallet {
    /// The account's encrypted key.
    pub keystore: PathBuf,
    /// Where its password stands.
    pub password: Password,
    /// What the signer keeps to.
    pub signer: wallet_signer::Config,
}

/// Where a password stands.
#[derive(Debug, Clone)]
pub enum Password {
    /// On the first line of a file.
    File(PathBuf),
    /// Here: it came from the environment.
    Given(SecretString),
}

/// `[hoster]`
#[derive(Debug, Clone)]
pub struct Hoster {
    /// Which bids are taken.
    pub policy: Policy,
    /// Fetches at once.
    pub queue: usize,
    /// A fetch without a new block for so long is given up.
    pub idle_timeout: Duration,
    /// Content is kept so long after its last reason went.
    pub grace: Duration,
    /// Where validators reach this node's firewall.
    pub announce_url: Option<Url>,
}

impl Hoster {
    /// The announced URL as a registration file names it: without the slash that URLs end in.
    pub fn endpoint(&self) -> Option<String> {
        self.announce_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned())
    }
}

/// `[validator]`
#[derive(Debug, Clone)]
pub struct Validator {
    /// What the auditor keeps to.
    pub auditor: validator::Config,
}

/// `[firewall]`
#[derive(Debug, Clone)]
pub struct Firewall {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The host name that requests must name, if it is checked.
    pub public_name: Option<String>,
    /// Reverse proxies that tell who asks.
    pub trusted_proxies: Vec<IpAddr>,
    /// Connections at once in all.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub connections_per_source: u32,
    /// How much may be asked.
    pub limits: Limits,
    /// The IPFS node has so long for a block.
    pub backend_timeout: Duration,
}

/// `[status]`
#[derive(Debug, Clone)]
pub struct Status {
    /// Where it listens.
    pub listen: SocketAddr,
    /// A file with the token that requests must bring; always set off loopback.
    pub token_file: Option<PathBuf>,
}

/// `[supervision]`
#[derive(Debug, Clone, Copy)]
pub struct Supervision {
    /// When an actor is started again, and when not.
    pub policy: supervisor::Policy,
    /// How long the end may take.
    pub drain: Duration,
}

/// Chains on which hosters at private addresses may be audited.
const TEST_CHAINS: [u64; 2] = [1337, 31337];

impl Config {
    /// Reads a file, if one is given, and the variables of the environment above it.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let mut layers = layers::Layers::new(file, env)?;
        let config = read::config(&mut layers);
        layers.finish()?;
        Ok(config)
    }

    /// Where `scatter account` puts a new key and looks for keys: beside the configured one.
    pub fn keystore_dir(&self) -> PathBuf {
        match self.wallet.as_ref().and_then(|wallet| wallet.keystore.parent()) {
            // A bare file name lies in the working directory.
            Some(dir) if dir.as_os_str().is_empty() => ".".into(),
            Some(dir) => dir.to_owned(),
            None => self.node.data_dir.join("keystore"),
        }
    }
}
