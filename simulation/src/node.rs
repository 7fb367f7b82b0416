//! One node: what outlasts its process (store, IPFS node, disk), and a life of its process, the production
//! actors under the production supervisor, put together on it as often as it is killed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;
use scatter::adapters::sqlite::Sqlite;
use scatter::http::status::Query;
use scatter_actors::domain::units::{Address, ByteSize};
use scatter_actors::line::Line;
use scatter_actors::records::consortium::Peer;
use scatter_actors::supervisor::{Shutdown, Supervisor};
use scatter_actors::testkit::chain::FakeChain;
use scatter_actors::testkit::ipfs::MemoryNet;
use scatter_actors::testkit::names::MemoryNames;
use scatter_actors::testkit::{Fuse, MemoryDisk, MemoryIpfs};
use scatter_actors::{firewall, wallet_signer};

use crate::bomb::Bomb;
use crate::clock::RuntimeClock;
use crate::history::History;
use crate::mortal::Commits;
use crate::street::Street;
use birth::Birth;

mod birth;

/// Blocks above an event before it is acted on.
pub const CONFIRMATIONS: u64 = 3;
/// What a hoster may spend in a day, in wei.
pub const SPEND_CAP: u128 = 20_000_000_000_000_000;
/// Bytes that a hoster gives: room for three fetches, each of which may take a MiB more than it says.
pub const QUOTA: ByteSize = ByteSize(7 << 19);
/// Between two looks whether the backend still has every pin.
pub const COMPARE_EACH: Duration = Duration::from_secs(60);
/// Bytes that stay free on its disk.
pub const MIN_FREE: ByteSize = ByteSize(1 << 30);
/// A head that has not changed for so many milliseconds is not fresh.
pub const MAX_HEAD_AGE_MS: u64 = 180_000;
/// Wei a GiB and month that a hoster wants.
pub const FLOOR: u128 = 1_000_000_000;

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
    /// How often its store was written to.
    pub commits: Rc<Commits>,
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
            commits: Rc::default(),
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
