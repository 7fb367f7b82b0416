//! How fast one provider is asked: as fast as anybody likes until it says no, then as fast as it bears.
//!
//! There is no limit before the first refusal: an own node has none, and what a public one allows is best learnt from
//! itself. From then on 5 % less after a refusal, 5 % more after a second without one. What was on its way when the
//! rate changed says nothing about the new rate, so a hundred refusals of one burst count as one.

use std::time::{Duration, SystemTime};

use awc::http::header::HttpDate;

/// Requests a second after the first refusal.
const START: f64 = 20.0;
/// Never slower than this: a provider that bears less is of no use.
const FLOOR: f64 = 0.5;
/// A rate above this is none.
const CEILING: f64 = 1_000.0;
const SLOWER: f64 = 0.95;
const FASTER: f64 = 1.05;
/// Milliseconds from one raise to the next.
const STEP: u64 = 1_000;
/// Milliseconds of unused rate that may be spent at once.
const CREDIT: f64 = 1_000.0;
/// A provider that wants to be left alone for longer is asked all the same after so many milliseconds.
const MAX_PAUSE: u64 = 300_000;

/// The rate of one provider. Times are milliseconds on any one clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    /// Requests a second; `None` is no limit.
    limit: Option<f64>,
    /// When the last reserved request is paid for.
    paid: f64,
    /// Nothing is sent before.
    pause_until: u64,
    changed: u64,
}

impl Rate {
    /// Takes a turn for `requests` at once, and tells how long to wait for it.
    pub(super) fn reserve(&mut self, now: u64, requests: usize) -> u64 {
        let turn = match self.limit {
            Some(limit) => {
                let turn = self.paid.max(now as f64 - CREDIT);
                self.paid = turn + requests as f64 * 1_000.0 / limit;
                // A fraction of a millisecond early would be too early.
                turn.ceil() as u64
            }
            None => now,
        };
        turn.max(self.pause_until).saturating_sub(now)
    }

    /// How long the provider wants to be left alone.
    pub(super) fn pause(&self, now: u64) -> u64 {
        self.pause_until.saturating_sub(now)
    }

    /// Requests a second; `None` is no limit.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// A request of that time was answered.
    pub(super) fn succeeded(&mut self, sent: u64, now: u64) {
        let Some(limit) = self.limit else { return };
        if sent >= self.changed && now >= self.changed + STEP {
            self.limit = Some(limit * FASTER).filter(|limit| *limit <= CEILING);
            self.changed = now;
        }
    }

    /// A request of that time came too soon; the provider may have told how long to wait.
    pub(super) fn refused(&mut self, sent: u64, now: u64, wait: Option<Duration>) {
        let wait = wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.pause_until = self.pause_until.max(now.saturating_add(wait.min(MAX_PAUSE)));
        let Some(limit) = self.limit else {
            // The credit is spent: it was what the provider refused.
            (self.limit, self.changed, self.paid) = (Some(START), now, now as f64 + 1_000.0 / START);
            return;
        };
        if sent >= self.changed {
            self.limit = Some((limit * SLOWER).max(FLOOR));
            self.changed = now;
        }
    }
}

