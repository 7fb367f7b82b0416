//! Reads directories, plain and sharded ones, fetching what is missing.

use bytes::Bytes;
use cid::Cid;
use futures::stream::FuturesUnordered;
use futures::StreamExt;

use super::{kind, murmur3, Kind};
use crate::block::DAG_PB;
use crate::core::Core;
use crate::dag::pb;
use crate::{Entry, Error};

/// Shards asked for at once.
const AHEAD: usize = 8;
/// Bits of a name's hash: a trie of shards ends where they are used up.
const HASH_BITS: u32 = 64;
/// Bytes of shards that an entry may cost: the longest name of a file system, a CID and their like.
const ENTRY_BYTES: u64 = 512;

/// The entries of a directory in the order of their names, at most `cap`.
pub(crate) async fn ls(core: Core, root: Cid, cap: usize) -> Result<Vec<Entry>, Error> {
    let core = core.below(root);
    let mut listing = Listing::new(cap);
    let mut stack = vec![(root, None)];
    let mut fetches = FuturesUnordered::new();
    loop {
        while fetches.len() < AHEAD {
            let Some((cid, place)) = stack.pop() else { break };
            listing.visit()?;
            let core = core.clone();
            fetches.push(async move { (cid, place, fetch(&core, cid).await) });
        }
        let Some((cid, place, block)) = fetches.next().await else { break };
        listing.read(cid, place, &block?, &mut stack)?;
    }
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing.entries)
}

/// The CID at the end of a path of names below a directory.
pub(crate) async fn find_below(core: Core, root: Cid, path: Vec<String>) -> Result<Cid, Error> {
    let core = core.below(root);
    let mut cid = root;
    for name in path {
        cid = find(&core, cid, &name).await?;
    }
    Ok(cid)
}

async fn fetch(core: &Core, cid: Cid) -> Result<Bytes, Error> {
    if cid.codec() == DAG_PB {
        core.get(cid).await
    } else {
        Err(Error::NotADirectory(cid))
    }
}

fn open<'b>(cid: &Cid, block: &'b [u8]) -> Result<(Kind<'b>, Vec<pb::Link<'b>>), Error> {
    let node = pb::decode(block).ok_or(Error::Malformed(*cid))?;
    Ok((kind(node.data).map_err(|_| Error::Malformed(*cid))?, node.links))
}

/// Where a shard lies: the bits of the hash that each level takes, and those that the levels above took.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    bits: u32,
    taken: u32,
}

impl Place {
    /// The hexadecimal digits of a slot, before the names in a shard.
    fn digits(self) -> usize {
        self.bits.div_ceil(4) as usize
    }

    /// The place of the shards linked here; a trie that is deeper than a hash has bits is none.
    fn below(self) -> Option<Place> {
        let taken = self.taken + self.bits;
        (taken + self.bits <= HASH_BITS).then_some(Place { taken, ..self })
    }

    fn slot(self, hash: u64) -> String {
        format!("{:0width$X}", hash << self.taken >> (HASH_BITS - self.bits), width = self.digits())
    }
}

struct Listing {
    cap: usize,
    entries: Vec<Entry>,
    blocks_left: u64,
    bytes_left: u64,
}

impl Listing {
    fn new(cap: usize) -> Listing {
        let entries = cap as u64;
        Listing {
            cap,
            entries: Vec::new(),
            // A shard below the root has two entries or, rarely, one shard.
            blocks_left: Self::most_blocks(cap),
            bytes_left: (crate::MAX_BLOCK as u64).saturating_add(entries.saturating_mul(ENTRY_BYTES)),
        }
    }

    fn most_blocks(cap: usize) -> u64 {
        (cap as u64).saturating_add(64)
    }

    fn visit(&mut self) -> Result<(), Error> {
        let left = self.blocks_left.checked_sub(1);
        self.blocks_left = left.ok_or(Error::TooManyBlocks { limit: Self::most_blocks(self.cap) })?;
        Ok(())
    }

    fn read(
        &mut self,
        cid: Cid,
        place: Option<Place>,
        block: &[u8],
        stack: &mut Vec<(Cid, Option<Place>)>,
    ) -> Result<(), Error> {
        let left = self.bytes_left.checked_sub(block.len() as u64);
        self.bytes_left = left.ok_or(Error::TooManyEntries { limit: self.cap })?;
        let malformed = || Error::Malformed(cid);
        let (kind, links) = open(&cid, block)?;
        let place = match (kind, place) {
            (Kind::Directory, None) => {
                return links.iter().try_for_each(|link| self.push(cid, link, 0));
            }
            (Kind::Shard(bits), None) => Place { bits, taken: 0 },
            (Kind::Shard(bits), Some(place)) if bits == place.bits => place,
            (_, None) => return Err(Error::NotADirectory(cid)),
            (_, Some(_)) => return Err(malformed()),
        };
        for link in &links {
            if link.name.len() > place.digits() {
                self.push(cid, link, place.digits())?;
            } else if link.name.len() == place.digits() {
                stack.push((link.cid, Some(place.below().ok_or_else(malformed)?)));
            } else {
                return Err(malformed());
            }
            if stack.len() as u64 > self.blocks_left {
                return Err(Error::TooManyBlocks { limit: Self::most_blocks(self.cap) });
            }
        }
        Ok(())
    }

    /// Takes an entry whose name begins after `skipped` bytes.
    fn push(&mut self, directory: Cid, link: &pb::Link<'_>, skipped: usize) -> Result<(), Error> {
        if self.entries.len() == self.cap {
            return Err(Error::TooManyEntries { limit: self.cap });
        }
        let name = std::str::from_utf8(&link.name[skipped..]).map_err(|_| Error::Malformed(directory))?;
        self.entries.push(Entry { name: name.to_owned(), cid: link.cid, total_size: link.total_size });
        Ok(())
    }
}

/// Looks one name up: a block of a plain directory, a block a level of a sharded one.
async fn find(core: &Core, directory: Cid, name: &str) -> Result<Cid, Error> {
    let absent = || Error::NoEntry { directory, name: name.to_owned() };
    let (mut cid, mut place) = (directory, None);
    loop {
        let block = fetch(core, cid).await?;
        let (kind, links) = open(&cid, &block)?;
        let here = match (kind, place) {
            (Kind::Directory, None) => {
                let found = links.iter().find(|link| link.name == name.as_bytes());
                return found.map(|link| link.cid).ok_or_else(absent);
            }
            (Kind::Shard(bits), None) => Place { bits, taken: 0 },
            (Kind::Shard(bits), Some(place @ Place { bits: same, .. })) if bits == same => place,
            (_, None) => return Err(Error::NotADirectory(cid)),
            (_, Some(_)) => return Err(Error::Malformed(cid)),
        };
        let slot = here.slot(murmur3::hash(name.as_bytes()));
        let at = links.iter().find(|link| link.name.starts_with(slot.as_bytes())).ok_or_else(absent)?;
        match &at.name[slot.len()..] {
            b"" => (cid, place) = (at.cid, Some(here.below().ok_or(Error::Malformed(cid))?)),
            rest if rest == name.as_bytes() => return Ok(at.cid),
            _ => return Err(absent()),
        }
    }
}

#[cfg(test)]
mod tests;
