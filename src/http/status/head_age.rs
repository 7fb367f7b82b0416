//! How old the chain's newest head is, whatever somebody does to the wall clock.
//!
//! The store knows by the wall clock when the head changed, since that outlasts a process; from the first look on, only the
//! monotonic clock counts.

use scatter_actors::domain::units::{ChainTime, WallTime};
use scatter_actors::records::meta::ChainStatus;

/// What is known of the newest head's age.
#[derive(Debug, Clone, Copy)]
pub struct HeadAge {
    newest: ChainTime,
    /// Milliseconds on the monotonic clock when it was looked at last.
    looked: u64,
    /// Milliseconds that it was old then.
    age: u64,
}

impl HeadAge {
    /// Looks at what the listener wrote, now by the wall clock and on the monotonic one in milliseconds.
    pub fn look(before: Option<Self>, status: &ChainStatus, wall: WallTime, monotonic: u64) -> Self {
        // A head from the future was written before the clock was set back: nobody knows how old it is.
        let told = match status.head_changed <= wall {
            true => wall.since(status.head_changed),
            false => u64::MAX,
        };
        let age = match before {
            None => told,
            Some(before) => {
                let passed = monotonic.saturating_sub(before.looked);
                match before.newest == status.newest_time {
                    true => before.age.saturating_add(passed),
                    // It came since the last look, at what the wall clock says if that can be.
                    false => told.min(passed),
                }
            }
        };
        Self { newest: status.newest_time, looked: monotonic, age }
    }

    /// Milliseconds since the head changed, when it was looked at.
    pub fn milliseconds(self) -> u64 {
        self.age
    }
}

#[cfg(test)]
mod tests {
    use scatter_actors::domain::market::{Market, MarketRules, Version};
    use scatter_actors::domain::units::{Address, BlockHeight};

    use super::*;

    fn status(newest: u64, head_changed: u64) -> ChainStatus {
        ChainStatus {
            market: Market { chain: 1, address: Address([1; 20]) },
            rules: MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 86_400 },
            head: BlockHeight(10),
            head_time: ChainTime(newest),
            newest_time: ChainTime(newest),
            finalized: BlockHeight(8),
            head_changed: WallTime(head_changed),
            poison: 0,
            halted: None,
        }
    }

    fn look(before: Option<HeadAge>, status: &ChainStatus, wall: u64, monotonic: u64) -> HeadAge {
        HeadAge::look(before, status, WallTime(wall), monotonic)
    }

    #[test]
    fn a_head_ages_while_the_wall_clock_jumps() {
        let head = status(7, 100_000);
        let mut age = look(None, &head, 101_000, 5_000);
        assert_eq!(age.milliseconds(), 1_000);
        for (wall, monotonic, old) in [(99_000_000, 6_000, 2_000), (0, 16_000, 12_000), (0, 16_000, 12_000)] {
            age = look(Some(age), &head, wall, monotonic);
            assert_eq!(age.milliseconds(), old);
        }
    }

    #[test]
    fn a_new_head_is_no_older_than_the_last_look() {
        let before = look(None, &status(7, 100_000), 150_000, 5_000);
        for (wall, old) in [(152_000, 1_000), (1_000, 20_000), (99_000_000, 20_000)] {
            assert_eq!(look(Some(before), &status(8, 151_000), wall, 25_000).milliseconds(), old, "{wall}");
        }
    }

    #[test]
    fn a_process_that_finds_a_head_from_the_future_waits_for_the_next_one() {
        let age = look(None, &status(7, 100_000), 99_999, 0);
        assert_eq!(look(Some(age), &status(7, 100_000), 101_000, 10).milliseconds(), u64::MAX);
        assert_eq!(look(Some(age), &status(8, 101_000), 101_000, 10).milliseconds(), 0);
    }
}
