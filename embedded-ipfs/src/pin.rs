//! Recursive pins: a parallel walk that fetches what is missing, then one durable record.

use cid::Cid;
use futures::stream::FuturesUnordered;
use futures::StreamExt;
use tokio::sync::watch;

use crate::block::inline;
use crate::core::{check_codec, Core};
use crate::dag::Sight;
use crate::store::Guard;
use crate::{Error, PinLimits, PinReport, Progress};

/// Blocks asked for at once.
const IN_FLIGHT: usize = 32;

/// Fetches a DAG and records its pin. Says on `progress` how far it is.
pub(crate) async fn pin(
    core: Core,
    root: Cid,
    limits: PinLimits,
    progress: watch::Sender<Progress>,
) -> Result<PinReport, Error> {
    let store = core.store.clone();
    let known = tokio::task::spawn_blocking(move || store.pin(&root)).await;
    if let Some(report) = known.unwrap_or(Err(Error::Stopped))? {
        return Ok(report);
    }
    let core = core.below(root);
    let mut walk = Walk { guard: core.store.guard(), limits, stack: Vec::new(), done: Progress::default() };
    walk.found(root)?;
    let mut visits = FuturesUnordered::new();
    loop {
        while visits.len() < IN_FLIGHT {
            let Some((cid, new)) = walk.stack.pop() else {
                break;
            };
            let core = core.clone();
            visits.push(async move { (new, core.visit(cid).await) });
        }
        let Some((new, visited)) = visits.next().await else {
            break;
        };
        let visited = visited?;
        if new {
            walk.count(visited.size)?;
            progress.send_replace(walk.done);
        }
        for link in visited.links {
            walk.found(link)?;
        }
    }
    // The guard lives until the pin is recorded, so that no sweep comes between.
    let report = PinReport { cid: root, blocks: walk.done.blocks, bytes: walk.done.bytes };
    core.record_pin(report.clone()).await?;
    Ok(report)
}

struct Walk {
    guard: Guard,
    limits: PinLimits,
    /// Blocks to visit, and whether their bytes count (they do not if the block was seen under another codec).
    stack: Vec<(Cid, bool)>,
    done: Progress,
}

impl Walk {
    fn found(&mut self, cid: Cid) -> Result<(), Error> {
        if inline(&cid).is_some() {
            return Ok(());
        }
        check_codec(&cid)?;
        match self.guard.see(&cid) {
            Sight::New => self.stack.push((cid, true)),
            Sight::OtherCodec => self.stack.push((cid, false)),
            Sight::Known => {}
        }
        if self.guard.len() > self.limits.max_blocks {
            return Err(Error::TooManyBlocks { limit: self.limits.max_blocks });
        }
        Ok(())
    }

    fn count(&mut self, size: u64) -> Result<(), Error> {
        self.done.blocks += 1;
        self.done.bytes += size;
        if self.done.bytes > self.limits.max_bytes {
            return Err(Error::TooManyBytes { limit: self.limits.max_bytes });
        }
        Ok(())
    }
}
