//! Kubo as the backend, behind the `Ipfs` and `Names` ports, by its RPC API.
//!
//! Written after what a real Kubo 0.41 does, failures first: the end of a body is no success, pins are asked for before
//! they are made (a second `pin/add` of a root deletes its pin while it runs), CIDs are compared as bytes, no error is
//! classified by its words, and every byte that has a hash is hashed.
//!
//! `call` what is sent and believed · `form` files on their way there · `pins` · `listing` which roots are pinned ·
//! `blocks` · `files` · `names`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use base64::prelude::{Engine, BASE64_STANDARD};
use cid::Cid;
use futures::FutureExt;
use ipns_record::Name;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Added, Entry, Error, Identity, Ipfs, Progress, Reach};
use scatter_actors::ports::names::{self, Names};
use scatter_actors::ports::Answer;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Notify;

use super::json_rpc::{BadUrl, Endpoint};

mod blocks;
mod call;
mod files;
mod form;
mod listing;
mod names_api;
mod pins;

use self::call::{Api, Fault, Wait};
use self::listing::Listing;

/// How long a connection to a peer may take to come about, with the search for its addresses.
const CONNECT: Duration = Duration::from_secs(60);

/// How long to wait for Kubo, and how much to ask of it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Until the connection stands; a TLS handshake may take as long again.
    pub connect: Duration,
    /// Until the answer starts to what Kubo answers from its own disk.
    pub request: Duration,
    /// Until the answer starts, and between two pieces of it, to what others must give; callers who know better drop
    /// the answer sooner.
    pub network: Duration,
    /// Between two pieces of any other answer. Kubo ticks each half second while it fetches a pin.
    pub idle: Duration,
    /// Calls at once that end by themselves; fetches are as many as the callers want.
    pub max_in_flight: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(60),
            network: Duration::from_secs(300),
            idle: Duration::from_secs(30),
            max_in_flight: 64,
        }
    }
}

/// A secret of Kubo's `API.Authorizations`, in the header's form. Not shown.
#[derive(Clone)]
pub struct Token(SecretString);

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a token (bearer:TOKEN, basic:USER:PASSWORD, or a bare bearer token on one line)")]
pub struct NotAToken;

impl FromStr for Token {
    type Err = NotAToken;

