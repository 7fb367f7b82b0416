//! What every HTTP client here does alike: TLS by the bundled roots, HTTP/1.1, no redirects, no hidden timeouts.

use std::time::Duration;

/// The program's name towards servers.
pub(super) const AGENT: &str = concat!("scatter/", env!("CARGO_PKG_VERSION"));

/// Longest excerpt of a stranger's text in an error, in characters.
const EXCERPT: usize = 300;

/// A client that waits `connect` for a connection, and as long again for its TLS, and keeps at most `limit` of them
/// (0: any number). Everything else that is waited for is the caller's to bound.
pub(super) fn client(connect: Duration, limit: usize) -> awc::Client {
    // The HTTP client panics without one. It fails if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let connector = awc::Connector::new().timeout(connect).handshake_timeout(connect).limit(limit);
    awc::Client::builder()
        .connector(connector)
        .max_http_version(awc::http::Version::HTTP_11)
        .disable_redirects()
        .disable_timeout()
        .finish()
}

/// The start of a stranger's text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT).collect()
}
