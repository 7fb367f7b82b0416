//! JSON-RPC 2.0 over HTTP, asked of one provider, and of the next where that one fails.
//!
//! Distrustful by design. Every wait has an end; HTTP status and id are checked; a body that was cut short is found
//! because its JSON does not parse, since the HTTP client calls that a clean end. What a provider says of a failure is
//! kept, because its words tell how to ask less, while a URL's credentials never reach an error or a log.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{json, Value};

mod endpoint;
mod provider;

pub use self::endpoint::{BadUrl, Endpoint};
use self::provider::Provider;
use super::http_client::{self, excerpt};

/// Most questions in one HTTP request: providers' own limits start at about this number.
const MAX_BATCH: usize = 50;
/// Connections to one provider at once.
const MAX_CONNECTIONS: usize = 100;

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
    /// The chain's id: a provider that takes over must be on it. `None`: nobody is asked.
    pub chain: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(60),
            max_body: 64 << 20,
            chain: None,
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
    /// No whole answer in time. Less may be answered sooner.
    #[error("{url}: {what}")]
    TimedOut {
        /// The provider.
        url: Endpoint,
        /// What was waited for, and how long.
        what: String,
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
    /// Whether another provider may do better.
    fn is_failure(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Untrustworthy { .. } => true,
            Self::TooLarge { .. } | Self::Refused { .. } => false,
        }
    }
}

/// Whether a refusal says "not so fast", which tells nothing about what was asked. One of its codes also stands for
/// too large an answer, and only the words tell which.
pub fn is_about_rate(code: i64, message: &str) -> bool {
    let of_size = ["result", "range", "response size"].iter().any(|word| message.contains(word));
    matches!(code, -32005 | -32029 | 429) && !of_size
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

/// A client of one provider, or of several that stand in for each other. Not `Send`: it lives on the actors' arbiter.
///
/// All questions go to one provider until it fails; then the same question goes to the next, which is kept if it does
/// better. Every question may be asked twice: reads are, and a signed transaction is the same transaction anywhere.
pub struct Client {
    first: Provider,
    others: Vec<Provider>,
    /// Which is asked: 0 for the first.
    current: Cell<usize>,
    chain: Option<u64>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = std::iter::once(&self.first).chain(&self.others).map(|provider| &provider.endpoint);
        f.debug_list().entries(all).finish()
    }
}

impl Client {
    /// A client of the provider at `url` (http or https, with whatever credentials it needs in it).
    ///
    /// # Errors
    /// If that is no such URL.
    pub fn new(url: &str, config: Config) -> Result<Self, BadUrl> {
        Self::of_several(url, &[], config)
    }

    /// A client of the provider at `url`, for which those at `others` stand in.
    ///
    /// # Errors
    /// If one is no such URL.
    pub fn of_several(url: &str, others: &[String], config: Config) -> Result<Self, BadUrl> {
        let http = http_client::client(config.connect, MAX_CONNECTIONS);
        let chain = config.chain;
        let provider = |url: &str| Ok::<_, BadUrl>(Provider::new(url.parse()?, http.clone(), config.clone()));
        let others = others.iter().map(|url| provider(url)).collect::<Result<_, _>>()?;
        Ok(Self { first: provider(url)?, others, current: Cell::new(0), chain })
    }

    /// The provider that is asked, as it may be shown.
    pub fn endpoint(&self) -> &Endpoint {
        &self.provider().endpoint
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
        let request = Request::new(method, params);
        let raw = self.ask_any(async |provider| provider.single(&request).await).await?;
        self.read(method, &raw)
    }

    /// Asks several questions in as few exchanges as the provider allows; the answers are in the order of the questions.
    ///
    /// # Errors
    /// The outer one if an exchange failed, the inner one if a single question did.
    pub async fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Raw, Error>>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        for part in requests.chunks(MAX_BATCH) {
            answers.extend(self.ask_any(async |provider| ask_part(provider, part).await).await?);
        }
        Ok(answers)
    }

    /// Asks a fixed number of questions, as [`Client::batch`] does.
    ///
    /// # Errors
    /// As for a batch.
    pub async fn ask<const N: usize>(
        &self,
        requests: [Request; N],
    ) -> Result<[Result<Raw, Error>; N], Error> {
        let answers = self.batch(&requests).await?;
        answers.try_into().map_err(|_| self.distrust("a batch got too few answers"))
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
            .map_err(|e| self.provider().unreachable(format!("{method}: {e}: {}", excerpt(raw.get()))))
    }

    /// An [`Error::Untrustworthy`] of the provider that is asked. Its answers being well-formed, only who asked can
    /// tell; the next question goes to another provider, if there is one.
    pub fn distrust(&self, what: impl AsRef<str>) -> Error {
        let error = self.provider().distrust(what);
        self.current.set(self.after(self.current.get()));
        error
    }

    fn provider(&self) -> &Provider {
        self.at(self.current.get())
    }

    fn at(&self, place: usize) -> &Provider {
        place.checked_sub(1).and_then(|place| self.others.get(place)).unwrap_or(&self.first)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) % (1 + self.others.len())
    }

    /// Asks the provider in use, and the others in turn as long as they fail.
    async fn ask_any<T>(&self, ask: impl AsyncFn(&Provider) -> Result<T, Error>) -> Result<T, Error> {
        let mut place = self.current.get();
        let mut answer = ask(self.at(place)).await;
        for _ in &self.others {
            let Err(error) = &answer else { break };
            if !error.is_failure() {
                break;
            }
            place = self.after(place);
            let next = self.at(place);
            if self.is_ours(next).await {
                tracing::warn!(%error, next = %next.endpoint, "a provider failed, another takes over");
                answer = ask(next).await;
                self.current.set(place);
            }
        }
        answer
    }

    /// Whether a provider that takes over is on our chain; asked once.
    async fn is_ours(&self, provider: &Provider) -> bool {
        let Some(chain) = self.chain else { return true };
        if let Some(known) = provider.is_ours.get() {
            return known;
        }
        let Ok(told) = provider.single(&Request::new("eth_chainId", json!([]))).await else { return false };
        let ours = serde_json::from_str::<String>(told.get()).is_ok_and(|told| told == format!("{chain:#x}"));
        if !ours {
            tracing::error!(url = %provider.endpoint, chain, told = %told, "a provider is on another chain: left out");
        }
        provider.is_ours.set(Some(ours));
        ours
    }
}

/// Asks at most [`MAX_BATCH`] questions: in one exchange, or one by one where a provider wants that.
async fn ask_part(provider: &Provider, part: &[Request]) -> Result<Vec<Result<Raw, Error>>, Error> {
    if part.len() > 1 && !provider.one_by_one.get() {
        match provider.several(part).await {
            Err(Error::Refused { code, message, .. }) if !is_about_rate(code, &message) => {
                tracing::info!(url = %provider.endpoint, code, message, "a provider refuses batches");
                provider.one_by_one.set(true);
            }
            other => return other,
        }
    }
    let mut answers = Vec::with_capacity(part.len());
    for request in part {
        answers.push(match provider.single(request).await {
            Err(refused @ Error::Refused { .. }) => Err(refused),
            other => Ok(other?),
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests;
