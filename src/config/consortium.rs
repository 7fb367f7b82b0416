//! `[consortium]`: whom this node mirrors, and what it tells them itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::value::Value;
use ipns_record::Name;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::records::consortium::{Peer, Source};
use serde::{Deserialize, Serialize};

use super::layers::Layers;
use super::values::{self, count, flag, list, optional, size, span, text};
use super::Roles;

/// The file of peers is at most so large, in bytes.
const LONGEST: u64 = 1 << 20;
/// Characters of a peer's name at most.
const LONGEST_NAME: usize = 64;
/// A peer without a name is called by so many characters at the end of its IPNS name: the beginning is the same for all.
const TAIL: usize = 8;

/// `[consortium]`
#[derive(Debug, Clone)]
pub struct Consortium {
    /// The peers that the configuration names, from both places.
    pub peers: Vec<Peer>,
    /// Where each of them is named, for people: by its name.
    pub places: BTreeMap<String, String>,
    /// What holds of a peer that does not say otherwise.
    pub bounds: Bounds,
    /// Between two rounds.
    pub interval: Duration,
    /// Peers that are looked up at the same time.
    pub at_once: usize,
    /// Roots that are fetched at the same time; of these, one peer's take half.
    pub fetches: usize,
    /// Whether this node publishes what it lists itself.
    pub publish: bool,
    /// The file with the key of this node's name; without it `ipns.key` in the data directory.
    pub key_file: Option<PathBuf>,
    /// Between two publications of the same.
    pub republish: Duration,
    /// How long a published record is good.
    pub lifetime: Duration,
    /// What a peer no longer lists is kept so long.
    pub grace: Duration,
    /// A fetch without a new block for so long is given up.
    pub idle_timeout: Duration,
}

impl Consortium {
    /// Where the key of this node's name lies.
    pub fn key_file(&self, data_dir: &Path) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| data_dir.join("ipns.key"))
    }
}

/// How much a peer may make this node keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes at most.
    pub max_bytes: ByteSize,
    /// Roots at most.
    pub max_pins: u64,
}

/// A peer as people write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name here; without one the end of its IPNS name.
    #[serde(default)]
    pub name: Option<String>,
    /// The name under which it publishes.
    pub ipns: String,
    /// Where its node may be dialled: multiaddrs with a `/p2p/` part.
    #[serde(default)]
    pub addrs: Vec<String>,
    /// Most bytes that its content may take, such as `"10GiB"`.
    #[serde(default)]
    pub max_bytes: Option<String>,
    /// Most roots that are kept for it.
    #[serde(default)]
    pub max_pins: Option<u64>,
}

impl Entry {
    /// Reads `IPNS` or `NAME=IPNS`.
    pub fn of_text(text: &str) -> Self {
        let (name, ipns) = match text.split_once('=') {
            Some((name, ipns)) => (Some(name.trim().to_owned()), ipns),
            None => (None, text),
        };
        Self { name, ipns: ipns.trim().to_owned(), ..Self::default() }
    }

    /// The peer that it means.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in words.
    pub fn peer(self, bounds: Bounds, source: Source) -> Result<Peer, String> {
        let ipns: Name = self.ipns.parse().map_err(|error: ipns_record::NotAName| error.to_string())?;
        let name = match self.name {
            Some(name) => name,
            None => tail(&ipns.to_string()),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
            return Err(format!(
                "{name:?} is no name: 1 to {LONGEST_NAME} of a-z, A-Z, 0-9, '.', '_' and '-'"
            ));
        }
        for addr in &self.addrs {
            values::peer(&Value::from(addr.as_str()))?;
        }
        let max_bytes = self.max_bytes.as_deref().map(values::bytes).transpose()?;
        Ok(Peer {
            name,
            ipns,
            addrs: self.addrs,
            max_bytes: max_bytes.unwrap_or(bounds.max_bytes),
            max_pins: self.max_pins.unwrap_or(bounds.max_pins),
            source,
        })
    }
}

fn tail(ipns: &str) -> String {
    ipns.chars().skip(ipns.chars().count().saturating_sub(TAIL)).collect()
}

