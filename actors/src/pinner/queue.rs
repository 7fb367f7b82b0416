//! Which wanted root is brought next: owners take turns, new roots go before retries, nobody passes its bytes.
//!
//! In memory alone, derived from references and pins at every start. Each step costs no more than a few look-ups,
//! however many roots wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::domain::backoff::Backoff;
use crate::records::hosting::Owner;

mod line;

pub(super) use line::Counts;
use line::{Class, Line};

/// A root by its key in the store, whatever the version of its CID.
pub(super) type Root = Rc<[u8]>;

/// Fewer bytes than this are not shared out among roots that are brought side by side.
const SHARE: u64 = 1 << 20;

/// Failures after which a root that others left no room for goes when nothing else is under way.
const ALONE_AFTER: u32 = 3;

/// Where a wanted root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the lines of its owners.
    Waiting,
    /// Being brought.
    Running,
    /// Being brought for a bid.
    Elsewhere,
    /// It failed; its next try has a time.
    Later,
    /// It was over so many bytes, and no more can be given.
    TooLarge(u64),
}

/// A root that somebody needs and that is not here yet.
#[derive(Debug)]
struct Wanted {
    owners: Vec<Rc<Owner>>,
    failures: u32,
    state: State,
}

impl Wanted {
    fn class(&self) -> Class {
        match (self.state, self.failures) {
            (State::TooLarge(_), _) => Class::TooLarge,
            (_, 0) => Class::Pending,
            _ => Class::Failing,
        }
    }
}

/// A root that is being brought: on whose account, and how many bytes it may take.
#[derive(Debug)]
struct Run {
    owner: Rc<Owner>,
    cap: u64,
    big: bool,
}

/// What is to be brought now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// Which root.
    pub(super) root: Root,
    /// Bytes that it may take.
    pub(super) cap: u64,
}

/// All that is wanted.
#[derive(Debug)]
pub(super) struct Queue {
    at_once: usize,
    per_owner: usize,
    retry: Backoff,
    roots: BTreeMap<Root, Wanted>,
    lines: BTreeMap<Rc<Owner>, Line>,
    turns: VecDeque<Rc<Owner>>,
    running: BTreeMap<Root, Run>,
    reserved: u64,
    later: BTreeSet<(u64, Root)>,
    elsewhere: BTreeMap<Root, usize>,
    /// Roots that go when nothing else is under way, since there was always somebody who had a part of the room.
    alone: VecDeque<Root>,
}

impl Queue {
    /// Nothing is wanted yet.
    pub(super) fn new(at_once: usize, per_owner: usize, retry: Backoff) -> Self {
        Self {
            at_once: at_once.max(1),
            per_owner: per_owner.max(1),
            retry,
            roots: BTreeMap::new(),
            lines: BTreeMap::new(),
            turns: VecDeque::new(),
            running: BTreeMap::new(),
            reserved: 0,
            later: BTreeSet::new(),
            elsewhere: BTreeMap::new(),
            alone: VecDeque::new(),
        }
    }

