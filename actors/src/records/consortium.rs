//! Peers of the consortium, what each lists, and what this node lists itself.

use std::collections::BTreeMap;

use cid::Cid;
use ipns_record::Name;
use serde::{Deserialize, Serialize};

pub use crate::domain::manifest::Accepted;
use crate::domain::units::{ByteSize, WallTime};
use crate::ports::store::{self, Order, Record, Store, Table};

/// Where a peer was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In a file: there it is changed.
    Config,
    /// By `scatter peer add`.
    Operator,
}

/// Somebody whose content this node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name here, unique.
    pub name: String,
    /// The name under which it publishes.
    pub ipns: Name,
    /// Where its node may be dialled, besides what the network tells: multiaddrs with a `/p2p/` part.
    #[serde(default)]
    pub addrs: Vec<String>,
    /// Most bytes that its content may take here.
    pub max_bytes: ByteSize,
    /// Most roots that are kept for it.
    pub max_pins: u64,
    /// Where it was named.
    pub source: Source,
}

impl Record for Peer {
    const TABLE: Table = Table::Peers;
    fn key(&self) -> Vec<u8> {
        key_of(b'p', &self.name)
    }
}

fn key_of(kind: u8, name: &str) -> Vec<u8> {
    [&[kind][..], name.as_bytes()].concat()
}

/// All peers, by name.
///
/// # Errors
/// If the store fails.
pub fn peers(store: &dyn Store) -> Result<Vec<Peer>, store::Error> {
    store::list(store, b"p", Order::Ascending, usize::MAX)
}

/// A change that waits for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Held {
    /// More roots would go than a round may remove; what was added is kept already.
    Removal {
        /// Roots that would go.
        removed: u64,
        /// Of so many.
        of: u64,
    },
    /// The newest record is older than the accepted one: the peer lost its node, or somebody plays an old record.
    Rollback {
        /// The sequence found.
        found: u64,
        /// The sequence accepted.
        accepted: u64,
    },
}

/// How the resolver stands with a peer. Written by the resolver alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which peer.
    pub name: String,
    /// The name whose records these are: another key behind the peer's name begins anew.
    pub ipns: Name,
    /// The record accepted last: a newer one is compared with it, so that nobody plays an old one.
    pub accepted: Option<Accepted>,
    /// The directory whose files stand in [`Listed`].
    #[serde(default, with = "optional_cid")]
    pub directory: Option<Cid>,
    /// When a round with it last succeeded.
    pub resolved_at: Option<WallTime>,
    /// Why the last round with it failed, and since when they do; its last good set is kept.
    pub failing: Option<Failing>,
    /// What waits for the operator.
    pub held: Option<Held>,
    /// Files of its directory that could not be used, and why; their last good set is kept.
    #[serde(default)]
    pub bad_files: BTreeMap<String, String>,
    /// Counts changes of the set; whoever keeps it compares.
    pub generation: u64,
    /// Roots in its set.
    pub roots: u64,
}

/// Rounds that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when.
    pub since: WallTime,
    /// How often in a row.
    pub times: u32,
    /// The last reason.
    pub why: String,
}

impl Record for Standing {
    const TABLE: Table = Table::Peers;
    fn key(&self) -> Vec<u8> {
        key_of(b's', &self.name)
    }
}

impl Standing {
    /// Nothing is known of the peer yet.
    pub fn new(name: String, ipns: Name) -> Self {
        Self {
            name,
            ipns,
            accepted: None,
            directory: None,
            resolved_at: None,
            failing: None,
            held: None,
            bad_files: BTreeMap::new(),
            generation: 0,
            roots: 0,
        }
    }
}

/// How the resolver stands with each peer that it has looked for.
///
/// # Errors
/// If the store fails.
pub fn standings(store: &dyn Store) -> Result<Vec<Standing>, store::Error> {
    store::list(store, b"s", Order::Ascending, usize::MAX)
}

/// How the resolver stands with a peer; `None` if it has not looked yet.
///
/// # Errors
/// If the store fails.
pub fn standing(store: &dyn Store, name: &str) -> Result<Option<Standing>, store::Error> {
    store::read(store, &key_of(b's', name))
}

/// The roots that one file of a peer's directory lists: its last good reading. Written by the resolver alone.
///
/// What the peer lists no more and what waits for the operator's word stands beside the files, under no file's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which peer.
    pub peer: String,
    /// The file's name.
    pub file: String,
    /// The file itself.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// The roots, each once, as text.
    pub roots: Vec<String>,
}

