//! What can go wrong on the wire, made from the recordings: cut, slow, endless, no Kubo at all.

use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use scatter::adapters::kubo::{Config, Kubo};
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Error, Ipfs, Reach};
use serde_json::json;

use super::calls::{call, client, is_error};
use super::rows::{recorded, rows};
use crate::support::replay::{Answer, Replay};

/// Places at random at which an answer is cut, beside the ends of its chunks.
const RANDOM_CUTS: usize = 6;
const ROOT: &str = "bafkreibf3y43phedxe2lut3e3dakwzbtjz6vlkjuw6soj4obczmms2x2ki";

/// A client that does not wait for long.
fn hasty(url: &str) -> Kubo {
    let soon = Duration::from_millis(100);
    Kubo::new(url, None, Config { idle: soon, request: soon, network: soon, ..Config::default() }).unwrap()
}

/// Where a line of the answer ends: heads, chunk sizes, chunks and trailers all end with one.
fn seams(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes.windows(2).enumerate().filter(|(_, pair)| pair == b"\r\n").flat_map(|(at, _)| [at, at + 2])
}

#[actix_rt::test]
async fn an_answer_cut_anywhere_is_an_error_or_was_whole_already() {
    let recorded = recorded();
    let mut random = StdRng::seed_from_u64(4);
    let mut wrong = Vec::new();
    let mut cuts = 0;
    for row in rows() {
        let question = &recorded[&row.fixture].request;
        let answers: Vec<_> = row.answers(&recorded).into_iter().map(|(_, answer)| answer).collect();
        let place = row.steps.iter().position(|step| step == "*").unwrap();
        let whole = &answers[place].bytes;
        let mut places: Vec<_> = seams(whole).filter(|at| *at < whole.len()).collect();
        // A long stream is one kind of chunk over and over.
        while places.len() > 24 {
            places.remove(random.gen_range(12..places.len() - 8));
        }
        places
            .extend((0..RANDOM_CUTS).filter(|_| !whole.is_empty()).map(|_| random.gen_range(0..whole.len())));
        for at in places {
            let mut answers = answers.clone();
            answers[place] = answers[place].clone().cut(at);
            let server = Replay::start(answers);
            let outcome = call(&client(&server.url(), question), &row, question).await;
            cuts += 1;
            if outcome != row.outcome && !is_error(&outcome) {
                wrong.push(format!("{} cut at {at}: {outcome}", row.fixture));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cuts > 2_000, "{cuts}");
}

#[actix_rt::test]
async fn a_success_that_ends_before_its_proof_is_none() {
    let recorded = recorded();
    let proofs: [(&str, &[u8]); 9] = [
        ("pin_add_progress_ok_short", b"{\"Pins\""),
        ("pin_ls_1000_object", b"}}}"),
        ("pin_rm_ok", b"]}"),
        ("block_get_ok_offline", b"recorder"),
        ("block_put_ok", b"}"),
        ("cat_ok", b"recorder"),
        ("ls_hamt", b"]}]}"),
        ("add_directory_ok", b"{\"Name\":\"dir\""),
        ("routing_get_ok", b"\"}"),
    ];
    for (name, proof) in proofs {
        let row = rows().into_iter().find(|row| row.fixture == name).unwrap();
        let mut answers: Vec<_> = row.answers(&recorded).into_iter().map(|(_, answer)| answer).collect();
        let place = row.steps.iter().position(|step| step == "*").unwrap();
        let bytes = &answers[place].bytes;
        let at = bytes.windows(proof.len()).rposition(|window| window == proof).unwrap();
        // The chunk before it ends as a clean body would, with Kubo's error in a trailer that the client can't see.
        let start = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let kept = dechunked(&bytes[start..at.max(start)]);
        let clean = format!("{:x}\r\n", kept.len());
        let end = b"\r\n0\r\nX-Stream-Error: context deadline exceeded\r\n\r\n";
        let chunk = if kept.is_empty() { Vec::new() } else { [clean.as_bytes(), &kept, b"\r\n"].concat() };
        answers[place] = Answer::of([&bytes[..start], &chunk, &end[2..]].concat());
        let server = Replay::start(answers);
        let question = &recorded[name].request;
        let outcome = call(&client(&server.url(), question), &row, question).await;
        assert!(is_error(&outcome), "{name}: {outcome}");
    }
}

/// The content of chunks, the last of which may be cut.
fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let rest = &bytes[end + 2..];
        content.extend_from_slice(&rest[..size.min(rest.len())]);
        bytes = rest.get(size + 2..).unwrap_or_default();
    }
    content
}

