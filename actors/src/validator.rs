//! Audits what others host, and votes on it.
//!
//! Owns: every audit, its slots and its evidence; the chain of audit secrets is its to use.
//! Hears: the listener's hints, [`Audits`].  Says: [`Submit`].
//! On restart: audits go on from their stages. A slot that was being run is run again as long as its time
//! lasts; a vote is in the outbox or it is not (I7).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use crate::acting_as;
use crate::chain_listener::{BidPinned, HeadMoved, Retracted, Settled, VoteRecorded};
use crate::domain::audit::life::{self, Case, Effect, Event, Now, Stage};
use crate::domain::audit::slot::Slot;
use crate::domain::audit::Policy;
use crate::domain::market::{BidKey, MarketCall, MarketRules};
use crate::domain::units::ChainTime;
use crate::line::Line;
use crate::ports::chain::Chain;
use crate::ports::clock::Clock;
use crate::ports::disk::Disk;
use crate::ports::hoster_probe::HosterProbe;
use crate::ports::ipfs::Ipfs;
use crate::ports::keys::Keys;
use crate::ports::store::{self, Batch, Store};
use crate::records::audit::{self, Audit, AuditSlot};
use crate::records::decision::{self, Decision};
use crate::records::following::rules_of;
use crate::records::intent::{want, Intent, IntentKey, IntentState};
use crate::records::journal::{absorb, unread, Fact, Outcome};
use crate::records::meta::{chain_now, ChainStatus};
use crate::supervised;
use crate::supervisor::Guard;
use crate::wake::Sweeps;
use crate::wakes;
use crate::wallet_signer::Submit;
use crate::work::Works;

mod ask;
mod attempt;
mod challenge;
mod config;
mod hear;
mod qualify;
mod testify;
#[cfg(test)]
mod tests;
mod view;

pub use config::Config;
pub use view::{views, AuditView, SlotView};

/// Its name as a reader of the journals.
const READER: &str = "validator";
/// Between two looks into the store when nobody tells.
const SWEEP: Duration = Duration::from_secs(5);
/// Journal entries of one look.
const ENTRIES: usize = 64;

/// Asks for the audits of hosted bids, newest bid first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Result<Vec<AuditView>, store::Error>")]
pub struct Audits {
    /// At most so many.
    pub limit: usize,
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The chain.
    pub chain: Rc<dyn Chain>,
    /// IPFS, for registration files only.
    pub ipfs: Rc<dyn Ipfs>,
    /// The way to hosters.
    pub probe: Rc<dyn HosterProbe>,
    /// The account's key, for evidence.
    pub keys: Rc<dyn Keys>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// The disk, for evidence.
    pub disk: Rc<dyn Disk>,
}

/// To whom it speaks.
#[derive(Clone, Default)]
pub struct Outbox {
    /// Told of votes and settlements that are wanted.
    pub submit: Line<Submit>,
}

/// Something that happened to an audit, and the slots that it changed.
struct News {
    event: Event,
    slots: Vec<Slot>,
}

impl From<Event> for News {
    fn from(event: Event) -> Self {
        Self { event, slots: Vec::new() }
    }
}

/// The auditor of one account.
pub struct Validator {
    config: Rc<Config>,
    policy: Policy,
    ports: Ports,
    outbox: Outbox,
    /// Audits that time may move, and from when on.
    open: BTreeMap<BidKey, ChainTime>,
    /// Audits that wait for the world.
    busy: BTreeSet<BidKey>,
    due: bool,
    _guard: Guard,
}

impl Validator {
    /// A validator that goes on where the store says.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        let policy = config.policy();
        Self {
            config: Rc::new(config),
            policy,
            ports,
            outbox,
            open: BTreeMap::new(),
            busy: BTreeSet::new(),
            due: false,
            _guard: guard,
        }
    }
}

impl Actor for Validator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.resume() {
            tracing::error!(%error, "the audits could not be read");
            return ctx.stop();
        }
        self.wake(ctx);
        ctx.run_interval(SWEEP, |this, ctx| this.wake(ctx));
    }
}

supervised!(Validator);
wakes!(Validator: BidPinned, VoteRecorded, Settled, Retracted, HeadMoved);

impl Handler<Audits> for Validator {
    type Result = MessageResult<Audits>;

