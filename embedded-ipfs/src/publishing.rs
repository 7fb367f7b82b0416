//! Keeps this node's own names alive: each is signed and given to the hash tables again long before its record ends.
//!
//! Owns: when each name is due.  Hears: what was published or given up, and the tables' peers.  Says: [`Ask::PutName`],
//! and [`Ask::GetName`] of what was published when there was nobody to ask.
//! On restart: every name is due at once; what to say and with which sequence is in the [`Book`].

mod book;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::StreamExt;
use ipns_record::Name;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep_until, Instant};

pub(crate) use book::{Book, Own};

use crate::dht::{Ask, Peers};
use crate::store::lock;
use crate::swarm::Command;
use crate::Error;

/// Records are given again this often, as Kubo does, or after half of their lives.
const ROUND: Duration = Duration::from_secs(4 * 3600);
/// How soon again if nobody took a record.
const RETRY: Duration = Duration::from_secs(5 * 60);
/// Names that are given at once: on the public table each costs a search and some twenty messages.
const AT_ONCE: usize = 4;
/// However short a record lives.
const SOONEST: Duration = Duration::from_secs(1);

pub(crate) struct Publishing {
    book: Arc<Mutex<Book>>,
    swarm: mpsc::Sender<Command>,
    /// The wall clock in milliseconds since 1970.
    now_ms: fn() -> u64,
    due: HashMap<Name, Instant>,
    peers: Peers,
}

impl Publishing {
    pub(crate) fn new(
        book: Arc<Mutex<Book>>,
        swarm: mpsc::Sender<Command>,
        now_ms: fn() -> u64,
    ) -> Publishing {
        let now = Instant::now();
        let due = lock(&book).names().into_iter().map(|name| (name, now)).collect();
        Publishing { book, swarm, now_ms, due, peers: Peers::default() }
    }

    /// Serves until the runtime ends. `changed` are names that were published just now, and whether somebody took them, and
    /// names that were given up.
    pub(crate) async fn run(
        mut self,
        mut changed: mpsc::Receiver<(Name, bool)>,
        mut peers: watch::Receiver<Peers>,
    ) {
        let mut giving = FuturesUnordered::new();
        loop {
            while giving.len() < AT_ONCE {
                let Some(name) = self.take_due() else { break };
                giving.push(self.give(name));
            }
            let next = self.due.values().min().copied().filter(|_| giving.len() < AT_ONCE);
            tokio::select! {
                biased;
                Ok(()) = peers.changed() => {
                    let now = *peers.borrow_and_update();
                    self.met(now);
                }
                change = changed.recv() => match change {
                    Some((name, given)) => self.rest(name, given),
                    None => break,
                },
                Some((name, given)) = giving.next() => self.rest(name, given),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// A name that is due. Until it was given it is due no more.
    fn take_due(&mut self) -> Option<Name> {
        let now = Instant::now();
        let (name, due) = self.due.iter_mut().min_by_key(|(_, due)| **due).filter(|(_, due)| **due <= now)?;
        *due = now + ROUND;
        Some(*name)
    }

    /// A table that was empty has peers: they have heard of nothing.
    fn met(&mut self, now: Peers) {
        let before = std::mem::replace(&mut self.peers, now);
        if (before.lan == 0 && now.lan > 0) || (before.wan == 0 && now.wan > 0) {
            let now = Instant::now();
            self.due.values_mut().for_each(|due| *due = now);
        }
    }

    /// When a name is due again; never, if it was given up.
    fn rest(&mut self, name: Name, given: bool) {
        match lock(&self.book).get(name) {
            Some(own) => {
                let pause = if given { ROUND } else { RETRY }.min(own.lifetime / 2).max(SOONEST);
                self.due.insert(name, Instant::now() + pause);
            }
            None => drop(self.due.remove(&name)),
        }
    }

    /// Gives a name's record again; says whether it was taken, or there was nobody to take it.
    fn give(&self, name: Name) -> impl Future<Output = (Name, bool)> {
        let (book, swarm, now_ms) = (self.book.clone(), self.swarm.clone(), self.now_ms);
        let met = self.peers.any();
        async move {
            let given = match own(book, &swarm, name, met).await {
                Ok(Some(own)) => put(swarm, name, own.sign(now_ms())).await,
                Ok(None) => return (name, true),
                Err(error) => Err(error),
            };
            let given = match given {
                Ok(peers) => {
                    tracing::debug!(%name, peers, "a name was published again");
                    true
                }
                Err(Error::Outdated(_)) => {
                    tracing::warn!(%name, "another holder of the key published a name");
                    true
                }
                Err(error) => {
                    tracing::warn!(%name, %error, "a name was not published again");
                    false
                }
            };
            (name, given)
        }
    }
}

/// What a name says. If nobody could be asked when it was published, others are asked now: what they know may have a higher
/// sequence, and they would take no lower one.
async fn own(
    book: Arc<Mutex<Book>>,
    swarm: &mpsc::Sender<Command>,
    name: Name,
    met: bool,
) -> Result<Option<Own>, Error> {
    let own = lock(&book).get(name);
    if !met || !own.as_ref().is_some_and(|own| own.alone) {
        return Ok(own);
    }
    let (reply, answer) = oneshot::channel();
    swarm.send(Command::Ask(Ask::GetName(name, reply))).await.map_err(|_| Error::Stopped)?;
    let known = match answer.await.map_err(|_| Error::Stopped)? {
        Ok(record) => Some(record),
        // Nobody knew it, or nobody answered: they are asked once more when it is told again.
        Err(Error::NoRecord(_)) => return Ok(own),
        Err(error) => return Err(error),
    };
    let record = move || {
        let mut book = lock(&book);
        match book.get(name) {
            Some(own) if own.alone => book.record(Own { alone: false, ..own }, known.as_ref()).map(Some),
            changed => Ok(changed),
        }
    };
    spawn_blocking(record).await.map_err(|_| Error::Stopped)?
}

async fn put(
    swarm: mpsc::Sender<Command>,
    name: Name,
    record: Result<Vec<u8>, Error>,
) -> Result<usize, Error> {
    let (reply, answer) = oneshot::channel();
    let ask = Command::Ask(Ask::PutName(name, record?, reply));
    swarm.send(ask).await.map_err(|_| Error::Stopped)?;
    answer.await.map_err(|_| Error::Stopped)?
}

#[cfg(test)]
mod tests;
