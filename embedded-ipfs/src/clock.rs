//! The wall clock: what is signed ends by it, and blocks grow old by it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "this is where the crate reads the clock")]
pub(crate) fn now_ms() -> u64 {
    // Before 1970 nothing had expired.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Minutes since 1970.
pub(crate) fn now_minute() -> u32 {
    u32::try_from(now_ms() / 60_000).unwrap_or(u32::MAX)
}
