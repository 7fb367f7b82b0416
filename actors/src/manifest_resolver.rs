//! Follows what the peers of the consortium list, each by its own name.
//!
//! Owns: how it stands with each peer ([`Standing`](crate::records::consortium::Standing)), what each lists
//! ([`Listed`](crate::records::consortium::Listed)), and the peers that the configuration names.
//! Hears: [`Resolve`], [`Accept`], [`PeersChanged`].  Says: [`Mirror`].  On restart: rounds under way are lost and
//! begin anew; each was to be one batch. Who was not told of a change is told again.
//!
//! A round with a peer finds its record, reads what changed (`round`), and then decides and writes in one go
//! (`book`). Whatever fails leaves the last good set as it is (I9).

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures::channel::oneshot;
use futures::future::join_all;

use crate::acting_as;
use crate::domain::backoff::Backoff;
use crate::line::Line;
use crate::pinner::Mirror;
use crate::ports::clock::Clock;
use crate::ports::ipfs::Ipfs;
use crate::ports::names::Names;
use crate::ports::randomness::Randomness;
use crate::ports::store::{self, Store};
use crate::records::consortium::Peer;
use crate::supervised;
use crate::supervisor::Guard;
use crate::wake::Sweeps;
use crate::wakes;
use crate::work::Works;

mod book;
mod round;
#[cfg(test)]
mod tests;

use book::Book;
use round::Round;

/// Between two looks at the store when nobody tells.
const SWEEP: Duration = Duration::from_secs(30);
/// From the start to the first rounds, so that an order that comes with the start is one round and not a second.
const SETTLE_IN: Duration = Duration::from_secs(1);
/// The wait after a first failure.
const RETRY: Duration = Duration::from_secs(30);

/// Has a round with one peer, or with all; answered when it is over. What it brought stands in the store.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Resolve {
    /// With whom; `None` for everybody. Nobody by that name: answered at once.
    pub peer: Option<String>,
}

/// The operator takes over what is held of a peer. After a rollback was accepted, a round follows before the answer; the
/// set that it brings is held to the same rules as any other, so that it may wait for a second word.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct Accept {
    /// Whose.
    pub peer: String,
}

/// Peers were added to the store or removed from it. A hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PeersChanged;

/// Why the operator's word changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no peer of that name.
    #[error("there is no peer {0}")]
    Unknown(String),
    /// Nothing of that peer is held.
    #[error("nothing of {0} waits for the operator's word")]
    NothingHeld(String),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// How it follows.
#[derive(Debug, Clone)]
pub struct Config {
    /// The peers that the configuration names.
    pub peers: Vec<Peer>,
    /// Between two rounds with a peer.
    pub interval: Duration,
    /// A round comes so much earlier or later, at random.
    pub jitter: Duration,
    /// Rounds at once. Each holds one peer's set in memory at most.
    pub at_once: usize,
    /// A name that is not resolved by then is not resolved.
    pub resolve_within: Duration,
    /// A round that is not over by then has failed.
    pub round_within: Duration,
}

impl Config {
    /// Follows these peers at such an interval, with the rest as it usually is.
    pub fn new(peers: Vec<Peer>, interval: Duration) -> Self {
        Self {
            peers,
            interval,
            jitter: interval / 10,
            at_once: 4,
            resolve_within: Duration::from_secs(60),
            round_within: Duration::from_secs(600),
        }
    }
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The name system.
    pub names: Rc<dyn Names>,
    /// The IPFS backend.
    pub ipfs: Rc<dyn Ipfs>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// Where jitter comes from.
    pub randomness: Rc<dyn Randomness>,
}

/// To whom it speaks.
#[derive(Clone, Default)]
pub struct Outbox {
    /// Told that a peer's set changed.
    pub mirror: Line<Mirror>,
}

/// The follower of peers.
pub struct ManifestResolver {
    config: Rc<Config>,
    ports: Ports,
    outbox: Outbox,
    book: Book,
    turns: BTreeMap<String, Turn>,
    queue: VecDeque<String>,
    /// Whether the store's peers are those of the configuration.
    took_over: bool,
    due: bool,
    _guard: Guard,
}

