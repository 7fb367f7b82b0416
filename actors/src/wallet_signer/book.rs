//! What the wallet has made durable, and each change of it as one batch.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::domain::market::{Abandonment, Execution};
use crate::domain::units::{ChainTime, WallTime, Wei};
use crate::domain::wallet::lane::Lane;
use crate::domain::wallet::slot::{Inclusion, Slot, Try, Wish};
use crate::domain::wallet::spend;
use crate::planted::{planted, Bug};
use crate::ports::chain::Receipt;
use crate::ports::store::{self, Batch, Error, Record, Store};
use crate::records::intent::{Intent, IntentKey, IntentState};
use crate::records::journal::{self, Outcome};
use crate::records::wallet::{
    attempts, instructions, spent_since, Act, Attempt, Counters, Instruction, Mined, Spend,
};

/// The wallet's records, read afresh from the store.
pub(super) struct Book {
    store: Rc<dyn Store>,
    pub(super) counters: Counters,
    /// The lane that the attempts make.
    pub(super) lane: Lane,
    /// The attempts of each nonce that is not final, oldest first.
    pub(super) attempts: BTreeMap<u64, Vec<Attempt>>,
    /// What people want of those in flight.
    instructions: BTreeMap<IntentKey, Vec<Instruction>>,
    /// What final transactions spent within the window; the others count with the most that they can cost.
    pub(super) spent: Wei,
    /// What all mined transactions spent within the window.
    pub(super) spent_by_all: Wei,
}

impl Book {
    pub(super) fn load(store: &Rc<dyn Store>, now: WallTime) -> Result<Self, Error> {
        let counters = Counters::read(store.as_ref())?;
        let mut by_nonce: BTreeMap<u64, Vec<Attempt>> = BTreeMap::new();
        for attempt in attempts(store.as_ref())? {
            by_nonce.entry(attempt.nonce).or_default().push(attempt);
        }
        let mut wishes: BTreeMap<IntentKey, Vec<Instruction>> = BTreeMap::new();
        for instruction in instructions(store.as_ref())? {
            wishes.entry(instruction.intent.clone()).or_default().push(instruction);
        }
        let mut lane =
            Lane { next: counters.next, final_below: counters.final_below, slots: BTreeMap::new() };
        for (nonce, tries) in &by_nonce {
            let wish = wish(&wishes, tries);
            lane.slots.insert(*nonce, Slot { wish, ..slot(store.as_ref(), *nonce, tries)? });
        }
        let rows = spent_since(store.as_ref(), spend::window_start(now))?;
        let sum = |counts: &dyn Fn(&Spend) -> bool| {
            spend::spent(rows.iter().filter(|row| counts(row)).map(|row| (row.at, row.wei)), now)
        };
        let spent = sum(&|row| !by_nonce.contains_key(&row.nonce));
        let spent_by_all = sum(&|_| true);
        Ok(Self {
            store: Rc::clone(store),
            counters,
            lane,
            attempts: by_nonce,
            instructions: wishes,
            spent,
            spent_by_all,
        })
    }

    /// Makes a nonce's first attempt durable, and with it that the nonce is given out. False, and nothing is
    /// done, if its intent waits no longer: it may have been cancelled while the chain was asked.
    pub(super) fn take_nonce(&self, attempt: &Attempt, intent: Option<&Intent>) -> Result<bool, Error> {
        if let Some(intent) = intent {
            if !self.is_queued(&intent.key)? {
                return Ok(false);
            }
        }
        let mut batch = Batch::new();
        batch.put(attempt);
        batch.put(&Counters { next: self.counters.next.max(attempt.nonce + 1), ..self.counters.clone() });
        if let Some(intent) = intent.filter(|_| !planted(Bug::LeaveQueued)) {
            batch.put(&Intent { state: IntentState::InFlight { nonce: attempt.nonce }, ..intent.clone() });
        }
        self.store.commit(batch)?;
        Ok(true)
    }

