//! What the journals tell an audit: the chain's facts and what became of its own intents.

use std::rc::Rc;

use actix::prelude::*;

use super::Validator;
use crate::domain::audit::life::Event;
use crate::domain::market::{BidKey, MarketCall, MarketEvent};
use crate::ports::store::{self, Batch};
use crate::records::audit::{self, Announced, Audit};
use crate::records::journal::{Fact, Outcome};
use crate::records::meta::ChainStatus;

impl Validator {
    /// What the chain told.
    pub(super) fn hear(
        &mut self,
        fact: &Fact,
        status: &ChainStatus,
        mut batch: Batch,
        ctx: &mut Context<Self>,
    ) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let Some(bid) = fact.bid() else { return store.commit(batch) };
        let known = audit::of(&*store, bid)?;
        let fresh = || Audit::new(bid, self.ports.clock.wall());
        match (&fact.event, fact.retracted) {
            (MarketEvent::BidPlaced { .. }, false) => {
                let mut known = known.unwrap_or_else(fresh);
                known.placed_at = Some(fact.at.time);
                batch.put(&known);
                store.commit(batch)
            }
            (MarketEvent::Pinned { hoster, .. }, false) => {
                let mut known = known.unwrap_or_else(fresh);
                if !known.stage.may_be_announced() {
                    return store.commit(batch);
                }
                audit::forget_slots(&*store, &mut batch, bid)?;
                let announced = Announced { hoster: *hoster, block: fact.at.block, at: fact.at.time };
                known = Audit { placed_at: known.placed_at, announced: Some(announced), ..fresh() };
                self.decide(known, Event::Announced.into(), status, batch, ctx)
            }
            (MarketEvent::Settled { outcome, .. }, false) => match known {
                Some(known) => self.decide(known, Event::Settled(*outcome).into(), status, batch, ctx),
                None => store.commit(batch),
            },
            (event, true) => match known {
                Some(known) => self.decide(known, Event::Retracted(event.clone()).into(), status, batch, ctx),
                None => store.commit(batch),
            },
            _ => store.commit(batch),
        }
    }

    /// What became of an intent.
    pub(super) fn learn(
        &mut self,
        outcome: &Outcome,
        status: &ChainStatus,
        batch: Batch,
        ctx: &mut Context<Self>,
    ) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let (id, event) = match &outcome.call {
            MarketCall::Vote { bid, .. } => (*bid, Event::VoteEnded(outcome.result.clone())),
            MarketCall::Settle(bid) => {
                let (attempt, execution) = (outcome.intent.attempt(), outcome.result.clone());
                (*bid, Event::SettleEnded { attempt, execution })
            }
            _ => return store.commit(batch),
        };
        match audit::of(&*store, BidKey { market: outcome.market, id })? {
            Some(known) => self.decide(known, event.into(), status, batch, ctx),
            None => store.commit(batch),
        }
    }
}
