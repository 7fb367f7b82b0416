//! Answers strangers' questions about the content of live bids, and no others (I10).
//!
//! Owns: the count of who asked how much.  Hears: [`Ask`], already read into values, and its own [`Sent`].
//! Says: nothing.  On restart: the counts begin anew; the HTTP workers find the fresh actor by their line.
//!
//! A question passes four gates before the IPFS backend hears of it: limits, is it our hoster and bid that is
//! meant, is the block below a live bid's root. What the backend gives is hashed before a byte of it leaves.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use actix::WeakAddr;
use cid::Cid;
use serde_json::json;

use crate::acting_as;
use crate::domain::dag::{self, Unauditable};
use crate::domain::limits::{Limited, Limiter, Limits, Source};
use crate::domain::market::BidKey;
use crate::domain::requests::{Question, Request};
use crate::domain::units::Address;
use crate::planted::{planted, Bug};
use crate::ports::clock::Clock;
use crate::ports::ipfs::{self, Ipfs, Reach};
use crate::ports::store::{self, Store};
use crate::records::hosting::{references_to_block, roots_of, HostedBid, Owner};
use crate::supervised;
use crate::supervisor::Guard;
use crate::work::within;

#[cfg(test)]
mod tests;

/// A block is looked for below at most so many roots.
const MAX_ROOTS: usize = 64;
/// Questions waiting here; more wait in the workers, which the limits keep few.
const MAILBOX: usize = 256;

/// A stranger's question.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Reply")]
pub struct Ask {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub from: IpAddr,
}

/// The answer. Whoever drops it, sent or not, gives the place back.
#[derive(Debug)]
pub struct Reply {
    /// HTTP's status.
    pub status: u16,
    /// The body.
    pub content: Content,
    /// Seconds after which asking again makes sense.
    pub retry_after: Option<u64>,
    /// The place that the question takes as long as its answer is on the way.
    pub permit: Option<Permit>,
}

/// What an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing, as the probe wants it.
    Empty,
    /// A block, its hash checked.
    Block(Cid, Vec<u8>),
    /// The length of a block, its hash checked.
    Length(Cid, u64),
    /// A JSON document.
    Json(Vec<u8>),
    /// Why there is no answer: a code for programs.
    Refusal(&'static str),
}

/// A place among the questions that are open at once.
#[derive(Debug)]
pub struct Permit {
    to: WeakAddr<Firewall>,
    source: Source,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(firewall) = self.to.upgrade() {
            firewall.do_send(Sent { source: self.source });
        }
    }
}

/// An answer is out, or nobody waits for it any more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Sent {
    source: Source,
}

/// How it serves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose blocks it serves: a question that names another hoster is misdirected.
    pub hoster: Address,
    /// How much may be asked.
    pub limits: Limits,
    /// Milliseconds that the backend has for an answer.
    pub backend_ms: u64,
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Where the blocks are.
    pub ipfs: Rc<dyn Ipfs>,
    /// Which bids are live, and what lies below them. Only read.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
}

/// The firewall.
pub struct Firewall {
    config: Config,
    ports: Ports,
    limiter: Limiter,
    _guard: Guard,
}

/// Why a question is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Limited(Limited),
    NotOurs,
    NotHere,
    Unauditable,
    Corrupt(Cid),
    Store(store::Error),
    Backend(ipfs::Error),
    Slow,
}

impl Firewall {
    /// A firewall that has counted nothing yet.
    pub fn new(config: Config, ports: Ports, guard: Guard) -> Self {
        let limiter = Limiter::new(config.limits, ports.clock.monotonic());
        Self { config, ports, limiter, _guard: guard }
    }

    /// All that is decided without the backend. Says whether the backend is to be asked at all.
    fn consider(&self, request: &Request) -> Result<(), Refusal> {
        if request.hoster.is_some_and(|hoster| hoster != self.config.hoster) {
            return Err(Refusal::NotOurs);
        }
        let store = &*self.ports.store;
        let named = match request.bid {
            Some(bid) => Some(live_bid(store, bid).map_err(Refusal::Store)?.ok_or(Refusal::NotOurs)?),
            None => None,
        };
        let cid = match request.question {
            Question::Probe | Question::Identity | Question::Agent => return Ok(()),
            Question::Raw(cid) | Question::RawHead(cid) | Question::Block(cid) => cid,
            Question::Stat(cid) | Question::Pinned(cid) => cid,
        };
        match is_served(store, &cid, named.as_ref()).map_err(Refusal::Store)? {
            true => Ok(()),
            false if planted(Bug::ServeAnything) => Ok(()),
            false => Err(Refusal::NotHere),
        }
    }
}

/// The bid, if its content is complete here and may be served.
fn live_bid(store: &dyn Store, bid: BidKey) -> Result<Option<HostedBid>, store::Error> {
    Ok(store::read::<HostedBid>(store, &bid.to_bytes())?
        .filter(|hosted| hosted.stage.is_live() || planted(Bug::ServeEnded)))
}

