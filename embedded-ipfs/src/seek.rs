//! Finds peers for content that those who are connected do not give: asks the hash tables who has it, and dials some.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use cid::Cid;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, Instant};

use crate::block::Key;
use crate::dht::{content_key, Ask};
use crate::swarm::Command;
use crate::{Error, Found};

/// How long connected peers have to give a block before others are looked for, and the longest pause between searches.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// One content is not searched for again sooner, however many wait for its blocks.
const AGAIN: Duration = Duration::from_secs(10);
/// Searches at once, and peers dialled for each.
const SEARCHES: usize = 4;
const DIALS: usize = 6;

/// A handle to the [`Seeker`]; clones share it.
#[derive(Clone)]
pub(crate) struct Seek {
    wanted: Option<mpsc::Sender<Cid>>,
    /// The root of what is being fetched: whoever has a file often says so of its root alone.
    root: Option<Cid>,
}

impl Seek {
    /// A handle, and the inbox of the seeker; with no hash table nothing is ever searched for.
    pub(crate) fn new(on: bool) -> (Seek, mpsc::Receiver<Cid>) {
        let (wanted, inbox) = mpsc::channel(64);
        (Seek { wanted: on.then_some(wanted), root: None }, inbox)
    }

    /// For blocks below a root.
    pub(crate) fn below(&self, root: Cid) -> Seek {
        Seek { root: Some(root), ..self.clone() }
    }

    /// Has the root and the block searched for, in turns and ever more rarely, until it is dropped.
    pub(crate) async fn search(&self, cid: Cid) -> Infallible {
        let Some(wanted) = &self.wanted else {
            return std::future::pending().await;
        };
        let mut pause = PAUSE.0;
        loop {
            for subject in [self.root.unwrap_or(cid), cid] {
                sleep(pause).await;
                let _ = wanted.try_send(subject); // full: enough is being searched for
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// The one task that searches.
pub(crate) struct Seeker {
    swarm: mpsc::Sender<Command>,
    searched: HashMap<Key, Instant>,
}

impl Seeker {
    pub(crate) fn new(swarm: mpsc::Sender<Command>) -> Seeker {
        Seeker { swarm, searched: HashMap::new() }
    }

    /// Serves until the runtime ends.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Cid>) {
        let mut searches = FuturesUnordered::new();
        loop {
            tokio::select! {
                wanted = inbox.recv(), if searches.len() < SEARCHES => match wanted {
                    Some(cid) if self.is_due(&cid) => searches.push(search(self.swarm.clone(), cid)),
                    Some(_) => {}
                    None => break,
                },
                Some(()) = searches.next() => {}
            }
        }
    }

    fn is_due(&mut self, cid: &Cid) -> bool {
        let (now, key) = (Instant::now(), Key::of(cid));
        self.searched.retain(|_, at| now < *at + AGAIN);
        let due = !self.searched.contains_key(&key);
        if due {
            self.searched.insert(key, now);
        }
        due
    }
}

async fn search(swarm: mpsc::Sender<Command>, cid: Cid) {
    // Whoever fails here fails silently: the content stays wanted, and is searched for again.
    let key = content_key(&cid);
    let found = ask(&swarm, |reply| Ask::Providers(key, DIALS, reply)).await.unwrap_or_default();
    tracing::debug!(%cid, providers = found.len(), "searched for providers");
    join_all(found.into_iter().map(|found| dial(&swarm, found))).await;
}

async fn dial(swarm: &mpsc::Sender<Command>, Found { peer, mut addresses }: Found) {
    if addresses.is_empty() {
        addresses = ask(swarm, |reply| Ask::FindPeer(peer, reply)).await.unwrap_or_default();
    }
    let (reply, answer) = oneshot::channel();
    if swarm.send(Command::Dial { peer, addresses, reply }).await.is_ok() {
        if let Ok(Err(error)) = answer.await {
            tracing::debug!(%peer, %error, "a provider was not reached");
        }
    }
}

async fn ask<T>(
    swarm: &mpsc::Sender<Command>,
    ask: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Ask,
) -> Result<T, Error> {
    let (reply, answer) = oneshot::channel();
    swarm.send(Command::Ask(ask(reply))).await.map_err(|_| Error::Stopped)?;
    answer.await.map_err(|_| Error::Stopped)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, RAW};
    use cid::Version;

    fn cid(text: &str) -> Cid {
        cid_of(Version::V1, RAW, text.as_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn root_and_block_are_searched_for_in_turns_and_ever_more_rarely() {
        let (seek, mut inbox) = Seek::new(true);
        let started = Instant::now();
        let (root, block) = (cid("root"), cid("block"));
        let searching = tokio::spawn(async move { seek.below(root).search(block).await });
        for (subject, seconds) in [(root, 1), (block, 3), (root, 7), (block, 15)] {
            assert_eq!(inbox.recv().await, Some(subject));
            assert_eq!(started.elapsed().as_secs(), seconds);
        }
        for _ in 0..10 {
            inbox.recv().await;
        }
        let before = Instant::now();
        inbox.recv().await;
        assert_eq!(before.elapsed(), PAUSE.1);
        searching.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_wait_for_one_content_cost_one_search() {
        let (seek, inbox) = Seek::new(true);
        let (swarm, mut commands) = mpsc::channel(8);
        tokio::spawn(Seeker::new(swarm).run(inbox));
        for block in 0..32 {
            let seek = seek.below(cid("root"));
            tokio::spawn(async move { seek.search(cid(&block.to_string())).await });
        }
        let Some(Command::Ask(Ask::Providers(key, DIALS, reply))) = commands.recv().await else {
            panic!("a search")
        };
        assert_eq!(key, content_key(&cid("root")));
        reply.send(Ok(vec![])).unwrap();
        let second = tokio::time::timeout(Duration::from_millis(1900), commands.recv()).await;
        assert!(second.is_err(), "the blocks' own turn is 3 s after the start");
    }
}
