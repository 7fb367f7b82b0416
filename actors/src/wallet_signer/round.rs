//! One round of the wallet: look, move every nonce on, fill gaps, start queued intents, see to the treasury.
//!
//! A round may be dropped at any of its awaits; what it has done by then is durable, what it has not is found
//! by the next.

use std::rc::Rc;

use super::book::{self, Book};
use super::memory::Memory;
use super::{Asked, Config, Ports};
use crate::domain::market::Market;
use crate::domain::units::{Address, ChainTime};
use crate::domain::wallet::slot::{Inclusion, Moment, Move, Rules, Sight, Slot};
use crate::planted::{planted, Bug};
use crate::ports::chain::{self, At, Receipt};
use crate::ports::{keys, store};
use crate::records::journal::Block;
use crate::records::meta::{newest_block, Account, ChainStatus};

mod intake;
mod sending;

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

/// One round.
pub(super) struct Round {
    pub(super) config: Rc<Config>,
    pub(super) market: Market,
    pub(super) me: Address,
    pub(super) ports: Ports,
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
            None => book::keep(self.ports.store.as_ref(), &Account { address: self.me })?,
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
        let mut book = self.book()?;
        for slot in book.lane.slots.clone().into_values() {
            let (sight, found) = match self.sight(&slot, world).await {
                Ok(seen) => seen,
                Err(Error::Chain(error @ chain::Error::Untrustworthy { .. })) => {
                    self.memory.alert("receipts", error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
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
            self.perform(&mut book, &slot, next, found, recall.send_due).await?;
        }
        if front.is_none() {
            self.memory.calm("send");
            self.memory.calm("ceiling");
        }
        Ok(())
    }

    /// What the chain shows of a slot: the receipts of all its hashes count, and only canonical blocks.
    async fn sight(&mut self, slot: &Slot, world: &World) -> Result<(Sight, Found), Error> {
        let chain = Rc::clone(&self.ports.chain);
        if let Some(standing) = slot.standing {
            if standing.block > world.moment.head {
                return Ok((Sight::Unclear, None));
            }
            // What the listener has read spares a question to the chain; the last word is always the chain's.
            let last_word = world.moment.is_final(standing.block, self.config.confirmations);
            let read = store::read::<Block>(self.ports.store.as_ref(), &standing.block.0.to_be_bytes())?;
            if !last_word && read.is_some_and(|block| block.hash == standing.hash) {
                return Ok((Sight::Mined(standing), None));
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

    /// Does what was decided for a slot. The book stays right for the slots that follow.
    async fn perform(
        &mut self,
        book: &mut Book,
        slot: &Slot,
        next: Move,
        found: Found,
        due: bool,
    ) -> Result<(), Error> {
        let nonce = slot.nonce;
        match next {
            Move::Wait => {}
            Move::Send | Move::Outbid
                if planted(Bug::ForgetEvicted) && slot.tries.iter().any(|it| it.accepted) => {}
            Move::Send => self.send_newest(book, nonce).await?,
            Move::Outbid => self.replace(book, slot, None, due).await?,
            Move::GiveUp(reason) => self.replace(book, slot, Some(reason), due).await?,
            Move::Confirm(_) => {
                let Some((receipt, time)) = found else { return Ok(()) };
                book.confirm(nonce, &receipt, time, self.ports.clock.wall())?;
                self.memory.counts.confirmed += 1;
                tracing::info!(nonce, tx = %receipt.tx, block = receipt.block.0, "a transaction is confirmed");
            }
            Move::TakeBack => {
                book.take_back(nonce)?;
                tracing::warn!(nonce, "a reorg took a transaction back");
                self.memory.counts.taken_back += 1;
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
                book.lose(nonce)?;
                self.memory.forget(nonce);
            }
        }
        Ok(())
    }
}
