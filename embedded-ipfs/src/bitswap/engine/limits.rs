//! How much nonsense a peer may talk before it is left.
//!
//! An honest peer breaks a rule now and then: its answer crosses a cancel, its line breaks in the middle of a message. So
//! breaches fill a bucket that drains in ten minutes, each by what it costs us; a peer whose bucket runs over is left.

use std::fmt;
use std::time::Duration;

use crate::Breaches;

/// What runs the bucket over.
const FULL: u64 = 1 << 20;
/// How long a full bucket takes to drain.
const DRAINS: Duration = Duration::from_secs(600);

/// What a peer did that costs us something and brings nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// A block that it was not asked for, of so many bytes. A block whose bytes are not those of its CID is one too: it has
    /// the CID that its bytes have.
    Unasked(usize),
    /// Blocks without a prefix that makes sense, so that no CID can be computed.
    Senseless(usize),
    /// Presences of what it was not asked for.
    Presences(usize),
    /// Wants beyond what is read of one message or remembered of one peer.
    Wants(usize),
    /// A message that says nothing.
    Empty,
    /// A message longer than is read, and nothing in it was asked for.
    Oversize,
    /// A message that is none.
    Malformed,
    /// A message that began and did not end in time.
    Stalled,
    /// A stream beyond those that it may have open.
    Streams,
}

impl Breach {
    fn weight(self) -> u64 {
        match self {
            Breach::Unasked(bytes) => (1 << 14) + bytes as u64 / 16,
            Breach::Senseless(count) => (1 << 12) * count as u64,
            Breach::Presences(count) => 16 * count as u64,
            // A busy peer may well want more than is remembered here.
            Breach::Wants(count) => 2 * count as u64,
            Breach::Empty => 1 << 6,
            Breach::Streams => 1 << 12,
            Breach::Oversize | Breach::Malformed | Breach::Stalled => 1 << 16,
        }
    }
}

/// For the log: the reason why a peer was left.
impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Breach::Unasked(_) => "blocks that were not asked for, or bytes that are not those of their CIDs",
            Breach::Senseless(_) => "blocks whose prefixes make no sense",
            Breach::Presences(_) => "presences that were not asked for",
            Breach::Wants(_) => "more wants than are answered",
            Breach::Empty => "messages that say nothing",
            Breach::Oversize => "messages longer than allowed",
            Breach::Malformed => "malformed messages",
            Breach::Stalled => "messages that do not end",
            Breach::Streams => "more streams than allowed",
        })
    }
}

impl Breaches {
    /// Counts one more.
    pub(super) fn note(&mut self, breach: Breach) {
        let (count, more) = match breach {
            Breach::Unasked(_) => (&mut self.unasked_blocks, 1),
            Breach::Senseless(count) => (&mut self.senseless_blocks, count),
            Breach::Presences(count) => (&mut self.unasked_presences, count),
            Breach::Wants(count) => (&mut self.excess_wants, count),
            Breach::Empty => (&mut self.empty_messages, 1),
            Breach::Oversize => (&mut self.oversize_messages, 1),
            Breach::Malformed => (&mut self.malformed_messages, 1),
            Breach::Stalled => (&mut self.stalled_messages, 1),
            Breach::Streams => (&mut self.excess_streams, 1),
        };
        *count += more as u64;
    }
}

/// One peer's bucket.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Conduct {
    level: u64,
    at: Duration,
}

impl Conduct {
    /// Notes a breach; says whether the peer is to be left.
    #[must_use]
    pub(super) fn note(&mut self, breach: Breach, now: Duration) -> bool {
        let drained = now.saturating_sub(self.at).as_millis() * u128::from(FULL) / DRAINS.as_millis();
        self.level = self.level.saturating_sub(u64::try_from(drained).unwrap_or(u64::MAX));
        self.level = self.level.saturating_add(breach.weight());
        self.at = now;
        self.level > FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(breach: Breach, every: Duration) -> Option<usize> {
        let mut conduct = Conduct::default();
        (1..100_000).find(|&n| conduct.note(breach, every * n as u32))
    }

    #[test]
    fn a_peer_is_left_after_some_breaches_at_once_and_never_for_the_same_ones_far_between() {
        for (breach, most) in [
            (Breach::Malformed, 17),
            (Breach::Unasked(1 << 20), 13),
            (Breach::Unasked(0), 65),
            (Breach::Senseless(1), 257),
            (Breach::Empty, 16_385),
            (Breach::Wants(8192), 65),
        ] {
            assert_eq!(patience(breach, Duration::ZERO), Some(most), "{breach:?}");
            assert_eq!(patience(breach, Duration::from_secs(60)), None, "{breach:?}");
        }
    }
}
