//! Questions under way: each is asked in every table that is on, and its answer is what all of them found.

use std::time::Duration;

use ipns_record::{verify, Name, Record};
use libp2p::kad::{
    self, GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, GetRecordOk, PutRecordError, QueryId,
    QueryResult, Quorum, RecordKey,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::names::{self, key_of};
use super::{Scope, Tables};
use crate::clock::now_ms;
use crate::{Error, Found};

/// So many peers' records of a name are enough, as in Kubo.
const QUORUM: usize = 16;
/// How long better records are waited for after the first, and more providers.
const SETTLE: Duration = Duration::from_secs(10);
const SETTLE_PROVIDERS: Duration = Duration::from_secs(3);
/// How long a record that this node put is kept for others.
const KEEP: Duration = Duration::from_secs(48 * 3600);

/// Addresses taken of a peer: some of each table's.
const MAX_ADDRESSES: usize = 16;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A question to the tables, and who wants the answer.
pub(crate) enum Ask {
    /// Tell that this node has a content.
    Provide(RecordKey, Reply<()>),
    /// Who has a content: at most so many.
    Providers(RecordKey, usize, Reply<Vec<Found>>),
    /// Give a record to the peers closest to its name; the answer is how many took it.
    PutName(Name, Vec<u8>, Reply<usize>),
    /// The newest record of a name.
    GetName(Name, Reply<Record>),
    /// Where a peer listens.
    FindPeer(PeerId, Reply<Vec<Multiaddr>>),
}

impl Ask {
    /// Nobody waits for the answer, and it was asked for nothing else: what is told is told to the end.
    fn is_abandoned(&self) -> bool {
        match self {
            Ask::Provide(..) | Ask::PutName(..) => false,
            Ask::Providers(_, _, reply) => reply.is_closed(),
            Ask::GetName(_, reply) => reply.is_closed(),
            Ask::FindPeer(_, reply) => reply.is_closed(),
        }
    }
}

/// All questions under way.
#[derive(Default)]
pub(super) struct Lookups {
    running: Vec<Lookup>,
}

struct Lookup {
    ask: Ask,
    /// Where it is still being asked.
    open: Vec<(Scope, QueryId)>,
    /// There were peers to ask.
    asked: bool,
    found: Vec<Found>,
    best: Option<Record>,
    answers: usize,
    taken: usize,
    until: Option<Instant>,
}

impl Lookups {
    /// Begins to ask.
    pub(super) fn start(&mut self, ask: Ask, tables: &mut Tables) {
        self.forget_abandoned(tables);
        if let Ask::PutName(name, value, _) = &ask {
            if let Err(error) = acceptable(*name, value, tables) {
                if let Ask::PutName(_, _, reply) = ask {
                    let _ = reply.send(Err(error)); // the caller may have gone
                }
                return;
            }
        }
        let mut lookup = Lookup::new(ask);
        for scope in Scope::ALL {
            let Some(table) = tables.table(scope) else { continue };
            lookup.asked |= table.peers() > 0;
            lookup.open.extend(lookup.ask.begin(table.kad()).map(|id| (scope, id)));
        }
        if lookup.open.is_empty() {
            lookup.answer();
        } else {
            self.running.push(lookup);
        }
    }

    /// Takes what a table found.
    pub(super) fn progressed(
        &mut self,
        scope: Scope,
        id: QueryId,
        result: QueryResult,
        last: bool,
        tables: &mut Tables,
    ) {
        let Some(at) = self.running.iter().position(|lookup| lookup.open.contains(&(scope, id))) else {
            return;
        };
        let lookup = &mut self.running[at];
        lookup.take(scope, result, tables);
        if last {
            lookup.open.retain(|open| *open != (scope, id));
        }
        if lookup.open.is_empty() || lookup.has_enough() {
            self.end(at, tables);
        }
    }

    /// When [`Lookups::settle`] has something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.running.iter().filter_map(|lookup| lookup.until).min()
    }

    /// Answers questions that have waited long enough for better.
    pub(super) fn settle(&mut self, tables: &mut Tables) {
        let now = Instant::now();
        while let Some(at) =
            self.running.iter().position(|lookup| lookup.until.is_some_and(|until| until <= now))
        {
            self.end(at, tables);
        }
    }

    fn forget_abandoned(&mut self, tables: &mut Tables) {
        while let Some(at) = self.running.iter().position(|lookup| lookup.ask.is_abandoned()) {
            self.end(at, tables);
        }
    }

    fn end(&mut self, at: usize, tables: &mut Tables) {
        let lookup = self.running.swap_remove(at);
        for (scope, id) in &lookup.open {
            if let Some(mut query) = tables.table(*scope).and_then(|table| table.kad().query_mut(id)) {
                query.finish();
            }
        }
        lookup.answer();
    }
}

/// Whether a record may be put: one that nobody would take, or that goes back behind what is here, is not even sent.
fn acceptable(name: Name, value: &[u8], tables: &mut Tables) -> Result<(), Error> {
    for scope in Scope::ALL {
        let Some(table) = tables.table(scope) else { continue };
        let records = table.kad().store_mut();
        names::check(records, &key_of(name), value, now_ms()).map_err(|refused| match refused {
            names::Refused::Invalid(refusal) => Error::Record(refusal),
            names::Refused::Older | names::Refused::Key => Error::Outdated(name),
        })?;
    }
    Ok(())
}

