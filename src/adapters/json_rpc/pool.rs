//! Several providers of one chain that stand in for each other: who is asked, who takes over, and who comes back.
//!
//! [`Board`] decides; here it is told what happens. Heads and chain ids are read from the very answers that pass, so
//! that each counts for the machine that gave it. Nothing runs between questions: a probe of who stands by goes out
//! beside a question when one is due.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{sleep, Instant};

use super::health::{Board, Pace};
use super::provider::{Answer, Provider};
use super::{Config, Error, Request, Standing};

/// How often a question is put to the last provider there is, if it says that it came too soon.
const TRIES: usize = 3;

/// The providers, in the order in which they are preferred.
pub(super) struct Pool {
    first: Provider,
    others: Vec<Provider>,
    board: RefCell<Board>,
    /// The chain on which all must be.
    chain: Option<u64>,
    /// A turn that comes later is not waited for.
    patience: Duration,
    started: Instant,
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What an answer shows of the provider that gave it.
#[derive(Clone, Copy)]
enum Sight {
    Chain,
    Head,
    Final,
}

impl Sight {
    fn of(request: &Request) -> Option<Self> {
        match request.method {
            "eth_chainId" => Some(Self::Chain),
            "eth_blockNumber" => Some(Self::Head),
            "eth_getBlockByNumber" => match request.params.get(0)?.as_str()? {
                "latest" => Some(Self::Head),
                "finalized" => Some(Self::Final),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A number that stands alone, or that of a block.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Number(String),
    Block { number: Option<String> },
}

fn number_in(raw: &RawValue) -> Option<u64> {
    let (Told::Number(text) | Told::Block { number: Some(text) }) = serde_json::from_str(raw.get()).ok()?
    else {
        return None;
    };
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

impl Pool {
    /// A pool of providers of which nothing is known yet.
    pub(super) fn new(first: Provider, others: Vec<Provider>, config: &Config) -> Self {
        let pace = Pace { probe: milliseconds(config.probe), max_lag: milliseconds(config.max_lag) };
        let must_introduce = config.chain.is_some() && !others.is_empty();
        let board = RefCell::new(Board::new(1 + others.len(), pace, must_introduce));
        Self { first, others, board, chain: config.chain, patience: config.total, started: Instant::now() }
    }

    fn now(&self) -> u64 {
        milliseconds(self.started.elapsed())
    }

    fn at(&self, who: usize) -> &Provider {
        who.checked_sub(1).and_then(|who| self.others.get(who)).unwrap_or(&self.first)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Provider> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The provider that is asked.
    pub(super) fn current(&self) -> &Provider {
        self.at(self.board.borrow().current())
    }

    /// The provider that is asked failed in a way that only the asker could see.
    pub(super) fn fail_current(&self) {
        let mut board = self.board.borrow_mut();
        let who = board.current();
        board.failed(who, self.now());
    }

    /// How all of them stand.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let (board, now) = (self.board.borrow(), self.now());
        let of = |(place, provider): (usize, &Provider)| {
            let (head, finalized) = board.heights(place);
            let (counts, rate) = (provider.counts.borrow(), provider.rate.borrow());
            Standing {
                place: place + 1,
                url: provider.endpoint.to_string(),
                state: board.state(place).name(),
                in_use: place == board.current(),
                head,
                finalized,
                requests: counts.requests,
                errors: counts.errors.clone(),
                limit_per_second: rate.limit(),
                paused_ms: rate.pause(now),
            }
        };
        self.all().enumerate().map(of).collect()
    }

    /// Asks the provider in use, and the others in turn as long as they fail or want to be left alone.
    pub(super) async fn ask(self: &Rc<Self>, part: &[Request]) -> Result<Vec<Answer>, Error> {
        self.probe();
        let looks = part.iter().any(|request| Sight::of(request).is_some());
        let order = self.order(looks);
        let mut first = None;
        for (place, who) in order.iter().enumerate() {
            let is_last = place + 1 == order.len();
            match self.ask_one(*who, part, is_last).await {
                Err(error) if error.is_failure() || error.is_about_rate() => first = first.or(Some(error)),
                other => return other,
            }
        }
        let chain = self.chain.unwrap_or_default();
        Err(first.unwrap_or_else(|| self.first.distrust(format!("no provider is on chain {chain}"))))
    }

    fn order(&self, looks: bool) -> Vec<usize> {
        let now = self.now();
        let mut board = self.board.borrow_mut();
        let before = board.current();
        let order = board.order(looks, |who| self.at(who).rate.borrow().pause(now));
        if board.current() != before {
            let (url, was) = (&self.at(board.current()).endpoint, board.state(before).name());
            tracing::info!(%url, was, "another provider is asked from now on");
        }
        order
    }

    async fn ask_one(&self, who: usize, part: &[Request], is_last: bool) -> Result<Vec<Answer>, Error> {
        let must_look = self.board.borrow().must_look(who);
        if must_look {
            self.look(who).await?;
        }
        self.exchange(who, part, if is_last { TRIES } else { 1 }).await
    }

    /// Asks on which chain a provider is and what it knows of it.
    async fn look(&self, who: usize) -> Result<(), Error> {
        let block = |tag| Request::new("eth_getBlockByNumber", json!([tag, false]));
        let chain = self.chain.map(|_| Request::new("eth_chainId", json!([])));
        let questions: Vec<_> = chain.into_iter().chain([block("latest"), block("finalized")]).collect();
        let answers = self.exchange(who, &questions, 1).await?;
        // Not every chain tells what is final; the rest is told by all.
        let needed = answers.len().saturating_sub(1);
        match answers.into_iter().take(needed).find_map(Result::err) {
            Some(refusal) => {
                self.board.borrow_mut().failed(who, self.now());
                Err(self.at(who).unreachable(refusal.to_string()))
            }
            None => Ok(()),
        }
    }

    /// Puts questions to one provider when its turn comes, and notes what it shows of itself.
    async fn exchange(&self, who: usize, part: &[Request], tries: usize) -> Result<Vec<Answer>, Error> {
        let provider = self.at(who);
        let mut left = tries;
        loop {
            self.wait_for_turn(provider, part.len()).await?;
            let (sent, least) = (self.now(), self.board.borrow().highest_final());
            let outcome = provider.answer(part).await.and_then(|answers| {
                match answers.iter().find_map(|answer| answer.as_ref().err().filter(|e| e.is_about_rate())) {
                    Some(limited) => Err(limited.clone()),
                    None => Ok(answers),
                }
            });
            let now = self.now();
            provider.count(part.len(), &outcome);
            left -= 1;
            match outcome {
                Err(error) if error.is_about_rate() => {
                    provider.rate.borrow_mut().refused(sent, now, error.wait());
                    tracing::debug!(%error, "a provider wants to be asked less often");
                    if left == 0 {
                        return Err(error);
                    }
                }
                Err(error) => {
                    if error.is_failure() && self.board.borrow_mut().failed(who, now) {
                        tracing::warn!(%error, "a provider failed");
                    }
                    return Err(error);
                }
                Ok(answers) => {
                    provider.rate.borrow_mut().succeeded(sent, now);
                    self.board.borrow_mut().succeeded(who, sent, now);
                    self.note(who, part, &answers, least)?;
                    return Ok(answers);
                }
            }
        }
    }

    async fn wait_for_turn(&self, provider: &Provider, requests: usize) -> Result<(), Error> {
        let mut wait = provider.rate.borrow_mut().reserve(self.now(), requests);
        // Meanwhile the provider may have asked for a longer pause.
        while wait > 0 {
            if Duration::from_millis(wait) > self.patience {
                return Err(provider.rate_limited(&format!("not to be asked for another {wait} ms"), None));
            }
            sleep(Duration::from_millis(wait)).await;
            wait = provider.rate.borrow().pause(self.now());
        }
        Ok(())
    }

    /// Notes what answers show of the provider that gave them. A head below the block that was final before they were
    /// asked for (`least`) is not believed.
    fn note(&self, who: usize, part: &[Request], answers: &[Answer], least: u64) -> Result<(), Error> {
        let provider = self.at(who);
        for (request, answer) in part.iter().zip(answers) {
            let (Some(sight), Ok(raw)) = (Sight::of(request), answer) else { continue };
            let Some(number) = number_in(raw) else { continue };
            let (mut board, now) = (self.board.borrow_mut(), self.now());
            match (sight, self.chain) {
                // One that is alone shows its chain to the asker, who knows what to make of it.
                (Sight::Chain, Some(ours)) if !self.others.is_empty() => {
                    let is_news = board.told_chain(who, now, ours, number);
                    if number != ours {
                        if is_news {
                            tracing::error!(url = %provider.endpoint, chain = ours, told = number, "a provider is on another chain: left out");
                        }
                        return Err(provider.distrust(format!("it is on chain {number}, not {ours}")));
                    }
                    if is_news {
                        tracing::info!(url = %provider.endpoint, chain = ours, "a provider is on our chain now");
                    }
                }
                (Sight::Chain, _) => {}
                (Sight::Final, _) => board.saw_final(who, now, number),
                (Sight::Head, _) => {
                    board.saw_head(who, now, number);
                    if number < least {
                        let what = format!("its head {number} lies below block {least}, which is final");
                        return Err(provider.distrust(what));
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at those that stand by, beside whatever else is asked, where it is time to.
    fn probe(self: &Rc<Self>) {
        if self.others.is_empty() {
            return;
        }
        loop {
            let due = self.board.borrow_mut().due(self.now());
            let Some(who) = due else { return };
            let pool = Rc::clone(self);
            actix_rt::spawn(async move {
                let looked = pool.look(who).await;
                if let Err(error) = &looked {
                    tracing::debug!(%error, "a provider that stands by is not well");
                }
                pool.board.borrow_mut().probed(who, pool.now(), looked.is_ok());
            });
        }
    }
}
