//! The line of one owner's roots.

use std::collections::{BTreeMap, VecDeque};

use super::Root;

/// New roots that go while a big one waits to be alone, in rounds of all places.
const PATIENCE: usize = 4;

/// How a wanted root is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Not tried yet.
    Pending,
    /// Tried in vain.
    Failing,
    /// Over the bytes that may be given.
    TooLarge,
}

/// How an owner's roots stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::pinner) struct Counts {
    /// Roots that are here.
    pub(in crate::pinner) pinned: u64,
    /// Their bytes.
    pub(in crate::pinner) bytes: u64,
    /// Not tried yet.
    pub(in crate::pinner) pending: u64,
    /// Tried in vain at least once.
    pub(in crate::pinner) failing: u64,
    /// Larger than what may still be taken.
    pub(in crate::pinner) too_large: u64,
}

impl Counts {
    /// All roots.
    pub(in crate::pinner) fn roots(&self) -> u64 {
        self.pinned + self.pending + self.failing + self.too_large
    }

    pub(super) fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Pending => &mut self.pending,
            Class::Failing => &mut self.failing,
            Class::TooLarge => &mut self.too_large,
        }
    }
}

/// One owner's roots. A root may stand in several places and in several lines; it is looked up when its turn comes.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Bytes that all its content may take, if there is a bound.
    pub(super) limit: Option<u64>,
    pub(super) counts: Counts,
    /// Roots that are being brought on its account.
    pub(super) running: usize,
    /// Bytes given to them.
    pub(super) reserved: u64,
    /// Never tried, by the round in which they were listed.
    pub(super) fresh: BTreeMap<u64, VecDeque<Root>>,
    /// Tried in vain; due again.
    pub(super) retries: VecDeque<Root>,
    /// Over their share: they go alone, with all that is left.
    pub(super) big: VecDeque<Root>,
    /// Over all that may be given.
    pub(super) too_large: Vec<Root>,
    /// Roots that went since a big one waits.
    past_big: usize,
}

impl Line {
    /// Bytes that may still come.
    pub(super) fn most(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.counts.bytes))
    }

    /// Bytes that are not given to a root yet.
    pub(super) fn left(&self) -> u64 {
        self.most().saturating_sub(self.reserved)
    }

    /// Takes the next root, and says whether it goes alone.
    pub(super) fn take(&mut self, places: usize, waits: impl Fn(&Root) -> bool) -> Option<(Root, bool)> {
        while self.big.front().is_some_and(|root| !waits(root)) {
            self.big.pop_front();
        }
        let big_waits = !self.big.is_empty();
        if big_waits && self.running > 0 && self.past_big >= PATIENCE * places {
            // It is alone when those under way are done.
            return None;
        }
        if big_waits && self.running == 0 {
            self.past_big = 0;
            return self.big.pop_front().map(|root| (root, true));
        }
        let next = self.take_fresh(&waits).or_else(|| take_first(&mut self.retries, &waits))?;
        self.past_big = if big_waits { self.past_big + 1 } else { 0 };
        Some((next, false))
    }

    fn take_fresh(&mut self, waits: &impl Fn(&Root) -> bool) -> Option<Root> {
        while let Some(mut newest) = self.fresh.last_entry() {
            if let Some(root) = take_first(newest.get_mut(), waits) {
                return Some(root);
            }
            newest.remove();
        }
        None
    }
}

fn take_first(roots: &mut VecDeque<Root>, waits: impl Fn(&Root) -> bool) -> Option<Root> {
    while let Some(root) = roots.pop_front() {
        if waits(&root) {
            return Some(root);
        }
    }
    None
}
