//! What local callers want of peers, and what to do about an answer, or about none.

mod asking;
#[cfg(test)]
mod invariants;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use libp2p::PeerId;

use super::limits::Breach;
use super::{Effect, Engine, Fault, Peer, WantId};
use crate::bitswap::message::Kind;
use crate::block::Key;
use crate::MAX_BLOCK;

/// A peer that sent a wanted block, or has one, is asked outright for this long.
const WARM: Duration = Duration::from_secs(10);
/// After this long without a wanted block from a peer, what was asked of it is asked elsewhere too.
const SILENCE: Duration = Duration::from_secs(5);
/// After this long without a block it is asked elsewhere too, however many others the peer sent meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pauses after which a want is asked of everybody again.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(60));

/// A block that somebody waits for.
pub(super) struct Want {
    cid: Cid,
    waiters: Vec<WantId>,
    stage: Stage,
    asks: BTreeMap<PeerId, Ask>,
    ask_again: Duration,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The store is being looked through.
    Reading,
    Asking,
    /// It came, and is not durable yet.
    Storing,
}

/// How a want stands with one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// No room in its wantlist yet.
    Backlog(Kind),
    /// Asked, no answer yet.
    Asked(Kind, Duration),
    /// Asked for the block, and silent for too long; an answer is still welcome.
    Slow,
    /// It has the block.
    Has,
    /// It said that it does not, asked so. If it gets the block later, it will say or send it.
    HasNot(Kind),
}

impl Ask {
    fn hopeful(&self) -> bool {
        matches!(self, Ask::Backlog(Kind::Block) | Ask::Asked(Kind::Block, _))
    }

    /// Keeps the peer's count of blocks hoped for when this ask ends.
    fn release(self, peer: &mut Peer) {
        if matches!(self, Ask::Asked(Kind::Block, _)) {
            peer.outstanding = peer.outstanding.saturating_sub(1);
        }
    }
}

impl Engine {
    pub(super) fn wanted(&mut self, id: WantId, cid: Cid) {
        let key = Key::of(&cid);
        self.waiters.insert(id, key.clone());
        if let Some(want) = self.wants.get_mut(&key) {
            want.waiters.push(id);
            return;
        }
        self.effects.push(Effect::Read(cid));
        let want = Want {
            cid,
            waiters: vec![id],
            stage: Stage::Reading,
            asks: BTreeMap::new(),
            ask_again: Duration::MAX,
            pause: ASK_AGAIN.0,
        };
        self.wants.insert(key, want);
    }

    pub(super) fn read(&mut self, key: Key, bytes: Option<Bytes>) {
        if let Some(bytes) = bytes {
            return self.deliver(&key, bytes);
        }
        if let Some(want) = self.wants.get_mut(&key).filter(|want| want.stage == Stage::Reading) {
            want.stage = Stage::Asking;
            want.ask_again = self.now + want.pause;
            self.advance(&key);
        }
    }

    pub(super) fn dropped(&mut self, id: WantId) {
        let Some(key) = self.waiters.remove(&id) else {
            return;
        };
        let Some(want) = self.wants.get_mut(&key) else {
            return;
        };
        want.waiters.retain(|waiter| *waiter != id);
        if want.waiters.is_empty() && want.stage != Stage::Storing {
            self.end(&key, None);
            self.wants.remove(&key);
        }
    }

    pub(super) fn deliver(&mut self, key: &Key, bytes: Bytes) {
        let waiters = self.close(key);
        if !waiters.is_empty() {
            self.effects.push(Effect::Deliver(waiters, bytes));
        }
    }

    pub(super) fn not_stored(&mut self, keys: Vec<Key>, fault: &Fault) {
        for key in keys {
            let waiters = self.close(&key);
            if !waiters.is_empty() {
                self.effects.push(Effect::Fail(waiters, fault.clone()));
            }
        }
    }

    /// Ends a want; says who waited.
    fn close(&mut self, key: &Key) -> Vec<WantId> {
        self.end(key, None);
        let waiters = self.wants.remove(key).map_or_else(Vec::new, |want| want.waiters);
        for waiter in &waiters {
            self.waiters.remove(waiter);
        }
        waiters
    }

    /// Takes a want back from every peer but the one that answered it.
    fn end(&mut self, key: &Key, answered: Option<PeerId>) {
        let Some(want) = self.wants.get_mut(key) else {
            return;
        };
        let mut asks = std::mem::take(&mut want.asks);
        let cid = want.cid;
        let mut freed = Vec::new();
        for (&id, peer) in &mut self.peers {
            if let Some(ask) = asks.remove(&id) {
                ask.release(peer);
            }
            if answered == Some(id) {
                peer.wantlist.settle(key);
            } else if peer.wantlist.lists(key) {
                peer.wantlist.unlist(key, cid);
            } else {
                continue;
            }
            freed.push(id);
        }
        for id in freed {
            self.refill(id);
        }
    }

