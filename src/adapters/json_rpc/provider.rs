//! One provider: HTTP exchanges, ids, and what may go wrong with them.

use std::cell::Cell;

use awc::http::StatusCode;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{json, Value};
use tokio::time::timeout;

use super::{excerpt, Config, Endpoint, Error, Raw, Request};
use crate::adapters::http_client::AGENT;

/// A provider and what is known of it.
pub(super) struct Provider {
    pub(super) endpoint: Endpoint,
    /// Whether it has refused a batch: from then on it is asked one question at a time.
    pub(super) one_by_one: Cell<bool>,
    /// Whether it is on our chain, once it was asked.
    pub(super) is_ours: Cell<Option<bool>>,
    http: awc::Client,
    config: Config,
    next_id: Cell<u64>,
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
        let (one_by_one, is_ours, next_id) = (Cell::new(false), Cell::new(None), Cell::new(1));
        Self { endpoint, one_by_one, is_ours, http, config, next_id }
    }

    pub(super) fn distrust(&self, what: impl AsRef<str>) -> Error {
        Error::Untrustworthy { url: self.endpoint.clone(), what: self.endpoint.redact(what.as_ref()) }
    }

    pub(super) fn unreachable(&self, what: impl AsRef<str>) -> Error {
        Error::Unreachable { url: self.endpoint.clone(), what: self.endpoint.redact(what.as_ref()) }
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
            data: complaint.data,
        }
    }

    fn question<'a>(&self, request: &'a Request) -> Question<'a> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Question { jsonrpc: "2.0", id, method: request.method, params: &request.params }
    }

    /// Asks one question.
    pub(super) async fn single(&self, request: &Request) -> Result<Raw, Error> {
        let question = self.question(request);
        let body = self.exchange(question.method, &json!(question)).await?;
        let reply: Reply = self.parse(question.method, &body)?;
        if reply.id != question.id {
            let words = reply.error.map(|e| format!(": {}", e.message)).unwrap_or_default();
            let what = format!("{} got the answer to {}{words}", question.method, reply.id);
            return Err(self.distrust(excerpt(&what)));
        }
        self.settle(question.method, reply)
    }

    /// Asks several questions in one exchange; the outer error may be the provider's refusal of the batch.
    pub(super) async fn several(&self, requests: &[Request]) -> Result<Vec<Result<Raw, Error>>, Error> {
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
                _ => return Err(self.distrust(excerpt(&format!("a batch got the answer to {}", reply.id)))),
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
        let total = self.config.total;
        let late = |_| self.timed_out(format!("{method}: no whole answer in {total:?}"));
        let (status, body) = timeout(total, self.send(method, body)).await.map_err(late)??;
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
        let Config { idle, max_body, .. } = self.config;
        let silent = |_| self.timed_out(format!("{method}: silent for {idle:?}"));
        let mut request = self
            .http
            .post(self.endpoint.request_url())
            .insert_header(("content-type", "application/json"))
            .insert_header(("user-agent", AGENT));
        if let Some((user, password)) = self.endpoint.login() {
            request = request.basic_auth(user, password);
        }
        let mut response = timeout(idle, request.send_body(body.to_string()))
            .await
            .map_err(silent)?
            .map_err(|e| self.unreachable(format!("{method}: {e}")))?;
        let mut whole = Vec::new();
        while let Some(piece) = timeout(idle, response.next()).await.map_err(silent)? {
            let piece = piece.map_err(|e| self.unreachable(format!("{method}: {e}")))?;
            if whole.len() + piece.len() > max_body {
                return Err(Error::TooLarge { url: self.endpoint.clone(), method, max_body });
            }
            whole.extend_from_slice(&piece);
        }
        Ok((response.status(), whole))
    }
}
