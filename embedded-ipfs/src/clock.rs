//! The wall clock: what is signed ends by it, and blocks grow old by it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "this is where the crate reads the clock")]
pub(crate) fn now_ms() -> u64 {
    // Before 1970 nothing had expired.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
