//! Reads a file in order, with blocks ahead in flight.

use std::collections::VecDeque;

use bytes::Bytes;
use cid::Cid;
use tokio::sync::mpsc;

use super::{kind, Kind};
use crate::block::{DAG_PB, RAW};
use crate::core::{Core, Task};
use crate::dag::pb;
use crate::Error;

/// Blocks asked for ahead of the reader.
const AHEAD: usize = 16;

/// Nodes that are known of and not yet read: far more than any layout has open, and memory that a hostile one may take.
const OPEN: usize = 64 << 10;

/// Sends the pieces of a file in order, empty ones too; ends early when the receiver is gone.
pub(crate) async fn cat(core: Core, root: Cid, pieces: mpsc::Sender<Result<Bytes, Error>>) {
    let core = core.below(root);
    let mut ahead = VecDeque::from([Slot { cid: root, block: None }]);
    let runtime = tokio::runtime::Handle::current();
    while !ahead.is_empty() {
        for slot in ahead.iter_mut().take(AHEAD).filter(|slot| slot.block.is_none()) {
            let (core, cid) = (core.clone(), slot.cid);
            slot.block = Some(Task::spawn(&runtime, async move { core.get(cid).await }));
        }
        let Some(Slot { cid, block: Some(block) }) = ahead.pop_front() else {
            break;
        };
        let opened = match block.join().await {
            Ok(Ok(bytes)) => open(&cid, &bytes),
            Ok(Err(error)) | Err(error) => Err(error),
        };
        let piece = match opened {
            Ok((_, links)) if ahead.len() + links.len() > OPEN => {
                Err(Error::TooManyBlocks { limit: OPEN as u64 })
            }
            Ok((piece, links)) => {
                for cid in links.into_iter().rev() {
                    ahead.push_front(Slot { cid, block: None });
                }
                Ok(piece)
            }
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if pieces.send(piece).await.is_err() || failed {
            break;
        }
    }
}

struct Slot {
    cid: Cid,
    block: Option<Task<Result<Bytes, Error>>>,
}

/// The bytes of the file in a node itself, and the nodes whose bytes follow.
fn open(cid: &Cid, block: &Bytes) -> Result<(Bytes, Vec<Cid>), Error> {
    match cid.codec() {
        RAW => Ok((block.clone(), Vec::new())),
        DAG_PB => {
            let node = pb::decode(block).ok_or(Error::Malformed(*cid))?;
            let Kind::File(data) = kind(node.data).map_err(|_| Error::Malformed(*cid))? else {
                return Err(Error::NotAFile(*cid));
            };
            let data = if data.is_empty() { Bytes::new() } else { block.slice_ref(data) };
            Ok((data, node.links.into_iter().map(|link| link.cid).collect()))
        }
        _ => Err(Error::NotAFile(*cid)),
    }
}

#[cfg(test)]
mod tests;
