//! The end of a record's life: RFC 3339 texts with nanoseconds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// An instant with nanoseconds, of the years 0 to 9999 in UTC. It is written as RFC 3339 with as many decimals as it
/// needs (`2030-01-02T03:04:05.000000001Z`), as Kubo does, and reads any RFC 3339 text that Kubo reads: with capital
/// letters and without leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

/// A text that is no RFC 3339 time of the years 0 to 9999, or has small letters or a leap second.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no RFC 3339 time")]
pub struct NotATime(pub String);

impl Timestamp {
    /// The last instant that RFC 3339 can write, in whole milliseconds since 1970.
    const LAST_MS: u64 = 253_402_300_799_999;

    /// An instant in milliseconds since 1970. What lies beyond the year 9999 becomes its last millisecond.
    pub fn from_ms(ms: u64) -> Self {
        let nanos = i128::from(ms.min(Self::LAST_MS)) * 1_000_000;
        // Within the range by the line above.
        Self(OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// Whole milliseconds since 1970, rounded down; 0 for what lies before.
    pub fn ms(&self) -> u64 {
        u64::try_from(self.0.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let refused = || NotATime(text.to_owned());
        let local = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refused())?;
        // The RFC leaves other letters to who reads. The parser has made sure that these bytes are there.
        let (separator, seconds) = (text.as_bytes().get(10), text.as_bytes().get(17..19));
        if separator != Some(&b'T') || text.ends_with('z') || seconds == Some(b"60") {
            return Err(refused());
        }
        // An offset can push the first and last hours out of the years that can be written again.
        let utc = local.checked_to_offset(UtcOffset::UTC).ok_or_else(refused)?;
        if utc.year() < 0 {
            return Err(refused());
        }
        Ok(Self(utc))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_written_with_the_decimals_that_it_needs() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 0),
            ("2026-11-21T14:00:00.5Z", 1_795_269_600_500),
            ("2123-08-14T12:38:31.123456789Z", 4_847_690_311_123),
            ("9999-12-31T23:59:59.999999999Z", Timestamp::LAST_MS),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!((time.to_string().as_str(), time.ms()), (text, ms));
        }
    }

    #[test]
    fn one_instant_in_two_offsets_is_one_instant() {
        let utc: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        assert_eq!("2030-01-01T05:30:00+05:30".parse(), Ok(utc));
        assert_eq!(serde_json::to_string(&utc).unwrap(), "\"2030-01-01T00:00:00Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>("\"2029-12-31T23:00:00-01:00\"").unwrap(), utc);
    }

    #[test]
    fn a_nanosecond_decides_which_is_later() {
        let of = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(of("2030-01-01T00:00:00.000000001Z") > of("2030-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-02-30T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:00:00Z ",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00,5Z",
            "2030-01-01t00:00:00Z",
            "2030-01-01 00:00:00Z",
            "2030-01-01_00:00:00Z",
            "2030-01-01T00:00:00z",
            "2030-06-30T23:59:60Z",
            "2030-07-01T00:59:60+01:00",
            "+12030-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime(text.to_owned())));
        }
    }

    #[test]
    fn what_lies_before_1970_has_no_milliseconds() {
        assert_eq!("1969-12-31T23:59:59Z".parse::<Timestamp>().unwrap().ms(), 0);
        assert_eq!(Timestamp::from_ms(u64::MAX).ms(), Timestamp::LAST_MS);
    }

    proptest! {
        #[test]
        fn milliseconds_survive_the_text(ms in 0..=Timestamp::LAST_MS) {
            let time = Timestamp::from_ms(ms);
            prop_assert_eq!(time.ms(), ms);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[0-9TZ:.+-]{0,40}|.{0,40}") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
    }
}
