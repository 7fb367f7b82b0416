//! What peers want of us. A want that cannot be served is remembered, and served when the block arrives.

use cid::Cid;
use libp2p::PeerId;

use super::limits::Breach;
use super::{Asked, Effect, Engine};
use crate::bitswap::message::{Entry, Kind};
use crate::block::Key;
use crate::MAX_BLOCK;

/// A block up to this size is sent where only its presence was asked for, as Kubo does, in bytes.
const HAVE_BECOMES_BLOCK: u64 = 1024;
/// Answers of each sort that may wait for a peer that does not read, for each want it may have.
const ANSWERS_PER_WANT: usize = 2;

impl Engine {
    pub(super) fn received_entries(&mut self, id: PeerId, full: bool, entries: Vec<Entry>) {
        let limit = self.wants_per_peer;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if full {
            peer.ledger.clear();
            peer.ledger_len = 0;
            peer.blocks.clear();
            peer.presences.clear();
        }
        let (mut asked, mut excess) = (Vec::with_capacity(entries.len()), 0);
        for entry in entries {
            let known = peer.strike(&entry.cid);
            if entry.kind.is_none() {
                continue;
            }
            // Beyond the limit a want is answered but not remembered.
            let noted = known || peer.ledger_len < limit;
            if noted {
                peer.ledger.entry(Key::of(&entry.cid)).or_default().push(entry);
                peer.ledger_len += 1;
            }
            excess += usize::from(!noted);
            asked.push(Asked { entry, noted });
        }
        if !asked.is_empty() {
            self.effects.push(Effect::Find(id, asked));
        }
        self.touched.insert(id);
        if excess > 0 {
            self.breached(id, Breach::Wants(excess));
        }
    }

    pub(super) fn found(&mut self, id: PeerId, found: Vec<(Asked, Option<u64>)>) {
        let most = ANSWERS_PER_WANT * self.wants_per_peer;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        for (Asked { entry, noted }, size) in found {
            let now =
                peer.ledger.get(&Key::of(&entry.cid)).and_then(|all| all.iter().find(|e| e.cid == entry.cid));
            if peer.blocks.len() >= most || peer.presences.len() >= most {
                continue;
            }
            let entry = match (noted, now) {
                (true, None) => continue, // taken back or served meanwhile
                (_, Some(now)) => *now,
                (false, None) => entry,
            };
            match size.filter(|&size| size <= MAX_BLOCK as u64) {
                Some(size) if entry.kind == Some(Kind::Block) || size <= HAVE_BECOMES_BLOCK => {
                    peer.blocks.push_back((entry.cid, size, noted));
                }
                Some(_) => {
                    peer.strike(&entry.cid);
                    peer.presences.push_back((entry.cid, true));
                }
                None if entry.send_dont_have => {
                    peer.presences.push_back((entry.cid, false));
                }
                None => {}
            }
        }
        self.touched.insert(id);
    }

    /// A block is here now: those who still want it get it.
    pub(super) fn serve_stored(&mut self, cid: &Cid, size: u64) {
        let key = Key::of(cid);
        for (id, peer) in &mut self.peers {
            let Some(entries) = peer.ledger.get(&key) else {
                continue;
            };
            for entry in entries.clone() {
                if peer.blocks.len() >= ANSWERS_PER_WANT * self.wants_per_peer {
                    break;
                }
                if entry.kind == Some(Kind::Block) || size <= HAVE_BECOMES_BLOCK {
                    peer.blocks.push_back((entry.cid, size, true));
                } else {
                    peer.strike(&entry.cid);
                    peer.presences.push_back((entry.cid, true));
                }
            }
            self.touched.insert(*id);
        }
    }
}
