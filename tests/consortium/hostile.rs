//! What a hostile publisher publishes.

use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

use super::publisher::{manifest, Publisher};

const DAG_PB: u64 = 0x70;
const RAW: u64 = 0x55;
const SHA2_256: u64 = 0x12;

/// Roots that nobody has: `count` of them, all different, other ones for another `salt`.
pub fn nobodys(salt: &str, count: u32) -> Vec<Cid> {
    let root = |n: u32| {
        let digest = Sha256::digest(format!("nobody has {salt} {n}"));
        Cid::new_v1(RAW, Multihash::wrap(SHA2_256, &digest).unwrap())
    };
    (0..count).map(root).collect()
}

/// Manifests of 10,000 roots each, so that each alone is within every bound.
pub fn flood(roots: u32) -> Vec<(String, Vec<u8>)> {
    let all = nobodys("the flood", roots);
    let files = all.chunks(10_000).enumerate();
    files.map(|(n, roots)| (format!("{n:04}.json"), manifest(roots))).collect()
}

/// A directory of 256^`depth` entries in `depth` blocks: each shard names the next one 256 times.
pub async fn endless_directory(publisher: &Publisher, depth: usize) -> Cid {
    let file = publisher.put(RAW, b"[]".to_vec()).await;
    let mut below = publisher.put(DAG_PB, shard(&file, "x.json")).await;
    for _ in 1..depth {
        below = publisher.put(DAG_PB, shard(&below, "")).await;
    }
    below
}

/// A shard of a directory, all of whose 256 places lead to `child`. `name`: that of the entry, or none below which
/// there is another shard.
fn shard(child: &Cid, name: &str) -> Vec<u8> {
    let mut node = Vec::new();
    for place in 0..256 {
        let name = format!("{place:02X}{name}");
        let hash = child.to_bytes();
        let link = [field(1, &hash), field(2, name.as_bytes()), vec![0x18, 1]].concat();
        node.extend(field(2, &link));
    }
    // UnixFS: type HAMTShard, a bit for each place, hash murmur3-x64-64, fanout 256.
    let unixfs = [vec![0x08, 5], field(2, &[0xff; 32]), vec![0x28, 0x22, 0x30, 0x80, 0x02]].concat();
    node.extend(field(1, &unixfs));
    node
}

/// A field of a protobuf message whose value is bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}
