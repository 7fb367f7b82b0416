//! What another hand makes of a record.

use libp2p_identity::Keypair;
use proptest::prelude::*;

use super::*;
use crate::SigningKey;

const NOW_MS: u64 = 1_795_000_000_000;

/// One key of each kind, as libp2p's message.
fn keys() -> [Vec<u8>; 3] {
    [
        SigningKey::from_seed(&[7; 32]).unwrap().to_protobuf().to_vec(),
        include_bytes!("../../tests/vectors/kubo-rsa.key").to_vec(),
        [&[8, 2, 0x12, 32][..], &[7; 32]].concat(),
    ]
}

fn pair(key: &[u8]) -> Keypair {
    Keypair::from_protobuf_encoding(key).unwrap()
}

fn name_of(pair: &Keypair) -> Name {
    Name::of_peer(pair.public().to_peer_id())
}

fn document() -> Document {
    let eol = "2030-01-01T00:00:00.5Z".parse().unwrap();
    Document::until(b"/ipfs/bafkqaaa", 3, eol, 300)
}

/// The fields of version 1 that repeat a document.
fn legacy(document: &Document) -> Entry<'_> {
    Entry {
        value: Some(&document.value),
        signature_v1: Some(b"nobody looks"),
        validity_type: Some(document.validity_type),
        validity: Some(&document.validity),
        sequence: Some(document.sequence),
        ttl: Some(document.ttl),
        ..Entry::default()
    }
}

/// Verifies an entry around `data`, well signed by a short key.
fn verify_signed(data: &[u8], rest: Entry<'_>) -> Result<Record, Refusal> {
    let pair = pair(&keys()[0]);
    let signature = pair.sign(&signed_bytes(data)).unwrap();
    let entry = Entry { signature_v2: Some(&signature), data: Some(data), ..rest };
    verify(name_of(&pair), &entry.encode(), NOW_MS)
}

fn contents(record: &Record) -> (&[u8], u64, Timestamp, u64) {
    (record.value(), record.sequence(), record.eol(), record.ttl_ns())
}

/// The fields of an entry in their order: number and length with all that belongs to it. Tags have one byte here.
fn layout(bytes: &[u8]) -> Vec<(u8, usize)> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let integer = &bytes[at + 1..];
        let integer = &integer[..=integer.iter().position(|byte| byte >> 7 == 0).unwrap()];
        let value = integer.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let payload = if bytes[at] & 7 == 2 { value } else { 0 };
        let len = 1 + integer.len() + payload;
        fields.push((bytes[at] >> 3, len));
        at += len;
    }
    fields
}

/// Where bytes may be others and mean the same: in `signatureV1` (field 2), since the specification has nobody look at
/// it, and in the tag of a `validityType` (field 3), which is 0 with and without it. Nowhere in a record of version 2.
fn void(bytes: &[u8]) -> Vec<bool> {
    let of_field = |(number, len)| (0..len).map(move |i| number == 2 || (number == 3 && i == 0));
    layout(bytes).into_iter().flat_map(of_field).collect()
}

#[test]
fn every_bit_that_is_not_void_is_held_by_the_signature() {
    for key in keys() {
        let key = SigningKey::from_protobuf(&key).unwrap();
        let eol = "2030-01-01T00:00:00.5Z".parse().unwrap();
        for bytes in [
            key.sign(b"/ipfs/bafkqaaa", 3, eol, 300).unwrap(),
            key.sign_v2_only(b"/ipfs/bafkqaaa", 3, eol, 300).unwrap(),
        ] {
            let good = verify(key.name(), &bytes, NOW_MS).unwrap();
            let void = void(&bytes);
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                match verify(key.name(), &changed, NOW_MS) {
                    Ok(record) => {
                        assert!(void[bit / 8], "bit {bit} of {bytes:x?}");
                        assert_eq!(contents(&record), contents(&good));
                    }
                    Err(Refusal::Expired(_)) => panic!("bit {bit} moved the end of life"),
                    Err(_) => {}
                }
            }
        }
    }
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    for key in keys() {
        let key = SigningKey::from_protobuf(&key).unwrap();
        let bytes = key.sign(b"/ipfs/bafkqaaa", 3, "2030-01-01T00:00:00Z".parse().unwrap(), 300).unwrap();
        for len in 0..bytes.len() {
            assert!(verify(key.name(), &bytes[..len], NOW_MS).is_err());
        }
    }
}

