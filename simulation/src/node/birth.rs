//! The production actors of one life, wired as the crate's message graph says.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;
use scatter::adapters::sqlite::Sqlite;
use scatter::http::status::{self, ChainNeeds, Needs, Query, StatusServer};
use scatter_actors::domain::admission::Policy;
use scatter_actors::domain::backoff::Backoff;
use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::limits::Limits;
use scatter_actors::domain::units::{Address, ByteSize, Wei};
use scatter_actors::line::Line;
use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::store::{self, Order, Store};
use scatter_actors::records::hosting::{roots_of, HostedBid};
use scatter_actors::supervisor::{self, Guard, Ping, Spec, Supervisor};
use scatter_actors::testkit::chain::{FakeChain, FakeKeys, BLOCK_SECONDS};
use scatter_actors::testkit::{Fuse, MemoryDisk, SeededRandomness};
use scatter_actors::{
    bid_filter, chain_listener, firewall, manifest_resolver, pinner, validator, wallet_signer,
};

use super::{Life, Node, Part, COMPARE_EACH, CONFIRMATIONS, FLOOR, MAX_HEAD_AGE_MS, MIN_FREE, QUOTA};
use crate::bomb::Bomb;
use crate::mortal::{Backend, FusedStore, Mortal};

/// Between two rounds with a peer.
const ROUND: Duration = Duration::from_secs(60);

/// A life being put together.
pub(super) struct Birth<'a> {
    node: &'a Node,
    fuse: Fuse,
    store: Rc<dyn Store>,
    clock: Rc<dyn Clock>,
    parts: BTreeMap<&'static str, Part>,
    specs: Vec<Spec>,
}

impl<'a> Birth<'a> {
    /// A life of that node.
    pub(super) fn of(node: &'a Node) -> Self {
        let fuse = Fuse::lasting();
        let store = Mortal::new(&node.store, &fuse, node.name);
        let store: Rc<dyn Store> = Rc::new(FusedStore::new(store, node.world.history.clone(), &node.commits));
        let clock = Rc::clone(&node.world.clock);
        Self { node, fuse, store, clock, parts: BTreeMap::new(), specs: Vec::new() }
    }

    fn chain(&self) -> Rc<Mortal<FakeChain>> {
        Rc::new(Mortal::new(&self.node.world.chain, &self.fuse, self.node.name))
    }
    fn ipfs(&self, watcher: impl Fn(&Cid) + 'static) -> Rc<Mortal<Backend>> {
        let backend = Backend { ipfs: Rc::clone(&self.node.ipfs), watcher: Box::new(watcher) };
        Rc::new(Mortal::new(&Rc::new(backend), &self.fuse, self.node.name))
    }
    fn disk(&self) -> Rc<Mortal<MemoryDisk>> {
        Rc::new(Mortal::new(&self.node.disk, &self.fuse, self.node.name))
    }

    /// Adds an actor; besides the lines of production, one for bombs is pointed at it.
    fn child<A>(
        &mut self,
        name: &'static str,
        make: impl Fn(Guard) -> A + 'static,
        connect: impl Fn(&Addr<A>) + 'static,
    ) where
        A: Actor<Context = Context<A>> + Handler<Ping> + Handler<supervisor::Drain> + Handler<Bomb>,
    {
        let part = Part::default();
        let (bomb, starts) = (part.bomb.clone(), Rc::clone(&part.starts));
        let (history, node) = (self.node.world.history.clone(), self.node.name);
        let make = move |guard| {
            starts.set(starts.get() + 1);
            if starts.get() > 1 {
                history.tell(node, format_args!("{name} is started again"));
            }
            make(guard)
        };
        self.specs.push(Spec::new(name, make, move |addr: &Addr<A>| {
            bomb.point(addr);
            connect(addr);
        }));
        self.parts.insert(name, part);
    }

    fn listener(&mut self, outbox: chain_listener::Outbox) {
        let config = chain_listener::Config {
            chain_id: crate::CHAIN,
            confirmations: CONFIRMATIONS,
            ..Default::default()
        };
        let ports = chain_listener::Ports {
            chain: self.chain(),
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
        };
        let make = move |guard| {
            chain_listener::ChainListener::new(config.clone(), ports.clone(), outbox.clone(), guard)
        };
        self.child("listener", make, |_| {});
    }

