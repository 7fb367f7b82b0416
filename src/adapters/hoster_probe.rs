//! Asks a hoster's endpoint over HTTP, under the rules of [`egress`](scatter_actors::domain::egress).
//!
//! The name is resolved here, every address of it is vetted, and the connection goes to the vetted address
//! itself, so that a name can't answer one thing to the check and another to the connection. No redirect is
//! followed, no proxy used, nothing decompressed, and only HTTP/1.1 spoken.
//!
//! The client library ends a body that was cut as if it were whole. An answer therefore has to tell its
//! length, and must keep to it; one without a length counts as none.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::error::HeaderValue;
use awc::http::header::{ACCEPT, CONTENT_LENGTH, TRANSFER_ENCODING, USER_AGENT};
use awc::{Client, Connector};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt};
use rustls::ClientConfig;
use scatter_actors::domain::egress::{Egress, Endpoint, Host, Refusal};
use scatter_actors::ports::hoster_probe::{Ask, Error, HosterProbe, Reply};
use scatter_actors::ports::Answer;

use super::http_client::AGENT;

/// What a name's addresses are; injected, so that a test can answer what a hostile name server would.
pub type Resolve = Rc<dyn Fn(String, u16) -> LocalBoxFuture<'static, io::Result<Vec<IpAddr>>>>;

/// Names the hoster that is meant, in hex.
pub const HOSTER_HEADER: &str = "scatter-hoster";
/// Names the bid that is meant, as `CHAIN:MARKET:BID`.
pub const BID_HEADER: &str = "scatter-bid";
/// Longer than any whole exchange may take: the exchange's own limit rules.
const BACKSTOP: Duration = Duration::from_secs(600);

/// The way to hosters over HTTP.
pub struct HttpProbe {
    egress: Egress,
    tls: Arc<ClientConfig>,
    resolve: Resolve,
    kept: Client,
}

impl HttpProbe {
    /// A probe that trusts the bundled certificate authorities and asks the system's resolver.
    pub fn new(egress: Egress) -> Self {
        // The client library takes the process's default; a second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = actix_tls::connect::rustls_0_23::webpki_roots_cert_store();
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self::with(egress, tls, Rc::new(|name, port| system(name, port).boxed_local()))
    }

    /// A probe with another trust store and resolver.
    pub fn with(egress: Egress, mut tls: ClientConfig, resolve: Resolve) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(tls);
        Self { egress, resolve, kept: client(&tls), tls }
    }

    async fn exchange(&self, ask: &Ask) -> Result<Reply, Error> {
        let endpoint = self.egress.endpoint(&ask.endpoint).map_err(forbidden)?;
        let addresses = match &endpoint.host {
            Host::Address(ip) => vec![*ip],
            Host::Name(name) => {
                (self.resolve)(name.clone(), endpoint.port).await.map_err(|e| unreachable(&e))?
            }
        };
        let address = self.egress.choose(&addresses, endpoint.port).map_err(forbidden)?;

        let client = if ask.fresh { client(&self.tls) } else { self.kept.clone() };
        let mut request = client
            .get(url(&endpoint, ask))
            .address(address)
            .no_decompress()
            .insert_header((USER_AGENT, AGENT))
            .insert_header((ACCEPT, "application/vnd.ipld.raw"))
            .insert_header((HOSTER_HEADER, ask.hoster.to_string()));
        if let Some(bid) = ask.bid {
            request = request.insert_header((BID_HEADER, bid.to_string()));
        }
        if ask.fresh {
            request = request.force_close();
        }
        let mut response = request.send().await.map_err(|e| unreachable(&e))?;

        let length = match body_length(response.headers()) {
            Some(length) => length,
            None => {
                return Err(unreachable(&"an answer without a length can't be told from one that was cut"))
            }
        };
        if length > ask.max_bytes {
            return Err(Error::TooLarge(ask.max_bytes));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.next().await {
            body.extend_from_slice(&chunk.map_err(|e| unreachable(&e))?);
            if body.len() as u64 > ask.max_bytes {
                return Err(Error::TooLarge(ask.max_bytes));
            }
        }
        match body.len() as u64 == length {
            true => Ok(Reply { status: response.status().as_u16(), body }),
            false => Err(unreachable(&format_args!("the answer was cut after {} bytes", body.len()))),
        }
    }
}

impl HosterProbe for HttpProbe {
    fn ask(&self, ask: Ask) -> Answer<'_, Reply, Error> {
        async move {
            let limit = Duration::from_millis(ask.timeout_ms);
            // One limit over name, connection, handshake, headers and body: a slow drip wins nothing.
            match tokio::time::timeout(limit, self.exchange(&ask)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Error::TimedOut(ask.timeout_ms)),
            }
        }
        .boxed_local()
    }
}

fn client(tls: &Arc<ClientConfig>) -> Client {
    let connector =
        Connector::new().rustls_0_23(tls.clone()).timeout(BACKSTOP).handshake_timeout(BACKSTOP).limit(64);
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

fn url(endpoint: &Endpoint, ask: &Ask) -> String {
    format!("{endpoint}/ipfs/{}?format=raw", ask.cid)
}

/// The length that the answer tells of its body; `None` where it does not, or says it in two ways.
fn body_length(headers: &awc::http::header::HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(CONTENT_LENGTH);
    let length = lengths.next().map(HeaderValue::to_str)?.ok()?.parse().ok()?;
    (lengths.next().is_none() && !headers.contains_key(TRANSFER_ENCODING)).then_some(length)
}

async fn system(name: String, port: u16) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, port)).await?.map(|address| address.ip()).collect())
}

fn forbidden(refusal: Refusal) -> Error {
    Error::Forbidden(refusal.to_string())
}

/// What went wrong, in words that may quote the stranger (its certificate's names): short and escaped.
fn unreachable(error: &dyn std::fmt::Display) -> Error {
    Error::Unreachable(error.to_string().escape_debug().take(200).collect())
}

#[cfg(test)]
mod tests;