#[test]
fn each_field_of_version_1_says_what_is_signed() {
    let document = document();
    let data = document.encode();
    let good = || legacy(&document);
    assert!(verify_signed(&data, good()).is_ok());
    for (field, changed, missing) in [
        ("value", Entry { value: Some(b"/ipfs/bafkqaab"), ..good() }, Some(Entry { value: None, ..good() })),
        // A validity type that is missing is 0, as it is signed.
        ("validityType", Entry { validity_type: Some(1), ..good() }, None),
        (
            "validity",
            // The same instant in other words is not the same.
            Entry { validity: Some(b"2030-01-01T00:00:00.50Z"), ..good() },
            Some(Entry { validity: None, ..good() }),
        ),
        ("sequence", Entry { sequence: Some(4), ..good() }, Some(Entry { sequence: None, ..good() })),
        ("ttl", Entry { ttl: Some(301), ..good() }, Some(Entry { ttl: None, ..good() })),
    ] {
        let refusal = Err(Refusal::Contradiction(field));
        assert_eq!(verify_signed(&data, Entry { signature_v1: None, ..changed }), refusal);
        if let Some(missing) = missing {
            assert_eq!(verify_signed(&data, missing), refusal);
        }
    }
}

#[test]
fn a_value_or_a_signature_alone_calls_for_all_of_version_1() {
    let document = document();
    let data = document.encode();
    let value = Entry { value: Some(&document.value), ..Entry::default() };
    let signature = Entry { signature_v1: Some(b"x"), ..Entry::default() };
    assert_eq!(verify_signed(&data, value), Err(Refusal::Contradiction("validity")));
    assert_eq!(verify_signed(&data, signature), Err(Refusal::Contradiction("value")));
}

#[test]
fn without_value_and_signature_version_1_is_not_there() {
    // So the specification has it, and Kubo: an empty field counts as none.
    let rest = Entry { value: Some(b""), signature_v1: Some(b""), sequence: Some(9), ..Entry::default() };
    assert_eq!(verify_signed(&document().encode(), rest).unwrap().sequence(), 3);
}

#[test]
fn an_end_that_is_no_time_is_refused() {
    let until = |validity: &[u8]| {
        let data = Document { validity: validity.to_vec(), ..document() }.encode();
        verify_signed(&data, Entry::default())
    };
    assert!(until(b"2030-01-01T00:00:00+05:00").is_ok());
    for validity in [&b""[..], b"tomorrow", b"1893456000", b"2030-01-01", b"2030-13-01T00:00:00Z", b"\xff"] {
        assert_eq!(until(validity), Err(Refusal::BadDocument("Validity is no RFC 3339 time")));
    }
    assert!(matches!(until(b"0000-01-01T00:00:00Z"), Err(Refusal::Expired(_))));
}

#[test]
fn a_record_that_ends_by_another_rule_is_refused() {
    for validity_type in [1, u64::MAX] {
        let data = Document { validity_type, ..document() }.encode();
        assert_eq!(verify_signed(&data, Entry::default()), Err(Refusal::UnknownValidity(validity_type)));
    }
}

#[test]
fn a_malformed_document_is_refused_though_it_is_signed() {
    let negative_ttl = hex::encode(document().encode()).replacen("54544c19012c", "54544c39012c", 1);
    let refusal = verify_signed(&hex::decode(negative_ttl).unwrap(), Entry::default());
    assert_eq!(refusal, Err(Refusal::BadDocument("an integer is negative")));
    for data in [&[0xa0][..], &[0], b"{}"] {
        assert!(matches!(verify_signed(data, Entry::default()), Err(Refusal::BadDocument(_))));
    }
}

#[test]
fn keys_of_the_owner_may_be_in_the_document() {
    let mut data = document().encode();
    data[0] += 1;
    data.extend_from_slice(b"\x64_ext\xa1\x61a\xf6");
    assert_eq!(verify_signed(&data, Entry::default()).unwrap().sequence(), 3);
}

