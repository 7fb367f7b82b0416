//! One connected peer: what is hoped for of it, what it wants, and what waits to be sent to it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use cid::Cid;

use super::limits::Conduct;
use super::wantlist::Wantlist;
use super::Outgoing;
use crate::bitswap::message::Entry;
use crate::block::Key;
use crate::MAX_BLOCK;

/// Most blocks hoped for of one peer at a time, so that its answers find room and its equals something to do.
pub(super) const OPEN: usize = 128;
/// Presences in one message.
const MESSAGE_PRESENCES: usize = 4096;
/// Most bytes that an entry or a presence takes.
const ENTRY_BYTES: usize = 128;
/// Bytes of blocks after which a message takes no more.
const MESSAGE_BYTES: u64 = 512 << 10;

pub(super) struct Peer {
    // Sending.
    under_way: bool,
    failures: u32,
    /// After failed writes nothing is sent and nothing asked until then.
    pub(super) muted_until: Option<Duration>,

    // What we want of it.
    pub(super) wantlist: Wantlist,
    /// When it last sent a block that was wanted.
    pub(super) heard: Duration,
    /// It was asked for blocks and says nothing: others go before it.
    pub(super) silent: bool,
    /// From then on it is asked again whether it has what another is asked for.
    pub(super) probe_at: Duration,
    /// Until then it is asked for blocks outright.
    pub(super) warm_until: Duration,
    /// Blocks asked of it and still hoped for.
    pub(super) outstanding: usize,
    /// Blocks had of it, so that equal peers take turns.
    pub(super) delivered: u64,
    /// Listed wants that may make room, oldest first; checked when used.
    stale: VecDeque<Key>,
    /// Wants that found no room; checked when used.
    pub(super) backlog: VecDeque<Key>,

    // What it wants of us.
    pub(super) ledger: HashMap<Key, Vec<Entry>>,
    pub(super) ledger_len: usize,
    /// Blocks to send, with whether they must still stand in the ledger.
    pub(super) blocks: VecDeque<(Cid, u64, bool)>,
    pub(super) presences: VecDeque<(Cid, bool)>,
    /// The next block is so large that it goes alone.
    large_next: bool,

    /// How well it keeps to the rules.
    pub(super) conduct: Conduct,
}

impl Peer {
    /// A peer that counts as having delivered so much: as much as the others, or it would have to catch up first.
    pub(super) fn new(now: Duration, delivered: u64) -> Peer {
        Peer {
            under_way: false,
            failures: 0,
            muted_until: None,
            wantlist: Wantlist::new(),
            heard: now,
            silent: false,
            probe_at: now,
            warm_until: now,
            outstanding: 0,
            delivered,
            stale: VecDeque::new(),
            backlog: VecDeque::new(),
            ledger: HashMap::new(),
            ledger_len: 0,
            blocks: VecDeque::new(),
            presences: VecDeque::new(),
            large_next: false,
            conduct: Conduct::default(),
        }
    }

    pub(super) fn muted(&self) -> bool {
        self.muted_until.is_some()
    }

    /// It can be asked for one more block.
    pub(super) fn has_room(&self) -> bool {
        self.wantlist.has_room() && self.outstanding < OPEN
    }

    /// A listed want may make room from now on.
    pub(super) fn note_stale(&mut self, key: &Key) {
        if self.stale.len() >= 2 * super::wantlist::WINDOW {
            let mut once = std::collections::HashSet::new();
            self.stale.retain(|key| self.wantlist.lists(key) && once.insert(key.clone()));
        }
        self.stale.push_back(key.clone());
    }

    /// The want that may make room for longest.
    pub(super) fn take_stale(&mut self) -> Option<Key> {
        self.stale.pop_front()
    }

    /// A message was written.
    pub(super) fn sent(&mut self) {
        self.under_way = false;
        self.failures = 0;
        self.wantlist.written();
    }

    /// A message was not written: what lies at the peer is unknown, and it is left alone for a while that doubles up to
    /// 30 s. What it wanted and now misses it will ask for again.
    pub(super) fn mute(&mut self, now: Duration) {
        self.under_way = false;
        self.muted_until =
            Some(now + Duration::from_secs(1 << self.failures.min(5)).min(Duration::from_secs(30)));
        self.failures += 1;
        self.outstanding = 0;
        self.wantlist.doubt();
        self.stale.clear();
        self.backlog.clear();
        self.blocks.clear();
        self.presences.clear();
    }

    /// The next message, if there is something to say and nothing under way.
    pub(super) fn compose(&mut self) -> Option<Outgoing> {
        if self.under_way || self.muted() {
            return None;
        }
        let mut outgoing = Outgoing::default();
        if !std::mem::take(&mut self.large_next) {
            (outgoing.full, outgoing.entries) = self.wantlist.compose();
            let presences = self.presences.len().min(MESSAGE_PRESENCES);
            outgoing.presences.extend(self.presences.drain(..presences));
        }
        let rest = (ENTRY_BYTES * (outgoing.entries.len() + outgoing.presences.len())) as u64;
        let mut bytes = 0;
        while bytes < MESSAGE_BYTES {
            let Some(&(cid, size, noted)) = self.blocks.front() else {
                break;
            };
            if rest + bytes > 0 && rest + bytes + size > MAX_BLOCK as u64 - MESSAGE_BYTES {
                self.large_next = true;
                break;
            }
            self.blocks.pop_front();
            if !noted || self.strike(&cid) {
                outgoing.blocks.push(cid);
                bytes += size;
            }
        }
        if outgoing == Outgoing::default() {
            return None;
        }
        self.under_way = true;
        Some(outgoing)
    }

    /// Takes a want of the peer out of its ledger; says whether it was there.
    pub(super) fn strike(&mut self, cid: &Cid) -> bool {
        let key = Key::of(cid);
        let Some(entries) = self.ledger.get_mut(&key) else {
            return false;
        };
        let before = entries.len();
        entries.retain(|entry| entry.cid != *cid);
        let struck = before - entries.len();
        if entries.is_empty() {
            self.ledger.remove(&key);
        }
        self.ledger_len -= struck;
        struck > 0
    }

    /// How much is remembered of the peer, in entries.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let ours = self.wantlist.size() + self.stale.len() + self.backlog.len();
        ours + self.ledger_len + self.blocks.len() + self.presences.len()
    }
}
