//! JSON-RPC 2.0 over HTTP, asked of one provider.
//!
//! Distrustful by design. Every wait has an end; HTTP status and id are checked; a body that was cut short is found
//! because its JSON does not parse, since the HTTP client calls that a clean end. What a provider says of a failure is
//! kept, because its words tell how to ask less, while a URL's credentials never reach an error or a log.
//!
//! A [`Client`] is the place where several providers can stand behind one later: every error names its own URL.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use awc::http::StatusCode;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{json, Value};
use tokio::time::timeout;

mod endpoint;

pub use endpoint::{BadUrl, Endpoint};

/// Longest excerpt of a stranger's text in an error, in characters.
const EXCERPT: usize = 300;
/// Most questions in one HTTP request: providers' own limits start at about this number.
const MAX_BATCH: usize = 50;

/// How long to wait and how much to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Until the connection stands, name resolution included; the TLS handshake may take as long again.
    pub connect: Duration,
    /// Until the answer starts, and between two pieces of it.
    pub idle: Duration,
    /// For a whole exchange.
    pub total: Duration,
    /// Bytes of an answer's body at most.
    pub max_body: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(60),
            max_body: 64 << 20,
        }
    }
}

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

/// One question of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its method.
    pub method: &'static str,
    /// Its parameters, an array.
    pub params: Value,
}

impl Request {
    /// A question.
    pub fn new(method: &'static str, params: Value) -> Self {
        Self { method, params }
    }
}

/// A result that has not been read yet.
pub type Raw = Box<RawValue>;

/// A client of one provider. Not `Send`: it lives on the actors' arbiter.
pub struct Client {
    endpoint: Endpoint,
    http: awc::Client,
    config: Config,
    next_id: Cell<u64>,
    /// Whether the provider has refused a batch: from then on it is asked one question at a time.
    one_by_one: Cell<bool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).field("config", &self.config).finish()
    }
}

#[derive(Serialize)]
struct Question<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: &'a Value,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    id: Value,
    /// `None` if it is missing, `null` being an answer.
    #[serde(default, deserialize_with = "present")]
    result: Option<Raw>,
    #[serde(default)]
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Raw>, D::Error> {
    Raw::deserialize(d).map(Some)
}

impl Client {
    /// A client of the provider at `url` (http or https, with whatever credentials it needs in it).
    ///
    /// # Errors
    /// If that is no such URL.
    pub fn new(url: &str, config: Config) -> Result<Self, BadUrl> {
        let endpoint: Endpoint = url.parse()?;
        // The HTTP client panics without one. It fails if there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connector = awc::Connector::new().timeout(config.connect).handshake_timeout(config.connect);
        let http = awc::Client::builder()
            .connector(connector)
            .max_http_version(awc::http::Version::HTTP_11)
            .disable_redirects()
            .disable_timeout()
            .finish();
        Ok(Self { endpoint, http, config, next_id: Cell::new(1), one_by_one: Cell::new(false) })
    }

    /// The provider, as it may be shown.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks for something that must be there.
    ///
    /// # Errors
    /// As [`Error`] tells; `null` is [`Error::Untrustworthy`].
    pub async fn call<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, Error> {
        self.find(method, params).await?.ok_or_else(|| self.distrust(format!("{method} answered null")))
    }

    /// Asks for something that may be `null`.
    ///
    /// # Errors
    /// As [`Error`] tells.
    pub async fn find<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Option<T>, Error> {
        let raw = self.ask(&Request::new(method, params)).await?;
        self.read(method, &raw)
    }

