//! JSON-RPC 2.0 over HTTP, asked of one provider, and of the next where that one fails.
//!
//! `endpoint` is a URL that keeps its secrets, `provider` one exchange with it, `rate` how often it is asked, `health`
//! which one is, and `pool` all of them together; `rate` and `health` are pure.
//!
//! Distrustful by design. Every wait has an end; HTTP status and id are checked; a body that was cut short is found
//! because its JSON does not parse, since the HTTP client calls that a clean end. What a provider says of a failure is
//! kept, because its words tell how to ask less, while a URL's credentials never reach an error or a log.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::Value;

mod endpoint;
mod error;
mod health;
mod pool;
mod provider;
mod rate;

pub use self::endpoint::{BadUrl, Endpoint};
pub use self::error::{is_about_rate, Error};
use self::pool::Pool;
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
    /// Authorities that are trusted to sign providers' certificates, beside the well-known ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The chain's id: where there are several providers, all must be on it. `None`: nobody is asked.
    pub chain: Option<u64>,
    /// From one probe of a provider that stands by to the next.
    pub probe: Duration,
    /// A provider that learns of a block so long after another is asked when nobody else is.
    pub max_lag: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(60),
            max_body: 64 << 20,
            authorities: Vec::new(),
            chain: None,
            probe: Duration::from_secs(30),
            max_lag: Duration::from_secs(30),
        }
    }
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

/// How one provider of a client stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Its place in the order of the configuration, from 1.
    pub place: usize,
    /// Its URL, without credentials.
    pub url: String,
    /// `unknown` before it was asked, `good`, `lagging` (its blocks come late), `behind` (its head lies below a final
    /// block), `failing`, or `other_chain`.
    pub state: &'static str,
    /// Whether it is the one that is asked.
    pub in_use: bool,
    /// The newest block that it told.
    pub head: Option<u64>,
    /// The newest final block that it told.
    pub finalized: Option<u64>,
    /// Questions put to it.
    pub requests: u64,
    /// Errors by kind: `unreachable`, `timed_out`, `rate_limited`, `too_large`, `refused`, `untrustworthy`.
    pub errors: BTreeMap<&'static str, u64>,
    /// Questions a second that it gets at most; `None` is no limit.
    pub limit_per_second: Option<f64>,
    /// Milliseconds for which it still wants to be left alone.
    pub paused_ms: u64,
}

/// A client of one provider, or of several that stand in for each other. Not `Send`: it lives on the actors' arbiter.
///
/// All questions go to one provider, the first that is well, until it fails; then the same question goes to the next.
/// Where the first is well again, the client returns to it at the next look at the head. Every question may be asked
/// twice: reads are, and a signed transaction is the same transaction anywhere. It is not sent to all providers at
/// once, though: who puts a private relay first wants it to stay there, and the signer sends again what is not mined.
pub struct Client {
    pool: Rc<Pool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pool.all().map(|provider| &provider.endpoint)).finish()
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
        let http = http_client::client(config.connect, MAX_CONNECTIONS, &config.authorities);
        let provider = |url: &str| Ok::<_, BadUrl>(Provider::new(url.parse()?, http.clone(), config.clone()));
        let others = others.iter().map(|url| provider(url)).collect::<Result<_, _>>()?;
        Ok(Self { pool: Rc::new(Pool::new(provider(url)?, others, &config)) })
    }

    /// The provider that is asked, as it may be shown.
    pub fn endpoint(&self) -> &Endpoint {
        &self.pool.current().endpoint
    }

    /// How all providers stand, in the order of the configuration.
    pub fn standings(&self) -> Vec<Standing> {
        self.pool.standings()
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
        let [answer] = self.ask([Request::new(method, params)]).await?;
        self.read(method, &answer?)
    }

    /// Asks several questions in as few exchanges as the provider allows; the answers are in the order of the questions.
    ///
    /// # Errors
    /// The outer one if an exchange failed, the inner one if a single question did.
    pub async fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Raw, Error>>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        for part in requests.chunks(MAX_BATCH) {
            answers.extend(self.pool.ask(part).await?);
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
            .map_err(|e| self.pool.current().unreachable(format!("{method}: {e}: {}", excerpt(raw.get()))))
    }

    /// An [`Error::Untrustworthy`] of the provider that is asked. Its answers being well-formed, only who asked can
    /// tell; the next question goes to another provider, if there is one.
    pub fn distrust(&self, what: impl AsRef<str>) -> Error {
        let error = self.pool.current().distrust(what);
        self.pool.fail_current();
        error
    }
}

#[cfg(test)]
mod tests;