    /// Makes a replacement durable, and with it that it was ordered, if it was.
    pub(super) fn replace(&self, attempt: &Attempt) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.put(attempt);
        self.forget_instructions(&mut batch, attempt.nonce, |act| act != Act::Cancel);
        self.store.commit(batch)
    }

    /// Gives up the order for a replacement that no cap allows.
    pub(super) fn forget_bump(&self, nonce: u64) -> Result<(), Error> {
        let mut batch = Batch::new();
        self.forget_instructions(&mut batch, nonce, |act| act != Act::Cancel);
        match batch.is_empty() {
            true => Ok(()),
            false => self.store.commit(batch),
        }
    }

    /// Wants a withdrawal; its number is used up with it.
    pub(super) fn want_withdrawal(&self, intent: &Intent, number: u64) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.put(intent);
        batch.put(&Counters { withdrawals: number + 1, ..self.counters.clone() });
        self.store.commit(batch)
    }

    /// Whether an intent still waits for a nonce.
    pub(super) fn is_queued(&self, key: &IntentKey) -> Result<bool, Error> {
        let intent = store::read::<Intent>(self.store.as_ref(), key.0.as_bytes())?;
        Ok(intent.is_some_and(|intent| intent.state == IntentState::Queued))
    }

    /// Ends an intent that never got a nonce.
    pub(super) fn abandon(&self, intent: &Intent, reason: Abandonment) -> Result<(), Error> {
        let mut batch = Batch::new();
        self.journal(&mut batch, intent, Execution::Abandoned { reason })?;
        batch.put(&Intent { state: IntentState::Done, ..intent.clone() });
        self.store.commit(batch)
    }

    /// Journals what came of a nonce, as its receipt tells, if that is news to the readers: a transaction that
    /// comes back to the very block that a reorg took it from is none.
    pub(super) fn confirm(
        &self,
        nonce: u64,
        receipt: &Receipt,
        time: ChainTime,
        now: WallTime,
    ) -> Result<(), Error> {
        let tries = self.tries(nonce);
        let Some(winner) = tries.iter().find(|attempt| attempt.tx == receipt.tx) else { return Ok(()) };
        let mut batch = Batch::new();
        self.forget_spend(&mut batch, tries);
        self.forget_instructions(&mut batch, nonce, |_| true);
        let fee = receipt.gas_price.times(receipt.gas_used);
        let value = if receipt.succeeded { winner.call.value() } else { Wei::ZERO };
        batch.put(&Spend { at: now, nonce, wei: fee.plus(value) });
        for attempt in tries {
            let mined = (attempt.tx == receipt.tx).then_some(Mined {
                block: receipt.block,
                hash: receipt.hash,
                at: now,
                standing: true,
            });
            batch.put(&Attempt { mined, ..attempt.clone() });
        }
        if let Some(intent) = self.intent(nonce)? {
            batch.put(&Intent { state: IntentState::Confirmed { nonce }, ..intent.clone() });
            if winner.mined.as_ref().is_none_or(|mined| mined.hash != receipt.hash) {
                let result = execution(winner, receipt, fee, time);
                self.journal(&mut batch, &intent, result)?;
            }
        }
        self.store.commit(batch)
    }

    /// Puts a nonce back in flight: a reorg removed what stood.
    pub(super) fn take_back(&self, nonce: u64) -> Result<(), Error> {
        let mut batch = Batch::new();
        let tries = self.tries(nonce);
        self.forget_spend(&mut batch, tries);
        for attempt in tries {
            let mined = attempt.mined.clone().map(|mined| Mined { standing: false, ..mined });
            batch.put(&Attempt { mined, ..attempt.clone() });
        }
        if let Some(intent) = self.intent(nonce)? {
            batch.put(&Intent { state: IntentState::InFlight { nonce }, ..intent });
        }
        self.store.commit(batch)
    }

    /// Ends a nonce that is final.
    pub(super) fn finish(&self, nonce: u64) -> Result<(), Error> {
        let mut batch = Batch::new();
        self.close(&mut batch, nonce);
        if let Some(intent) = self.intent(nonce)? {
            batch.put(&Intent { state: IntentState::Done, ..intent });
        }
        self.store.commit(batch)
    }

    /// Wants again what a stranger's transaction kept from its nonce.
    pub(super) fn requeue(&self, nonce: u64) -> Result<Option<IntentKey>, Error> {
        let mut batch = Batch::new();
        self.close(&mut batch, nonce);
        let intent = self.intent(nonce)?;
        if let Some(intent) = &intent {
            batch.put(&Intent { state: IntentState::Queued, ..intent.clone() });
        }
        self.store.commit(batch)?;
        Ok(intent.map(|intent| intent.key))
    }

    /// Ends what a stranger's transaction kept from its nonce.
    pub(super) fn lose(&self, nonce: u64) -> Result<(), Error> {
        let mut batch = Batch::new();
        self.close(&mut batch, nonce);
        let intent = self.intent(nonce)?;
        if let Some(intent) = &intent {
            let cancelled = self.lane.slots.get(&nonce).is_some_and(|slot| slot.wish.cancel);
            let reason = if cancelled { Abandonment::Cancelled } else { Abandonment::NonceTaken };
            self.journal(&mut batch, intent, Execution::Abandoned { reason })?;
            batch.put(&Intent { state: IntentState::Done, ..intent.clone() });
        }
        self.store.commit(batch)
    }

    /// The attempts at a nonce, oldest first.
    pub(super) fn tries(&self, nonce: u64) -> &[Attempt] {
        self.attempts.get(&nonce).map_or(&[], Vec::as_slice)
    }

    /// The intent that owns a nonce.
    fn intent(&self, nonce: u64) -> Result<Option<Intent>, Error> {
        owner(self.store.as_ref(), self.tries(nonce))
    }

    fn journal(&self, batch: &mut Batch, intent: &Intent, result: Execution) -> Result<(), Error> {
        let seq = journal::next_seq::<Outcome>(self.store.as_ref())?;
        batch.put(&Outcome {
            seq,
            intent: intent.key.clone(),
            market: intent.market,
            call: intent.call.clone(),
            result,
        });
        Ok(())
    }

    fn forget_instructions(&self, batch: &mut Batch, nonce: u64, which: impl Fn(Act) -> bool) {
        let Some(key) = self.tries(nonce).iter().find_map(|attempt| attempt.intent.as_ref()) else { return };
        for instruction in self.instructions.get(key).into_iter().flatten().filter(|it| which(it.act)) {
            batch.delete::<Instruction>(&instruction.key());
        }
    }

    fn forget_spend(&self, batch: &mut Batch, tries: &[Attempt]) {
        for attempt in tries {
            if let Some(mined) = &attempt.mined {
                let row = Spend { at: mined.at, nonce: attempt.nonce, wei: Wei::ZERO };
                batch.delete::<Spend>(&row.key());
            }
        }
    }

    /// Forgets a nonce's attempts: it is used for good, and so are all below.
    fn close(&self, batch: &mut Batch, nonce: u64) {
        for attempt in self.tries(nonce) {
            batch.delete::<Attempt>(&attempt.key());
        }
        self.forget_instructions(batch, nonce, |_| true);
        let used = nonce + 1;
        let (next, final_below) = (self.counters.next.max(used), self.counters.final_below.max(used));
        batch.put(&Counters { next, final_below, ..self.counters.clone() });
    }
}

