use super::*;
use crate::block::{cid_of, DAG_PB, RAW};
use crate::Error;
use cid::multihash::Multihash;
use cid::Version;
use proptest::prelude::*;

fn raw(bytes: &[u8]) -> Cid {
    cid_of(Version::V1, RAW, bytes)
}

fn archive(roots: &[Cid], blocks: &[(Cid, &[u8])]) -> Vec<u8> {
    let blocks: Vec<_> = blocks.iter().map(|(cid, bytes)| (*cid, bytes.to_vec().into())).collect();
    write_archive(roots, &blocks)
}

/// An archive of version 2 around one of version 1.
fn wrapped(inner: &[u8], padding: usize, index: &[u8]) -> Vec<u8> {
    let begin = 51 + padding as u64;
    let mut out = b"\x0a\xa1\x67version\x02".to_vec();
    out.extend_from_slice(&[0; 16]);
    for n in [begin, inner.len() as u64, begin + inner.len() as u64] {
        out.extend_from_slice(&n.to_le_bytes());
    }
    out.extend_from_slice(&vec![0; padding]);
    out.extend_from_slice(inner);
    out.extend_from_slice(index);
    out
}

/// Reads an archive that comes in pieces of so many bytes.
fn read(archive: &[u8], piece: usize) -> Result<Vec<Item>, Error> {
    let (mut decoder, mut items) = (Decoder::new(), Vec::new());
    for bytes in archive.chunks(piece) {
        decoder.feed(bytes);
        while let Some(item) = decoder.next()? {
            items.push(item);
        }
    }
    decoder.finish().map(|()| items)
}

