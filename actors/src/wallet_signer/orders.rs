//! What a person orders about one transaction: that it should not happen any more, or that it should pay more now.
//!
//! An order is durable when it is answered, and the same order twice is one order. A queued intent is dropped on
//! the spot; of one that has a nonce nobody can say more than that a dearer transaction will compete for it.

use actix::prelude::*;
use serde::Serialize;

use std::cell::Ref;

use super::book::Book;
use super::WalletSigner;
use crate::domain::market::{Abandonment, Execution};
use crate::domain::wallet::fees;
use crate::ports::store::{self, Order};
use crate::records::intent::{Intent, IntentKey, IntentState};
use crate::records::journal::Outcome;
use crate::records::wallet::{Act, Instruction};

/// So many of the newest outcomes are looked through for that of an intent which is over.
const LOOKED_THROUGH: usize = 50_000;

/// What an intent wants should not happen any more.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<Cancelled, Refusal>")]
pub struct CancelIntent {
    /// Which.
    pub key: IntentKey,
}

/// How far a cancellation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "cancelled", rename_all = "snake_case")]
pub enum Cancelled {
    /// It has no effect, and never will.
    Done,
    /// A transfer of nothing competes for its nonce; which of the two is mined shows in its outcome.
    UnderWay {
        /// The nonce.
        nonce: u64,
    },
}

/// The newest transaction of an intent should be replaced by a dearer one now.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<Bumped, Refusal>")]
pub struct BumpIntent {
    /// Which.
    pub key: IntentKey,
    /// The number of the attempt that is too cheap, as the status tells it; the newest if none is given. With it,
    /// a repeated order is known for one.
    pub attempt: Option<u32>,
}

/// How far a replacement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "bumped", rename_all = "snake_case")]
pub enum Bumped {
    /// A dearer attempt stands already.
    Done {
        /// The nonce.
        nonce: u64,
        /// Its number.
        attempt: u32,
    },
    /// It will be replaced in the next round, at once if the chain answers.
    UnderWay {
        /// The nonce.
        nonce: u64,
        /// The number of the attempt to be replaced.
        attempt: u32,
    },
}

/// Why an order is refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "refused", rename_all = "snake_case")]
pub enum Refusal {
    /// Nobody wanted it.
    #[error("{key}: no such transaction was ever wanted")]
    Unknown {
        /// The key.
        key: IntentKey,
    },
    /// It has no nonce yet: there is nothing to replace.
    #[error("{key}: it has no nonce yet, there is nothing to replace")]
    Queued {
        /// The key.
        key: IntentKey,
    },
    /// It is mined.
    #[error("{key}: it is mined already, at nonce {nonce}")]
    Mined {
        /// The key.
        key: IntentKey,
        /// The nonce.
        nonce: u64,
    },
    /// It is over, and was not cancelled.
    #[error("{key}: it is over")]
    Over {
        /// The key.
        key: IntentKey,
    },
    /// A tenth more would pass `max_fee_per_gas`.
    #[error("{key}: a tenth more than nonce {nonce} pays would pass wallet.max_fee_per_gas")]
    AtCeiling {
        /// The key.
        key: IntentKey,
        /// The nonce.
        nonce: u64,
    },
    /// The store failed.
    #[error("{words}")]
    Store {
        /// Its words.
        words: String,
    },
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Self::Store { words: error.to_string() }
    }
}

impl Handler<CancelIntent> for WalletSigner {
    type Result = MessageResult<CancelIntent>;

    fn handle(&mut self, order: CancelIntent, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.cancel(order.key);
        if matches!(answer, Ok(Cancelled::UnderWay { .. })) {
            self.wake(ctx);
        }
        MessageResult(answer)
    }
}

impl Handler<BumpIntent> for WalletSigner {
    type Result = MessageResult<BumpIntent>;

    fn handle(&mut self, order: BumpIntent, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.bump(order.key, order.attempt);
        if matches!(answer, Ok(Bumped::UnderWay { .. })) {
            self.wake(ctx);
        }
        MessageResult(answer)
    }
}

impl WalletSigner {
    fn cancel(&mut self, key: IntentKey) -> Result<Cancelled, Refusal> {
        let intent = self.wanted(&key)?;
        match intent.state {
            IntentState::Queued => {
                let book = self.read()?;
                let mut draft = book.draft();
                book.abandon(&mut draft, &intent, Abandonment::Cancelled)?;
                drop(book);
                self.book.borrow_mut().commit(draft, self.ports.clock.wall())?;
                self.memory.queue.remove(&key);
                self.submitted.remove(&key);
                tracing::info!(intent = %key, "a person cancelled an intent");
                Ok(Cancelled::Done)
            }
            IntentState::InFlight { nonce } => {
                self.instruct(key, Act::Cancel)?;
                Ok(Cancelled::UnderWay { nonce })
            }
            IntentState::Confirmed { nonce } => Err(Refusal::Mined { key, nonce }),
            IntentState::Done => match self.outcome(&key)? {
                Some(Execution::Abandoned { reason: Abandonment::Cancelled }) => Ok(Cancelled::Done),
                _ => Err(Refusal::Over { key }),
            },
        }
    }

    fn bump(&mut self, key: IntentKey, wanted: Option<u32>) -> Result<Bumped, Refusal> {
        let nonce = match self.wanted(&key)?.state {
            IntentState::Queued => return Err(Refusal::Queued { key }),
            IntentState::InFlight { nonce } => nonce,
            IntentState::Confirmed { nonce } => return Err(Refusal::Mined { key, nonce }),
            IntentState::Done => return Err(Refusal::Over { key }),
        };
        let newest = self.read()?.newest(nonce).map(|newest| (newest.number, newest.fees));
        let Some((attempt, paid)) = newest else { return Err(Refusal::Queued { key }) };
        if wanted.is_some_and(|wanted| wanted < attempt) {
            return Ok(Bumped::Done { nonce, attempt });
        }
        if fees::least_over(paid, self.config.max_fee_per_gas).is_none() {
            return Err(Refusal::AtCeiling { key, nonce });
        }
        self.instruct(key, Act::Bump { attempt })?;
        Ok(Bumped::UnderWay { nonce, attempt })
    }

    fn read(&self) -> Result<Ref<'_, Book>, store::Error> {
        self.book.borrow_mut().refresh(self.ports.clock.wall())?;
        Ok(self.book.borrow())
    }

    fn wanted(&self, key: &IntentKey) -> Result<Intent, Refusal> {
        let intent = store::read::<Intent>(self.ports.store.as_ref(), key.0.as_bytes())?;
        intent.ok_or_else(|| Refusal::Unknown { key: key.clone() })
    }

    fn instruct(&self, intent: IntentKey, act: Act) -> Result<(), store::Error> {
        tracing::info!(%intent, ?act, "a person gave an order");
        let at = self.ports.clock.wall();
        let mut draft = self.read()?.draft();
        draft.instruct(Instruction { intent, act, at });
        self.book.borrow_mut().commit(draft, at)
    }

    /// The newest outcome of an intent.
    fn outcome(&self, key: &IntentKey) -> Result<Option<Execution>, store::Error> {
        let newest: Vec<Outcome> =
            store::list(self.ports.store.as_ref(), &[], Order::Descending, LOOKED_THROUGH)?;
        Ok(newest.into_iter().find(|outcome| outcome.intent == *key).map(|outcome| outcome.result))
    }
}
