//! How much a stranger may ask: requests a second, requests at once, bytes a day; and all of them together.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Milliseconds of the day over which bytes are counted.
const DAY_MS: u64 = 86_400_000;

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests a second from one source; bursts of as many.
    pub per_second: u32,
    /// Requests at once from one source, an answer that is still being read included.
    pub at_once: u32,
    /// Bytes of answers a day to one source. The last answers may go over it.
    pub bytes_per_day: u64,
    /// Requests a second from all sources together.
    pub all_per_second: u32,
    /// Requests at once from all sources together.
    pub all_at_once: u32,
    /// So many sources are remembered; then the one that was quiet longest is forgotten.
    pub sources: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_second: 5,
            at_once: 4,
            bytes_per_day: 2 << 30,
            all_per_second: 200,
            all_at_once: 64,
            sources: 10_000,
        }
    }
}

/// Too much was asked; asking again makes sense after so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Seconds.
    pub retry_after: u64,
}

/// A source: an IPv4 address, or the 64 bits of an IPv6 address that one customer usually has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(v6) => {
                let network = u128::from(v6) & !u128::from(u64::MAX);
                Self(IpAddr::V6(network.into()))
            }
            v4 => Self(v4),
        }
    }
}

/// Tokens that come back with time; counted in thousandths.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    thousandths: u64,
    at: u64,
}

impl Bucket {
    fn full(rate: u32, now: u64) -> Self {
        Self { thousandths: u64::from(rate) * 1000, at: now }
    }
    fn refill(&mut self, rate: u32, now: u64) {
        let gained = now.saturating_sub(self.at).saturating_mul(u64::from(rate));
        self.thousandths = self.thousandths.saturating_add(gained).min(u64::from(rate) * 1000);
        self.at = now;
    }
    fn has_one(&self) -> bool {
        self.thousandths >= 1000
    }
    fn take(&mut self) {
        self.thousandths = self.thousandths.saturating_sub(1000);
    }
}

#[derive(Debug)]
struct Usage {
    bucket: Bucket,
    at_once: u32,
    day_began: u64,
    bytes: u64,
}

/// Counts what is asked. Time is the monotonic clock's, in milliseconds.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    all: Bucket,
    all_at_once: u32,
    sources: BTreeMap<Source, Usage>,
}

impl Limiter {
    /// Nothing was asked yet.
    pub fn new(limits: Limits, now: u64) -> Self {
        let all = Bucket::full(limits.all_per_second, now);
        Self { limits, all, all_at_once: 0, sources: BTreeMap::new() }
    }

    /// Counts a request; each one that is let in must be [released](Self::release) in the end.
    ///
    /// # Errors
    /// If it is one too many; then it counts as nothing.
    pub fn admit(&mut self, source: Source, now: u64) -> Result<(), Limited> {
        let soon = Err(Limited { retry_after: 1 });
        self.all.refill(self.limits.all_per_second, now);
        if self.all_at_once >= self.limits.all_at_once || !self.all.has_one() {
            return soon;
        }
        if !self.sources.contains_key(&source) && !self.make_room() {
            return soon;
        }
        let limits = self.limits;
        let usage = self.sources.entry(source).or_insert_with(|| Usage {
            bucket: Bucket::full(limits.per_second, now),
            at_once: 0,
            day_began: now,
            bytes: 0,
        });
        usage.bucket.refill(limits.per_second, now);
        if now.saturating_sub(usage.day_began) >= DAY_MS {
            (usage.day_began, usage.bytes) = (now, 0);
        }
        if usage.bytes >= limits.bytes_per_day {
            let left = DAY_MS.saturating_sub(now.saturating_sub(usage.day_began));
            return Err(Limited { retry_after: left.div_ceil(1000) });
        }
        if usage.at_once >= limits.at_once || !usage.bucket.has_one() {
            return soon;
        }
        usage.bucket.take();
        usage.at_once += 1;
        self.all.take();
        self.all_at_once += 1;
        Ok(())
    }

    /// Counts the bytes of an answer.
    pub fn charge(&mut self, source: Source, bytes: u64) {
        if let Some(usage) = self.sources.get_mut(&source) {
            usage.bytes = usage.bytes.saturating_add(bytes);
        }
    }

