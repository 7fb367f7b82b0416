//! Signing, and handing over: each attempt is durable before anybody sees it.

use std::rc::Rc;

use super::{Error, Round, World};
use crate::domain::market::{Abandonment, Market, MarketCall};
use crate::domain::units::{TxHash, Wei};
use crate::domain::wallet::fault::Fault;
use crate::domain::wallet::fees::{self, Fees, Going};
use crate::domain::wallet::pace::LEAST_RISE;
use crate::domain::wallet::slot::{Slot, Urge};
use crate::domain::wallet::spend::{self, Verdict};
use crate::planted::{planted, Bug};
use crate::ports::chain;
use crate::ports::keys::{self, Unsigned};
use crate::records::intent::IntentKey;
use crate::records::wallet::Attempt;

/// Gas of a transfer of nothing, where the chain does not tell.
const NO_OP_GAS: u64 = 21_000;

/// Why a transaction is replaced.
pub(super) enum Why {
    /// Nobody mines it: so many per cent more.
    Outbid(u64),
    /// It should not happen any more.
    GivesUp(Abandonment),
}

impl Round {
    /// Replaces the newest attempt by a dearer one, or with a reason by one that only takes the nonce. Where
    /// a cap forbids that, the old bytes go out again when that is due.
    #[tracing::instrument(name = "transaction", level = "error", skip_all, fields(nonce = slot.nonce))]
    pub(super) async fn replace(&mut self, slot: &Slot, why: Why, due: bool) -> Result<(), Error> {
        let Some(old) = self.book.borrow().newest(slot.nonce).cloned() else { return Ok(()) };
        let going = self.going().await?;
        let (call, gas_limit, rise, gives_up) = match why {
            Why::GivesUp(reason) => (MarketCall::NoOp, self.no_op_gas().await?, LEAST_RISE, Some(reason)),
            Why::Outbid(rise) => (old.call.clone(), old.gas_limit, rise, None),
        };
        let dearer = fees::outbid(old.fees, going, self.config.max_fee_per_gas, rise).filter(|fees| {
            let book = self.book.borrow();
            let worst = spend::worst(gas_limit, fees.max_fee, call.value()).max(slot.worst());
            let others = book.lane.at_risk().minus(slot.worst());
            let spent = book.spent(self.ports.clock.wall());
            spend::judge(self.config.caps(), spent, others, worst) == Verdict::Fits
        });
        let Some(fees) = dearer else {
            self.memory.alert("ceiling", format!("nonce {} may not pay more", slot.nonce));
            let mut draft = self.book.borrow().draft();
            self.book.borrow().forget_bump(&mut draft, slot.nonce);
            self.commit(draft)?;
            return if due { self.hand_over(vec![old]).await } else { Ok(()) };
        };
        self.memory.calm("ceiling");
        let at = self.book.borrow().market_of(old.intent.as_ref(), self.market);
        let attempt = Attempt {
            number: old.number + 1,
            gives_up: gives_up.or_else(|| old.gives_up.clone()),
            ..self.sign(slot.nonce, (at, old.intent.clone()), call, gas_limit, fees)?
        };
        if planted(Bug::ReplaceBeforePersist) {
            self.hand_over(vec![attempt.clone()]).await?;
        }
        let mut draft = self.book.borrow().draft();
        self.book.borrow().replace(&mut draft, &attempt);
        self.commit(draft)?;
        self.memory.counts.replaced += 1;
        tracing::info!(nonce = slot.nonce, tx = %attempt.tx, attempt = attempt.number, "a transaction is replaced");
        self.hand_over(vec![attempt]).await
    }

    /// Hands over attempts that are durable. Whatever the answers, their fate is told by receipts alone.
    pub(super) async fn hand_over(&mut self, attempts: Vec<Attempt>) -> Result<(), Error> {
        if attempts.is_empty() {
            return Ok(());
        }
        let raws: Vec<&[u8]> = attempts.iter().map(|attempt| attempt.raw.as_slice()).collect();
        let answers = Rc::clone(&self.ports.chain).submit_all(&raws).await;
        let mut draft = self.book.borrow().draft();
        let mut taken = 0_usize;
        for (attempt, answer) in attempts.iter().zip(answers) {
            if self.heard(attempt, answer) {
                taken += 1;
                let at = self.ports.clock.wall();
                self.book.borrow().accepted(&mut draft, attempt.nonce, attempt.number, at);
            }
        }
        if taken == attempts.len() {
            self.memory.calm("send");
        }
        Ok(self.commit(draft)?)
    }

