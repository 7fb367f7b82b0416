//! New work: queued intents get nonces, and the treasury wants withdrawals.

use std::rc::Rc;

use super::sending::with_margin;
use super::{Error, Round, World};
use crate::domain::market::{Abandonment, MarketCall};
use crate::domain::units::Wei;
use crate::domain::wallet::fees;
use crate::domain::wallet::spend::{self, Verdict};
use crate::planted::{planted, Bug};
use crate::ports::chain;
use crate::ports::store::{self, Order};
use crate::records::intent::{Intent, IntentKey, IntentState};
use crate::wallet_signer::book::Book;
use crate::wallet_signer::Asked;

/// Milliseconds between looks at balance and credit.
const TREASURY_MS: u64 = 60_000;
/// Intents that the slow walk reads in a round.
const WALK: usize = 500;

/// As much of an intent as the walk reads.
#[derive(serde::Deserialize)]
struct Glance {
    state: IntentState,
}

impl Round {
    /// Looks at balance and credit now and then, and wants a withdrawal when that is worth it.
    pub(super) async fn treasury(&mut self, world: &World) -> Result<(), Error> {
        let now = self.now();
        if self.asked == Asked::Nothing && now < self.memory.next_credit {
            return Ok(());
        }
        self.memory.next_credit = now.saturating_add(TREASURY_MS);
        let chain = Rc::clone(&self.ports.chain);
        self.memory.balance = Some(chain.balance(self.me).await?);
        let credit = chain.credit(self.me).await?;
        self.memory.credit = Some(credit);
        let wanted = match self.asked {
            Asked::Withdraw => credit > Wei::ZERO,
            _ => self.config.auto_withdraw && credit >= self.config.min_withdraw && credit > Wei::ZERO,
        };
        if !wanted || world.behind {
            return Ok(());
        }
        let book = self.book()?;
        let key = |number| IntentKey::of_account("withdraw", self.market, self.me, number);
        let read = |number| store::read::<Intent>(self.ports.store.as_ref(), key(number).0.as_bytes());
        let number = book.counters.withdrawals;
        let last = number.checked_sub(1).map(read).transpose()?.flatten();
        let open =
            |intent: &Intent| matches!(intent.state, IntentState::Queued | IntentState::InFlight { .. });
        if last.as_ref().is_some_and(open) {
            return Ok(());
        }
        // A withdrawal that would revert is not wanted anew each minute.
        if let Err(error) = chain.simulate(self.me, &MarketCall::Withdraw).await {
            self.memory.alert("credit", format!("{credit} wei cannot be withdrawn: {error}"));
            return Ok(());
        }
        self.memory.calm("credit");
        let intent = Intent {
            key: key(number),
            market: self.market,
            call: MarketCall::Withdraw,
            deadline: None,
            created: self.ports.clock.wall(),
            state: IntentState::Queued,
        };
        book.want_withdrawal(&intent, number)?;
        self.memory.enqueue(intent.key);
        Ok(())
    }

    /// Finds queued intents of which no [`crate::wallet_signer::Submit`] told: among all at first, then among some each round.
    pub(super) fn walk(&mut self) -> Result<(), Error> {
        loop {
            let (store, from) = (&self.ports.store, &self.memory.walk_from);
            let page = store.scan(store::Table::Intents, from, None, Order::Ascending, WALK)?;
            for (key, intent) in &page {
                let Ok(Glance { state }) = serde_json::from_slice(intent) else {
                    let key = String::from_utf8_lossy(key);
                    self.memory.alert("intent", format!("{key} is unreadable"));
                    continue;
                };
                if state == IntentState::Queued {
                    self.memory.enqueue(IntentKey(String::from_utf8_lossy(key).into_owned()));
                }
            }
            let at_the_end = page.len() < WALK;
            self.memory.walk_from = match page.last() {
                Some((last, _)) if !at_the_end => [last.as_slice(), &[0]].concat(),
                _ => vec![],
            };
            self.memory.walked_all |= at_the_end;
            if self.memory.walked_all {
                return Ok(());
            }
        }
    }

