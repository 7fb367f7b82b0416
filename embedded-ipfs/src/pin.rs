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

/// The longest name of a pin, in bytes, as in Kubo.
const NAME_MAX: usize = 255;

/// Fetches a DAG and records its pin, with a name if one is given. Says on `progress` how far it is.
pub(crate) async fn pin(
    core: Core,
    root: Cid,
    name: Option<String>,
    limits: PinLimits,
    progress: watch::Sender<Progress>,
) -> Result<PinReport, Error> {
    if let Some(size) = name.as_ref().map(String::len).filter(|size| *size > NAME_MAX) {
        return Err(Error::PinName { size });
    }
    let store = core.store.clone();
    let known = tokio::task::spawn_blocking(move || store.pin(&root)).await;
    if let Some(mut report) = known.unwrap_or(Err(Error::Stopped))? {
        let Some(name) = name.clone().filter(|name| *name != report.name) else {
            return Ok(report);
        };
        // It may have been given up meanwhile.
        if core.store.name_pin(root, name.clone()).await? {
            report.name = name;
            return Ok(report);
        }
    }
    let core = core.below(root);
    let mut walk = Walk { guard: core.store.guard(), limits, stack: Vec::new(), done: Progress::default() };
    walk.found(root, 0)?;
    let mut visits = FuturesUnordered::new();
    loop {
        while visits.len() < IN_FLIGHT {
            let Some(step) = walk.stack.pop() else {
                break;
            };
            let core = core.clone();
            visits.push(async move { (core.visit(step.cid).await, step) });
        }
        let Some((visited, step)) = visits.next().await else {
            break;
        };
        let visited = visited?;
        if step.new {
            walk.count(visited.size)?;
            progress.send_replace(walk.done);
        }
        for link in visited.links {
            walk.found(link, step.depth + 1)?;
        }
    }
    // The guard lives until the pin is recorded, so that no sweep comes between.
    let Progress { blocks, bytes } = walk.done;
    let report = PinReport { cid: root, blocks, bytes, name: name.unwrap_or_default() };
    core.record_pin(report.clone()).await?;
    Ok(report)
}

struct Walk {
    guard: Guard,
    limits: PinLimits,
    stack: Vec<Step>,
    done: Progress,
}

/// A block to visit.
struct Step {
    cid: Cid,
    /// Its bytes count; they do not if the block was seen under another codec.
    new: bool,
    /// Links from the root to it, on the way by which it was found first.
    depth: u32,
}

impl Walk {
    fn found(&mut self, cid: Cid, depth: u32) -> Result<(), Error> {
        if inline(&cid).is_some() {
            return Ok(());
        }
        check_codec(&cid)?;
        let new = match self.guard.see(&cid) {
            Sight::New => true,
            Sight::OtherCodec => false,
            Sight::Known => return Ok(()),
        };
        if depth > self.limits.max_depth {
            return Err(Error::TooDeep { limit: self.limits.max_depth });
        }
        self.stack.push(Step { cid, new, depth });
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