/// A peer's place in the order of rounds.
#[derive(Default)]
struct Turn {
    /// The next round, if it only waits for its time.
    timer: Option<SpawnHandle>,
    queued: bool,
    running: Option<SpawnHandle>,
    /// Who is answered when the running round is over.
    answered: Vec<oneshot::Sender<()>>,
    /// Who is answered after the next one: what they know of may have changed since the running one began.
    waiting: Vec<oneshot::Sender<()>>,
}

impl ManifestResolver {
    /// A resolver that goes on with what the store says.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        let book = Book { store: Rc::clone(&ports.store), clock: Rc::clone(&ports.clock) };
        let (config, turns, queue) = (Rc::new(config), BTreeMap::new(), VecDeque::new());
        Self { config, ports, outbox, book, turns, queue, took_over: false, due: false, _guard: guard }
    }

    /// Gives every peer its turns, and lets go of the sets of those who are peers no more.
    fn see_to_peers(&mut self, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        for name in self.book.forget_strangers()? {
            // Who is a peer still publishes under another name now.
            self.enqueue(&name, ctx);
            self.outbox.mirror.tell(Mirror { peer: name });
        }
        let peers = self.book.peers()?;
        let gone: Vec<String> =
            self.turns.keys().filter(|name| !peers.contains_key(*name)).cloned().collect();
        for turn in gone.iter().filter_map(|name| self.turns.remove(name)) {
            [turn.timer, turn.running].into_iter().flatten().for_each(|task| {
                ctx.cancel_future(task);
            });
        }
        self.queue.retain(|name| peers.contains_key(name));
        for name in peers.into_keys().filter(|name| !self.turns.contains_key(name)).collect::<Vec<_>>() {
            self.turns.insert(name.clone(), Turn::default());
            self.later(&name, SETTLE_IN, ctx);
        }
        self.start_rounds(ctx);
        Ok(())
    }

    fn later(&mut self, name: &str, wait: Duration, ctx: &mut Context<Self>) {
        let Some(turn) = self.turns.get_mut(name) else { return };
        let name = name.to_owned();
        turn.timer = Some(ctx.run_later(wait, move |this, ctx| this.enqueue(&name, ctx)));
    }

    fn enqueue(&mut self, name: &str, ctx: &mut Context<Self>) {
        let Some(turn) = self.turns.get_mut(name) else { return };
        if let Some(timer) = turn.timer.take() {
            ctx.cancel_future(timer);
        }
        if turn.running.is_none() && !std::mem::replace(&mut turn.queued, true) {
            self.queue.push_back(name.to_owned());
        }
        self.start_rounds(ctx);
    }

    fn start_rounds(&mut self, ctx: &mut Context<Self>) {
        while self.turns.values().filter(|turn| turn.running.is_some()).count() < self.config.at_once.max(1) {
            let Some(name) = self.queue.pop_front() else { return };
            if let Err(error) = self.start_round(&name, ctx) {
                tracing::error!(%error, peer = name, "a peer could not be read");
                self.end_turn(&name, RETRY, ctx);
            }
        }
    }

    fn start_round(&mut self, name: &str, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        let Some(turn) = self.turns.get_mut(name) else { return Ok(()) };
        turn.queued = false;
        turn.answered.append(&mut turn.waiting);
        let peer = self.book.peers()?.remove(name);
        // Without a peer there is nothing to do: the next look at the store takes its turn away.
        let Some(peer) = peer else { return Ok(()) };
        let (config, ports) = (Rc::clone(&self.config), self.ports.clone());
        let round = Round { config, ports, peer: peer.clone() };
        let span = acting_as!("manifest_resolver", peer = name);
        let work = async move { round.run().await };
        turn.running = Some(ctx.work(span, work, move |outcome, this, ctx| {
            let wait = this.settle(&peer, outcome);
            this.end_turn(&peer.name, wait, ctx);
        }));
        Ok(())
    }

    /// Writes what a round brought, tells of it, and says when the next one is due.
    fn settle(&self, peer: &Peer, outcome: Result<round::Outcome, round::Trouble>) -> Duration {
        let settled = outcome.and_then(|outcome| self.book.settle(peer, outcome));
        let failures = match settled {
            Ok(changed) => {
                if changed {
                    self.outbox.mirror.tell(Mirror { peer: peer.name.clone() });
                }
                0
            }
            Err(trouble) => self.book.fail(peer, &trouble).unwrap_or_else(|error| {
                tracing::error!(%error, peer = peer.name, "a failed round could not be noted");
                1
            }),
        };
        let most = self.config.interval;
        let wait = match failures {
            0 => most,
            times => Backoff { first: RETRY.min(most), most }.after(times),
        };
        self.spread(wait)
    }

    /// The wait, a little earlier or later.
    fn spread(&self, wait: Duration) -> Duration {
        let jitter = self.config.jitter.min(wait / 2);
        let span = u64::try_from(jitter.as_millis() * 2).unwrap_or(u64::MAX);
        wait - jitter + Duration::from_millis(self.ports.randomness.below(span.saturating_add(1)))
    }

    fn end_turn(&mut self, name: &str, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(turn) = self.turns.get_mut(name) {
            turn.running = None;
            for asker in turn.answered.drain(..) {
                // Whoever asked may be gone.
                let _gone = asker.send(());
            }
            match turn.waiting.is_empty() {
                true => self.later(name, wait, ctx),
                false => return self.enqueue(name, ctx),
            }
        }
        self.start_rounds(ctx);
    }

    /// Has a round with a peer soon; told when it is over, or when there will be none.
    fn ask_for_round(&mut self, name: &str, ctx: &mut Context<Self>) -> oneshot::Receiver<()> {
        let (over, told) = oneshot::channel();
        if let Some(turn) = self.turns.get_mut(name) {
            turn.waiting.push(over);
            self.enqueue(name, ctx);
        }
        told
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let seen = match self.took_over {
            true => Ok(()),
            false => self.book.take_over(&self.config.peers),
        };
        self.took_over = seen.is_ok();
        if let Err(error) = seen.and_then(|()| self.see_to_peers(ctx)) {
            tracing::error!(%error, "peers could not be read; trying again");
        }
    }
}