    /// Gives nonces to queued intents while there is room.
    pub(super) async fn start(&mut self, world: &World) -> Result<(), Error> {
        if world.behind {
            self.memory.alert("behind", "the provider lags behind the facts: nothing new is sent".into());
            return Ok(());
        }
        self.memory.calm("behind");
        let (latest, most) = (world.latest, self.config.in_flight);
        let room = |book: &Book| book.lane.in_flight(latest) < most;
        let mut book = self.book()?;
        if self.memory.queue.is_empty() || !room(&book) {
            return Ok(());
        }
        let now = self.now();
        let mut ready = vec![];
        for (key, patience) in &self.memory.queue {
            if patience.is_over(now) {
                ready
                    .push((store::read::<Intent>(self.ports.store.as_ref(), key.0.as_bytes())?, key.clone()));
            }
        }
        // Oldest first, whatever its name.
        ready.sort_by_key(|(intent, _)| intent.as_ref().map(|intent| intent.created));
        for (intent, key) in ready {
            if !room(&book) {
                break;
            }
            match intent {
                Some(intent) if intent.state == IntentState::Queued && intent.market == self.market => {
                    match self.begin(&book, &intent, world).await {
                        Ok(true) => {
                            self.memory.queue.remove(&key);
                            book = self.book()?;
                        }
                        Ok(false) => self.memory.postpone(&key, now),
                        Err(error) => {
                            self.memory.postpone(&key, now);
                            return Err(error);
                        }
                    }
                }
                _ => {
                    self.memory.queue.remove(&key);
                }
            }
        }
        Ok(())
    }

    /// Gives a nonce to an intent, or gives the intent up. False: not now.
    async fn begin(&mut self, book: &Book, intent: &Intent, world: &World) -> Result<bool, Error> {
        if intent.deadline.is_some_and(|deadline| world.moment.chain > deadline) {
            return self.abandon(book, intent, Abandonment::TooLate);
        }
        let chain = Rc::clone(&self.ports.chain);
        let gas = match chain.simulate(self.me, &intent.call).await {
            Ok(gas) => gas,
            Err(chain::Error::Reverts { reason }) => {
                return self.abandon(book, intent, Abandonment::WouldRevert(reason));
            }
            Err(error) => return Err(error.into()),
        };
        let going = self.going().await?;
        let Some(fees) = fees::offer(going, self.config.max_fee_per_gas) else {
            self.memory.alert("fees", "gas costs more than max_fee_per_gas: nothing new is sent".into());
            return Ok(false);
        };
        self.memory.calm("fees");
        let gas_limit = with_margin(gas);
        let worst = spend::worst(gas_limit, fees.max_fee, intent.call.value());
        match spend::judge(self.config.caps(), book.spent, book.lane.at_risk(), worst) {
            Verdict::Fits => self.memory.calm("spend"),
            Verdict::Later => {
                self.memory.alert("spend", "the day's spend cap is reached: nothing new is sent".into());
                return Ok(false);
            }
            Verdict::Never => {
                let words = format!("it may cost {worst} wei");
                return self.abandon(book, intent, Abandonment::OverCap(words));
            }
        }
        let balance = chain.balance(self.me).await?;
        self.memory.balance = Some(balance);
        // A withdrawal is what lifts an account above its floor.
        let floor = match intent.call {
            MarketCall::Withdraw => Wei::ZERO,
            _ => self.config.balance_floor,
        };
        if balance < book.lane.outstanding().plus(worst).plus(floor) {
            self.memory.alert("balance", format!("{balance} wei are not enough: nothing new is sent"));
            return Ok(false);
        }
        self.memory.calm("balance");
        let nonce = book.lane.next_nonce(world.latest);
        let attempt = self.sign(nonce, Some(intent.key.clone()), intent.call.clone(), gas_limit, fees)?;
        if planted(Bug::SendBeforePersist) {
            self.hand_over(&attempt).await?;
        }
        if !book.take_nonce(&attempt, Some(intent))? {
            return Ok(true);
        }
        tracing::info!(intent = %intent.key, nonce, tx = %attempt.tx, "a transaction is signed");
        self.memory.forget(nonce);
        self.hand_over(&attempt).await?;
        Ok(true)
    }

    fn abandon(&mut self, book: &Book, intent: &Intent, reason: Abandonment) -> Result<bool, Error> {
        if !book.is_queued(&intent.key)? {
            return Ok(true);
        }
        tracing::info!(intent = %intent.key, %reason, "an intent is given up");
        book.abandon(intent, reason)?;
        Ok(true)
    }
}
