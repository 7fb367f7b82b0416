//! What happens, told as it happens: when by the wall, when by the chain, who, and what.

use std::fs::File;
use std::io::Write;

use scatter_actors::domain::units::ChainTime;
use scatter_actors::ports::clock::Clock;

use crate::adapters::system_clock::SystemClock;

/// Who hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// People: standard output.
    People,
    /// People beside a program that reads standard output: standard error.
    Aside,
    /// Nobody.
    Nobody,
}

/// The teller.
#[derive(Debug)]
pub struct Story {
    audience: Audience,
    clock: SystemClock,
    origin: Option<ChainTime>,
    copy: Option<File>,
}

impl Story {
    /// A story that begins now.
    pub fn new(audience: Audience) -> Self {
        let story = Self { audience, clock: SystemClock::new(), origin: None, copy: None };
        story.say(&format!("{:>8}  {:>12}  {:<11}  {}", "seconds", "chain time", "who", "what"));
        story
    }

    /// Keeps a copy of what is told from now on.
    pub fn copy_to(&mut self, file: File) {
        self.copy = Some(file);
    }

    /// Chain time is told from this moment on.
    pub fn begin_at(&mut self, origin: ChainTime) {
        self.origin = Some(origin);
    }

    /// Milliseconds since it began.
    pub fn wall_ms(&self) -> u64 {
        self.clock.monotonic()
    }

    /// Tells that somebody did something, at a moment of the chain if the chain knows of it.
    pub fn tell(&self, at: Option<ChainTime>, who: &str, what: &str) {
        let seconds = self.wall_ms() as f64 / 1_000.0;
        let moment = match (at, self.origin) {
            (Some(at), Some(origin)) => days(at.since(origin)),
            _ => String::new(),
        };
        self.say(&format!("{seconds:>8.1}  {moment:>12}  {who:<11}  {what}"));
    }

    /// Says a line, or several, of its own form.
    pub fn say(&self, text: &str) {
        if let Some(mut copy) = self.copy.as_ref() {
            let _full = writeln!(copy, "{text}");
        }
        // A reader that has gone away is no fault.
        let _gone = match self.audience {
            Audience::People => writeln!(std::io::stdout(), "{text}"),
            Audience::Aside => writeln!(std::io::stderr(), "{text}"),
            Audience::Nobody => Ok(()),
        };
    }
}

/// Seconds as days and the time of day.
pub fn days(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    format!("{days} d {:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn chain_time_reads_as_days_and_a_time_of_day() {
        for (seconds, text) in [(0, "0 d 00:00:00"), (59, "0 d 00:00:59"), (694_861, "8 d 01:01:01")] {
            assert_eq!(super::days(seconds), text);
        }
    }
}
