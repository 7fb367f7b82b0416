//! UnixFS directories and files in memory: real dag-pb nodes, made and read.

use cid::Cid;

use super::ipfs::{cid_of, varint};
use crate::domain::cids::DAG_PB;
use crate::ports::ipfs::Entry;

/// A directory with these entries, in their order: a test may make one that no honest node would.
pub fn unixfs_directory(entries: &[(&str, Cid)]) -> (Cid, Vec<u8>) {
    let field =
        |number: u8, bytes: &[u8]| [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat();
    let mut node = Vec::new();
    for (name, cid) in entries {
        let link = [field(1, &cid.to_bytes()), field(2, name.as_bytes()), vec![3 << 3, 0]].concat();
        node.extend(field(2, &link));
    }
    node.extend(field(1, &[1 << 3, 1]));
    (Cid::new_v0(*cid_of(DAG_PB, &node).hash()).unwrap(), node)
}

/// The entries of a directory in one block; `None` if it is none.
pub(super) fn entries(block: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut is_directory = false;
    for (number, bytes) in fields(block)? {
        match number {
            2 => {
                let link = fields(bytes)?;
                let part =
                    |wanted| link.iter().find(|(number, _)| *number == wanted).map(|(_, bytes)| *bytes);
                let name = String::from_utf8(part(2)?.to_vec()).ok()?;
                entries.push(Entry { name, cid: Cid::try_from(part(1)?).ok()? });
            }
            1 => is_directory = bytes.starts_with(&[1 << 3, 1]),
            _ => return None,
        }
    }
    entries.sort();
    is_directory.then_some(entries)
}

/// The fields of a message; the numbers among them are left out.
fn fields(mut message: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut fields = Vec::new();
    while let Some((key, rest)) = message.split_first() {
        let (value, rest) = number(rest)?;
        message = rest;
        if key & 7 == 2 {
            let (bytes, rest) = message.split_at_checked(value)?;
            message = rest;
            fields.push((key >> 3, bytes));
        }
    }
    Some(fields)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let digits = bytes[..=end].iter().rev().take(5);
    Some((digits.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f)), &bytes[end + 1..]))
}
