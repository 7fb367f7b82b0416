//! One round of the wallet: look, move every nonce on, fill gaps, start queued intents, see to the treasury.
//!
//! A round may be dropped at any of its awaits; what it has done by then is durable, what it has not is found
//! by the next. The book is shared with whoever gives orders, and is never held over an await.

use std::cell::RefCell;
use std::rc::Rc;

use super::book::{Book, Draft};
use super::memory::Memory;
use super::{Asked, Config, Ports};
use crate::domain::market::Market;
use crate::domain::units::{Address, BlockHeight};
use crate::domain::wallet::slot::Moment;
use crate::ports::chain::{self, At};
use crate::ports::store::Batch;
use crate::ports::{keys, store};
use crate::records::meta::{newest_block, Account, ChainStatus};

mod intake;
mod sending;
mod sight;
mod tending;

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

/// One round.
pub(super) struct Round {
    pub(super) config: Rc<Config>,
    pub(super) market: Market,
    pub(super) me: Address,
    pub(super) ports: Ports,
    pub(super) asked: Asked,
    pub(super) book: Rc<RefCell<Book>>,
    pub(super) memory: Memory,
}

/// What a round leaves behind.
pub(super) struct Passed {
    pub(super) memory: Memory,
    /// Whether another one would get further at once.
    pub(super) more: bool,
}

impl Round {
    /// Runs the round.
    pub(super) async fn run(mut self) -> Passed {
        let more = match self.pass().await {
            Ok(more) => {
                self.memory.calm("round");
                more
            }
            Err(error) => {
                self.memory.alert("round", error.to_string());
                false
            }
        };
        Passed { memory: self.memory, more }
    }

    async fn pass(&mut self) -> Result<bool, Error> {
        self.book.borrow_mut().refresh(self.ports.clock.wall())?;
        self.belong().await?;
        let world = self.look().await?;
        self.notice_strangers(&world)?;
        self.tend(&world).await?;
        self.fill_gaps(&world).await?;
        self.treasury(&world).await?;
        self.walk().await?;
        self.start(&world).await
    }

    fn now(&self) -> u64 {
        self.ports.clock.monotonic()
    }

    /// Makes a draft durable.
    fn commit(&self, draft: Draft) -> Result<(), store::Error> {
        self.book.borrow_mut().commit(draft, self.ports.clock.wall())
    }

    /// Refuses to go on with a store, a key or a chain that are not each other's.
    async fn belong(&mut self) -> Result<(), Error> {
        let store = Rc::clone(&self.ports.store);
        if let Some(why) = ChainStatus::read(store.as_ref())?.and_then(|status| status.halted) {
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
        match Account::read(store.as_ref())? {
            None => {
                let mut batch = Batch::new();
                batch.put(&Account { address: self.me });
                store.commit(batch)?;
            }
            Some(account) if account.address == self.me => {}
            Some(Account { address }) => {
                return Err(Error::Refused(format!("the store is of account {address}, not {}", self.me)))
            }
        }
        self.memory.belongs = true;
        Ok(())
    }

    async fn look(&mut self) -> Result<World, Error> {
        let chain = Rc::clone(&self.ports.chain);
        let latest = chain.nonce(self.me, At::Latest);
        let (head, finalized, latest) = futures::try_join!(chain.head(), chain.finalized(), latest)?;
        let finalized = finalized.map(|header| header.number);
        let known = newest_block(self.ports.store.as_ref())?;
        let time = known.as_ref().map_or(head.time, |block| head.time.max(block.time));
        self.memory.latest = Some(latest);
        // The listener may not have read yet what the wallet's own receipts told.
        let told = known.as_ref().map_or(BlockHeight(0), |block| block.number);
        self.memory.known = told.max(self.book.borrow().mined_up_to());
        Ok(World {
            moment: Moment { head: head.number, finalized, chain: time, wall: self.ports.clock.wall() },
            latest,
            behind: head.number < self.memory.known,
        })
    }

    /// The chain has used nonces that nobody here gave out: another program has the key, or this store is an old copy.
    /// What was used before the store's first look is nobody's business.
    fn notice_strangers(&mut self, world: &World) -> Result<(), Error> {
        let mut draft = self.book.borrow().draft();
        let (known, counters) = (self.book.borrow().lane.next_nonce(0), &mut draft.counters);
        let (latest, first) = (world.latest, counters.floor.is_none());
        if first {
            counters.floor = Some(latest);
        } else if latest > known {
            counters.foreign += latest - known;
            let words = format!("nonces {known} to {} went to transactions of somebody else", latest - 1);
            self.memory.alert("foreign", words);
        }
        counters.next = counters.next.max(latest);
        Ok(self.commit(draft)?)
    }
}
