//! Moves on every nonce that is not final: what became of them is one batch, what goes out goes out together.

use super::sending::Why;
use super::sight::Found;
use super::{Error, Round, World};
use crate::domain::market::Abandonment;
use crate::domain::wallet::slot::{Move, Sight, Slot};
use crate::planted::{planted, Bug};
use crate::ports::chain;
use crate::wallet_signer::book::Draft;

/// A transaction to be replaced.
struct Replacement {
    slot: Slot,
    why: Why,
    /// Whether the old bytes are due, where a replacement is not allowed.
    due: bool,
}

/// What has to be done about nonces outside of the book.
#[derive(Default)]
struct Deeds {
    /// Bytes that go out again.
    sends: Vec<u64>,
    /// Transactions to be replaced.
    replaced: Vec<Replacement>,
}

impl Round {
    /// One nonce of which the provider tells nonsense does not hold up others.
    pub(super) async fn tend(&mut self, world: &World) -> Result<(), Error> {
        self.memory.calm("receipts");
        let slots: Vec<Slot> = self.book.borrow().lane.slots.values().cloned().collect();
        let sights = self.sights(&slots, world).await?;
        let mut deeds = Deeds::default();
        let (mut front, mut failed, mut strange) = (None, None, false);
        let mut draft = self.book.borrow().draft();
        for (slot, seen) in slots.into_iter().zip(sights) {
            let (sight, found) = match seen {
                Ok(seen) => seen,
                Err(error @ chain::Error::Untrustworthy { .. }) => {
                    self.memory.alert("receipts", error.to_string());
                    continue;
                }
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            if sight == Sight::Unmined && front.is_none() {
                front = Some(slot.nonce);
                self.memory.at_front(slot.nonce, self.now());
            }
            if matches!(sight, Sight::Passed(since) if world.moment.is_deep(since, self.config.confirmations))
            {
                let words = format!("nonce {} is used, by none of its transactions", slot.nonce);
                self.memory.alert("nonce", words);
                strange = true;
            }
            let recall = self.memory.recall(slot.nonce, self.now());
            let next = slot.next(sight, &world.moment, self.rules(), &recall);
            self.decide(&mut draft, slot, next, found, recall.send_due, &mut deeds)?;
        }
        self.commit(draft)?;
        // A provider that is behind would call a revert what only it does not know yet.
        self.perform(deeds, front.filter(|_| !world.behind)).await?;
        if !strange {
            self.memory.calm("nonce");
        }
        if front.is_none() {
            self.memory.calm("send");
            self.memory.calm("ceiling");
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Drafts what was decided for a slot, or notes what there is to do.
    fn decide(
        &mut self,
        draft: &mut Draft,
        slot: Slot,
        next: Move,
        found: Found,
        due: bool,
        deeds: &mut Deeds,
    ) -> Result<(), Error> {
        let nonce = slot.nonce;
        let book = self.book.borrow();
        match next {
            Move::Wait => {}
            Move::Send | Move::Outbid(_)
                if planted(Bug::ForgetEvicted) && slot.tries.iter().any(|it| it.accepted) => {}
            Move::Send => deeds.sends.push(nonce),
            Move::Outbid(rise) => deeds.replaced.push(Replacement { slot, why: Why::Outbid(rise), due }),
            Move::GiveUp(reason) => {
                deeds.replaced.push(Replacement { slot, why: Why::GivesUp(reason), due });
            }
            Move::Confirm(seen) => {
                let Some((receipt, time)) = found else { return Ok(()) };
                book.confirm(draft, nonce, (&receipt, time), self.ports.clock.wall())?;
                self.memory.counts.confirmed += 1;
                self.memory.anchor(nonce, seen);
                tracing::info!(nonce, tx = %receipt.tx, block = receipt.block.0, "a transaction is confirmed");
            }
            Move::TakeBack => {
                book.take_back(draft, nonce);
                tracing::warn!(nonce, "a reorg took a transaction back");
                self.memory.counts.taken_back += 1;
                self.memory.forget(nonce);
            }
            Move::Finish => {
                book.finish(draft, nonce);
                self.memory.forget(nonce);
            }
            Move::Requeue => {
                self.memory.alert("foreign", format!("nonce {nonce} went to a transaction of somebody else"));
                draft.counters.foreign += 1;
                if let Some(intent) = book.requeue(draft, nonce) {
                    self.memory.queue.add(intent.key, intent.created);
                }
                self.memory.forget(nonce);
            }
            Move::Lose => {
                self.memory.alert("foreign", format!("nonce {nonce} went to a transaction of somebody else"));
                draft.counters.foreign += 1;
                book.lose(draft, nonce)?;
                self.memory.forget(nonce);
            }
        }
        Ok(())
    }

    async fn perform(&mut self, deeds: Deeds, front: Option<u64>) -> Result<(), Error> {
        let Deeds { mut sends, replaced } = deeds;
        let mut doomed = None;
        if let Some(front) = front {
            doomed = self.doomed(front, &sends, &replaced).await?;
            sends.retain(|nonce| doomed.is_none() || *nonce != front);
        }
        let newest = sends.iter().filter_map(|nonce| self.book.borrow().newest(*nonce).cloned()).collect();
        self.hand_over(newest).await?;
        if let Some((slot, reason)) = doomed.clone() {
            self.replace(&slot, Why::GivesUp(reason), true).await?;
        }
        for Replacement { slot, why, due } in replaced {
            if doomed.as_ref().is_none_or(|(doomed, _)| doomed.nonce != slot.nonce) {
                self.replace(&slot, why, due).await?;
            }
        }
        Ok(())
    }

    /// Why the transaction at the front would be mined for nothing, if something of it is to go out: then it only
    /// takes its nonce. Of those behind it nobody knows the state in which they will run.
    async fn doomed(
        &mut self,
        front: u64,
        sends: &[u64],
        replaced: &[Replacement],
    ) -> Result<Option<(Slot, Abandonment)>, Error> {
        let dearer = replaced.iter().any(|it| it.slot.nonce == front && matches!(it.why, Why::Outbid(_)));
        if !dearer && !sends.contains(&front) {
            return Ok(None);
        }
        let (slot, intent, call) = {
            let book = self.book.borrow();
            match (book.lane.slots.get(&front), book.newest(front)) {
                (Some(slot), Some(newest)) if slot.tries.last().is_some_and(|newest| !newest.gives_up) => {
                    (slot.clone(), newest.intent.clone(), newest.call.clone())
                }
                _ => return Ok(None),
            }
        };
        let at = self.book.borrow().market_of(intent.as_ref(), self.market);
        match self.ports.chain.simulate(self.me, &(at.address, call), self.memory.known).await {
            Err(chain::Error::Reverts { reason }) => Ok(Some((slot, Abandonment::WouldRevert(reason)))),
            // Without an answer it goes out: a sure revert is not known.
            Ok(_) | Err(_) => Ok(None),
        }
    }
}
