use super::*;
use proptest::prelude::*;

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes_field(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn link(cid: &Cid, name: &str, size: u64) -> Vec<u8> {
    let mut link = Vec::new();
    bytes_field(1, &cid.to_bytes(), &mut link);
    bytes_field(2, name.as_bytes(), &mut link);
    varint(3 << 3, &mut link);
    varint(size, &mut link);
    link
}

fn node(links: &[Vec<u8>], data: Option<&[u8]>) -> Vec<u8> {
    let mut node = Vec::new();
    links.iter().for_each(|link| bytes_field(2, link, &mut node));
    data.iter().for_each(|data| bytes_field(1, data, &mut node));
    node
}

fn cid_of_bytes(codec: u64, bytes: &[u8]) -> Cid {
    Cid::new_v1(codec, Multihash::wrap(SHA2_256, &Sha256::digest(bytes)).unwrap())
}

fn file_of(bytes: &[u8]) -> FileHash {
    FileHash(Sha256::digest(bytes).into())
}

#[test]
fn what_ipfs_adds_is_read_as_it_was_meant() {
    // The CIDs are those that `ipfs add` tells for these contents.
    let hello = [&b"\x0a\x12\x08\x02\x12\x0c"[..], b"hello world\n", b"\x18\x0c"].concat();
    for (cid, block, content) in [
        ("QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o", hello, Some(&b"hello world\n"[..])),
        ("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH", b"\x0a\x04\x08\x02\x18\x00".to_vec(), Some(b"")),
        ("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b"\x0a\x02\x08\x01".to_vec(), None),
    ] {
        let cid: Cid = cid.parse().unwrap();
        assert_eq!(auditable(&cid, &block), Ok(vec![]), "{cid}");
        assert_eq!(root_of(cids::file_hash(&cid).unwrap(), &block), cid);
        assert_eq!(file_bytes(&cid, &block).ok(), content, "{cid}");
    }
}

#[test]
fn links_come_in_their_order_with_sizes() {
    let (a, b) = (cid_of_bytes(RAW, b"a"), cids::of_file(file_of(b"b")));
    let bytes = node(&[link(&a, "", 7), link(&b, "name", 300)], Some(b"\x08\x02"));
    let cid = cid_of_bytes(DAG_PB, &bytes);
    assert_eq!(auditable(&cid, &bytes), Ok(vec![a, b]));
    let want = vec![Link { cid: a, size: 7 }, Link { cid: b, size: 300 }];
    assert_eq!(sized_links(&cid, &bytes), Ok(want));
}

#[test]
fn a_block_that_no_validator_could_check_is_refused_with_its_reason() {
    let of = |code, len| Cid::new_v1(RAW, Multihash::wrap(code, &vec![1; len]).unwrap());
    assert_eq!(supported(&of(0x1b, 32)), Err(Unauditable::Hash(0x1b)));
    assert_eq!(supported(&of(SHA2_256, 20)), Err(Unauditable::Digest(20)));
    assert_eq!(supported(&cid_of_bytes(DAG_CBOR, b"")), Err(Unauditable::Cbor));
    assert_eq!(supported(&cid_of_bytes(0x72, b"")), Err(Unauditable::Codec(0x72)));

    let big = vec![0; MAX_BLOCK + 1];
    assert_eq!(auditable(&cid_of_bytes(RAW, &big), &big), Err(Unauditable::TooLarge(big.len())));
    assert_eq!(auditable(&cid_of_bytes(RAW, &big[1..]), &big[1..]), Ok(vec![]));

    let other = cid_of_bytes(RAW, b"x");
    assert_eq!(auditable(&other, b"y"), Err(Unauditable::WrongBytes(other)));

    let exotic = node(&[link(&of(0x1b, 32), "", 1)], None);
    assert_eq!(auditable(&cid_of_bytes(DAG_PB, &exotic), &exotic), Err(Unauditable::Hash(0x1b)));

    let below = Cid::new_v1(DAG_PB, Multihash::wrap(IDENTITY, &node(&[link(&other, "", 1)], None)).unwrap());
    let hidden = node(&[link(&below, "", 1)], None);
    assert_eq!(auditable(&cid_of_bytes(DAG_PB, &hidden), &hidden), Err(Unauditable::InlineLinks));
}

#[test]
fn a_root_is_dag_pb_only_if_its_bytes_are_a_canonical_unixfs_node() {
    let leaf = cid_of_bytes(RAW, b"leaf");
    let good = node(&[link(&leaf, "", 4)], Some(b"\x08\x02\x18\x04\x20\x04"));
    assert_eq!(root_of(file_of(&good), &good).codec(), DAG_PB);

    let mut data_first = node(&[], Some(b"\x08\x02"));
    bytes_field(2, &link(&leaf, "", 4), &mut data_first);
    let mut name_first = Vec::new();
    bytes_field(2, b"name", &mut name_first);
    bytes_field(1, &leaf.to_bytes(), &mut name_first);
    for (why, bytes) in [
        ("plain text", b"hello world".to_vec()),
        ("nothing", vec![]),
        ("a node without UnixFS", node(&[link(&leaf, "", 4)], None)),
        ("data before links", data_first),
        ("data twice", [node(&[], Some(b"\x08\x02")), node(&[], Some(b"\x08\x02"))].concat()),
        ("an unknown field", [node(&[], Some(b"\x08\x02")), vec![0x18, 1]].concat()),
        ("a link without a hash", node(&[vec![0x18, 1]], Some(b"\x08\x02"))),
        ("a link out of order", node(&[name_first], Some(b"\x08\x02"))),
        ("a long number", vec![0x0a, 0x82, 0x00, 0x08, 0x02]),
        ("a cut field", vec![0x0a, 0x03, 0x08, 0x02]),
        ("an unknown type", node(&[], Some(b"\x08\x06"))),
        ("no type", node(&[], Some(b"\x18\x00"))),
        ("UnixFS out of order", node(&[], Some(b"\x18\x00\x08\x02"))),
        ("a type twice", node(&[], Some(b"\x08\x02\x08\x02"))),
    ] {
        assert_eq!(root_of(file_of(&bytes), &bytes).codec(), RAW, "{why}");
    }
}

#[test]
fn the_probe_carries_its_own_answer() {
    assert_eq!(probe().to_string(), "bafkqaaa");
    assert!(is_identity(&probe()));
    assert_eq!(verify_block(&probe(), b""), Ok(()));
    assert!(verify_block(&probe(), b"x").is_err());
}

#[test]
fn a_file_of_several_blocks_or_a_directory_is_no_file_in_one_block() {
    let leaf = cid_of_bytes(RAW, b"leaf");
    let many = node(&[link(&leaf, "", 4)], Some(b"\x08\x02\x18\x04\x20\x04"));
    assert!(file_bytes(&cid_of_bytes(DAG_PB, &many), &many).is_err());
    assert_eq!(file_bytes(&leaf, b"leaf"), Ok(&b"leaf"[..]));
}

proptest! {
    #[test]
    fn no_bytes_bring_the_decoder_down(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = links(&cid_of_bytes(DAG_PB, &bytes), &bytes);
        prop_assert!(cids::file_hash(&root_of(file_of(&bytes), &bytes)) == Some(file_of(&bytes)));
    }

    /// Two encodings of one node would be two blocks that mean the same: there is only one that is read.
    #[test]
    fn what_is_read_is_written_back_to_the_same_bytes(
        names in proptest::collection::vec(("[a-z]{0,6}", any::<u64>()), 0..8),
        flip in any::<(usize, u8)>(),
    ) {
        let leaf = cid_of_bytes(RAW, b"leaf");
        let links: Vec<Vec<u8>> = names.iter().map(|(name, size)| link(&leaf, name, *size)).collect();
        let mut bytes = node(&links, Some(b"\x08\x01"));
        let at = flip.0 % bytes.len();
        bytes[at] ^= flip.1;
        if let Ok(read) = Node::decode(&bytes) {
            let names = links_again(&bytes);
            let again: Vec<Vec<u8>> = read.links.iter().zip(names).map(|(l, n)| again(l, &n)).collect();
            prop_assert_eq!(node(&again, read.data), bytes);
        }
    }
}

/// Which optional fields each link has: the name, and whether there is a size.
fn links_again(bytes: &[u8]) -> Vec<(Option<Vec<u8>>, bool)> {
    let of_link = |link: &[u8]| {
        let fields: Vec<_> = Fields::of(link).map(Result::unwrap).collect();
        let name = fields.iter().find_map(|f| match f {
            (2, Field::Bytes(name)) => Some(name.to_vec()),
            _ => None,
        });
        (name, fields.iter().any(|(number, _)| *number == 3))
    };
    Fields::of(bytes)
        .filter_map(|field| match field.unwrap() {
            (2, Field::Bytes(link)) => Some(of_link(link)),
            _ => None,
        })
        .collect()
}

fn again(read: &Link, (name, sized): &(Option<Vec<u8>>, bool)) -> Vec<u8> {
    let mut link = Vec::new();
    bytes_field(1, &read.cid.to_bytes(), &mut link);
    name.iter().for_each(|name| bytes_field(2, name, &mut link));
    if *sized {
        varint(3 << 3, &mut link);
        varint(read.size, &mut link);
    }
    link
}
