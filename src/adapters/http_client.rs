//! What every HTTP client here does alike: TLS by the bundled roots, HTTP/1.1, no redirects, no hidden timeouts.

use std::sync::Arc;
use std::time::Duration;

use actix_tls::connect::rustls_0_23::webpki_roots_cert_store;
use rustls::pki_types::CertificateDer;
use rustls::ClientConfig;

/// The program's name towards servers.
pub(super) const AGENT: &str = concat!("scatter/", env!("CARGO_PKG_VERSION"));

/// Longest excerpt of a stranger's text in an error, in characters.
const EXCERPT: usize = 300;

/// A client that waits `connect` for a connection, and as long again for its TLS, and keeps at most `limit` of them
/// (0: any number). Everything else that is waited for is the caller's to bound. It trusts these authorities beside the
/// bundled ones.
pub(super) fn client(
    connect: Duration,
    limit: usize,
    authorities: &[CertificateDer<'static>],
) -> awc::Client {
    // The HTTP client panics without one. It fails if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = webpki_roots_cert_store();
    roots.add_parsable_certificates(authorities.iter().cloned());
    let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // This limits it to HTTP/1.1: the builder's own limit would put another configuration in place of this one.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = awc::Connector::new().rustls_0_23(Arc::new(tls));
    awc::Client::builder()
        .connector(connector.timeout(connect).handshake_timeout(connect).limit(limit))
        .disable_redirects()
        .disable_timeout()
        .finish()
}

/// The start of a stranger's text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT).collect()
}
