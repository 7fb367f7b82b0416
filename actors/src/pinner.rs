//! Carries admitted bids to their end: accepts, fetches, announces, keeps, settles, lets go.
//!
//! Owns: the stage of every hosted bid, references and pins.  Hears: [`Host`], and the listener's
//! [`BidAccepted`], [`BidPinned`], [`VoteRecorded`], [`Settled`], [`Retracted`], [`HeadMoved`].
//! Says: [`Submit`].  On restart: fetches are lost with the actor; [`bid::resume`] derives them, and every other
//! effect, from the stages in the store again. Blocks that came stay with the backend.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;

use crate::chain_listener::{BidAccepted, BidPinned, HeadMoved, Retracted, Settled, VoteRecorded};
use crate::domain::admission::price;
use crate::domain::backoff::Backoff;
use crate::domain::bid::{self, Case, Effect, Event, Stage, Step};
use crate::domain::market::{BidKey, MarketCall};
use crate::domain::units::{Address, ChainTime};
use crate::line::Line;
use crate::ports::clock::Clock;
use crate::ports::ipfs::Ipfs;
use crate::ports::store::{self, Batch, Order, Store};
use crate::records::decision::{self, Decision};
use crate::records::hosting::{HostedBid, Owner};
use crate::records::intent::{want, Intent, IntentKey, IntentState};
use crate::records::journal::{absorb, unread, Fact, Outcome};
use crate::records::meta::{chain_now, ChainStatus};
use crate::supervised;
use crate::supervisor::Guard;
use crate::wake::Sweeps;
use crate::wakes;
use crate::wallet_signer::Submit;

mod fetch;
mod pins;
#[cfg(test)]
mod tests;

/// Its name as a reader of the journals.
const READER: &str = "pinner";
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

/// How it hosts.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's account.
    pub me: Address,
    /// Bids between accept and announcement at once.
    pub fetches: usize,
    /// A fetch that brings nothing for so many milliseconds is broken off and tried again.
    pub idle_ms: u64,
    /// Content that nobody needs is kept for so many milliseconds more.
    pub grace_ms: u64,
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
}

/// To whom it speaks.
#[derive(Clone, Default)]
pub struct Outbox {
    /// Told that there is a transaction to send.
    pub submit: Line<Submit>,
}

/// The host of bids.
pub struct Pinner {
    config: Config,
    ports: Ports,
    outbox: Outbox,
    fetches: BTreeMap<BidKey, Fetch>,
    releasing: Option<Cid>,
    due: bool,
    _guard: Guard,
}

/// A fetch under way, or waiting for its next try.
#[derive(Default)]
struct Fetch {
    running: Option<SpawnHandle>,
    failures: u32,
}

