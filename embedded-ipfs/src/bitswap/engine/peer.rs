//! One connected peer: what lies at it for us, what it wants, and what waits to be sent to it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use cid::Cid;

use super::Outgoing;
use crate::bitswap::message::{Entry, Kind};
use crate::block::Key;
use crate::MAX_BLOCK;

/// Most wants that lie at one peer, below Kubo's 1,024 with room for cancels that cross an answer.
pub(super) const WINDOW: usize = 896;
/// Entries in one message.
const MESSAGE_ENTRIES: usize = 1024;
/// Presences in one message.
const MESSAGE_PRESENCES: usize = 4096;
/// Bytes of blocks after which a message takes no more.
const MESSAGE_BYTES: u64 = 512 << 10;

pub(super) struct Peer {
    // Sending.
    under_way: bool,
    failures: u32,
    /// After failed writes nothing is sent and nothing asked until then.
    pub(super) muted_until: Option<Duration>,
    /// The next message replaces what the peer knows of our wantlist.
    pub(super) fresh: bool,

    // What we want of it.
    /// When it last sent a block that was wanted.
    pub(super) heard: Duration,
    /// Until then it is asked for blocks outright.
    pub(super) warm_until: Duration,
    /// Blocks asked of it and still hoped for.
    pub(super) outstanding: usize,
    /// Blocks had of it, so that equal peers take turns.
    pub(super) delivered: u64,
    /// What lies in its wantlist once `changes` are sent.
    listed: HashSet<Key>,
    /// Listed wants that may make room, oldest first; checked when used.
    stale: VecDeque<Key>,
    /// Wants that found no room; checked when used.
    pub(super) backlog: VecDeque<Key>,
    changes: HashMap<Key, Entry>,
    order: VecDeque<Key>,

    // What it wants of us.
    pub(super) ledger: HashMap<Key, Vec<Entry>>,
    pub(super) ledger_len: usize,
    /// Blocks to send, with whether they must still stand in the ledger.
    pub(super) blocks: VecDeque<(Cid, u64, bool)>,
    pub(super) presences: VecDeque<(Cid, bool)>,
}

impl Peer {
    pub(super) fn new(now: Duration) -> Peer {
        Peer {
            under_way: false,
            failures: 0,
            muted_until: None,
            fresh: true,
            heard: now,
            warm_until: now,
            outstanding: 0,
            delivered: 0,
            listed: HashSet::new(),
            stale: VecDeque::new(),
            backlog: VecDeque::new(),
            changes: HashMap::new(),
            order: VecDeque::new(),
            ledger: HashMap::new(),
            ledger_len: 0,
            blocks: VecDeque::new(),
            presences: VecDeque::new(),
        }
    }

    pub(super) fn muted(&self) -> bool {
        self.muted_until.is_some()
    }

    pub(super) fn has_room(&self) -> bool {
        self.listed.len() < WINDOW
    }

    pub(super) fn lists(&self, key: &Key) -> bool {
        self.listed.contains(key)
    }

    /// Puts a want into the peer's wantlist, or renews it. The caller saw that there is room.
    pub(super) fn list(&mut self, key: &Key, cid: Cid, kind: Kind) {
        self.listed.insert(key.clone());
        self.change(key, Entry { cid, kind: Some(kind), send_dont_have: true });
    }

    /// Takes a want out of the peer's wantlist.
    pub(super) fn unlist(&mut self, key: &Key, cid: Cid) {
        if self.listed.remove(key) {
            self.change(key, Entry { cid, kind: None, send_dont_have: false });
        }
    }

    /// The peer took a want out of its wantlist by itself, because it answered.
    pub(super) fn settled(&mut self, key: &Key) {
        self.listed.remove(key);
        self.changes.remove(key);
    }

    /// A listed want may make room from now on.
    pub(super) fn note_stale(&mut self, key: &Key) {
        if self.stale.len() >= 2 * WINDOW {
            let mut once = self.listed.clone();
            self.stale.retain(|key| once.remove(key));
        }
        self.stale.push_back(key.clone());
    }

    /// The want that may make room for longest.
    pub(super) fn take_stale(&mut self) -> Option<Key> {
        self.stale.pop_front()
    }

    fn change(&mut self, key: &Key, entry: Entry) {
        if self.changes.insert(key.clone(), entry).is_none() {
            self.order.push_back(key.clone());
        }
    }

    /// A message was written.
    pub(super) fn sent(&mut self) {
        self.under_way = false;
        self.failures = 0;
    }

    /// A message was not written: forgets what lies at the peer, and keeps quiet for a while that doubles up to 30 s.
    /// What it wanted and now misses it will ask for again.
    pub(super) fn mute(&mut self, now: Duration) {
        self.under_way = false;
        self.muted_until =
            Some(now + Duration::from_secs(1 << self.failures.min(5)).min(Duration::from_secs(30)));
        self.failures += 1;
        self.forget_listed();
        self.blocks.clear();
        self.presences.clear();
    }

    /// Forgets what lies at the peer; the next message says all of it anew.
    pub(super) fn forget_listed(&mut self) {
        self.fresh = true;
        self.outstanding = 0;
        self.listed.clear();
        self.stale.clear();
        self.backlog.clear();
        self.changes.clear();
        self.order.clear();
    }

    /// The next message, if there is something to say and nothing under way.
    pub(super) fn compose(&mut self) -> Option<Outgoing> {
        if self.under_way || self.muted() {
            return None;
        }
        let mut outgoing = Outgoing::default();
        while outgoing.entries.len() < MESSAGE_ENTRIES {
            let Some(key) = self.order.pop_front() else {
                break;
            };
            let change = self.changes.remove(&key);
            // Nothing to take back from a wantlist that is replaced.
            outgoing.entries.extend(change.filter(|entry| !self.fresh || entry.kind.is_some()));
        }
        let presences = self.presences.len().min(MESSAGE_PRESENCES);
        outgoing.presences.extend(self.presences.drain(..presences));
        let mut bytes = 0;
        while bytes < MESSAGE_BYTES {
            let Some(&(cid, size, noted)) = self.blocks.front() else {
                break;
            };
            if !outgoing.blocks.is_empty() && bytes + size > MAX_BLOCK as u64 {
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
        outgoing.full = self.fresh && !outgoing.entries.is_empty();
        self.fresh &= !outgoing.full;
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
}