impl Ask {
    /// `None` if the table has no room to remember what it would tell others.
    fn begin(&self, kad: &mut kad::Behaviour<super::records::Records>) -> Option<QueryId> {
        match self {
            Ask::Provide(key, _) => kad.start_providing(key.clone()).ok(),
            Ask::Providers(key, _, _) => Some(kad.get_providers(key.clone())),
            Ask::GetName(name, _) => Some(kad.get_record(key_of(*name))),
            Ask::FindPeer(peer, _) => Some(kad.get_closest_peers(*peer)),
            Ask::PutName(name, value, _) => {
                let mut record = kad::Record::new(key_of(*name), value.clone());
                record.expires = Some((Instant::now() + KEEP).into_std());
                kad.put_record(record, Quorum::All).ok()
            }
        }
    }
}

impl Lookup {
    fn new(ask: Ask) -> Lookup {
        Lookup {
            ask,
            open: Vec::new(),
            asked: false,
            found: Vec::new(),
            best: None,
            answers: 0,
            taken: 0,
            until: None,
        }
    }

    fn take(&mut self, scope: Scope, result: QueryResult, tables: &mut Tables) {
        match result {
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                let Some(table) = tables.table(scope) else { return };
                let me = table.me();
                for peer in providers.into_iter().filter(|peer| *peer != me) {
                    self.meet(peer, table.addresses_of(peer));
                }
            }
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => self.judge(&found.record.value),
            QueryResult::PutRecord(Ok(_)) => self.taken += kad::K_VALUE.get(),
            QueryResult::PutRecord(Err(
                PutRecordError::QuorumFailed { success, .. } | PutRecordError::Timeout { success, .. },
            )) => self.taken += success.len(),
            QueryResult::GetClosestPeers(
                Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. }),
            ) => {
                if let Ask::FindPeer(wanted, _) = self.ask {
                    for info in peers.into_iter().filter(|info| info.peer_id == wanted) {
                        let admitted = info.addrs.into_iter().filter(|address| scope.admits(address));
                        self.meet(wanted, admitted.collect());
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes so many of a peer's addresses: whoever answers could have us dial half of the network otherwise.
    fn meet(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let at = self.found.iter().position(|found| found.peer == peer).unwrap_or_else(|| {
            self.found.push(Found { peer, addresses: Vec::new() });
            self.found.len() - 1
        });
        let known = &mut self.found[at].addresses;
        for address in addresses {
            if known.len() == MAX_ADDRESSES {
                break;
            }
            if !known.contains(&address) {
                known.push(address);
            }
        }
        if let Ask::Providers(..) = self.ask {
            self.until.get_or_insert_with(|| Instant::now() + SETTLE_PROVIDERS);
        }
    }

    fn judge(&mut self, value: &[u8]) {
        let Ask::GetName(name, _) = self.ask else { return };
        match verify(name, value, now_ms()) {
            Ok(record) => {
                self.answers += 1;
                self.until.get_or_insert_with(|| Instant::now() + SETTLE);
                if self.best.as_ref().is_none_or(|best| record.is_newer_than(best)) {
                    self.best = Some(record);
                }
            }
            Err(refusal) => tracing::debug!(%name, %refusal, "a peer answered with a bad record"),
        }
    }

    fn has_enough(&self) -> bool {
        match &self.ask {
            Ask::Providers(_, most, _) => self.found.len() >= *most,
            Ask::GetName(..) => self.answers >= QUORUM,
            Ask::Provide(..) | Ask::PutName(..) | Ask::FindPeer(..) => false,
        }
    }

    /// Callers may have gone: answers that find nobody are dropped.
    fn answer(mut self) {
        let nobody = || Error::Unreachable("no peer of the hash tables was reached".into());
        match self.ask {
            Ask::Provide(_, reply) => drop(reply.send(if self.asked { Ok(()) } else { Err(nobody()) })),
            Ask::Providers(_, most, reply) => {
                self.found.truncate(most);
                drop(reply.send(Ok(self.found)));
            }
            Ask::PutName(_, _, reply) => {
                let failed = self.asked && self.taken == 0;
                drop(reply.send(if failed { Err(nobody()) } else { Ok(self.taken) }));
            }
            Ask::GetName(name, reply) => drop(reply.send(self.best.ok_or(Error::NoRecord(name)))),
            Ask::FindPeer(_, reply) => {
                drop(reply.send(Ok(self.found.pop().map(|found| found.addresses).unwrap_or_default())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_no_more_addresses_than_a_few_whatever_is_told_of_it() {
        let (peer, (reply, answer)) = (PeerId::random(), oneshot::channel());
        let mut lookup = Lookup::new(Ask::FindPeer(peer, reply));
        for host in 0..100u8 {
            let told = (1..100).map(|port| format!("/ip4/10.0.0.{host}/tcp/{port}").parse().unwrap());
            let told: Vec<Multiaddr> = told.collect();
            lookup.meet(peer, told.clone());
            lookup.meet(peer, told);
        }
        lookup.answer();
        let found = answer.blocking_recv().unwrap().unwrap();
        assert_eq!(found.len(), MAX_ADDRESSES);
        assert!(found.iter().all(|address| address.to_string().starts_with("/ip4/10.0.0.0/tcp/")));
    }
}