fn fault(archive: &[u8]) -> (u64, BadCar) {
    let faults: Vec<_> = [1, 7, usize::MAX]
        .into_iter()
        .map(|piece| match read(archive, piece) {
            Err(Error::Car { at, fault }) => (at, fault),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(faults.iter().all(|fault| *fault == faults[0]), "however the bytes come: {faults:?}");
    faults[0].clone()
}

#[test]
fn an_archive_reads_back_however_its_bytes_come_and_whatever_wraps_it() {
    let v0 = cid_of(Version::V0, DAG_PB, b"\x0a\0");
    let identity = Cid::new_v1(RAW, Multihash::wrap(0, b"here").unwrap());
    let blocks = [(raw(b"one"), &b"one"[..]), (v0, b"\x0a\0"), (raw(b""), b""), (identity, b"here")];
    let roots = [raw(b"one"), v0];
    let plain = archive(&roots, &blocks);
    let mut expected = vec![Item::Roots(roots.to_vec())];
    expected.extend(blocks.map(|(cid, bytes)| Item::Block(cid, bytes.into())));
    for bytes in [plain.clone(), wrapped(&plain, 0, b""), wrapped(&plain, 9, b"an index of some kind")] {
        for piece in [1, 2, 40, bytes.len()] {
            assert_eq!(read(&bytes, piece).unwrap(), expected);
        }
    }
    assert_eq!(read(&archive(&[], &[]), 1).unwrap(), [Item::Roots(vec![])], "nothing at all");
}

#[test]
fn the_header_is_that_of_the_specification() {
    // The root and the first bytes of an archive that `ipfs dag export` wrote.
    let root: Cid = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse().unwrap();
    let expected = [&b"\x38\xa2\x65roots\x81\xd8\x2a\x58\x23\x00"[..], &root.to_bytes(), b"\x67version\x01"];
    assert_eq!(header(&[root]), expected.concat());
    let many: Vec<_> = (0..300u32).map(|n| raw(&n.to_be_bytes())).collect();
    for count in [0, 1, 23, 24, 255, 256, 300] {
        assert_eq!(read(&header(&many[..count]), 100).unwrap(), [Item::Roots(many[..count].to_vec())]);
    }
}

#[test]
fn what_is_wrong_is_told_with_the_place_where_it_is() {
    let (one, two) = (raw(b"one"), raw(b"two"));
    let good = archive(&[one], &[(one, b"one")]);
    let at = good.len() as u64;
    let and = |more: &[u8]| fault(&[&good[..], more].concat());
    assert_eq!(fault(&archive(&[one], &[(one, b"one"), (two, b"tow")])), (at, BadCar::Mismatch(two)));
    assert_eq!(and(&[0]), (at, BadCar::Length), "a section of nothing");
    assert_eq!(and(&[0x83, 0x00]), (at, BadCar::Length), "3, written in two bytes");
    assert_eq!(and(&[0xff; 12]), (at, BadCar::Length), "a length without end");
    assert_eq!(and(&[0xff, 0xff, 0xff, 0xff, 0x0f]), (at, BadCar::TooLong(u64::from(u32::MAX))));
    assert_eq!(and(&[3, 1, 0x55]), (at, BadCar::CutShort), "the last section is cut short");
    assert_eq!(and(&[0x80]), (at, BadCar::CutShort), "a length is cut short");
    assert_eq!(and(&[4, 9, 9, 9, 9]), (at, BadCar::Cid));
    let digest = one.hash().digest();
    let foreign = Cid::new_v1(RAW, Multihash::wrap(0xd5, digest).unwrap());
    let short = Cid::new_v1(RAW, Multihash::wrap(0x12, &digest[..20]).unwrap());
    assert_eq!(fault(&archive(&[one], &[(one, b"one"), (foreign, b"one")])), (at, BadCar::Hash(0xd5)));
    assert_eq!(fault(&archive(&[one], &[(one, b"one"), (short, b"one")])), (at, BadCar::Hash(0x12)));
}

#[test]
fn what_is_no_archive_is_refused() {
    assert_eq!(fault(b"\x0bhello world"), (0, BadCar::Header));
    assert_eq!(fault(b"\x0a\xa1\x67version\x03"), (0, BadCar::Version(3)));
    assert_eq!(fault(b"\x0a\xa1\x67version\x01"), (0, BadCar::Header), "no roots");
    assert_eq!(fault(b"\x08\xa1\x65roots\x80"), (0, BadCar::Header), "no version");
    assert_eq!(fault(b"\x13\xa2\x67version\x01\x67version\x01"), (0, BadCar::Header), "a key twice");
    assert_eq!(fault(&header(&[raw(b"x")])[..20]), (0, BadCar::CutShort));
    assert_eq!(fault(&[0xff, 0xff, 0x7f]), (0, BadCar::TooLong((1 << 21) - 1)));
    for nothing in [&b""[..], b"\x0a"] {
        let (decoder, outcome) = (Decoder::new(), read(nothing, 1));
        assert!(decoder.finish().is_err() && outcome.is_err(), "{nothing:?}");
    }
}

#[test]
fn version_2_says_where_version_1_lies_and_is_held_to_it() {
    let one = raw(b"one");
    let inner = archive(&[one], &[(one, b"one")]);
    let whole = wrapped(&inner, 0, b"");
    let with = |at: usize, n: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&n.to_le_bytes());
        bytes
    };
    assert_eq!(fault(&with(27, 50)), (11, BadCar::Header), "within its own header");
    assert_eq!(fault(&with(27, u64::MAX)), (11, BadCar::Header), "beyond everything");
    let last = 51 + header(&[one]).len() as u64;
    assert_eq!(fault(&with(35, inner.len() as u64 - 1)), (last, BadCar::CutShort), "shorter than it is");
    assert_eq!(fault(&with(35, inner.len() as u64 + 1)).1, BadCar::CutShort, "longer than it is");
    assert_eq!(fault(&wrapped(&whole, 0, b"")), (51, BadCar::Version(2)), "one in the other");
    assert_eq!(fault(&whole[..30]), (11, BadCar::CutShort));
}

proptest! {
    #[test]
    fn any_bytes_are_survived_and_need_no_more_memory_than_a_section(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..40,
    ) {
        let mut start = header(&[raw(b"x")]);
        start.extend_from_slice(&bytes);
        let _ = read(&start, piece);
        let _ = read(&bytes, piece);
    }

    #[test]
    fn an_archive_with_a_flipped_bit_gives_no_wrong_block(bit in 0usize..1000, flip in 0u8..8) {
        let blocks: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n; 20]).collect();
        let blocks: Vec<_> = blocks.iter().map(|block| (raw(block), &block[..])).collect();
        let mut bytes = archive(&[blocks[0].0], &blocks);
        let at = bit % bytes.len();
        bytes[at] ^= 1 << flip;
        for item in read(&bytes, usize::MAX).into_iter().flatten() {
            if let Item::Block(cid, block) = item {
                prop_assert!(crate::verify(&cid, &block).is_ok());
            }
        }
    }
}
