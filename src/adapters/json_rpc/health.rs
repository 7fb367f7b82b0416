//! Which provider is asked: decided from what was seen of each, on a clock that is an argument.
//!
//! The first provider that is well is asked, in the order of the configuration. One that fails is left alone, for
//! twice as long each time, until a probe finds it well. One whose blocks come later than those of others is asked
//! when nobody else is. One on another chain is not asked at all, and one whose head lies below a block that was final
//! anywhere is asked for its head alone: what it does not know yet, it would deny. All times are milliseconds on any
//! one clock.

use std::collections::VecDeque;

/// Milliseconds that a provider is left alone after its first failure.
const FIRST_EXILE: u64 = 1_000;
/// And at most.
const LONGEST_EXILE: u64 = 60_000;
/// A provider that was well for so long failed for the first time.
const FORGIVEN: u64 = 60_000;
/// Until a provider of another chain is asked again which one it is on.
const OTHER_CHAIN: u64 = 600_000;
/// Finality comes in steps of some minutes: one that is missing is no lag yet.
const MAX_FINAL_LAG: u64 = 900_000;
/// So many heights are kept to tell how late another provider is.
const MARKS: usize = 128;

/// What is known of one provider's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not asked yet.
    Unknown,
    /// It answers.
    Good,
    /// It answers, but learns of blocks long after others.
    Lagging,
    /// Its head lies below a block that is final.
    Behind,
    /// It failed.
    Failing,
    /// It is on that chain, not on ours.
    OtherChain(u64),
}

impl State {
    /// Its name in metrics and documents.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Lagging => "lagging",
            Self::Behind => "behind",
            Self::Failing => "failing",
            Self::OtherChain(_) => "other_chain",
        }
    }

    /// Lower is asked first.
    fn rank(self) -> u8 {
        match self {
            Self::Unknown | Self::Good => 0,
            Self::Lagging => 1,
            Self::Failing => 2,
            Self::Behind => 3,
            Self::OtherChain(_) => 4,
        }
    }
}

/// How soon things are noticed, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From one probe of a provider that stands by to the next.
    pub(super) probe: u64,
    /// A provider that learns of a block so long after another is lagging.
    pub(super) max_lag: u64,
}

/// A height that a provider told, and how late.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    height: Option<u64>,
    lag: u64,
}

#[derive(Debug, Clone)]
struct Health {
    /// What it last did: `Unknown`, `Good`, `Failing` or `OtherChain`.
    did: State,
    /// Since when.
    since: u64,
    /// Failures in a row, each soon after the other.
    failures: u32,
    head: Seen,
    finalized: Seen,
    probe_at: u64,
    is_probed: bool,
}

/// All providers of a client.
#[derive(Debug)]
pub(super) struct Board {
    pace: Pace,
    /// Whether providers must tell their chain before they are asked anything else.
    must_introduce: bool,
    all: Vec<Health>,
    current: usize,
    heads: Front,
    finals: Front,
}

impl Board {
    /// `count` providers of which nothing is known.
    pub(super) fn new(count: usize, pace: Pace, must_introduce: bool) -> Self {
        let unknown = Health {
            did: State::Unknown,
            since: 0,
            failures: 0,
            head: Seen::default(),
            finalized: Seen::default(),
            probe_at: 0,
            is_probed: false,
        };
        let (heads, finals) = Default::default();
        Self { pace, must_introduce, all: vec![unknown; count], current: 0, heads, finals }
    }

    /// Which provider is asked.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Whom to ask, and whom then if that one fails. One that wants to be left alone comes after those that do not, and
    /// the longer its `pause` the later. What `looks` at the head begins a new reading: only there the client returns to a provider that is well
    /// again, so that what belongs together comes from one.
    pub(super) fn order(&mut self, looks: bool, pause: impl Fn(usize) -> u64) -> Vec<usize> {
        let rank = |who: usize| match self.state(who).rank() {
            0 if pause(who) > 0 => 1,
            rank => rank,
        };
        let mut order: Vec<_> = (0..self.all.len()).filter(|who| rank(*who) <= 3).collect();
        order.sort_by_key(|who| (rank(*who), pause(*who)));
        let stays = rank(self.current) == 0 && !(looks && self.has_caught_up(order.first().copied()));
        match order.iter().position(|who| *who == self.current) {
            Some(place) if stays => order[..=place].rotate_right(1),
            _ => self.current = order.first().copied().unwrap_or(self.current),
        }
        order
    }

    fn has_caught_up(&self, who: Option<usize>) -> bool {
        who.and_then(|who| self.all.get(who)).is_some_and(|health| health.head.lag == 0)
    }

    /// Whether a provider must tell its chain and its head before it is asked anything else. One that stood by may be
    /// behind only as far as it is known.
    pub(super) fn must_look(&self, who: usize) -> bool {
        match self.state(who) {
            State::Unknown => self.must_introduce || self.highest_final() > 0,
            State::Behind => true,
            _ => false,
        }
    }

    /// How a provider stands.
    pub(super) fn state(&self, who: usize) -> State {
        let Some(health) = self.all.get(who) else { return State::Unknown };
        match health.did {
            State::OtherChain(_) => health.did,
            _ if health.head.height.is_some_and(|head| head < self.highest_final()) => State::Behind,
            State::Failing => State::Failing,
            _ if health.head.lag > self.pace.max_lag || health.finalized.lag > MAX_FINAL_LAG => {
                State::Lagging
            }
            did => did,
        }
    }

