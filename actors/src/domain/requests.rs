//! What a stranger may ask of the firewall: exact routes, exact keys, bare CIDs, nothing else.
//!
//! A request is read into values, and only values go on: no byte of it ever reaches an IPFS API (I10).

use std::str::FromStr;

use cid::Cid;

use super::dag;
use super::market::{BidKey, Market};
use super::units::{Address, BidId};

#[cfg(test)]
mod tests;

/// The empty identity CID by which gateways are probed.
pub const PROBE: &str = "bafkqaaa";
/// The longest request target in bytes: the longest route with the longest CID is far shorter.
const MAX_TARGET: usize = 256;
/// The longest CID in characters.
const MAX_CID: usize = 128;

/// A request as it came, in the parts that matter.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query as sent, not decoded.
    pub target: &'a str,
    /// The values of the header `Scatter-Hoster`.
    pub hosters: &'a [&'a str],
    /// The values of the header `Scatter-Bid`.
    pub bids: &'a [&'a str],
    /// Whether a body is announced.
    pub has_body: bool,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Is anybody there? (`GET` or `HEAD /ipfs/bafkqaaa?format=raw`)
    Probe,
    /// A block, as a gateway gives it (`GET /ipfs/CID?format=raw`).
    Raw(Cid),
    /// The same without the body (`HEAD`).
    RawHead(Cid),
    /// A block, as the RPC API gives it (`POST /api/v0/block/get?arg=CID`).
    Block(Cid),
    /// A block's size (`POST /api/v0/block/stat?arg=CID`).
    Stat(Cid),
    /// Whether a root is pinned (`POST /api/v0/pin/ls?arg=CID`).
    Pinned(Cid),
    /// Who the node is (`POST /api/v0/id`).
    Identity,
    /// What the node runs (`POST /api/v0/version`).
    Agent,
}

/// A request that may be considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub question: Question,
    /// The hoster that is meant, if one is named.
    pub hoster: Option<Address>,
    /// The bid that is meant, if one is named.
    pub bid: Option<BidKey>,
}

/// Why a request is not considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such route.
    #[error("there is no such route")]
    NoRoute,
    /// The route is there, for other methods.
    #[error("this route takes {0}")]
    Method(&'static str),
    /// The route is there, but the request is not in its one form.
    #[error("{0}")]
    Malformed(&'static str),
    /// The target is longer than any request of ours.
    #[error("the request target is too long")]
    TooLong,
}

/// Reads a request.
///
/// # Errors
/// If it is anything but one of the routes in its one form.
pub fn read(received: Received<'_>) -> Result<Request, Rejection> {
    if received.target.len() > MAX_TARGET {
        return Err(Rejection::TooLong);
    }
    let (path, query) = match received.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (received.target, None),
    };
    let route = route(path).ok_or(Rejection::NoRoute)?;
    let takes = match route {
        Route::Gateway(_) => "GET, HEAD",
        Route::Rpc(_) => "POST",
    };
    if !takes.split(", ").any(|method| method == received.method) {
        return Err(Rejection::Method(takes));
    }
    if received.has_body {
        return Err(Rejection::Malformed("a request has no body here"));
    }
    let question = match route {
        Route::Gateway(text) => {
            if query != Some("format=raw") {
                return Err(Rejection::Malformed("the query must be exactly format=raw"));
            }
            match (text, received.method) {
                (PROBE, _) => Question::Probe,
                (text, "HEAD") => Question::RawHead(bare_cid(text)?),
                (text, _) => Question::Raw(bare_cid(text)?),
            }
        }
        Route::Rpc(Rpc::Identity | Rpc::Agent) if query.is_some() => {
            return Err(Rejection::Malformed("this route takes no arguments"))
        }
        Route::Rpc(Rpc::Identity) => Question::Identity,
        Route::Rpc(Rpc::Agent) => Question::Agent,
        Route::Rpc(Rpc::OfCid(ask)) => {
            let arg = query.and_then(|query| query.strip_prefix("arg="));
            ask(bare_cid(arg.ok_or(Rejection::Malformed("the query must be exactly arg=CID"))?)?)
        }
    };
    Ok(Request {
        question,
        hoster: at_most_one(received.hosters, parse_address)?,
        bid: at_most_one(received.bids, parse_bid)?,
    })
}

enum Route<'a> {
    Gateway(&'a str),
    Rpc(Rpc),
}

enum Rpc {
    OfCid(fn(Cid) -> Question),
    Identity,
    Agent,
}

fn route(path: &str) -> Option<Route<'_>> {
    if let Some(text) = path.strip_prefix("/ipfs/") {
        // What stands here is a CID or nothing: its characters leave no room for a second segment.
        return (!text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric()))
            .then_some(Route::Gateway(text));
    }
    Some(Route::Rpc(match path {
        "/api/v0/block/get" => Rpc::OfCid(Question::Block),
        "/api/v0/block/stat" => Rpc::OfCid(Question::Stat),
        "/api/v0/pin/ls" => Rpc::OfCid(Question::Pinned),
        "/api/v0/id" => Rpc::Identity,
        "/api/v0/version" => Rpc::Agent,
        _ => return None,
    }))
}

/// Reads a CID of the kinds that a validator can check, and that names a block.
fn bare_cid(text: &str) -> Result<Cid, Rejection> {
    if text.len() > MAX_CID || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Rejection::Malformed("not a bare CID"));
    }
    let cid = Cid::from_str(text).map_err(|_| Rejection::Malformed("not a CID"))?;
    match dag::supported(&cid).is_ok() && !dag::is_identity(&cid) {
        true => Ok(cid),
        false => Err(Rejection::Malformed("a CID of a kind that is not served")),
    }
}

fn at_most_one<T>(values: &[&str], parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Rejection> {
    match values {
        [] => Ok(None),
        [one] => match parse(one) {
            Some(value) => Ok(Some(value)),
            None => Err(Rejection::Malformed("a header can't be read")),
        },
        _ => Err(Rejection::Malformed("a header stands twice")),
    }
}

fn parse_address(text: &str) -> Option<Address> {
    text.strip_prefix("0x")?.parse().ok()
}

/// Reads `CHAIN:MARKET:BID` back, in exactly the form in which [`BidKey`] shows it.
fn parse_bid(text: &str) -> Option<BidKey> {
    let mut parts = text.splitn(3, ':');
    let chain = parts.next()?.parse().ok()?;
    let address = parse_address(parts.next()?)?;
    let id = BidId(parts.next()?.parse().ok()?);
    let bid = BidKey { market: Market { chain, address }, id };
    (bid.to_string() == text.to_ascii_lowercase()).then_some(bid)
}
