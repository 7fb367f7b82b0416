//! The firewall's HTTP side: reads requests into values, asks the actor, sends what it gives.
//!
//! Everything that is not a [`Request`](scatter_actors::domain::requests::Request) ends here. Against clients
//! that take their time: each request has its own connection, since the HTTP library bounds the time for a
//! head only on a connection's first; a source has a few connections; an answer that is read too slowly is
//! cut, and one that is not read at all too (`TCP_USER_TIMEOUT`).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Extensions, Server};
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{KeepAlive, StatusCode};
use actix_web::rt::net::TcpStream;
use actix_web::web::{Bytes, Data};
use actix_web::{web, App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_tcp_user_timeout};
use scatter_actors::domain::limits::Source;
use scatter_actors::domain::requests::{self, Question, Received, Rejection};
use scatter_actors::firewall::{Ask, Content, Permit, Reply};
use tokio::time::Instant;

use super::{error, error_body, Door};
use crate::adapters::hoster_probe::{BID_HEADER, HOSTER_HEADER};

/// More headers, or more bytes of them, than any client of ours sends.
const MAX_HEADERS: usize = 32;
const MAX_HEADER_BYTES: usize = 8 << 10;
/// So much of an answer is handed over at once.
const CHUNK: usize = 64 << 10;
/// So much of an answer the kernel keeps for a client: what is there is out of our hands and costs memory.
const SEND_BUFFER: usize = 128 << 10;
/// The answer's time in the actor: the backend's own limit is shorter.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the firewall is reached.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The one name by which it may be addressed; any where it is absent.
    pub public_name: Option<String>,
    /// Reverse proxies whose `X-Forwarded-For` tells who asks.
    pub trusted_proxies: Vec<IpAddr>,
    /// Connections at once, from one source and in all. A trusted proxy may use them all.
    pub connections_per_source: u32,
    /// Connections at once in all.
    pub connections: usize,
    /// Time for a client to send a request's head.
    pub head_time: Duration,
    /// Time for a client to read its answer.
    pub answer_time: Duration,
    /// With it TLS is spoken here; without it a reverse proxy speaks it.
    pub tls: Option<rustls::ServerConfig>,
}

impl Config {
    /// The defaults on that address: 16 connections a source and 256 in all, 5 s for a head, 60 s for an answer.
    pub fn on(listen: SocketAddr) -> Self {
        Self {
            listen,
            public_name: None,
            trusted_proxies: Vec::new(),
            connections_per_source: 16,
            connections: 256,
            head_time: Duration::from_secs(5),
            answer_time: Duration::from_secs(60),
            tls: None,
        }
    }
}

/// Answers so far, by their status's first digit.
#[derive(Debug, Default)]
pub struct Traffic([AtomicU64; 6]);