impl Record for Listed {
    const TABLE: Table = Table::Manifests;
    fn key(&self) -> Vec<u8> {
        [files_of(&self.peer), self.file.as_bytes().to_vec()].concat()
    }
}

impl Listed {
    /// The roots that are kept until the operator's word.
    pub fn held(peer: String, directory: Cid, roots: Vec<String>) -> Self {
        Self { peer, file: String::new(), cid: directory, roots }
    }

    /// Whether this is no file, but what waits for the operator's word.
    pub fn is_held(&self) -> bool {
        self.file.is_empty()
    }
}

fn files_of(peer: &str) -> Vec<u8> {
    [&b"p"[..], peer.as_bytes(), &[0]].concat()
}

/// What is kept for a peer: what it lists, file by file, and what is held.
///
/// # Errors
/// If the store fails.
pub fn listed(store: &dyn Store, peer: &str) -> Result<Vec<Listed>, store::Error> {
    store::list(store, &files_of(peer), Order::Ascending, usize::MAX)
}

/// What one file of a peer lists.
///
/// # Errors
/// If the store fails.
pub fn listed_in(store: &dyn Store, peer: &str, file: &str) -> Result<Option<Listed>, store::Error> {
    store::read(store, &[&files_of(peer)[..], file.as_bytes()].concat())
}

/// The roots of a peer that are kept until the operator's word; `None` if there are none.
///
/// # Errors
/// If the store fails.
pub fn held(store: &dyn Store, peer: &str) -> Result<Option<Listed>, store::Error> {
    listed_in(store, peer, "")
}

/// A root that this node lists for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnEntry {
    /// The root.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// When it was listed.
    pub added: WallTime,
}

impl Record for OwnEntry {
    const TABLE: Table = Table::Manifests;
    fn key(&self) -> Vec<u8> {
        [&b"o"[..], &super::hosting::root_key(&self.cid)].concat()
    }
}

/// What this node lists.
///
/// # Errors
/// If the store fails.
pub fn own(store: &dyn Store) -> Result<Vec<OwnEntry>, store::Error> {
    store::list(store, b"o", Order::Ascending, usize::MAX)
}

/// How far this node's own list is known to others. Written by the publisher alone, the record before it is given away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The sequence of the newest record that was signed: no record ever has a lower one.
    pub sequence: u64,
    /// The newest signed record, hex.
    pub record: String,
    /// The directory that it names.
    #[serde(default, with = "optional_cid")]
    pub directory: Option<Cid>,
    /// When that record ends.
    pub eol: WallTime,
    /// Whether the network took that record.
    #[serde(default)]
    pub given: bool,
    /// Directories that the name pointed to before, kept until the network takes the newest record.
    #[serde(default)]
    pub superseded: Vec<String>,
    /// When the network last took a record.
    pub published_at: Option<WallTime>,
    /// When somebody else's answer last proved that it is found.
    pub confirmed_at: Option<WallTime>,
    /// Why the last try failed.
    pub failing: Option<Failing>,
}

impl Publication {
    /// What was published last; `None` if nothing was signed yet.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Option<Self>, store::Error> {
        store::read(store, PUBLICATION)
    }
}

/// Where [`Publication`] stands.
pub const PUBLICATION: &[u8] = b"publication";

impl Record for Publication {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        PUBLICATION.to_vec()
    }
}

/// How much of a peer's set this node keeps. Written by the pinner alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which peer.
    pub name: String,
    /// The generation of the set whose references stand.
    pub generation: u64,
}

impl Record for Kept {
    const TABLE: Table = Table::Peers;
    fn key(&self) -> Vec<u8> {
        key_of(b'k', &self.name)
    }
}

/// The references that stand for a peer.
///
/// # Errors
/// If the store fails.
pub fn kept(store: &dyn Store, name: &str) -> Result<Kept, store::Error> {
    let found = store::read(store, &key_of(b'k', name))?;
    Ok(found.unwrap_or_else(|| Kept { name: name.to_owned(), generation: 0 }))
}

mod optional_cid {
    use cid::Cid;
    use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(cid: &Option<Cid>, s: S) -> Result<S::Ok, S::Error> {
        cid.as_ref().map(Cid::to_string).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Cid>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}
