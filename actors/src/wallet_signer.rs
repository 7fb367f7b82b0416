//! Sends the transactions that the other actors want, each exactly once, and tells what came of them.
//!
//! Owns: the key, every nonce, the states of intents, attempts, spending, the outcomes' journal.
//! Hears: [`Submit`], [`VoteRecorded`] and [`Settled`] (the credit may have grown), [`Withdraw`], [`Wallet`], and a
//! person's [`CancelIntent`] and [`BumpIntent`].
//! Says: nothing; who waits for an outcome reads it in the store when the head moves.
//! On restart: everything derives from the store. An attempt is durable before it is sent (I2), so whatever
//! the last life may have sent is known to this one, by its hash; a nonce goes to one intent for ever (I1, I3).
//!
//! One round at a time looks at the chain, moves each nonce on, fills gaps, gives nonces to queued intents and
//! sees to the treasury: `round`. What it decides is `domain::wallet`; what it makes durable is `book`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};

use crate::acting_as;
use crate::chain_listener::{Settled, VoteRecorded};
use crate::domain::units::{Address, TxHash, WallTime, Wei};
use crate::domain::wallet::spend::Caps;
use crate::domain::wallet::stage::{Stage, Way};
use crate::ports::chain::Chain;
use crate::ports::clock::Clock;
use crate::ports::keys::Keys;
use crate::ports::store::Store;
use crate::records::intent::IntentKey;
use crate::records::meta::ChainStatus;
use crate::supervisor::Guard;
use crate::work::Works;

mod book;
mod memory;
mod orders;
mod round;
#[cfg(test)]
mod tests;

pub use orders::{BumpIntent, Bumped, CancelIntent, Cancelled, Refusal};

use book::Book;
use memory::Memory;
use round::Round;

/// An intent stands in the store. A hint: without it the intent is found later.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Submit {
    /// Which.
    pub key: IntentKey,
}

/// Withdraw whatever the market owes, even below the configured least, and also if that is not automatic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Withdraw;

/// Asks how the wallet is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "WalletStatus")]
pub struct Wallet;

/// How the wallet is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WalletStatus {
    /// The account.
    pub address: Address,
    /// Its ether in wei; `None` until the chain told.
    pub balance: Option<Wei>,
    /// What the market owes to it in wei; `None` until the chain told.
    pub credit: Option<Wei>,
    /// The nonce of the next transaction.
    pub nonce: u64,
    /// Intents without a nonce, as far as they are known.
    pub queued: usize,
    /// Nonces that are not final, lowest first.
    pub pending: Vec<Pending>,
    /// Nonces that were used by transactions which this node did not sign: the key is used elsewhere.
    pub foreign_nonces: u64,
    /// Wei spent in the last 24 hours.
    pub spent_today: Wei,
    /// Wei that count against the cap: what is spent for good, and the most that all else can cost.
    pub counted_today: Wei,
    /// Wei that may be spent in any 24 hours.
    pub spend_cap: Wei,
    /// What happened since this wallet started.
    pub counts: Counts,
    /// What somebody should know.
    pub alerts: Vec<Alert>,
}

/// What happened to transactions since the wallet started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Handed over, repeats included.
    pub handed_over: u64,
    /// Handed over, and not taken or not answered.
    pub refused: u64,
    /// Replaced by a dearer one at the same nonce.
    pub replaced: u64,
    /// Mined and deep.
    pub confirmed: u64,
    /// Taken back by a reorg after that.
    pub taken_back: u64,
}

/// A nonce that is not final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// The nonce.
    pub nonce: u64,
    /// The intent that owns it; `None` where it only fills a gap.
    pub intent: Option<IntentKey>,
    /// How far it is; confirmed also where its outcome is a failure.
    #[serde(flatten)]
    pub stage: Stage,
    /// The newest attempt's hash, or the mined one's.
    pub tx: TxHash,
    /// How many transactions were signed with it.
    pub attempts: usize,
    /// When the newest was signed.
    pub signed_at: WallTime,
    /// Whether it is mined and deep.
    pub confirmed: bool,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What it is about.
    pub about: &'static str,
    /// What is wrong.
    pub what: String,
}