impl Traffic {
    fn count(&self, status: StatusCode) {
        if let Some(class) = self.0.get(usize::from(status.as_u16() / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }
    /// How many answers had a status of that first digit.
    pub fn of_class(&self, digit: usize) -> u64 {
        self.0.get(digit).map_or(0, |class| class.load(Ordering::Relaxed))
    }
}

/// A running firewall.
pub struct Running {
    /// Drives the server; stop it by its handle.
    pub server: Server,
    /// Where it listens in fact.
    pub address: SocketAddr,
    /// What it counts.
    pub traffic: Arc<Traffic>,
}

struct State {
    door: Door<Ask>,
    config: Config,
    traffic: Arc<Traffic>,
}

/// Starts the server on a thread of its own; whoever calls drives [`Running::server`].
///
/// # Errors
/// If the address can't be listened on.
pub fn serve(config: Config, door: Door<Ask>) -> io::Result<Running> {
    let listener = TcpListener::bind(config.listen)?;
    let address = listener.local_addr()?;
    // Connections inherit it: one whose peer acknowledges nothing for so long is cut.
    let unread = u32::try_from(config.answer_time.as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(&listener, unread)?;
    set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    let traffic = Arc::<Traffic>::default();
    let state = Data::new(State { door, config: config.clone(), traffic: Arc::clone(&traffic) });
    let places = Arc::new(Places::of(&config));
    let http = HttpServer::new(move || App::new().app_data(state.clone()).default_service(web::to(answer)))
        .workers(1)
        .worker_max_blocking_threads(1)
        .max_connections(config.connections)
        .keep_alive(KeepAlive::Disabled)
        .client_request_timeout(config.head_time)
        .client_disconnect_timeout(config.head_time)
        .tls_handshake_timeout(config.head_time)
        .shutdown_timeout(5)
        .disable_signals()
        .on_connect(move |io, extensions| places.take(io, extensions));
    let http = match config.tls {
        Some(tls) => http.listen_rustls_0_23(listener, tls)?,
        None => http.listen(listener)?,
    };
    Ok(Running { server: http.run(), address, traffic })
}

/// The connections that each source has open.
struct Places {
    per_source: u32,
    proxies: Vec<IpAddr>,
    open: Mutex<BTreeMap<Source, u32>>,
}

/// A connection's place, given back when the connection ends.
struct Place {
    places: Arc<Places>,
    source: Source,
}

impl Places {
    fn of(config: &Config) -> Self {
        let (per_source, proxies) = (config.connections_per_source, config.trusted_proxies.clone());
        Self { per_source, proxies, open: Mutex::default() }
    }

    /// Gives a fresh connection its place, or hangs up on it.
    fn take(self: &Arc<Self>, io: &dyn std::any::Any, extensions: &mut Extensions) {
        type Tls = actix_tls::accept::rustls_0_23::TlsStream<TcpStream>;
        let plain = io.downcast_ref::<TcpStream>();
        let Some(stream) = plain.or_else(|| io.downcast_ref::<Tls>().map(|tls| tls.get_ref().0)) else {
            return;
        };
        let Ok(peer) = stream.peer_addr() else { return };
        if self.proxies.contains(&peer.ip().to_canonical()) {
            return;
        }
        let source = Source::from(peer.ip());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_insert(0);
        *count += 1;
        if *count > self.per_source {
            // The server then reads the end of the connection, and ends it.
            let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Both);
        }
        extensions.insert(Place { places: Arc::clone(self), source });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.source);
            }
        }
    }
}

async fn answer(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let response = match read(&request, &state.config) {
        Ok(ask) => match state.door.ask(ask, PATIENCE).await {
            Ok(reply) => respond(reply, &ask, state.config.answer_time),
            Err(shut) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &shut.to_string(), None),
        },
        Err(refused) => *refused,
    };
    state.traffic.count(response.status());
    response
}

/// Reads a request into a question, or answers it at once.
fn read(request: &HttpRequest, config: &Config) -> Result<Ask, Box<HttpResponse>> {
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Box::new(error(status, "headers_too_large", "too many or too long headers", None)));
    }
    if !is_addressed_to(request, config.public_name.as_deref()) {
        let what = "this is not the host that was asked for";
        return Err(Box::new(error(StatusCode::MISDIRECTED_REQUEST, "not_ours", what, None)));
    }
    let uri = request.uri();
    let target = match (uri.authority(), uri.path_and_query()) {
        (None, Some(target)) => target.as_str(),
        _ => return Err(Box::new(rejection(Rejection::Malformed("the target must begin with a slash")))),
    };
    let received = Received {
        method: request.method().as_str(),
        target,
        hosters: &texts(headers, HOSTER_HEADER),
        bids: &texts(headers, BID_HEADER),
        has_body: has_body(headers),
    };
    let request_read = requests::read(received).map_err(|r| Box::new(rejection(r)))?;
    let from = source(request, &config.trusted_proxies);
    let unknown = || Box::new(rejection(Rejection::Malformed("nobody asks")));
    Ok(Ask { request: request_read, from: from.ok_or_else(unknown)? })
}

/// A header's values; one that is no text reads as an empty one, which no header of ours is.
fn texts<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).map(|value| value.to_str().unwrap_or_default()).collect()
}

