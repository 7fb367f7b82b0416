//! Writes the blocks below some roots, each once, depth first in the order of the links, as `ipfs dag export` does.

use bytes::Bytes;
use cid::Cid;
use tokio::sync::mpsc;

use super::{header, section};
use crate::ahead::Ahead;
use crate::block::inline;
use crate::core::{check_codec, Core};
use crate::dag::{links, Seen, Sight};
use crate::Error;

/// Blocks that are known of and not yet written: more than the links of any two blocks.
const OPEN: usize = 1 << 18;

/// Sends an archive piece by piece; ends early when the receiver is gone.
pub(crate) async fn export(core: Core, roots: Vec<Cid>, pieces: mpsc::Sender<Result<Bytes, Error>>) {
    if let Err(error) = write(core, roots, &pieces).await {
        let _ = pieces.send(Err(error)).await; // the receiver may have gone
    }
}

async fn write(
    core: Core,
    roots: Vec<Cid>,
    pieces: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let mut seen = Seen::default();
    for root in &roots {
        check_codec(root)?;
    }
    let gone = |_| Error::Stopped;
    pieces.send(Ok(header(&roots).into())).await.map_err(gone)?;
    for root in roots {
        let mut ahead = Ahead::new(core.below(root), OPEN);
        ahead.push_front(vec![(root, ())])?;
        while let Some((cid, (), block)) = ahead.next().await {
            let sight = if inline(&cid).is_some() { Sight::OtherCodec } else { seen.see(&cid) };
            if sight == Sight::Known {
                continue;
            }
            let block = block?;
            // What was written, or comes before it in the same block, is not even read again.
            let (mut below, mut here) = (Vec::new(), Seen::default());
            for link in links(&cid, &block)? {
                check_codec(&link)?;
                if !seen.knows(&link) && here.see(&link) != Sight::Known {
                    below.push((link, ()));
                }
            }
            ahead.push_front(below)?;
            if sight == Sight::New {
                pieces.send(Ok(section(&cid, block.len()).into())).await.map_err(gone)?;
                pieces.send(Ok(block)).await.map_err(gone)?;
            }
        }
    }
    Ok(())
}