    fn wallet(
        &mut self,
        connect: impl Fn(&Addr<wallet_signer::WalletSigner>) + 'static,
    ) -> Line<wallet_signer::Wallet> {
        let config = wallet_signer::Config {
            confirmations: CONFIRMATIONS,
            max_spend_per_day: Wei::from(self.node.cap),
            ..Default::default()
        };
        let ports = wallet_signer::Ports {
            chain: self.chain(),
            keys: Rc::new(FakeKeys(self.node.account)),
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
        };
        let make = move |guard| wallet_signer::WalletSigner::new(config.clone(), ports.clone(), guard);
        let line = Line::new();
        let question = line.clone();
        self.child("wallet", make, move |addr| {
            question.point(addr);
            connect(addr);
        });
        line
    }

    /// The actors of a hoster with its firewall, wired as the crate's message graph says.
    pub(super) fn hoster(mut self) -> Life {
        let me = self.node.account;
        let mut heard = chain_listener::Outbox::default();
        let (placed, accepted, pinned) = (heard.placed.add(), heard.accepted.add(), heard.pinned.add());
        let (voted, settled, retracted) = (heard.voted.add(), heard.settled.add(), heard.retracted.add());
        let heads = heard.heads.add();
        self.listener(heard);

        let outbox = bid_filter::Outbox::default();
        let host = outbox.host.clone();
        let ports = bid_filter::Ports {
            chain: self.chain(),
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
            disk: self.disk(),
        };
        let make =
            move |guard| bid_filter::BidFilter::new(judgement(me), ports.clone(), outbox.clone(), guard);
        self.child("filter", make, move |addr| placed.point(addr));

        let outbox = pinner::Outbox::default();
        let submit = outbox.submit.clone();
        let config = pinner::Config {
            hosting: Some(pinner::Hosting { me, fetches: 2, idle_ms: 30_000 }),
            mirroring: pinner::Bounds {
                at_once: 4,
                per_peer: 2,
                idle_ms: 30_000,
                retry: Backoff { first: Duration::from_secs(10), most: Duration::from_secs(3_600) },
                min_free_disk: ByteSize(0),
                max_storage: None,
            },
            grace_ms: 60_000,
            compare_each: COMPARE_EACH,
        };
        let ports = pinner::Ports {
            ipfs: self.ipfs(|_| {}),
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
            disk: self.disk(),
        };
        let make = move |guard| pinner::Pinner::new(config.clone(), ports.clone(), outbox.clone(), guard);
        let mirror = Line::new();
        let mirrored = mirror.clone();
        self.child("pinner", make, move |addr| {
            mirrored.point(addr);
            host.point(addr);
            accepted.point(addr);
            pinned.point(addr);
            voted.point(addr);
            settled.point(addr);
            retracted.point(addr);
            heads.point(addr);
        });

        if !self.node.peers.is_empty() {
            self.resolver(mirror);
        }

        let wallet = self.wallet(move |addr| submit.point(addr));

        let served = Rc::clone(&self.node.served);
        let truth = Rc::clone(&self.node.store);
        let ports = firewall::Ports {
            ipfs: self.ipfs(move |cid| served.borrow_mut().push((*cid, is_live(&truth, cid)))),
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
        };
        let config = firewall::Config { hoster: me, limits: Limits::default(), backend_ms: 5_000 };
        let make = move |guard| firewall::Firewall::new(config.clone(), ports.clone(), guard);
        let door = Line::new();
        let ask = door.clone();
        self.child("firewall", make, move |addr| ask.point(addr));
        *self.node.world.street.door.borrow_mut() = Some(door.clone());
        self.born(wallet, door)
    }

