//! Makes directories: one block of links, or a trie of shards where the block would be too large.

use cid::Version;

use super::{directory, murmur3, shard};
use crate::batch::Batch;
use crate::block::DAG_PB;
use crate::dag::pb::Link;
use crate::{AddOptions, DirectorySize, Error};

/// Bytes beyond which a directory is sharded, as Kubo decides it.
const LARGEST_BLOCK: usize = 256 << 10;
/// Levels of shards that a hash of 64 bits has, at 8 bits each.
const LEVELS: u32 = 8;

/// A directory of entries in the order of their names.
pub(super) fn link_up(
    entries: &[(String, Link<'static>)],
    options: &AddOptions,
    batch: &mut Batch,
) -> Result<Link<'static>, Error> {
    let links: Vec<_> = entries.iter().map(|(name, link)| Link { name: name.as_bytes(), ..*link }).collect();
    let block = match options.directory_size {
        DirectorySize::Links => {
            let estimate: usize = links.iter().map(|link| link.name.len() + link.cid.encoded_len()).sum();
            (estimate <= LARGEST_BLOCK).then(|| directory(&links))
        }
        DirectorySize::Block => Some(directory(&links)).filter(|block| block.len() <= LARGEST_BLOCK),
    };
    if let Some(block) = block {
        let below = links.iter().map(|link| link.total_size).sum();
        return Ok(batch.block(options.version(), DAG_PB, block.into(), below));
    }
    let mut entries: Vec<_> = entries.iter().map(|(name, link)| Hashed::new(name, *link)).collect();
    entries.sort_by_key(|entry| entry.hash);
    link_up_shards(&entries, 0, options.version(), batch)
}

struct Hashed<'a> {
    hash: u64,
    name: &'a str,
    link: Link<'static>,
}

impl<'a> Hashed<'a> {
    fn new(name: &'a str, link: Link<'static>) -> Self {
        Hashed { hash: murmur3::hash(name.as_bytes()), name, link }
    }

    fn slot(&self, level: u32) -> usize {
        (self.hash >> (56 - 8 * level) & 0xff) as usize
    }
}

/// A shard of entries that have `level` bytes of their hash in common, in the order of their hashes. An entry alone in its
/// slot is linked there, several get a shard of their own.
fn link_up_shards(
    entries: &[Hashed<'_>],
    level: u32,
    version: Version,
    batch: &mut Batch,
) -> Result<Link<'static>, Error> {
    if level == LEVELS {
        return Err(Error::Name(entries.first().map(|entry| entry.name.to_owned()).unwrap_or_default()));
    }
    let mut slots = [0; 32];
    let mut children = Vec::new();
    for group in entries.chunk_by(|a, b| a.slot(level) == b.slot(level)) {
        let slot = group[0].slot(level);
        slots[31 - slot / 8] |= 1 << (slot % 8);
        children.push(match group {
            [alone] => (format!("{slot:02X}{}", alone.name), alone.link),
            _ => (format!("{slot:02X}"), link_up_shards(group, level + 1, version, batch)?),
        });
    }
    let links: Vec<_> = children.iter().map(|(name, link)| Link { name: name.as_bytes(), ..*link }).collect();
    let below = links.iter().map(|link| link.total_size).sum();
    let used = slots.iter().position(|&byte| byte != 0).unwrap_or(slots.len());
    Ok(batch.block(version, DAG_PB, shard(&slots[used..], &links).into(), below))
}
