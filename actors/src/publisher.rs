//! Publishes what this node lists under its own name, and keeps the name alive.
//!
//! Owns: the records of the own name ([`Publication`]) and the directory that they name.  Hears: [`Publish`],
//! [`ListChanged`].  Says: nothing.  On restart: a record that was signed and not given away is given away; the
//! sequence goes on where it was, or above what the network shows.
//!
//! One publication at a time (`work`): look once what the network has of the name, make the directory, decide, sign,
//! write, and only then give the record away. The answer of another node is asked for afterwards.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures::channel::oneshot;
use ipns_record::{SigningKey, Unsigned};

use crate::acting_as;
use crate::domain::backoff::Backoff;
use crate::domain::manifest::own::{Known, TooLong};
use crate::ports::clock::Clock;
use crate::ports::ipfs::{self, Ipfs};
use crate::ports::names::{self, Names};
use crate::ports::store::{self, Store};
use crate::records::consortium::Publication;
use crate::supervised;
use crate::supervisor::Guard;
use crate::work::Works;

#[cfg(test)]
mod tests;
mod work;

use work::{Checked, Done, Work};

/// Between two looks at the list when nobody tells.
const SWEEP: Duration = Duration::from_secs(30);
/// From the start to the first publication, so that an order that comes with the start is part of it.
const SETTLE_IN: Duration = Duration::from_secs(1);
/// The wait after a first failure.
const RETRY: Duration = Duration::from_secs(30);

/// Publishes now, also what is published already: for a later end. Answered when the network has taken it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Result<Publication, Refusal>")]
pub struct Publish;

/// The own list in the store changed. A hint; more may follow soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ListChanged;

