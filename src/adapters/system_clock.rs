//! The machine's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use scatter_actors::domain::units::WallTime;
use scatter_actors::ports::clock::Clock;

/// The operating system's wall and monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The clocks; monotonic time starts at 0 now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> WallTime {
        // A clock before 1970 is told as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
    fn monotonic(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_in_this_century_and_monotonic_time_never_goes_back() {
        let clock = SystemClock::new();
        let (year_2020, year_2100) = (1_577_836_800_000, 4_102_444_800_000);
        assert!((year_2020..year_2100).contains(&clock.wall().0));
        let reads: Vec<u64> = (0..100).map(|_| clock.monotonic()).collect();
        assert!(reads.is_sorted());
    }
}
