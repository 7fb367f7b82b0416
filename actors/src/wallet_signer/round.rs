//! One round of the wallet: look, move every nonce on, fill gaps, start queued intents, see to the treasury.
//!
//! A round may be dropped at any of its awaits; what it has done by then is durable, what it has not is found
//! by the next.

use std::rc::Rc;

use super::memory::Memory;
use super::{Asked, Book, Config, Outbox, Ports};
use crate::domain::market::{Abandonment, Market, MarketCall};
use crate::domain::units::{Address, ChainTime, Wei};
use crate::domain::wallet::fault::Fault;
use crate::domain::wallet::fees::{self, Fees, Going};
use crate::domain::wallet::slot::{Inclusion, Moment, Move, Rules, Sight, Slot, Urge};
use crate::domain::wallet::spend::{self, Verdict};
use crate::ports::chain::{self, At, Receipt};
use crate::ports::keys::{self, Unsigned};
use crate::ports::store::{self, Order};
use crate::records::intent::{Intent, IntentKey, IntentState};
use crate::records::meta::{newest_block, Account, ChainStatus};
use crate::records::wallet::Attempt;

/// Milliseconds between looks at balance and credit.
const TREASURY_MS: u64 = 60_000;
/// Intents that the slow walk reads in a round: a lost [`super::Submit`] is made good by it.
const WALK: usize = 500;
/// Gas of a transfer of nothing, where the chain does not tell.
const NO_OP_GAS: u64 = 21_000;

/// Why a part of a round came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The chain's provider.
    #[error(transparent)]
    Chain(#[from] chain::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The key.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// Store, chain and key do not belong together, or the chain was rewritten: nothing is sent.
    #[error("{0}")]
    Refused(String),
}

/// The world as a round sees it.
struct World {
    moment: Moment,
    latest: u64,
    /// The provider is behind the facts on which intents rest: what it says of the state is old.
    behind: bool,
}

/// A receipt in the canonical chain, and its block's time.
type Found = Option<(Receipt, ChainTime)>;

/// As much of an intent as the walk reads.
#[derive(serde::Deserialize)]
struct Glance {
    state: IntentState,
}

/// One round.
pub(super) struct Round {
    pub(super) config: Rc<Config>,
    pub(super) market: Market,
    pub(super) me: Address,
    pub(super) ports: Ports,
    pub(super) outbox: Outbox,
    pub(super) asked: Asked,
    pub(super) memory: Memory,
}

impl Round {
    /// Runs the round, and gives back what it remembers.
    pub(super) async fn run(mut self) -> Memory {
        match self.pass().await {
            Ok(()) => self.memory.calm("round"),
            Err(error) => self.memory.alert("round", error.to_string()),
        }
        self.memory
    }

    async fn pass(&mut self) -> Result<(), Error> {
        self.belong().await?;
        let world = self.look().await?;
        self.tend(&world).await?;
        self.fill_gaps(&world).await?;
        self.treasury(&world).await?;
        self.walk()?;
        self.start(&world).await
    }

    fn now(&self) -> u64 {
        self.ports.clock.monotonic()
    }
    fn book(&self) -> Result<Book, store::Error> {
        Book::load(&self.ports.store, self.ports.clock.wall())
    }

    /// Refuses to go on with a store, a key or a chain that are not each other's.
    async fn belong(&mut self) -> Result<(), Error> {
        if let Some(why) = ChainStatus::read(self.ports.store.as_ref())?.and_then(|status| status.halted) {
            return Err(Error::Refused(format!("the chain was rewritten past finality: {why}")));
        }
        if self.memory.belongs {
            return Ok(());
        }
        let chain = self.ports.chain.chain_id().await?;
        if chain != self.market.chain {
            let wanted = self.market.chain;
            return Err(Error::Refused(format!("the provider is on chain {chain}, not {wanted}")));
        }
        match Account::read(self.ports.store.as_ref())? {
            None => self.book()?.keep(&Account { address: self.me })?,
            Some(account) if account.address == self.me => {}
            Some(Account { address }) => {
                return Err(Error::Refused(format!("the store is of account {address}, not {}", self.me)))
            }
        }
        self.memory.belongs = true;
        Ok(())
    }

