//! What the listener says of facts that are in the store now.

use super::{BidAccepted, BidPinned, BidPlaced, HeadMoved, Outbox, Retracted, Settled, VoteRecorded};
use crate::domain::market::{BidKey, MarketEvent};
use crate::domain::units::ChainTime;
use crate::records::journal::Fact;

/// More facts than these at once are history, not news: one hint of each kind wakes whoever reads the journal.
const NEWS: usize = 64;

/// The kinds of hints; each wakes its hearers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    Placed,
    Accepted,
    Pinned,
    Voted,
    Settled,
    Retracted,
}

impl Hint {
    fn of(fact: &Fact) -> Option<(Self, BidKey)> {
        let hint = match fact.event {
            _ if fact.retracted => Self::Retracted,
            MarketEvent::BidPlaced { .. } => Self::Placed,
            MarketEvent::Accepted { .. } => Self::Accepted,
            MarketEvent::Pinned { .. } => Self::Pinned,
            MarketEvent::Voted { .. } => Self::Voted,
            MarketEvent::Settled { .. } => Self::Settled,
            _ => return None,
        };
        Some((hint, fact.bid()?))
    }
}

impl Outbox {
    /// Tells of what is in the store now, and of the time if there is a newer block.
    pub(super) fn announce(&self, facts: &[Fact], moved: Option<ChainTime>) {
        let mut hints: Vec<_> = facts.iter().filter_map(Hint::of).collect();
        if facts.len() > NEWS {
            hints.sort_unstable();
            hints.dedup_by_key(|(hint, _)| *hint);
        }
        for (hint, bid) in hints {
            match hint {
                Hint::Placed => self.placed.tell(&BidPlaced { bid }),
                Hint::Accepted => self.accepted.tell(&BidAccepted { bid }),
                Hint::Pinned => self.pinned.tell(&BidPinned { bid }),
                Hint::Voted => self.voted.tell(&VoteRecorded { bid }),
                Hint::Settled => self.settled.tell(&Settled { bid }),
                Hint::Retracted => self.retracted.tell(&Retracted { bid }),
            }
        }
        if let Some(time) = moved {
            self.heads.tell(&HeadMoved { time });
        }
    }
}