impl Pinner {
    /// A pinner that takes up what the store says.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        Self { config, ports, outbox, fetches: BTreeMap::new(), releasing: None, due: false, _guard: guard }
    }

    /// All that the store asks for, in one look.
    fn look(&mut self, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let Some(status) = ChainStatus::read(&*store)? else { return Ok(()) };
        for fact in unread::<Fact>(&*store, READER, 256)? {
            let mut batch = Batch::new();
            absorb(&mut batch, READER, &fact);
            let event = match fact.retracted {
                true => Event::Retracted(fact.event.clone()),
                false => Event::Told(fact.event.clone(), fact.at.time),
            };
            self.decide(fact.bid(), &event, &status, batch, ctx)?;
        }
        for outcome in unread::<Outcome>(&*store, READER, 256)? {
            let mut batch = Batch::new();
            absorb(&mut batch, READER, &outcome);
            let key = |id| BidKey { market: outcome.market, id };
            let (bid, event) = match &outcome.call {
                MarketCall::Accept(id) => (Some(key(*id)), Event::AcceptEnded(outcome.result.clone())),
                MarketCall::Pinned(id) => (Some(key(*id)), Event::AnnounceEnded(outcome.result.clone())),
                _ => (None, Event::Tick),
            };
            self.decide(bid, &event, &status, batch, ctx)?;
        }
        self.attend(&status, ctx)
    }

    /// Gives every live bid its tick and its fetch, and free places to the best of those that wait.
    fn attend(&mut self, status: &ChainStatus, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let bids = store::list::<HostedBid>(&*store, &[], Order::Ascending, usize::MAX)?;
        for bid in bids.iter().filter(|bid| !bid.stage.is_over()) {
            self.decide(Some(bid.bid), &Event::Tick, status, Batch::new(), ctx)?;
        }
        let bids = store::list::<HostedBid>(&*store, &[], Order::Ascending, usize::MAX)?;
        for bid in bids.iter().filter(|bid| matches!(bid.stage, Stage::Fetching { .. })) {
            self.fetch(bid, ctx);
        }
        let busy = |bid: &&HostedBid| {
            matches!(bid.stage, Stage::Accepting { .. } | Stage::Fetching { .. } | Stage::Announcing { .. })
        };
        let free = self.config.fetches.saturating_sub(bids.iter().filter(busy).count());
        let mut waiting: Vec<_> =
            bids.iter().filter(|bid| matches!(bid.stage, Stage::Admitted { .. })).collect();
        waiting.sort_by_key(|bid| (std::cmp::Reverse(price(&bid.terms)), bid.bid));
        let now = chain_now(&*store)?;
        let ready = waiting
            .into_iter()
            .filter(|bid| matches!(bid.stage, Stage::Admitted { not_before, .. } if not_before <= now));
        for bid in ready.take(free) {
            self.decide(Some(bid.bid), &Event::Start, status, Batch::new(), ctx)?;
        }
        Ok(())
    }

    /// The one loop: decide, make durable, then do.
    fn decide(
        &mut self,
        bid: Option<BidKey>,
        event: &Event,
        status: &ChainStatus,
        mut batch: Batch,
        ctx: &mut Context<Self>,
    ) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let hosted = match bid {
            Some(bid) => store::read::<HostedBid>(&*store, &bid.to_bytes())?,
            None => None,
        };
        let mut effects = Vec::new();
        let mut after = None;
        if let Some(before) = hosted {
            let case =
                Case { bid: before.bid.id, terms: &before.terms, rules: &status.rules, me: self.config.me };
            let step = bid::step(&before.stage, event, case, chain_now(&*store)?);
            let hosted = self.write(before, &step, &mut batch)?;
            effects = step.effects;
            after = Some(hosted);
        }
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        if let Some(hosted) = after {
            self.perform(&hosted, &effects, ctx);
        }
        Ok(())
    }

    /// Puts a step into the batch: the stage, why, and every durable effect.
    fn write(&self, before: HostedBid, step: &Step, batch: &mut Batch) -> Result<HostedBid, store::Error> {
        let store = &*self.ports.store;
        let wall = self.ports.clock.wall();
        let mut hosted = before;
        if hosted.stage != step.next {
            let said = format!("{} → {}", hosted.stage.name(), step.next.name());
            tracing::info!(bid = hosted.bid.id.0, cid = %hosted.cid, said, "bid moved");
            let subject = hosted.bid.to_string();
            batch.put(&Decision {
                seq: decision::next_seq(store, &subject)?,
                subject,
                at: wall,
                by: READER.to_owned(),
                said,
                details: serde_json::json!({ "stage": step.next }),
            });
            hosted.stage = step.next.clone();
            hosted.since = wall;
            batch.put(&hosted);
        }
        for effect in &step.effects {
            self.write_effect(&hosted, effect, batch)?;
        }
        Ok(hosted)
    }

    fn write_effect(
        &self,
        hosted: &HostedBid,
        effect: &Effect,
        batch: &mut Batch,
    ) -> Result<(), store::Error> {
        let (bid, store) = (hosted.bid, &*self.ports.store);
        let intent = |what, call, attempt, deadline: Option<ChainTime>| Intent {
            key: IntentKey::of_bid(what, bid, attempt),
            market: bid.market,
            call,
            deadline,
            created: self.ports.clock.wall(),
            state: IntentState::Queued,
        };
        match effect {
            Effect::Accept { attempt } => {
                want(store, batch, intent("accept", MarketCall::Accept(bid.id), *attempt, None))
            }
            Effect::Announce { attempt, deadline } => {
                want(store, batch, intent("pinned", MarketCall::Pinned(bid.id), *attempt, Some(*deadline)))
            }
            Effect::Settle => want(store, batch, intent("settle", MarketCall::Settle(bid.id), 0, None)),
            Effect::Keep => pins::keep(store, batch, hosted.cid, Owner::Bid(bid)),
            Effect::LetGo => pins::let_go(store, batch, hosted.cid, Owner::Bid(bid), self.ports.clock.wall()),
            Effect::Fetch | Effect::StopFetch => Ok(()),
        }
    }

    /// What is not durable: fetches, and the hint to the wallet.
    fn perform(&mut self, hosted: &HostedBid, effects: &[Effect], ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Accept { attempt } => self.hint("accept", hosted.bid, *attempt),
                Effect::Announce { attempt, .. } => self.hint("pinned", hosted.bid, *attempt),
                Effect::Settle => self.hint("settle", hosted.bid, 0),
                Effect::Fetch => self.fetch(hosted, ctx),
                Effect::StopFetch => {
                    if let Some(handle) = self.fetches.remove(&hosted.bid).and_then(|fetch| fetch.running) {
                        ctx.cancel_future(handle);
                    }
                }
                Effect::Keep | Effect::LetGo => {}
            }
        }
    }

    fn hint(&self, what: &str, bid: BidKey, attempt: u32) {
        self.outbox.submit.tell(Submit { key: IntentKey::of_bid(what, bid, attempt) });
    }

    /// Takes every unfinished bid up where the store says that it stands.
    fn resume(&mut self, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        for hosted in store::list::<HostedBid>(&*store, &[], Order::Ascending, usize::MAX)? {
            let effects = bid::resume(&hosted.stage);
            let mut batch = Batch::new();
            for effect in &effects {
                self.write_effect(&hosted, effect, &mut batch)?;
            }
            if !batch.is_empty() {
                store.commit(batch)?;
            }
            self.perform(&hosted, &effects, ctx);
        }
        Ok(())
    }
}

impl Actor for Pinner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.resume(ctx) {
            // The sweep tries again: it fetches whatever stands at fetching, and intents are in the store.
            tracing::error!(%error, "hosted bids could not be taken up");
        }
        self.wake(ctx);
        ctx.run_interval(SWEEP, |this, ctx| this.wake(ctx));
    }
}

supervised!(Pinner);
wakes!(Pinner: Host, Mirror, BidAccepted, BidPinned, VoteRecorded, Settled, Retracted, HeadMoved);

impl Sweeps for Pinner {
    fn due(&mut self) -> &mut bool {
        &mut self.due
    }

    fn sweep(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.look(ctx) {
            tracing::error!(%error, "hosted bids could not be attended to; trying again");
        }
        self.release(ctx);
    }
}
