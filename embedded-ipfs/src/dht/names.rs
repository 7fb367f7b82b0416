//! Which records of names are kept: those that their owner signed, and no older one in the place of a newer.

use ipns_record::{verify, Name, Record, Refusal};
use libp2p::kad::store::RecordStore;
use libp2p::kad::RecordKey;

use super::records::Records;

/// Why a record was not kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The key is not that of an IPNS name: nothing else is kept.
    Key,
    /// The record breaks a rule.
    Invalid(Refusal),
    /// One that counts more is here.
    Older,
}

pub(super) fn key_of(name: Name) -> RecordKey {
    name.routing_key().into()
}

/// Verifies a record and compares it with the one that is here. The same once more is fine: it is kept for longer then.
pub(super) fn check(
    records: &Records,
    key: &RecordKey,
    value: &[u8],
    now_ms: u64,
) -> Result<Record, Refused> {
    let name = Name::from_routing_key(key.as_ref()).ok_or(Refused::Key)?;
    let offered = verify(name, value, now_ms).map_err(Refused::Invalid)?;
    // One that has expired meanwhile gives way to any.
    let here = records.get(key).and_then(|here| verify(name, &here.value, now_ms).ok());
    match here {
        Some(here) if here.is_newer_than(&offered) => Err(Refused::Older),
        _ => Ok(offered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipns_record::{SigningKey, Timestamp, MAX_RECORD_BYTES};
    use libp2p::PeerId;

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn owner() -> SigningKey {
        SigningKey::from_seed(&[7; 32]).unwrap()
    }

    fn signed(key: &SigningKey, sequence: u64, eol_ms: u64) -> Vec<u8> {
        key.sign(b"/ipfs/bafkqaaa", sequence, Timestamp::from_ms(eol_ms), 0).unwrap()
    }

    fn holding(value: Vec<u8>) -> Records {
        let mut records = Records::new(PeerId::random());
        let key = key_of(owner().name());
        records.put(libp2p::kad::Record::new(key, value)).unwrap();
        records
    }

    #[test]
    fn a_newer_record_is_kept_and_an_older_one_refused() {
        let records = holding(signed(&owner(), 5, NOW + HOUR));
        let key = key_of(owner().name());
        let offer = |sequence, eol| check(&records, &key, &signed(&owner(), sequence, eol), NOW);
        assert_eq!(offer(6, NOW + 1).unwrap().sequence(), 6);
        assert_eq!(offer(5, NOW + HOUR).unwrap().sequence(), 5, "the same once more");
        assert_eq!(offer(5, NOW + 2 * HOUR).unwrap().sequence(), 5, "the same for longer");
        assert_eq!(offer(4, NOW + 2 * HOUR), Err(Refused::Older));
        assert_eq!(offer(5, NOW + 1), Err(Refused::Older));
        let later = check(&records, &key, &signed(&owner(), 4, NOW + 3 * HOUR), NOW + 2 * HOUR);
        assert_eq!(later.unwrap().sequence(), 4, "what is here has expired");
    }

    #[test]
    fn what_the_owner_did_not_sign_is_refused_whatever_its_sequence() {
        let records = Records::new(PeerId::random());
        let key = key_of(owner().name());
        let refused = |value: &[u8]| match check(&records, &key, value, NOW) {
            Err(Refused::Invalid(refusal)) => refusal,
            other => panic!("{other:?}"),
        };
        let stranger = SigningKey::from_seed(&[8; 32]).unwrap();
        assert_eq!(refused(&signed(&stranger, 9, NOW + HOUR)), Refusal::BadSignature);
        let mut tampered = signed(&owner(), 9, NOW + HOUR);
        let last = tampered.len() - 1;
        tampered[last] ^= 1;
        check(&records, &key, &tampered, NOW).unwrap_err();
        assert!(matches!(refused(&signed(&owner(), 9, NOW)), Refusal::Expired(_)));
        assert!(matches!(refused(&vec![0; MAX_RECORD_BYTES + 1]), Refusal::TooLarge(_)));
        assert!(matches!(refused(b""), Refusal::NoSignature));
    }

    #[test]
    fn keys_of_other_things_than_names_are_refused() {
        let records = Records::new(PeerId::random());
        let value = signed(&owner(), 1, NOW + HOUR);
        for key in [&b"/pk/abc"[..], b"/ipns/", b"", b"/ipns/not a multihash"] {
            assert_eq!(check(&records, &RecordKey::new(&key), &value, NOW), Err(Refused::Key));
        }
    }
}
