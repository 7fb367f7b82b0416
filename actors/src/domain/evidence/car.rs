//! Blocks in one file: a CAR, version 1.
//!
//! Source: IPLD's CARv1 specification: a dag-cbor header with roots and version, then sections of a CID and
//! its block, each behind its length.

use std::collections::BTreeMap;

use cid::Cid;

use crate::domain::audit::walk::{Caps, Index, Refusal, Walk};
use crate::domain::cids::{self, DAG_PB};
use crate::domain::dag::{self, Unauditable};
use crate::domain::units::FileHash;

/// Why a file is not a CAR of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends in the middle, or a length is wrong.
    #[error("the CAR is cut or malformed at byte {0}")]
    Malformed(usize),
    /// Its header is not that of version 1 with one root.
    #[error("the CAR's header is not that of version 1 with one root")]
    Header,
    /// A block is not what its CID says.
    #[error(transparent)]
    Block(#[from] Unauditable),
}

/// Blocks below one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Car {
    root: Cid,
    blocks: BTreeMap<FileHash, (Cid, Vec<u8>)>,
}

impl Car {
    /// An empty one.
    pub fn new(root: Cid) -> Self {
        Self { root, blocks: BTreeMap::new() }
    }

    /// Adds a block whose bytes are known to be right.
    pub fn insert(&mut self, cid: Cid, bytes: Vec<u8>) {
        if let Some(hash) = cids::file_hash(&cid) {
            self.blocks.entry(hash).or_insert((cid, bytes));
        }
    }

    /// The bytes of a block, whatever codec its CID names.
    pub fn get(&self, cid: &Cid) -> Option<&[u8]> {
        self.blocks.get(&cids::file_hash(cid)?).map(|(_, bytes)| bytes.as_slice())
    }

    /// The root.
    pub fn root(&self) -> Cid {
        self.root
    }

    /// All blocks, in the order of their hashes.
    pub fn blocks(&self) -> impl Iterator<Item = (&Cid, &[u8])> {
        self.blocks.values().map(|(cid, bytes)| (cid, bytes.as_slice()))
    }

    /// The file; equal contents give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        section(&mut out, &[&header(&self.root)]);
        for (cid, bytes) in self.blocks.values() {
            section(&mut out, &[&cid.to_bytes(), bytes]);
        }
        out
    }

    /// Reads a file and hashes every block of it.
    ///
    /// # Errors
    /// If it is malformed, or a block is not what its CID says.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        let at = |rest: &[u8]| bytes.len() - rest.len();
        let head = take(&mut rest).ok_or(Error::Header)?;
        let mut car = Self::new(root_of(head).ok_or(Error::Header)?);
        while !rest.is_empty() {
            let place = at(rest);
            let mut block = take(&mut rest).ok_or(Error::Malformed(place))?;
            let cid = Cid::read_bytes(&mut block).map_err(|_| Error::Malformed(place))?;
            dag::verify_block(&cid, block)?;
            car.insert(cid, block.to_vec());
        }
        Ok(car)
    }

    /// Finds the index again from the inner nodes that are here. A node that is not here is taken for one
    /// without links. `None` where the root is missing.
    ///
    /// # Errors
    /// If the content is none that is audited.
    pub fn index(&self, file: FileHash, caps: Caps) -> Result<Option<Index>, Refusal> {
        if !self.blocks.contains_key(&file) {
            return Ok(None);
        }
        let mut walk = Walk::new(file, caps);
        while let Some(wanted) = walk.wants()? {
            match self.get(&wanted) {
                Some(bytes) => drop(walk.give(bytes)?),
                None => walk.skip_leaf()?,
            }
        }
        Ok(Some(walk.finish()))
    }

    /// A node that is not here although it must have links: more lies below it than a block holds.
    pub fn missing_node(&self) -> Option<Cid> {
        let links = self.blocks().flat_map(|(cid, bytes)| dag::sized_links(cid, bytes).unwrap_or_default());
        let large = |link: &dag::Link| link.cid.codec() == DAG_PB && link.size > dag::MAX_BLOCK as u64;
        links.filter(large).map(|link| link.cid).find(|cid| self.get(cid).is_none())
    }
}

