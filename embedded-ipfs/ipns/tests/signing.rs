//! What our keys sign is valid until it ends, and nothing else is.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::cmp::Ordering;

use ipns_record::{verify, BadKey, Record, Refusal, SigningKey, Timestamp, Unsigned, MAX_RECORD_BYTES};
use proptest::prelude::*;

const NOW_MS: u64 = 1_795_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// A key of each kind that there is.
fn keys() -> [SigningKey; 3] {
    let secp256k1 = [&[8, 2, 0x12, 32][..], &[7; 32]].concat();
    [
        SigningKey::from_seed(&[7; 32]).unwrap(),
        SigningKey::from_protobuf(include_bytes!("vectors/kubo-rsa.key")).unwrap(),
        SigningKey::from_protobuf(&secp256k1).unwrap(),
    ]
}

fn eol() -> Timestamp {
    Timestamp::from_ms(NOW_MS + HOUR_MS)
}

fn verified(key: &SigningKey, bytes: &[u8]) -> Record {
    verify(key.name(), bytes, NOW_MS).unwrap()
}

#[test]
fn the_name_of_a_short_key_is_the_key() {
    let [ed25519, rsa, secp256k1] = keys().map(|key| key.name().to_string());
    assert!(ed25519.starts_with("k51"), "{ed25519}");
    assert!(rsa.starts_with("k2k4r8"), "{rsa}");
    assert!(secp256k1.starts_with("kzwfwjn5ji"), "{secp256k1}");
}

#[test]
fn a_record_is_void_at_its_end_of_life() {
    for key in keys() {
        let bytes = key.sign(b"/ipfs/bafkqaaa", 1, eol(), 0).unwrap();
        let last = verify(key.name(), &bytes, NOW_MS + HOUR_MS - 1).unwrap();
        assert_eq!(verify(key.name(), &bytes, NOW_MS + HOUR_MS), Err(Refusal::Expired(Box::new(last))));
        assert!(matches!(verify(key.name(), &bytes, u64::MAX), Err(Refusal::Expired(_))));
    }
}

#[test]
fn a_nanosecond_of_life_is_life() {
    let [key, ..] = keys();
    let eol: Timestamp = "2030-01-01T00:00:00.000000001Z".parse().unwrap();
    let bytes = key.sign_v2_only(b"x", 0, eol, 0).unwrap();
    assert_eq!(verify(key.name(), &bytes, eol.ms()).unwrap().eol(), eol);
    assert!(verify(key.name(), &bytes, eol.ms() + 1).is_err());
}

#[test]
fn a_record_of_another_key_is_refused() {
    let [ed25519, rsa, secp256k1] = keys();
    let by = |key: &SigningKey| key.sign(b"/ipfs/bafkqaaa", 1, eol(), 0).unwrap();
    assert_eq!(verify(ed25519.name(), &by(&secp256k1), NOW_MS), Err(Refusal::BadSignature));
    assert_eq!(verify(ed25519.name(), &by(&rsa), NOW_MS), Err(Refusal::WrongKey));
    assert_eq!(verify(rsa.name(), &by(&ed25519), NOW_MS), Err(Refusal::NoKey));
    let other = SigningKey::from_seed(&[8; 32]).unwrap();
    assert_eq!(verify(other.name(), &by(&ed25519), NOW_MS), Err(Refusal::BadSignature));
}

#[test]
fn a_record_has_at_most_10_kib() {
    let [key, ..] = keys();
    let room = MAX_RECORD_BYTES - key.sign_v2_only(&[b'a'; 1000], 1, eol(), 0).unwrap().len() + 1000;
    let largest = key.sign_v2_only(&vec![b'a'; room], 1, eol(), 0).unwrap();
    assert_eq!(largest.len(), MAX_RECORD_BYTES);
    assert_eq!(verified(&key, &largest).value().len(), room);
    let too_large = key.sign_v2_only(&vec![b'a'; room + 1], 1, eol(), 0);
    assert_eq!(too_large, Err(Unsigned::TooLarge(MAX_RECORD_BYTES + 1)));
    // An unknown field makes a good record too large.
    let padded = [&largest[..], &[0x50, 0]].concat();
    assert_eq!(verify(key.name(), &padded, NOW_MS), Err(Refusal::TooLarge(MAX_RECORD_BYTES + 2)));
}

