//! What the wallet has made durable, and each change of it as one batch.
//!
//! The book is read once and then kept in step with the store: a change is committed first, and only what is
//! committed is entered here. After a commit that failed nobody knows what stands, so the store is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::domain::market::{Abandonment, Execution, Market};
use crate::domain::units::{BlockHeight, ChainTime, WallTime, Wei};
use crate::domain::wallet::lane::Lane;
use crate::domain::wallet::spend;
use crate::planted::{planted, Bug};
use crate::ports::chain::Receipt;
use crate::ports::store::{self, Error, Store};
use crate::records::intent::{Intent, IntentKey, IntentState};
use crate::records::wallet::{
    attempts, instructions, spent_since, Act, Attempt, Counters, Instruction, Mined, Spend,
};

mod draft;
mod slots;

pub(super) use draft::Draft;
use draft::Edit;

/// The wallet's records.
pub(super) struct Book {
    store: Rc<dyn Store>,
    /// Whether the store has to be read before anything here is believed.
    stale: bool,
    pub(super) counters: Counters,
    /// The lane that the attempts make.
    pub(super) lane: Lane,
    /// The attempts of each nonce that is not final, oldest first.
    attempts: BTreeMap<u64, Vec<Attempt>>,
    /// The intents that own those nonces.
    intents: BTreeMap<IntentKey, Intent>,
    /// What people want of them.
    instructions: BTreeMap<IntentKey, Vec<Instruction>>,
    /// What mined transactions spent, by time and nonce, as far back as it counts.
    spends: BTreeMap<(WallTime, u64), Wei>,
}

impl Book {
    /// A book that has to be read first.
    pub(super) fn new(store: Rc<dyn Store>) -> Self {
        Self {
            store,
            stale: true,
            counters: Counters::default(),
            lane: Lane::default(),
            attempts: BTreeMap::new(),
            intents: BTreeMap::new(),
            instructions: BTreeMap::new(),
            spends: BTreeMap::new(),
        }
    }

    /// The market that a nonce's intent is meant for; `or` where no intent owns it.
    pub(super) fn market_of(&self, intent: Option<&IntentKey>, or: Market) -> Market {
        intent.and_then(|key| self.intents.get(key)).map_or(or, |intent| intent.market)
    }

    /// Reads the store, if that is needed.
    pub(super) fn refresh(&mut self, now: WallTime) -> Result<(), Error> {
        if !self.stale {
            return Ok(());
        }
        let store = Rc::clone(&self.store);
        let mut fresh = Self { counters: Counters::read(store.as_ref())?, ..Self::new(Rc::clone(&store)) };
        for attempt in attempts(store.as_ref())? {
            if let Some(key) = attempt.intent.as_ref().filter(|key| !fresh.intents.contains_key(*key)) {
                let intent = store::read::<Intent>(store.as_ref(), key.0.as_bytes())?;
                fresh.intents.extend(intent.map(|intent| (key.clone(), intent)));
            }
            fresh.attempts.entry(attempt.nonce).or_default().push(attempt);
        }
        for instruction in instructions(store.as_ref())? {
            fresh.instructions.entry(instruction.intent.clone()).or_default().push(instruction);
        }
        let spends = spent_since(store.as_ref(), spend::window_start(now))?;
        fresh.spends = spends.into_iter().map(|row| ((row.at, row.nonce), row.wei)).collect();
        fresh.stale = false;
        *self = fresh;
        (self.lane.next, self.lane.final_below) = (self.counters.next, self.counters.final_below);
        let nonces: Vec<u64> = self.attempts.keys().copied().collect();
        nonces.into_iter().for_each(|nonce| self.rebuild(nonce));
        Ok(())
    }

