//! What the operator's orders about the consortium do: who is mirrored, and what this node lists itself.
//!
//! Peers and entries are written here; what follows from them is found in the store by the resolver, the publisher
//! and the pinner, who are only told that there is something to find.

use cid::Cid;
use futures::future::try_join_all;
use scatter_actors::domain::manifest::root;
use scatter_actors::domain::units::WallTime;
use scatter_actors::manifest_resolver::{Accept, PeersChanged, Refusal, Resolve};
use scatter_actors::pinner::KeepOwn;
use scatter_actors::ports::store::{Batch, Record};
use scatter_actors::publisher::{ListChanged, Publish};
use scatter_actors::records::consortium::{own, peers, standing, OwnEntry, Peer, Source};
use scatter_actors::records::hosting::{keep, let_go, roots_for, Owner};
use serde::Deserialize;
use serde_json::{json, Value};

use super::desk::{no_store, Desk};
use crate::config::{Bounds, Entry};
use crate::exit::{Code, Fault};

/// What the operator wants of the consortium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Mirror a peer, or mirror it by other bounds.
    AddPeer(Entry),
    /// Mirror a peer no longer.
    RemovePeer(String),
    /// Take over the change of a peer that waits for the operator's word.
    Accept(String),
    /// Look peers up now, all if none is named; answered when the rounds are over.
    Resolve(Vec<String>),
    /// List roots for others.
    List(Vec<Cid>),
    /// List roots no longer.
    Unlist(Vec<Cid>),
    /// Publish the list now; answered when the network has it.
    Publish,
}

/// What is known of this node's part in the consortium.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's own name, if it publishes.
    pub name: Option<ipns_record::Name>,
    /// What holds of a peer that does not say otherwise.
    pub bounds: Bounds,
    /// Where each peer of the configuration is named, for people: by the peer's name.
    pub places: std::collections::BTreeMap<String, String>,
}

/// A request for rounds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rounds {
    /// With whom; none: with everybody.
    pub(super) peers: Vec<String>,
}

/// A request with roots.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Roots {
    pub(super) cids: Vec<String>,
}

impl Roots {
    /// The roots as CIDs.
    pub(super) fn cids(&self) -> Result<Vec<Cid>, Fault> {
        let read = |text: &String| {
            // What peers would refuse must not be listed: it would spoil the file in which it stands.
            root(text).map_err(|why| Fault::new(Code::Usage, format!("{text:?}: {why}")).about("cids"))
        };
        self.cids.iter().map(read).collect()
    }
}

fn refused(what: String) -> Fault {
    Fault::new(Code::Refused, what)
}

impl Desk {
    pub(super) async fn consortium(&self, wish: Wish) -> Result<Value, Fault> {
        let config = self.config.consortium.as_ref().ok_or_else(|| {
            Fault::new(Code::Config, "this node is in no consortium: set roles.consortium = true")
                .about("roles.consortium")
        })?;
        match wish {
            Wish::AddPeer(entry) => self.add_peer(entry, config),
            Wish::RemovePeer(name) => self.remove_peer(&name, config),
            Wish::Accept(name) => self.accept(name).await,
            Wish::Resolve(peers) => self.resolve(peers).await,
            Wish::List(cids) => self.list(&cids),
            Wish::Unlist(cids) => self.unlist(&cids),
            Wish::Publish => self.publish(config).await,
        }
    }

    fn add_peer(&self, entry: Entry, config: &Config) -> Result<Value, Fault> {
        let peer = entry
            .peer(config.bounds, Source::Operator)
            .map_err(|what| Fault::new(Code::Usage, what).about("peer"))?;
        if config.name == Some(peer.ipns) {
            return Err(refused(format!("{} is this node's own name", peer.ipns)));
        }
        let known = peers(&*self.ports.store).map_err(no_store)?;
        let same_name = known.iter().find(|known| known.name == peer.name);
        if let Some(known) = known.iter().find(|known| known.ipns == peer.ipns && known.name != peer.name) {
            return Err(refused(format!("{} is mirrored already, as {}", peer.ipns, known.name)));
        }
        match same_name {
            Some(known) if known.source == Source::Config => return Err(self.fixed(&peer.name, config)),
            Some(known) if known.ipns != peer.ipns => {
                let what = "is another peer's name here: remove that one first, or call this one otherwise";
                return Err(refused(format!("{} ({}) {what}", peer.name, known.ipns)));
            }
            _ => {}
        }
        let mut batch = Batch::new();
        batch.put(&peer);
        self.ports.store.commit(batch).map_err(no_store)?;
        self.outbox.peers.tell(PeersChanged);
        Ok(json!({"peer": peer, "added": same_name.is_none()}))
    }

    fn remove_peer(&self, name: &str, config: &Config) -> Result<Value, Fault> {
        let peer = self.peer(name)?;
        if peer.source == Source::Config {
            return Err(self.fixed(name, config));
        }
        let store = &*self.ports.store;
        let roots = roots_for(store, &Owner::Peer(name.to_owned())).map_err(no_store)?;
        let mut batch = Batch::new();
        batch.delete::<Peer>(&peer.key());
        store.commit(batch).map_err(no_store)?;
        self.outbox.peers.tell(PeersChanged);
        Ok(json!({"peer": peer, "roots": roots.len()}))
    }

