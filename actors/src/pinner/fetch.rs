//! Brings a bid's content here: which root it is, its pin, and a walk that checks what every validator will.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;

use super::bring::{pin, Broken};
use super::{Pinner, REFETCH};
use crate::acting_as;
use crate::domain::admission::byte_cap;
use crate::domain::bid::{Event, Stage};
use crate::domain::cids;
use crate::domain::dag;
use crate::domain::market::BidKey;
use crate::domain::units::{ByteSize, FileHash};
use crate::ports::ipfs::{self, Ipfs, Progress, Reach};
use crate::ports::store::{self, Batch, Store};
use crate::records::hosting::{
    change_pin, index_leaf, keep, let_go, pin_of, root_key, HostedBid, Owner, Pin,
};
use crate::work::Works;

/// Blocks whose places in the leaf index are written together.
const LEAVES_A_BATCH: usize = 500;

/// Why content did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    /// It never will do.
    #[error("{0}")]
    Unusable(String),
    /// It may come later.
    #[error("{0}")]
    NotNow(String),
}

impl From<ipfs::Error> for Fault {
    fn from(error: ipfs::Error) -> Self {
        match error.is_transient() {
            true => Self::NotNow(error.to_string()),
            false => Self::Unusable(error.to_string()),
        }
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Idle { .. } => Self::NotNow(broken.to_string()),
            Broken::Ipfs(error) => error.into(),
        }
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::NotNow(error.to_string())
    }
}

/// Which root a digest turned out to be.
struct Root {
    cid: Cid,
    /// We knew of its pin before we asked the backend.
    known: bool,
    /// The backend had it pinned before we asked.
    pinned: bool,
}

impl Pinner {
    /// Begins to fetch a bid's content, unless it is being fetched or waits for its next try.
    pub(super) fn fetch(&mut self, hosted: &HostedBid, ctx: &mut Context<Self>) {
        if self.fetches.get(&hosted.bid).is_some_and(|fetch| fetch.running.is_some()) {
            return;
        }
        let (bid, file) = (hosted.bid, hosted.terms.file);
        let (ipfs, store, idle) =
            (Rc::clone(&self.ports.ipfs), Rc::clone(&self.ports.store), self.bid_idle());
        let find = async move { find_root(&*ipfs, &*store, file, idle).await };
        let handle =
            ctx.work(acting_as!("pinner", %bid), find, move |found, this: &mut Self, ctx| match found {
                Ok(root) => this.fetch_root(bid, &root, ctx),
                Err(fault) => this.fetch_ended(bid, Err(fault), ctx),
            });
        self.fetches.entry(bid).or_default().running = Some(handle);
    }

    fn bid_idle(&self) -> Duration {
        let hosting = self.config.hosting.as_ref();
        Duration::from_millis(hosting.map_or(self.config.mirroring.idle_ms, |hosting| hosting.idle_ms))
    }

    /// Now the root is known: writes the pin down as ours before the backend is asked for it.
    fn fetch_root(&mut self, bid: BidKey, root: &Root, ctx: &mut Context<Self>) {
        let key: super::queue::Root = root_key(&root.cid).into();
        if self.releasing.contains(&key) {
            return self.fetch_ended(bid, Err(Fault::NotNow("the root is being released".to_owned())), ctx);
        }
        let (hosted, pin) = match self.adopt_root(bid, root) {
            Ok(Some(adopted)) => adopted,
            Ok(None) => {
                self.fetches.remove(&bid);
                return;
            }
            Err(fault) => return self.fetch_ended(bid, Err(fault), ctx),
        };
        self.take_over(&key);
        let (ipfs, store) = (Rc::clone(&self.ports.ipfs), Rc::clone(&self.ports.store));
        let idle = self.bid_idle();
        let cap = byte_cap(hosted.terms.size);
        let span = acting_as!("pinner", %bid, cid = %pin.cid);
        let bring = async move { bring(&*ipfs, &*store, pin.cid, cap, idle).await };
        let handle =
            ctx.work(span, bring, move |brought, this: &mut Self, ctx| this.fetch_ended(bid, brought, ctx));
        let fetch = self.fetches.entry(bid).or_default();
        fetch.running = Some(handle);
        fetch.root = Some(key);
    }

    fn adopt_root(&self, bid: BidKey, root: &Root) -> Result<Option<(HostedBid, Pin)>, Fault> {
        let store = &*self.ports.store;
        let Some(mut hosted) = store::read::<HostedBid>(store, &bid.to_bytes())? else { return Ok(None) };
        if !matches!(hosted.stage, Stage::Fetching { .. }) {
            return Ok(None);
        }
        let mut batch = Batch::new();
        if hosted.cid != root.cid {
            let_go(store, &mut batch, hosted.cid, Owner::Bid(bid), self.ports.clock.wall())?;
            hosted.cid = root.cid;
            batch.put(&hosted);
            keep(store, &mut batch, hosted.cid, Owner::Bid(bid))?;
        }
        let pin = match pin_of(store, &root.cid)? {
            Some(pin) => pin,
            // Whose pin the backend has now is not known any more.
            None if root.known => return Err(Fault::NotNow("the root was released meanwhile".to_owned())),
            None => {
                let pin = Pin::wanted(root.cid, root.pinned);
                batch.put(&pin);
                pin
            }
        };
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        Ok(Some((hosted, pin)))
    }