/// Whether a block is a live bid's root or lies below it. Codecs do not count: a multihash names the bytes.
fn is_served(store: &dyn Store, cid: &Cid, named: Option<&HostedBid>) -> Result<bool, store::Error> {
    let block = cid.hash().to_bytes();
    let above = roots_of(store, &block, MAX_ROOTS)?;
    let mut roots = std::iter::once(cid).chain(&above).map(Cid::hash);
    if let Some(hosted) = named {
        return Ok(roots.any(|root| root == hosted.cid.hash()));
    }
    for root in roots {
        for reference in references_to_block(store, &root.to_bytes(), MAX_ROOTS)? {
            if let Owner::Bid(bid) = reference.owner {
                if live_bid(store, bid)?.is_some() {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Reads from the backend what the question is about. The only place that touches it.
async fn fetch(ipfs: Rc<dyn Ipfs>, question: Question) -> Result<Content, Refusal> {
    let json = |value: serde_json::Value| Content::Json(value.to_string().into_bytes());
    match question {
        Question::Probe => Ok(Content::Empty),
        Question::Raw(cid) | Question::Block(cid) => Ok(Content::Block(cid, checked(&*ipfs, cid).await?)),
        Question::RawHead(cid) => Ok(Content::Length(cid, checked(&*ipfs, cid).await?.len() as u64)),
        Question::Stat(cid) => {
            let size = checked(&*ipfs, cid).await?.len();
            Ok(json(json!({"Key": cid.to_string(), "Size": size})))
        }
        Question::Pinned(cid) => match ipfs.is_pinned(cid).await.map_err(Refusal::Backend)? {
            true => Ok(json(json!({"Keys": {cid.to_string(): {"Type": "recursive", "Name": ""}}}))),
            false => Err(Refusal::NotHere),
        },
        Question::Identity | Question::Agent => {
            let identity = ipfs.identity().await.map_err(Refusal::Backend)?;
            Ok(json(json!({"ID": identity.peer, "AgentVersion": identity.agent})))
        }
    }
}

/// A block of this node's own disk, hashed here: no backend is trusted with that.
async fn checked(ipfs: &dyn Ipfs, cid: Cid) -> Result<Vec<u8>, Refusal> {
    let block = ipfs.block(cid, Reach::Local).await.map_err(Refusal::Backend)?.ok_or(Refusal::NotHere)?;
    match dag::verify_block(&cid, &block) {
        Ok(()) => Ok(block),
        Err(Unauditable::WrongBytes(_)) => Err(Refusal::Corrupt(cid)),
        Err(_) => Err(Refusal::Unauditable),
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let (status, code, retry_after) = match refusal {
            Refusal::Limited(limited) => (429, "too_many_requests", Some(limited.retry_after)),
            Refusal::NotOurs => (421, "not_ours", None),
            Refusal::NotHere => (404, "not_found", None),
            Refusal::Unauditable => (404, "not_auditable", None),
            Refusal::Corrupt(cid) => {
                tracing::error!(%cid, "a block does not have its hash");
                (500, "corrupt", None)
            }
            Refusal::Store(error) => {
                tracing::error!(%error, "the firewall can't read the store");
                (503, "unavailable", Some(5))
            }
            Refusal::Backend(error) => {
                tracing::warn!(%error, "the firewall can't ask the backend");
                (503, "unavailable", Some(5))
            }
            Refusal::Slow => (503, "unavailable", Some(5)),
        };
        Self { status, content: Content::Refusal(code), retry_after, permit: None }
    }
}

supervised!(Firewall);

impl Actor for Firewall {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Ask> for Firewall {
    type Result = ResponseActFuture<Self, Reply>;

    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) -> Self::Result {
        let source = Source::from(ask.from);
        if let Err(limited) = self.limiter.admit(source, self.ports.clock.monotonic()) {
            return Box::pin(fut::ready(Refusal::Limited(limited).into()));
        }
        let permit = Permit { to: ctx.address().downgrade(), source };
        if let Err(refusal) = self.consider(&ask.request) {
            return Box::pin(fut::ready(Reply { permit: Some(permit), ..refusal.into() }));
        }
        let limit = Duration::from_millis(self.config.backend_ms);
        let answer = tokio::time::timeout(limit, fetch(Rc::clone(&self.ports.ipfs), ask.request.question));
        within(acting_as!("firewall"), answer, move |outcome, this: &mut Self, _| {
            let content = outcome.unwrap_or(Err(Refusal::Slow));
            if let Ok(Content::Block(_, bytes)) = &content {
                this.limiter.charge(source, bytes.len() as u64);
            }
            match content {
                Ok(content) => Reply { status: 200, content, retry_after: None, permit: Some(permit) },
                Err(refusal) => Reply { permit: Some(permit), ..refusal.into() },
            }
        })
    }
}

impl Handler<Sent> for Firewall {
    type Result = ();

    fn handle(&mut self, sent: Sent, _: &mut Self::Context) {
        self.limiter.release(sent.source);
    }
}