/// Why nothing was published. It is tried again, unless it says that the list is too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Peers would not read it.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The directory could not be made.
    #[error(transparent)]
    Ipfs(#[from] ipfs::Error),
    /// The network did not take the record, or, before the first one, could not be asked for an older one.
    #[error(transparent)]
    Names(#[from] names::Error),
    /// The key signs nothing.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// The world took too long.
    #[error("{0} took longer than {1} s")]
    Late(&'static str, u64),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The node ends.
    #[error("the node ends")]
    Ending,
}

/// How it publishes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Between two records of the same list: peers of the network forget records after a day or two.
    pub republish: Duration,
    /// How long a record is good. Long enough that a node may be down over a night without its name going void.
    pub lifetime: Duration,
    /// For how long others may go by a record before they ask for a newer one.
    pub ttl: Duration,
    /// It is told when the record that others have ends sooner than that.
    pub warn_before: Duration,
    /// After a change of the list, so long is waited for more of them.
    pub debounce: Duration,
    /// What of the network has not come by then does not come.
    pub patience: Duration,
}

impl Default for Config {
    /// Kubo's numbers, where it has any.
    fn default() -> Self {
        Self {
            republish: Duration::from_secs(4 * 3600),
            lifetime: Duration::from_secs(48 * 3600),
            ttl: Duration::from_secs(300),
            warn_before: Duration::from_secs(12 * 3600),
            debounce: Duration::from_secs(5),
            patience: Duration::from_secs(120),
        }
    }
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The name system.
    pub names: Rc<dyn Names>,
    /// The IPFS backend.
    pub ipfs: Rc<dyn Ipfs>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// The key of the own name: the node's, whatever the backend.
    pub key: Rc<SigningKey>,
}

type Asker = oneshot::Sender<Result<Publication, Refusal>>;

/// The publisher of the own list.
pub struct Publisher {
    config: Rc<Config>,
    ports: Ports,
    /// What the network shows of the name; `None` until it was asked.
    shown: Option<Option<Known>>,
    /// The list that was published, or that failed to be.
    listed: Option<[u8; 32]>,
    /// The next publication, if it waits for its time.
    timer: Option<SpawnHandle>,
    /// Whether that time is soon.
    soon: bool,
    busy: bool,
    asked: Vec<Asker>,
    failures: u32,
    /// Read-backs in a row that showed somebody else's record.
    contests: u32,
    _guard: Guard,
}

impl Publisher {
    /// A publisher that goes on with what the store says.
    pub fn new(config: Config, ports: Ports, guard: Guard) -> Self {
        Self {
            config: Rc::new(config),
            ports,
            shown: None,
            listed: None,
            timer: None,
            soon: false,
            busy: false,
            asked: Vec::new(),
            failures: 0,
            contests: 0,
            _guard: guard,
        }
    }

    fn work(&self) -> Work {
        Work { config: Rc::clone(&self.config), ports: self.ports.clone() }
    }

    /// Publishes after a while, unless it is done sooner anyway.
    fn publish_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(wait, |this, ctx| this.publish(ctx)));
    }

    fn list_changed(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.soon, true) && !self.busy {
            self.publish_in(self.config.debounce, ctx);
        }
    }

    fn publish(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.busy, true) {
            return;
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.soon = false;
        let askers = std::mem::take(&mut self.asked);
        let (work, shown, renew) = (self.work(), self.shown.clone(), !askers.is_empty());
        let publishing = async move { work.publish(shown, renew).await };
        ctx.work(acting_as!("publisher"), publishing, move |done, this, ctx| {
            this.published(done, askers, ctx)
        });
    }

    fn published(&mut self, done: Done, askers: Vec<Asker>, ctx: &mut Context<Self>) {
        self.busy = false;
        self.shown = done.shown.or(self.shown.take());
        self.listed = done.listed.or(self.listed);
        for asker in askers {
            // Whoever asked may be gone.
            let _gone = asker.send(done.result.clone());
        }
        let wait = match &done.result {
            Ok(publication) => {
                self.failures = 0;
                if done.gave {
                    self.read_back(ctx);
                }
                let age = publication.published_at.map_or(0, |at| self.ports.clock.wall().since(at));
                self.config.republish.saturating_sub(Duration::from_millis(age))
            }
            Err(refusal) => {
                self.failures = self.failures.saturating_add(1);
                self.work().fail(refusal);
                self.retry(self.failures)
            }
        };
        match (self.asked.is_empty(), self.soon) {
            (false, _) => self.publish(ctx),
            (true, true) => self.publish_in(self.config.debounce, ctx),
            (true, false) => self.publish_in(wait, ctx),
        }
    }

    fn retry(&self, failures: u32) -> Duration {
        let most = self.config.republish;
        Backoff { first: RETRY.min(most), most }.after(failures)
    }

    /// Asks the network for what it was given.
    fn read_back(&mut self, ctx: &mut Context<Self>) {
        let work = self.work();
        let checking = async move { work.check().await };
        ctx.work(acting_as!("publisher"), checking, |checked, this: &mut Self, ctx| match checked {
            Checked::Confirmed => this.contests = 0,
            Checked::Unknown => {}
            Checked::Contested(known) => {
                let sequence = known.sequence;
                tracing::warn!(
                    sequence,
                    "the network shows a newer record of this node's name: it is used elsewhere"
                );
                this.shown = Some(Some(known));
                this.contests = this.contests.saturating_add(1);
                if !this.busy && !this.soon {
                    this.publish_in(this.retry(this.contests), ctx);
                }
            }
        });
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        match self.work().digest() {
            Ok(digest) if self.listed.is_some_and(|listed| listed != digest) => self.list_changed(ctx),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the own list could not be read; trying again"),
        }
    }
}

impl Actor for Publisher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.publish_in(SETTLE_IN, ctx);
        ctx.run_interval(SWEEP, |this, ctx| this.look(ctx));
    }
}

supervised!(Publisher);

impl Handler<ListChanged> for Publisher {
    type Result = ();

    fn handle(&mut self, _: ListChanged, ctx: &mut Self::Context) {
        self.list_changed(ctx);
    }
}

impl Handler<Publish> for Publisher {
    type Result = ResponseFuture<Result<Publication, Refusal>>;

    fn handle(&mut self, _: Publish, ctx: &mut Self::Context) -> Self::Result {
        let (asker, answer) = oneshot::channel();
        self.asked.push(asker);
        self.publish(ctx);
        Box::pin(async move { answer.await.unwrap_or(Err(Refusal::Ending)) })
    }
}
