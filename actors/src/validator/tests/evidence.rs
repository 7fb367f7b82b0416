//! Evidence in the hands of those who doubt it, and of those who would bend it.

use serde_json::{json, Value};

use super::*;
use crate::domain::audit::keccak;
use crate::domain::evidence::canonical;
use crate::domain::evidence::verify::Doubt;
use crate::testkit::chain::FakeKeys;

/// Evidence with one slot of each kind that has blocks: late, passed, and failed at the end.
async fn sample() -> (Vec<u8>, Vec<u8>) {
    let mut world = World::with_everybody_registered();
    // Five blocks a slot, so that every value of the document can be tried.
    world.config.loss_bp = 4_500;
    let root = world.file();
    let bid = world.host(BIDDER, HOSTER, &root);
    world.start();
    world.mood(HOSTER, Mood::Loses(world.leaves()));
    while !matches!(world.stage(bid).await, Stage::Contained { .. }) {
        world.turn().await;
    }
    world.mood(HOSTER, Mood::Honest);
    while world.outcomes(bid).await.len() < 6 {
        world.turn().await;
    }
    world.mood(HOSTER, Mood::Loses(world.leaves()));
    world.finish(bid).await;
    let outcomes = world.outcomes(bid).await;
    assert_eq!(outcomes[..2], [SlotOutcome::Late, SlotOutcome::Pass]);
    assert_eq!(outcomes[6], SlotOutcome::Fail);
    let (document, car) = world.files(bid);
    (document, car.unwrap())
}

/// Pointers to all values of a document that have no parts.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| leaves(item, &format!("{at}/{n}"), found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| leaves(member, &format!("{at}/{name}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// Another value of the same kind.
fn bend(value: &Value) -> Value {
    match value {
        Value::Null => json!("0x01"),
        Value::Bool(said) => json!(!said),
        Value::Number(n) => json!(n.as_u64().unwrap() + 1),
        Value::String(text) => {
            // A digit in the middle: hex stays hex, a CID stays base32 or becomes nonsense.
            let at = text.len() / 2;
            let other = if &text[at..=at] == "3" { "4" } else { "3" };
            json!(format!("{}{other}{}", &text[..at], &text[at + 1..]))
        }
        _ => Value::Null,
    }
}

/// The document with another evidence in it, signed by its own validator.
fn resigned(evidence: &Value) -> Vec<u8> {
    let digest = keccak(&[&canonical::write(evidence).unwrap()]);
    let signature = FakeKeys(ME).sign_message(&digest.0).unwrap();
    let signed = json!({ "evidence": evidence, "signature": format!("0x{}", hex::encode(signature)) });
    canonical::write(&signed).unwrap()
}

#[actix_rt::test]
async fn a_stranger_can_change_nothing() {
    tokio::time::pause();
    let (document, car) = sample().await;
    let value: Value = serde_json::from_slice(&document).unwrap();
    let mut places = Vec::new();
    leaves(&value, "", &mut places);
    assert!(places.len() > 300);
    for place in places {
        let mut bent = value.clone();
        let at = bent.pointer_mut(&place).unwrap();
        *at = bend(at);
        let bytes = canonical::write(&bent).unwrap();
        let refused = verify(&bytes, Some(&car), &recover).unwrap_err();
        assert!(matches!(refused, Doubt::Signature(_) | Doubt::Form(_)), "{place}: {refused}");
    }
    for at in [0, 10, car.len() / 2, car.len() - 1] {
        let mut bent = car.clone();
        bent[at] ^= 1;
        assert!(matches!(verify(&document, Some(&bent), &recover), Err(Doubt::Car(_))));
    }
    assert!(matches!(verify(&document, None, &recover), Err(Doubt::Car(_))));
    let spaced = [&document[..], b"\n"].concat();
    assert!(matches!(verify(&spaced, Some(&car), &recover), Err(Doubt::Form(_))));
}

/// What a validator may say without that anybody could derive it: times within their windows, sizes of blocks
/// that nobody keeps, what the chain knows better.
fn is_testimony(place: &str) -> bool {
    const WORDS: [&str; 13] = [
        "/after_ms",
        "/at",
        "/chain",
        "/bytes",
        "/status",
        "/why",
        "/walked",
        "/written",
        "/program",
        "/proof",
        "/digest",
        "/number",
        "/time",
    ];
    const OF_THE_CHAIN: [&str; 7] = [
        "/terms/bidder",
        "/terms/size",
        "/terms/amount",
        "/terms/pool",
        "/terms/min_validations",
        "/rules/",
        "/policy/",
    ];
    WORDS.iter().any(|word| place.ends_with(word)) || OF_THE_CHAIN.iter().any(|part| place.contains(part))
}

#[actix_rt::test]
async fn a_validator_can_change_nothing_that_follows_from_something_else() {
    tokio::time::pause();
    let (document, car) = sample().await;
    let signed: Value = serde_json::from_slice(&document).unwrap();
    let evidence = signed["evidence"].clone();
    assert_eq!(resigned(&evidence), document);
    let mut places = Vec::new();
    leaves(&evidence, "", &mut places);
    let mut believed = Vec::new();
    for place in &places {
        let mut bent = evidence.clone();
        let at = bent.pointer_mut(place).unwrap();
        *at = bend(at);
        if verify(&resigned(&bent), Some(&car), &recover).is_ok() {
            believed.push(place.clone());
        }
    }
    let wrong: Vec<&String> = believed.iter().filter(|place| !is_testimony(place)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // What a draw rests on is never a matter of belief.
    for part in ["/secret", "/due", "/hash", "/seed", "/outcome", "/verdict", "/hoster", "/validator", "/car"]
    {
        assert!(places.iter().any(|place| place.contains(part)), "{part}");
        assert!(!believed.iter().any(|place| place.contains(part)), "{part}");
    }
}

#[actix_rt::test]
async fn a_validator_can_leave_nothing_out() {
    tokio::time::pause();
    let (document, car) = sample().await;
    let signed: Value = serde_json::from_slice(&document).unwrap();
    let evidence = signed["evidence"].clone();
    let without = |place: &str, n: usize| {
        let mut bent = evidence.clone();
        bent.pointer_mut(place).unwrap().as_array_mut().unwrap().remove(n);
        verify(&resigned(&bent), Some(&car), &recover)
    };
    for n in 0..7 {
        assert!(without("/slots", n).is_err(), "slot {n}");
    }
    assert!(without("/registrations", 0).is_err());
    assert!(without("/registrations", 1).is_err());
    let asked = evidence["slots"][6]["tries"][0]["asked"].as_array().unwrap().len();
    for n in 0..asked {
        assert!(without("/slots/6/tries/0/asked", n).is_err(), "question {n}");
    }
    assert!(without("/slots/0/tries", 0).is_err());
    assert!(without("/slots/1/tries/0/drawn/blocks", 0).is_err());
    let mut added = evidence.clone();
    added["slots"][0]["comment"] = json!("trust me");
    assert!(matches!(verify(&resigned(&added), Some(&car), &recover), Err(Doubt::Form(_))));
}
