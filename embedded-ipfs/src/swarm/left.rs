//! The peers that were left, until they are given another chance. No connection of theirs gets past its handshake.

use std::collections::VecDeque;
use std::time::Duration;

use libp2p::allow_block_list::{Behaviour, BlockedPeers};
use libp2p::PeerId;
use tokio::time::Instant;

/// How long a peer is kept away.
const AWAY: Duration = Duration::from_secs(600);
/// Most that are remembered: identities cost nothing, so the oldest is let in again rather than memory spent.
const MOST: usize = 1024;

#[derive(Default)]
pub(super) struct Left {
    /// Oldest first.
    peers: VecDeque<(Instant, PeerId)>,
}

impl Left {
    /// Disconnects a peer and keeps it away.
    pub(super) fn leave(&mut self, peer: PeerId, list: &mut Behaviour<BlockedPeers>) {
        if list.block_peer(peer) {
            self.peers.push_back((Instant::now() + AWAY, peer));
        }
        if self.peers.len() > MOST {
            self.forgive_oldest(list);
        }
    }

    /// Lets those in again whose time is over.
    pub(super) fn forgive(&mut self, list: &mut Behaviour<BlockedPeers>) {
        while self.next().is_some_and(|at| at <= Instant::now()) {
            self.forgive_oldest(list);
        }
    }

    /// When [`Left::forgive`] has something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.peers.front().map(|(until, _)| *until)
    }

    fn forgive_oldest(&mut self, list: &mut Behaviour<BlockedPeers>) {
        if let Some((_, peer)) = self.peers.pop_front() {
            list.unblock_peer(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_kept_away_for_ten_minutes_and_so_many_are_remembered() {
        let (mut left, mut list) = (Left::default(), Behaviour::<BlockedPeers>::default());
        let first = PeerId::random();
        left.leave(first, &mut list);
        tokio::time::advance(AWAY - Duration::from_secs(1)).await;
        left.forgive(&mut list);
        assert!(list.blocked_peers().contains(&first));
        tokio::time::advance(Duration::from_secs(1)).await;
        left.forgive(&mut list);
        assert!(list.blocked_peers().is_empty());
        for _ in 0..2 * MOST {
            left.leave(PeerId::random(), &mut list);
        }
        assert_eq!(list.blocked_peers().len(), MOST);
    }
}
