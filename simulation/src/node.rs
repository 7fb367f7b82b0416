//! One node: what outlasts its process (store, IPFS node, disk), and a life of its process, the production
//! actors under the production supervisor, put together on it as often as it is killed.

use std::cell::{Cell, RefCell};
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
use scatter_actors::domain::units::{Address, ByteSize, WallTime, Wei};
use scatter_actors::line::Line;
use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::store::{self, Order, Store};
use scatter_actors::records::consortium::Peer;
use scatter_actors::records::hosting::{roots_of, HostedBid};
use scatter_actors::supervisor::{self, Guard, Ping, Shutdown, Spec, Supervisor};
use scatter_actors::testkit::chain::{FakeChain, FakeKeys, BLOCK_SECONDS};
use scatter_actors::testkit::ipfs::MemoryNet;
use scatter_actors::testkit::names::MemoryNames;
use scatter_actors::testkit::{Fuse, MemoryDisk, MemoryIpfs, SeededRandomness};
use scatter_actors::{
    bid_filter, chain_listener, firewall, manifest_resolver, pinner, validator, wallet_signer,
};

use crate::bomb::Bomb;
use crate::history::History;
use crate::mortal::{Backend, FusedStore, Mortal};
use crate::street::Street;

/// Blocks above an event before it is acted on.
pub const CONFIRMATIONS: u64 = 3;
/// What a hoster may spend in a day, in wei.
pub const SPEND_CAP: u128 = 20_000_000_000_000_000;
/// Bytes that a hoster gives: room for three fetches, each of which may take a MiB more than it says.
pub const QUOTA: ByteSize = ByteSize(7 << 19);
/// Bytes that stay free on its disk.
pub const MIN_FREE: ByteSize = ByteSize(1 << 30);
/// A head that has not changed for so many milliseconds is not fresh.
pub const MAX_HEAD_AGE_MS: u64 = 180_000;
/// Between two rounds with a peer.
const ROUND: Duration = Duration::from_secs(60);
/// Wei a GiB and month that a hoster wants.
pub const FLOOR: u128 = 1_000_000_000;

/// Time as the paused runtime tells it, from a fixed day on.
pub struct RuntimeClock(pub tokio::time::Instant);

impl Clock for RuntimeClock {
    fn wall(&self) -> WallTime {
        WallTime(1_700_000_000_000 + self.monotonic())
    }
    fn monotonic(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// What all nodes share.
#[derive(Clone)]
pub struct Surroundings {
    /// The chain.
    pub chain: Rc<FakeChain>,
    /// The IPFS network.
    pub net: MemoryNet,
    /// The name system.
    pub names: Rc<MemoryNames>,
    /// The way to the hoster's door.
    pub street: Rc<Street>,
    /// The machine's clock.
    pub clock: Rc<RuntimeClock>,
    /// Where everything is written down.
    pub history: History,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Hosting, with a firewall.
    Hoster,
    /// Auditing.
    Validator,
}

/// A node and what outlasts its process.
pub struct Node {
    /// What it is for.
    pub role: Role,
    /// What it is called in the history.
    pub name: &'static str,
    /// Its account.
    pub account: Address,
    /// Its database.
    pub store: Rc<Sqlite>,
    /// The IPFS node beside it.
    pub ipfs: Rc<MemoryIpfs>,
    /// Its disk.
    pub disk: Rc<MemoryDisk>,
    /// Blocks that its firewall asked the IPFS node for, and whether a bid that is hosted then holds each.
    pub served: Rc<RefCell<Vec<(Cid, bool)>>>,
    /// Its process, unless it is down.
    pub life: Option<Life>,
    /// Wei that it may spend in a day.
    pub cap: u128,
    /// Peers of its consortium.
    pub peers: Vec<Peer>,
    /// The millisecond at which its process was started.
    pub born_at: u64,
    /// The millisecond at which it is started again.
    pub down_until: u64,
    world: Surroundings,
}

/// A process of a node.
pub struct Life {
    /// What kills it.
    pub fuse: Fuse,
    /// Its actors.
    pub parts: BTreeMap<&'static str, Part>,
    /// Asks its firewall.
    pub firewall: Line<firewall::Ask>,
    /// Asks its wallet.
    pub wallet: Line<wallet_signer::Wallet>,
    /// Asks whether it is ready, among other things.
    pub status: Line<Query>,
    supervisor: Addr<Supervisor>,
}

/// One of a life's actors.
#[derive(Default)]
pub struct Part {
    /// The way to panic it.
    pub bomb: Line<Bomb>,
    /// How often it was told to panic.
    pub bombed: Cell<u64>,
    /// How often it was started.
    pub starts: Rc<Cell<u64>>,
}

impl Node {
    /// A node that does not run yet.
    pub fn new(role: Role, name: &'static str, account: Address, world: &Surroundings) -> Self {
        Self {
            role,
            name,
            account,
            store: Rc::new(Sqlite::in_memory().unwrap()),
            ipfs: Rc::new(MemoryIpfs::on(name, &world.net)),
            disk: Rc::default(),
            served: Rc::default(),
            life: None,
            cap: SPEND_CAP,
            peers: Vec::new(),
            born_at: 0,
            down_until: 0,
            world: world.clone(),
        }
    }

    /// Starts its process on what is there.
    pub fn start(&mut self) {
        self.world.history.tell(self.name, "starts");
        self.born_at = self.world.history.now();
        let birth = Birth::of(self);
        self.life = Some(match self.role {
            Role::Hoster => birth.hoster(),
            Role::Validator => birth.validator(),
        });
    }

    /// Ends its process: inert from now on, and its actors are gone when this is over.
    pub async fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        life.fuse.blow();
        let _late = life.supervisor.send(Shutdown { within: Duration::from_secs(1) }).await;
    }

    /// Whether its process is up.
    pub fn is_up(&self) -> bool {
        self.life.as_ref().is_some_and(|life| !life.fuse.is_blown())
    }
}

/// A life being put together.
struct Birth<'a> {
    node: &'a Node,
    fuse: Fuse,
    store: Rc<dyn Store>,
    clock: Rc<dyn Clock>,
    parts: BTreeMap<&'static str, Part>,
    specs: Vec<Spec>,
}

impl<'a> Birth<'a> {
    fn of(node: &'a Node) -> Self {
        let fuse = Fuse::lasting();
        let store = Mortal::new(&node.store, &fuse, node.name);
        let store: Rc<dyn Store> = Rc::new(FusedStore::new(store, node.world.history.clone()));
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
    fn hoster(mut self) -> Life {
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
    fn validator(mut self) -> Life {
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