#[actix_rt::test]
async fn silence_ends_a_pin_although_ticks_came_before() {
    let recorded = recorded();
    let unpinned =
        Answer::json("500 Internal Server Error", &json!({ "Message": "", "Code": 0, "Type": "error" }));
    let ticks = &recorded["pin_add_progress_ok_short"].response;
    let second = ticks.windows(9).rposition(|window| window == b"Progress\"").unwrap();
    let stuck = Answer::of(ticks.clone()).pause(second, Duration::from_secs(2));
    let server = Replay::start([unpinned, stuck]);
    let root = recorded["pin_add_progress_ok_short"].request.values("arg").next().unwrap().parse().unwrap();
    let outcome = hasty(&server.url()).pin(root, ByteSize(u64::MAX), Rc::new(|_| ())).await;
    let Err(Error::Unreachable(words)) = outcome else { panic!("{outcome:?}") };
    assert!(words.starts_with(&server.url()) && words.contains("silent for 100ms"), "{words}");
}

#[actix_rt::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kubo = hasty(&url);
    let Err(Error::Unreachable(words)) = kubo.stored().await else { panic!("an answer out of nothing") };
    assert!(words.starts_with(&url), "{words}");
    assert!(matches!(Ipfs::put(&kubo, 0x55, vec![1; 100]).await, Err(Error::Unreachable(_))));
}

#[actix_rt::test]
async fn pieces_that_come_slowly_but_come_are_an_answer() {
    let recorded = recorded();
    let bytes = recorded["ls_hamt"].response.clone();
    let slow = |bytes: &[u8]| {
        let length = bytes.len();
        (1..6).fold(Answer::of(bytes), |slow, n| slow.pause(n * length / 6, Duration::from_millis(40)))
    };
    let server = Replay::start([slow(&recorded["ls_hamt_stream"].response), slow(&bytes)]);
    let root = recorded["ls_hamt"].request.values("arg").next().unwrap().parse().unwrap();
    assert_eq!(hasty(&server.url()).ls(root, 60).await.unwrap().len(), 60);
}

#[actix_rt::test]
async fn an_answer_larger_than_asked_for_is_not_read() {
    let huge = |extra: &str| {
        Answer::of(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n{extra}\r\n{}",
            "x".repeat(1000)
        ))
    };
    let root = ROOT.parse().unwrap();
    let server = Replay::start([huge(""), huge("X-Content-Length: 2147483648\r\n"), huge(""), huge("")]);
    let kubo = hasty(&server.url());
    assert!(matches!(kubo.block(root, Reach::Local).await, Err(Error::Unusable(_))));
    assert_eq!(kubo.cat(root, ByteSize(10)).await, Err(Error::TooLarge { cap: 10 }));
    for outcome in [kubo.stored().await.map(drop), kubo.pins().await.map(drop)] {
        assert!(matches!(outcome, Err(Error::Unreachable(_))), "{outcome:?}");
    }
}

#[actix_rt::test]
async fn an_endless_line_and_an_endless_directory_are_broken_off() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = |piece: &str, times: usize| {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        Answer::of(format!("{head}{}", chunk.repeat(times)))
    };
    let root = ROOT.parse().unwrap();
    let line = Replay::start([endless(&"[".repeat(10_000), 300)]);
    assert!(matches!(hasty(&line.url()).ls(root, 10).await, Err(Error::Unreachable(_))));
    let entry = json!({ "Objects": [{ "Hash": ROOT, "Links": [{ "Name": "again", "Hash": ROOT }] }] });
    let directory = Replay::start([endless(&format!("{entry}\n"), 100_000)]);
    assert_eq!(hasty(&directory.url()).ls(root, 1_000).await, Err(Error::TooMany { cap: 1_000 }));
}

