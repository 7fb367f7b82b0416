//! The status server: health, readiness, metrics and a read-only API, towards the operator.
//!
//! The routes are made by [`configure`], so that the control socket serves the same ones. A node's operator
//! reads here what strangers wrote on chain, so nothing but documents is sent, and no page may run scripts of
//! others.

mod actor;
mod consortium;
#[cfg(feature = "embedded")]
pub mod embedded;
mod head_age;
mod listening;
mod providers;
mod readiness;
mod views;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::{header, StatusCode};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use scatter_actors::ports::store;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use actor::{Counting, Gauge, Ports, StatusServer};
pub use providers::Providers;
pub use readiness::{ChainNeeds, Needs, Reason};

use super::{error, Door};
use views::Shelf;

/// The actor's time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Items of a page, unless asked for otherwise, and at most.
const LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;
/// The page for people.
const DASHBOARD: &str = include_str!("status/dashboard.html");

/// A question of a worker.
#[derive(Debug, Clone, actix::Message)]
#[rtype(result = "Result<Answer, Problem>")]
pub enum Query {
    /// Does the arbiter answer?
    Alive,
    /// Is the node ready, and why not?
    Ready,
    /// All at a glance.
    Status,
    /// The metrics' page.
    Metrics,
    /// The actors.
    Actors,
    /// A page of documents; with stages, only what is at one of them.
    List(Shelf, Page, Vec<String>),
    /// One bid, by number or key.
    Bid(String),
    /// Why things about a bid or a CID are as they are.
    Why(String),
    /// The account.
    Wallet,
    /// The peers of the consortium.
    Peers,
    /// One of them, by name.
    Peer(String),
    /// What this node lists for others.
    Manifest,
}

/// Which part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Behind this key.
    pub after: Option<Vec<u8>>,
    /// At most so many.
    pub limit: usize,
    /// The largest key first.
    pub newest_first: bool,
}

/// An answer to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A document.
    Document(Value),
    /// Whether the node is ready, and the document that says why not.
    Ready(bool, Value),
    /// The metrics' page.
    Metrics(String),
}

/// Why there is no answer, in the words and codes of the command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// HTTP's status.
    pub status: u16,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The part of the request that is wrong.
    pub key: Option<String>,
}

impl Problem {
    fn usage(key: &str, message: &str) -> Self {
        Self { status: 400, code: "usage", message: message.into(), key: Some(key.into()) }
    }
    fn not_found(message: &str) -> Self {
        Self { status: 404, code: "not_found", message: message.into(), key: None }
    }
    fn unreachable(message: &str) -> Self {
        Self { status: 503, code: "unreachable", message: message.into(), key: None }
    }
    fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        error(status, self.code, &self.message, self.key.as_deref())
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        Self { status: 500, code: "data_dir", message: error.to_string(), key: None }
    }
}

/// Who may ask.
#[derive(Clone)]
pub enum Access {
    /// Whoever reaches the socket: its file mode decides.
    Open,
    /// Programs of this machine, but no web page that a name server leads here: `Host` must be a loopback name.
    Local,
    /// Who brings the token. Health and the bare verdict of readiness are for everybody.
    Token(TokenDigest),
}

