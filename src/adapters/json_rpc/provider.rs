//! One provider: HTTP exchanges, ids, and what may go wrong with them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use awc::http::header::{HeaderMap, HttpDate, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT};
use awc::http::StatusCode;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::rate::{self, Rate};
use super::{excerpt, is_about_rate, Config, Endpoint, Error, Raw, Request};
use crate::adapters::http_client::AGENT;

/// Bytes of an announced body for which room is made before it comes: it may never come.
const TRUSTED_LENGTH: usize = 1 << 20;

/// What one question got.
pub(super) type Answer = Result<Raw, Error>;

/// A provider and what is known of how to ask it.
pub(super) struct Provider {
    pub(super) endpoint: Endpoint,
    pub(super) rate: RefCell<Rate>,
    pub(super) counts: RefCell<Counts>,
    /// Whether it has refused a batch: from then on it is asked one question at a time.
    one_by_one: Cell<bool>,
    http: awc::Client,
    config: Config,
    next_id: Cell<u64>,
}

/// What became of exchanges since the start.
#[derive(Default)]
pub(super) struct Counts {
    /// Questions.
    pub(super) requests: u64,
    /// Errors by kind.
    pub(super) errors: BTreeMap<&'static str, u64>,
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

impl Provider {
    pub(super) fn new(endpoint: Endpoint, http: awc::Client, config: Config) -> Self {
        let (rate, counts) = Default::default();
        Self { endpoint, rate, counts, one_by_one: Cell::new(false), http, config, next_id: Cell::new(1) }
    }

    pub(super) fn distrust(&self, what: impl AsRef<str>) -> Error {
        Error::Untrustworthy { url: self.endpoint.clone(), what: self.endpoint.redact(what.as_ref()) }
    }

    pub(super) fn unreachable(&self, what: impl AsRef<str>) -> Error {
        Error::Unreachable { url: self.endpoint.clone(), what: self.endpoint.redact(what.as_ref()) }
    }

    pub(super) fn rate_limited(&self, what: &str, wait: Wait) -> Error {
        Error::RateLimited { url: self.endpoint.clone(), what: self.endpoint.redact(what), wait }
    }

    fn timed_out(&self, what: String) -> Error {
        Error::TimedOut { url: self.endpoint.clone(), what }
    }

    fn refused(&self, method: &'static str, complaint: Complaint) -> Error {
        Error::Refused {
            url: self.endpoint.clone(),
            method,
            code: complaint.code,
            message: self.endpoint.redact(&complaint.message),
            data: complaint.data.and_then(|data| {
                let (text, clean) = (data.to_string(), self.endpoint.redact(&data.to_string()));
                if clean == text {
                    Some(data)
                } else {
                    serde_json::from_str(&clean).ok()
                }
            }),
        }
    }

    /// Counts an exchange.
    pub(super) fn count(&self, requests: usize, outcome: &Result<Vec<Answer>, Error>) {
        let mut counts = self.counts.borrow_mut();
        counts.requests += requests as u64;
        let errors: Vec<_> = match outcome {
            Ok(answers) => answers.iter().filter_map(|answer| answer.as_ref().err()).collect(),
            Err(error) => vec![error],
        };
        for error in errors {
            *counts.errors.entry(error.kind()).or_default() += 1;
        }
    }