    fn handle(&mut self, ask: Audits, _: &mut Self::Context) -> Self::Result {
        MessageResult(views(&*self.ports.store, &self.policy, ask.limit))
    }
}

impl Sweeps for Validator {
    fn due(&mut self) -> &mut bool {
        &mut self.due
    }

    fn sweep(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.look(ctx) {
            tracing::error!(%error, "a sweep broke off; the next one goes on");
        }
    }
}

impl Validator {
    /// Finds the open audits, and wants again what stages want.
    fn resume(&mut self) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        for known in audit::all(&*store, usize::MAX)? {
            let Some(rules) = rules_of(&*store, known.bid.market)? else { return Ok(()) };
            let mut batch = Batch::new();
            for effect in life::resume(&known.stage, self.case(&known, &[], &rules)) {
                self.write(&known, &effect, &mut batch)?;
            }
            if !batch.is_empty() {
                store.commit(batch)?;
            }
            self.remember(&known);
        }
        Ok(())
    }

    fn remember(&mut self, known: &Audit) {
        match known.stage.wakes_at() {
            Some(at) => self.open.insert(known.bid, at),
            None => self.open.remove(&known.bid),
        };
    }

    /// Reads the journals, then lets time pass for those audits that it may move.
    fn look(&mut self, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let Some(status) = ChainStatus::read(&*store)? else { return Ok(()) };
        let facts = unread::<Fact>(&*store, READER, ENTRIES)?;
        for fact in &facts {
            let mut batch = Batch::new();
            absorb(&mut batch, READER, fact);
            self.hear(fact, &status, batch, ctx)?;
        }
        let outcomes = unread::<Outcome>(&*store, READER, ENTRIES)?;
        for outcome in &outcomes {
            let mut batch = Batch::new();
            absorb(&mut batch, READER, outcome);
            self.learn(outcome, &status, batch, ctx)?;
        }
        if facts.len() == ENTRIES || outcomes.len() == ENTRIES {
            self.wake(ctx);
        }
        if status.halted.is_some() {
            return Ok(());
        }
        let ready = |(bid, at): (&BidKey, &ChainTime)| (*at <= status.head_time).then_some(*bid);
        let ready: Vec<BidKey> = self.open.iter().filter_map(ready).collect();
        for bid in ready {
            if self.busy.len() >= self.config.at_once {
                break;
            }
            if self.busy.contains(&bid) {
                continue;
            }
            if let Some(known) = audit::of(&*store, bid)? {
                self.decide(known, Event::Tick.into(), &status, Batch::new(), ctx)?;
            }
        }
        Ok(())
    }

    fn case<'a>(&'a self, known: &'a Audit, slots: &'a [Slot], rules: &'a MarketRules) -> Case<'a> {
        Case {
            bid: known.bid,
            me: self.ports.keys.address(),
            rules,
            policy: &self.policy,
            plan: known.plan,
            slots,
            elsewhere: &known.elsewhere,
            jitter: self.jitter(known.bid),
        }
    }

    /// This node's share of the jitter: fixed by bid and account, spread over both.
    fn jitter(&self, bid: BidKey) -> u64 {
        let me = self.ports.keys.address();
        let hash = crate::domain::audit::keccak(&[b"scatter/jitter/1", &bid.to_bytes(), &me.0]);
        let mut word = [0; 8];
        word.copy_from_slice(&hash.0[..8]);
        u64::from_be_bytes(word) % self.config.jitter.max(1)
    }

    /// The one way in which an audit changes: decide, make durable, then act.
    fn decide(
        &mut self,
        mut known: Audit,
        news: News,
        status: &ChainStatus,
        mut batch: Batch,
        ctx: &mut Context<Self>,
    ) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let Some(rules) = rules_of(&*store, known.bid.market)? else { return Ok(()) };
        let mut slots = audit::slots(&*store, known.bid)?;
        for slot in news.slots {
            batch.put(&AuditSlot { bid: known.bid, slot: slot.clone() });
            slots.retain(|old| old.slot != slot.slot);
            slots.push(slot);
        }
        let event = &news.event;
        let now = Now { head: status.head_time, deep: chain_now(&*store)? };
        let step = life::step(&known.stage, event, self.case(&known, &slots, &rules), now);
        for effect in &step.effects {
            if let Effect::Close { slot, outcome } = effect {
                if let Some(closed) = slots.iter_mut().find(|known| known.slot == *slot) {
                    closed.outcome = Some(*outcome);
                    batch.put(&AuditSlot { bid: known.bid, slot: closed.clone() });
                }
            }
            self.write(&known, effect, &mut batch)?;
        }
        if step.next != known.stage {
            self.trace(&known, &step.next, &step.effects, &mut batch)?;
            known.stage = step.next;
            known.since = self.ports.clock.wall();
        }
        // An event that moved nothing may still have brought something along.
        if !batch.is_empty() || *event != Event::Tick {
            batch.put(&known);
            store.commit(batch)?;
        }
        self.remember(&known);
        for effect in step.effects {
            self.perform(&known, effect, status, ctx);
        }
        Ok(())
    }

    /// The durable part of an effect.
    fn write(&self, known: &Audit, effect: &Effect, batch: &mut Batch) -> Result<(), store::Error> {
        let (key, call, deadline) = match effect {
            Effect::Vote { valid, evidence, deadline } => {
                let call = MarketCall::Vote { bid: known.bid.id, valid: *valid, evidence: *evidence };
                (IntentKey::of_bid("vote", known.bid, 0), call, *deadline)
            }
            Effect::Settle { attempt } => {
                let key = IntentKey::of_bid("settle", known.bid, *attempt);
                (key, MarketCall::Settle(known.bid.id), None)
            }
            _ => return Ok(()),
        };
        let intent = Intent {
            key,
            market: known.bid.market,
            call,
            deadline,
            created: self.ports.clock.wall(),
            state: IntentState::Queued,
        };
        want(&*self.ports.store, batch, intent)
    }

    fn trace(
        &self,
        known: &Audit,
        next: &Stage,
        effects: &[Effect],
        batch: &mut Batch,
    ) -> Result<(), store::Error> {
        let subject = known.bid.to_string();
        let closed = effects.iter().find_map(|effect| match effect {
            Effect::Close { slot, outcome } => Some(format!("slot {slot} ended as {outcome:?}: ")),
            _ => None,
        });
        let said = format!("{}{} → {}", closed.unwrap_or_default(), known.stage.name(), next.name());
        tracing::info!(bid = %known.bid, from = known.stage.name(), to = next.name(), "an audit went on");
        batch.put(&Decision {
            seq: decision::next_seq(&*self.ports.store, &subject)?,
            subject,
            at: self.ports.clock.wall(),
            by: READER.into(),
            said,
            details: serde_json::to_value(next).unwrap_or_default(),
        });
        Ok(())
    }

    /// The only lines that touch the world.
    fn perform(&mut self, known: &Audit, effect: Effect, status: &ChainStatus, ctx: &mut Context<Self>) {
        let bid = known.bid;
        match effect {
            Effect::Close { .. } => {}
            Effect::Vote { .. } => {
                self.outbox.submit.tell(Submit { key: IntentKey::of_bid("vote", bid, 0) });
            }
            Effect::Settle { attempt } => {
                self.outbox.submit.tell(Submit { key: IntentKey::of_bid("settle", bid, attempt) });
            }
            Effect::Qualify => self.qualify(known, status, ctx),
            Effect::Run { slot } => self.challenge(known, slot, false, ctx),
            Effect::Recheck { slot } => self.challenge(known, slot, true, ctx),
            Effect::Testify { verdict } => {
                let told = self.testify(known, verdict, status, ctx);
                if let Err(error) = told {
                    tracing::error!(%bid, %error, "evidence could not be written; trying again");
                }
            }
            Effect::LookForPayout | Effect::LookAtBid => self.look_at_bid(known, ctx),
        }
    }

    /// Lets something be found out, then takes the answer; one thing at a time for each audit.
    fn work<T: 'static>(
        &mut self,
        bid: BidKey,
        work: impl std::future::Future<Output = T> + 'static,
        take: impl FnOnce(&mut Self, T, &mut Context<Self>) -> Result<(), store::Error> + 'static,
        ctx: &mut Context<Self>,
    ) {
        if !self.busy.insert(bid) {
            return;
        }
        ctx.work(acting_as!("validator", %bid), work, move |found, this, ctx| {
            this.busy.remove(&bid);
            if let Err(error) = take(this, found, ctx) {
                tracing::error!(%bid, %error, "what an audit found out could not be written; it asks again");
            }
        });
    }
}
