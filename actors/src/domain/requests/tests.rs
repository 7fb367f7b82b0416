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
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "BREW"] {
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
        assert_eq!(ask("POST", &format!("/api/v0/block/get?arg={cid}")).is_ok(), fine, "{codec:x} {hash:x}");
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
    for wrong in
        ["", "42", &market, &format!("{bid}:1"), &format!("01337:{market}:42"), &format!("1337:{market}:+42")]
    {
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