impl Actor for ManifestResolver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        match self.book.untold() {
            Ok(peers) => peers.into_iter().for_each(|peer| {
                self.outbox.mirror.tell(Mirror { peer });
            }),
            Err(error) => tracing::error!(%error, "changes could not be told again"),
        }
        ctx.run_interval(SWEEP, |this, ctx| this.wake(ctx));
    }
}

supervised!(ManifestResolver);
wakes!(ManifestResolver: PeersChanged);

impl Sweeps for ManifestResolver {
    fn due(&mut self) -> &mut bool {
        &mut self.due
    }

    fn sweep(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<Resolve> for ManifestResolver {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, order: Resolve, ctx: &mut Self::Context) -> Self::Result {
        // Whoever was added just now counts.
        self.look(ctx);
        let names: Vec<String> = match order.peer {
            Some(name) => vec![name],
            None => self.turns.keys().cloned().collect(),
        };
        let rounds: Vec<_> = names.iter().map(|name| self.ask_for_round(name, ctx)).collect();
        Box::pin(async move {
            join_all(rounds).await;
        })
    }
}

impl Handler<Accept> for ManifestResolver {
    type Result = ResponseFuture<Result<(), Refusal>>;

    fn handle(&mut self, Accept { peer }: Accept, ctx: &mut Self::Context) -> Self::Result {
        self.look(ctx);
        let round = match self.book.accept(&peer) {
            Ok(book::Accepted::Removal) => {
                self.outbox.mirror.tell(Mirror { peer });
                None
            }
            Ok(book::Accepted::Rollback) => Some(self.ask_for_round(&peer, ctx)),
            Err(refusal) => return Box::pin(std::future::ready(Err(refusal))),
        };
        Box::pin(async move {
            if let Some(round) = round {
                // A round that never comes is a peer that was removed meanwhile.
                let _gone = round.await;
            }
            Ok(())
        })
    }
}
