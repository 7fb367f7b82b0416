//! Why there is no result, in the provider's words and without credentials.

use std::time::Duration;

use serde_json::Value;

use super::Endpoint;

/// Why there is no result. The provider's words are in it, credentials are not.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// No answer, or none that could be understood.
    #[error("{url}: {what}")]
    Unreachable {
        /// The provider.
        url: Endpoint,
        /// What went wrong.
        what: String,
    },
    /// No whole answer in time. Less may be answered sooner.
    #[error("{url}: {what}")]
    TimedOut {
        /// The provider.
        url: Endpoint,
        /// What was waited for, and how long.
        what: String,
    },
    /// The provider wants to be asked less often.
    #[error("{url}: {what}")]
    RateLimited {
        /// The provider.
        url: Endpoint,
        /// Its words.
        what: String,
        /// How long it wants to be left alone, if it told.
        wait: Option<Duration>,
    },
    /// An answer larger than is read. Less must be asked for.
    #[error("{url}: {method}: an answer of more than {max_body} bytes")]
    TooLarge {
        /// The provider.
        url: Endpoint,
        /// The method asked.
        method: &'static str,
        /// Bytes that are read.
        max_body: usize,
    },
    /// The provider answered with an error.
    #[error("{url}: {method} answered {code}: {message}")]
    Refused {
        /// The provider.
        url: Endpoint,
        /// The method asked.
        method: &'static str,
        /// JSON-RPC's code.
        code: i64,
        /// The provider's words.
        message: String,
        /// What came with them, such as the bytes of a revert.
        data: Option<Value>,
    },
    /// An answer that cannot be the one to this question.
    #[error("{url}: {what}")]
    Untrustworthy {
        /// The provider.
        url: Endpoint,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// Whether the provider failed, so that another may do better.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Untrustworthy { .. } => true,
            Self::RateLimited { .. } | Self::TooLarge { .. } | Self::Refused { .. } => false,
        }
    }

    /// Whether it says "not so fast".
    pub(super) fn is_about_rate(&self) -> bool {
        match self {
            Self::RateLimited { .. } => true,
            Self::Refused { code, message, .. } => is_about_rate(*code, message),
            _ => false,
        }
    }

    /// How long the provider wants to be left alone, if it told.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Its kind, as it is counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::TooLarge { .. } => "too_large",
            Self::Untrustworthy { .. } => "untrustworthy",
            Self::Refused { .. } if !self.is_about_rate() => "refused",
            Self::RateLimited { .. } | Self::Refused { .. } => "rate_limited",
        }
    }
}

/// Whether a refusal says "not so fast", which tells nothing about what was asked. One of its codes also stands for
/// too large an answer, and only the words tell which.
pub fn is_about_rate(code: i64, message: &str) -> bool {
    let words = message.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|word| words.contains(word));
    if says(&["result", "range", "response size", "revert"]) {
        return false;
    }
    matches!(code, -32005 | -32029 | 429)
        || says(&["too many requests", "rate limit", "request limit", "requests per second"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_about_rate_is_told_from_one_about_size_by_its_words() {
        for (code, message, about_rate) in [
            (-32005, "limit exceeded", true),
            (-32005, "daily request count exceeded, request rate limited", true),
            (-32029, "slow down", true),
            (429, "", true),
            (-32000, "Too Many Requests", true),
            (-32007, "50/second request limit reached", true),
            (-32005, "query returned more than 10000 results", false),
            (-32005, "Query returned more than 10000 Results", false),
            (-32005, "block range is too wide", false),
            (-32000, "log response size exceeded", false),
            (-32000, "header not found", false),
            (3, "execution reverted: rate limit", false),
        ] {
            assert_eq!(is_about_rate(code, message), about_rate, "{code} {message}");
        }
    }
}
