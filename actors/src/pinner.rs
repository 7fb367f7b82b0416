//! Keeps content: carries admitted bids to their end, and brings what peers and the operator list.
//!
//! Owns: the stage of every hosted bid, references of bids and peers, pins.  Hears: [`Host`], [`Mirror`],
//! [`KeepOwn`], [`Mirroring`], and the listener's [`BidAccepted`], [`BidPinned`], [`VoteRecorded`], [`Settled`],
//! [`Retracted`], [`HeadMoved`].  Says: [`Submit`].  On restart: fetches are lost with the actor; [`bid::resume`]
//! derives those of bids, and every other effect, from the stages in the store, and one pass over references and
//! pins finds what is still to be brought for peers. Blocks that came stay with the backend.
//!
//! Now and then, and at every start, the backend's pins are compared with the store's: what it lost is brought again.
//!
//! What a peer lists touches that peer's references alone, and only a list that was read as a whole is followed: a
//! peer that does not answer loses nothing. A peer takes no more roots and bytes than it may, and nothing comes that
//! would leave the disk less than its floor.
//!
//! [`bid::resume`]: crate::domain::bid::resume

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};

use crate::chain_listener::{BidAccepted, BidPinned, HeadMoved, Retracted, Settled, VoteRecorded};
use crate::domain::backoff::Backoff;
use crate::domain::market::BidKey;
use crate::domain::units::{Address, ByteSize};
use crate::line::Line;
use crate::ports::clock::Clock;
use crate::ports::disk::Disk;
use crate::ports::ipfs::Ipfs;
use crate::ports::store::Store;
use crate::records::hosting::Owner;
use crate::supervised;
use crate::supervisor::Guard;
use crate::wake::Sweeps;
use crate::wakes;
use crate::wallet_signer::Submit;

mod bring;
mod fetch;
mod hosting;
mod load;
mod mirror;
mod pins;
mod plan;
mod queue;
#[cfg(test)]
mod tests;
mod upkeep;

/// Its name as a reader of the journals.
pub(crate) const READER: &str = "pinner";
/// Between two looks at the store when nobody tells.
const SWEEP: Duration = Duration::from_secs(5);
/// Waits between two tries to fetch the same content.
const REFETCH: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };

/// A bid was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Host {
    /// Which bid.
    pub bid: BidKey,
}

/// The set of a peer of the consortium changed: its references are to be made equal to what it lists.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Mirror {
    /// Which peer.
    pub peer: String,
}

/// The operator's own references changed: they stand in the store as those of [`Owner::Manual`].
///
/// [`Owner::Manual`]: crate::records::hosting::Owner::Manual
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct KeepOwn;

/// Asks how much of a peer's set is here, or of everybody's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Message)]
#[rtype(result = "Vec<Mirrored>")]
pub struct Mirroring {
    /// Of whom; `None`: of all.
    pub peer: Option<String>,
}

/// How much of a peer's set is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrored {
    /// Whose.
    pub peer: String,
    /// Roots that are kept for it, here or not yet: the sum of the next four.
    pub roots: u64,
    /// Roots that are here.
    pub pinned: u64,
    /// Roots that were not tried yet.
    pub pending: u64,
    /// Roots that were tried in vain at least once; they are tried again.
    pub failing: u64,
    /// Roots that are larger than what its bytes, or the disk, leave for them.
    pub too_large: u64,
    /// Roots that it lists beyond its bound; nothing is done about them.
    pub over_limit: u64,
    /// Bytes of those that are here; what two peers need counts for both.
    pub bytes: u64,
    /// The generation of its set whose references stand.
    pub generation_kept: u64,
}

/// How it keeps.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it hosts bids, if it does.
    pub hosting: Option<Hosting>,
    /// How it brings what peers and the operator list.
    pub mirroring: Bounds,
    /// Content that nobody needs is kept for so many milliseconds more.
    pub grace_ms: u64,
    /// Between two looks whether the backend still has every pin, the first of them at the start.
    pub compare_each: Duration,
}

/// How it hosts.
#[derive(Debug, Clone)]
pub struct Hosting {
    /// This node's account.
    pub me: Address,
    /// Bids between accept and announcement at once.
    pub fetches: usize,
    /// A fetch that brings nothing for so many milliseconds is broken off and tried again.
    pub idle_ms: u64,
}

