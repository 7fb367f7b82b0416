//! Starts attempts at slots, and keeps what they found out.

use std::rc::Rc;

use actix::prelude::*;
use cid::Cid;

use super::attempt::{Challenge, Found};
use super::{News, Validator};
use crate::domain::audit::life::{Event, Stage};
use crate::domain::audit::slot::Standing;
use crate::domain::cids;
use crate::domain::dag;
use crate::domain::evidence::car::Car;
use crate::domain::market::BidKey;
use crate::domain::units::Address;
use crate::ports::store::{self, Batch};
use crate::records::audit::{self, Announced, Audit};
use crate::records::meta::ChainStatus;
use crate::wake::Sweeps;

/// Other hosters that are asked, at most, whether the silence is ours.
const OTHERS: usize = 3;

impl Validator {
    /// Runs a slot, or asks again for what it missed.
    pub(super) fn challenge(&mut self, known: &Audit, slot: u32, recheck: bool, ctx: &mut Context<Self>) {
        let bid = known.bid;
        let challenge = match self.prepare(known, slot, recheck) {
            Ok(Some(challenge)) => challenge,
            Ok(None) => return,
            Err(error) => return tracing::error!(%bid, %error, "a slot could not be read"),
        };
        let announced = challenge.announced;
        self.work(
            bid,
            challenge.run(),
            move |this, found, ctx| match found {
                Ok(found) => this.challenged(bid, announced, slot, recheck, found, ctx),
                Err(trouble) => {
                    tracing::info!(%bid, slot, %trouble, "a slot can't be run yet");
                    Ok(())
                }
            },
            ctx,
        );
    }

    fn prepare(&self, known: &Audit, slot: u32, recheck: bool) -> Result<Option<Challenge>, store::Error> {
        let store = &*self.ports.store;
        let slots = audit::slots(store, known.bid)?;
        let first = slots.iter().all(|slot| slot.tries.is_empty());
        let Some(announced) = known.announced else { return Ok(None) };
        let Some(slot) = slots.into_iter().find(|known| known.slot == slot) else { return Ok(None) };
        let mut others: Vec<(Address, String)> = Vec::new();
        for bid in self.open.keys() {
            let Some(other) = audit::of(store, *bid)? else { continue };
            let (Some(announced_there), Some(endpoint)) = (other.announced, other.endpoint) else { continue };
            let hoster = announced_there.hoster;
            if hoster != announced.hoster && others.iter().all(|(known, _)| *known != hoster) {
                others.push((hoster, endpoint));
            }
            if others.len() == OTHERS {
                break;
            }
        }
        Ok(Some(Challenge {
            config: Rc::clone(&self.config),
            policy: self.policy,
            ports: self.ports.clone(),
            known: known.clone(),
            announced,
            slot,
            first,
            recheck,
            others,
        }))
    }

    /// Keeps what was found: first the blocks, then everything that speaks of them.
    fn challenged(
        &mut self,
        bid: BidKey,
        announced: Announced,
        number: u32,
        recheck: bool,
        found: Found,
        ctx: &mut Context<Self>,
    ) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let Some(status) = ChainStatus::read(&*store)? else { return Ok(()) };
        let Some(mut known) = audit::of(&*store, bid)? else { return Ok(()) };
        let runs = match known.stage {
            Stage::Challenging { slot } => slot == number && !recheck,
            Stage::Contained { slot, .. } => slot == number && recheck,
            _ => false,
        };
        // A reorg or a settlement may have come between: then nobody waits for this any more.
        if !runs || known.announced != Some(announced) {
            return Ok(());
        }
        if let Err(error) = self.keep_blocks(&known, found.blocks) {
            tracing::error!(%bid, %error, "blocks could not be kept; the slot is run again");
            return Ok(());
        }
        let mut batch = Batch::new();
        found.registration.iter().for_each(|file| batch.put(file));
        known.index = found.index.or(known.index);
        known.nodes_kept &= !found.too_many_nodes;
        known.endpoint = found.endpoint.or(known.endpoint);
        known.elsewhere.extend(found.elsewhere);
        let Some(mut slot) = audit::slots(&*store, bid)?.into_iter().find(|slot| slot.slot == number) else {
            return Ok(());
        };
        slot.beacon = found.beacon.or(slot.beacon);
        if recheck {
            slot.tries.pop();
        }
        slot.tries.extend(found.attempt);
        let standing = slot.tries.last().map_or(Standing::Dark, |attempt| attempt.standing(&self.policy));
        let event = match found.refused {
            Some(skip) => Event::Refused(skip),
            None if recheck => Event::Rechecked(standing),
            None => Event::Tried(standing),
        };
        self.decide(known, News { event, slots: vec![slot] }, &status, batch, ctx)?;
        self.wake(ctx);
        Ok(())
    }

    /// Adds blocks to the audit's CAR. Blocks that turn out to be unneeded do no harm there.
    fn keep_blocks(
        &self,
        known: &Audit,
        blocks: Vec<(Cid, Vec<u8>)>,
    ) -> Result<(), crate::ports::disk::Error> {
        if blocks.is_empty() {
            return Ok(());
        }
        let disk = &*self.ports.disk;
        let mut car = stored_car(known, disk.read(&car_name(known))?);
        let root =
            blocks.iter().find(|(cid, _)| cids::file_hash(cid) == known.terms.as_ref().map(|t| t.file));
        let mut car =
            car.take().unwrap_or_else(|| Car::new(root.or(blocks.first()).map_or(dag::probe(), |b| b.0)));
        blocks.into_iter().for_each(|(cid, bytes)| car.insert(cid, bytes));
        disk.write(&car_name(known), &car.to_bytes()).map(drop)
    }
}

pub(super) fn car_name(known: &Audit) -> String {
    format!("{}.car", known.file_name())
}

/// The audit's CAR as read from the disk. A file that is not ours, or rotten, counts as none.
pub(super) fn stored_car(known: &Audit, bytes: Option<Vec<u8>>) -> Option<Car> {
    let car = bytes.map(|bytes| Car::parse(&bytes))?;
    if let Err(error) = &car {
        tracing::warn!(bid = %known.bid, %error, "kept blocks can't be read; they are asked for again");
    }
    car.ok()
}