    pub(super) fn received_blocks(&mut self, id: PeerId, blocks: Vec<(Cid, Bytes)>) {
        let mut wanted = Vec::with_capacity(blocks.len());
        for (cid, bytes) in blocks {
            let key = Key::of(&cid);
            if bytes.len() > MAX_BLOCK {
                self.received_oversize(id, &cid, bytes.len() as u64);
                continue;
            }
            match self.wants.get_mut(&key) {
                Some(want) if want.stage != Stage::Storing => want.stage = Stage::Storing,
                _ => {
                    self.received_unwanted(id, &key, bytes.len());
                    continue;
                }
            }
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.heard = self.now;
                peer.silent = false;
                peer.warm_until = self.now + WARM;
                peer.delivered += 1;
            }
            self.end(&key, Some(id));
            self.counters.received_blocks += 1;
            self.counters.received_bytes += bytes.len() as u64;
            wanted.push((cid, bytes));
        }
        if !wanted.is_empty() {
            self.effects.push(Effect::Store(wanted));
        }
    }

    fn received_unwanted(&mut self, id: PeerId, key: &Key, bytes: usize) {
        self.counters.unwanted_blocks += 1;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.wantlist.forgive_late(key) {
            self.counters.late_blocks += 1;
        } else {
            self.breached(id, Breach::Unasked(bytes));
        }
    }

    /// A block too large for any message: whoever waits for it waits in vain.
    pub(super) fn received_oversize(&mut self, id: PeerId, cid: &Cid, size: u64) {
        let key = Key::of(cid);
        if self.wants.get(&key).is_none_or(|want| want.stage == Stage::Storing) {
            return self.breached(id, Breach::Oversize);
        }
        self.end(&key, Some(id));
        self.not_stored(vec![key], &Fault::TooLarge(size));
    }

    pub(super) fn received_presences(&mut self, id: PeerId, presences: Vec<(Cid, bool)>) {
        let mut unasked = 0;
        for (cid, has) in presences {
            let key = Key::of(&cid);
            let Some(peer) = self.peers.get_mut(&id) else { return };
            let asked = self.wants.get_mut(&key).and_then(|want| want.asks.get_mut(&id));
            if has && (asked.is_some() || peer.wantlist.asked_lately(&key)) {
                // Also if another peer's block was here before this answer: what follows is shared between both.
                peer.warm_until = self.now + WARM;
            }
            let Some(ask) = asked else {
                unasked += usize::from(!peer.wantlist.asked_lately(&key));
                continue;
            };
            match (*ask, has) {
                (Ask::Asked(Kind::Have, _) | Ask::HasNot(Kind::Have), true) => {
                    // Kubo forgets a WANT_HAVE that it has answered so.
                    peer.wantlist.settle(&key);
                    *ask = Ask::Has;
                }
                (Ask::Asked(kind, _), false) => {
                    ask.release(peer);
                    *ask = Ask::HasNot(kind);
                    peer.note_stale(&key);
                    if kind == Kind::Block {
                        peer.warm_until = self.now;
                    }
                }
                (Ask::Slow, false) => *ask = Ask::HasNot(Kind::Block),
                (Ask::Slow | Ask::Asked(Kind::Block, _) | Ask::Backlog(_) | Ask::Has | Ask::HasNot(_), _) => {
                    unasked += 1;
                    continue;
                }
            }
            self.refill(id);
            self.advance(&key);
        }
        if unasked > 0 {
            self.breached(id, Breach::Presences(unasked));
        }
    }

    pub(super) fn connected(&mut self, id: PeerId) {
        if !self.peers.contains_key(&id) {
            let delivered = self.peers.values().map(|peer| peer.delivered).min().unwrap_or(0);
            self.peers.insert(id, Peer::new(self.now, delivered));
            self.ask_everything(id);
        }
    }

    /// A new or healed peer hears of every want.
    fn ask_everything(&mut self, id: PeerId) {
        for key in self.keys(|want| want.stage == Stage::Asking && !want.asks.contains_key(&id)) {
            let hopeful = |want: &Want| want.asks.values().any(Ask::hopeful);
            if self.wants.get(&key).is_some_and(hopeful) {
                self.ask(&key, id, Kind::Have);
            } else {
                self.advance(&key);
            }
        }
    }

    pub(super) fn lost(&mut self, id: PeerId) {
        self.peers.remove(&id);
        self.forget_asks(id);
    }

    pub(super) fn send_failed(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.mute(self.now);
            self.forget_asks(id);
        }
    }

    fn forget_asks(&mut self, id: PeerId) {
        for key in self.keys(|want| want.asks.contains_key(&id)) {
            if let Some(want) = self.wants.get_mut(&key) {
                want.asks.remove(&id);
            }
            self.advance(&key);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = self.now;
        let healed = |(&id, peer): (&PeerId, &mut Peer)| {
            let over = peer.muted_until.is_some_and(|until| until <= now);
            over.then(|| {
                peer.muted_until = None;
                id
            })
        };
        for id in self.peers.iter_mut().filter_map(healed).collect::<Vec<_>>() {
            self.ask_everything(id);
        }
        let mut silent = BTreeSet::new();
        let mut stuck = Vec::new();
        for (key, want) in self.wants.iter_mut().filter(|(_, want)| want.stage == Stage::Asking) {
            let mut changed = false;
            for (id, ask) in &mut want.asks {
                let (Some(peer), Ask::Asked(Kind::Block, since)) = (self.peers.get_mut(id), *ask) else {
                    continue;
                };
                let quiet = now > since.max(peer.heard) + SILENCE;
                if quiet || now > since + PATIENCE {
                    ask.release(peer);
                    *ask = Ask::Slow;
                    peer.note_stale(key);
                    changed = true;
                }
                if quiet {
                    peer.warm_until = now;
                    peer.silent = true;
                    silent.insert(*id);
                }
            }
            if want.ask_again <= now {
                want.asks.retain(|_, ask| matches!(ask, Ask::Asked(Kind::Block, _) | Ask::Backlog(_)));
                want.pause = (want.pause * 2).min(ASK_AGAIN.1);
                want.ask_again = now + want.pause;
                changed = true;
            }
            if changed {
                stuck.push(key.clone());
            }
        }
        self.leave_backlogs(&silent);
        for key in stuck {
            self.advance(&key);
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.refill(id);
        }
    }

    fn keys(&self, which: impl Fn(&Want) -> bool) -> Vec<Key> {
        self.wants.iter().filter(|(_, want)| which(want)).map(|(key, _)| key.clone()).collect()
    }
}
