//! Our wantlist at one peer: what should lie there, what the peer may hold, and the changes that it is to be told.
//!
//! Kubo holds 1,024 wants of a peer, and takes a message's new wants before its cancels: whoever swaps 900 wants for 900
//! others in one message silently loses most of the old or the new ones. So what a peer *may hold* is counted here, until
//! a cancel was written or an answer came, and new wants go out only as far as there is room beside it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use cid::Cid;

use crate::bitswap::message::{Entry, Kind};
use crate::block::Key;

/// Most wants that should lie at one peer.
pub(super) const WINDOW: usize = 896;
/// Most wants that a peer may hold, those whose cancels are on the way included. Below Kubo's 1,024.
pub(super) const HELD: usize = 1000;
/// Entries in one message.
const MESSAGE_ENTRIES: usize = 1024;
/// Wants that lay at the peer lately: a block or presence that comes of one of them is late, not unasked.
const LATE: usize = 2 * HELD;
/// Answers that may come late of one want: it was told again after each failed write.
const LATE_ANSWERS: u8 = 4;

#[derive(Default)]
pub(super) struct Wantlist {
    /// The peer's knowledge is unknown or empty: the next wants replace it.
    fresh: bool,
    /// What lies at the peer once all changes are written.
    listed: HashSet<Key>,
    /// What the peer may hold now.
    held: BTreeMap<Key, Cid>,
    changes: HashMap<Key, Entry>,
    /// Whose change is to be told, oldest first; checked when used.
    order: VecDeque<Key>,
    /// What the peer does not hold any more once the message under way is written.
    leaving: Vec<Key>,
    /// How many answers may still come of what lay at the peer lately.
    late: HashMap<Key, u8>,
    late_order: VecDeque<Key>,
}

impl Wantlist {
    pub(super) fn new() -> Wantlist {
        Wantlist { fresh: true, ..Wantlist::default() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.listed.len() < WINDOW
    }

    pub(super) fn lists(&self, key: &Key) -> bool {
        self.listed.contains(key)
    }

    /// Puts a want into the list, or renews it. The caller saw that there is room.
    pub(super) fn list(&mut self, key: &Key, cid: Cid, kind: Kind) {
        self.listed.insert(key.clone());
        self.change(key, Entry { cid, kind: Some(kind), send_dont_have: true });
    }

    /// Takes a want out of the list. What the peer was never told need not be taken back.
    pub(super) fn unlist(&mut self, key: &Key, cid: Cid) {
        if !self.listed.remove(key) {
            return;
        }
        if self.held.contains_key(key) {
            self.expect_late(key);
            self.change(key, Entry { cid, kind: None, send_dont_have: false });
        } else {
            self.changes.remove(key);
        }
    }

    /// The peer took a want out of its list by itself, because it answered.
    pub(super) fn settle(&mut self, key: &Key) {
        self.listed.remove(key);
        self.changes.remove(key);
        if self.held.remove(key).is_some() {
            self.expect_late(key);
        }
    }

    /// A message was not written, or not read: what the peer holds is unknown.
    pub(super) fn doubt(&mut self) {
        self.fresh = true;
        self.listed.clear();
        self.leaving.clear();
        self.changes.clear();
        self.order.clear();
        for key in self.held.keys().cloned().collect::<Vec<_>>() {
            self.expect_late(&key);
        }
    }

    fn change(&mut self, key: &Key, entry: Entry) {
        if self.changes.insert(key.clone(), entry).is_none() {
            if self.order.len() > 2 * (self.changes.len() + HELD) {
                let mut once: HashSet<_> = self.changes.keys().filter(|other| *other != key).collect();
                self.order.retain(|key| once.remove(key));
            }
            self.order.push_back(key.clone());
        }
    }

    fn expect_late(&mut self, key: &Key) {
        let answers = self.late.entry(key.clone()).or_default();
        *answers = (*answers + 1).min(LATE_ANSWERS);
        if *answers == 1 {
            self.late_order.push_back(key.clone());
            if self.late_order.len() > LATE {
                let oldest = self.late_order.pop_front();
                oldest.map(|key| self.late.remove(&key));
            }
        }
    }

    /// Whether the peer was asked for it lately.
    pub(super) fn asked_lately(&self, key: &Key) -> bool {
        self.late.contains_key(key)
    }

    /// Whether an answer may be due to what lay at the peer lately; each may come once.
    pub(super) fn forgive_late(&mut self, key: &Key) -> bool {
        let Some(answers) = self.late.get_mut(key) else {
            return false;
        };
        *answers -= 1;
        if *answers == 0 {
            self.late.remove(key);
        }
        true
    }

    /// The message that was composed last was written.
    pub(super) fn written(&mut self) {
        for key in std::mem::take(&mut self.leaving) {
            self.held.remove(&key);
        }
    }

    /// The entries of the next message, and whether they replace what the peer holds. The one before was written, or put in
    /// doubt.
    pub(super) fn compose(&mut self) -> (bool, Vec<Entry>) {
        let full = self.fresh && !self.changes.is_empty();
        let before: Vec<_> = if full { self.held.keys().cloned().collect() } else { Vec::new() };
        if self.fresh && !full {
            // Nothing replaces what the peer may hold, so that is taken back one by one.
            self.leaving = self.held.keys().cloned().collect();
            let cancel = |cid: &Cid| Entry { cid: *cid, kind: None, send_dont_have: false };
            return (false, self.held.values().map(cancel).collect());
        }
        self.fresh = false;
        let mut room = if full { HELD } else { HELD.saturating_sub(self.held.len()) };
        let (mut entries, mut waiting, mut told) = (Vec::new(), VecDeque::new(), HashSet::new());
        while entries.len() < MESSAGE_ENTRIES {
            let Some(key) = self.order.pop_front() else {
                break;
            };
            let Some(entry) = self.changes.get(&key).copied() else {
                continue;
            };
            if entry.kind.is_none() {
                self.leaving.push(key.clone());
            } else if room > 0 || (!full && self.held.contains_key(&key)) {
                room -= usize::from(full || !self.held.contains_key(&key));
                self.held.insert(key.clone(), entry.cid);
                told.insert(key.clone());
            } else {
                waiting.push_back(key);
                continue;
            }
            self.changes.remove(&key);
            entries.push(entry);
        }
        waiting.append(&mut self.order);
        self.order = waiting;
        self.leaving.extend(before.into_iter().filter(|key| !told.contains(key)));
        (full, entries)
    }

    /// How much is remembered, in keys.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let sets = self.listed.len() + self.held.len() + self.late.len();
        sets + self.leaving.len() + self.changes.len() + self.order.len() + self.late_order.len()
    }