#[test]
fn what_is_not_there_is_missed() {
    let [short, rsa, _] = keys().map(|key| pair(&key));
    let data = document().encode();
    let signature = rsa.sign(&signed_bytes(&data)).unwrap();
    let key = rsa.public().encode_protobuf();
    let full = || Entry {
        pub_key: Some(&key),
        signature_v2: Some(&signature),
        data: Some(&data),
        ..Entry::default()
    };
    let verify = |entry: Entry<'_>| verify(name_of(&rsa), &entry.encode(), NOW_MS).map(drop);
    assert_eq!(verify(full()), Ok(()));
    assert_eq!(verify(Entry { pub_key: None, ..full() }), Err(Refusal::NoKey));
    assert_eq!(verify(Entry { pub_key: Some(b"junk"), ..full() }), Err(Refusal::UnknownKey));
    let other = short.public().encode_protobuf();
    assert_eq!(verify(Entry { pub_key: Some(&other), ..full() }), Err(Refusal::WrongKey));
    for none in [None, Some(&b""[..])] {
        assert_eq!(verify(Entry { signature_v2: none, ..full() }), Err(Refusal::NoSignature));
        assert_eq!(verify(Entry { data: none, ..full() }), Err(Refusal::NoDocument));
    }
}

#[test]
fn a_short_key_may_be_brought_though_its_name_has_it() {
    let [short, rsa, _] = keys().map(|key| pair(&key));
    let key = short.public().encode_protobuf();
    let bring =
        |key: &[u8]| verify_signed(&document().encode(), Entry { pub_key: Some(key), ..Entry::default() });
    assert!(bring(&key).is_ok());
    // The same key in more words is not what the name stands for.
    assert_eq!(bring(&[&key[..], &[0x18, 0]].concat()), Err(Refusal::WrongKey));
    assert_eq!(bring(&rsa.public().encode_protobuf()), Err(Refusal::WrongKey));
}

#[test]
fn a_name_that_is_no_key_has_no_records() {
    // A peer id may be any short bytes; these are no key.
    let name = Name::from_routing_key(b"/ipns/\x00\x02\x08\x01").unwrap();
    let entry = Entry { signature_v2: Some(b"x"), data: Some(b"x"), ..Entry::default() };
    assert_eq!(verify(name, &entry.encode(), NOW_MS), Err(Refusal::UnknownKey));
}

#[test]
fn size_comes_first() {
    let name = name_of(&pair(&keys()[0]));
    assert_eq!(verify(name, &[0xff; MAX_RECORD_BYTES + 1], NOW_MS), Err(Refusal::TooLarge(10_241)));
    assert!(matches!(verify(name, &[0xff; MAX_RECORD_BYTES], NOW_MS), Err(Refusal::Malformed(_))));
}

proptest! {
    #[test]
    fn nobody_guesses_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify(name_of(&pair(&keys()[0])), &bytes, NOW_MS).is_err());
    }

    #[test]
    fn nobody_guesses_a_signature_or_a_key(
        junk in proptest::collection::vec(any::<u8>(), 1..300),
        kind in 0..4u8,
        which in 0..3usize,
    ) {
        let pair = pair(&keys()[which]);
        let (data, key) = (document().encode(), pair.public().encode_protobuf());
        let signed = Entry { pub_key: Some(&key), signature_v2: Some(&junk), data: Some(&data), ..Entry::default() };
        prop_assert_eq!(verify(name_of(&pair), &signed.encode(), NOW_MS), Err(Refusal::BadSignature));
        let junk_key = [&[8, kind, 0x12, junk.len() as u8 & 0x7f][..], &junk].concat();
        let brought = Entry { pub_key: Some(&junk_key), ..signed };
        prop_assert!(verify(name_of(&pair), &brought.encode(), NOW_MS).is_err());
    }

    #[test]
    fn other_bytes_in_a_good_record_change_nothing_that_is_signed(
        at in any::<prop::sample::Index>(),
        remove in 0..4usize,
        insert in proptest::collection::vec(any::<u8>(), 0..4),
        which in 0..3usize,
    ) {
        let key = SigningKey::from_protobuf(&keys()[which]).unwrap();
        let bytes = key.sign(b"/ipfs/bafkqaaa", 3, "2030-01-01T00:00:00Z".parse().unwrap(), 300).unwrap();
        let good = verify(key.name(), &bytes, NOW_MS).unwrap();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + remove);
        let changed = [&bytes[..at], &insert, &bytes[end..]].concat();
        match verify(key.name(), &changed, NOW_MS) {
            Ok(record) => prop_assert_eq!(contents(&record), contents(&good)),
            Err(refusal) => prop_assert!(!matches!(refusal, Refusal::Expired(_))),
        }
    }
}
