//! Pins: made, given up, asked for.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;
use scatter_actors::domain::cids::RAW;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Error, Progress};
use serde::Deserialize;

use super::call::{Fault, Reply, Wait};
use super::Kubo;

/// Kubo announces what it keeps by its own strategy, in sweeps over the routing system. From 0.41 on it walks the
/// routing system once more for each pin, right after it: ten thousand roots of a list would be as many walks at once.
const NO_LOOK_UP: (&str, &str) = ("fast-provide-root", "false");
/// How long a pin over its cap gets to come to its end, which makes the pin that is to be removed.
const LAST_LINE: Duration = Duration::from_millis(200);

/// A line of `pin/add`, or the answer of `pin/rm`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PinLine {
    #[serde(default)]
    pins: Option<Vec<String>>,
    #[serde(default)]
    progress: u64,
    #[serde(default)]
    bytes: u64,
}

#[derive(Deserialize)]
struct Pinned {
    #[serde(rename = "Keys")]
    keys: HashMap<String, PinType>,
}

#[derive(Deserialize)]
struct PinType {
    #[serde(rename = "Type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlockStat {
    key: String,
    size: u64,
}

/// A line of `dag/stat`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DagLine {
    /// In the last line only.
    #[serde(default)]
    unique_blocks: Option<u64>,
    dag_stats: Vec<DagStat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DagStat {
    size: u64,
    num_blocks: u64,
}

/// Whether a text names exactly this CID, in whatever base.
pub(super) fn names(text: &str, cid: &Cid) -> bool {
    text.parse::<Cid>().is_ok_and(|named| named == *cid)
}

impl PinLine {
    /// Whether this is the line that says that the root is done.
    fn is_done(&self, root: &Cid) -> bool {
        self.pins.as_ref().is_some_and(|pins| matches!(&pins[..], [pin] if names(pin, root)))
    }
}

/// A root's turn; over when dropped.
struct Turn<'a>(&'a Kubo, Cid);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.borrow_mut().remove(&self.1);
        self.0.freed.notify_waiters();
    }
}