    /// All owners, and how their roots stand.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&Rc<Owner>, Counts)> {
        self.lines.iter().map(|(owner, line)| (owner, line.counts))
    }

    /// Bytes that may come for what is being brought.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// How an owner's roots stand.
    pub(super) fn counts(&self, owner: &Owner) -> Counts {
        self.lines.get(owner).map(|line| line.counts).unwrap_or_default()
    }

    fn line(&mut self, owner: &Rc<Owner>) -> &mut Line {
        if !self.lines.contains_key(owner) {
            self.turns.push_back(Rc::clone(owner));
        }
        self.lines.entry(Rc::clone(owner)).or_default()
    }

    /// There is such an owner, whatever it needs.
    pub(super) fn know(&mut self, owner: &Rc<Owner>) {
        self.line(owner);
    }

    /// Says how many bytes an owner's content may take.
    pub(super) fn limit(&mut self, owner: &Rc<Owner>, bytes: u64, room: u64) {
        if self.line(owner).limit != Some(bytes) {
            self.line(owner).limit = Some(bytes);
            self.reconsider(owner, room);
        }
    }

    /// Forgets an owner that needs nothing any more.
    pub(super) fn forget(&mut self, owner: &Owner) {
        if self.counts(owner).roots() == 0 {
            self.lines.remove(owner);
            self.turns.retain(|other| **other != *owner);
        }
    }

    /// An owner needs a root that is not here. Roots of a later `round` go first: what was listed yesterday and
    /// nobody has does not hold up what is listed today.
    pub(super) fn want(&mut self, root: &Root, owner: &Rc<Owner>, round: u64) {
        self.line(owner);
        let state = match self.elsewhere.contains_key(root) {
            true => State::Elsewhere,
            false => State::Waiting,
        };
        let wanted =
            self.roots.entry(Rc::clone(root)).or_insert(Wanted { owners: Vec::new(), failures: 0, state });
        if wanted.owners.contains(owner) {
            return;
        }
        wanted.owners.push(Rc::clone(owner));
        let (class, waits) = (wanted.class(), wanted.state == State::Waiting);
        let line = self.line(owner);
        *line.counts.of(class) += 1;
        if waits {
            line.fresh.entry(round).or_default().push_back(Rc::clone(root));
        }
    }

    /// An owner needs a root that is here.
    pub(super) fn have(&mut self, owner: &Rc<Owner>, bytes: u64) {
        let counts = &mut self.line(owner).counts;
        counts.pinned += 1;
        counts.bytes += bytes;
    }

    /// An owner needs a root no more that is here.
    pub(super) fn drop_pinned(&mut self, owner: &Rc<Owner>, bytes: u64) {
        let counts = &mut self.line(owner).counts;
        counts.pinned = counts.pinned.saturating_sub(1);
        counts.bytes = counts.bytes.saturating_sub(bytes);
    }

    /// An owner needs a root no more that is not here. True: it is being brought, and nobody wants it now.
    pub(super) fn drop_wanted(&mut self, root: &Root, owner: &Rc<Owner>) -> bool {
        let Some(wanted) = self.roots.get_mut(root) else { return false };
        let before = wanted.owners.len();
        wanted.owners.retain(|other| other != owner);
        if wanted.owners.len() == before {
            return false;
        }
        let (class, nobody) = (wanted.class(), wanted.owners.is_empty());
        *self.line(owner).counts.of(class) -= 1;
        nobody && {
            self.roots.remove(root);
            self.ended(root).is_some()
        }
    }

    /// The next root to bring, if there are a place and bytes for one. `room`: bytes that may come at all.
    pub(super) fn next(&mut self, room: u64) -> Option<Start> {
        if self.running.len() >= places(room, self.at_once) {
            return None;
        }
        if let Some(owner) = self.next_alone(room) {
            return if self.running.is_empty() { self.next_of(&owner, room) } else { None };
        }
        for _ in 0..self.turns.len() {
            let owner = self.turns.pop_front()?;
            self.turns.push_back(Rc::clone(&owner));
            if let Some(start) = self.next_of(&owner, room) {
                return Some(start);
            }
        }
        None
    }

    /// Whose root waits to be alone: it is put in front of that owner's line.
    fn next_alone(&mut self, room: u64) -> Option<Rc<Owner>> {
        while let Some(root) = self.alone.front() {
            let wanted = self.roots.get(root).filter(|wanted| wanted.state == State::Waiting);
            let most = |owner: &&Rc<Owner>| self.lines.get(*owner).map_or(0, Line::most).min(room);
            let Some(owner) = wanted.and_then(|wanted| wanted.owners.iter().max_by_key(most)).cloned() else {
                self.alone.pop_front();
                continue;
            };
            if self.running.is_empty() {
                let root = self.alone.pop_front()?;
                self.line(&owner).big.push_front(root);
            }
            return Some(owner);
        }
        None
    }

    fn next_of(&mut self, owner: &Rc<Owner>, room: u64) -> Option<Start> {
        let (running, at_once, per_owner) = (self.running.len(), self.at_once, self.per_owner);
        let open = room.saturating_sub(self.reserved);
        let line = self.lines.get_mut(owner)?;
        let left = line.left().min(open);
        let most = places(line.most(), per_owner);
        if left == 0 || line.running >= most {
            return None;
        }
        let roots = &self.roots;
        let waits = |root: &Root| {
            let wanted = roots.get(root).filter(|wanted| wanted.state == State::Waiting);
            wanted.is_some_and(|wanted| wanted.owners.contains(owner))
        };
        let (root, cap, big) = match line.take(per_owner, waits)? {
            (root, true) => (root, left, true),
            (root, false) => {
                let own = line.left() / (most - line.running) as u64;
                let shared = open / (places(room, at_once) - running) as u64;
                (root, own.min(shared), false)
            }
        };
        line.running += 1;
        line.reserved += cap;
        self.reserved += cap;
        self.running.insert(Rc::clone(&root), Run { owner: Rc::clone(owner), cap, big });
        self.change(&root, |wanted| wanted.state = State::Running);
        Some(Start { root, cap })
    }

    /// Changes a wanted root and what its owners count of it.
    fn change(&mut self, root: &Root, change: impl FnOnce(&mut Wanted)) {
        let Some(wanted) = self.roots.get_mut(root) else { return };
        let before = wanted.class();
        change(wanted);
        let after = wanted.class();
        if before != after {
            for owner in &wanted.owners {
                if let Some(line) = self.lines.get_mut(owner) {
                    *line.counts.of(before) -= 1;
                    *line.counts.of(after) += 1;
                }
            }
        }
    }

    /// Frees the place and the bytes of a root that is being brought no more.
    fn ended(&mut self, root: &Root) -> Option<Run> {
        let run = self.running.remove(root)?;
        self.reserved -= run.cap;
        if let Some(line) = self.lines.get_mut(&run.owner) {
            // The line may be a new one of an owner that was forgotten meanwhile.
            line.running = line.running.saturating_sub(1);
            line.reserved = line.reserved.saturating_sub(run.cap);
        }
        Some(run)
    }

    /// A root came: all who wanted it have it.
    pub(super) fn came(&mut self, root: &Root, bytes: u64) {
        self.ended(root);
        let Some(wanted) = self.roots.remove(root) else { return };
        let class = wanted.class();
        for owner in &wanted.owners {
            if let Some(line) = self.lines.get_mut(owner) {
                *line.counts.of(class) -= 1;
                line.counts.pinned += 1;
                line.counts.bytes += bytes;
            }
        }
    }

    /// A root did not come; it is tried again later, after the longest wait where trying at once is no use.
    pub(super) fn failed(&mut self, root: &Root, now_ms: u64, hopeless: bool) {
        self.ended(root);
        let retry = self.retry;
        let mut due = now_ms;
        self.change(root, |wanted| {
            wanted.failures = wanted.failures.saturating_add(1);
            wanted.state = State::Later;
            let wait = if hopeless { retry.most } else { retry.after(wanted.failures) };
            due = now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        });
        if self.roots.contains_key(root) {
            self.later.insert((due, Rc::clone(root)));
        }
    }

    /// A root is larger than the bytes given to it. Tells whether it is larger than all that may be given.
    pub(super) fn too_large(&mut self, root: &Root, now_ms: u64, room: u64) -> bool {
        let (Some(run), Some(wanted)) = (self.ended(root), self.roots.get(root)) else { return false };
        let most = |owner: &Rc<Owner>| self.lines.get(owner).map_or(0, Line::most).min(room);
        let Some(roomy) = wanted.owners.iter().find(|owner| most(owner) > run.cap).cloned() else {
            for owner in &wanted.owners {
                if let Some(line) = self.lines.get_mut(owner) {
                    line.too_large.push(Rc::clone(root));
                }
            }
            self.change(root, |wanted| wanted.state = State::TooLarge(run.cap));
            return true;
        };
        if run.big && roomy == run.owner {
            // Others took what it would have needed; they will be done one day, or have to wait for this one.
            if wanted.failures < ALONE_AFTER {
                self.failed(root, now_ms, false);
            } else {
                self.change(root, |wanted| wanted.state = State::Waiting);
                self.alone.push_back(Rc::clone(root));
            }
        } else {
            self.change(root, |wanted| wanted.state = State::Waiting);
            self.line(&roomy).big.push_back(Rc::clone(root));
        }
        false
    }

    /// Lets those that were too large try again where clearly more can be given by now.
    pub(super) fn reconsider(&mut self, owner: &Rc<Owner>, room: u64) {
        let Some(line) = self.lines.get_mut(owner) else { return };
        let most = line.most().min(room);
        let (mut grown, mut kept) = (Vec::new(), Vec::new());
        for root in std::mem::take(&mut line.too_large) {
            match self.roots.get(&root).map(|wanted| wanted.state) {
                Some(State::TooLarge(cap)) if most > cap.saturating_add(cap / 8) => grown.push(root),
                Some(State::TooLarge(_)) => kept.push(root),
                _ => {}
            }
        }
        line.too_large = kept;
        line.big.extend(grown.iter().cloned());
        for root in grown {
            self.change(&root, |wanted| wanted.state = State::Waiting);
        }
    }

    /// Puts back into their lines those whose next try is due.
    pub(super) fn retry(&mut self, now_ms: u64) {
        while let Some((due, root)) = self.later.pop_first() {
            if due > now_ms {
                self.later.insert((due, root));
                return;
            }
            if self.roots.get(&root).is_some_and(|wanted| wanted.state == State::Later) {
                self.enqueue(&root);
            }
        }
    }

    /// Puts a root behind the new ones in the lines of its owners.
    fn enqueue(&mut self, root: &Root) {
        self.change(root, |wanted| wanted.state = State::Waiting);
        let Some(wanted) = self.roots.get(root) else { return };
        for owner in &wanted.owners {
            if let Some(line) = self.lines.get_mut(owner) {
                line.retries.push_back(Rc::clone(root));
            }
        }
    }

    /// A bid brings a root itself. True: it is being brought here, and that is to be broken off.
    pub(super) fn taken(&mut self, root: &Root) -> bool {
        *self.elsewhere.entry(Rc::clone(root)).or_default() += 1;
        let running = self.ended(root).is_some();
        self.change(root, |wanted| wanted.state = State::Elsewhere);
        running
    }

    /// A bid brings a root no more: it has come, with so many bytes, or is again waited for here.
    pub(super) fn given_back(&mut self, root: &Root, came: Option<u64>) {
        if let Some(bids) = self.elsewhere.get_mut(root) {
            *bids -= 1;
            if *bids == 0 {
                self.elsewhere.remove(root);
            }
        }
        match came {
            Some(bytes) => self.came(root, bytes),
            None if self.elsewhere.contains_key(root) => {}
            None => self.enqueue(root),
        }
    }
}

/// Among how many roots so many bytes are shared out.
fn places(bytes: u64, most: usize) -> usize {
    usize::try_from(bytes / SHARE).unwrap_or(usize::MAX).clamp(1, most)
}

#[cfg(test)]
mod tests;