    /// The actor that follows what peers list.
    fn resolver(&mut self, mirror: Line<pinner::Mirror>) {
        let config = manifest_resolver::Config {
            resolve_within: Duration::from_secs(20),
            ..manifest_resolver::Config::new(self.node.peers.clone(), ROUND)
        };
        let ports = manifest_resolver::Ports {
            names: Rc::new(Mortal::new(&self.node.world.names, &self.fuse, self.node.name)),
            ipfs: self.ipfs(|_| {}),
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
            randomness: Rc::new(SeededRandomness::new(self.node.born_at)),
        };
        let outbox = manifest_resolver::Outbox { mirror };
        let make = move |guard| {
            manifest_resolver::ManifestResolver::new(config.clone(), ports.clone(), outbox.clone(), guard)
        };
        self.child("resolver", make, |_| {});
    }

    /// The actors of a validator.
    pub(super) fn validator(mut self) -> Life {
        let mut heard = chain_listener::Outbox::default();
        let (pinned, voted, settled) = (heard.pinned.add(), heard.voted.add(), heard.settled.add());
        let (retracted, heads) = (heard.retracted.add(), heard.heads.add());
        self.listener(heard);

        let outbox = validator::Outbox::default();
        let submit = outbox.submit.clone();
        let ports = validator::Ports {
            chain: self.chain(),
            ipfs: self.ipfs(|_| {}),
            probe: Rc::new(Mortal::new(&self.node.world.street, &self.fuse, self.node.name)),
            keys: Rc::new(FakeKeys(self.node.account)),
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
            disk: self.disk(),
        };
        let make =
            move |guard| validator::Validator::new(Default::default(), ports.clone(), outbox.clone(), guard);
        self.child("validator", make, move |addr| {
            pinned.point(addr);
            voted.point(addr);
            settled.point(addr);
            retracted.point(addr);
            heads.point(addr);
        });
        let wallet = self.wallet(move |addr| submit.point(addr));
        self.born(wallet, Line::new())
    }

    /// The actor that says whether the node is ready.
    fn status(&mut self, actors: &Line<supervisor::Actors>) -> Line<Query> {
        let chain = ChainNeeds { chain_id: crate::CHAIN, max_head_age_ms: MAX_HEAD_AGE_MS };
        let needs = Needs { chain: Some(chain), ipfs: true, min_free: MIN_FREE };
        let ports = status::Ports {
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock),
            disk: self.disk(),
            ipfs: Some(self.ipfs(|_| {})),
            supervisor: actors.clone(),
            mirroring: Line::new(),
            name: None,
            providers: None,
            gauges: Vec::new(),
            counting: None,
        };
        let make = move |guard| StatusServer::new(needs.clone(), ports.clone(), guard);
        let line = Line::new();
        let question = line.clone();
        self.child("status", make, move |addr| question.point(addr));
        line
    }

    fn born(mut self, wallet: Line<wallet_signer::Wallet>, firewall: Line<firewall::Ask>) -> Life {
        let policy = supervisor::Policy::default();
        let actors = Line::new();
        let status = self.status(&actors);
        let supervisor = Supervisor::new(policy, self.clock, self.specs, None).start();
        actors.point(&supervisor);
        Life { fuse: self.fuse, parts: self.parts, firewall, wallet, status, supervisor }
    }
}

/// Whether a block is the root of a bid that is hosted just now, or lies below it.
fn is_live(store: &Sqlite, cid: &Cid) -> bool {
    let mut roots = roots_of(store, &cid.hash().to_bytes(), usize::MAX).unwrap();
    roots.push(*cid);
    let bids = store::list::<HostedBid>(store, &[], Order::Ascending, usize::MAX).unwrap();
    bids.iter().any(|bid| {
        let holds = roots.iter().any(|root| root.hash() == bid.cid.hash());
        holds
            && matches!(bid.stage, Stage::Announcing { .. } | Stage::Hosting { .. } | Stage::Settling { .. })
    })
}

fn judgement(me: Address) -> bid_filter::Config {
    let policy = Policy {
        accept: true,
        min_price: Wei::from(FLOOR),
        sizes: (ByteSize(1), ByteSize(1 << 20)),
        durations: (86_400, 365 * 86_400),
        max_storage: QUOTA,
        min_free_disk: MIN_FREE,
        allow: vec![],
        deny: vec![],
        assumed_speed: 100_000,
    };
    bid_filter::Config { policy, confirmations: CONFIRMATIONS, block_time: BLOCK_SECONDS, me }
}
