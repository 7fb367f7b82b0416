//! What the wallet remembers between two rounds. All of it can be lost: a restart begins with none of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Counts;
use crate::domain::backoff::Backoff;
use crate::domain::units::{BlockHeight, WallTime, Wei};
use crate::domain::wallet::slot::{Inclusion, Recall, Urge};
use crate::records::intent::IntentKey;

/// A transaction that a provider took is handed over again after so long: mempools forget. Milliseconds.
const REPUBLISH_MS: u64 = 60_000;
/// What could not be done is tried again after this.
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30) };

/// When to try again.
#[derive(Debug, Clone, Default)]
struct Patience {
    failures: u32,
    /// Monotonic milliseconds.
    not_before: u64,
}

impl Patience {
    fn is_over(&self, now: u64) -> bool {
        now >= self.not_before
    }
    fn failed(&mut self, now: u64) {
        self.failures = self.failures.saturating_add(1);
        let wait = RETRY.after(self.failures).as_millis();
        self.not_before = now.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX));
    }
    fn succeeded(&mut self, now: u64) {
        *self = Self { failures: 0, not_before: now.saturating_add(REPUBLISH_MS) };
    }
}

/// What is known of a nonce in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct Push {
    patience: Patience,
    pub(super) urge: Urge,
    /// The head at which the nonce was first seen used without a receipt of ours.
    pub(super) passed_since: Option<BlockHeight>,
    /// Where it was last seen mined, before that is deep.
    pub(super) seen: Option<Inclusion>,
}

/// Intents that wait for a nonce, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    by_age: BTreeMap<(WallTime, IntentKey), Patience>,
    ages: BTreeMap<IntentKey, WallTime>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }
    pub(super) fn add(&mut self, key: IntentKey, created: WallTime) {
        if !self.ages.contains_key(&key) {
            self.ages.insert(key.clone(), created);
            self.by_age.insert((created, key), Patience::default());
        }
    }
    pub(super) fn remove(&mut self, key: &IntentKey) {
        if let Some(created) = self.ages.remove(key) {
            self.by_age.remove(&(created, key.clone()));
        }
    }
    /// An intent has to wait.
    pub(super) fn postpone(&mut self, key: &IntentKey, now: u64) {
        let Some(created) = self.ages.get(key) else { return };
        if let Some(patience) = self.by_age.get_mut(&(*created, key.clone())) {
            patience.failed(now);
        }
    }
    /// Those that may be tried now.
    pub(super) fn ready(&self, now: u64) -> impl Iterator<Item = &IntentKey> {
        self.by_age.iter().filter(move |(_, patience)| patience.is_over(now)).map(|((_, key), _)| key)
    }
}

/// The memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Whether this store, this chain and this key have been found to belong together.
    pub(super) belongs: bool,
    /// Intents told of that nobody has looked at.
    pub(super) told: BTreeSet<IntentKey>,
    /// Intents known to be queued.
    pub(super) queue: Queue,
    /// From which key the walk over all intents goes on.
    pub(super) walk_from: Vec<u8>,
    /// Monotonic milliseconds from which it goes on.
    pub(super) next_walk: u64,
    /// Whether it has seen them all once.
    pub(super) walked_all: bool,
    /// Nonces in flight.
    pub(super) pushes: BTreeMap<u64, Push>,
    /// The lowest nonce that waits to be mined, and since when (monotonic milliseconds).
    front: Option<(u64, u64)>,
    /// Confirmed nonces of which it is known that they were mined in the past of `anchor`: as long as that block
    /// stands, so do theirs.
    pub(super) anchored: BTreeSet<u64>,
    /// The highest block in which a confirmed nonce was mined.
    pub(super) anchor: Option<Inclusion>,
    /// Monotonic milliseconds from which confirmed nonces are looked at again.
    pub(super) next_anchor: u64,
    /// Monotonic milliseconds of the next look at the credit.
    pub(super) next_credit: u64,
    /// What the provider last told.
    pub(super) balance: Option<Wei>,
    pub(super) credit: Option<Wei>,
    pub(super) latest: Option<u64>,
    /// The newest block on whose facts intents rest: who answers must know it.
    pub(super) known: BlockHeight,
    /// What happened since the start.
    pub(super) counts: Counts,
    /// What somebody should know, by subject.
    pub(super) alerts: BTreeMap<&'static str, String>,
}

impl Memory {
    /// Tells somebody, once for as long as it stays so.
    pub(super) fn alert(&mut self, about: &'static str, what: String) {
        if self.alerts.get(about) != Some(&what) {
            tracing::warn!(about, what, "the wallet needs attention");
            self.alerts.insert(about, what);
        }
    }
    /// Takes an alert back.
    pub(super) fn calm(&mut self, about: &'static str) {
        self.alerts.remove(about);
    }
    /// A confirmed nonce's block has just been seen to be canonical.
    pub(super) fn anchor(&mut self, nonce: u64, seen: Inclusion) {
        if self.anchor.is_none_or(|anchor| anchor.block < seen.block) {
            self.anchor = Some(seen);
        }
        self.anchored.insert(nonce);
    }
    /// A nonce is the lowest that waits to be mined.
    pub(super) fn at_front(&mut self, nonce: u64, now: u64) {
        if self.front.is_none_or(|(front, _)| front != nonce) {
            self.front = Some((nonce, now));
        }
    }
    /// What bears on the next move of a nonce.
    pub(super) fn recall(&mut self, nonce: u64, now: u64) -> Recall {
        let push = self.pushes.entry(nonce).or_default();
        let front = self.front.filter(|(front, _)| *front == nonce);
        Recall {
            urge: push.urge.clone(),
            send_due: push.patience.is_over(now),
            front_for_ms: front.map(|(_, since)| now.saturating_sub(since)),
        }
    }
    /// A provider took the newest attempt.
    pub(super) fn taken(&mut self, nonce: u64, now: u64) {
        let push = self.pushes.entry(nonce).or_default();
        push.patience.succeeded(now);
        push.urge = Urge::None;
    }
    /// A provider did not say that it took the newest attempt.
    pub(super) fn refused(&mut self, nonce: u64, urge: Urge, now: u64) {
        let push = self.pushes.entry(nonce).or_default();
        push.patience.failed(now);
        push.urge = urge;
    }
    /// A nonce begins anew: its bytes go out at once.
    pub(super) fn forget(&mut self, nonce: u64) {
        self.pushes.remove(&nonce);
        self.anchored.remove(&nonce);
        self.front = self.front.filter(|(front, _)| *front != nonce);
    }
}
