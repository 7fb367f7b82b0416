//! Makes directories: one block of links, or a trie of shards where the block would be too large.

use std::collections::HashSet;

use bytes::Bytes;
use cid::Version;

use super::add::Tree;
use super::batch::Batch;
use super::{directory, murmur3, shard};
use crate::block::DAG_PB;
use crate::core::Core;
use crate::dag::pb::Link;
use crate::{AddOptions, Added, Error};

/// Bytes of names and CIDs beyond which a directory is sharded, as Kubo estimates and decides it.
const LARGEST_BLOCK: usize = 256 << 10;
/// Levels of shards that a hash of 64 bits has, at 8 bits each.
const LEVELS: u32 = 8;

/// Adds files and a directory of them, and pins it.
pub(crate) async fn add(core: Core, files: Vec<(String, Vec<u8>)>) -> Result<Added, Error> {
    let mut names = HashSet::with_capacity(files.len());
    for (name, _) in &files {
        let usable = !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
        if !usable || !names.insert(name.as_str()) {
            return Err(Error::Name(name.clone()));
        }
    }
    let options = AddOptions::default();
    let mut batch = Batch::new(core);
    let mut entries = Vec::with_capacity(files.len());
    let mut size = 0;
    for (name, bytes) in files {
        size += bytes.len() as u64;
        let (mut tree, mut rest) = (Tree::new(options), Bytes::from(bytes));
        while !rest.is_empty() {
            tree.push_leaf(rest.split_to(rest.len().min(options.chunk_bytes)), &mut batch);
        }
        let root = tree.finish(&mut batch);
        batch.relieve().await?;
        entries.push((name, root));
    }
    let root = link_up(&entries, &mut batch)?;
    batch.finish(root.cid, true).await?;
    Ok(Added { cid: root.cid, size })
}

fn link_up(entries: &[(String, Link<'static>)], batch: &mut Batch) -> Result<Link<'static>, Error> {
    let estimate: usize = entries.iter().map(|(name, link)| name.len() + link.cid.encoded_len()).sum();
    if estimate > LARGEST_BLOCK {
        let mut entries: Vec<_> = entries.iter().map(|(name, link)| Hashed::new(name, *link)).collect();
        entries.sort_by_key(|entry| entry.hash);
        return link_up_shards(&entries, 0, batch);
    }
    let mut links: Vec<_> =
        entries.iter().map(|(name, link)| Link { name: name.as_bytes(), ..*link }).collect();
    links.sort_by_key(|link| link.name);
    let below = links.iter().map(|link| link.total_size).sum();
    Ok(batch.block(Version::V0, DAG_PB, directory(&links).into(), below))
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
fn link_up_shards(entries: &[Hashed<'_>], level: u32, batch: &mut Batch) -> Result<Link<'static>, Error> {
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
            _ => (format!("{slot:02X}"), link_up_shards(group, level + 1, batch)?),
        });
    }
    let links: Vec<_> = children.iter().map(|(name, link)| Link { name: name.as_bytes(), ..*link }).collect();
    let below = links.iter().map(|link| link.total_size).sum();
    let used = slots.iter().position(|&byte| byte != 0).unwrap_or(slots.len());
    Ok(batch.block(Version::V0, DAG_PB, shard(&slots[used..], &links).into(), below))
}
