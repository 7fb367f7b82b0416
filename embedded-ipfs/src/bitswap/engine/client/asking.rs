//! Whom to ask for what.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use libp2p::PeerId;

use super::{Ask, Stage, Want};
use crate::bitswap::engine::peer::{Peer, OPEN};
use crate::bitswap::engine::Engine;
use crate::bitswap::message::Kind;
use crate::block::Key;

/// A peer that is not asked outright is asked so often whether it has a block that another is asked for: it may be as good
/// a source as that one.
const PROBE: Duration = Duration::from_secs(1);
/// Keys in a peer's backlog, over two for each want, before those that do not wait there any more are sorted out.
const BACKLOG: usize = 1024;

impl Engine {
    /// Sees to it that a want is asked of somebody who may have it.
    pub(super) fn advance(&mut self, key: &Key) {
        let Some(want) = self.wants.get(key) else {
            return;
        };
        if want.stage != Stage::Asking || want.asks.values().any(Ask::hopeful) {
            return;
        }
        // Those who talk first, then those with room, then the shortest queue; equal peers take turns.
        let load =
            |(_, peer): &(&PeerId, &Peer)| (peer.silent, !peer.has_room(), peer.outstanding, peer.delivered);
        let usable = || self.peers.iter().filter(|(_, peer)| !peer.muted());
        let holder = usable().filter(|(id, _)| want.asks.get(id) == Some(&Ask::Has)).min_by_key(load);
        if let Some((&holder, _)) = holder {
            return self.ask(key, holder, Kind::Block);
        }
        let unasked = || usable().filter(|(id, _)| !want.asks.contains_key(id));
        if let Some((&warm, _)) = unasked().filter(|(_, peer)| peer.warm_until > self.now).min_by_key(load) {
            let due = |(_, peer): &(&PeerId, &Peer)| peer.warm_until.max(peer.probe_at) <= self.now;
            let probed: Vec<_> = unasked().filter(due).map(|(&id, _)| id).filter(|&id| id != warm).collect();
            self.ask(key, warm, Kind::Block);
            for id in probed {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.probe_at = self.now + PROBE;
                }
                self.ask(key, id, Kind::Have);
            }
            return;
        }
        let Some((&first, _)) = unasked().min_by_key(load) else {
            return;
        };
        let others: Vec<_> = unasked().map(|(&id, _)| id).filter(|&id| id != first).collect();
        self.ask(key, first, Kind::Block);
        for other in others {
            self.ask(key, other, Kind::Have);
        }
    }

    /// Puts a want to a peer, or into its backlog.
    pub(super) fn ask(&mut self, key: &Key, id: PeerId, kind: Kind) {
        let room = self.make_room(key, id, kind);
        let most = BACKLOG + 2 * self.wants.len();
        let (Some(want), Some(peer)) = (self.wants.get_mut(key), self.peers.get_mut(&id)) else {
            return;
        };
        let ask = if room {
            peer.wantlist.list(key, want.cid, kind);
            peer.outstanding += usize::from(kind == Kind::Block);
            self.touched.insert(id);
            Ask::Asked(kind, self.now)
        } else {
            peer.backlog.push_back(key.clone());
            Ask::Backlog(kind)
        };
        if let Some(old) = want.asks.insert(id, ask) {
            old.release(peer);
        }
        if peer.backlog.len() > most {
            let mut once = HashSet::new();
            let waits = |key: &Key| {
                self.wants.get(key).is_some_and(|want| matches!(want.asks.get(&id), Some(Ask::Backlog(_))))
            };
            peer.backlog.retain(|key| waits(key) && once.insert(key.clone()));
        }
    }

    /// Finds a place in a peer's wantlist, if need be that of a want which it refused or is silent about.
    fn make_room(&mut self, key: &Key, id: PeerId, kind: Kind) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        if kind == Kind::Block && peer.outstanding >= OPEN {
            return false;
        }
        while !peer.wantlist.has_room() && !peer.wantlist.lists(key) {
            let Some(stale) = peer.take_stale() else {
                return false;
            };
            let want = self.wants.get(&stale);
            let Some(want) = want else { continue };
            if matches!(want.asks.get(&id), None | Some(Ask::HasNot(_) | Ask::Slow)) {
                peer.wantlist.unlist(&stale, want.cid);
            }
        }
        true
    }

    /// What waits for room at a peer that fell silent need not wait while others talk.
    pub(super) fn leave_backlogs(&mut self, silent: &BTreeSet<PeerId>) {
        if silent.is_empty() || self.peers.values().all(|peer| peer.silent || peer.muted()) {
            return;
        }
        let waits = |want: &Want, id| matches!(want.asks.get(id), Some(Ask::Backlog(Kind::Block)));
        for key in self.keys(|want| silent.iter().any(|id| waits(want, id))) {
            if let Some(want) = self.wants.get_mut(&key) {
                want.asks.retain(|id, ask| !silent.contains(id) || *ask != Ask::Backlog(Kind::Block));
            }
            self.advance(&key);
        }
    }

    /// Asks what waits for room at a peer.
    pub(super) fn refill(&mut self, id: PeerId) {
        self.touched.insert(id);
        loop {
            let Some(peer) = self.peers.get_mut(&id) else {
                return;
            };
            let Some(key) = peer.backlog.pop_front() else {
                return;
            };
            let waits = self.wants.get(&key).filter(|want| want.stage == Stage::Asking);
            let Some(&Ask::Backlog(kind)) = waits.and_then(|want| want.asks.get(&id)) else {
                continue;
            };
            if !self.make_room(&key, id, kind) {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.backlog.push_front(key);
                }
                return;
            }
            self.ask(&key, id, kind);
        }
    }
}
