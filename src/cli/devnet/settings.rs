//! What a node is configured with: a file that reads as an operator's would.

use std::path::Path;

use super::anvil::CHAIN_ID;
use super::node::{quoted, Ports, Role};
use crate::adapters::ethereum::deploy::Deployed;

/// What a node is told of the world around it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// What it logs for whoever looks on, as directives of `tracing`.
    pub log: String,
    /// Its chain, if it has to do with one.
    pub chain: Option<Provider>,
    /// The multiaddrs of the other IPFS nodes.
    pub peers: Vec<String>,
    /// How validators reach its firewall.
    pub announce_url: Option<String>,
    /// Whose content it keeps.
    pub mirrors: Option<Publisher>,
}

/// A chain with its market.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Where the chain is asked.
    pub url: String,
    /// The market's contracts.
    pub deployed: Deployed,
}

/// Somebody who lists content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Its name among the peers.
    pub name: String,
    /// The IPNS name under which it publishes.
    pub ipns: String,
    /// Where its IPFS node is reached.
    pub multiaddr: String,
}

/// All that a configuration is made of.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The node's name.
    pub name: &'a str,
    /// What it logs.
    pub log: &'a str,
    /// What it is for.
    pub role: Role,
    /// Where it listens.
    pub ports: Ports,
    /// Where it keeps everything durable.
    pub data_dir: &'a Path,
    /// What stands in the section `[ipfs]`.
    pub backend: &'a str,
    /// The world around it.
    pub around: &'a Surroundings,
}

impl Settings<'_> {
    /// The configuration's text.
    pub fn text(&self) -> String {
        let money = self.around.chain.as_ref().map(|chain| self.money(chain)).unwrap_or_default();
        format!(
            r#"# The {name} of a devnet. Every key and its default: config/default.toml.

[node]
data_dir = {data_dir}
log = {log}
log_format = "text"
{money}
[ipfs]
{backend}
[status]
listen = "127.0.0.1:{status}"

[supervision]
drain = "3s"
{role}"#,
            name = self.name,
            log = quoted(self.log),
            data_dir = quoted(&self.data_dir.display().to_string()),
            backend = self.backend,
            status = self.ports.status,
            role = self.role(),
        )
    }

    fn money(&self, chain: &Provider) -> String {
        let path = |name: &str| quoted(&self.data_dir.join(name).display().to_string());
        format!(
            r#"
[chain]
urls = [{rpc}]
chain_id = {CHAIN_ID}
router = "{router}"
# Nobody reorganises a chain of one machine, where blocks come four times a second.
confirmations = 1
block_time = "1s"
poll = "100ms"

[wallet]
keystore = {keystore}
password_file = {password}
max_spend_per_tx = "1 ether"
max_spend_per_day = "10 ether"
min_withdraw = "1 wei"
"#,
            rpc = quoted(&chain.url),
            router = chain.deployed.router,
            keystore = path("keystore.json"),
            password = path("password"),
        )
    }

    fn role(&self) -> String {
        match self.role {
            Role::Hoster => self.hoster(),
            Role::Validator => VALIDATOR.to_owned(),
            Role::Bidder => String::new(),
            Role::Peer => self.peer(),
        }
    }

    fn hoster(&self) -> String {
        let announce_url = quoted(self.around.announce_url.as_deref().unwrap_or_default());
        let firewall = self.ports.firewall;
        format!(
            r#"
[roles]
hoster = true
firewall = true
# It lists for others what it keeps.
consortium = true

[hoster]
announce_url = {announce_url}
min_free_disk = "64MiB"
# Content goes as soon as nobody pays for it.
grace = "0s"

[consortium]
# The same for what it lists no more.
grace = "0s"

[firewall]
listen = "127.0.0.1:{firewall}"
# All validators ask from one address here.
requests_per_second = 1000
requests_at_once = 64
"#
        )
    }

    fn peer(&self) -> String {
        let one = |publisher: &Publisher| {
            let Publisher { name, ipns, multiaddr } = publisher;
            let (name, ipns, multiaddr) = (quoted(name), quoted(ipns), quoted(multiaddr));
            format!("\n    {{ name = {name}, ipns = {ipns}, addrs = [{multiaddr}] }},\n")
        };
        let peers = self.around.mirrors.iter().map(one).collect::<String>();
        format!(
            r#"
[roles]
consortium = true

[consortium]
peers = [{peers}]
# It lists nothing itself.
publish = false
# Elsewhere every quarter of an hour is often enough.
interval = "1s"

[hoster]
min_free_disk = "64MiB"
"#
        )
    }
}

const VALIDATOR: &str = r#"
[roles]
validator = true

[validator]
# The hoster is at a loopback address.
allow_private_endpoints = true
# What is missing is asked for again on a fresh connection: here soon, elsewhere after a minute.
confirm_gap = "1s"
"#;
