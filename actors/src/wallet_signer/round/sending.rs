//! Signing, and handing over: each attempt is durable before anybody sees it.

use super::{Error, Round, World};
use crate::domain::market::{Abandonment, MarketCall};
use crate::domain::units::Wei;
use crate::domain::wallet::fault::Fault;
use crate::domain::wallet::fees::{self, Fees, Going};
use crate::domain::wallet::slot::{Slot, Urge};
use crate::domain::wallet::spend::{self, Verdict};
use crate::planted::{planted, Bug};
use crate::ports::chain;
use crate::ports::keys::{self, Unsigned};
use crate::records::intent::IntentKey;
use crate::records::wallet::Attempt;
use crate::wallet_signer::book::{keep, Book};

/// Gas of a transfer of nothing, where the chain does not tell.
const NO_OP_GAS: u64 = 21_000;

impl Round {
    /// Replaces the newest attempt by a dearer one, or with a reason by one that only takes the nonce. Where
    /// a cap forbids that, the old bytes go out again when that is due.
    pub(super) async fn replace(
        &mut self,
        book: &mut Book,
        slot: &Slot,
        gives_up: Option<Abandonment>,
        due: bool,
    ) -> Result<(), Error> {
        let Some(old) = book.tries(slot.nonce).last() else { return Ok(()) };
        let going = self.going().await?;
        let (call, gas_limit) = match gives_up {
            Some(_) => (MarketCall::NoOp, self.no_op_gas().await?),
            None => (old.call.clone(), old.gas_limit),
        };
        let dearer = fees::outbid(old.fees, going, self.config.max_fee_per_gas).filter(|fees| {
            let worst = spend::worst(gas_limit, fees.max_fee, call.value()).max(slot.worst());
            let others = book.lane.at_risk().minus(slot.worst());
            spend::judge(self.config.caps(), book.spent, others, worst) == Verdict::Fits
        });
        let Some(fees) = dearer else {
            self.memory.alert("ceiling", format!("nonce {} may not pay more", slot.nonce));
            book.forget_bump(slot.nonce)?;
            return if due { self.hand_over(old).await } else { Ok(()) };
        };
        self.memory.calm("ceiling");
        let attempt = Attempt {
            number: old.number + 1,
            gives_up: gives_up.or_else(|| old.gives_up.clone()),
            ..self.sign(slot.nonce, old.intent.clone(), call, gas_limit, fees)?
        };
        if planted(Bug::ReplaceBeforePersist) {
            self.hand_over(&attempt).await?;
        }
        book.replace(&attempt)?;
        *book = self.book()?;
        self.memory.counts.replaced += 1;
        tracing::info!(nonce = slot.nonce, tx = %attempt.tx, attempt = attempt.number, "a transaction is replaced");
        self.hand_over(&attempt).await
    }

    /// Hands over a nonce's newest attempt.
    pub(super) async fn send_newest(&mut self, book: &Book, nonce: u64) -> Result<(), Error> {
        match book.tries(nonce).last() {
            Some(newest) => self.hand_over(newest).await,
            None => Ok(()),
        }
    }

    /// Hands over an attempt that is durable. Whatever the answer, its fate is told by receipts alone.
    pub(super) async fn hand_over(&mut self, attempt: &Attempt) -> Result<(), Error> {
        let nonce = attempt.nonce;
        let (fault, words) = match self.ports.chain.submit(&attempt.raw).await {
            Ok(_) => (Fault::AlreadyKnown, String::new()),
            Err(chain::Error::Reverts { reason }) => (Fault::Reverts, reason),
            Err(chain::Error::Refused { message, .. }) => (Fault::of(&message), message),
            Err(error) => (Fault::Unknown, error.to_string()),
        };
        let now = self.now();
        self.memory.counts.handed_over += 1;
        match fault {
            Fault::AlreadyKnown => {
                self.memory.calm("send");
                self.memory.taken(nonce, now);
                if attempt.accepted_at.is_none() {
                    let accepted_at = Some(self.ports.clock.wall());
                    keep(self.ports.store.as_ref(), &Attempt { accepted_at, ..attempt.clone() })?;
                }
                return Ok(());
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
        Ok(())
    }

    /// Lets transfers of nothing take the nonces that nothing takes.
    pub(super) async fn fill_gaps(&mut self, world: &World) -> Result<(), Error> {
        for nonce in self.book()?.lane.gaps(world.latest) {
            let book = self.book()?;
            let gas_limit = self.no_op_gas().await?;
            let going = self.going().await?;
            let fees = fees::offer(going, self.config.max_fee_per_gas);
            let fits = |fees: &Fees| {
                let worst = spend::worst(gas_limit, fees.max_fee, Wei::ZERO);
                spend::judge(self.config.caps(), book.spent, book.lane.at_risk(), worst) == Verdict::Fits
            };
            let Some(fees) = fees.filter(fits) else {
                self.memory.alert("gap", format!("nonce {nonce} is missing, and filling it costs too much"));
                return Ok(());
            };
            tracing::warn!(nonce, "a nonce is missing: a transfer of nothing takes it");
            let attempt = self.sign(nonce, None, MarketCall::NoOp, gas_limit, fees)?;
            if book.take_nonce(&attempt, None)? {
                self.hand_over(&attempt).await?;
            }
        }
        self.memory.calm("gap");
        Ok(())
    }

    /// Signs a nonce's first attempt.
    pub(super) fn sign(
        &self,
        nonce: u64,
        intent: Option<IntentKey>,
        call: MarketCall,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<Attempt, keys::Error> {
        let signed = self.ports.keys.sign(&Unsigned {
            chain: self.market.chain,
            market: self.market.address,
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
        match self.ports.chain.simulate(self.me, &MarketCall::NoOp).await {
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
