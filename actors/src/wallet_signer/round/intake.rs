//! New work: queued intents get nonces, and the treasury wants withdrawals.

use std::rc::Rc;

use super::sending::with_margin;
use super::{Error, Round, World};
use crate::domain::market::{Abandonment, Market, MarketCall};
use crate::domain::units::{WallTime, Wei};
use crate::domain::wallet::fees;
use crate::domain::wallet::spend::{self, Verdict};
use crate::planted::{planted, Bug};
use crate::ports::chain::{self, At, CallAt};
use crate::ports::store::{self, Order};
use crate::records::following;
use crate::records::intent::{Intent, IntentKey, IntentState};
use crate::records::wallet::under_way;
use crate::records::wallet::Attempt;
use crate::wallet_signer::book::{Book, Draft};
use crate::wallet_signer::Asked;

/// Milliseconds between looks at balance and credit.
const TREASURY_MS: u64 = 60_000;
/// Intents that the slow walk reads in a round.
const WALK: usize = 500;

/// Milliseconds between two parts of the slow walk, at least.
const WALK_MS: u64 = 500;
/// Intents that get their nonces in one batch at most.
const GROUP: usize = 128;

/// As much of an intent as the walk reads.
#[derive(serde::Deserialize)]
struct Glance {
    state: IntentState,
    created: WallTime,
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
        let mut credits = Vec::new();
        for (market, is_retired) in self.markets()? {
            credits.push((market, is_retired, chain.credit(market.address, self.me).await?));
        }
        self.memory.credit = Some(credits.iter().fold(Wei::ZERO, |sum, (_, _, credit)| sum.plus(*credit)));
        // Somebody else's may wait in the mempool before they are mined.
        let (waiting, ours) =
            (chain.nonce(self.me, At::Pending).await?, self.book.borrow().lane.next_nonce(0));
        match waiting > ours.max(world.latest) {
            true => self.memory.alert(
                "mempool",
                format!("nonce {} waits in the mempool, and this node did not sign it", waiting - 1),
            ),
            false => self.memory.calm("mempool"),
        }
        if world.behind {
            return Ok(());
        }
        for (market, is_retired, credit) in credits {
            // Nothing more comes to an old market: what is left there is fetched, however little.
            let enough = is_retired || credit >= self.config.min_withdraw;
            let wanted = self.asked == Asked::Withdraw || (self.config.auto_withdraw && enough);
            if wanted && credit > Wei::ZERO {
                self.withdraw(market, credit).await?;
            }
        }
        Ok(())
    }

    /// The markets that may owe something, the current one first, and whether each is retired.
    fn markets(&self) -> Result<Vec<(Market, bool)>, store::Error> {
        let read = following::read_ones(self.ports.store.as_ref())?;
        let read: Vec<_> = read.into_iter().map(|one| (one.market, !one.is_current())).collect();
        Ok(if read.is_empty() { vec![(self.market, false)] } else { read })
    }

    /// Wants the credit on a market to be withdrawn, unless that is under way or would revert.
    #[tracing::instrument(level = "error", skip_all, fields(%market))]
    async fn withdraw(&mut self, market: Market, credit: Wei) -> Result<(), Error> {
        let number = self.book.borrow().counters.withdrawals;
        if under_way(self.ports.store.as_ref(), market, self.me, number)?.is_some() {
            return Ok(());
        }
        // A withdrawal that would revert is not wanted anew each minute.
        let call = (market.address, MarketCall::Withdraw);
        if let Err(error) = Rc::clone(&self.ports.chain).simulate(self.me, &call, self.memory.known).await {
            self.memory.alert("credit", format!("{credit} wei cannot be withdrawn: {error}"));
            return Ok(());
        }
        self.memory.calm("credit");
        let intent = Intent {
            key: IntentKey::of_account("withdraw", market, self.me, number),
            market,
            call: MarketCall::Withdraw,
            deadline: None,
            created: self.ports.clock.wall(),
            state: IntentState::Queued,
        };
        self.memory.queue.add(intent.key.clone(), intent.created);
        let mut draft = self.book.borrow().draft();
        self.book.borrow().want_withdrawal(&mut draft, intent, number);
        Ok(self.commit(draft)?)
    }

    /// Finds queued intents: those told of, and others among all at first, then among some each round.
    pub(super) async fn walk(&mut self) -> Result<(), Error> {
        let store = Rc::clone(&self.ports.store);
        for key in std::mem::take(&mut self.memory.told) {
            let intent = store::read::<Intent>(store.as_ref(), key.0.as_bytes())?;
            if let Some(intent) = intent.filter(|intent| intent.state == IntentState::Queued) {
                self.memory.queue.add(key, intent.created);
            }
        }
        let now = self.now();
        if self.memory.walked_all && now < self.memory.next_walk {
            return Ok(());
        }
        self.memory.next_walk = now.saturating_add((self.config.poll_ms / 2).max(WALK_MS));
        loop {
            let page =
                store.scan(store::Table::Intents, &self.memory.walk_from, None, Order::Ascending, WALK)?;
            for (key, intent) in &page {
                let key = String::from_utf8_lossy(key);
                match serde_json::from_slice(intent) {
                    Ok(Glance { state: IntentState::Queued, created }) => {
                        self.memory.queue.add(IntentKey(key.into_owned()), created);
                    }
                    Ok(_) => {}
                    Err(_) => self.memory.alert("intent", format!("{key} is unreadable")),
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
            // A long list must not keep the others on this arbiter from their work.
            tokio::task::yield_now().await;
        }
    }

    /// Gives nonces to queued intents while there is room, and tells whether more may go at once.
    pub(super) async fn start(&mut self, world: &World) -> Result<bool, Error> {
        if world.behind {
            self.memory.alert("behind", "the provider lags behind the facts: nothing new is sent".into());
            return Ok(false);
        }
        self.memory.calm("behind");
        let room = self.config.in_flight.saturating_sub(self.book.borrow().lane.in_flight(world.latest));
        let wishes = self.next_in_line(room.min(GROUP), world)?;
        if wishes.is_empty() {
            return Ok(false);
        }
        let started = self.begin(wishes, world).await?;
        Ok(started && self.memory.queue.ready(self.now()).next().is_some())
    }

    /// The oldest intents that may be tried now. What is too late is given up on the way.
    fn next_in_line(&mut self, most: usize, world: &World) -> Result<Vec<Intent>, Error> {
        if most == 0 {
            return Ok(vec![]);
        }
        let mut draft = self.book.borrow().draft();
        let (mut wishes, mut gone) = (Vec::new(), Vec::new());
        for key in self.memory.queue.ready(self.now()) {
            if wishes.len() == most {
                break;
            }
            let intent = store::read::<Intent>(self.ports.store.as_ref(), key.0.as_bytes())?;
            let ours = |intent: &Intent| {
                intent.state == IntentState::Queued && intent.market.chain == self.market.chain
            };
            match intent.filter(ours) {
                Some(intent) if intent.deadline.is_some_and(|deadline| world.moment.chain > deadline) => {
                    self.abandon(&mut draft, &intent, Abandonment::TooLate)?;
                    gone.push(intent.key);
                }
                Some(intent) => wishes.push(intent),
                None => gone.push(key.clone()),
            }
        }
        self.commit(draft)?;
        gone.iter().for_each(|key| self.memory.queue.remove(key));
        Ok(wishes)
    }

    /// Gives nonces to intents that fit the caps: all of them are signed and durable before any is sent. Tells
    /// whether any was.
    async fn begin(&mut self, wishes: Vec<Intent>, world: &World) -> Result<bool, Error> {
        let chain = Rc::clone(&self.ports.chain);
        let calls: Vec<CallAt> =
            wishes.iter().map(|intent| (intent.market.address, intent.call.clone())).collect();
        let gas = chain.simulate_all(self.me, &calls, self.memory.known).await;
        let mut failed = None;
        let mut able = Vec::new();
        let mut draft = self.book.borrow().draft();
        for (intent, gas) in wishes.into_iter().zip(gas) {
            match gas {
                Ok(gas) => able.push((intent, with_margin(gas))),
                Err(chain::Error::Reverts { reason }) => {
                    self.abandon(&mut draft, &intent, Abandonment::WouldRevert(reason))?;
                    self.memory.queue.remove(&intent.key);
                }
                Err(error) => {
                    self.memory.queue.postpone(&intent.key, self.now());
                    failed = Some(error);
                }
            }
        }
        self.commit(draft)?;
        let began = if able.is_empty() { Ok(false) } else { self.give_nonces(able, world).await };
        match failed {
            None => began,
            Some(error) => began.and(Err(error.into())),
        }
    }

    async fn give_nonces(&mut self, able: Vec<(Intent, u64)>, world: &World) -> Result<bool, Error> {
        let chain = Rc::clone(&self.ports.chain);
        let (going, balance) = match futures::try_join!(self.going(), chain.balance(self.me)) {
            Ok(told) => told,
            Err(error) => {
                able.iter().for_each(|(intent, _)| self.memory.queue.postpone(&intent.key, self.now()));
                return Err(error.into());
            }
        };
        self.memory.balance = Some(balance);
        let Some(fees) = fees::offer(going, self.config.max_fee_per_gas) else {
            self.memory.alert("fees", "gas costs more than max_fee_per_gas: nothing new is sent".into());
            able.iter().for_each(|(intent, _)| self.memory.queue.postpone(&intent.key, self.now()));
            return Ok(false);
        };
        self.memory.calm("fees");
        // From here to the commit nothing is awaited: nobody cancels an intent in between.
        let book = Rc::clone(&self.book);
        let mut draft = book.borrow().draft();
        let mut signed: Vec<Attempt> = Vec::new();
        let mut budget = Budget::of(&book.borrow(), balance, self.ports.clock.wall());
        for (intent, gas_limit) in able {
            if !book.borrow().is_queued(&intent.key)? {
                self.memory.queue.remove(&intent.key);
                continue;
            }
            let worst = spend::worst(gas_limit, fees.max_fee, intent.call.value());
            if !self.affords(&mut draft, &intent, &budget, worst)? {
                continue;
            }
            budget.reserve(worst);
            let nonce = book.borrow().lane.next_nonce(world.latest) + signed.len() as u64;
            let on = (intent.market, Some(intent.key.clone()));
            let attempt = self.sign(nonce, on, intent.call.clone(), gas_limit, fees)?;
            book.borrow().take_nonce(&mut draft, &attempt, Some(&intent));
            tracing::info!(intent = %intent.key, nonce, tx = %attempt.tx, "a transaction is signed");
            signed.push(attempt);
        }
        if planted(Bug::SendBeforePersist) {
            self.hand_over(signed.clone()).await?;
        }
        self.commit(draft)?;
        for attempt in &signed {
            self.memory.forget(attempt.nonce);
            attempt.intent.iter().for_each(|key| self.memory.queue.remove(key));
        }
        let any = !signed.is_empty();
        self.hand_over(signed).await?;
        Ok(any)
    }

    /// Whether caps and balance allow it. What they never will is given up, the rest waits.
    fn affords(
        &mut self,
        draft: &mut Draft,
        intent: &Intent,
        budget: &Budget,
        worst: Wei,
    ) -> Result<bool, Error> {
        match spend::judge(self.config.caps(), budget.spent, budget.at_risk, worst) {
            Verdict::Fits => self.memory.calm("spend"),
            Verdict::Later => {
                self.memory.alert("spend", "the day's spend cap is reached: nothing new is sent".into());
                self.memory.queue.postpone(&intent.key, self.now());
                return Ok(false);
            }
            Verdict::Never => {
                let reason = Abandonment::OverCap(format!("it may cost {worst} wei"));
                self.abandon(draft, intent, reason)?;
                self.memory.queue.remove(&intent.key);
                return Ok(false);
            }
        }
        // A withdrawal is what lifts an account above its floor.
        let floor = match intent.call {
            MarketCall::Withdraw => Wei::ZERO,
            _ => self.config.balance_floor,
        };
        if budget.balance < budget.outstanding.plus(worst).plus(floor) {
            let balance = budget.balance;
            self.memory.alert("balance", format!("{balance} wei are not enough: nothing new is sent"));
            self.memory.queue.postpone(&intent.key, self.now());
            return Ok(false);
        }
        self.memory.calm("balance");
        Ok(true)
    }

    fn abandon(&self, draft: &mut Draft, intent: &Intent, reason: Abandonment) -> Result<(), store::Error> {
        let book = self.book.borrow();
        // It may have been cancelled while the chain was asked.
        if book.is_queued(&intent.key)? {
            tracing::info!(intent = %intent.key, %reason, "an intent is given up");
            book.abandon(draft, intent, reason)?;
        }
        Ok(())
    }
}

/// What may still be spent while a group of intents gets its nonces.
struct Budget {
    balance: Wei,
    spent: Wei,
    at_risk: Wei,
    outstanding: Wei,
}

impl Budget {
    fn of(book: &Book, balance: Wei, now: WallTime) -> Self {
        let lane = &book.lane;
        Self { balance, spent: book.spent(now), at_risk: lane.at_risk(), outstanding: lane.outstanding() }
    }
    fn reserve(&mut self, worst: Wei) {
        if !planted(Bug::CountMinedOnly) {
            self.at_risk = self.at_risk.plus(worst);
        }
        self.outstanding = self.outstanding.plus(worst);
    }
}
