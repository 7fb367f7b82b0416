//! One publication, from the list in the store to the record in the network.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;
use ipns_record::{Record, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{Config, Ports, Refusal};
use crate::domain::manifest::own::{self, Known, Step};
use crate::domain::units::WallTime;
use crate::ports::names;
use crate::ports::store::{self, Batch};
use crate::records::consortium::{own as listed, Failing, OwnEntry, Publication};
use crate::records::hosting::{change_pin, keep, let_go, pin_of, root_key, Owner, Pin};

pub(super) struct Work {
    pub(super) config: Rc<Config>,
    pub(super) ports: Ports,
}

/// What came of a publication.
pub(super) struct Done {
    pub(super) result: Result<Publication, Refusal>,
    /// What the network shows of the name, where it was asked and answered.
    pub(super) shown: Option<Option<Known>>,
    /// The list that it was about.
    pub(super) listed: Option<[u8; 32]>,
    /// Whether the network was given a record.
    pub(super) gave: bool,
}

/// What the network showed after it was given a record.
pub(super) enum Checked {
    /// That record.
    Confirmed,
    /// A newer one.
    Contested(Known),
    /// Nothing, or an older one: it may take a while until all have it.
    Unknown,
}

impl Work {
    pub(super) async fn publish(&self, shown: Option<Option<Known>>, renew: bool) -> Done {
        let mut done = Done { result: Err(Refusal::Ending), shown: None, listed: None, gave: false };
        done.result = self.go(shown, renew, &mut done).await;
        done
    }

    async fn go(
        &self,
        shown: Option<Option<Known>>,
        renew: bool,
        done: &mut Done,
    ) -> Result<Publication, Refusal> {
        let store = &*self.ports.store;
        let shown = match shown {
            Some(shown) => shown,
            None => {
                done.shown = self.look().await?;
                done.shown.clone().flatten()
            }
        };
        let entries = listed(store)?;
        done.listed = Some(digest(&entries));
        let publication = Publication::read(store)?;
        let signed = publication.as_ref().and_then(known_of);
        // On a new machine with the old key, nothing listed yet is no word that all is to go.
        if entries.is_empty() && signed.is_none() && !renew {
            return Ok(self.nothing_fails(publication.unwrap_or_default())?);
        }
        let roots: Vec<Cid> = entries.iter().map(|entry| entry.cid).collect();
        let (files, left_out) = own::files(&roots)?;
        for cid in left_out {
            tracing::warn!(%cid, "peers would not take this root: it is not published");
        }
        let (bytes, blocks) =
            (files.iter().map(|(_, bytes)| bytes.len() as u64).sum(), files.len() as u64 + 1);
        let adding = async { Ok(self.ports.ipfs.add_directory(files).await?) };
        let directory = self.within("making the directory", adding).await?;

        let value = format!("/ipfs/{directory}");
        let given = publication.as_ref().is_some_and(|publication| publication.given);
        let renew = renew || publication.as_ref().is_some_and(|publication| self.is_due(publication));
        let publication = publication.unwrap_or_default();
        let publication = match own::next(signed.as_ref(), given, shown.as_ref(), &value, renew) {
            Step::Nothing => return Ok(publication),
            Step::Give => publication,
            Step::Sign { sequence } => {
                let pin = Pin {
                    cid: directory,
                    bytes,
                    blocks,
                    pinned_at: Some(self.ports.clock.wall()),
                    foreign: false,
                    unneeded_since: None,
                };
                self.sign(publication, sequence, &value, pin)?
            }
        };
        let record = hex::decode(&publication.record).unwrap_or_default();
        let giving = async { Ok(self.ports.names.put(self.ports.key.name(), record).await?) };
        self.within("giving the record to the network", giving).await?;
        done.gave = true;
        Ok(self.given(publication)?)
    }

    /// Takes back a note that publishing fails, where there is nothing to publish.
    fn nothing_fails(&self, before: Publication) -> Result<Publication, store::Error> {
        let publication = Publication { failing: None, ..before.clone() };
        if publication != before {
            let mut batch = Batch::new();
            batch.put(&publication);
            self.ports.store.commit(batch)?;
        }
        Ok(publication)
    }

    /// What the network shows of the own name; `Some(None)` if nobody has a record.
    async fn look(&self) -> Result<Option<Option<Known>>, Refusal> {
        let name = self.ports.key.name();
        let asking = tokio::time::timeout(self.config.patience, self.ports.names.get(name)).await;
        match asking {
            Ok(Ok(bytes)) => Ok(Some(self.known(&bytes))),
            Ok(Err(names::Error::NotFound(_))) => Ok(Some(None)),
            // The sequence in the store is not below any that was given away from here.
            Ok(Err(_)) if Publication::read(&*self.ports.store)?.as_ref().and_then(known_of).is_some() => {
                Ok(None)
            }
            // A key that was brought here may have counted far elsewhere.
            Ok(Err(error)) => Err(error.into()),
            // The search of a public network may not end in time. What is found later is counted from then.
            Err(_) => Ok(None),
        }
    }

    /// A record of the own name, also one that has ended: its sequence was given away.
    fn known(&self, bytes: &[u8]) -> Option<Known> {
        let record = match ipns_record::verify(self.ports.key.name(), bytes, self.ports.clock.wall().0) {
            Ok(record) => record,
            Err(ipns_record::Refusal::Expired(record)) => *record,
            Err(refusal) => {
                tracing::warn!(%refusal, "the network shows a false record of this node's name");
                return None;
            }
        };
        Some(Known { sequence: record.sequence(), value: value_of(&record) })
    }

    /// Whether a record is to be made anew, since the one that others have gets old.
    fn is_due(&self, publication: &Publication) -> bool {
        let now = self.ports.clock.wall();
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let old = publication.published_at.is_some_and(|at| now.since(at) >= millis(self.config.republish));
        (old && publication.given) || publication.eol.since(now) < millis(self.config.lifetime) / 2
    }

    /// Signs a record and makes it durable, before anybody has it.
    fn sign(
        &self,
        before: Publication,
        sequence: u64,
        value: &str,
        pin: Pin,
    ) -> Result<Publication, Refusal> {
        let lifetime = u64::try_from(self.config.lifetime.as_millis()).unwrap_or(u64::MAX);
        let eol = Timestamp::from_ms(self.ports.clock.wall().0.saturating_add(lifetime));
        let ttl = u64::try_from(self.config.ttl.as_nanos()).unwrap_or(u64::MAX);
        let record = self.ports.key.sign(value.as_bytes(), sequence, eol, ttl)?;
        let store = &*self.ports.store;
        let mut batch = Batch::new();
        let mut publication = Publication {
            sequence,
            record: hex::encode(record),
            eol: WallTime(eol.ms()),
            given: false,
            ..before
        };
        if publication.directory != Some(pin.cid) {
            publication.superseded.extend(publication.directory.map(|old| old.to_string()));
            publication.superseded.retain(|old| *old != pin.cid.to_string());
            publication.directory = Some(pin.cid);
            publication.confirmed_at = None;
        }
        keep(store, &mut batch, pin.cid, Owner::Manual)?;
        if pin_of(store, &pin.cid)?.is_none() {
            // The backend has pinned it: as ours, so that it is let go of when it is superseded.
            change_pin(store, &mut batch, None, &pin)?;
        }
        batch.put(&publication);
        store.commit(batch)?;
        Ok(publication)
    }

    /// The network has it: what was published before is needed no more.
    fn given(&self, before: Publication) -> Result<Publication, store::Error> {
        let store = &*self.ports.store;
        let mut batch = Batch::new();
        if let Some(directory) = before.directory {
            // Also if the operator listed it meanwhile, and let it go.
            keep(store, &mut batch, directory, Owner::Manual)?;
        }
        let entries = listed(store)?;
        for old in before.superseded.iter().filter_map(|text| text.parse::<Cid>().ok()) {
            // The operator may have listed it himself.
            if !entries.iter().any(|entry| root_key(&entry.cid) == root_key(&old)) {
                let_go(store, &mut batch, old, Owner::Manual, self.ports.clock.wall())?;
            }
        }
        let publication = Publication {
            given: true,
            superseded: Vec::new(),
            published_at: Some(self.ports.clock.wall()),
            failing: None,
            ..before
        };
        batch.put(&publication);
        store.commit(batch)?;
        let directory = publication.directory.as_ref().map(tracing::field::display);
        tracing::info!(sequence = publication.sequence, directory, "own list published");
        Ok(publication)
    }

    /// Notes why nothing was published, and tells if others are about to lose the name.
    pub(super) fn fail(&self, refusal: &Refusal) {
        let now = self.ports.clock.wall();
        let noted = Publication::read(&*self.ports.store).and_then(|before| {
            let before = before.unwrap_or_default();
            let last = before.failing.as_ref();
            let mut why = refusal.to_string();
            if let Some(left) = self.left(&before).filter(|left| *left < self.config.warn_before) {
                let minutes = left.as_secs() / 60;
                why = format!("{why}; the record that others have ends in {minutes} min");
                tracing::warn!(
                    minutes,
                    "the record of this node's name ends soon, and no newer one was taken"
                );
            }
            tracing::warn!(why, "the own list could not be published; trying again");
            let failing = Failing {
                since: last.map_or(now, |failing| failing.since),
                times: last.map_or(0, |failing| failing.times).saturating_add(1),
                why,
            };
            let mut batch = Batch::new();
            batch.put(&Publication { failing: Some(failing), ..before });
            self.ports.store.commit(batch)
        });
        if let Err(error) = noted {
            tracing::error!(%error, %refusal, "the own list could not be published, and not even that be noted");
        }
    }

    /// How much of its life the record has left that others have; `None` if they have none.
    fn left(&self, publication: &Publication) -> Option<Duration> {
        let age = Duration::from_millis(self.ports.clock.wall().since(publication.published_at?));
        Some(self.config.lifetime.saturating_sub(age))
    }

    /// Asks the network for the own record, and notes if it is found.
    pub(super) async fn check(&self) -> Checked {
        let name = self.ports.key.name();
        let asking = tokio::time::timeout(self.config.patience, self.ports.names.get(name)).await;
        let Ok(Ok(bytes)) = asking else { return Checked::Unknown };
        let Ok(Some(publication)) = Publication::read(&*self.ports.store) else { return Checked::Unknown };
        let now = self.ports.clock.wall();
        let ours = hex::decode(&publication.record).unwrap_or_default();
        let (Ok(ours), Ok(found)) =
            (ipns_record::verify(name, &ours, now.0), ipns_record::verify(name, &bytes, now.0))
        else {
            return Checked::Unknown;
        };
        if (found.sequence(), found.value()) != (ours.sequence(), ours.value()) {
            return match found.is_newer_than(&ours) {
                true => Checked::Contested(Known { sequence: found.sequence(), value: value_of(&found) }),
                false => Checked::Unknown,
            };
        }
        let mut batch = Batch::new();
        batch.put(&Publication { confirmed_at: Some(now), ..publication });
        if let Err(error) = self.ports.store.commit(batch) {
            tracing::error!(%error, "a confirmation could not be noted");
        }
        Checked::Confirmed
    }

    /// Tells one state of the own list from another.
    pub(super) fn digest(&self) -> Result<[u8; 32], store::Error> {
        Ok(digest(&listed(&*self.ports.store)?))
    }

    async fn within<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let late = Refusal::Late(what, self.config.patience.as_secs());
        tokio::time::timeout(self.config.patience, work).await.unwrap_or(Err(late))
    }
}

fn known_of(publication: &Publication) -> Option<Known> {
    // Where nothing was signed yet, there may still be a note of why.
    let directory = publication.directory?;
    Some(Known { sequence: publication.sequence, value: format!("/ipfs/{directory}") })
}

/// To what a record points, in the form in which this node writes it.
fn value_of(record: &Record) -> String {
    match record.content() {
        Ok((cid, path)) if path.is_empty() => format!("/ipfs/{cid}"),
        _ => String::from_utf8_lossy(record.value()).into_owned(),
    }
}

fn digest(entries: &[OwnEntry]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for entry in entries {
        digest.update(root_key(&entry.cid));
    }
    digest.finalize().into()
}