/// How the wallet behaves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Blocks on top of a transaction before its outcome counts.
    pub confirmations: u64,
    /// Wei a gas that no transaction exceeds.
    pub max_fee_per_gas: Wei,
    /// Wei that one transaction may cost at most: value and gas.
    pub max_spend_per_tx: Wei,
    /// Wei that may be spent in any 24 hours.
    pub max_spend_per_day: Wei,
    /// Seconds until an unmined transaction is replaced by one that pays a tenth more.
    pub bump_after_seconds: u64,
    /// Nonces that may wait to be mined at the same time.
    pub in_flight: usize,
    /// Milliseconds between looks at the chain.
    pub poll_ms: u64,
    /// Wei of credit from which a withdrawal is worth its gas.
    pub min_withdraw: Wei,
    /// Whether credit is withdrawn without being asked.
    pub auto_withdraw: bool,
    /// Wei that stay in the account; below it only withdrawals are sent.
    pub balance_floor: Wei,
}

impl Default for Config {
    fn default() -> Self {
        const GWEI: u128 = 1_000_000_000;
        Self {
            confirmations: 3,
            max_fee_per_gas: Wei::from(100 * GWEI),
            max_spend_per_tx: Wei::from(50_000_000 * GWEI),
            max_spend_per_day: Wei::from(500_000_000 * GWEI),
            bump_after_seconds: 60,
            in_flight: 4,
            poll_ms: 4_000,
            min_withdraw: Wei::from(10_000_000 * GWEI),
            auto_withdraw: true,
            balance_floor: Wei::ZERO,
        }
    }
}

impl Config {
    fn caps(&self) -> Caps {
        Caps { per_tx: self.max_spend_per_tx, per_day: self.max_spend_per_day }
    }
}

/// What the wallet needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The chain.
    pub chain: Rc<dyn Chain>,
    /// The account's key.
    pub keys: Rc<dyn Keys>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
}

/// What the next round should do about the market's credit, besides its own timer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    #[default]
    Nothing,
    Look,
    Withdraw,
}

/// A round that takes longer is dropped where it waits; the next one derives everything anew.
const LONGEST_ROUND: Duration = Duration::from_secs(300);

/// The wallet of one account on one market's chain.
pub struct WalletSigner {
    config: Rc<Config>,
    ports: Ports,
    book: Rc<RefCell<Book>>,
    memory: Memory,
    /// Keys told since the last round began.
    submitted: BTreeSet<IntentKey>,
    /// What was asked about the credit since the last round began.
    asked: Asked,
    busy: bool,
    again: bool,
    _guard: Guard,
}

impl WalletSigner {
    /// A wallet for the market that the store is about; its account is the key's.
    pub fn new(config: Config, ports: Ports, guard: Guard) -> Self {
        let book = Rc::new(RefCell::new(Book::new(Rc::clone(&ports.store))));
        Self {
            config: Rc::new(config),
            ports,
            book,
            memory: Memory::default(),
            submitted: BTreeSet::new(),
            asked: Asked::Nothing,
            busy: false,
            again: false,
            _guard: guard,
        }
    }

