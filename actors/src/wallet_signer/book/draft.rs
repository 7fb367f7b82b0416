//! Changes of the book that become durable together: as the store wants them, and as they are entered afterwards.
//!
//! A draft is made and committed within one turn of the arbiter, so nothing comes between.

use crate::domain::market::Execution;
use crate::domain::units::{WallTime, Wei};
use crate::ports::store::{Batch, Error, Record, Store};
use crate::records::intent::{Intent, IntentKey};
use crate::records::journal::{self, Outcome};
use crate::records::wallet::{Act, Attempt, Counters, Instruction, Spend};

/// A change as it is entered once it is durable.
pub(super) enum Edit {
    Attempt(Attempt),
    /// A nonce is forgotten.
    Close(u64),
    Intent(Intent),
    Spend(Spend),
    Unspend(WallTime, u64),
    Instruct(Instruction),
    /// An order is carried out, or has become void.
    Done(IntentKey, Act),
}

/// The changes.
#[must_use = "a draft does nothing until it is committed"]
pub(in crate::wallet_signer) struct Draft {
    pub(super) batch: Batch,
    pub(super) edits: Vec<Edit>,
    pub(super) counters: Counters,
    /// The journal's next place, once it is known.
    seq: Option<u64>,
}

impl Draft {
    pub(super) fn new(counters: &Counters) -> Self {
        Self { batch: Batch::new(), edits: Vec::new(), counters: counters.clone(), seq: None }
    }
    pub(super) fn attempt(&mut self, attempt: Attempt) {
        self.batch.put(&attempt);
        self.edits.push(Edit::Attempt(attempt));
    }
    pub(super) fn close(&mut self, nonce: u64, tries: &[Attempt]) {
        for attempt in tries {
            self.batch.delete::<Attempt>(&attempt.key());
        }
        self.edits.push(Edit::Close(nonce));
    }
    pub(super) fn intent(&mut self, intent: Intent) {
        self.batch.put(&intent);
        self.edits.push(Edit::Intent(intent));
    }
    pub(super) fn spend(&mut self, spend: Spend) {
        self.batch.put(&spend);
        self.edits.push(Edit::Spend(spend));
    }
    pub(super) fn unspend(&mut self, at: WallTime, nonce: u64) {
        self.batch.delete::<Spend>(&Spend { at, nonce, wei: Wei::ZERO }.key());
        self.edits.push(Edit::Unspend(at, nonce));
    }
    /// Writes an order down.
    pub(in crate::wallet_signer) fn instruct(&mut self, instruction: Instruction) {
        self.batch.put(&instruction);
        self.edits.push(Edit::Instruct(instruction));
    }
    pub(super) fn done(&mut self, instruction: &Instruction) {
        self.batch.delete::<Instruction>(&instruction.key());
        self.edits.push(Edit::Done(instruction.intent.clone(), instruction.act));
    }
    pub(super) fn journal(
        &mut self,
        store: &dyn Store,
        intent: &Intent,
        result: Execution,
    ) -> Result<(), Error> {
        let seq = match self.seq {
            Some(seq) => seq,
            None => journal::next_seq::<Outcome>(store)?,
        };
        self.seq = Some(seq + 1);
        self.batch.put(&Outcome {
            seq,
            intent: intent.key.clone(),
            market: intent.market,
            call: intent.call.clone(),
            result,
        });
        Ok(())
    }
}
