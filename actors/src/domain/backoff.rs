//! How long to wait before the next try: doubling, with a ceiling. Jitter is the caller's, from its port.

use std::time::Duration;

/// A schedule of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait before the first retry.
    pub first: Duration,
    /// No wait is longer.
    pub most: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (1 for the first).
    pub fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling_and_never_overflow() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) };
        let waits: Vec<u128> = [1, 2, 3, 9, 10, u32::MAX].map(|n| backoff.after(n).as_millis()).into();
        assert_eq!(waits, [100, 200, 400, 25_600, 30_000, 30_000]);
    }
}
