//! The parts of a node and the lines between them.

use std::rc::Rc;
use std::time::Duration;

use crate::adapters::hoster_probe::HttpProbe;
use actix_web::dev::ServerHandle;
use ipns_record::SigningKey;
use scatter_actors::bid_filter::{self, BidFilter};
use scatter_actors::chain_listener::{self, ChainListener};
use scatter_actors::domain::backoff::Backoff;
use scatter_actors::domain::egress::Egress;
use scatter_actors::line::Line;
use scatter_actors::pinner::{self, Pinner};
use scatter_actors::ports::chain::Chain;
use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::disk::Disk;
use scatter_actors::ports::ipfs::Ipfs;
use scatter_actors::ports::keys::Keys;
use scatter_actors::ports::names::Names;
use scatter_actors::ports::store::Store;
use scatter_actors::supervisor::{Actors, Spec};
use scatter_actors::validator::{self, Validator};
use scatter_actors::wallet_signer::{self, WalletSigner};

use crate::adapters::json_rpc::Client;
use crate::config::{milliseconds, Config};
use crate::exit::{Code, Fault};
use crate::http::control;
use crate::http::status::{Counting, Gauge};

mod consortium;
mod servers;

/// Waits between two tries to bring a root that nobody gave: peers are away over nights.
const RETRY: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(6 * 3_600) };

/// The world, as every part sees it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) store: Rc<dyn Store>,
    pub(super) clock: Rc<dyn Clock>,
    pub(super) disk: Rc<dyn Disk>,
    pub(super) ipfs: Rc<dyn Ipfs>,
    /// What the IPFS node counts, where it is inside.
    pub(super) counting: Option<Counting>,
    pub(super) names: Rc<dyn Names>,
    /// The key of this node's name, if it publishes.
    pub(super) name: Option<Rc<SigningKey>>,
    pub(super) chain: Option<Rc<dyn Chain>>,
    /// The client behind the chain.
    pub(super) rpc: Option<Rc<Client>>,
    pub(super) keys: Option<Rc<dyn Keys>>,
}

/// What a node is made of.
pub(super) struct Assembled {
    /// The actors, in the order of a drain.
    pub(super) specs: Vec<Spec>,
    /// The servers, which are stopped behind the actors.
    pub(super) servers: Vec<ServerHandle>,
    /// The line at which the supervisor will be asked.
    pub(super) actors: Line<Actors>,
}

/// What is put together so far.
pub(super) struct Parts {
    config: Config,
    world: World,
    facts: chain_listener::Outbox,
    /// To whom the operator's orders go.
    orders: control::Outbox,
    host: Line<pinner::Host>,
    mirror: Line<pinner::Mirror>,
    mirroring: Line<pinner::Mirroring>,
    actors: Line<Actors>,
    specs: Vec<Spec>,
    servers: Vec<ServerHandle>,
    gauges: Vec<Gauge>,
}

impl Parts {
    pub(super) fn new(config: Config, world: World) -> Self {
        Self {
            config,
            world,
            facts: chain_listener::Outbox::default(),
            orders: control::Outbox::default(),
            host: Line::new(),
            mirror: Line::new(),
            mirroring: Line::new(),
            actors: Line::new(),
            specs: Vec::new(),
            servers: Vec::new(),
            gauges: Vec::new(),
        }
    }

    /// Puts together what the roles need.
    ///
    /// # Errors
    /// If a server can't listen.
    pub(super) fn assemble(mut self) -> Result<Assembled, Fault> {
        let roles = self.config.roles;
        if roles.firewall {
            self.firewall()?;
        }
        self.status()?;
        let outside = std::mem::take(&mut self.specs);
        if roles.consortium {
            self.resolver();
            self.publisher();
        }
        let chain = self.world.chain.clone();
        if let Some(chain) = chain.as_ref().filter(|_| roles.hoster) {
            self.filter(chain)?;
        }
        if roles.hoster || roles.consortium {
            self.pinner()?;
        }
        if let Some(chain) = &chain {
            if roles.validator {
                self.validator(chain)?;
            }
            self.wallet(chain);
        }
        // The listener is made last, when all who hear it have their lines, and drained first.
        let heard = std::mem::take(&mut self.specs);
        if let Some(chain) = chain {
            self.listener(chain);
        }
        self.specs.extend(outside);
        self.specs.extend(heard);
        Ok(Assembled { specs: self.specs, servers: self.servers, actors: self.actors })
    }

    fn listener(&mut self, chain: Rc<dyn Chain>) {
        let Some(config) = self.config.chain.as_ref().map(crate::config::Chain::listener) else { return };
        let ports =
            chain_listener::Ports { chain, store: self.world.store.clone(), clock: self.world.clock.clone() };
        let facts = self.facts.clone();
        let make = move |guard| ChainListener::new(config.clone(), ports.clone(), facts.clone(), guard);
        self.specs.push(Spec::new("chain_listener", make, |_| {}));
    }

    fn filter(&mut self, chain: &Rc<dyn Chain>) -> Result<(), Fault> {
        let me = self.account("hoster")?.address();
        let world = &self.world;
        let config = bid_filter::Config {
            policy: self.config.hoster.policy.clone(),
            confirmations: self.config.chain.as_ref().map_or(0, |chain| chain.confirmations),
            block_time: self.config.chain.as_ref().map_or(0, crate::config::Chain::block_seconds),
            me,
        };
        let ports = bid_filter::Ports {
            chain: chain.clone(),
            store: world.store.clone(),
            clock: world.clock.clone(),
            disk: world.disk.clone(),
        };
        let outbox = bid_filter::Outbox { host: self.host.clone() };
        let make = move |guard| BidFilter::new(config.clone(), ports.clone(), outbox.clone(), guard);
        let placed = self.facts.placed.add();
        self.specs.push(Spec::new("bid_filter", make, move |addr| placed.point(addr)));
        Ok(())
    }