    async fn look(&mut self) -> Result<World, Error> {
        let chain = &self.ports.chain;
        let head = chain.head().await?;
        let finalized = chain.finalized().await?.map(|header| header.number);
        let latest = chain.nonce(self.me, At::Latest).await?;
        let known = newest_block(self.ports.store.as_ref())?;
        let chain = known.as_ref().map_or(head.time, |block| head.time.max(block.time));
        self.memory.latest = Some(latest);
        Ok(World {
            moment: Moment { head: head.number, finalized, chain, wall: self.ports.clock.wall() },
            latest,
            behind: known.is_some_and(|block| head.number < block.number),
        })
    }

    /// Moves on every nonce that is not final. One of which the provider tells nonsense does not hold up others.
    async fn tend(&mut self, world: &World) -> Result<(), Error> {
        let mut front = None;
        self.memory.calm("receipts");
        for slot in self.book()?.lane.slots.into_values() {
            let (sight, found) = match self.sight(&slot, world).await {
                Ok(seen) => seen,
                Err(error @ chain::Error::Untrustworthy { .. }) => {
                    self.memory.alert("receipts", error.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if sight == Sight::Unmined && front.is_none() {
                front = Some(slot.nonce);
                self.memory.at_front(slot.nonce, self.now());
            }
            let rules = Rules {
                confirmations: self.config.confirmations,
                bump_after_ms: self.config.bump_after_seconds.saturating_mul(1_000),
            };
            let recall = self.memory.recall(slot.nonce, self.now());
            let next = slot.next(sight, &world.moment, rules, &recall);
            self.perform(&slot, next, found, recall.send_due).await?;
        }
        Ok(())
    }

    /// What the chain shows of a slot: the receipts of all its hashes count, and only canonical blocks.
    async fn sight(&mut self, slot: &Slot, world: &World) -> Result<(Sight, Found), chain::Error> {
        let chain = Rc::clone(&self.ports.chain);
        if let Some(standing) = slot.standing {
            if standing.block > world.moment.head {
                return Ok((Sight::Unclear, None));
            }
            match chain.header(standing.block).await? {
                Some(header) if header.hash == standing.hash => return Ok((Sight::Mined(standing), None)),
                Some(_) => {}
                None => return Ok((Sight::Unclear, None)),
            }
        }
        for attempt in slot.tries.iter().rev() {
            let Some(receipt) = chain.receipt(attempt.tx).await? else { continue };
            return Ok(match chain.header(receipt.block).await? {
                Some(header) if header.hash == receipt.hash => {
                    let seen = Inclusion { tx: attempt.tx, block: receipt.block, hash: receipt.hash };
                    (Sight::Mined(seen), Some((receipt, header.time)))
                }
                // Two providers that disagree: time will tell.
                _ => (Sight::Unclear, None),
            });
        }
        let push = self.memory.pushes.entry(slot.nonce).or_default();
        if world.latest > slot.nonce {
            let since = *push.passed_since.get_or_insert(world.moment.head);
            return Ok((Sight::Passed(since), None));
        }
        push.passed_since = None;
        Ok((Sight::Unmined, None))
    }

    /// Does what was decided for a slot.
    async fn perform(&mut self, slot: &Slot, next: Move, found: Found, due: bool) -> Result<(), Error> {
        let nonce = slot.nonce;
        let book = self.book()?;
        match next {
            Move::Wait => {}
            Move::Send => self.hand_over(nonce).await?,
            Move::Outbid => self.replace(slot, None, due).await?,
            Move::GiveUp(reason) => self.replace(slot, Some(reason), due).await?,
            Move::Confirm(_) => {
                let Some((receipt, time)) = found else { return Ok(()) };
                let news = book.confirm(nonce, &receipt, time, self.ports.clock.wall())?;
                tracing::info!(nonce, tx = %receipt.tx, block = receipt.block.0, "a transaction is confirmed");
                news.iter().for_each(|key| self.outbox.executed(key));
            }
            Move::TakeBack => {
                book.take_back(nonce)?;
                tracing::warn!(nonce, "a reorg took a transaction back");
                self.memory.forget(nonce);
            }
            Move::Finish => {
                book.finish(nonce)?;
                self.memory.forget(nonce);
            }
            Move::Requeue => {
                book.requeue(nonce)?.into_iter().for_each(|key| self.memory.enqueue(key));
                self.memory.forget(nonce);
            }
            Move::Lose => {
                tracing::error!(
                    nonce,
                    "a transaction that is not ours took a nonce: is the key used elsewhere?"
                );
                book.lose(nonce)?.iter().for_each(|key| self.outbox.executed(key));
                self.memory.forget(nonce);
            }
        }
        Ok(())
    }

    /// Replaces the newest attempt by a dearer one, or with a reason by one that only takes the nonce. Where
    /// a cap forbids that, the old bytes go out again when that is due.
    async fn replace(&mut self, slot: &Slot, gives_up: Option<Abandonment>, due: bool) -> Result<(), Error> {
        let book = self.book()?;
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
            return if due { self.hand_over(slot.nonce).await } else { Ok(()) };
        };
        self.memory.calm("ceiling");
        let attempt = Attempt {
            number: old.number + 1,
            gives_up: gives_up.or_else(|| old.gives_up.clone()),
            ..self.sign(slot.nonce, old.intent.clone(), call, gas_limit, fees)?
        };
        book.keep(&attempt)?;
        tracing::info!(nonce = slot.nonce, tx = %attempt.tx, attempt = attempt.number, "a transaction is replaced");
        self.hand_over(slot.nonce).await
    }

    /// Hands over a nonce's newest attempt. Whatever the answer, its fate is told by receipts alone.
    async fn hand_over(&mut self, nonce: u64) -> Result<(), Error> {
        let book = self.book()?;
        let Some(newest) = book.tries(nonce).last() else { return Ok(()) };
        let (fault, words) = match self.ports.chain.submit(&newest.raw).await {
            Ok(_) => (Fault::AlreadyKnown, String::new()),
            Err(chain::Error::Reverts { reason }) => (Fault::Reverts, reason),
            Err(chain::Error::Refused { message, .. }) => (Fault::of(&message), message),
            Err(error) => (Fault::Unknown, error.to_string()),
        };
        let now = self.now();
        match fault {
            Fault::AlreadyKnown => {
                self.memory.calm("send");
                self.memory.taken(nonce, now);
                if newest.accepted_at.is_none() {
                    book.keep(&Attempt { accepted_at: Some(self.ports.clock.wall()), ..newest.clone() })?;
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
        tracing::debug!(nonce, tx = %newest.tx, ?fault, words, "a provider did not take a transaction");
        if fault != Fault::NonceTooLow {
            self.memory.alert("send", format!("nonce {nonce}: {words}"));
        }
        Ok(())
    }

    /// Lets transfers of nothing take the nonces that nothing takes.
    async fn fill_gaps(&mut self, world: &World) -> Result<(), Error> {
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
            book.take_nonce(&attempt, None)?;
            self.hand_over(nonce).await?;
        }
        self.memory.calm("gap");
        Ok(())
    }

    /// Looks at balance and credit now and then, and wants a withdrawal when that is worth it.
    async fn treasury(&mut self, world: &World) -> Result<(), Error> {
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

    /// Finds queued intents of which no [`super::Submit`] told: among all at first, then among some each round.
    fn walk(&mut self) -> Result<(), Error> {
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
    async fn start(&mut self, world: &World) -> Result<(), Error> {
        if world.behind {
            self.memory.alert("behind", "the provider lags behind the facts: nothing new is sent".into());
            return Ok(());
        }
        self.memory.calm("behind");
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
            let book = self.book()?;
            if book.lane.in_flight() >= self.config.in_flight {
                break;
            }
            match intent {
                Some(intent) if intent.state == IntentState::Queued && intent.market == self.market => {
                    match self.begin(&book, &intent, world).await {
                        Ok(true) => {
                            self.memory.queue.remove(&key);
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
        book.take_nonce(&attempt, Some(intent))?;
        tracing::info!(intent = %intent.key, nonce, tx = %attempt.tx, "a transaction is signed");
        self.memory.forget(nonce);
        self.hand_over(nonce).await?;
        Ok(true)
    }

    fn abandon(&mut self, book: &Book, intent: &Intent, reason: Abandonment) -> Result<bool, Error> {
        tracing::info!(intent = %intent.key, %reason, "an intent is given up");
        book.abandon(intent, reason)?;
        self.outbox.executed(&intent.key);
        Ok(true)
    }

    fn sign(
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

    async fn going(&self) -> Result<Going, chain::Error> {
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
fn with_margin(gas: u64) -> u64 {
    gas.saturating_add(gas / 2)
}
