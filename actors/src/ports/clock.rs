//! Time. Chain time comes from the chain's headers; this port tells the machine's.

use crate::domain::units::WallTime;

/// The machine's wall clock. Timers are the runtime's, so that a paused runtime pauses them.
pub trait Clock {
    /// Now, in milliseconds since 1970. May jump.
    fn wall(&self) -> WallTime;
    /// Milliseconds since an arbitrary start. Never goes back.
    fn monotonic(&self) -> u64;
}