    /// Reads a provider's answer, and tells whether it took the transaction.
    #[tracing::instrument(name = "transaction", level = "error", skip_all, fields(
        nonce = attempt.nonce, tx = %attempt.tx, intent = attempt.intent.as_ref().map(tracing::field::display)
    ))]
    fn heard(&mut self, attempt: &Attempt, answer: Result<TxHash, chain::Error>) -> bool {
        let nonce = attempt.nonce;
        let (fault, words) = match answer {
            Ok(_) => (Fault::AlreadyKnown, String::new()),
            Err(chain::Error::Reverts { reason }) => (Fault::Reverts, reason),
            Err(chain::Error::Refused { message, .. }) => (Fault::of(&message), message),
            Err(error) => (Fault::Unknown, error.to_string()),
        };
        let now = self.now();
        self.memory.counts.handed_over += 1;
        match fault {
            Fault::AlreadyKnown => {
                self.memory.taken(nonce, now);
                return true;
            }
            Fault::ReplacementUnderpriced | Fault::Underpriced => {
                self.memory.refused(nonce, Urge::Outbid, now);
            }
            Fault::Reverts | Fault::Rejected => {
                let reason = Abandonment::WouldRevert(words.clone());
                self.memory.refused(nonce, Urge::GiveUp(reason), now);
            }
            Fault::NonceTooLow | Fault::InsufficientFunds | Fault::Unknown => {
                self.memory.refused(nonce, Urge::None, now);
            }
        }
        tracing::debug!(nonce, tx = %attempt.tx, ?fault, words, "a provider did not take a transaction");
        self.memory.counts.refused += 1;
        if fault != Fault::NonceTooLow {
            self.memory.alert("send", format!("nonce {nonce}: {words}"));
        }
        false
    }

    /// Lets transfers of nothing take the nonces that nothing takes.
    pub(super) async fn fill_gaps(&mut self, world: &World) -> Result<(), Error> {
        let gaps = self.book.borrow().lane.gaps(world.latest);
        for nonce in gaps {
            let gas_limit = self.no_op_gas().await?;
            let going = self.going().await?;
            let fees = fees::offer(going, self.config.max_fee_per_gas).filter(|fees| {
                let book = self.book.borrow();
                let worst = spend::worst(gas_limit, fees.max_fee, Wei::ZERO);
                let spent = book.spent(self.ports.clock.wall());
                spend::judge(self.config.caps(), spent, book.lane.at_risk(), worst) == Verdict::Fits
            });
            let Some(fees) = fees else {
                self.memory.alert("gap", format!("nonce {nonce} is missing, and filling it costs too much"));
                return Ok(());
            };
            tracing::warn!(nonce, "a nonce is missing: a transfer of nothing takes it");
            let attempt = self.sign(nonce, (self.market, None), MarketCall::NoOp, gas_limit, fees)?;
            let mut draft = self.book.borrow().draft();
            self.book.borrow().take_nonce(&mut draft, &attempt, None);
            self.commit(draft)?;
            self.hand_over(vec![attempt]).await?;
        }
        self.memory.calm("gap");
        Ok(())
    }

    /// Signs a nonce's first attempt, for a market and the intent that owns the nonce.
    pub(super) fn sign(
        &self,
        nonce: u64,
        (market, intent): (Market, Option<IntentKey>),
        call: MarketCall,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<Attempt, keys::Error> {
        let signed = self.ports.keys.sign(&Unsigned {
            chain: market.chain,
            market: market.address,
            nonce,
            gas_limit,
            fees: keys::Fees { max_fee: fees.max_fee, max_tip: fees.max_tip },
            call: call.clone(),
        })?;
        let (raw, tx, signed_at) = (signed.raw, signed.hash, self.ports.clock.wall());
        let (accepted_at, mined, gives_up) = (None, None, None);
        Ok(Attempt {
            nonce,
            number: 0,
            intent,
            call,
            gives_up,
            gas_limit,
            fees,
            raw,
            tx,
            signed_at,
            accepted_at,
            mined,
        })
    }

    /// What gas costs at the moment.
    pub(super) async fn going(&self) -> Result<Going, chain::Error> {
        let market = self.ports.chain.fees().await?;
        Ok(Going { base_fee: market.base_fee, tip: market.tip })
    }

    async fn no_op_gas(&self) -> Result<u64, chain::Error> {
        match self
            .ports
            .chain
            .simulate(self.me, &(self.market.address, MarketCall::NoOp), self.memory.known)
            .await
        {
            Ok(gas) => Ok(with_margin(gas)),
            Err(chain::Error::Reverts { .. }) => Ok(with_margin(NO_OP_GAS)),
            Err(error) => Err(error),
        }
    }
}

/// Half as much again: the state may change before the call is mined. Unused gas is not paid.
pub(super) fn with_margin(gas: u64) -> u64 {
    gas.saturating_add(gas / 2)
}