    /// Starts a round, or has one follow the one that runs.
    fn wake(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            self.again = true;
            return;
        }
        // Until the listener has seen the chain there is no market to send to.
        let Ok(Some(ChainStatus { market, .. })) = ChainStatus::read(&*self.ports.store) else { return };
        self.busy = true;
        let mut memory = self.memory.clone();
        memory.told.append(&mut self.submitted);
        let round = Round {
            config: Rc::clone(&self.config),
            market,
            me: self.ports.keys.address(),
            ports: self.ports.clone(),
            asked: std::mem::take(&mut self.asked),
            book: Rc::clone(&self.book),
            memory,
        };
        let bounded = tokio::time::timeout(LONGEST_ROUND, round.run());
        ctx.work(acting_as!("wallet_signer"), bounded, |passed, this, ctx| {
            this.busy = false;
            match passed {
                Ok(passed) => {
                    this.memory = passed.memory;
                    this.again |= passed.more;
                }
                Err(_) => this.memory.alert("round", "the chain's provider did not answer".into()),
            }
            if std::mem::take(&mut this.again) {
                this.wake(ctx);
            }
        });
    }

    fn status(&self) -> WalletStatus {
        let now = self.ports.clock.wall();
        let read = self.book.borrow_mut().refresh(now);
        let book = self.book.borrow();
        let alerts = self.memory.alerts.iter().map(|(about, what)| Alert { about, what: what.clone() });
        let failed = read.err().map(|error| Alert { about: "store", what: error.to_string() });
        WalletStatus {
            address: self.ports.keys.address(),
            balance: self.memory.balance,
            credit: self.memory.credit,
            nonce: book.lane.next_nonce(self.memory.latest.unwrap_or_default()),
            queued: self.memory.queue.len() + self.memory.told.len() + self.submitted.len(),
            pending: pending(&book, &self.memory),
            foreign_nonces: book.counters.foreign,
            spent_today: book.spent_by_all(now),
            counted_today: book.spent(now).plus(book.lane.at_risk()),
            spend_cap: self.config.max_spend_per_day,
            counts: self.memory.counts,
            alerts: alerts.chain(failed).collect(),
        }
    }
}

fn pending(book: &Book, memory: &Memory) -> Vec<Pending> {
    let slots = book.lane.slots.values();
    slots
        .filter_map(|slot| {
            let tries = book.tries(slot.nonce);
            let newest = tries.last()?;
            let seen = memory.pushes.get(&slot.nonce).and_then(|push| push.seen);
            let place = slot.standing.or(seen);
            let sent = tries.iter().any(|attempt| attempt.accepted_at.is_some());
            let way = Stage::under_way(Way { sent, mined: place.is_some() });
            Some(Pending {
                nonce: slot.nonce,
                intent: tries.iter().find_map(|attempt| attempt.intent.clone()),
                stage: if slot.standing.is_some() { Stage::Confirmed } else { way },
                tx: place.map_or(newest.tx, |place| place.tx),
                attempts: tries.len(),
                signed_at: newest.signed_at,
                confirmed: slot.standing.is_some(),
            })
        })
        .collect()
}

impl Actor for WalletSigner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.wake(ctx);
        ctx.run_interval(Duration::from_millis(self.config.poll_ms.max(1)), |this, ctx| {
            if !this.busy {
                this.wake(ctx);
            }
        });
    }
}

crate::supervised!(WalletSigner);

impl Handler<Submit> for WalletSigner {
    type Result = ();

    fn handle(&mut self, submit: Submit, ctx: &mut Self::Context) {
        self.submitted.insert(submit.key);
        self.wake(ctx);
    }
}

impl Handler<VoteRecorded> for WalletSigner {
    type Result = ();

    fn handle(&mut self, _: VoteRecorded, ctx: &mut Self::Context) {
        self.asked = self.asked.max(Asked::Look);
        self.wake(ctx);
    }
}

impl Handler<Settled> for WalletSigner {
    type Result = ();

    fn handle(&mut self, _: Settled, ctx: &mut Self::Context) {
        self.asked = self.asked.max(Asked::Look);
        self.wake(ctx);
    }
}

impl Handler<Withdraw> for WalletSigner {
    type Result = ();

    fn handle(&mut self, _: Withdraw, ctx: &mut Self::Context) {
        self.asked = Asked::Withdraw;
        self.wake(ctx);
    }
}

impl Handler<Wallet> for WalletSigner {
    type Result = MessageResult<Wallet>;

    fn handle(&mut self, _: Wallet, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.status())
    }
}
