//! What holds after every event; the tests check it after each of theirs.

use super::{Ask, Stage, Want};
use crate::bitswap::engine::peer::OPEN;
use crate::bitswap::engine::Engine;
use crate::bitswap::message::Kind;
use crate::block::Key;

impl Engine {
    /// Panics at a broken one.
    pub(in crate::bitswap::engine) fn check(&self) {
        let limit = 40_000 + 6 * self.wants_per_peer + 2 * self.wants.len();
        for peer in self.peers.values() {
            assert!(peer.size() < limit, "E6: {} entries of one peer", peer.size());
            assert!(peer.outstanding <= OPEN, "no more blocks are hoped for than there is room for");
        }
        if self.wants.len() > 100 {
            return; // it takes the square of that
        }
        for (id, peer) in &self.peers {
            let hoped = |want: &&Want| matches!(want.asks.get(id), Some(Ask::Asked(Kind::Block, _)));
            assert_eq!(
                peer.outstanding,
                self.wants.values().filter(hoped).count(),
                "blocks hoped for are counted"
            );
            for want in self.wants.values() {
                let waits = matches!(want.asks.get(id), Some(Ask::Backlog(_)));
                let key = Key::of(&want.cid);
                assert!(!waits || peer.backlog.contains(&key), "what waits for room is in the backlog");
            }
        }
        for want in self.wants.values() {
            assert!(
                want.asks.keys().all(|id| self.peers.contains_key(id)),
                "E4: nothing is asked of the gone"
            );
            if want.stage == Stage::Asking && !want.asks.values().any(Ask::hopeful) {
                let idle = self.peers.iter().filter(|(_, peer)| !peer.muted());
                let unasked = idle.filter(|(id, _)| matches!(want.asks.get(id), None | Some(Ask::Has)));
                assert_eq!(unasked.count(), 0, "E5: somebody was left unasked");
            }
        }
    }
}
