//! `[chain]`: which chain, through whom, and how it is read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::CertificateDer;
use rustls::RootCertStore;
use scatter_actors::chain_listener;
use scatter_actors::domain::units::{Address, Wei};

use super::{milliseconds, Mistake};
use crate::adapters::ethereum;
use crate::adapters::json_rpc::{self, BadUrl, Endpoint};

/// `[chain]`
#[derive(Debug, Clone)]
pub struct Chain {
    /// The providers, one at least, the preferred first.
    pub urls: Vec<ProviderUrl>,
    /// A PEM file with authorities that are trusted beside the well-known ones.
    pub ca_file: Option<PathBuf>,
    /// The chain's id, never 0.
    pub chain_id: u64,
    /// The Router; this or the market is set.
    pub router: Option<Address>,
    /// The market.
    pub market: Option<Address>,
    /// The Register.
    pub register: Option<Address>,
    /// The Env.
    pub env: Option<Address>,
    /// The first block to read.
    pub start_block: u64,
    /// Blocks above an event before it is acted on.
    pub confirmations: u64,
    /// Time from block to block as a rule.
    pub block_time: Duration,
    /// Pause between two looks at the head.
    pub poll: Duration,
    /// Blocks of one ranged read at most.
    pub max_range: u64,
    /// Blocks below the head that count as final where the chain does not tell.
    pub finality_depth: u64,
    /// Which percentile of recent tips to offer, 0 to 100.
    pub tip_percentile: u8,
    /// Wei a gas: never offer less as a tip.
    pub min_tip: Wei,
    /// One exchange with the provider may take so long.
    pub timeout: Duration,
}

impl Chain {
    /// The listener's part.
    pub fn listener(&self) -> chain_listener::Config {
        chain_listener::Config {
            chain_id: self.chain_id,
            start_block: self.start_block,
            confirmations: self.confirmations,
            poll_ms: milliseconds(self.poll),
            max_range: self.max_range,
            finality_depth: self.finality_depth,
        }
    }

    /// Seconds from block to block, rounded up.
    pub fn block_seconds(&self) -> u64 {
        milliseconds(self.block_time).div_ceil(1_000)
    }

    /// The adapter's part.
    pub fn contracts(&self) -> ethereum::Config {
        ethereum::Config {
            router: self.router,
            market: self.market,
            register: self.register,
            env: self.env,
            tip_percentile: self.tip_percentile,
            min_tip: self.min_tip,
        }
    }

    /// The client's part.
    ///
    /// # Errors
    /// If the file with authorities can't be read.
    pub fn client(&self) -> Result<json_rpc::Config, Mistake> {
        let authorities = match &self.ca_file {
            Some(path) => authorities(path)?,
            None => Vec::new(),
        };
        let chain = Some(self.chain_id);
        Ok(json_rpc::Config { total: self.timeout, chain, authorities, ..json_rpc::Config::default() })
    }

    /// A client of all providers. Nothing is asked before the first question.
    ///
    /// # Errors
    /// If there is none, or the file with authorities can't be read.
    pub fn connect(&self) -> Result<json_rpc::Client, Mistake> {
        let mut urls = self.urls.iter().map(|url| url.expose().to_owned());
        let first = urls.next().unwrap_or_default();
        json_rpc::Client::of_several(&first, &urls.collect::<Vec<_>>(), self.client()?).map_err(no_provider)
    }
}

impl ProviderUrl {
    /// A client of this provider alone.
    ///
    /// # Errors
    /// As for all of them.
    pub fn connect(&self, chain: &Chain) -> Result<json_rpc::Client, Mistake> {
        json_rpc::Client::new(self.expose(), chain.client()?).map_err(no_provider)
    }
}

fn no_provider(error: BadUrl) -> Mistake {
    Mistake { key: "chain.urls".into(), origin: String::new(), what: error.to_string() }
}

/// The certificates in a PEM file, one at least.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let wrong =
        |what: String| Mistake { key: "chain.ca_file".into(), origin: path.display().to_string(), what };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| wrong(error.to_string()))?;
    }
    if found.is_empty() {
        return Err(wrong("no certificate is in it".into()));
    }
    Ok(found)
}

/// A provider's URL. It is shown without the credentials that it may hold.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderUrl {
    whole: String,
    shown: Endpoint,
}

impl ProviderUrl {
    /// The whole URL, credentials included: for the client alone.
    pub fn expose(&self) -> &str {
        &self.whole
    }
}

impl FromStr for ProviderUrl {
    type Err = BadUrl;
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        Ok(Self { whole: text.to_owned(), shown: text.parse()? })
    }
}

impl fmt::Display for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.shown, f)
    }
}

impl fmt::Debug for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.shown, f)
    }
}