    /// A request that was let in is over.
    pub fn release(&mut self, source: Source) {
        if let Some(usage) = self.sources.get_mut(&source) {
            usage.at_once = usage.at_once.saturating_sub(1);
        }
        self.all_at_once = self.all_at_once.saturating_sub(1);
    }

    /// Forgets the source that was quiet longest, if there is no room for another. False if all are busy.
    fn make_room(&mut self) -> bool {
        if self.sources.len() < self.limits.sources {
            return true;
        }
        let idle = self.sources.iter().filter(|(_, usage)| usage.at_once == 0);
        let quietest = idle.min_by_key(|(_, usage)| usage.bucket.at).map(|(source, _)| *source);
        quietest.is_some_and(|source| self.sources.remove(&source).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    /// Asks and is done at once, `n` times; tells how many were let in.
    fn asks(limiter: &mut Limiter, who: Source, n: u32, now: u64) -> u32 {
        (0..n).filter(|_| limiter.admit(who, now).map(|()| limiter.release(who)).is_ok()).count() as u32
    }

    #[test]
    fn a_source_gets_its_rate_and_its_burst_and_no_more() {
        let mut limiter = Limiter::new(Limits::default(), 0);
        let a = source("1.1.1.1");
        assert_eq!(asks(&mut limiter, a, 20, 0), 5);
        assert_eq!(asks(&mut limiter, a, 20, 199), 0);
        assert_eq!(asks(&mut limiter, a, 20, 200), 1);
        assert_eq!(asks(&mut limiter, a, 20, 1_200), 5);
        assert_eq!(asks(&mut limiter, a, 20, 60_000), 5, "time away is not saved up");
        assert_eq!(asks(&mut limiter, source("1.1.1.2"), 20, 60_000), 5, "another source has its own");
    }

    #[test]
    fn a_source_has_only_so_many_requests_open() {
        let mut limiter = Limiter::new(Limits { per_second: 100, ..Limits::default() }, 0);
        let a = source("1.1.1.1");
        for _ in 0..4 {
            limiter.admit(a, 0).unwrap();
        }
        assert_eq!(limiter.admit(a, 0), Err(Limited { retry_after: 1 }));
        limiter.release(a);
        limiter.admit(a, 0).unwrap();
    }

    #[test]
    fn a_source_that_had_its_bytes_waits_for_its_next_day() {
        let mut limiter = Limiter::new(Limits { bytes_per_day: 1000, ..Limits::default() }, 0);
        let a = source("1.1.1.1");
        limiter.admit(a, 5_000).unwrap();
        limiter.charge(a, 1000);
        limiter.release(a);
        assert_eq!(limiter.admit(a, 6_000), Err(Limited { retry_after: 86_399 }));
        assert_eq!(asks(&mut limiter, a, 1, 5_000 + DAY_MS), 1);
    }

    #[test]
    fn all_sources_together_have_a_rate_and_a_number_too() {
        let limits = Limits { all_per_second: 3, all_at_once: 2, ..Limits::default() };
        let mut limiter = Limiter::new(limits, 0);
        limiter.admit(source("1.1.1.1"), 0).unwrap();
        limiter.admit(source("1.1.1.2"), 0).unwrap();
        assert!(limiter.admit(source("1.1.1.3"), 0).is_err(), "two at once");
        limiter.release(source("1.1.1.1"));
        limiter.admit(source("1.1.1.3"), 0).unwrap();
        limiter.release(source("1.1.1.2"));
        assert!(limiter.admit(source("1.1.1.4"), 0).is_err(), "three a second");
    }

    #[test]
    fn many_sources_cost_bounded_memory_and_a_busy_one_is_never_forgotten() {
        let mut limiter = Limiter::new(Limits { sources: 2, ..Limits::default() }, 0);
        let (a, b, c) = (source("1.1.1.1"), source("1.1.1.2"), source("1.1.1.3"));
        limiter.admit(a, 0).unwrap();
        limiter.admit(b, 1).unwrap();
        assert!(limiter.admit(c, 2).is_err(), "both are busy");
        limiter.release(b);
        limiter.admit(c, 3).unwrap();
        assert_eq!(limiter.sources.keys().copied().collect::<Vec<_>>(), [a, c]);
    }

    #[test]
    fn one_customers_ipv6_addresses_are_one_source() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:1.2.3.4"), source("1.2.3.4"));
    }
}
