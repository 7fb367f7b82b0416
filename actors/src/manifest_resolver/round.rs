//! One round with one peer: its record, its directory, the files that changed. Nothing is written here.

use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;
use futures::future::join_all;
use futures::{stream, StreamExt, TryStreamExt};
use ipns_record::{NotContent, Refusal};

use super::{Config, Ports};
use crate::domain::manifest::{
    self, brief, is_read, judge, Accepted, NotARoot, Rollback, TooMany, MAX_ENTRIES, MAX_FILE, MAX_FILES,
    MAX_ROOTS,
};
use crate::domain::units::WallTime;
use crate::ports::{ipfs, names, store};
use crate::records::consortium::{self, listed_in, Peer, Standing};

/// A peer that is not connected by then is resolved without.
const CONNECT: Duration = Duration::from_secs(10);
/// A file that has not come by then is left for the next round.
const FILE: Duration = Duration::from_secs(60);
/// Files that are fetched at the same time: each takes up to 1 MiB of memory.
const FILES_AT_ONCE: usize = 4;

/// Why a round failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Names(#[from] names::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    NotContent(#[from] NotContent),
    #[error(transparent)]
    Rollback(#[from] Rollback),
    #[error("its directory can't be used: {0}")]
    Directory(NotARoot),
    #[error("its directory has nothing called {0:?}")]
    NoPath(String),
    #[error(transparent)]
    Ipfs(#[from] ipfs::Error),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("{0} took longer than {1} s")]
    Late(&'static str, u64),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a round found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The directory is the one whose files are known.
    Same {
        /// The record that counts.
        record: Accepted,
    },
    /// Another directory, or one of whose files some could not be used.
    Read {
        /// The record that counts.
        record: Accepted,
        /// Its directory.
        directory: Cid,
        /// Every file in it that is read, by name.
        files: BTreeMap<String, File>,
    },
}

/// A file of a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum File {
    /// It is the one that is known.
    Unchanged,
    /// It lists these roots.
    Lists { cid: Cid, roots: Vec<Cid> },
    /// It can't be used, and why.
    Bad(String),
}

/// A round with a peer.
pub(super) struct Round {
    pub(super) config: Rc<Config>,
    pub(super) ports: Ports,
    pub(super) peer: Peer,
}

impl Round {
    pub(super) async fn run(&self) -> Result<Outcome, Trouble> {
        within(self.config.round_within, "the round", self.go()).await
    }

    async fn go(&self) -> Result<Outcome, Trouble> {
        self.connect().await;
        let resolving = async { Ok(self.ports.names.get(self.peer.ipns).await?) };
        let bytes = within(self.config.resolve_within, "resolving the name", resolving).await?;
        let record = ipns_record::verify(self.peer.ipns, &bytes, self.ports.clock.wall().0)?;
        let (root, path) = record.content()?;
        let found = Accepted {
            sequence: record.sequence(),
            eol: WallTime(record.eol().ms()),
            value: path.iter().fold(format!("/ipfs/{root}"), |value, segment| format!("{value}/{segment}")),
        };
        let standing = self.standing()?;
        let accepted = standing.as_ref().and_then(|standing| standing.accepted.clone());
        let judgement = judge(accepted.as_ref(), &found)?;
        if judgement.alerts() {
            let (sequence, value) = (found.sequence, &found.value);
            tracing::warn!(
                peer = self.peer.name,
                sequence,
                value,
                "a peer signed two records of one sequence"
            );
        }
        let known = standing.as_ref().and_then(|standing| standing.directory);
        let same_value = accepted.as_ref().is_some_and(|accepted| accepted.value == found.value);
        let directory = match known {
            // Content never changes, so neither does where a path below it leads.
            Some(known) if same_value || !judgement.follows() => known,
            _ => self.walk(root, path).await?,
        };
        let record = match accepted {
            Some(accepted) if !judgement.follows() => accepted,
            _ => found,
        };
        let whole = standing.is_none_or(|standing| standing.bad_files.is_empty());
        if known == Some(directory) && whole {
            return Ok(Outcome::Same { record });
        }
        let files = self.read(directory).await?;
        Ok(Outcome::Read { record, directory, files })
    }

    fn standing(&self) -> Result<Option<Standing>, store::Error> {
        let standing = consortium::standing(&*self.ports.store, &self.peer.name)?;
        Ok(standing.filter(|standing| standing.ipns == self.peer.ipns))
    }

    /// Connects where the peer may be reached. Whatever comes of it, the round goes on: its content may lie elsewhere.
    async fn connect(&self) {
        // A name may be that of a key alone. Then nobody answers to it.
        let by_name = vec![format!("/p2p/{}", self.peer.ipns.peer())];
        let addrs = if self.peer.addrs.is_empty() { &by_name } else { &self.peer.addrs };
        let tries = addrs.iter().map(|addr| async move {
            match tokio::time::timeout(CONNECT, self.ports.ipfs.connect(addr)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(peer = self.peer.name, addr, %error, "not connected"),
                Err(_) => tracing::debug!(peer = self.peer.name, addr, "not connected in time"),
            }
        });
        join_all(tries).await;
    }

    /// The directory at the end of a path.
    async fn walk(&self, root: Cid, path: Vec<String>) -> Result<Cid, Trouble> {
        let mut directory = root;
        manifest::usable(&directory).map_err(Trouble::Directory)?;
        for segment in path {
            let entries = self.ports.ipfs.ls(directory, MAX_ENTRIES).await?;
            let entry = entries.into_iter().find(|entry| entry.name == segment);
            directory = entry.ok_or(Trouble::NoPath(segment))?.cid;
            manifest::usable(&directory).map_err(Trouble::Directory)?;
        }
        Ok(directory)
    }

    /// Every file that is read, the changed ones fetched.
    async fn read(&self, directory: Cid) -> Result<BTreeMap<String, File>, Trouble> {
        let entries = self.ports.ipfs.ls(directory, MAX_ENTRIES).await?;
        let mut named = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| is_read(&entry.name)) {
            // Of two entries of one name the first counts.
            named.entry(entry.name).or_insert(entry.cid);
        }
        if named.len() > MAX_FILES {
            return Err(TooMany::Files.into());
        }
        // One at a time: what they list may be much.
        let mut known: BTreeMap<String, (Cid, usize)> = BTreeMap::new();
        for name in named.keys() {
            if let Some(listed) = listed_in(&*self.ports.store, &self.peer.name, name)? {
                known.insert(listed.file, (listed.cid, listed.roots.len()));
            }
        }
        let unchanged = |name: &str, cid: &Cid| known.get(name).filter(|(old, _)| old == cid);
        // What is kept of the last reading counts too, whatever becomes of the rest.
        let mut roots: usize =
            named.iter().filter_map(|(name, cid)| unchanged(name, cid)).map(|(_, roots)| roots).sum();
        let work = named.into_iter().map(|(name, cid)| {
            let fetched = match unchanged(&name, &cid) {
                Some(_) => None,
                None => Some(self.file(cid)),
            };
            async move {
                match fetched {
                    None => Ok::<_, Trouble>((name, File::Unchanged)),
                    Some(file) => Ok((name, file.await)),
                }
            }
        });
        let mut reading = stream::iter(work).buffered(FILES_AT_ONCE);
        let mut files = BTreeMap::new();
        while let Some((name, file)) = reading.try_next().await? {
            match &file {
                File::Lists { roots: listed, .. } => roots += listed.len(),
                File::Bad(_) => roots += known.get(&name).map_or(0, |(_, roots)| *roots),
                File::Unchanged => {}
            }
            if roots > MAX_ROOTS {
                return Err(TooMany::Roots.into());
            }
            files.insert(name, file);
        }
        Ok(files)
    }

    /// Fetches and reads one file. A file that can't be had or used is its own trouble, not the round's.
    async fn file(&self, cid: Cid) -> File {
        match tokio::time::timeout(FILE, self.ports.ipfs.cat(cid, MAX_FILE)).await {
            Err(_) => File::Bad(format!("it did not come within {} s", FILE.as_secs())),
            Ok(Err(error)) => File::Bad(brief(&error.to_string())),
            Ok(Ok(bytes)) => match manifest::read(&bytes) {
                Ok(roots) => File::Lists { cid, roots },
                Err(why) => File::Bad(brief(&why.to_string())),
            },
        }
    }
}

async fn within<T>(
    time: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    tokio::time::timeout(time, work).await.unwrap_or(Err(Trouble::Late(what, time.as_secs())))
}