    /// Only the configuration changes what the configuration says.
    fn fixed(&self, name: &str, config: &Config) -> Fault {
        let place = config.places.get(name).map_or("the configuration", String::as_str);
        refused(format!("{name} is named in {place}: change it there")).about("consortium.peers")
    }

    fn peer(&self, name: &str) -> Result<Peer, Fault> {
        let known = peers(&*self.ports.store).map_err(no_store)?;
        let unknown =
            || Fault::new(Code::NotFound, format!("{name}: there is no such peer; see scatter peer list"));
        known.into_iter().find(|peer| peer.name == name).ok_or_else(unknown)
    }

    async fn accept(&self, name: String) -> Result<Value, Fault> {
        self.peer(&name)?;
        let held = || -> Result<_, Fault> {
            Ok(standing(&*self.ports.store, &name).map_err(no_store)?.and_then(|standing| standing.held))
        };
        let Some(waiting) = held()? else {
            return Err(refused(format!("nothing of {name} waits for your word")));
        };
        let accepted = self.outbox.accept.ask(Accept { peer: name.clone() }).await.map_err(unheard)?;
        accepted.map_err(|refusal| match refusal {
            Refusal::Store(error) => no_store(error),
            refusal => refused(refusal.to_string()),
        })?;
        Ok(json!({"name": name, "accepted": waiting, "held": held()?}))
    }

    async fn resolve(&self, peers: Vec<String>) -> Result<Value, Fault> {
        let whom = match peers.is_empty() {
            true => vec![None],
            false => peers.into_iter().map(Some).collect(),
        };
        let rounds = whom.into_iter().map(|peer| self.outbox.resolve.ask(Resolve { peer }));
        try_join_all(rounds).await.map_err(unheard)?;
        Ok(json!({"resolved": true}))
    }

    fn list(&self, cids: &[Cid]) -> Result<Value, Fault> {
        let store = &*self.ports.store;
        let listed = own(store).map_err(no_store)?;
        let known = |cid: &Cid| listed.iter().any(|entry| entry.key() == key(cid));
        let (known, added): (Vec<&Cid>, Vec<&Cid>) = cids.iter().partition(|cid| known(cid));
        let mut batch = Batch::new();
        for cid in &added {
            batch.put(&OwnEntry { cid: **cid, added: self.ports.clock.wall() });
            // Whoever lists a root keeps it: others fetch it from here.
            keep(store, &mut batch, **cid, Owner::Manual).map_err(no_store)?;
        }
        self.change(batch)?;
        Ok(json!({"added": texts(&added), "known": texts(&known)}))
    }

    fn unlist(&self, cids: &[Cid]) -> Result<Value, Fault> {
        let store = &*self.ports.store;
        let listed = own(store).map_err(no_store)?;
        let entry = |cid: &Cid| listed.iter().find(|entry| entry.key() == key(cid));
        let (known, unknown): (Vec<&Cid>, Vec<&Cid>) = cids.iter().partition(|cid| entry(cid).is_some());
        if known.is_empty() {
            return Err(Fault::new(Code::NotFound, "none of these is listed; see scatter manifest show"));
        }
        let mut batch = Batch::new();
        for entry in known.iter().filter_map(|cid| entry(cid)) {
            batch.delete::<OwnEntry>(&entry.key());
            let_go(store, &mut batch, entry.cid, Owner::Manual, self.ports.clock.wall()).map_err(no_store)?;
        }
        self.change(batch)?;
        Ok(json!({"removed": texts(&known), "unknown": texts(&unknown)}))
    }

    /// Makes a change of the own list durable and says that there is one.
    fn change(&self, batch: Batch) -> Result<(), Fault> {
        if !batch.is_empty() {
            self.ports.store.commit(batch).map_err(no_store)?;
            self.outbox.listed.tell(ListChanged);
            self.outbox.keep.tell(KeepOwn);
        }
        Ok(())
    }

    async fn publish(&self, config: &Config) -> Result<Value, Fault> {
        let Some(name) = config.name else {
            let what = "this node publishes nothing: set consortium.publish = true";
            return Err(Fault::new(Code::Config, what).about("consortium.publish"));
        };
        let published = self.outbox.publish.ask(Publish).await.map_err(unheard)?;
        let publication = published.map_err(|error| Fault::new(Code::Unreachable, error))?;
        Ok(json!({"name": name, "publication": publication}))
    }
}

fn unheard(error: scatter_actors::line::Unheard) -> Fault {
    Fault::new(Code::Unreachable, error)
}

/// Where an entry of that root stands.
fn key(cid: &Cid) -> Vec<u8> {
    OwnEntry { cid: *cid, added: WallTime::default() }.key()
}

fn texts(cids: &[&Cid]) -> Vec<String> {
    cids.iter().map(|cid| cid.to_string()).collect()
}

#[cfg(test)]
mod tests;
