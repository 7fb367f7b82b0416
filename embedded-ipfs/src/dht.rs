//! The distributed hash tables: who has what, where peers are, and what names point to.
//!
//! Owns: libp2p's two Kademlias and the questions under way.  Hears: [`Ask`]s, what identify tells of peers, and what the
//! tables found.  Kubo keeps private networks and the internet apart in a table each, and so do we ([`Scope`]).

mod behaviour;
mod lookups;
mod names;
mod records;
mod scope;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, InboundRequest, ProviderRecord, RecordKey};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{identify, PeerId};
use tokio::sync::watch;
use tokio::time::Instant;

use behaviour::Table;
pub(crate) use lookups::Ask;
use lookups::Lookups;
pub(crate) use scope::Scope;

use crate::block::Key;
use crate::clock::now_ms;
use crate::Stats;

/// Under what a content is provided: its multihash.
pub(crate) fn content_key(cid: &cid::Cid) -> RecordKey {
    RecordKey::new(&Key::of(cid).as_bytes())
}

/// The tables that are on.
#[derive(NetworkBehaviour)]
pub(crate) struct Tables {
    lan: Toggle<Table>,
    wan: Toggle<Table>,
}

impl Tables {
    pub(crate) fn new(me: PeerId, dht: crate::Dht) -> Tables {
        let on = |scope, on: bool| Toggle::from(on.then(|| Table::new(scope, me)));
        Tables {
            lan: on(Scope::Lan, dht != crate::Dht::Off),
            wan: on(Scope::Wan, dht == crate::Dht::LanAndWan),
        }
    }

    fn table(&mut self, scope: Scope) -> Option<&mut Table> {
        match scope {
            Scope::Lan => self.lan.as_mut(),
            Scope::Wan => self.wan.as_mut(),
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Table> {
        [self.lan.as_mut(), self.wan.as_mut()].into_iter().flatten()
    }
}

/// Peers in the routing tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peers {
    pub(crate) lan: usize,
    pub(crate) wan: usize,
}

impl Peers {
    pub(crate) fn any(self) -> bool {
        self.lan + self.wan > 0
    }
}

/// Counters that others may read.
#[derive(Default)]
pub(crate) struct Counts {
    peers: watch::Sender<Peers>,
    names: AtomicU64,
    provided: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Fills in what the tables count.
    pub(crate) fn report(&self, stats: &mut Stats) {
        let peers = *self.peers.borrow();
        stats.dht_peers = (peers.lan + peers.wan) as u64;
        stats.dht_names = self.names.load(Ordering::Relaxed);
        stats.dht_provided = self.provided.load(Ordering::Relaxed);
        stats.dht_refused = self.refused.load(Ordering::Relaxed);
    }

    /// Whether there is anybody to ask.
    pub(crate) fn has_peers(&self) -> bool {
        self.peers.borrow().any()
    }

    /// Tells when peers come or go.
    pub(crate) fn peers(&self) -> watch::Receiver<Peers> {
        self.peers.subscribe()
    }
}

#[derive(Default)]
pub(crate) struct Dht {
    lookups: Lookups,
    counts: Arc<Counts>,
}

impl Dht {
    pub(crate) fn new(counts: Arc<Counts>) -> Dht {
        Dht { counts, ..Dht::default() }
    }

    /// Begins to answer a question.
    pub(crate) fn ask(&mut self, ask: Ask, tables: &mut Tables) {
        self.lookups.start(ask, tables);
        self.count(tables);
    }

    /// Answers for these contents from now on when others ask, or no more.
    pub(crate) fn hold(&mut self, keys: Vec<RecordKey>, held: bool, tables: &mut Tables) {
        for table in tables.each() {
            let (me, records) = (table.me(), table.kad().store_mut());
            for key in &keys {
                if held {
                    // This node's own are never refused.
                    let _ = records.add_provider(ProviderRecord::new(key.clone(), me, Vec::new()));
                } else {
                    records.remove_provider(key, &me);
                }
            }
        }
    }

    /// Learns where a peer listens that speaks the tables' protocols.
    pub(crate) fn identified(&mut self, peer: PeerId, info: &identify::Info, tables: &mut Tables) {
        for table in tables.each() {
            table.learn(peer, &info.protocols, &info.listen_addrs);
        }
        self.count(tables);
    }

    pub(crate) fn on_event(&mut self, event: TablesEvent, tables: &mut Tables) {
        let (scope, event) = match event {
            TablesEvent::Lan(event) => (Scope::Lan, event),
            TablesEvent::Wan(event) => (Scope::Wan, event),
        };
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.lookups.progressed(scope, id, result, step.last, tables);
            }
            kad::Event::InboundRequest { request } => {
                if let Some(table) = tables.table(scope) {
                    self.offered(request, table);
                }
            }
            _ => {}
        }
        self.count(tables);
    }

    /// Keeps what others gave if it is good.
    fn offered(&self, request: InboundRequest, table: &mut Table) {
        let kept = match request {
            InboundRequest::PutRecord { record: Some(record), source, .. } => {
                let records = table.kad().store_mut();
                let checked = names::check(records, &record.key, &record.value, now_ms());
                checked.map_err(|refused| tracing::debug!(%source, ?refused, "a record was refused")).is_ok()
                    && records.put(record).is_ok()
            }
            InboundRequest::AddProvider { record: Some(mut record) } => {
                record.addresses.retain(|address| table.scope().admits(address));
                table.kad().store_mut().add_provider(record).is_ok()
            }
            _ => true,
        };
        if !kept {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Peers in the routing table of the widest table that is on.
    pub(crate) fn peers(&self, tables: &mut Tables) -> usize {
        let widest = if tables.wan.is_enabled() { Scope::Wan } else { Scope::Lan };
        tables.table(widest).map_or(0, Table::peers)
    }

    /// When [`Dht::settle`] has something to do next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.lookups.next()
    }

    /// Answers questions that have waited long enough for better.
    pub(crate) fn settle(&mut self, tables: &mut Tables) {
        self.lookups.settle(tables);
    }

    fn count(&self, tables: &mut Tables) {
        let mut peers_of = |scope| tables.table(scope).map_or(0, Table::peers);
        let peers = Peers { lan: peers_of(Scope::Lan), wan: peers_of(Scope::Wan) };
        self.counts.peers.send_if_modified(|known| std::mem::replace(known, peers) != peers);
        let (mut names, mut provided) = (0, 0);
        for table in tables.each() {
            let counts = table.kad().store_mut().counts();
            names += counts.0;
            provided += counts.1;
        }
        self.counts.names.store(names as u64, Ordering::Relaxed);
        self.counts.provided.store(provided as u64, Ordering::Relaxed);
    }
}