    /// Asks several questions in as few exchanges as the provider allows; the answers are in the order of the questions.
    ///
    /// # Errors
    /// The outer one if an exchange failed, the inner one if a single question did.
    pub async fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Raw, Error>>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        for part in requests.chunks(MAX_BATCH) {
            if part.len() > 1 && !self.one_by_one.get() {
                match self.ask_all(part).await {
                    Err(Error::Refused { code, message, .. }) => {
                        tracing::info!(url = %self.endpoint, code, message, "provider refuses batches");
                        self.one_by_one.set(true);
                    }
                    other => {
                        answers.extend(other?);
                        continue;
                    }
                }
            }
            for request in part {
                answers.push(match self.ask(request).await {
                    Err(refused @ Error::Refused { .. }) => Err(refused),
                    other => Ok(other?),
                });
            }
        }
        Ok(answers)
    }

    /// Reads a result; `null` is `None`.
    ///
    /// # Errors
    /// If it is not of that form.
    pub fn read<T: DeserializeOwned>(
        &self,
        method: &'static str,
        raw: &RawValue,
    ) -> Result<Option<T>, Error> {
        serde_json::from_str(raw.get())
            .map_err(|e| self.unreachable(format!("{method}: {e}: {}", excerpt(raw.get()))))
    }

    /// An [`Error::Untrustworthy`] of this provider.
    pub fn distrust(&self, what: impl Into<String>) -> Error {
        Error::Untrustworthy { url: self.endpoint.clone(), what: what.into() }
    }

    fn unreachable(&self, what: impl AsRef<str>) -> Error {
        Error::Unreachable { url: self.endpoint.clone(), what: self.endpoint.redact(what.as_ref()) }
    }

    fn refused(&self, method: &'static str, complaint: Complaint) -> Error {
        Error::Refused {
            url: self.endpoint.clone(),
            method,
            code: complaint.code,
            message: self.endpoint.redact(&complaint.message),
            data: complaint.data,
        }
    }

    fn question<'a>(&self, request: &'a Request) -> Question<'a> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Question { jsonrpc: "2.0", id, method: request.method, params: &request.params }
    }

    async fn ask(&self, request: &Request) -> Result<Raw, Error> {
        let question = self.question(request);
        let body = self.exchange(question.method, &json!(question)).await?;
        let reply: Reply = self.parse(question.method, &body)?;
        if reply.id != question.id {
            let words = reply.error.map(|e| format!(": {}", e.message)).unwrap_or_default();
            let what = format!("{} got the answer to {}{words}", question.method, reply.id);
            return Err(self.distrust(self.endpoint.redact(&what)));
        }
        self.settle(question.method, reply)
    }

    async fn ask_all(&self, requests: &[Request]) -> Result<Vec<Result<Raw, Error>>, Error> {
        let questions: Vec<_> = requests.iter().map(|request| self.question(request)).collect();
        let body = self.exchange("batch", &json!(questions)).await?;
        if body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'[') {
            let reply: Reply = self.parse("batch", &body)?;
            return Err(match reply.error {
                Some(complaint) => self.refused("batch", complaint),
                None => self.distrust("a batch got a single answer"),
            });
        }
        let mut replies: Vec<Reply> = self.parse("batch", &body)?;
        if replies.len() < questions.len() {
            // Some clients refuse a batch by one error in place of all answers.
            if let Some(complaint) = replies.iter_mut().find_map(|reply| reply.error.take()) {
                return Err(self.refused("batch", complaint));
            }
        }
        let mut answers: Vec<Option<Result<Raw, Error>>> = questions.iter().map(|_| None).collect();
        for reply in replies {
            let place = questions.iter().position(|question| reply.id == question.id);
            match place.and_then(|place| Some((questions.get(place)?, answers.get_mut(place)?))) {
                Some((question, slot @ None)) => *slot = Some(self.settle(question.method, reply)),
                _ => return Err(self.distrust(format!("a batch got the answer to {}", reply.id))),
            }
        }
        answers.into_iter().collect::<Option<_>>().ok_or_else(|| self.distrust("a batch got too few answers"))
    }

    fn settle(&self, method: &'static str, reply: Reply) -> Result<Raw, Error> {
        match (reply.error, reply.result) {
            (Some(complaint), _) => Err(self.refused(method, complaint)),
            (None, Some(result)) => Ok(result),
            (None, None) => Err(self.distrust(format!("{method} answered neither result nor error"))),
        }
    }

    fn parse<T: DeserializeOwned>(&self, method: &str, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|e| {
            let words = excerpt(&String::from_utf8_lossy(body));
            self.unreachable(format!("{method}: {e} in {} bytes: {words}", body.len()))
        })
    }

    /// Sends one body and gives the whole answer of a success.
    async fn exchange(&self, method: &'static str, body: &Value) -> Result<Vec<u8>, Error> {
        let exchange = timeout(self.config.total, self.send(method, body));
        let (status, body) = exchange.await.map_err(|_| {
            self.unreachable(format!("{method}: no whole answer in {:?}", self.config.total))
        })??;
        if status.is_success() {
            return Ok(body);
        }
        // Providers put their errors, and the limits that they tell of, under various statuses.
        if let Ok(Reply { error: Some(complaint), .. }) = serde_json::from_slice(&body) {
            if status != StatusCode::TOO_MANY_REQUESTS {
                return Err(self.refused(method, complaint));
            }
        }
        let words = excerpt(&String::from_utf8_lossy(&body));
        Err(self.unreachable(format!("{method}: HTTP {status}: {words}")))
    }

    async fn send(&self, method: &'static str, body: &Value) -> Result<(StatusCode, Vec<u8>), Error> {
        let idle = || self.unreachable(format!("{method}: silent for {:?}", self.config.idle));
        let mut request = self
            .http
            .post(self.endpoint.request_url())
            .insert_header(("content-type", "application/json"))
            .insert_header(("user-agent", concat!("scatter/", env!("CARGO_PKG_VERSION"))));
        if let Some((user, password)) = self.endpoint.login() {
            request = request.basic_auth(user, password);
        }
        let mut response = timeout(self.config.idle, request.send_body(body.to_string()))
            .await
            .map_err(|_| idle())?
            .map_err(|e| self.unreachable(format!("{method}: {e}")))?;
        let mut whole = Vec::new();
        while let Some(piece) = timeout(self.config.idle, response.next()).await.map_err(|_| idle())? {
            let piece = piece.map_err(|e| self.unreachable(format!("{method}: {e}")))?;
            if whole.len() + piece.len() > self.config.max_body {
                return Err(self.unreachable(format!(
                    "{method}: an answer of more than {} bytes",
                    self.config.max_body
                )));
            }
            whole.extend_from_slice(&piece);
        }
        Ok((response.status(), whole))
    }
}

/// The start of a stranger's text, on one line.
fn excerpt(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT).collect()
}

#[cfg(test)]
mod tests;