/// Bounds of what is brought for peers and for the operator. What one peer may take stands with the peer.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Roots that are brought at once.
    pub at_once: usize,
    /// Of these, for one peer.
    pub per_peer: usize,
    /// A root that brings nothing for so many milliseconds is broken off and makes room for others.
    pub idle_ms: u64,
    /// Waits between two tries to bring a root.
    pub retry: Backoff,
    /// Bytes that must stay free on the disk.
    pub min_free_disk: ByteSize,
    /// Bytes that all pinned content may take, bids' included, where the operator says so.
    pub max_storage: Option<ByteSize>,
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The IPFS backend.
    pub ipfs: Rc<dyn Ipfs>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// The disk below the backend.
    pub disk: Rc<dyn Disk>,
}

/// To whom it speaks.
#[derive(Clone, Default)]
pub struct Outbox {
    /// Told that there is a transaction to send.
    pub submit: Line<Submit>,
}

/// The keeper of roots.
pub struct Pinner {
    config: Config,
    ports: Ports,
    outbox: Outbox,
    fetches: BTreeMap<BidKey, Fetch>,
    mirror: mirror::Mirror,
    releasing: BTreeSet<queue::Root>,
    comparing: upkeep::Comparing,
    due: bool,
    _guard: Guard,
}

/// A bid's fetch under way, or waiting for its next try.
#[derive(Default)]
struct Fetch {
    running: Option<SpawnHandle>,
    /// The root, while it is being pinned.
    root: Option<queue::Root>,
    failures: u32,
}

impl Pinner {
    /// A pinner that takes up what the store says.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        let mirror = mirror::Mirror::new(&config.mirroring);
        let (fetches, releasing) = (BTreeMap::new(), BTreeSet::new());
        let comparing = upkeep::Comparing::default();
        Self { config, ports, outbox, fetches, mirror, releasing, comparing, due: false, _guard: guard }
    }
}

impl Actor for Pinner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.resume(ctx) {
            // The sweep tries again: it fetches whatever stands at fetching, and intents are in the store.
            tracing::error!(%error, "hosted bids could not be taken up");
        }
        if let Some(told) = self.mirror.told.take() {
            ctx.add_stream(told);
        }
        self.wake(ctx);
        ctx.run_interval(SWEEP, |this, ctx| this.wake(ctx));
        self.compare(ctx);
        ctx.run_interval(self.config.compare_each, |this, ctx| this.compare(ctx));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // Otherwise the next one finds them pinned, and measures each.
        self.write_came_or_tell();
    }
}

supervised!(Pinner);
wakes!(Pinner: Host, BidAccepted, BidPinned, VoteRecorded, Settled, Retracted, HeadMoved);

impl Handler<Mirror> for Pinner {
    type Result = ();
    fn handle(&mut self, Mirror { peer }: Mirror, ctx: &mut Self::Context) {
        self.mirror.behind.insert(Rc::new(Owner::Peer(peer)));
        self.wake(ctx);
    }
}

impl Handler<KeepOwn> for Pinner {
    type Result = ();
    fn handle(&mut self, _: KeepOwn, ctx: &mut Self::Context) {
        self.mirror.own_due = true;
        self.wake(ctx);
    }
}

impl Handler<Mirroring> for Pinner {
    type Result = Vec<Mirrored>;
    fn handle(&mut self, Mirroring { peer }: Mirroring, _: &mut Self::Context) -> Vec<Mirrored> {
        // What is told to be here is durable.
        self.write_came_or_tell();
        self.mirrored(peer.as_deref())
    }
}

impl Sweeps for Pinner {
    fn due(&mut self) -> &mut bool {
        &mut self.due
    }

    fn sweep(&mut self, ctx: &mut Self::Context) {
        self.mirror.open = None;
        if let Err(error) = self.look(ctx) {
            tracing::error!(%error, "hosted bids could not be attended to; trying again");
        }
        if let Err(error) = self.look_at_owners(ctx) {
            tracing::error!(%error, "what peers list could not be attended to; trying again");
        }
        self.release(ctx);
        self.bring_held(ctx);
        self.fill();
    }
}