/// Makes one record durable.
pub(super) fn keep<R: Record>(store: &dyn Store, record: &R) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.put(record);
    store.commit(batch)
}

/// The intent that owns these attempts' nonce.
fn owner(store: &dyn Store, tries: &[Attempt]) -> Result<Option<Intent>, Error> {
    match tries.iter().find_map(|attempt| attempt.intent.as_ref()) {
        Some(key) => store::read::<Intent>(store, key.0.as_bytes()),
        None => Ok(None),
    }
}

fn slot(store: &dyn Store, nonce: u64, tries: &[Attempt]) -> Result<Slot, Error> {
    let attempt = |attempt: &Attempt| Try {
        tx: attempt.tx,
        fees: attempt.fees,
        worst: attempt.worst(),
        // A filled gap wants nothing that could be given up.
        gives_up: attempt.gives_up.is_some() || attempt.intent.is_none(),
        signed_at: attempt.signed_at,
        accepted: attempt.accepted_at.is_some(),
    };
    let standing = tries.iter().find_map(|attempt| {
        let mined = attempt.mined.as_ref().filter(|mined| mined.standing)?;
        Some(Inclusion { tx: attempt.tx, block: mined.block, hash: mined.hash })
    });
    let deadline = owner(store, tries)?.and_then(|intent| intent.deadline);
    Ok(Slot { nonce, tries: tries.iter().map(attempt).collect(), deadline, standing, wish: Wish::default() })
}

/// What people want of these attempts.
fn wish(instructions: &BTreeMap<IntentKey, Vec<Instruction>>, tries: &[Attempt]) -> Wish {
    let newest = tries.last().map_or(0, |attempt| attempt.number);
    let key = tries.iter().find_map(|attempt| attempt.intent.as_ref());
    let acts = key.and_then(|key| instructions.get(key)).into_iter().flatten().map(|it| it.act);
    acts.fold(Wish::default(), |wish, act| match act {
        Act::Cancel => Wish { cancel: true, ..wish },
        Act::Bump { attempt } => Wish { bump: wish.bump || attempt >= newest, ..wish },
    })
}

fn execution(winner: &Attempt, receipt: &Receipt, cost: Wei, time: ChainTime) -> Execution {
    match (&winner.gives_up, receipt.succeeded) {
        (Some(reason), _) => Execution::Abandoned { reason: reason.clone() },
        (None, false) => Execution::Reverted { tx: receipt.tx, cost },
        (None, true) => Execution::Mined {
            tx: receipt.tx,
            block: receipt.block,
            time,
            gas: receipt.gas_used,
            cost,
            events: receipt.events.clone(),
        },
    }
}
