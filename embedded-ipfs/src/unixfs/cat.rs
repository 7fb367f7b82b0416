//! Reads a file, or a range of it, in order and with blocks ahead in flight.

use std::ops::Range;

use bytes::Bytes;
use cid::Cid;
use tokio::sync::mpsc;

use super::{kind, sizes, Kind};
use crate::ahead::Ahead;
use crate::block::{DAG_PB, RAW};
use crate::core::Core;
use crate::dag::pb;
use crate::Error;

/// Nodes that are known of and not yet read: far more than any layout has open.
const OPEN: usize = 64 << 10;

/// All of a file.
pub(crate) const WHOLE: Range<u64> = 0..u64::MAX;

/// Sends the pieces of a range of a file in order, empty ones too; ends early when the receiver is gone. Blocks that have
/// nothing of the range are not asked for.
pub(crate) async fn cat(
    core: Core,
    root: Cid,
    range: Range<u64>,
    pieces: mpsc::Sender<Result<Bytes, Error>>,
) {
    let mut ahead = Ahead::new(core.below(root), OPEN);
    if range.is_empty() || ahead.push_front(vec![(root, Place { at: 0, size: None })]).is_err() {
        return;
    }
    while let Some((cid, place, block)) = ahead.next().await {
        let piece = block.and_then(|block| open(&cid, &block, place, &range)).and_then(|(piece, below)| {
            ahead.push_front(below)?;
            Ok(piece)
        });
        let failed = piece.is_err();
        if pieces.send(piece).await.is_err() || failed {
            break;
        }
    }
}

/// Where a node's bytes lie in the file, and how many the node above says that there are.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    size: Option<u64>,
}

type Below = Vec<(Cid, Place)>;

/// The bytes of the range in a node itself, and the nodes that have more of it.
fn open(cid: &Cid, block: &Bytes, place: Place, range: &Range<u64>) -> Result<(Bytes, Below), Error> {
    let (data, links, sizes) = match cid.codec() {
        RAW => (block.clone(), Vec::new(), Vec::new()),
        DAG_PB => {
            let node = pb::decode(block).ok_or(Error::Malformed(*cid))?;
            let Kind::File(data) = kind(node.data).map_err(|_| Error::Malformed(*cid))? else {
                return Err(Error::NotAFile(*cid));
            };
            let data = if data.is_empty() { Bytes::new() } else { block.slice_ref(data) };
            let sizes = if *range == WHOLE { Vec::new() } else { sizes(node.data).unwrap_or_default() };
            (data, node.links, sizes)
        }
        _ => return Err(Error::NotAFile(*cid)),
    };
    if *range == WHOLE {
        let anywhere = Place { at: 0, size: None };
        return Ok((data, links.iter().map(|link| (link.cid, anywhere)).collect()));
    }
    // What was passed over by their sizes is only left out rightly if those are true.
    let mut at = place.at.saturating_add(data.len() as u64);
    let mut below = Vec::new();
    for (link, &size) in links.iter().zip(&sizes) {
        let end = at.checked_add(size).ok_or(Error::Malformed(*cid))?;
        if at < range.end && range.start < end {
            below.push((link.cid, Place { at, size: Some(size) }));
        }
        at = end;
    }
    let true_sizes = sizes.len() == links.len() && place.size.is_none_or(|size| size == at - place.at);
    if !true_sizes {
        return Err(Error::Malformed(*cid));
    }
    Ok((cut(&data, place.at, range), below))
}

/// The part of `data`, which lies at `at`, that is in the range.
fn cut(data: &Bytes, at: u64, range: &Range<u64>) -> Bytes {
    let within = |position: u64| position.saturating_sub(at).min(data.len() as u64) as usize;
    data.slice(within(range.start)..within(range.end))
}

#[cfg(test)]
mod tests;