    fn question<'a>(&self, request: &'a Request) -> Question<'a> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Question { jsonrpc: "2.0", id, method: request.method, params: &request.params }
    }

    /// Asks at most [`MAX_BATCH`](super::MAX_BATCH) questions: in one exchange, or one by one where the provider wants that.
    pub(super) async fn answer(&self, part: &[Request]) -> Result<Vec<Answer>, Error> {
        if part.len() > 1 && !self.one_by_one.get() {
            match self.several(part).await {
                Err(Error::Refused { code, message, .. }) if !is_about_rate(code, &message) => {
                    tracing::info!(url = %self.endpoint, code, message, "a provider refuses batches");
                    self.one_by_one.set(true);
                }
                other => return other,
            }
        }
        let mut answers = Vec::with_capacity(part.len());
        for request in part {
            answers.push(match self.single(request).await {
                Err(refused @ Error::Refused { .. }) => Err(refused),
                other => Ok(other?),
            });
        }
        Ok(answers)
    }

    /// Asks one question.
    async fn single(&self, request: &Request) -> Result<Raw, Error> {
        let question = self.question(request);
        let body = self.exchange(question.method, &question).await?;
        let reply: Reply = self.parse(question.method, &body)?;
        if reply.id != question.id {
            let words = reply.error.map(|e| format!(": {}", e.message)).unwrap_or_default();
            let what = format!("{} got the answer to {}{words}", question.method, reply.id);
            return Err(self.distrust(excerpt(&what)));
        }
        self.settle(question.method, reply)
    }

    /// Asks several questions in one exchange; the outer error may be the provider's refusal of the batch.
    async fn several(&self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let questions: Vec<_> = requests.iter().map(|request| self.question(request)).collect();
        let body = self.exchange("batch", &questions).await?;
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
        let mut answers: Vec<Option<Answer>> = questions.iter().map(|_| None).collect();
        for reply in replies {
            let place = questions.iter().position(|question| reply.id == question.id);
            match place.and_then(|place| Some((questions.get(place)?, answers.get_mut(place)?))) {
                Some((question, slot @ None)) => *slot = Some(self.settle(question.method, reply)),
                _ => return Err(self.distrust(excerpt(&format!("a batch got the answer to {}", reply.id)))),
            }
        }
        answers.into_iter().collect::<Option<_>>().ok_or_else(|| self.distrust("a batch got too few answers"))
    }

    fn settle(&self, method: &'static str, reply: Reply) -> Answer {
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
    async fn exchange(&self, method: &'static str, body: &impl Serialize) -> Result<Vec<u8>, Error> {
        let body = serde_json::to_vec(body).map_err(|e| self.unreachable(format!("{method}: {e}")))?;
        let total = self.config.total;
        let late = |_| self.timed_out(format!("{method}: no whole answer in {total:?}"));
        let (status, wait, body) = timeout(total, self.send(method, body)).await.map_err(late)??;
        if status.is_success() {
            return Ok(body);
        }
        let is_limited = status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::SERVICE_UNAVAILABLE && wait.is_some();
        // Providers put their errors, and the limits that they tell of, under various statuses.
        if let (false, Ok(Reply { error: Some(complaint), .. })) = (is_limited, serde_json::from_slice(&body))
        {
            return Err(self.refused(method, complaint));
        }
        let words = excerpt(&String::from_utf8_lossy(&body));
        let what = format!("{method}: HTTP {status}: {words}");
        Err(if is_limited { self.rate_limited(&what, wait) } else { self.unreachable(what) })
    }

    async fn send(&self, method: &'static str, body: Vec<u8>) -> Result<(StatusCode, Wait, Vec<u8>), Error> {
        let Config { idle, max_body, .. } = self.config;
        let silent = |_| self.timed_out(format!("{method}: silent for {idle:?}"));
        let mut request = self
            .http
            .post(self.endpoint.request_url())
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header((USER_AGENT, AGENT));
        if let Some((user, password)) = self.endpoint.login() {
            request = request.basic_auth(user, password);
        }
        let mut response = timeout(idle, request.send_body(body))
            .await
            .map_err(silent)?
            .map_err(|e| self.unreachable(format!("{method}: {e}")))?;
        let announced =
            response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut whole = Vec::with_capacity(announced.unwrap_or(0).min(max_body).min(TRUSTED_LENGTH));
        while let Some(piece) = timeout(idle, response.next()).await.map_err(silent)? {
            let piece = piece.map_err(|e| self.unreachable(format!("{method}: {e}")))?;
            if whole.len() + piece.len() > max_body {
                return Err(Error::TooLarge { url: self.endpoint.clone(), method, max_body });
            }
            whole.extend_from_slice(&piece);
        }
        Ok((response.status(), wish(response.headers()), whole))
    }
}

/// How long a provider wants to be left alone, if it told.
type Wait = Option<Duration>;

fn wish(headers: &HeaderMap) -> Wait {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let now = text(DATE).and_then(|date| date.parse().ok()).map(|date: HttpDate| date.into());
    rate::retry_after(text(RETRY_AFTER)?, now.unwrap_or_else(SystemTime::now))
}
