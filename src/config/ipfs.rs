//! `[ipfs]`: which IPFS node, and how it is reached.

#[cfg(feature = "embedded")]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use super::layers::Layers;
use super::secrets::first_line;
use super::values::{list, multiaddr, optional, peer, provider, span, text};
use super::{Mistake, ProviderUrl};
use secrecy::SecretString;

/// Memory for the embedded node's database, in bytes: half its own default, so that a node whose peers list more than they
/// may stays below 150 MB.
#[cfg(feature = "embedded")]
const PAGE_CACHE: usize = 32 << 20;
/// Keys that only mean something to the node inside the process.
const EMBEDDED_ONLY: [&str; 6] =
    ["ipfs.verify_blocks", "ipfs.listen", "ipfs.announce", "ipfs.dht", "ipfs.bootstrap", "ipfs.peers"];
/// Keys that only mean something to Kubo.
const KUBO_ONLY: [&str; 2] = ["ipfs.api", "ipfs.api_token_file"];

/// `[ipfs]`
#[derive(Debug, Clone)]
pub struct Ipfs {
    /// Which node.
    pub backend: Backend,
    /// Between two looks whether it still has all that this node pinned.
    pub compare_pins: Duration,
    /// In how much running time everything that is stored is read once, to find damage; `None`: never. This and all below:
    /// the embedded node's.
    pub verify_blocks: Option<Duration>,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs to tell others in addition.
    pub announce: Vec<String>,
    /// In which hash tables names and content are looked for.
    pub dht: Dht,
    /// Multiaddrs through which these are entered, each with its `/p2p/` part, instead of those that everybody knows.
    pub bootstrap: Vec<String>,
    /// Multiaddrs of peers to stay connected with, each with its `/p2p/` part.
    pub peers: Vec<String>,
}

/// Which IPFS node does the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// The one inside this process.
    Embedded,
    /// A Kubo beside it.
    Kubo(Kubo),
}

/// How far the embedded node looks for names and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dht {
    /// No farther than to those whom it is connected with.
    Off,
    /// In the hash table of private networks and of this machine.
    #[default]
    Lan,
    /// In the internet's too.
    Public,
}

/// A Kubo, by its RPC API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubo {
    /// Where its RPC API is.
    pub api: ProviderUrl,
    /// A file with the token that it wants.
    pub token_file: Option<PathBuf>,
}

impl Kubo {
    /// The token that the API wants, if any.
    ///
    /// # Errors
    /// If its file can't be read or is empty.
    pub fn token(&self) -> Result<Option<SecretString>, Mistake> {
        self.token_file.as_deref().map(|path| first_line("ipfs.api_token_file", path)).transpose()
    }
}

impl Ipfs {
    /// The embedded node's part; its blocks live in `ipfs` below the data directory.
    #[cfg(feature = "embedded")]
    pub fn embedded(&self, data_dir: &Path) -> embedded_ipfs::Config {
        // What does not parse was refused when it was read.
        let parsed =
            |texts: &[String]| -> Vec<_> { texts.iter().filter_map(|text| text.parse().ok()).collect() };
        embedded_ipfs::Config {
            listen: parsed(&self.listen),
            announce: parsed(&self.announce),
            peers: parsed(&self.peers),
            bootstrap: match self.dht {
                Dht::Public if self.bootstrap.is_empty() => embedded_ipfs::Config::public_bootstrap(),
                _ => parsed(&self.bootstrap),
            },
            dht: match self.dht {
                Dht::Off => embedded_ipfs::Dht::Off,
                Dht::Lan => embedded_ipfs::Dht::Lan,
                Dht::Public => embedded_ipfs::Dht::LanAndWan,
            },
            verify_every: self.verify_blocks,
            limits: embedded_ipfs::Limits { cache_bytes: PAGE_CACHE, ..embedded_ipfs::Limits::default() },
            ..embedded_ipfs::Config::new(data_dir.join("ipfs"))
        }
    }
}

/// Reads the section.
pub(super) fn read(from: &mut Layers) -> Ipfs {
    let kubo = from.read("ipfs.backend", |value| match text(value)?.as_str() {
        "embedded" => Ok(false),
        "kubo" => Ok(true),
        other => Err(format!("{other:?} is not \"embedded\" or \"kubo\"")),
    });
    let api = from.read("ipfs.api", |value| provider(value).map(Some));
    let token_file = from.read("ipfs.api_token_file", optional(text)).map(PathBuf::from);
    let ipfs = Ipfs {
        backend: match api {
            Some(api) if kubo => Backend::Kubo(Kubo { api, token_file }),
            _ => Backend::Embedded,
        },
        compare_pins: from.read("ipfs.compare_pins", span),
        verify_blocks: from.read("ipfs.verify_blocks", optional(span)),
        listen: from.read("ipfs.listen", list(multiaddr)),
        announce: from.read("ipfs.announce", list(multiaddr)),
        dht: from.read("ipfs.dht", |value| match text(value)?.as_str() {
            "off" => Ok(Dht::Off),
            "lan" => Ok(Dht::Lan),
            "public" => Ok(Dht::Public),
            other => Err(format!("{other:?} is not \"off\", \"lan\" or \"public\"")),
        }),
        bootstrap: from.read("ipfs.bootstrap", list(peer)),
        peers: from.read("ipfs.peers", list(peer)),
    };
    if ipfs.compare_pins.is_zero() {
        from.mistake("ipfs.compare_pins", "a pause above 0 is needed");
    }
    if ipfs.verify_blocks.is_some_and(|every| every.is_zero()) {
        from.mistake("ipfs.verify_blocks", "a time above 0 is needed, or \"\" for never");
    }
    if ipfs.dht == Dht::Off && !ipfs.bootstrap.is_empty() {
        from.mistake("ipfs.bootstrap", "there is nothing to enter: ipfs.dht is \"off\"");
    }
    // A key that does nothing would be believed to do something.
    let (idle, why) = match kubo {
        true => {
            (&EMBEDDED_ONLY[..], "Kubo's own configuration says this; here it means the embedded node only")
        }
        false => (&KUBO_ONLY[..], "this means Kubo only: set ipfs.backend = \"kubo\" too"),
    };
    if !from.faulty("ipfs.backend") {
        for key in idle {
            if from.is_changed(key) {
                from.mistake(key, why);
            }
        }
    }
    if !kubo && !cfg!(feature = "embedded") {
        from.mistake("ipfs.backend", "this build has no embedded IPFS node: set it to \"kubo\"");
    }
    ipfs
}