    /// A fetch is over, one way or the other.
    fn fetch_ended(&mut self, bid: BidKey, brought: Result<Progress, Fault>, ctx: &mut Context<Self>) {
        let event = match &brought {
            Ok(_) => Event::Fetched,
            Err(Fault::Unusable(why)) => Event::FetchFailed(why.clone()),
            Err(Fault::NotNow(why)) => {
                self.give_back(bid, None);
                let fetch = self.fetches.entry(bid).or_default();
                fetch.failures += 1;
                let delay = REFETCH.after(fetch.failures);
                tracing::warn!(bid = bid.id.0, why, delay_ms = delay.as_millis() as u64, "fetch broke off");
                // The handle stays until then, so that no sweep begins another.
                fetch.running = Some(ctx.run_later(delay, move |this, ctx| {
                    if let Some(fetch) = this.fetches.get_mut(&bid) {
                        fetch.running = None;
                    }
                    this.refetch(bid, ctx);
                }));
                return;
            }
        };
        let written = self.fetched(bid, &event, brought.ok(), ctx).unwrap_or_else(|error| {
            tracing::error!(%error, "the end of a fetch could not be written down; fetching again");
            None
        });
        self.give_back(bid, written);
        self.fetches.remove(&bid);
    }

    fn refetch(&mut self, bid: BidKey, ctx: &mut Context<Self>) {
        match store::read::<HostedBid>(&*self.ports.store, &bid.to_bytes()) {
            Ok(Some(hosted)) if matches!(hosted.stage, Stage::Fetching { .. }) => self.fetch(&hosted, ctx),
            Ok(_) => {
                self.fetches.remove(&bid);
            }
            Err(error) => tracing::error!(%error, "a bid could not be read; the next sweep fetches it"),
        }
    }

    /// Writes the end of a fetch down. Tells the bytes of the root if it is here.
    fn fetched(
        &mut self,
        bid: BidKey,
        event: &Event,
        brought: Option<Progress>,
        ctx: &mut Context<Self>,
    ) -> Result<Option<u64>, store::Error> {
        let store = Rc::clone(&self.ports.store);
        let mut batch = Batch::new();
        let hosted = store::read::<HostedBid>(&*store, &bid.to_bytes())?;
        let mut bytes = None;
        if let (Some(brought), Some(hosted)) = (brought, hosted) {
            if let Some(mut pin) = pin_of(&*store, &hosted.cid)? {
                if pin.pinned_at.is_none() {
                    let before = pin.clone();
                    pin.bytes = brought.bytes;
                    pin.blocks = brought.blocks;
                    pin.pinned_at = Some(self.ports.clock.wall());
                    change_pin(&*store, &mut batch, Some(&before), &pin)?;
                }
                bytes = Some(pin.bytes);
            }
        }
        self.decide(Some(bid), event, batch, ctx)?;
        Ok(bytes)
    }

    /// The mirror does not bring a root as long as a bid does: nobody asks for one root twice.
    fn take_over(&mut self, root: &super::queue::Root) {
        if self.mirror.queue.taken(root) {
            self.break_off(root);
        }
    }

    /// A bid's fetch is no longer under way: whoever waits for the same root has it, or brings it itself.
    pub(super) fn give_back(&mut self, bid: BidKey, came: Option<u64>) {
        if let Some(root) = self.fetches.get_mut(&bid).and_then(|fetch| fetch.root.take()) {
            self.mirror.queue.given_back(&root, came);
            self.mirror.open = None;
            self.fill();
        }
    }
}

/// Finds out on its bytes which root a market's digest names.
async fn find_root(
    ipfs: &dyn Ipfs,
    store: &dyn Store,
    file: FileHash,
    idle: Duration,
) -> Result<Root, Fault> {
    let guess = cids::of_file(file);
    let block = tokio::time::timeout(idle, ipfs.block(guess, Reach::Network))
        .await
        .map_err(|_| Fault::NotNow(format!("nobody gave {guess}")))??
        .ok_or_else(|| Fault::NotNow(format!("{guess} was not found")))?;
    let cid = dag::root_of(file, &block);
    let known = pin_of(store, &cid)?.is_some();
    let pinned = ipfs.is_pinned(cid).await?;
    Ok(Root { cid, known, pinned })
}

/// Pins a root and walks it: every block must be one that a validator can fetch and check.
async fn bring(
    ipfs: &dyn Ipfs,
    store: &dyn Store,
    root: Cid,
    cap: ByteSize,
    idle: Duration,
) -> Result<Progress, Fault> {
    pin(ipfs, root, cap, idle).await?;
    let mut walked = Progress::default();
    let mut seen = BTreeSet::new();
    let mut ahead = vec![root];
    let mut batch = Batch::new();
    while let Some(cid) = ahead.pop() {
        let multihash = cid.hash().to_bytes();
        if dag::is_identity(&cid) || !seen.insert(multihash.clone()) {
            continue;
        }
        let block = ipfs
            .block(cid, Reach::Local)
            .await?
            .ok_or_else(|| Fault::NotNow(format!("{cid} was pinned and is not here")))?;
        let links = dag::auditable(&cid, &block)
            .map_err(|why| Fault::Unusable(format!("{cid} could not be audited: {why}")))?;
        walked.blocks += 1;
        walked.bytes += block.len() as u64;
        index_leaf(&mut batch, &multihash, root);
        ahead.extend(links);
        if batch.changes.len() >= 2 * LEAVES_A_BATCH {
            store.commit(std::mem::take(&mut batch))?;
        }
    }
    if !batch.is_empty() {
        store.commit(batch)?;
    }
    Ok(walked)
}
