use std::collections::BTreeMap;

use super::*;
use crate::domain::cids::RAW;
use crate::domain::dag::made::{node, raw, Blocks};

const GENEROUS: Caps = Caps { inner: 1_000, blocks: 1_000, bytes: 1 << 30 };

fn file(cid: &Cid) -> FileHash {
    cids::file_hash(cid).unwrap()
}

fn walk(blocks: &Blocks, root: &Cid, caps: Caps) -> Result<(Index, Vec<Cid>), Refusal> {
    let mut walk = Walk::new(file(root), caps);
    let mut asked = vec![];
    while let Some(cid) = walk.wants()? {
        asked.push(cid);
        walk.give(&blocks[&file(&cid)])?;
    }
    Ok((walk.finish(), asked))
}

fn all(index: &Index) -> Vec<Cid> {
    (0..index.note().blocks).map(|n| index.cid(n).unwrap()).collect()
}

#[test]
fn the_index_has_every_block_once_depth_first_and_asks_only_for_nodes() {
    let mut blocks = Blocks::default();
    let [a, b, c] = [&b"a"[..], b"b", b"c"].map(|bytes| raw(&mut blocks, bytes));
    let left = node(&mut blocks, &[a, b]);
    let right = node(&mut blocks, &[b, left, c]);
    let root = node(&mut blocks, &[left, right, left]);
    let (index, asked) = walk(&blocks, &root, GENEROUS).unwrap();
    assert_eq!(all(&index), [root, left, a, b, right, c]);
    assert_eq!(asked, [root, left, right]);
}

#[test]
fn a_root_of_plain_bytes_is_an_index_of_one() {
    let mut blocks = Blocks::default();
    let root = raw(&mut blocks, b"hello");
    let (index, asked) = walk(&blocks, &root, GENEROUS).unwrap();
    assert_eq!(all(&index), [root]);
    assert_eq!(asked, [cids::of_file(file(&root))]);
}

#[test]
fn what_a_cid_carries_itself_is_no_block() {
    let mut blocks = Blocks::default();
    let a = raw(&mut blocks, b"a");
    let root = node(&mut blocks, &[dag::probe(), a]);
    assert_eq!(all(&walk(&blocks, &root, GENEROUS).unwrap().0), [root, a]);
}

#[test]
fn above_a_cap_the_walk_ends() {
    let mut blocks = Blocks::default();
    let leaves: Vec<Cid> = (0..9u8).map(|n| raw(&mut blocks, &[n])).collect();
    let left = node(&mut blocks, &leaves[..5]);
    let root = node(&mut blocks, &[&[left][..], &leaves[5..]].concat());
    let total: u64 = [left, root].iter().map(|cid| blocks[&file(cid)].len() as u64).sum();
    let ends = |caps| walk(&blocks, &root, caps).err();
    assert_eq!(ends(Caps { inner: 2, blocks: 11, bytes: total }), None);
    assert_eq!(ends(Caps { inner: 1, ..GENEROUS }), Some(Refusal::Inner(1)));
    assert_eq!(ends(Caps { blocks: 10, ..GENEROUS }), Some(Refusal::Blocks(10)));
    assert_eq!(ends(Caps { bytes: total - 1, ..GENEROUS }), Some(Refusal::Bytes(total - 1)));
}

#[test]
fn wrong_bytes_are_refused_and_the_right_ones_still_taken() {
    let mut blocks = Blocks::default();
    let a = raw(&mut blocks, b"a");
    let root = node(&mut blocks, &[a]);
    let mut walk = Walk::new(file(&root), GENEROUS);
    assert!(matches!(walk.give(b"x"), Err(Refusal::Unauditable { why: Unauditable::WrongBytes(_), .. })));
    assert_eq!(walk.give(&blocks[&file(&root)]), Ok(Kind::Inner));
    assert_eq!(walk.wants(), Ok(None));
    assert_eq!(all(&walk.finish()), [root, a]);
}

#[test]
fn a_block_that_can_not_be_checked_ends_the_walk() {
    let mut blocks = Blocks::default();
    let cbor = Cid::new_v1(cids::DAG_CBOR, *raw(&mut blocks, b"x").hash());
    let root = node(&mut blocks, &[cbor]);
    let refused = walk(&blocks, &root, GENEROUS).err();
    assert_eq!(refused, Some(Refusal::Unauditable { cid: root, why: Unauditable::Cbor }));
}

#[test]
fn leaves_that_are_nodes_may_be_passed_over_by_who_knows_them() {
    let mut blocks = Blocks::default();
    let leaves: Vec<Cid> = (0..3).map(|_| node(&mut blocks, &[])).collect();
    assert_eq!(leaves[0], leaves[1]);
    let root = node(&mut blocks, &[leaves[0], raw(&mut Blocks::default(), b"a")]);
    let (whole, asked) = walk(&blocks, &root, GENEROUS).unwrap();
    assert_eq!(asked, [root, leaves[0]]);
    let mut short = Walk::new(file(&root), GENEROUS);
    short.give(&blocks[&file(&root)]).unwrap();
    short.skip_leaf().unwrap();
    assert_eq!(short.wants(), Ok(None));
    assert_eq!(short.finish(), whole);
}

#[test]
fn the_note_tells_two_indices_apart() {
    let mut blocks = Blocks::default();
    let (a, b) = (raw(&mut blocks, b"a"), raw(&mut blocks, b"b"));
    let notes: BTreeMap<Digest, u64> = [node(&mut blocks, &[a, b]), node(&mut blocks, &[b, a]), a]
        .iter()
        .map(|root| walk(&blocks, root, GENEROUS).unwrap().0.note())
        .map(|note| (note.digest, note.blocks))
        .collect();
    assert_eq!(notes.len(), 3);
    assert_eq!(a.codec(), RAW);
}
