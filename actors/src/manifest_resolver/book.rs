//! What of the peers is durable: each change of a set is one batch, decided and written without a pause.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cid::Cid;

use super::round::{File, Outcome, Trouble};
use super::Refusal;
use crate::domain::manifest::{brief, plan, TooMany, MAX_ROOTS};
use crate::planted::{planted, Bug};
use crate::ports::clock::Clock;
use crate::ports::store::{self, Batch, Record, Store};
use crate::records::consortium::{
    self, held, kept, listed, peers, standings, Failing, Held, Listed, Peer, Source, Standing,
};
use crate::records::hosting::root_key;

pub(super) struct Book {
    pub(super) store: Rc<dyn Store>,
    pub(super) clock: Rc<dyn Clock>,
}

/// What the operator's word was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// The removal is done.
    Removal,
    /// The next round may follow the older record.
    Rollback,
}

/// Roots by content, each with the text under which it is kept.
type Roots = BTreeMap<Vec<u8>, String>;

impl Book {
    /// All peers, by name.
    pub(super) fn peers(&self) -> Result<BTreeMap<String, Peer>, store::Error> {
        Ok(peers(&*self.store)?.into_iter().map(|peer| (peer.name.clone(), peer)).collect())
    }

    /// Makes the store's peers of the configuration those of this configuration. The operator's stay, unless one has
    /// the name of one of these.
    pub(super) fn take_over(&self, configured: &[Peer]) -> Result<(), store::Error> {
        let known = self.peers()?;
        let mut batch = Batch::new();
        for peer in configured {
            let peer = Peer { source: Source::Config, ..peer.clone() };
            match known.get(&peer.name) {
                Some(known) if *known == peer => continue,
                Some(known) if known.source == Source::Operator => {
                    tracing::warn!(peer = peer.name, "the configuration names a peer that was added before");
                }
                _ => {}
            }
            batch.put(&peer);
        }
        let vanished = known.values().filter(|known| {
            known.source == Source::Config && !configured.iter().any(|peer| peer.name == known.name)
        });
        for peer in vanished {
            tracing::info!(peer = peer.name, "the configuration names this peer no longer");
            batch.delete::<Peer>(&peer.key());
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.store.commit(batch),
        }
    }

    /// Removes the sets of those who are no peers, or who publish under another name now. That is the operator's own
    /// word, so nothing is held. Tells whose changed.
    pub(super) fn forget_strangers(&self) -> Result<Vec<String>, store::Error> {
        let peers = self.peers()?;
        let mut gone = Vec::new();
        for standing in standings(&*self.store)? {
            let peer = peers.get(&standing.name);
            if peer.is_some_and(|peer| peer.ipns == standing.ipns) {
                continue;
            }
            let mut batch = Batch::new();
            for listed in listed(&*self.store, &standing.name)? {
                batch.delete::<Listed>(&listed.key());
            }
            match peer {
                None => batch.delete::<Standing>(&standing.key()),
                Some(peer) => batch.put(&Standing {
                    generation: standing.generation + 1,
                    ..Standing::new(peer.name.clone(), peer.ipns)
                }),
            }
            self.store.commit(batch)?;
            gone.push(standing.name);
        }
        Ok(gone)
    }

    /// Peers whose set changed since it was last made into references.
    pub(super) fn untold(&self) -> Result<Vec<String>, store::Error> {
        let mut untold = Vec::new();
        for standing in standings(&*self.store)? {
            if kept(&*self.store, &standing.name)?.generation != standing.generation {
                untold.push(standing.name);
            }
        }
        Ok(untold)
    }

    fn standing(&self, peer: &Peer) -> Result<Standing, store::Error> {
        let found = consortium::standing(&*self.store, &peer.name)?;
        match found.filter(|standing| standing.ipns == peer.ipns) {
            Some(standing) => Ok(standing),
            // A peer that was removed and came back goes on counting where its references stand.
            None => Ok(Standing {
                generation: kept(&*self.store, &peer.name)?.generation,
                ..Standing::new(peer.name.clone(), peer.ipns)
            }),
        }
    }

    /// Writes what a round found. Tells whether other roots are kept now.
    pub(super) fn settle(&self, peer: &Peer, outcome: Outcome) -> Result<bool, Trouble> {
        if self.peers()?.get(&peer.name).is_none_or(|now| now.ipns != peer.ipns) {
            return Ok(false);
        }
        let mut standing = self.standing(peer)?;
        let mut batch = Batch::new();
        let before = standing.generation;
        match outcome {
            Outcome::Same { record } => {
                standing.accepted = Some(record);
                if matches!(standing.held, Some(Held::Rollback { .. })) {
                    let held = waiting(&*self.store, &peer.name)?;
                    standing.held = removal(held, standing.roots);
                }
            }
            Outcome::Read { record, directory, files } => {
                standing.accepted = Some(record);
                standing.directory = Some(directory);
                self.take(&mut standing, directory, files, &mut batch)?;
            }
        }
        standing.resolved_at = Some(self.clock.wall());
        standing.failing = None;
        batch.put(&standing);
        self.store.commit(batch)?;
        Ok(standing.generation != before)
    }

