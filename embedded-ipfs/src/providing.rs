//! Says in the hash tables what is pinned here, when it is pinned and every 22 hours again, at a bounded rate.
//!
//! Owns: how far a round through the pins is, and which new ones still have to be told.  Hears: [`Change`]s of the pins,
//! and how many peers there are to tell.
//! On restart: all pins are told again.

use std::collections::VecDeque;
use std::time::Duration;

use cid::Cid;
use futures::stream::FuturesUnordered;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, Instant};

use crate::dht::{content_key, Ask, Peers};
use crate::store::{Store, PAGE};
use crate::swarm::Command;

/// Others forget after 48 hours at the earliest, as Kubo does.
const ROUND: Duration = Duration::from_secs(22 * 3600);
/// Roots told at once: on the public table each costs a search and some twenty messages.
const AT_ONCE: usize = 4;
/// New roots that wait to be told; more wait for a round, which then comes as soon as it can.
const WAITING: usize = 4096;
/// The public table is not told before its routing table has had time to fill.
const SETTLE: Duration = Duration::from_secs(30);

/// What became of a pin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Pinned(Cid),
    Unpinned(Cid),
}

pub(crate) struct Providing {
    store: Store,
    swarm: mpsc::Sender<Command>,
    /// Pinned lately.
    new: VecDeque<Cid>,
    /// What comes next of the round.
    page: VecDeque<Cid>,
    round: Round,
    /// Behind the round that is under way there is another one.
    again: bool,
    /// Whether the next root is a new one, if there is one.
    new_next: bool,
    round_due: Instant,
    peers: Peers,
}

/// A walk through all pins, in the order of their CIDs, some hundreds in memory.
#[derive(Clone, Copy)]
enum Round {
    Over,
    Ahead,
    /// Up to this pin all have been read.
    At(Cid),
}

impl Providing {
    pub(crate) fn new(store: Store, swarm: mpsc::Sender<Command>) -> Providing {
        Providing {
            store,
            swarm,
            new: VecDeque::new(),
            page: VecDeque::new(),
            round: Round::Ahead,
            again: false,
            new_next: true,
            round_due: Instant::now() + ROUND,
            peers: Peers::default(),
        }
    }

    /// Serves until the runtime ends.
    pub(crate) async fn run(mut self, mut pins: mpsc::Receiver<Change>, mut peers: watch::Receiver<Peers>) {
        self.hold_all().await;
        let mut telling = FuturesUnordered::new();
        loop {
            while self.peers.any() && telling.len() < AT_ONCE {
                let Some(cid) = self.next().await else { break };
                telling.push(tell(self.swarm.clone(), cid));
            }
            tokio::select! {
                biased;
                Ok(()) = peers.changed() => {
                    let now = *peers.borrow_and_update();
                    self.met(now);
                }
                change = pins.recv() => match change {
                    Some(change) => self.changed(change).await,
                    None => break,
                },
                Some(()) = telling.next() => {}
                () = sleep_until(self.round_due) => {
                    self.round_due = Instant::now() + ROUND;
                    self.tell_all();
                }
            }
        }
    }

    async fn changed(&mut self, change: Change) {
        let (cid, held) = match change {
            Change::Pinned(cid) => (cid, true),
            Change::Unpinned(cid) => (cid, false),
        };
        self.hold(&[cid], held).await;
        if !held {
            for waiting in [&mut self.new, &mut self.page] {
                waiting.retain(|waiting| waiting.hash() != cid.hash());
            }
        } else if self.new.len() < WAITING {
            self.new.push_back(cid);
        } else {
            self.tell_all();
        }
    }

    /// A table that was empty has peers: they have heard of nothing.
    fn met(&mut self, now: Peers) {
        let before = std::mem::replace(&mut self.peers, now);
        if before.lan == 0 && now.lan > 0 {
            self.tell_all();
        }
        if before.wan == 0 && now.wan > 0 {
            self.round_due = self.round_due.min(Instant::now() + SETTLE);
        }
    }

    /// Has all pins told once more. A round that is under way goes on to its end first: were it begun anew each time, what
    /// stands late in it might never be told.
    fn tell_all(&mut self) {
        match self.round {
            Round::Over => self.round = Round::Ahead,
            Round::Ahead => {}
            Round::At(_) => self.again = true,
        }
    }

    /// The next root to tell: new ones and those of the round in turns, so that neither keep the others waiting.
    async fn next(&mut self) -> Option<Cid> {
        self.new_next = !self.new_next;
        if self.new_next && !self.new.is_empty() {
            return self.new.pop_front();
        }
        while self.page.is_empty() {
            let after = match self.round {
                Round::Over => return self.new.pop_front(),
                Round::Ahead => {
                    self.round_due = Instant::now() + ROUND;
                    None
                }
                Round::At(last) => Some(last),
            };
            self.page = self.pins_after(after).await;
            self.round = match self.page.back() {
                Some(last) => Round::At(*last),
                None if std::mem::take(&mut self.again) => Round::Ahead,
                None => Round::Over,
            };
        }
        self.page.pop_front()
    }

    /// Answers for all pins when others ask.
    async fn hold_all(&self) {
        let mut page = self.pins_after(None).await;
        while let Some(last) = page.back().copied() {
            self.hold(page.make_contiguous(), true).await;
            page = self.pins_after(Some(last)).await;
        }
    }

    /// Some pins; none at the end, or if they cannot be read: the node is stopping, or says so elsewhere.
    async fn pins_after(&self, after: Option<Cid>) -> VecDeque<Cid> {
        let store = self.store.clone();
        let page = tokio::task::spawn_blocking(move || store.pins_after(after.as_ref(), PAGE)).await;
        page.ok().and_then(Result::ok).into_iter().flatten().map(|pin| pin.cid).collect()
    }