/// Reads the section.
pub(super) fn read(from: &mut Layers, roles: Roles) -> Consortium {
    let bounds = Bounds {
        max_bytes: from.read("consortium.max_bytes", size),
        max_pins: from.read("consortium.max_pins", count),
    };
    let listed = from.read("consortium.peers", list(|value: &Value| Ok(value.clone())));
    let file = from.read("consortium.peers_file", optional(text)).map(PathBuf::from);
    let mut peers = Peers { bounds, found: Vec::new(), places: BTreeMap::new() };
    let place_of_list = from.origin("consortium.peers");
    for (place, value) in (1..).zip(&listed) {
        let entry = serde_json::to_value(value).map_err(|error| error.to_string());
        if let Err(what) = entry.and_then(|entry| peers.take(&entry, &place_of_list)) {
            from.mistake("consortium.peers", format!("peer {place}: {what}"));
        }
    }
    if let Some(file) = file {
        peers.read_file(from, &file);
    }
    let consortium = Consortium {
        peers: peers.found,
        places: peers.places,
        bounds,
        interval: from.read("consortium.interval", span),
        at_once: from.read("consortium.at_once", count),
        fetches: from.read("consortium.fetches", count),
        publish: from.read("consortium.publish", flag),
        key_file: from.read("consortium.key_file", optional(text)).map(PathBuf::from),
        republish: from.read("consortium.republish", span),
        lifetime: from.read("consortium.lifetime", span),
        grace: from.read("consortium.grace", span),
        idle_timeout: from.read("consortium.idle_timeout", span),
    };
    super::read::at_least_one(from, "consortium.at_once", consortium.at_once as u64);
    super::read::at_least_one(from, "consortium.fetches", consortium.fetches as u64);
    for (key, time) in [
        ("consortium.interval", consortium.interval),
        ("consortium.republish", consortium.republish),
        ("consortium.idle_timeout", consortium.idle_timeout),
    ] {
        if time.is_zero() {
            from.mistake(key, "a time above 0 is needed");
        }
    }
    if consortium.republish >= consortium.lifetime {
        from.mistake(
            "consortium.lifetime",
            "a record would end before it is published again: consortium.republish",
        );
    }
    if !roles.consortium && !consortium.peers.is_empty() {
        let key = if listed.is_empty() { "consortium.peers_file" } else { "consortium.peers" };
        from.mistake(key, "nobody is mirrored without the role: set roles.consortium = true");
    }
    consortium
}

/// The peers so far.
struct Peers {
    bounds: Bounds,
    found: Vec<Peer>,
    places: BTreeMap<String, String>,
}

impl Peers {
    /// Takes one entry of a place: `"IPNS"`, `"NAME=IPNS"` or an object.
    fn take(&mut self, entry: &serde_json::Value, place: &str) -> Result<(), String> {
        let entry = match entry {
            serde_json::Value::String(text) => Entry::of_text(text),
            serde_json::Value::Object(_) => Entry::deserialize(entry).map_err(|error| error.to_string())?,
            _ => return Err("a name, \"NAME=IPNS\" or a table is expected here".into()),
        };
        let peer = entry.peer(self.bounds, Source::Config)?;
        if self.found.iter().any(|other| other.name == peer.name) {
            return Err(format!("a second peer of the name {:?}", peer.name));
        }
        if let Some(other) = self.found.iter().find(|other| other.ipns == peer.ipns) {
            return Err(format!("{} is {:?} already", peer.ipns, other.name));
        }
        self.places.insert(peer.name.clone(), place.to_owned());
        self.found.push(peer);
        Ok(())
    }

    /// Takes the entries of a file `{"peers": [ENTRY, …]}`; what else it holds is somebody else's.
    fn read_file(&mut self, from: &mut Layers, file: &Path) {
        const KEY: &str = "consortium.peers_file";
        #[derive(Deserialize)]
        struct File {
            peers: Vec<serde_json::Value>,
        }
        let origin = file.display().to_string();
        let read = || -> Result<File, String> {
            if std::fs::metadata(file).map_err(|error| error.to_string())?.len() > LONGEST {
                return Err("too large for a file of peers".into());
            }
            #[allow(
                clippy::disallowed_methods,
                reason = "a part of the configuration that stands in its own file"
            )]
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| error.to_string())
        };
        match read() {
            Err(what) => from.mistake_at(KEY, origin, what),
            Ok(File { peers }) => {
                for (place, entry) in (1..).zip(&peers) {
                    if let Err(what) = self.take(entry, &origin) {
                        from.mistake_at(KEY, origin.clone(), format!("peer {place}: {what}"));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write the files that are read")]
mod tests;