#[actix_rt::test]
async fn what_is_no_kubo_is_named_by_its_url() {
    let page = "<html>It works!</html>";
    let html = |status: &str| {
        let length = page.len();
        Answer::of(format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}"
        ))
    };
    let moved =
        Answer::of("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    let others = [
        html("200 OK"),
        html("404 Not Found"),
        html("500 Internal Server Error"),
        html("502 Bad Gateway"),
        moved,
        Answer::of("SSH-2.0-OpenSSH_9.7\r\n").cut(21),
        Answer::of("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}\n"),
        Answer::of("").cut(0),
    ];
    for other in others {
        let words = String::from_utf8_lossy(&other.bytes).into_owned();
        let asked = [other.clone(), other.clone(), other.clone(), other];
        let server = Replay::start(asked);
        let kubo = hasty(&server.url());
        let root = ROOT.parse().unwrap();
        let outcomes = [
            Ipfs::identity(&kubo).await.map(drop),
            kubo.is_pinned(root).await.map(drop),
            kubo.block(root, Reach::Local).await.map(drop),
            kubo.ls(root, 3).await.map(drop),
        ];
        for outcome in outcomes {
            let Err(Error::Unreachable(told)) = outcome else { panic!("{words}: {outcome:?}") };
            assert!(told.starts_with(&server.url()) && !told.contains('\n'), "{words}: {told}");
        }
    }
}

#[actix_rt::test]
async fn a_closed_port_is_named_by_its_url() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubo = hasty(&format!("http://{free}"));
    let Err(Error::Unreachable(words)) = Ipfs::identity(&kubo).await else { panic!("nobody answered") };
    assert!(words.starts_with(&format!("http://{free}: id: ")), "{words}");
}

#[actix_rt::test]
async fn a_wrong_block_is_never_handed_out() {
    let recorded = recorded();
    let mut wrong = recorded["block_get_ok_offline"].response.clone();
    let at = wrong.windows(5).position(|window| window == b"hello").unwrap();
    wrong[at] ^= 1;
    let server = Replay::start([Answer::of(wrong.clone()), Answer::of(wrong)]);
    let kubo = hasty(&server.url());
    for reach in [Reach::Local, Reach::Network] {
        let outcome = kubo.block(ROOT.parse().unwrap(), reach).await;
        assert!(matches!(outcome, Err(Error::Unreachable(_))), "{outcome:?}");
    }
}

#[actix_rt::test]
async fn dropping_a_pin_hangs_up() {
    let recorded = recorded();
    let unpinned =
        Answer::json("500 Internal Server Error", &json!({ "Message": "", "Code": 0, "Type": "error" }));
    let ticks = recorded["pin_add_progress_ok_short"].response.clone();
    let slow = (1..50).fold(Answer::of(ticks), |slow, n| slow.pause(600 + n * 10, Duration::from_millis(20)));
    let server = Replay::start([unpinned, slow]);
    let root = recorded["pin_add_progress_ok_short"].request.values("arg").next().unwrap().parse().unwrap();
    let kubo = client(&server.url(), &recorded["pin_ls_fresh"].request);
    let seen = Rc::new(std::cell::Cell::new(0));
    let heard = seen.clone();
    let progress = Rc::new(move |now: scatter_actors::ports::ipfs::Progress| heard.set(now.blocks));
    let pin = kubo.pin(root, ByteSize(u64::MAX), progress);
    assert!(tokio::time::timeout(Duration::from_millis(150), pin).await.is_err());
    assert!(seen.get() > 0, "ticks came before");
    let again = kubo.pin(root, ByteSize(u64::MAX), Rc::new(|_| ()));
    let again = tokio::time::timeout(Duration::from_secs(5), again).await.expect("its turn is free again");
    assert!(again.is_err(), "the server has no third answer");
}

#[actix_rt::test]
async fn a_connection_that_was_closed_meanwhile_is_not_used_again() {
    let recorded = recorded();
    let stat = &recorded["repo_stat_size_only"].response;
    let closing = Answer::of(stat.clone()).cut(stat.len());
    let server = Replay::start([closing, Answer::of(stat.clone()), Answer::of(stat.clone())]);
    let kubo = hasty(&server.url());
    for _ in 0..3 {
        assert_eq!(kubo.stored().await, Ok(ByteSize(2_274_423)));
        // As long as the end of a connection takes to arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