    /// The newest head and the newest final block that a provider told.
    pub(super) fn heights(&self, who: usize) -> (Option<u64>, Option<u64>) {
        self.all.get(who).map_or((None, None), |health| (health.head.height, health.finalized.height))
    }

    /// The highest final block of all; one of another chain does not count.
    pub(super) fn highest_final(&self) -> u64 {
        let ours = self.all.iter().filter(|health| !matches!(health.did, State::OtherChain(_)));
        ours.filter_map(|health| health.finalized.height).max().unwrap_or_default()
    }

    fn ours(&mut self, who: usize) -> Option<&mut Health> {
        self.all.get_mut(who).filter(|health| !matches!(health.did, State::OtherChain(_)))
    }

    /// A question of that time was answered. Tells whether that is news.
    pub(super) fn succeeded(&mut self, who: usize, sent: u64, now: u64) -> bool {
        let Some(health) = self.all.get_mut(who) else { return false };
        let is_news = match health.did {
            State::Good | State::OtherChain(_) => false,
            State::Failing => sent >= health.since,
            _ => true,
        };
        if is_news {
            (health.did, health.since) = (State::Good, now);
            health.probe_at = now + self.pace.probe;
        }
        is_news
    }

    /// A question failed. Tells whether that is news.
    pub(super) fn failed(&mut self, who: usize, now: u64) -> bool {
        match self.all.get_mut(who) {
            // Of what was on its way together, one failure counts.
            Some(health) if !matches!(health.did, State::Failing | State::OtherChain(_)) => {
                health.exile(now);
                true
            }
            _ => false,
        }
    }

    /// A provider told its chain. Tells whether it was dropped or taken in again by that.
    pub(super) fn told_chain(&mut self, who: usize, now: u64, ours: u64, told: u64) -> bool {
        let Some(health) = self.all.get_mut(who) else { return false };
        let before = health.did;
        if told != ours {
            (health.did, health.since, health.probe_at) = (State::OtherChain(told), now, now + OTHER_CHAIN);
            (health.head, health.finalized) = Default::default();
        } else if let State::OtherChain(_) = before {
            (health.did, health.since) = (State::Good, now);
        }
        before != health.did
    }

    /// A provider told its newest block.
    pub(super) fn saw_head(&mut self, who: usize, now: u64, height: u64) {
        if self.ours(who).is_none() {
            return;
        }
        self.heads.rise(height, now);
        let lag = self.heads.lag(height, now);
        if let Some(health) = self.ours(who) {
            health.head = Seen { height: Some(height), lag };
        }
    }

    /// A provider told its newest final block.
    pub(super) fn saw_final(&mut self, who: usize, now: u64, height: u64) {
        if self.ours(who).is_none() {
            return;
        }
        self.finals.rise(height, now);
        let lag = self.finals.lag(height, now);
        if let Some(health) = self.ours(who) {
            // What was final stays so, whatever the machine says that answers now.
            let height = health.finalized.height.max(Some(height));
            health.finalized = Seen { height, lag };
        }
    }

    /// Whom to probe now. Each is given once until [`Board::probed`].
    pub(super) fn due(&mut self, now: u64) -> Option<usize> {
        let current = self.current;
        let is_due = |(who, health): &(usize, &mut Health)| {
            let is_at_work = *who == current && matches!(health.did, State::Unknown | State::Good);
            !health.is_probed && !is_at_work && now >= health.probe_at
        };
        let (who, health) = self.all.iter_mut().enumerate().find(is_due)?;
        health.is_probed = true;
        Some(who)
    }

    /// A probe is over, whose questions were answered or not.
    pub(super) fn probed(&mut self, who: usize, now: u64, answered: bool) {
        let Some(health) = self.all.get_mut(who) else { return };
        health.is_probed = false;
        match health.did {
            State::OtherChain(_) => health.probe_at = now + OTHER_CHAIN,
            _ if answered => health.probe_at = now + self.pace.probe,
            _ => health.exile(now),
        }
    }
}

impl Health {
    fn exile(&mut self, now: u64) {
        let was_well = self.did == State::Good && now >= self.since + FORGIVEN;
        self.failures = if was_well { 1 } else { self.failures.saturating_add(1) };
        let exile = FIRST_EXILE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_EXILE);
        (self.did, self.since, self.probe_at) = (State::Failing, now, now + exile);
    }
}

/// When the newest heights were first heard of.
#[derive(Debug, Default)]
struct Front {
    marks: VecDeque<(u64, u64)>,
}

impl Front {
    fn rise(&mut self, height: u64, now: u64) {
        if self.marks.back().is_none_or(|(newest, _)| *newest < height) {
            self.marks.push_back((height, now));
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
    }

    /// For how long somebody has known of more than `height`.
    fn lag(&self, height: u64, now: u64) -> u64 {
        let next = self.marks.iter().find(|(newer, _)| *newer > height);
        next.map_or(0, |(_, since)| now.saturating_sub(*since))
    }
}

#[cfg(test)]
mod tests;
