//! How the chain is listened to, as pure decisions: what is read next ([`plan`]), how much of it at once
//! ([`Reach`]), and whether an answer can be right ([`examine`]).

use super::units::BlockHeight;

mod answer;
mod reach;

pub use self::answer::{examine, Doubt, Event, Events, Header, Said, Span};
pub use self::reach::{Hopeless, Reach};

/// The next read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is deep enough yet.
    Idle,
    /// All of these final blocks at once, both ends included.
    Range(BlockHeight, BlockHeight),
    /// One block that a reorg could still reach: by its hash, its parent checked.
    One(BlockHeight),
}

/// Where the chain and the listener are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heights {
    /// The first block that is not read yet.
    pub next: BlockHeight,
    /// The chain's newest.
    pub head: BlockHeight,
    /// Its newest final one; 0 while there is none.
    pub finalized: BlockHeight,
}

/// Plans the next read: only blocks with `confirmations` blocks above them, in ranges of at most `max_range`.
pub fn plan(at: Heights, confirmations: u64, max_range: u64) -> Plan {
    let Some(deep) = at.head.0.checked_sub(confirmations) else { return Plan::Idle };
    if at.next.0 > deep {
        return Plan::Idle;
    }
    if at.next.0 < at.finalized.0.min(deep) {
        let last = at.next.0.saturating_add(max_range.max(1) - 1).min(at.finalized.0).min(deep);
        return Plan::Range(at.next, BlockHeight(last));
    }
    Plan::One(at.next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_ranged_below_finality_single_above_and_never_shallow() {
        let at = |next, head, finalized| Heights {
            next: BlockHeight(next),
            head: BlockHeight(head),
            finalized: BlockHeight(finalized),
        };
        let range = |from, to| Plan::Range(BlockHeight(from), BlockHeight(to));
        for (heights, want) in [
            (at(0, 1, 0), Plan::Idle),
            (at(0, 2, 0), Plan::One(BlockHeight(0))),
            (at(9, 10, 0), Plan::Idle),
            (at(8, 10, 8), Plan::One(BlockHeight(8))),
            (at(1, 10_000, 9_000), range(1, 1_000)),
            (at(8_500, 10_000, 9_000), range(8_500, 9_000)),
            (at(9_000, 10_000, 9_000), Plan::One(BlockHeight(9_000))),
            (at(5, 10, 10), range(5, 8)),
            (at(11, 10, 10), Plan::Idle),
        ] {
            assert_eq!(plan(heights, 2, 1_000), want, "{heights:?}");
        }
    }
}