    async fn hold(&self, cids: &[Cid], held: bool) {
        let keys = cids.iter().map(content_key).collect();
        let _ = self.swarm.send(Command::Hold { keys, held }).await; // fails only when the node stops
    }
}

/// Tells one root. A failure is as good as a success: the next round tells it again.
async fn tell(swarm: mpsc::Sender<Command>, cid: Cid) {
    let (reply, answer) = oneshot::channel();
    if swarm.send(Command::Ask(Ask::Provide(content_key(&cid), reply))).await.is_ok() {
        if let Ok(Err(error)) = answer.await {
            tracing::debug!(%cid, %error, "not provided");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, RAW};
    use crate::store::Options;
    use crate::PinReport;
    use cid::Version;
    use libp2p::kad::RecordKey;

    fn cid(text: &str) -> Cid {
        cid_of(Version::V1, RAW, text.as_bytes())
    }

    struct Rig {
        _dir: tempfile::TempDir,
        pins: mpsc::Sender<Change>,
        peers: watch::Sender<Peers>,
        commands: mpsc::Receiver<Command>,
    }

    impl Rig {
        async fn new(pinned: &[Cid]) -> Rig {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path(), Options::new(1 << 20, u64::MAX)).unwrap();
            for &cid in pinned {
                store.record_pin(PinReport { cid, blocks: 1, bytes: 1, name: String::new() }).await.unwrap();
            }
            let (swarm, commands) = mpsc::channel(8);
            let (pins, inbox) = mpsc::channel(8);
            let (peers, seen) = watch::channel(Peers::default());
            tokio::spawn(Providing::new(store, swarm).run(inbox, seen));
            Rig { _dir: dir, pins, peers, commands }
        }

        /// What is told next, holding apart.
        async fn told(&mut self) -> RecordKey {
            loop {
                if let Some(Command::Ask(Ask::Provide(key, reply))) = self.commands.recv().await {
                    reply.send(Ok(())).unwrap();
                    return key;
                }
            }
        }

        async fn quiet_for(&mut self, time: Duration) -> bool {
            tokio::time::timeout(time, self.told()).await.is_err()
        }
    }

    const LAN: Peers = Peers { lan: 1, wan: 0 };

    #[tokio::test(start_paused = true)]
    async fn pins_are_told_once_there_are_peers_and_every_22_hours_again() {
        let mut rig = Rig::new(&[cid("a")]).await;
        assert!(rig.quiet_for(Duration::from_secs(60)).await, "there is nobody to tell");
        rig.peers.send_replace(LAN);
        assert_eq!(rig.told().await, content_key(&cid("a")));
        let first = Instant::now();
        assert_eq!(rig.told().await, content_key(&cid("a")));
        assert_eq!(first.elapsed().as_secs(), ROUND.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_pin_is_told_at_once_and_one_given_up_no_more() {
        let mut rig = Rig::new(&[]).await;
        rig.peers.send_replace(LAN);
        rig.pins.send(Change::Pinned(cid("new"))).await.unwrap();
        assert_eq!(rig.told().await, content_key(&cid("new")));
        rig.peers.send_replace(Peers::default());
        rig.pins.send(Change::Pinned(cid("short"))).await.unwrap();
        rig.pins.send(Change::Unpinned(cid("short"))).await.unwrap();
        while !matches!(rig.commands.recv().await, Some(Command::Hold { held: false, .. })) {}
        rig.peers.send_replace(Peers { lan: 0, wan: 1 });
        assert!(rig.quiet_for(Duration::from_secs(3600)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_public_table_is_told_when_it_has_had_time_to_fill() {
        let mut rig = Rig::new(&[cid("a")]).await;
        rig.peers.send_replace(LAN);
        rig.told().await;
        let before = Instant::now();
        rig.peers.send_replace(Peers { lan: 1, wan: 1 });
        assert_eq!(rig.told().await, content_key(&cid("a")));
        assert_eq!(before.elapsed().as_secs(), SETTLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_four_are_being_told_at_once() {
        let many: Vec<_> = (0..20).map(|n| cid(&n.to_string())).collect();
        let mut rig = Rig::new(&many).await;
        rig.peers.send_replace(LAN);
        let mut open = Vec::new();
        while let Ok(command) = tokio::time::timeout(Duration::from_secs(1), rig.commands.recv()).await {
            if let Some(Command::Ask(Ask::Provide(_, reply))) = command {
                open.push(reply);
            }
        }
        assert_eq!(open.len(), AT_ONCE);
        open.remove(0).send(Ok(())).unwrap();
        rig.told().await;
    }

    #[tokio::test(start_paused = true)]
    async fn more_pins_than_a_round_has_time_for_are_all_told_before_any_is_told_again() {
        let many: Vec<_> = (0..2 * PAGE).map(|n| cid(&n.to_string())).collect();
        let mut rig = Rig::new(&many).await;
        rig.peers.send_replace(LAN);
        let mut told = std::collections::HashSet::new();
        let started = Instant::now();
        while told.len() < many.len() {
            let (mut keys, mut replies) = (Vec::new(), Vec::new());
            while keys.len() < AT_ONCE {
                if let Some(Command::Ask(Ask::Provide(key, reply))) = rig.commands.recv().await {
                    keys.push(key);
                    replies.push(reply);
                }
            }
            for key in keys {
                assert!(told.insert(key), "after {} of {}", told.len(), many.len());
            }
            // Meanwhile the only peer goes, and comes again.
            rig.peers.send_replace(Peers::default());
            tokio::time::sleep(Duration::from_secs(3600)).await;
            rig.peers.send_replace(LAN);
            replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
        }
        assert!(started.elapsed() > 2 * ROUND);
    }
}
