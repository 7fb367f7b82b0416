//! One call of Kubo's RPC API: what is sent, and what may be believed of the answer.
//!
//! The HTTP client hides failure: a body that was cut, and one that ends with an `X-Stream-Error` trailer, both look
//! like a clean end. So the end of a body proves nothing here: an answer counts by a line that must come last, a length
//! or a hash. JSON that parses to its last brace is one such proof.

use std::fmt;
use std::time::Duration;

use actix_web::web::Bytes;
use awc::http::header::CONTENT_LENGTH;
use awc::http::StatusCode;
use awc::ClientResponse;
use cid::Cid;
use futures::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::form_urlencoded::Serializer;

use super::form::Form;
use super::{Config, Token};
use crate::adapters::http_client::{self, excerpt, AGENT};
use crate::adapters::json_rpc::Endpoint;
use scatter_actors::ports::ipfs;

/// Bytes that are read of an error.
const MAX_ERROR: usize = 64 << 10;
/// Bytes of one line of a stream at most.
const MAX_LINE: usize = 1 << 20;

/// Why a call has no answer. Kubo's words are for people: nothing is decided by them.
#[derive(Debug)]
pub(super) struct Fault {
    pub kind: Kind,
    text: String,
}

/// What is certain of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The command ran and said no: for what reason is in its words only.
    Failed,
    /// The command was not run: arguments, method or authorization.
    Refused,
    /// No answer, a broken one, or none of Kubo's.
    Broken,
    /// More bytes than were asked for.
    TooLong,
}

impl Fault {
    pub(super) fn failed(&self) -> bool {
        self.kind == Kind::Failed
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Fault> for ipfs::Error {
    fn from(fault: Fault) -> Self {
        Self::Unreachable(fault.text)
    }
}

/// Whom a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Kubo itself: it answers in milliseconds, unless it is busy.
    Kubo,
    /// The network behind Kubo: nothing comes before the content does.
    Network,
    /// Kubo, which ticks while it waits for the network.
    Ticks,
}

/// The API of one Kubo.
pub(super) struct Api {
    endpoint: Endpoint,
    base: String,
    token: Option<Token>,
    http: awc::Client,
    pub(super) config: Config,
    turns: Semaphore,
}

/// Kubo's error in a body of status 500.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Complaint {
    message: String,
    #[serde(rename = "Type")]
    _type: String,
}

impl Api {
    pub(super) fn new(endpoint: Endpoint, token: Option<Token>, config: Config) -> Self {
        let base = format!("{}/api/v0/", endpoint.request_url().trim_end_matches('/'));
        // A fetch keeps its connection until it ends: only calls that end by themselves wait for a turn.
        let http = http_client::client(config.connect, 0, &[]);
        let turns = Semaphore::new(config.max_in_flight.max(1));
        Self { endpoint, base, token, http, config, turns }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A fault of kind broken.
    pub(super) fn broken(&self, command: &str, what: impl fmt::Display) -> Fault {
        self.fault(Kind::Broken, command, what)
    }

    fn fault(&self, kind: Kind, command: &str, what: impl fmt::Display) -> Fault {
        let text = self.endpoint.redact(&excerpt(&format!("{command}: {what}")));
        Fault { kind, text: format!("{}: {text}", self.endpoint) }
    }

    /// Calls a command without a body.
    pub(super) async fn call(
        &self,
        wait: Wait,
        command: &'static str,
        args: &[(&str, &str)],
    ) -> Result<Reply<'_>, Fault> {
        self.exchange(wait, command, args, None).await
    }

    /// Calls a command with a form for its body.
    pub(super) async fn post(
        &self,
        command: &'static str,
        args: &[(&str, &str)],
        form: Form,
        wait: Wait,
    ) -> Result<Reply<'_>, Fault> {
        self.exchange(wait, command, args, Some(form)).await
    }

    /// Calls a command about one CID whose answer is one JSON value.
    pub(super) async fn of<T: DeserializeOwned>(
        &self,
        command: &'static str,
        cid: &Cid,
        args: &[(&str, &str)],
    ) -> Result<T, Fault> {
        let cid = cid.to_string();
        let args: Vec<_> = [("arg", cid.as_str())].into_iter().chain(args.iter().copied()).collect();
        self.call(Wait::Kubo, command, &args).await?.json(MAX_LINE).await
    }

    async fn exchange(
        &self,
        wait: Wait,
        command: &'static str,
        args: &[(&str, &str)],
        form: Option<Form>,
    ) -> Result<Reply<'_>, Fault> {
        let turn = match wait {
            Wait::Kubo => self.turns.acquire().await.ok(),
            Wait::Network | Wait::Ticks => None,
        };
        let mut url = format!("{}{command}", self.base);
        if !args.is_empty() {
            url.push('?');
            url.push_str(&Serializer::new(String::new()).extend_pairs(args).finish());
        }
        let mut request = self.http.post(url).no_decompress().insert_header(("user-agent", AGENT));
        if let Some(token) = &self.token {
            request = request.insert_header(("authorization", token.header().expose_secret()));
        } else if let Some((user, password)) = self.endpoint.login() {
            request = request.basic_auth(user, password);
        }
        let patience = self.patience(wait);
        let late = || self.broken(command, format_args!("no answer in {patience:?}"));
        let sent = match form {
            None => tokio::time::timeout(patience, request.send()).await.map_err(|_| late())?,
            Some(form) => {
                request = request.insert_header(("content-type", form.content_type()));
                let moved = form.moved();
                let sending = request.send_stream(form.into_stream());
                moved.watch(patience, sending).await.ok_or_else(late)?
            }
        };
        let response = sent.map_err(|e| self.broken(command, e))?;
        let status = response.status();
        let reply =
            Reply { api: self, command, idle: self.idle(wait), response, buffer: Vec::new(), _turn: turn };
        match status {
            StatusCode::OK => Ok(reply),
            _ => Err(reply.refusal(status).await),
        }
    }

    fn patience(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Kubo => self.config.request,
            Wait::Network => self.config.network,
            Wait::Ticks => self.config.idle,
        }
    }

    fn idle(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Network => self.config.network,
            Wait::Kubo | Wait::Ticks => self.config.idle,
        }
    }
}

