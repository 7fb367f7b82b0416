//! What a burst of pins asks: one list for many, and every root in doubt by itself.

use std::rc::Rc;

use cid::Cid;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Ipfs, Progress};
use scatter_actors::testkit::ipfs::cid_of;
use serde_json::json;

use super::calls::client;
use crate::support::replay::{Answer, Replay, Request};

const ONE: Progress = Progress { blocks: 1, bytes: 4 };

fn root(n: u32) -> Cid {
    cid_of(0x55, &n.to_le_bytes())
}

fn unpinned() -> Answer {
    Answer::json("500 Internal Server Error", &json!({ "Message": "", "Code": 0, "Type": "error" }))
}

fn pinned(roots: &[Cid]) -> Answer {
    let keys: serde_json::Map<_, _> =
        roots.iter().map(|root| (root.to_string(), json!({ "Type": "recursive", "Name": "" }))).collect();
    Answer::json("200 OK", &json!({ "Keys": keys }))
}

/// `pin/add` with one tick.
fn added(root: Cid) -> Answer {
    let lines = [json!({ "Progress": 1, "Bytes": 4 }), json!({ "Pins": [root.to_string()] })];
    let chunks = lines.map(|line| format!("{:x}\r\n{line}\n\r\n", line.to_string().len() + 1)).concat();
    Answer::of(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"))
}

fn block(root: Cid) -> Answer {
    Answer::json("200 OK", &json!({ "Key": root.to_string(), "Size": 4 }))
}

fn asked(request: &Request) -> String {
    let command = request.path.trim_start_matches("/api/v0/");
    match request.values("arg").next() {
        Some(arg) => format!("{command} {}", (0..100).find(|n| root(*n).to_string() == arg).unwrap()),
        None => command.to_owned(),
    }
}

#[actix_rt::test]
async fn a_burst_shares_one_list_and_what_it_names_or_we_pinned_is_asked_for_again() {
    let mut answers: Vec<_> = (0..7).flat_map(|n| [unpinned(), added(root(n))]).collect();
    // The eighth makes it a burst; the list has nothing that was pinned here, and one root that others pinned.
    answers.extend([pinned(&[root(50)]), added(root(7)), added(root(8))]);
    answers.extend([pinned(&[root(50)]), block(root(50))]);
    answers.extend([pinned(&[root(8)]), block(root(8))]);
    // Given up meanwhile: only a question of its own can tell.
    answers.extend([unpinned(), added(root(7))]);
    let server = Replay::start(answers);
    let kubo = client(&server.url(), &Request::default());
    for n in (0..9).chain([50, 8, 7]) {
        assert_eq!(kubo.pin(root(n), ByteSize(100), Rc::new(|_| ())).await, Ok(ONE), "{n}");
    }
    let mut expected: Vec<_> = (0..7).flat_map(|n| [format!("pin/ls {n}"), format!("pin/add {n}")]).collect();
    expected.extend(["pin/ls", "pin/add 7", "pin/add 8"].map(str::to_owned));
    expected.extend(
        ["pin/ls 50", "block/stat 50", "pin/ls 8", "block/stat 8", "pin/ls 7", "pin/add 7"]
            .map(str::to_owned),
    );
    assert_eq!(server.requests().iter().map(asked).collect::<Vec<_>>(), expected);
}

#[actix_rt::test]
async fn no_pin_of_a_burst_has_a_walk_over_the_routing_system_of_its_own() {
    let server = Replay::start(vec![unpinned(), added(root(1))]);
    let kubo = client(&server.url(), &Request::default());
    assert_eq!(kubo.pin(root(1), ByteSize(100), Rc::new(|_| ())).await, Ok(ONE));
    let requests = server.requests();
    assert_eq!(requests[1].values("fast-provide-root").collect::<Vec<_>>(), ["false"]);
}

#[actix_rt::test]
async fn a_burst_whose_list_was_cut_asks_for_each_root_by_itself() {
    let mut answers: Vec<_> = (0..7).flat_map(|n| [unpinned(), added(root(n))]).collect();
    let list = pinned(&[root(50)]);
    let half = list.bytes.len() - 20;
    answers.extend([list.cut(half), pinned(&[root(50)]), block(root(50)), unpinned(), added(root(8))]);
    let server = Replay::start(answers);
    let kubo = client(&server.url(), &Request::default());
    for n in (0..7).chain([50, 8]) {
        assert_eq!(kubo.pin(root(n), ByteSize(100), Rc::new(|_| ())).await, Ok(ONE), "{n}");
    }
    let asked: Vec<_> = server.requests().iter().skip(14).map(asked).collect();
    assert_eq!(asked, ["pin/ls", "pin/ls 50", "block/stat 50", "pin/ls 8", "pin/add 8"]);
}

#[actix_rt::test]
async fn two_pins_of_one_root_at_once_are_one_and_then_a_look() {
    let server = Replay::start([unpinned(), added(root(1)), pinned(&[root(1)]), block(root(1))]);
    let kubo = client(&server.url(), &Request::default());
    let pin = || kubo.pin(root(1), ByteSize(100), Rc::new(|_| ()));
    assert_eq!(futures::future::join(pin(), pin()).await, (Ok(ONE), Ok(ONE)));
    let asked: Vec<_> = server.requests().iter().map(asked).collect();
    assert_eq!(asked, ["pin/ls 1", "pin/add 1", "pin/ls 1", "block/stat 1"]);
}