    /// Puts what the files list now in the place of what they listed.
    fn take(
        &self,
        standing: &mut Standing,
        directory: Cid,
        files: BTreeMap<String, File>,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let name = &standing.name;
        let (held, known): (Vec<Listed>, Vec<Listed>) =
            listed(&*self.store, name)?.into_iter().partition(Listed::is_held);
        let held = texts(&held)?;
        let before = texts(&known)?;
        let mut now = Roots::new();
        for old in &known {
            match files.get(&old.file) {
                // What it listed when it could be used still holds.
                Some(File::Unchanged | File::Bad(_)) => now.extend(texts(std::slice::from_ref(old))?),
                Some(File::Lists { .. }) => {}
                None => batch.delete::<Listed>(&old.key()),
            }
        }
        standing.bad_files.clear();
        for (file, found) in files {
            match found {
                File::Unchanged => {}
                File::Bad(why) => {
                    standing.bad_files.insert(file, why);
                }
                File::Lists { cid, roots } => {
                    let listed = Listed {
                        peer: name.clone(),
                        file,
                        cid,
                        roots: roots.iter().map(Cid::to_string).collect(),
                    };
                    batch.put(&listed);
                    now.extend(roots.iter().map(root_key).zip(listed.roots));
                }
            }
        }
        let keys = |roots: &Roots| roots.keys().cloned().collect::<BTreeSet<_>>();
        let plan = plan(&keys(&before), &keys(&held), &keys(&now));
        let roots = now.len() + plan.held.len();
        if roots > MAX_ROOTS {
            return Err(TooMany::Roots.into());
        }
        let waiting: Vec<String> =
            plan.held.iter().filter_map(|key| before.get(key).or(held.get(key))).cloned().collect();
        standing.roots = roots as u64;
        standing.held = removal(waiting.len() as u64, standing.roots);
        let keeper = Listed::held(name.clone(), directory, waiting);
        match keeper.roots.is_empty() {
            true => batch.delete::<Listed>(&keeper.key()),
            false => batch.put(&keeper),
        }
        if plan.changes() {
            standing.generation += 1;
        }
        let (added, removed, held) = (plan.added, plan.removed, keeper.roots.len());
        tracing::info!(peer = name, added, removed, held, roots, bad = standing.bad_files.len(), "peer read");
        if held > 0 {
            tracing::warn!(peer = name, held, roots, "a removal waits for the operator's word");
        }
        Ok(())
    }

    /// Notes that a round failed; the set stays as it is. Tells how often in a row.
    pub(super) fn fail(&self, peer: &Peer, trouble: &Trouble) -> Result<u32, store::Error> {
        tracing::warn!(peer = peer.name, %trouble, "a round with a peer failed; its last set is kept");
        if !self.peers()?.contains_key(&peer.name) {
            return Ok(1);
        }
        let mut standing = self.standing(peer)?;
        let before = standing.failing.take();
        let times = before.as_ref().map_or(0, |failing| failing.times).saturating_add(1);
        let since = before.map_or_else(|| self.clock.wall(), |failing| failing.since);
        standing.failing = Some(Failing { since, times, why: brief(&trouble.to_string()) });
        if let Trouble::Rollback(rollback) = trouble {
            standing.held = Some(Held::Rollback { found: rollback.found, accepted: rollback.accepted });
        }
        let mut batch = Batch::new();
        if planted(Bug::EmptyOnFailure) {
            listed(&*self.store, &peer.name)?.iter().for_each(|file| batch.delete::<Listed>(&file.key()));
            standing.generation += 1;
        }
        batch.put(&standing);
        self.store.commit(batch)?;
        Ok(times)
    }

    /// The operator takes over what is held.
    pub(super) fn accept(&self, name: &str) -> Result<Accepted, Refusal> {
        let peers = self.peers()?;
        let peer = peers.get(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        let mut standing = self.standing(peer)?;
        let mut batch = Batch::new();
        let accepted = match standing.held.take() {
            None => return Err(Refusal::NothingHeld(name.to_owned())),
            Some(Held::Rollback { found, .. }) => {
                // From now on the record that was found is newer than the accepted one, and an older one is not.
                standing.accepted = match (standing.accepted.take(), found.checked_sub(1)) {
                    (Some(accepted), Some(sequence)) => Some(consortium::Accepted { sequence, ..accepted }),
                    _ => None,
                };
                // What else is held stays so.
                let held = waiting(&*self.store, name)?;
                standing.held = removal(held, standing.roots);
                Accepted::Rollback
            }
            Some(Held::Removal { .. }) => {
                if let Some(held) = held(&*self.store, name)? {
                    standing.roots = standing.roots.saturating_sub(held.roots.len() as u64);
                    standing.generation += 1;
                    batch.delete::<Listed>(&held.key());
                }
                Accepted::Removal
            }
        };
        tracing::info!(peer = name, ?accepted, "the operator accepted what was held");
        batch.put(&standing);
        self.store.commit(batch)?;
        Ok(accepted)
    }
}

/// How many roots of a peer wait for the operator's word.
fn waiting(store: &dyn Store, name: &str) -> Result<u64, store::Error> {
    Ok(held(store, name)?.map_or(0, |held| held.roots.len() as u64))
}

fn removal(held: u64, of: u64) -> Option<Held> {
    (held > 0).then_some(Held::Removal { removed: held, of })
}

/// The roots of some files.
fn texts(files: &[Listed]) -> Result<Roots, store::Error> {
    let mut roots = Roots::new();
    for text in files.iter().flat_map(|file| &file.roots) {
        let cid: Cid = text
            .parse()
            .map_err(|error: cid::Error| store::Error::Failed(format!("{text} is no CID: {error}")))?;
        roots.insert(root_key(&cid), text.clone());
    }
    Ok(roots)
}