/// A token's sha2-256: enough to compare with.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of that token.
    pub fn of(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret()).into())
    }
    /// Whether that is the token, in a time that does not depend on where it differs.
    fn is(&self, token: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(token).into();
        let difference = self.0.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// What the workers hold.
#[derive(Clone)]
pub struct StatusState {
    /// The way to the actor.
    pub query: Door<Query>,
    /// Who may ask.
    pub access: Access,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Anybody could read everything.
    #[error("status.listen: {0} is not a loopback address: set status.token_file")]
    Exposed(SocketAddr),
    /// The address can't be listened on.
    #[error("status.listen: {0} can't be listened on")]
    Listen(SocketAddr, #[source] io::Error),
}

/// Starts the server on a thread of its own; whoever calls drives the [`Server`]. Tells where it listens.
///
/// # Errors
/// If the address is not loopback and there is no token, or it can't be listened on.
pub fn serve(
    listen: SocketAddr,
    token: Option<&SecretString>,
    query: Door<Query>,
) -> Result<(Server, SocketAddr), StartError> {
    let access = match token {
        Some(token) => Access::Token(TokenDigest::of(token)),
        None if listen.ip().is_loopback() => Access::Local,
        None => return Err(StartError::Exposed(listen)),
    };
    let state = StatusState { query, access };
    let start = || -> io::Result<(Server, SocketAddr)> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let app = move || {
            App::new().configure(|config| configure(config, state.clone())).default_service(web::to(nothing))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .worker_max_blocking_threads(1)
            .max_connections(64)
            .shutdown_timeout(2)
            .disable_signals()
            .listen(listener)?;
        Ok((server.run(), address))
    };
    start().map_err(|error| StartError::Listen(listen, error))
}

/// Adds the routes.
pub fn configure(config: &mut ServiceConfig, state: StatusState) {
    config
        .app_data(Data::new(state))
        .route("/", web::get().to(dashboard))
        .route("/healthz", web::get().to(health))
        .route("/readyz", web::get().to(ready))
        .route("/metrics", web::get().to(metrics))
        .route("/api/v1/status", web::get().to(|r, s| ask(r, s, Query::Status)))
        .route("/api/v1/actors", web::get().to(|r, s| ask(r, s, Query::Actors)))
        .route("/api/v1/wallet", web::get().to(|r, s| ask(r, s, Query::Wallet)))
        .route("/api/v1/peers", web::get().to(|r, s| ask(r, s, Query::Peers)))
        .route("/api/v1/manifest", web::get().to(|r, s| ask(r, s, Query::Manifest)))
        .route(
            "/api/v1/peers/{name}",
            web::get().to(|r, s, p: Path<String>| ask(r, s, Query::Peer(p.into_inner()))),
        )
        .route("/api/v1/bids", web::get().to(|r, s| list(r, s, Shelf::BIDS)))
        .route("/api/v1/audits", web::get().to(|r, s| list(r, s, Shelf::AUDITS)))
        .route("/api/v1/slots", web::get().to(|r, s| list(r, s, Shelf::SLOTS)))
        .route("/api/v1/pins", web::get().to(|r, s| list(r, s, Shelf::PINS)))
        .route("/api/v1/intents", web::get().to(|r, s| list(r, s, Shelf::INTENTS)))
        .route(
            "/api/v1/bids/{id}",
            web::get().to(|r, s, p: Path<String>| ask(r, s, Query::Bid(p.into_inner()))),
        )
        .route(
            "/api/v1/why/{subject}",
            web::get().to(|r, s, p: Path<String>| ask(r, s, Query::Why(p.into_inner()))),
        );
}

/// Lets a request pass, or says why not.
fn admit(request: &HttpRequest, access: &Access) -> Result<(), Problem> {
    match access {
        Access::Open => Ok(()),
        Access::Local => {
            let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            let name = host.map(|host| {
                host.rsplit_once(':').filter(|(_, p)| !p.ends_with(']')).map_or(host, |(name, _)| name)
            });
            match name {
                Some("localhost" | "127.0.0.1" | "[::1]") => Ok(()),
                _ => Err(Problem {
                    status: 421,
                    code: "refused",
                    message: "ask for localhost, or set a token".into(),
                    key: Some("host".into()),
                }),
            }
        }
        Access::Token(digest) => {
            let given = request.headers().get(header::AUTHORIZATION).and_then(|given| given.to_str().ok());
            let token = given
                .and_then(|given| given.split_once(' '))
                .filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
            match token {
                Some((_, token)) if digest.is(token) => Ok(()),
                _ => Err(Problem {
                    status: 401,
                    code: "refused",
                    message: "a token is needed: Authorization: Bearer TOKEN".into(),
                    key: Some("authorization".into()),
                }),
            }
        }
    }
}

async fn ask(request: HttpRequest, state: Data<StatusState>, query: Query) -> HttpResponse {
    if let Err(problem) = admit(&request, &state.access) {
        return problem.into_response();
    }
    if !request.query_string().is_empty() && !matches!(query, Query::List(..)) {
        return Problem::usage("query", "this route takes no query").into_response();
    }
    answer(&state, query).await
}

async fn answer(state: &StatusState, query: Query) -> HttpResponse {
    let mut response = match state.query.ask(query, PATIENCE).await {
        Ok(Ok(Answer::Document(document))) => HttpResponse::Ok().json(document),
        Ok(Ok(Answer::Ready(true, document))) => HttpResponse::Ok().json(document),
        Ok(Ok(Answer::Ready(false, document))) => HttpResponse::ServiceUnavailable().json(document),
        Ok(Ok(Answer::Metrics(page))) => {
            HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(page)
        }
        Ok(Err(problem)) => problem.into_response(),
        Err(shut) => Problem::unreachable(&shut.to_string()).into_response(),
    };
    let no_store = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    let no_sniff = header::HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
    response
}

async fn list(request: HttpRequest, state: Data<StatusState>, shelf: Shelf) -> HttpResponse {
    match page(request.query_string()) {
        Ok((page, stages)) => ask(request, state, Query::List(shelf, page, stages)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Reads `limit`, `after`, `order` and `stage`.
fn page(query: &str) -> Result<(Page, Vec<String>), Problem> {
    let mut page = Page { after: None, limit: LIMIT, newest_first: false };
    let mut stages = Vec::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let wrong = |what| Err(Problem::usage(&key, what));
        match &*key {
            "limit" => match value.parse() {
                Ok(limit @ 1..=MAX_LIMIT) => page.limit = limit,
                _ => return wrong("a number from 1 to 1000"),
            },
            "after" => match hex::decode(value.as_bytes()) {
                Ok(after) => page.after = Some(after),
                Err(_) => return wrong("the value of next of the page before"),
            },
            "order" => match &*value {
                "asc" => page.newest_first = false,
                "desc" => page.newest_first = true,
                _ => return wrong("asc or desc"),
            },
            "stage" => stages.extend(value.split(',').map(str::to_owned)),
            _ => return wrong("unknown: limit, after, order and stage are known"),
        }
    }
    Ok((page, stages))
}

async fn health(state: Data<StatusState>) -> HttpResponse {
    answer(&state, Query::Alive).await
}

async fn ready(request: HttpRequest, state: Data<StatusState>) -> HttpResponse {
    let response = answer(&state, Query::Ready).await;
    if admit(&request, &state.access).is_ok() {
        return response;
    }
    // The verdict is for every load balancer, the reasons are not.
    let status = response.status();
    HttpResponse::build(status).json(serde_json::json!({"ready": status.is_success()}))
}

async fn metrics(request: HttpRequest, state: Data<StatusState>) -> HttpResponse {
    ask(request, state, Query::Metrics).await
}

/// What is not there is told in JSON too.
async fn nothing() -> HttpResponse {
    Problem::not_found("there is no such route").into_response()
}

/// The page for people; it shows nothing by itself, and asks the API with the token that it is given.
async fn dashboard(request: HttpRequest, state: Data<StatusState>) -> HttpResponse {
    if matches!(state.access, Access::Local) {
        if let Err(problem) = admit(&request, &state.access) {
            return problem.into_response();
        }
    }
    // Only the page's own script and style run, whatever text a stranger got onto it.
    let hash = |tag| format!("'sha256-{}'", BASE64.encode(Sha256::digest(between(DASHBOARD, tag))));
    let policy = format!(
        "default-src 'none'; connect-src 'self'; script-src {}; style-src {}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    );
    HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("text/html; charset=utf-8")
        .body(DASHBOARD)
}

/// What stands between a tag's first opening and its closing.
fn between<'a>(page: &'a str, tag: &str) -> &'a str {
    let from = page.split_once(&format!("<{tag}>")).map_or("", |(_, rest)| rest);
    from.split_once(&format!("</{tag}>")).map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests;
