//! Carries admitted bids to their end: accepts, fetches, announces, keeps, settles, lets go.

use std::rc::Rc;

use actix::prelude::*;

use super::{Hosting, Pinner, READER};
use crate::domain::admission::price;
use crate::domain::bid::{self, Case, Effect, Event, Stage, Step};
use crate::domain::market::{BidKey, MarketCall};
use crate::domain::units::ChainTime;
use crate::ports::store::{self, Batch, Order};
use crate::records::decision::{self, Decision};
use crate::records::following::rules_of;
use crate::records::hosting::{keep, let_go, HostedBid, Owner};
use crate::records::intent::{want, Intent, IntentKey, IntentState};
use crate::records::journal::{absorb, unread, Fact, Outcome};
use crate::records::meta::{chain_now, ChainStatus};
use crate::records::room::Room;
use crate::wallet_signer::Submit;

impl Pinner {
    /// All that the store asks for, in one look.
    pub(super) fn look(&mut self, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let (Some(hosting), Some(_)) = (self.config.hosting.clone(), ChainStatus::read(&*store)?) else {
            return Ok(());
        };
        for fact in unread::<Fact>(&*store, READER, 256)? {
            let mut batch = Batch::new();
            absorb(&mut batch, READER, &fact);
            let event = match fact.retracted {
                true => Event::Retracted(fact.event.clone()),
                false => Event::Told(fact.event.clone(), fact.at.time),
            };
            self.decide(fact.bid(), &event, batch, ctx)?;
        }
        for outcome in unread::<Outcome>(&*store, READER, 256)? {
            let mut batch = Batch::new();
            absorb(&mut batch, READER, &outcome);
            let key = |id| BidKey { market: outcome.market, id };
            let (bid, event) = match &outcome.call {
                MarketCall::Accept(id) => (Some(key(*id)), Event::AcceptEnded(outcome.result.clone())),
                MarketCall::Pinned(id) => (Some(key(*id)), Event::AnnounceEnded(outcome.result.clone())),
                MarketCall::Settle(id) => (Some(key(*id)), Event::SettleEnded(outcome.result.clone())),
                _ => (None, Event::Tick),
            };
            self.decide(bid, &event, batch, ctx)?;
        }
        self.attend(&hosting, ctx)
    }

    /// Gives every live bid its tick and its fetch, and free places to the best of those that wait.
    fn attend(&mut self, hosting: &Hosting, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let mut bids = store::list::<HostedBid>(&*store, &[], Order::Ascending, usize::MAX)?;
        for bid in bids.iter_mut().filter(|bid| !bid.stage.is_over()) {
            if let Some(after) = self.decide(Some(bid.bid), &Event::Tick, Batch::new(), ctx)? {
                *bid = after;
            }
        }
        for bid in bids.iter().filter(|bid| matches!(bid.stage, Stage::Fetching { .. })) {
            self.fetch(bid, ctx);
        }
        let busy = |bid: &&HostedBid| {
            matches!(bid.stage, Stage::Accepting { .. } | Stage::Fetching { .. } | Stage::Announcing { .. })
        };
        let free = hosting.fetches.saturating_sub(bids.iter().filter(busy).count());
        let mut waiting: Vec<_> =
            bids.iter().filter(|bid| matches!(bid.stage, Stage::Admitted { .. })).collect();
        waiting.sort_by_key(|bid| (std::cmp::Reverse(price(&bid.terms)), bid.bid));
        let now = chain_now(&*store)?;
        let ready = waiting
            .into_iter()
            .filter(|bid| matches!(bid.stage, Stage::Admitted { not_before, .. } if not_before <= now));
        for bid in ready.take(free) {
            self.decide(Some(bid.bid), &Event::Start, Batch::new(), ctx)?;
        }
        Ok(())
    }

    /// The one loop: decide, make durable, then do. Gives the bid as it stands then.
    pub(super) fn decide(
        &mut self,
        bid: Option<BidKey>,
        event: &Event,
        mut batch: Batch,
        ctx: &mut Context<Self>,
    ) -> Result<Option<HostedBid>, store::Error> {
        let store = Rc::clone(&self.ports.store);
        let Some(me) = self.config.hosting.as_ref().map(|hosting| hosting.me) else { return Ok(None) };
        let hosted = match bid {
            Some(bid) => store::read::<HostedBid>(&*store, &bid.to_bytes())?,
            None => None,
        };
        let mut effects = Vec::new();
        let mut after = None;
        if let Some(before) = hosted {
            // No bid is known of a market that nobody has seen.
            let Some(rules) = rules_of(&*store, before.bid.market)? else { return Ok(None) };
            let case = Case { bid: before.bid.id, terms: &before.terms, rules: &rules, me };
            let step = bid::step(&before.stage, event, case, chain_now(&*store)?);
            let hosted = self.write(before, &step, &mut batch)?;
            effects = step.effects;
            after = Some(hosted);
        }
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        if let Some(hosted) = &after {
            self.perform(hosted, &effects, ctx);
        }
        Ok(after)
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
            let before = hosted.clone();
            hosted.stage = step.next.clone();
            hosted.since = wall;
            batch.put(&hosted);
            Room::change(store, batch, Some(&before), Some(&hosted))?;
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
            Effect::Settle { attempt } => {
                want(store, batch, intent("settle", MarketCall::Settle(bid.id), *attempt, None))
            }
            Effect::Keep => keep(store, batch, hosted.cid, Owner::Bid(bid)),
            Effect::LetGo => let_go(store, batch, hosted.cid, Owner::Bid(bid), self.ports.clock.wall()),
            Effect::Fetch | Effect::StopFetch => Ok(()),
        }
    }

    /// What is not durable: fetches, and the hint to the wallet.
    fn perform(&mut self, hosted: &HostedBid, effects: &[Effect], ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Accept { attempt } => self.hint("accept", hosted.bid, *attempt),
                Effect::Announce { attempt, .. } => self.hint("pinned", hosted.bid, *attempt),
                Effect::Settle { attempt } => self.hint("settle", hosted.bid, *attempt),
                Effect::Fetch => self.fetch(hosted, ctx),
                Effect::StopFetch => {
                    self.give_back(hosted.bid, None);
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
    pub(super) fn resume(&mut self, ctx: &mut Context<Self>) -> Result<(), store::Error> {
        if self.config.hosting.is_none() {
            return Ok(());
        }
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