    /// Keeps what bids pay for, what peers list, and what the operator lists.
    fn pinner(&mut self) -> Result<(), Fault> {
        let config = self.keeping()?;
        let world = &self.world;
        let ports = pinner::Ports {
            ipfs: world.ipfs.clone(),
            store: world.store.clone(),
            clock: world.clock.clone(),
            disk: world.disk.clone(),
        };
        let outbox = pinner::Outbox { submit: self.orders.submit.clone() };
        let make = move |guard| Pinner::new(config.clone(), ports.clone(), outbox.clone(), guard);
        let (host, mirror, mirroring) = (self.host.clone(), self.mirror.clone(), self.mirroring.clone());
        let keep = self.orders.keep.clone();
        let (accepted, pinned) = (self.facts.accepted.add(), self.facts.pinned.add());
        let (voted, settled) = (self.facts.voted.add(), self.facts.settled.add());
        let (retracted, heads) = (self.facts.retracted.add(), self.facts.heads.add());
        self.specs.push(Spec::new("pinner", make, move |addr| {
            host.point(addr);
            mirror.point(addr);
            mirroring.point(addr);
            keep.point(addr);
            accepted.point(addr);
            pinned.point(addr);
            voted.point(addr);
            settled.point(addr);
            retracted.point(addr);
            heads.point(addr);
        }));
        Ok(())
    }

    fn keeping(&self) -> Result<pinner::Config, Fault> {
        let (roles, hoster, peers) = (self.config.roles, &self.config.hoster, &self.config.consortium);
        let hosting = match roles.hoster {
            true => Some(pinner::Hosting {
                me: self.account("hoster")?.address(),
                fetches: hoster.queue,
                idle_ms: milliseconds(hoster.idle_timeout),
            }),
            false => None,
        };
        // What either role let go may come back for as long as it was promised to be there.
        let kept = self.config.keeps_for;
        let grace = match (kept.hoster, kept.consortium) {
            (true, false) => hoster.grace,
            (false, _) => peers.grace,
            (true, true) => hoster.grace.max(peers.grace),
        };
        Ok(pinner::Config {
            hosting,
            mirroring: pinner::Bounds {
                at_once: peers.fetches,
                per_peer: peers.fetches.div_ceil(2),
                idle_ms: milliseconds(peers.idle_timeout),
                retry: RETRY,
                min_free_disk: hoster.policy.min_free_disk,
                max_storage: kept.hoster.then_some(hoster.policy.max_storage),
            },
            grace_ms: milliseconds(grace),
            compare_each: self.config.ipfs.compare_pins,
        })
    }

    fn validator(&mut self, chain: &Rc<dyn Chain>) -> Result<(), Fault> {
        let keys = self.account("validator")?.clone();
        let config = self.config.validator.auditor.clone();
        let (private, id) = (config.allow_private_endpoints, self.config.chain.as_ref().map(|c| c.chain_id));
        let mut own = vec![self.config.status.listen];
        own.extend(self.config.roles.firewall.then_some(self.config.firewall.listen));
        let ports = validator::Ports {
            chain: chain.clone(),
            ipfs: self.world.ipfs.clone(),
            probe: Rc::new(HttpProbe::new(Egress::new(private, id.unwrap_or_default(), own))),
            keys,
            store: self.world.store.clone(),
            clock: self.world.clock.clone(),
            disk: self.world.disk.clone(),
        };
        let outbox = validator::Outbox { submit: self.orders.submit.clone() };
        let make = move |guard| Validator::new(config.clone(), ports.clone(), outbox.clone(), guard);
        let (pinned, voted) = (self.facts.pinned.add(), self.facts.voted.add());
        let (settled, retracted) = (self.facts.settled.add(), self.facts.retracted.add());
        let heads = self.facts.heads.add();
        self.specs.push(Spec::new("validator", make, move |addr| {
            pinned.point(addr);
            voted.point(addr);
            settled.point(addr);
            retracted.point(addr);
            heads.point(addr);
        }));
        Ok(())
    }

    fn wallet(&mut self, chain: &Rc<dyn Chain>) {
        let (Some(keys), Some(config)) = (self.world.keys.clone(), &self.config.wallet) else { return };
        let config = config.signer.clone();
        let ports = wallet_signer::Ports {
            chain: chain.clone(),
            keys,
            store: self.world.store.clone(),
            clock: self.world.clock.clone(),
        };
        let make = move |guard| WalletSigner::new(config.clone(), ports.clone(), guard);
        let (submit, wallet) = (self.orders.submit.clone(), self.orders.wallet.clone());
        let (cancel, bump) = (self.orders.cancel.clone(), self.orders.bump.clone());
        let (voted, settled) = (self.facts.voted.add(), self.facts.settled.add());
        self.specs.push(Spec::new("wallet_signer", make, move |addr| {
            submit.point(addr);
            wallet.point(addr);
            cancel.point(addr);
            bump.point(addr);
            voted.point(addr);
            settled.point(addr);
        }));
    }

    fn account(&self, role: &str) -> Result<&Rc<dyn Keys>, Fault> {
        self.world.keys.as_ref().ok_or_else(|| {
            Fault::new(Code::Config, format!("the role {role} needs an account")).about("wallet.keystore")
        })
    }
}