impl Token {
    /// The value of the header that carries it.
    fn header(&self) -> &SecretString {
        &self.0
    }
}

/// An answer with status 200 whose body is still to come.
pub(super) struct Reply<'a> {
    api: &'a Api,
    command: &'static str,
    idle: Duration,
    response: ClientResponse,
    buffer: Vec<u8>,
    _turn: Option<SemaphorePermit<'a>>,
}

impl Reply<'_> {
    fn broken(&self, what: impl fmt::Display) -> Fault {
        self.api.broken(self.command, what)
    }

    /// The number in a header.
    pub(super) fn number(&self, header: &str) -> Option<u64> {
        self.response.headers().get(header)?.to_str().ok()?.parse().ok()
    }

    /// The next piece of the body; `None` at its end, which may be where it was cut.
    async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        match tokio::time::timeout(self.idle, self.response.next()).await {
            Ok(piece) => piece.transpose().map_err(|e| self.broken(e)),
            Err(_) => Err(self.broken(format_args!("silent for {:?}", self.idle))),
        }
    }

    /// The body to its end, which the caller has to prove to be one.
    pub(super) async fn bytes(mut self, cap: usize) -> Result<Vec<u8>, Fault> {
        let length = self.number(CONTENT_LENGTH.as_str());
        let long =
            |api: &Api, command| api.fault(Kind::TooLong, command, format_args!("more than {cap} bytes"));
        if length.is_some_and(|length| length > cap as u64) {
            return Err(long(self.api, self.command));
        }
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            if whole.len() + piece.len() > cap {
                return Err(long(self.api, self.command));
            }
            whole.extend_from_slice(&piece);
        }
        match length {
            Some(length) if length != whole.len() as u64 => {
                Err(self.broken(format_args!("cut after {} of {length} bytes", whole.len())))
            }
            _ => Ok(whole),
        }
    }

    /// The body as one JSON value, nothing before or after it.
    pub(super) async fn json<T: DeserializeOwned>(self, cap: usize) -> Result<T, Fault> {
        let (api, command) = (self.api, self.command);
        let body = self.bytes(cap).await?;
        serde_json::from_slice(&body)
            .map_err(|e| api.broken(command, format_args!("{e}: {}", String::from_utf8_lossy(&body))))
    }

    /// The next line of a body of JSON lines; `None` at its end, which may be where it was cut.
    pub(super) async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Fault> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|e| self.broken(format_args!("{e}: {}", String::from_utf8_lossy(&line))));
            }
            match self.piece().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                // What is left over is a line that was cut.
                None => return Ok(None),
            }
            if self.buffer.len() > MAX_LINE {
                return Err(self.broken("a line without an end"));
            }
        }
    }

    /// Reads what is left after the line that proves success, so that the connection can serve another call.
    pub(super) async fn finish(mut self) {
        let mut left = MAX_ERROR;
        while let Ok(Some(piece)) = self.piece().await {
            match left.checked_sub(piece.len()) {
                Some(less) => left = less,
                None => break,
            }
        }
    }

    async fn refusal(self, status: StatusCode) -> Fault {
        let (api, command) = (self.api, self.command);
        let body = self.bytes(MAX_ERROR).await.unwrap_or_default();
        let complaint = serde_json::from_slice::<Complaint>(&body);
        let words = String::from_utf8_lossy(&body);
        let told = |kind, hint: &str| api.fault(kind, command, format_args!("HTTP {status}{hint}: {words}"));
        match (status, complaint) {
            (StatusCode::INTERNAL_SERVER_ERROR, Ok(complaint)) => {
                api.fault(Kind::Failed, command, complaint.message)
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                told(Kind::Refused, " (is the token one of its API.Authorizations?)")
            }
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _) => {
                told(Kind::Refused, " (is this Kubo's RPC API?)")
            }
            (StatusCode::BAD_REQUEST, _) => told(Kind::Refused, ""),
            _ => told(Kind::Broken, ""),
        }
    }
}