    /// Whether nothing lies at the peer, nor is to be told to it.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.listed.is_empty() && self.held.is_empty() && self.changes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, RAW};
    use cid::Version;

    fn cid(n: usize) -> (Key, Cid) {
        let cid = cid_of(Version::V1, RAW, &n.to_be_bytes());
        (Key::of(&cid), cid)
    }

    fn list(wantlist: &mut Wantlist, numbers: std::ops::Range<usize>) {
        for (key, cid) in numbers.map(cid) {
            wantlist.list(&key, cid, Kind::Block);
        }
    }

    fn unlist(wantlist: &mut Wantlist, numbers: std::ops::Range<usize>) {
        for (key, cid) in numbers.map(cid) {
            wantlist.unlist(&key, cid);
        }
    }

    #[test]
    fn new_wants_wait_until_the_cancels_that_make_room_for_them_were_written() {
        let mut wantlist = Wantlist::new();
        list(&mut wantlist, 0..WINDOW);
        assert_eq!(wantlist.compose().1.len(), WINDOW);
        unlist(&mut wantlist, 0..WINDOW);
        list(&mut wantlist, 1000..1000 + WINDOW);
        let mut held = WINDOW;
        let mut told = 0;
        while told < WINDOW {
            wantlist.written();
            let (_, entries) = wantlist.compose();
            let wants = entries.iter().filter(|entry| entry.kind.is_some()).count();
            assert!(held + wants <= HELD, "wants are taken before cancels");
            held = held + wants - (entries.len() - wants);
            told += wants;
        }
        assert_eq!(held, WINDOW);
    }

    #[test]
    fn what_the_peer_was_never_told_is_not_taken_back() {
        let mut wantlist = Wantlist::new();
        list(&mut wantlist, 0..1);
        unlist(&mut wantlist, 0..1);
        assert_eq!(wantlist.compose(), (false, vec![]));
    }

    #[test]
    fn after_a_failed_message_new_wants_replace_what_is_there_or_else_it_is_taken_back() {
        for wanted in [0, 1] {
            let mut wantlist = Wantlist::new();
            list(&mut wantlist, 0..3);
            let _ = wantlist.compose();
            wantlist.doubt();
            list(&mut wantlist, 7..7 + wanted);
            let (full, entries) = wantlist.compose();
            assert_eq!((full, entries.len()), if wanted > 0 { (true, 1) } else { (false, 3) });
            assert!(entries.iter().all(|entry| entry.kind.is_some() == full));
            wantlist.written();
            unlist(&mut wantlist, 7..8);
            let _ = wantlist.compose();
            wantlist.written();
            assert!(wantlist.is_clear());
        }
    }

    #[test]
    fn a_cancel_that_was_not_written_is_told_again() {
        let mut wantlist = Wantlist::new();
        list(&mut wantlist, 0..3);
        let _ = wantlist.compose();
        wantlist.written();
        unlist(&mut wantlist, 0..2);
        assert_eq!(wantlist.compose().1.len(), 2);
        wantlist.doubt();
        let (_, entries) = wantlist.compose();
        assert_eq!(entries.iter().filter(|entry| entry.kind.is_none()).count(), 3);
    }

    #[test]
    fn swapping_wants_without_end_costs_bounded_memory() {
        let mut wantlist = Wantlist::new();
        list(&mut wantlist, 0..WINDOW);
        let _ = wantlist.compose();
        for n in 0..20_000 {
            unlist(&mut wantlist, n..n + 1);
            list(&mut wantlist, n + WINDOW..n + WINDOW + 1);
        }
        assert!(wantlist.size() < 12 * HELD, "{}", wantlist.size());
    }
}
