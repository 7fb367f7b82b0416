//! The machine's clock: the paused runtime's time, and a wall clock that somebody sets.

use std::cell::Cell;

use scatter_actors::domain::units::WallTime;
use scatter_actors::ports::clock::Clock;
use tokio::time::Instant;

/// The wall clock when a history begins, in milliseconds since 1970.
const FIRST_DAY: i64 = 1_700_000_000_000;

/// Time as the paused runtime tells it. The wall clock begins on a fixed day, and jumps when it is set; what measures
/// durations does not.
pub struct RuntimeClock {
    began: Instant,
    set_by: Cell<i64>,
}

impl RuntimeClock {
    /// A clock that is right.
    pub fn new() -> Self {
        Self { began: Instant::now(), set_by: Cell::new(0) }
    }
    /// Sets the wall clock so many milliseconds forward, or back if negative.
    pub fn jump(&self, by_ms: i64) {
        self.set_by.set(self.set_by.get() + by_ms);
    }
    /// Sets the wall clock right.
    pub fn heal(&self) {
        self.set_by.set(0);
    }
}

impl Default for RuntimeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RuntimeClock {
    fn wall(&self) -> WallTime {
        WallTime((FIRST_DAY + self.set_by.get()).unsigned_abs() + self.monotonic())
    }
    fn monotonic(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
