//! Whom to ask for what.

use libp2p::PeerId;

use super::{Ask, Stage};
use crate::bitswap::engine::peer::Peer;
use crate::bitswap::engine::Engine;
use crate::bitswap::message::Kind;
use crate::block::Key;

impl Engine {
    /// Sees to it that a want is asked of somebody who may have it.
    pub(super) fn advance(&mut self, key: &Key) {
        let Some(want) = self.wants.get(key) else {
            return;
        };
        if want.stage != Stage::Asking || want.asks.values().any(Ask::hopeful) {
            return;
        }
        // Room first, then the shortest queue; equal peers take turns.
        let load = |(_, peer): &(&PeerId, &Peer)| (!peer.has_room(), peer.outstanding, peer.delivered);
        let usable = || self.peers.iter().filter(|(_, peer)| !peer.muted());
        let holder = usable().filter(|(id, _)| want.asks.get(id) == Some(&Ask::Has)).min_by_key(load);
        if let Some((&holder, _)) = holder {
            return self.ask(key, holder, Kind::Block);
        }
        let unasked = || usable().filter(|(id, _)| !want.asks.contains_key(id));
        if let Some((&warm, _)) = unasked().filter(|(_, peer)| peer.warm_until > self.now).min_by_key(load) {
            return self.ask(key, warm, Kind::Block);
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
        let room = self.make_room(key, id);
        let (Some(want), Some(peer)) = (self.wants.get_mut(key), self.peers.get_mut(&id)) else {
            return;
        };
        let ask = if room {
            peer.list(key, want.cid, kind);
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
    }

    /// Finds a place in a peer's wantlist, if need be that of a want which it refused or is silent about.
    fn make_room(&mut self, key: &Key, id: PeerId) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        while !peer.has_room() && !peer.lists(key) {
            let Some(stale) = peer.take_stale() else {
                return false;
            };
            let want = self.wants.get(&stale);
            let Some(want) = want else { continue };
            if matches!(want.asks.get(&id), None | Some(Ask::HasNot | Ask::Slow)) {
                peer.unlist(&stale, want.cid);
            }
        }
        true
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
            if !self.make_room(&key, id) {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.backlog.push_front(key);
                }
                return;
            }
            self.ask(&key, id, kind);
        }
    }
}