impl Kubo {
    /// Waits until nobody else pins this root: two pins of one root at once would delete each other's record.
    async fn turn(&self, root: Cid) -> Turn<'_> {
        loop {
            let freed = self.freed.notified();
            if self.busy.borrow_mut().insert(root) {
                return Turn(self, root);
            }
            freed.await;
        }
    }

    pub(super) async fn keep(
        &self,
        root: Cid,
        cap: ByteSize,
        progress: Rc<dyn Fn(Progress)>,
    ) -> Result<Progress, Error> {
        let _turn = self.turn(root).await;
        if !self.listing.lacks(&self.api, &root).await && self.says_pinned(&root).await? {
            // Never again what is pinned: while it runs, and if it breaks off, the pin would be gone.
            return self.measure(root, cap, &progress).await;
        }
        let args = [("arg", &*root.to_string()), ("progress", "true"), NO_LOOK_UP];
        let mut reply = self.api.call(Wait::Ticks, "pin/add", &args).await?;
        let mut reached = None;
        while let Some(line) = reply.line::<PinLine>().await? {
            if line.is_done(&root) {
                self.listing.pinned(root);
                reply.finish().await;
                return match reached {
                    Some(reached) => Ok(reached),
                    None => self.measure(root, cap, &progress).await,
                };
            }
            if line.progress == 0 {
                continue;
            }
            let now = Progress { blocks: line.progress, bytes: line.bytes };
            if now.bytes > cap.0 {
                self.break_off(reply, root).await?;
                return Err(Error::TooLarge { cap: cap.0 });
            }
            if reached != Some(now) {
                reached = Some(now);
                progress(now);
            }
        }
        Err(self.api.broken("pin/add", "broke off before it was done").into())
    }

    /// Ends a pin that was not to be. A tick may be the last before success, and then a pin was or is just being made.
    async fn break_off(&self, mut reply: Reply<'_>, root: Cid) -> Result<(), Error> {
        let last = tokio::time::timeout(LAST_LINE, reply.line::<PinLine>()).await;
        drop(reply);
        self.listing.pinned(root);
        self.give_up(root).await?;
        if !matches!(last, Ok(Ok(Some(line))) if line.is_done(&root)) {
            tokio::time::sleep(LAST_LINE).await;
            self.give_up(root).await?;
        }
        Ok(())
    }

    /// Does not wait for a pin of the same root, which may take for ever: who gives up a root drops its fetch.
    pub(super) async fn give_up(&self, root: Cid) -> Result<(), Error> {
        match self.api.of::<PinLine>("pin/rm", &root, &[]).await {
            Ok(line) if line.is_done(&root) => Ok(()),
            Ok(_) => Err(self.api.broken("pin/rm", "unpinned something else").into()),
            // There was no pin, or it is still there: Kubo says either with the same status.
            Err(fault) if fault.failed() => match self.holds(root).await? {
                false => Ok(()),
                true => Err(fault.into()),
            },
            Err(fault) => Err(fault.into()),
        }
    }

    pub(super) async fn holds(&self, root: Cid) -> Result<bool, Error> {
        Ok(self.absent(self.ask_pinned(&root).await).await?.unwrap_or(false))
    }

    /// As [`Kubo::holds`] before a pin: where a breakdown passes for "no", the pin breaks down as well.
    async fn says_pinned(&self, root: &Cid) -> Result<bool, Fault> {
        match self.ask_pinned(root).await {
            Err(fault) if fault.failed() => Ok(false),
            other => other,
        }
    }

    async fn ask_pinned(&self, root: &Cid) -> Result<bool, Fault> {
        let Pinned { keys } = self.api.of("pin/ls", root, &[("type", "recursive")]).await?;
        match keys.iter().any(|(key, pin)| names(key, root) && pin.kind == "recursive") {
            true => Ok(true),
            false => Err(self.api.broken("pin/ls", format_args!("told of something else than {root}"))),
        }
    }

    /// Blocks and bytes of what is pinned; fetched again if a block was lost.
    async fn measure(
        &self,
        root: Cid,
        cap: ByteSize,
        progress: &Rc<dyn Fn(Progress)>,
    ) -> Result<Progress, Error> {
        let unheard: Rc<dyn Fn(Progress)> = Rc::new(|_| ());
        let size = match self.size_here(root, cap, &unheard).await? {
            Some(size) => size,
            None => {
                tracing::warn!(cid = %root, "a pinned dag is not whole, its blocks are fetched again");
                let fetched = self.walk(root, cap, progress, Wait::Network).await?;
                let here = self.size_here(root, cap, &unheard).await?;
                fetched.and(here).ok_or(Error::NotFound(root))?
            }
        };
        progress(size);
        Ok(size)
    }

    /// The size of a DAG that is here, `None` where it is not here as a whole.
    async fn size_here(
        &self,
        root: Cid,
        cap: ByteSize,
        progress: &Rc<dyn Fn(Progress)>,
    ) -> Result<Option<Progress>, Error> {
        if root.codec() != RAW {
            return self.walk(root, cap, progress, Wait::Ticks).await;
        }
        let stat = self.api.of::<BlockStat>("block/stat", &root, &[("offline", "true")]).await;
        match self.absent(stat).await? {
            Some(stat) if !names(&stat.key, &root) => {
                Err(self.api.broken("block/stat", "told of something else").into())
            }
            Some(stat) if stat.size > cap.0 => Err(Error::TooLarge { cap: cap.0 }),
            Some(stat) => Ok(Some(Progress { blocks: 1, bytes: stat.size })),
            None => Ok(None),
        }
    }

    /// Walks a DAG, here or fetching what is missing; `None` if that failed or was broken off.
    async fn walk(
        &self,
        root: Cid,
        cap: ByteSize,
        progress: &Rc<dyn Fn(Progress)>,
        wait: Wait,
    ) -> Result<Option<Progress>, Error> {
        let text = root.to_string();
        let local = if wait == Wait::Network { "false" } else { "true" };
        let args = [("arg", text.as_str()), ("offline", local), ("progress", "true")];
        let mut reply = match self.absent(self.api.call(wait, "dag/stat", &args).await).await? {
            Some(reply) => reply,
            None => return Ok(None),
        };
        while let Some(line) = reply.line::<DagLine>().await? {
            let [stat] = &line.dag_stats[..] else { continue };
            let now = Progress { blocks: stat.num_blocks, bytes: stat.size };
            if now.bytes > cap.0 {
                return Err(Error::TooLarge { cap: cap.0 });
            }
            if line.unique_blocks.is_some() {
                reply.finish().await;
                return Ok(Some(now));
            }
            progress(now);
        }
        Ok(None)
    }
}