#[test]
fn the_higher_sequence_counts_then_the_later_end() {
    let [key, ..] = keys();
    let record = |value: &str, sequence, eol: &str| {
        verified(&key, &key.sign(value.as_bytes(), sequence, eol.parse().unwrap(), 0).unwrap())
    };
    let ascending = [
        record("/ipfs/z", 1, "2099-01-01T00:00:00Z"),
        record("/ipfs/y", 2, "2030-01-01T00:00:00Z"),
        record("/ipfs/x", 2, "2030-01-01T00:00:00.000000001Z"),
        record("/ipfs/a", 2, "2031-01-01T00:00:00Z"),
        record("/ipfs/b", 2, "2031-01-01T00:00:00Z"),
        record("/ipfs/a", u64::MAX, "2030-01-01T00:00:00Z"),
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(a.compare(b), i.cmp(&j), "{a:?} {b:?}");
            assert_eq!(a.is_newer_than(b), i.cmp(&j) == Ordering::Greater);
        }
    }
}

#[test]
fn a_key_survives_its_encoding() {
    for key in keys() {
        let again = SigningKey::from_protobuf(&key.to_protobuf()).unwrap();
        assert_eq!((again.name(), again.to_protobuf()), (key.name(), key.to_protobuf()));
        assert_eq!(again.sign(b"x", 1, eol(), 2), key.sign(b"x", 1, eol(), 2));
    }
}

#[test]
fn a_key_does_not_show_itself() {
    let [key, ..] = keys();
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("SigningKey(Ed25519, of {})", key.name()));
}

#[test]
fn what_is_no_key_is_refused() {
    let refused = |key: Result<SigningKey, BadKey>| assert!(key.is_err());
    for seed in [&[][..], &[7; 31], &[7; 33], &[7; 64]] {
        refused(SigningKey::from_seed(seed));
    }
    let [ed25519, rsa, _] = keys();
    let mut wrong_half = ed25519.to_protobuf().to_vec();
    *wrong_half.last_mut().unwrap() ^= 1;
    let rsa = rsa.to_protobuf();
    for bytes in [&[][..], &[8, 2, 0x12, 32], &[8, 2, 0x12, 1, 1], &[8, 9, 0x12, 0], &wrong_half, &rsa[..600]]
    {
        refused(SigningKey::from_protobuf(bytes));
    }
    let pem = include_str!("vectors/kubo-ed25519.pem");
    for text in [
        String::new(),
        pem.replace("PRIVATE", "PUBLIC"),
        pem.replace("MC4CAQAw", "MC4CAQEw"),
        pem.replace("MC4CAQAw", "MC4CAQA"),
        pem.replace("MC4CAQAw", ""),
        pem.replace("MC4CAQAw", "????????"),
    ] {
        refused(SigningKey::from_pem(&text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_signed_is_read_again(
        value in proptest::collection::vec(any::<u8>(), 0..3000),
        sequence: u64,
        ttl_ns: u64,
        lifetime_ms in 1..1_000_000_000_000u64,
    ) {
        let eol = Timestamp::from_ms(NOW_MS + lifetime_ms);
        for key in keys() {
            for bytes in [
                key.sign(&value, sequence, eol, ttl_ns).unwrap(),
                key.sign_v2_only(&value, sequence, eol, ttl_ns).unwrap(),
            ] {
                let record = verified(&key, &bytes);
                prop_assert_eq!((record.value(), record.sequence()), (&value[..], sequence));
                prop_assert_eq!((record.eol(), record.ttl_ns()), (eol, ttl_ns));
                prop_assert_eq!((record.bytes(), record.name()), (&bytes[..], key.name()));
            }
        }
    }
}