/// How long `Retry-After` asks to wait: seconds, or a date, which counts from `now` on the server's own clock.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until: HttpDate = value.parse().ok()?;
    Some(SystemTime::from(until).duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_waits_before_the_first_refusal() {
        let mut rate = Rate::default();
        assert!((0..100_000).all(|_| rate.reserve(5, 50) == 0));
    }

    #[test]
    fn after_a_refusal_twenty_a_second_are_sent() {
        let mut rate = Rate::default();
        rate.refused(0, 10_000, None);
        let waits: Vec<_> = (0..5).map(|_| rate.reserve(10_000, 1)).collect();
        assert_eq!(waits, [50, 100, 150, 200, 250]);
        assert_eq!(rate.reserve(10_000, 20), 300, "a batch waits for its turn only");
        assert_eq!(rate.reserve(10_000, 1), 1_300, "and whoever comes next for all of it");
        assert_eq!(rate.reserve(60_000, 20), 0, "a second's worth may be saved up");
        assert_eq!(rate.reserve(60_000, 1), 0);
        assert_eq!(rate.reserve(60_000, 1), 50, "and no more than that");
    }

    #[test]
    fn a_burst_of_refusals_counts_as_one() {
        let mut rate = Rate::default();
        rate.refused(0, 100, None);
        (0..100).for_each(|_| rate.refused(50, 120, None));
        assert_eq!(rate.limit(), Some(20.0));
        (0..100).for_each(|_| rate.refused(130, 200, None));
        assert_eq!(rate.limit(), Some(19.0));
    }

    #[test]
    fn each_good_second_is_a_twentieth_more_until_there_is_no_limit() {
        let mut rate = Rate::default();
        rate.refused(0, 0, None);
        rate.succeeded(10, 999);
        assert_eq!(rate.limit(), Some(20.0));
        rate.succeeded(10, 1_000);
        rate.succeeded(10, 1_001);
        assert_eq!(rate.limit(), Some(21.0));
        let mut now = 1_000;
        while rate.limit().is_some() {
            now += STEP;
            rate.succeeded(now, now);
            assert!(now < 100 * STEP, "{rate:?}");
        }
        assert_eq!(rate.reserve(now, 1_000), 0);
    }

    #[test]
    fn a_wish_to_be_left_alone_is_obeyed_within_reason() {
        let mut rate = Rate::default();
        rate.refused(0, 1_000, Some(Duration::from_secs(30)));
        assert_eq!((rate.pause(1_000), rate.reserve(1_000, 1)), (30_000, 30_000));
        rate.refused(0, 2_000, Some(Duration::from_secs(1)));
        assert_eq!(rate.pause(2_000), 29_000, "a shorter wish does not end a longer one");
        rate.refused(0, 2_000, Some(Duration::MAX));
        assert_eq!(rate.pause(2_000), MAX_PAUSE);
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    /// Something that happens, and milliseconds to the next.
    fn happenings() -> impl Strategy<Value = Vec<(u8, u64)>> {
        prop::collection::vec((0..4u8, 0..400u64), 1..300)
    }

    proptest! {
        #[test]
        fn the_limit_stays_in_its_bounds_and_no_second_sees_more_than_two_seconds_worth(all in happenings()) {
            let (mut rate, mut now, mut sent) = (Rate::default(), 1_000, Vec::new());
            rate.refused(0, now, None);
            let mut most = START;
            for (what, pause) in all {
                match what {
                    0 => rate.refused(now, now, None),
                    1 => rate.succeeded(now, now),
                    _ => sent.push(now + rate.reserve(now, 1)),
                }
                now += pause;
                let limit = rate.limit().unwrap();
                prop_assert!((FLOOR..=CEILING).contains(&limit));
                most = most.max(limit);
            }
            sent.sort_unstable();
            for (index, first) in sent.iter().enumerate() {
                let within = sent[index..].iter().take_while(|at| *at - first < 1_000).count();
                prop_assert!(within as f64 <= 2.0 * most + 1.0, "{within} in a second at {most}");
            }
        }

        #[test]
        fn nothing_is_sent_before_a_pause_is_over(all in happenings(), seconds in 0..600u64) {
            let (mut rate, mut now) = (Rate::default(), 1_000);
            rate.refused(0, now, Some(Duration::from_secs(seconds)));
            let end = now + (seconds * 1_000).min(MAX_PAUSE);
            for (what, pause) in all {
                match what {
                    0 => rate.refused(now, now, None),
                    1 => rate.succeeded(now, now),
                    _ => prop_assert!(now + rate.reserve(now, 1) >= end),
                }
                now += pause;
            }
        }
    }
}
