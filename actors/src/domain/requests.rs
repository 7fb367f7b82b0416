//! What a stranger may ask of the firewall: exact routes, exact keys, bare CIDs, nothing else.
//!
//! A request is read into values, and only values go on: no byte of it ever reaches an IPFS API (I10).

use std::str::FromStr;

use cid::Cid;

use super::dag;
use super::market::{BidKey, Market};
use super::units::{Address, BidId};

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

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o";
    const V1: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

    fn ask(method: &str, target: &str) -> Result<Question, Rejection> {
        read(Received { method, target, hosters: &[], bids: &[], has_body: false }).map(|r| r.question)
    }

    #[test]
    fn each_route_is_understood_in_its_one_form() {
        let (v0, v1): (Cid, Cid) = (V0.parse().unwrap(), V1.parse().unwrap());
        assert_eq!(ask("GET", &format!("/ipfs/{V1}?format=raw")), Ok(Question::Raw(v1)));
        assert_eq!(ask("HEAD", &format!("/ipfs/{V0}?format=raw")), Ok(Question::RawHead(v0)));
        assert_eq!(ask("GET", "/ipfs/bafkqaaa?format=raw"), Ok(Question::Probe));
        assert_eq!(ask("HEAD", "/ipfs/bafkqaaa?format=raw"), Ok(Question::Probe));
        assert_eq!(ask("POST", &format!("/api/v0/block/get?arg={V0}")), Ok(Question::Block(v0)));
        assert_eq!(ask("POST", &format!("/api/v0/block/stat?arg={V1}")), Ok(Question::Stat(v1)));
        assert_eq!(ask("POST", &format!("/api/v0/pin/ls?arg={V0}")), Ok(Question::Pinned(v0)));
        assert_eq!(ask("POST", "/api/v0/id"), Ok(Question::Identity));
        assert_eq!(ask("POST", "/api/v0/version"), Ok(Question::Agent));
    }

    #[test]
    fn every_other_form_is_rejected_for_what_it_is() {
        let gone = [
            "/",
            "",
            "*",
            "/ipfs/",
            "/ipfs",
            "/ipns/example.com?format=raw",
            "//ipfs/V1?format=raw",
            "/ipfs//V1?format=raw",
            "/ipfs/V1/?format=raw",
            "/ipfs/V1/child?format=raw",
            "/ipfs/../api/v0/id",
            "/ipfs/V1/../../api/v0/shutdown?format=raw",
            "/ipfs/%56%31?format=raw",
            "/ipfs/V1%2fchild?format=raw",
            "/ipfs/V1;x?format=raw",
            "/IPFS/V1?format=raw",
            "http://hoster.example/ipfs/V1?format=raw",
            "hoster.example:443",
        ];
        for target in gone {
            assert_eq!(ask("GET", &target.replace("V1", V1)), Err(Rejection::NoRoute), "{target}");
        }
        let gone = [
            "/api/v0",
            "/api/v0/",
            "/api/v0/id/",
            "/api/v0//id",
            "/api/v0/./id",
            "/api/v0/%69d",
            "/api/v0/block/get/V1",
            "/api/v0/cat?arg=V1",
            "/api/v0/pin/add?arg=V1",
            "/api/v0/shutdown",
            "/api/v1/id",
            "/API/v0/id",
        ];
        for target in gone {
            assert_eq!(ask("POST", &target.replace("V1", V1)), Err(Rejection::NoRoute), "{target}");
        }
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "BREW"]
        {
            assert_eq!(ask(method, "/api/v0/id"), Err(Rejection::Method("POST")), "{method}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get"] {
            let target = format!("/ipfs/{V1}?format=raw");
            assert_eq!(ask(method, &target), Err(Rejection::Method("GET, HEAD")), "{method}");
        }
        let wrong = [
            "/ipfs/V1",
            "/ipfs/V1?",
            "/ipfs/V1?format=car",
            "/ipfs/V1?format=raw&",
            "/ipfs/V1?format=raw&format=raw",
            "/ipfs/V1?format=raw&filename=x",
            "/ipfs/V1?Format=raw",
            "/ipfs/V1?format=r%61w",
            "/ipfs/V1?format=raw?format=raw",
            "/ipfs/notacid?format=raw",
            "/ipfs/bafkqaab?format=raw",
        ];
        for target in wrong {
            let outcome = ask("GET", &target.replace("V1", V1));
            assert!(matches!(outcome, Err(Rejection::Malformed(_))), "{target}: {outcome:?}");
        }
        let wrong = [
            "/api/v0/block/get",
            "/api/v0/block/get?",
            "/api/v0/block/get?arg=",
            "/api/v0/block/get?arg=V1&arg=V1",
            "/api/v0/block/get?arg=V1&offline=false",
            "/api/v0/block/get?offline=true&arg=V1",
            "/api/v0/block/get?arg=/ipfs/V1",
            "/api/v0/block/get?arg=ipfs://V1",
            "/api/v0/block/get?arg=V1/child",
            "/api/v0/block/get?arg=%20V1",
            "/api/v0/block/get?arg=bafkqaaa",
            "/api/v0/pin/ls?type=recursive",
            "/api/v0/id?arg=V1",
            "/api/v0/version?all=true",
            "/api/v0/id?",
        ];
        for target in wrong {
            let outcome = ask("POST", &target.replace("V1", V1));
            assert!(matches!(outcome, Err(Rejection::Malformed(_))), "{target}: {outcome:?}");
        }
        assert_eq!(ask("GET", &format!("/ipfs/{}", "a".repeat(300))), Err(Rejection::TooLong));
    }

    #[test]
    fn only_cids_that_a_validator_can_check_pass() {
        use crate::domain::cids::{DAG_CBOR, DAG_PB, RAW, SHA2_256};
        use cid::multihash::Multihash;
        let digest = [7; 64];
        for (codec, hash, length, fine) in [
            (RAW, SHA2_256, 32, true),
            (DAG_PB, SHA2_256, 32, true),
            (DAG_CBOR, SHA2_256, 32, false),
            (0x72, SHA2_256, 32, false),   // libp2p-key
            (0x0129, SHA2_256, 32, false), // dag-json
            (RAW, SHA2_256, 20, false),    // truncated
            (RAW, 0x13, 64, false),        // sha2-512
            (RAW, 0x00, 32, false),        // identity
            (RAW, 0x11, 20, false),        // sha1
        ] {
            let cid = Cid::new_v1(codec, Multihash::wrap(hash, &digest[..length]).unwrap());
            assert_eq!(
                ask("POST", &format!("/api/v0/block/get?arg={cid}")).is_ok(),
                fine,
                "{codec:x} {hash:x}"
            );
        }
    }

    #[test]
    fn a_body_and_a_doubtful_header_are_rejected() {
        let target = "/ipfs/bafkqaaa?format=raw";
        let base = Received { method: "GET", target, hosters: &[], bids: &[], has_body: false };
        assert!(read(base).is_ok());
        assert!(read(Received { has_body: true, ..base }).is_err());
        let market = format!("0x{}", "ab".repeat(20));
        let (hoster, bid) = (market.as_str(), format!("1337:{market}:42"));
        let request = read(Received { hosters: &[hoster], bids: &[&bid], ..base }).unwrap();
        assert_eq!(request.hoster, Some(Address([0xab; 20])));
        assert_eq!(request.bid.unwrap().to_string(), bid);
        assert!(read(Received { hosters: &[hoster, hoster], ..base }).is_err());
        for wrong in ["", "me", &market[2..], &market[..40]] {
            assert!(read(Received { hosters: &[wrong], ..base }).is_err(), "{wrong}");
        }
        for wrong in [
            "",
            "42",
            &market,
            &format!("{bid}:1"),
            &format!("01337:{market}:42"),
            &format!("1337:{market}:+42"),
        ] {
            assert!(read(Received { bids: &[wrong], ..base }).is_err(), "{wrong}");
        }
    }

    /// The one target of a question with that CID text.
    fn target_of(question: Question, text: &str) -> String {
        match question {
            Question::Probe | Question::Raw(_) | Question::RawHead(_) => format!("/ipfs/{text}?format=raw"),
            Question::Block(_) => format!("/api/v0/block/get?arg={text}"),
            Question::Stat(_) => format!("/api/v0/block/stat?arg={text}"),
            Question::Pinned(_) => format!("/api/v0/pin/ls?arg={text}"),
            Question::Identity => "/api/v0/id".into(),
            Question::Agent => "/api/v0/version".into(),
        }
    }

    proptest::proptest! {
        /// I10: what is let through is, byte for byte, a route with a CID in it; any change to it is not.
        #[test]
        fn whatever_is_let_through_is_exactly_a_route_and_a_cid(
            route in proptest::sample::select(vec![
                "/ipfs/V1?format=raw", "/ipfs/V0?format=raw", "/ipfs/bafkqaaa?format=raw", "/api/v0/id",
                "/api/v0/block/get?arg=V1", "/api/v0/block/stat?arg=V0", "/api/v0/pin/ls?arg=V1",
                "/api/v0/version",
            ]),
            post in proptest::bool::ANY,
            at in 0..200usize,
            cut in 0..4usize,
            put in "(\\PC{0,3}|[/?&=%.;#A-Za-z0-9]{0,6}|%2[fFeE]|\\.\\./|&arg=x|\r\n|\x00)",
        ) {
            let target = route.replace("V1", V1).replace("V0", V0);
            let (at, mut target) = (at.min(target.len()), target);
            target.replace_range(at..(at + cut).min(target.len()), &put);
            if let Ok(question) = ask(if post { "POST" } else { "GET" }, &target) {
                let text = target.strip_prefix("/ipfs/").and_then(|t| t.split('?').next());
                let text = text.or_else(|| target.split("arg=").nth(1)).unwrap_or_default().to_owned();
                proptest::prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
                proptest::prop_assert_eq!(target_of(question, &text), target);
            }
        }
    }
}