fn has_body(headers: &HeaderMap) -> bool {
    let empty = texts(headers, "content-length").iter().all(|length| *length == "0");
    !empty || headers.contains_key(header::TRANSFER_ENCODING) || headers.contains_key(header::UPGRADE)
}

fn is_addressed_to(request: &HttpRequest, name: Option<&str>) -> bool {
    let hosts = texts(request.headers(), "host");
    match (hosts.as_slice(), name) {
        ([], None) | ([_], None) => true,
        ([host], Some(name)) => {
            let host = host.rsplit_once(':').map_or(*host, |(host, _)| host);
            host.eq_ignore_ascii_case(name)
        }
        _ => false,
    }
}

/// Who asks: the peer, or what a trusted proxy says last of it.
fn source(request: &HttpRequest, proxies: &[IpAddr]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    if !proxies.contains(&peer) {
        return Some(peer);
    }
    let forwarded = texts(request.headers(), "x-forwarded-for");
    let last = forwarded.last().and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
    Some(last.unwrap_or(peer))
}

fn rejection(rejection: Rejection) -> HttpResponse {
    let (status, code) = match rejection {
        Rejection::NoRoute => (StatusCode::NOT_FOUND, "no_route"),
        Rejection::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Rejection::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
        Rejection::TooLong => (StatusCode::URI_TOO_LONG, "uri_too_long"),
    };
    let mut response = error(status, code, &rejection.to_string(), None);
    if let Rejection::Method(allowed) = rejection {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    }
    response
}

fn respond(reply: Reply, ask: &Ask, time: Duration) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::from_u16(reply.status).unwrap_or_default());
    if let Some(seconds) = reply.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    let (bytes, length) = match reply.content {
        Content::Empty => {
            block_headers(&mut response, requests::PROBE);
            (Bytes::new(), 0)
        }
        Content::Block(cid, bytes) => {
            block_headers(&mut response, &cid.to_string());
            let length = bytes.len() as u64;
            (bytes.into(), length)
        }
        Content::Length(cid, length) => {
            block_headers(&mut response, &cid.to_string());
            (Bytes::new(), length)
        }
        Content::Json(bytes) => {
            response.insert_header((header::CACHE_CONTROL, "no-store"));
            response.content_type("application/json");
            let length = bytes.len() as u64;
            (bytes.into(), length)
        }
        Content::Refusal(code) => {
            response.insert_header((header::CACHE_CONTROL, "no-store"));
            response.content_type("application/json");
            let bytes = error_body(code, "the question is not answered", None).to_string();
            let length = bytes.len() as u64;
            // To a HEAD an error tells its length alone.
            (if is_head(ask) { Bytes::new() } else { bytes.into() }, length)
        }
    };
    response.body(Body { bytes, length, until: Instant::now() + time, _permit: reply.permit })
}

fn is_head(ask: &Ask) -> bool {
    matches!(ask.request.question, Question::RawHead(_))
}

/// What a gateway says of a block: it never changes, and no browser is to make anything of it.
fn block_headers(response: &mut HttpResponseBuilder, cid: &str) {
    response.content_type("application/vnd.ipld.raw");
    response.insert_header((header::CACHE_CONTROL, "public, max-age=29030400, immutable"));
    response.insert_header((header::ETAG, format!("\"{cid}.raw\"")));
    response.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{cid}.bin\"")));
    response.insert_header(("x-ipfs-path", format!("/ipfs/{cid}")));
}

/// An answer on its way: ends when its time is over, and keeps its place until then.
struct Body {
    bytes: Bytes,
    length: u64,
    until: Instant,
    _permit: Option<Permit>,
}

impl MessageBody for Body {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        if this.bytes.is_empty() {
            return Poll::Ready(None);
        }
        if Instant::now() > this.until {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let chunk = this.bytes.split_to(this.bytes.len().min(CHUNK));
        Poll::Ready(Some(Ok(chunk)))
    }
}

#[cfg(test)]
mod tests;