    /// Reads it as Kubo's configuration writes it under `AuthSecret`; a bare word is a bearer token.
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        if text.is_empty() || text.chars().any(|c| c.is_control() || !c.is_ascii()) {
            return Err(NotAToken);
        }
        let header = match text.split_once(':') {
            Some(("bearer", token)) if !token.is_empty() => format!("Bearer {token}"),
            Some(("basic", login)) if login.contains(':') => {
                format!("Basic {}", BASE64_STANDARD.encode(login))
            }
            None if !text.contains(' ') => format!("Bearer {text}"),
            _ => return Err(NotAToken),
        };
        Ok(Self(header.into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// A Kubo node. Not `Send`: it lives on the actors' arbiter.
pub struct Kubo {
    api: Rc<Api>,
    listing: Listing,
    /// Roots that are being pinned: each once at a time.
    busy: RefCell<BTreeSet<Cid>>,
    freed: Notify,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Id {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    addresses: Option<Vec<String>>,
    #[serde(default)]
    agent_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RepoStat {
    repo_size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    strings: Vec<String>,
}

impl Kubo {
    /// The Kubo whose RPC API listens at `url`, such as `http://127.0.0.1:5001`. Nothing is asked yet.
    ///
    /// # Errors
    /// If that is no URL of such a thing.
    pub fn new(url: &str, token: Option<Token>, config: Config) -> Result<Self, BadUrl> {
        let endpoint: Endpoint = url.parse()?;
        Ok(Self {
            api: Rc::new(Api::new(endpoint, token, config)),
            listing: Listing::default(),
            busy: RefCell::default(),
            freed: Notify::new(),
        })
    }

    /// Where it listens, as it may be shown.
    pub fn endpoint(&self) -> &Endpoint {
        self.api.endpoint()
    }

    async fn repo(&self) -> Result<RepoStat, Fault> {
        self.api.call(Wait::Kubo, "repo/stat", &[("size-only", "true")]).await?.json(1 << 16).await
    }

    /// What a command's failure means where it should mean "there is none": Kubo says absence and breakdown with the
    /// same status, so absence is believed only of a Kubo whose repository still answers afterwards.
    async fn absent<T>(&self, answer: Result<T, Fault>) -> Result<Option<T>, Error> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(fault) if fault.failed() => match self.repo().await {
                Ok(_) => Ok(None),
                Err(_) => Err(fault.into()),
            },
            Err(fault) => Err(fault.into()),
        }
    }

    async fn identity(&self) -> Result<Identity, Fault> {
        let id: Id = self.api.call(Wait::Kubo, "id", &[]).await?.json(1 << 20).await?;
        Ok(Identity { peer: id.id, addrs: id.addresses.unwrap_or_default(), agent: id.agent_version })
    }

    /// Kubo asks the routing system itself for the addresses of a bare `/p2p/PEER`.
    async fn connect(&self, multiaddr: &str) -> Result<(), Error> {
        if !multiaddr.starts_with('/') || multiaddr.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::Unusable(format!("{multiaddr:?} is no multiaddr")));
        }
        let asked = async {
            self.api.call(Wait::Network, "swarm/connect", &[("arg", multiaddr)]).await?.json(1 << 16).await
        };
        let late =
            |_| self.api.broken("swarm/connect", format_args!("{multiaddr} did not answer in {CONNECT:?}"));
        let said: Said = tokio::time::timeout(CONNECT, asked).await.map_err(late)??;
        match said.strings.is_empty() {
            false => Ok(()),
            true => Err(self.api.broken("swarm/connect", "said nothing").into()),
        }
    }
}

impl Ipfs for Kubo {
    fn pin(&self, root: Cid, cap: ByteSize, progress: Rc<dyn Fn(Progress)>) -> Answer<'_, Progress, Error> {
        self.keep(root, cap, progress).boxed_local()
    }
    fn unpin(&self, root: Cid) -> Answer<'_, (), Error> {
        self.give_up(root).boxed_local()
    }
    fn is_pinned(&self, root: Cid) -> Answer<'_, bool, Error> {
        self.holds(root).boxed_local()
    }
    fn pins(&self) -> Answer<'_, Vec<Cid>, Error> {
        async move { Ok(listing::all(&self.api, listing::MAX_BODY).await?) }.boxed_local()
    }
    fn block(&self, cid: Cid, reach: Reach) -> Answer<'_, Option<Vec<u8>>, Error> {
        self.get_block(cid, reach).boxed_local()
    }
    fn put(&self, codec: u64, bytes: Vec<u8>) -> Answer<'_, Cid, Error> {
        self.put_block(codec, bytes).boxed_local()
    }
    fn add<'a>(&'a self, file: &'a Path) -> Answer<'a, Added, Error> {
        self.add_file(file).boxed_local()
    }
    fn ls(&self, directory: Cid, cap: usize) -> Answer<'_, Vec<Entry>, Error> {
        self.entries(directory, cap).boxed_local()
    }
    fn cat(&self, file: Cid, cap: ByteSize) -> Answer<'_, Vec<u8>, Error> {
        self.content(file, cap).boxed_local()
    }
    fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Answer<'_, Cid, Error> {
        self.add_files(files).boxed_local()
    }
    fn connect<'a>(&'a self, multiaddr: &'a str) -> Answer<'a, (), Error> {
        Self::connect(self, multiaddr).boxed_local()
    }
    fn identity(&self) -> Answer<'_, Identity, Error> {
        async move { Ok(Self::identity(self).await?) }.boxed_local()
    }
    fn stored(&self) -> Answer<'_, ByteSize, Error> {
        async move { Ok(ByteSize(self.repo().await?.repo_size)) }.boxed_local()
    }
}

impl Names for Kubo {
    fn get(&self, name: Name) -> Answer<'_, Vec<u8>, names::Error> {
        self.record(name).boxed_local()
    }
    fn put(&self, name: Name, record: Vec<u8>) -> Answer<'_, (), names::Error> {
        self.publish(name, record).boxed_local()
    }
}