/// The header as dag-cbor has it in its one form: `{"roots": [root], "version": 1}`.
fn header(root: &Cid) -> Vec<u8> {
    let cid = root.to_bytes();
    // A CID is tag 42 over its bytes behind a zero; CIDs of ours are 34 or 36 bytes, so one byte tells it.
    let cid = [&[0xd8, 0x2a, 0x58, (cid.len() + 1) as u8, 0][..], &cid].concat();
    [&b"\xa2\x65roots\x81"[..], &cid, b"\x67version\x01"].concat()
}

fn root_of(head: &[u8]) -> Option<Cid> {
    let cid = head.strip_prefix(b"\xa2\x65roots\x81\xd8\x2a\x58")?.get(2..)?;
    let root = Cid::try_from(cid.strip_suffix(b"\x67version\x01")?).ok()?;
    (header(&root) == head).then_some(root)
}

fn section(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    parts.iter().for_each(|part| out.extend(*part));
}

/// The next section.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length = 0usize;
    for shift in [0, 7, 14, 21] {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (section, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            return Some(section);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dag::made::{file, raw, Blocks};
    use crate::domain::units::ByteSize;
    use proptest::prelude::*;

    fn car_of(blocks: &Blocks, root: &Cid, keep: impl Fn(&Cid) -> bool) -> (Car, Index) {
        let mut car = Car::new(*root);
        let mut walk = Walk::new(cids::file_hash(root).unwrap(), Caps::for_size(ByteSize(1 << 20)));
        while let Some(cid) = walk.wants().unwrap() {
            let bytes = blocks[&cids::file_hash(&cid).unwrap()].clone();
            walk.give(&bytes).unwrap();
            if keep(&cid) {
                car.insert(cid, bytes);
            }
        }
        (car, walk.finish())
    }

    #[test]
    fn the_file_is_what_the_specification_says() {
        let mut blocks = Blocks::default();
        let root = raw(&mut blocks, b"a");
        let mut car = Car::new(root);
        car.insert(root, b"a".to_vec());
        let cid = hex::encode(root.to_bytes());
        let want = format!("3aa265726f6f747381d82a582500{cid}6776657273696f6e0125{cid}61");
        assert_eq!(hex::encode(car.to_bytes()), want);
    }

    #[test]
    fn a_car_reads_back_and_finds_the_index_again() {
        let mut blocks = Blocks::default();
        let root = file(&mut blocks, &[7, 8, 9].repeat(100), 16, 4);
        let (car, index) = car_of(&blocks, &root, |_| true);
        let again = Car::parse(&car.to_bytes()).unwrap();
        assert_eq!(again, car);
        let caps = Caps::for_size(ByteSize(1 << 20));
        assert_eq!(again.index(cids::file_hash(&root).unwrap(), caps), Ok(Some(index)));
    }

    #[test]
    fn without_its_root_there_is_no_index() {
        let mut blocks = Blocks::default();
        let root = file(&mut blocks, b"some bytes", 2, 4);
        let (car, _) = car_of(&blocks, &root, |cid| *cid != root);
        let caps = Caps::for_size(ByteSize(1 << 20));
        assert_eq!(car.index(cids::file_hash(&root).unwrap(), caps), Ok(None));
    }

    proptest! {
        #[test]
        fn no_flipped_byte_passes(at in any::<usize>(), flip in 1..=255u8) {
            let mut blocks = Blocks::default();
            let root = file(&mut blocks, b"some bytes of a file", 4, 2);
            let (car, _) = car_of(&blocks, &root, |_| true);
            let mut bytes = car.to_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            // A root that was flipped in the header reads, as another root.
            prop_assert!(Car::parse(&bytes).is_err() || Car::parse(&bytes).unwrap().root() != root
                || Car::parse(&bytes).unwrap() != car);
        }

        #[test]
        fn no_bytes_bring_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Car::parse(&bytes);
        }
    }
}