    /// Makes changes durable, and enters them here.
    pub(super) fn commit(&mut self, draft: Draft, now: WallTime) -> Result<(), Error> {
        let Draft { mut batch, edits, counters, .. } = draft;
        if counters != self.counters {
            batch.put(&counters);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.stale = true;
        self.store.commit(batch)?;
        self.stale = false;
        self.counters = counters;
        (self.lane.next, self.lane.final_below) = (self.counters.next, self.counters.final_below);
        let mut touched = BTreeSet::new();
        for edit in edits {
            touched.extend(self.enter(edit));
        }
        touched.into_iter().for_each(|nonce| self.rebuild(nonce));
        let start = spend::window_start(now);
        self.spends = self.spends.split_off(&(start, 0));
        Ok(())
    }

    /// Enters what is durable, and tells whose slot it bears on.
    fn enter(&mut self, edit: Edit) -> Option<u64> {
        match edit {
            Edit::Attempt(attempt) => {
                let nonce = attempt.nonce;
                let tries = self.attempts.entry(nonce).or_default();
                match tries.iter_mut().find(|known| known.number == attempt.number) {
                    Some(known) => *known = attempt,
                    None => tries.push(attempt),
                }
                Some(nonce)
            }
            Edit::Close(nonce) => {
                self.attempts.remove(&nonce);
                Some(nonce)
            }
            Edit::Intent(intent) => {
                let nonce = match intent.state {
                    IntentState::InFlight { nonce } | IntentState::Confirmed { nonce } => Some(nonce),
                    IntentState::Queued | IntentState::Done => None,
                };
                match nonce {
                    Some(_) => self.intents.insert(intent.key.clone(), intent),
                    None => self.intents.remove(&intent.key),
                };
                nonce
            }
            Edit::Spend(row) => {
                self.spends.insert((row.at, row.nonce), row.wei);
                None
            }
            Edit::Unspend(at, nonce) => {
                self.spends.remove(&(at, nonce));
                None
            }
            Edit::Instruct(instruction) => {
                let known = self.instructions.entry(instruction.intent.clone()).or_default();
                let same = |a: Act, b: Act| (a == Act::Cancel) == (b == Act::Cancel);
                known.retain(|it| !same(it.act, instruction.act));
                let nonce = self.intents.get(&instruction.intent).and_then(slots::nonce_of);
                known.push(instruction);
                nonce
            }
            Edit::Done(key, act) => {
                let nonce = self.intents.get(&key).and_then(slots::nonce_of);
                if let Some(known) = self.instructions.get_mut(&key) {
                    known.retain(|it| it.act != act);
                    if known.is_empty() {
                        self.instructions.remove(&key);
                    }
                }
                nonce
            }
        }
    }

    fn rebuild(&mut self, nonce: u64) {
        match self.attempts.get(&nonce) {
            None => self.lane.slots.remove(&nonce),
            Some(tries) => {
                let key = tries.iter().find_map(|attempt| attempt.intent.as_ref());
                let intent = key.and_then(|key| self.intents.get(key));
                let wished = key.and_then(|key| self.instructions.get(key));
                let wish = slots::wish(wished.map_or(&[], Vec::as_slice), tries);
                self.lane.slots.insert(nonce, slots::slot(nonce, tries, intent, wish))
            }
        };
    }

    /// The attempts at a nonce, oldest first.
    pub(super) fn tries(&self, nonce: u64) -> &[Attempt] {
        self.attempts.get(&nonce).map_or(&[], Vec::as_slice)
    }

    /// The newest block in which something of ours is known to be mined.
    pub(super) fn mined_up_to(&self) -> BlockHeight {
        let mined = self.attempts.values().flatten().filter_map(|attempt| attempt.mined.as_ref());
        mined.filter(|mined| mined.standing).map(|mined| mined.block).max().unwrap_or(BlockHeight(0))
    }

    /// The newest attempt at a nonce.
    pub(super) fn newest(&self, nonce: u64) -> Option<&Attempt> {
        self.tries(nonce).last()
    }

    /// What final transactions spent within the window; the others count with the most that they can cost.
    pub(super) fn spent(&self, now: WallTime) -> Wei {
        let rows = self.spends.iter().filter(|((_, nonce), _)| !self.attempts.contains_key(nonce));
        spend::spent(rows.map(|((at, _), wei)| (*at, *wei)), now)
    }

    /// What all mined transactions spent within the window.
    pub(super) fn spent_by_all(&self, now: WallTime) -> Wei {
        spend::spent(self.spends.iter().map(|((at, _), wei)| (*at, *wei)), now)
    }

    /// Whether an intent still waits for a nonce.
    pub(super) fn is_queued(&self, key: &IntentKey) -> Result<bool, Error> {
        let intent = store::read::<Intent>(self.store.as_ref(), key.0.as_bytes())?;
        Ok(intent.is_some_and(|intent| intent.state == IntentState::Queued))
    }

    /// The intent that owns a nonce.
    fn intent(&self, nonce: u64) -> Option<&Intent> {
        let key = self.tries(nonce).iter().find_map(|attempt| attempt.intent.as_ref())?;
        self.intents.get(key)
    }

    /// An empty draft.
    pub(super) fn draft(&self) -> Draft {
        Draft::new(&self.counters)
    }

    /// Gives a nonce out with its first attempt.
    pub(super) fn take_nonce(&self, draft: &mut Draft, attempt: &Attempt, intent: Option<&Intent>) {
        draft.attempt(attempt.clone());
        draft.counters.next = draft.counters.next.max(attempt.nonce + 1);
        if let Some(intent) = intent.filter(|_| !planted(Bug::LeaveQueued)) {
            draft.intent(Intent { state: IntentState::InFlight { nonce: attempt.nonce }, ..intent.clone() });
        }
    }

    /// Replaces the newest attempt, and with that has done what was ordered, if it was.
    pub(super) fn replace(&self, draft: &mut Draft, attempt: &Attempt) {
        draft.attempt(attempt.clone());
        self.forget_bump(draft, attempt.nonce);
    }

    /// Gives up the order for a replacement.
    pub(super) fn forget_bump(&self, draft: &mut Draft, nonce: u64) {
        self.forget_instructions(draft, nonce, |act| act != Act::Cancel);
    }

    /// Notes that a provider took an attempt.
    pub(super) fn accepted(&self, draft: &mut Draft, nonce: u64, number: u32, now: WallTime) {
        let known = self.tries(nonce).iter().find(|attempt| attempt.number == number);
        if let Some(attempt) = known.filter(|attempt| attempt.accepted_at.is_none()) {
            draft.attempt(Attempt { accepted_at: Some(now), ..attempt.clone() });
        }
    }

    /// Wants a withdrawal; its number is used up with it.
    pub(super) fn want_withdrawal(&self, draft: &mut Draft, intent: Intent, number: u64) {
        draft.intent(intent);
        draft.counters.withdrawals = number + 1;
    }

    /// Ends an intent that never got a nonce.
    pub(super) fn abandon(
        &self,
        draft: &mut Draft,
        intent: &Intent,
        reason: Abandonment,
    ) -> Result<(), Error> {
        draft.journal(self.store.as_ref(), intent, Execution::Abandoned { reason })?;
        draft.intent(Intent { state: IntentState::Done, ..intent.clone() });
        Ok(())
    }

    /// Journals what came of a nonce, as its receipt tells, if that is news to the readers: a transaction that
    /// comes back to the very block that a reorg took it from is none.
    pub(super) fn confirm(
        &self,
        draft: &mut Draft,
        nonce: u64,
        (receipt, time): (&Receipt, ChainTime),
        now: WallTime,
    ) -> Result<(), Error> {
        let tries = self.tries(nonce);
        let Some(winner) = tries.iter().find(|attempt| attempt.tx == receipt.tx) else { return Ok(()) };
        self.forget_spend(draft, tries);
        self.forget_instructions(draft, nonce, |_| true);
        let fee = receipt.gas_price.times(receipt.gas_used);
        let value = if receipt.succeeded { winner.call.value() } else { Wei::ZERO };
        draft.spend(Spend { at: now, nonce, wei: fee.plus(value) });
        for attempt in tries {
            let mined = (attempt.tx == receipt.tx).then_some(Mined {
                block: receipt.block,
                hash: receipt.hash,
                at: now,
                standing: true,
            });
            if mined.is_some() || attempt.mined.is_some() {
                draft.attempt(Attempt { mined, ..attempt.clone() });
            }
        }
        if let Some(intent) = self.intent(nonce) {
            draft.intent(Intent { state: IntentState::Confirmed { nonce }, ..intent.clone() });
            if winner.mined.as_ref().is_none_or(|mined| mined.hash != receipt.hash) {
                let result = slots::execution(winner, receipt, fee, time);
                draft.journal(self.store.as_ref(), intent, result)?;
            }
        }
        Ok(())
    }

    /// Puts a nonce back in flight: a reorg removed what stood.
    pub(super) fn take_back(&self, draft: &mut Draft, nonce: u64) {
        let tries = self.tries(nonce);
        self.forget_spend(draft, tries);
        for attempt in tries.iter().filter(|attempt| attempt.mined.is_some()) {
            let mined = attempt.mined.clone().map(|mined| Mined { standing: false, ..mined });
            draft.attempt(Attempt { mined, ..attempt.clone() });
        }
        if let Some(intent) = self.intent(nonce) {
            draft.intent(Intent { state: IntentState::InFlight { nonce }, ..intent.clone() });
        }
    }

    /// Ends a nonce that is final.
    pub(super) fn finish(&self, draft: &mut Draft, nonce: u64) {
        self.close(draft, nonce);
        if let Some(intent) = self.intent(nonce) {
            draft.intent(Intent { state: IntentState::Done, ..intent.clone() });
        }
    }

    /// Wants again what a stranger's transaction kept from its nonce.
    pub(super) fn requeue(&self, draft: &mut Draft, nonce: u64) -> Option<Intent> {
        self.close(draft, nonce);
        let intent = Intent { state: IntentState::Queued, ..self.intent(nonce)?.clone() };
        draft.intent(intent.clone());
        Some(intent)
    }

    /// Ends what a stranger's transaction kept from its nonce.
    pub(super) fn lose(&self, draft: &mut Draft, nonce: u64) -> Result<(), Error> {
        self.close(draft, nonce);
        let Some(intent) = self.intent(nonce) else { return Ok(()) };
        let cancelled = self.lane.slots.get(&nonce).is_some_and(|slot| slot.wish.cancel);
        let reason = if cancelled { Abandonment::Cancelled } else { Abandonment::NonceTaken };
        self.abandon(draft, intent, reason)
    }

    fn forget_instructions(&self, draft: &mut Draft, nonce: u64, which: impl Fn(Act) -> bool) {
        let Some(intent) = self.intent(nonce) else { return };
        for instruction in self.instructions.get(&intent.key).into_iter().flatten() {
            if which(instruction.act) {
                draft.done(instruction);
            }
        }
    }

    fn forget_spend(&self, draft: &mut Draft, tries: &[Attempt]) {
        for attempt in tries {
            if let Some(mined) = &attempt.mined {
                draft.unspend(mined.at, attempt.nonce);
            }
        }
    }

    /// Forgets a nonce's attempts: it is used for good, and so are all below.
    fn close(&self, draft: &mut Draft, nonce: u64) {
        draft.close(nonce, self.tries(nonce));
        self.forget_instructions(draft, nonce, |_| true);
        let (used, counters) = (nonce + 1, &mut draft.counters);
        (counters.next, counters.final_below) = (counters.next.max(used), counters.final_below.max(used));
    }
}
