//! The records that the specification publishes, and what it says of each.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use ipns_record::{verify, Refusal};

/// 2026, long before the end of these records in 2123.
const NOW_MS: u64 = 1_795_000_000_000;

macro_rules! published {
    ($name:literal, $kind:literal) => {
        ($name.parse().unwrap(), &include_bytes!(concat!("vectors/", $name, "_", $kind, ".ipns-record"))[..])
    };
}

fn value(name: ipns_record::Name, bytes: &[u8]) -> Result<String, Refusal> {
    let record = verify(name, bytes, NOW_MS)?;
    assert_eq!((record.sequence(), record.ttl_ns()), (0, 1_800_000_000_000));
    assert_eq!(record.eol().to_string(), "2123-08-14T12:17:03.694052Z");
    let (cid, path) = record.content().unwrap();
    assert_eq!(path, Vec::<String>::new());
    assert_eq!(record.value(), format!("/ipfs/{cid}").as_bytes());
    Ok(cid.to_string())
}

#[test]
fn a_record_of_version_1_alone_is_refused() {
    let (name, bytes) = published!("k51qzi5uqu5dm4tm0wt8srkg9h9suud4wuiwjimndrkydqm81cqtlb5ak6p7ku", "v1");
    assert_eq!(value(name, bytes), Err(Refusal::NoSignature));
}

#[test]
fn a_record_of_both_versions_is_valid() {
    let (name, bytes) = published!("k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w", "v1-v2");
    assert_eq!(value(name, bytes).unwrap(), "bafkqaddwgevxmmraojswg33smq");
}

#[test]
fn a_record_whose_versions_have_two_values_is_refused() {
    let (name, bytes) =
        published!("k51qzi5uqu5dlmit2tuwdvnx4sbnyqgmvbxftl0eo3f33wwtb9gr7yozae9kpw", "v1-v2-broken-v1-value");
    assert_eq!(value(name, bytes), Err(Refusal::Contradiction("value")));
}

#[test]
fn a_record_whose_only_good_signature_is_of_version_1_is_refused() {
    let (name, bytes) = published!(
        "k51qzi5uqu5diamp7qnnvs1p1gzmku3eijkeijs3418j23j077zrkok63xdm8c",
        "v1-v2-broken-signature-v2"
    );
    assert_eq!(value(name, bytes), Err(Refusal::BadSignature));
}

#[test]
fn a_record_whose_only_good_signature_is_of_version_2_is_valid() {
    let (name, bytes) = published!(
        "k51qzi5uqu5dilgf7gorsh9vcqqq4myo6jd4zmqkuy9pxyxi5fua3uf7axph4y",
        "v1-v2-broken-signature-v1"
    );
    assert_eq!(value(name, bytes).unwrap(), "bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi");
}

#[test]
fn a_record_of_version_2_alone_is_valid() {
    let (name, bytes) = published!("k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f", "v2");
    assert_eq!(value(name, bytes).unwrap(), "bafkqadtwgiww63tmpeqhezldn5zgi");
}
