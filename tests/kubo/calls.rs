//! The calls of the adapter by name, and their outcomes in words.

use std::rc::Rc;
use std::time::Duration;

use base64::prelude::{Engine, BASE64_STANDARD};
use cid::Cid;
use scatter::adapters::kubo::{Config, Kubo, Token};
use scatter_actors::domain::cids::RAW;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Error, Ipfs, Reach};
use scatter_actors::ports::names::{self, Names};

use super::rows::Row;
use crate::support::replay::Request;

/// Content that some of the recordings were made with.
pub const HELLO: &[u8] = b"hello from the recorder\n";
/// The root of something, for recordings about nothing that has one.
const SOMETHING: &str = "bafkreibf3y43phedxe2lut3e3dakwzbtjz6vlkjuw6soj4obczmms2x2ki";
/// A name of nobody, for recordings about no name.
const NOBODY: &str = "k51qzi5uqu5dgv8kzl1anc0m74n6t9ffdjnypdh846ct5wgpljc7rulynxa74a";

/// A client with the credentials that the recording was made with.
pub fn client(url: &str, recorded: &Request) -> Kubo {
    let token = recorded.header("authorization").map(|header| {
        let (kind, secret) = header.split_once(' ').unwrap();
        let text = match kind {
            "Basic" => {
                format!("basic:{}", String::from_utf8(BASE64_STANDARD.decode(secret).unwrap()).unwrap())
            }
            _ => format!("bearer:{secret}"),
        };
        text.parse::<Token>().unwrap()
    });
    let config =
        Config { idle: Duration::from_secs(5), request: Duration::from_secs(5), ..Config::default() };
    Kubo::new(url, token, config).unwrap()
}

/// Makes a row's call and tells what came of it.
pub async fn call(kubo: &Kubo, row: &Row, recorded: &Request) -> String {
    let arg = recorded.values("arg").next().unwrap_or_default();
    let cid: Cid = arg.trim_start_matches("/ipfs/").parse().unwrap_or_else(|_| SOMETHING.parse().unwrap());
    let name = arg.parse().unwrap_or_else(|_| NOBODY.parse().unwrap());
    let cap = ByteSize(row.cap.unwrap_or(1 << 30));
    let parts = recorded.parts();
    let first = || match (row.cap, parts.first()) {
        (None, Some((_, bytes))) => bytes.clone(),
        _ => HELLO.to_vec(),
    };
    match row.call.as_str() {
        "pin" => told(kubo.pin(cid, cap, Rc::new(|_| ())).await, |done| {
            format!("{} blocks of {} bytes", done.blocks, done.bytes)
        }),
        "unpin" => told(kubo.unpin(cid).await, |()| "done".into()),
        "is-pinned" => told(kubo.is_pinned(cid).await, |is| if is { "yes".into() } else { "no".into() }),
        "pins" => told(kubo.pins().await, |pins| format!("{} pins", pins.len())),
        "local" => told(kubo.block(cid, Reach::Local).await, block),
        "network" => told(kubo.block(cid, Reach::Network).await, block),
        "put" => told(Ipfs::put(kubo, RAW, first()).await, |cid| cid.to_string()),
        "add" => {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), first()).unwrap();
            told(kubo.add(file.path()).await, |added| format!("{} bytes at {}", added.size.0, added.cid))
        }
        "add-dir" => {
            let named = |(path, bytes): &(String, Vec<u8>)| {
                Some((path.split_once("%2F")?.1.to_owned(), bytes.clone()))
            };
            let files = parts.iter().filter_map(named).collect();
            told(kubo.add_directory(files).await, |cid| cid.to_string())
        }
        "ls" => told(kubo.ls(cid, row.cap.unwrap_or(1000) as usize).await, |list| {
            format!("{} entries", list.len())
        }),
        "cat" => told(kubo.cat(cid, cap).await, |bytes| format!("{} bytes", bytes.len())),
        "connect" => {
            let to = if arg.starts_with('/') { arg } else { "/ip4/127.0.0.1/tcp/1" };
            told(Ipfs::connect(kubo, to).await, |()| "done".into())
        }
        "identity" => told(Ipfs::identity(kubo).await, |id| {
            format!("{} {} at {}", id.agent, id.peer.split_at(12).0, id.addrs.len())
        }),
        "stored" => told(kubo.stored().await, |size| format!("{} bytes", size.0)),
        "get-name" => {
            named(Names::get(kubo, name).await.map(|record| format!("record of {} bytes", record.len())))
        }
        "put-name" => named(Names::put(kubo, name, vec![1; 100]).await.map(|()| "done".into())),
        call => panic!("no call {call}"),
    }
}

fn block(block: Option<Vec<u8>>) -> String {
    block.map_or("absent".into(), |bytes| format!("block of {} bytes", bytes.len()))
}

fn told<T>(outcome: Result<T, Error>, words: impl FnOnce(T) -> String) -> String {
    match outcome {
        Ok(value) => words(value),
        Err(Error::Unreachable(text)) => with_url("unreachable", &text),
        Err(Error::TooLarge { .. }) => "too large".into(),
        Err(Error::TooMany { .. }) => "too many".into(),
        Err(Error::Unusable(_)) => "unusable".into(),
        Err(Error::NotFound(_)) => "not found".into(),
        Err(Error::Storage(text)) => with_url("not stored", &text),
    }
}

fn named(outcome: Result<String, names::Error>) -> String {
    match outcome {
        Ok(words) => words,
        Err(names::Error::NotFound(_)) => "not found".into(),
        Err(names::Error::Unreachable(text)) => with_url("unreachable", &text),
        Err(names::Error::Refused(text)) => with_url("refused", &text),
    }
}

/// Every error that comes from outside says where from.
fn with_url(kind: &str, text: &str) -> String {
    assert!(text.starts_with("http://127.0.0.1:"), "{kind} without a URL: {text}");
    kind.to_owned()
}

/// Whether an outcome is an error.
pub fn is_error(outcome: &str) -> bool {
    matches!(
        outcome,
        "unreachable" | "too large" | "too many" | "unusable" | "not found" | "not stored" | "refused"
    )
}
