//! Records and keys that a real Kubo made, and records that are byte for byte what Kubo would make.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use ipns_record::{verify, Name, Record, Refusal, SigningKey, Timestamp};

/// Two minutes before the short-lived record was made.
const BEFORE_MS: u64 = 1_795_270_540_000;
const FIVE_MINUTES_NS: u64 = 300_000_000_000;
const FILE: &str = "/ipfs/bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";

const ED25519_KEY: &[u8] = include_bytes!("vectors/kubo-ed25519.key");
const ED25519_PEM: &str = include_str!("vectors/kubo-ed25519.pem");
const RSA_KEY: &[u8] = include_bytes!("vectors/kubo-rsa.key");
const SECP256K1_KEY: &[u8] = include_bytes!("vectors/kubo-secp256k1.key");

macro_rules! made_by_kubo {
    ($name:literal, $kind:literal) => {{
        let bytes = &include_bytes!(concat!("vectors/", $name, "_", $kind, ".ipns-record"))[..];
        ($name.parse::<Name>().unwrap(), bytes)
    }};
}

fn v1_v2() -> (Name, &'static [u8]) {
    made_by_kubo!("k51qzi5uqu5dk9y9imn2r3qbf7gvx2mbmkqiyurxzl2dxadc6609lb3369sgio", "kubo-v1-v2")
}

fn rsa() -> (Name, &'static [u8]) {
    made_by_kubo!("k2k4r8jmbjds6v4wjvaixpehkaai50axzju8hiiobj4f2spojwgu2ipx", "kubo-rsa")
}

fn secp256k1() -> (Name, &'static [u8]) {
    made_by_kubo!("kzwfwjn5ji4pulblahka4o15dp73zv45noy3do70wzqrvegnldlb3buzzwy6naf", "kubo-secp256k1")
}

fn expired() -> (Name, &'static [u8]) {
    made_by_kubo!("k51qzi5uqu5dh3p11tfzi416guqgbmtjdfhtjeh5vo5wvxpzu2ugdb2u9qf2hh", "kubo-expired")
}

fn verified((name, bytes): (Name, &[u8])) -> Record {
    let record = verify(name, bytes, BEFORE_MS).unwrap();
    assert_eq!((record.name(), record.bytes()), (name, bytes));
    record
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_record_of_an_ed25519_key_is_valid() {
    let record = verified(v1_v2());
    assert_eq!((record.value(), record.sequence(), record.ttl_ns()), (FILE.as_bytes(), 7, FIVE_MINUTES_NS));
    assert_eq!(record.eol(), time("2126-10-28T14:16:19.244678874Z"));
}

#[test]
fn a_record_of_a_secp256k1_key_is_valid() {
    let record = verified(secp256k1());
    assert_eq!((record.value(), record.sequence(), record.ttl_ns()), (FILE.as_bytes(), 12, FIVE_MINUTES_NS));
}

#[test]
fn a_record_of_version_2_points_below_a_directory() {
    let (name, bytes) =
        made_by_kubo!("k51qzi5uqu5dk16d6r7gtm52ebxmpx4ad4wyg6gj4epnztdj77ujeop51dmb7y", "kubo-v2");
    let (cid, path) = verified((name, bytes)).content().unwrap();
    assert_eq!(cid.to_string(), "bafybeidkgxl36xl5n7lhx6guqack3bekhlkl2yqauqxfpt6xojc65q5xpi");
    assert_eq!(path, ["sub", "path"]);
}

#[test]
fn a_record_of_an_rsa_key_brings_its_key() {
    let record = verified(rsa());
    assert_eq!((record.value(), record.sequence(), record.ttl_ns()), (FILE.as_bytes(), 0, FIVE_MINUTES_NS));
    let old = made_by_kubo!("QmVujd5Vb7moysJj8itnGufN7MEtPRCNHkKpNuA4onsRa3", "rsa");
    assert_eq!(verified(old).value(), FILE.as_bytes());
}

#[test]
fn an_expired_record_is_refused_and_says_what_it_said() {
    let (name, bytes) = expired();
    let end = time("2026-11-21T14:17:51.516208473Z");
    let last_ms = end.ms();
    let record = verify(name, bytes, last_ms).unwrap();
    assert_eq!(record.eol(), end);
    assert_eq!(verify(name, bytes, last_ms + 1), Err(Refusal::Expired(Box::new(record))));
}

#[test]
fn an_exported_key_owns_its_name() {
    for (bytes, (name, _)) in [(ED25519_KEY, v1_v2()), (RSA_KEY, rsa()), (SECP256K1_KEY, secp256k1())] {
        let key = SigningKey::from_protobuf(bytes).unwrap();
        assert_eq!((key.name(), &key.to_protobuf()[..]), (name, bytes));
    }
    let from_pem = SigningKey::from_pem(ED25519_PEM).unwrap();
    assert_eq!(&from_pem.to_protobuf()[..], ED25519_KEY);
}

#[test]
fn we_sign_what_kubo_signs_byte_for_byte() {
    // Signatures of ed25519, RSA (PKCS #1 v1.5) and secp256k1 (RFC 6979) are the same each time.
    for (key, theirs) in [(ED25519_KEY, v1_v2()), (RSA_KEY, rsa()), (SECP256K1_KEY, secp256k1())] {
        let key = SigningKey::from_protobuf(key).unwrap();
        let record = verified(theirs);
        let ours = key.sign(record.value(), record.sequence(), record.eol(), record.ttl_ns()).unwrap();
        assert_eq!(ours, theirs.1);
    }
}

#[test]
fn a_record_is_valid_for_no_other_name() {
    let records = [v1_v2(), rsa(), secp256k1(), expired()];
    for (name, _) in records {
        for (owner, bytes) in records.into_iter().filter(|(owner, _)| *owner != name) {
            assert!(verify(name, bytes, BEFORE_MS).is_err(), "{owner} for {name}");
        }
    }
}
