//! Brings a bid's content here: which root it is, its pin, and a walk that checks what every validator will.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use cid::Cid;

use super::{pins, Pinner, REFETCH};
use crate::domain::admission::byte_cap;
use crate::domain::bid::{Event, Stage};
use crate::domain::cids;
use crate::domain::dag;
use crate::domain::market::BidKey;
use crate::domain::units::{ByteSize, FileHash};
use crate::ports::ipfs::{self, Ipfs, Progress, Reach};
use crate::ports::store::{self, Batch, Store};
use crate::records::hosting::{index_leaf, HostedBid, Owner, Pin};
use crate::records::meta::ChainStatus;

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

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::NotNow(error.to_string())
    }
}

/// Which root a digest turned out to be.
struct Root {
    cid: Cid,
    /// The backend had it pinned before we asked.
    foreign: bool,
}

impl Pinner {
    /// Begins to fetch a bid's content, unless it is being fetched or waits for its next try.
    pub(super) fn fetch(&mut self, hosted: &HostedBid, ctx: &mut Context<Self>) {
        if self.fetches.get(&hosted.bid).is_some_and(|fetch| fetch.running.is_some()) {
            return;
        }
        let (bid, file) = (hosted.bid, hosted.terms.file);
        let (ipfs, idle) = (Rc::clone(&self.ports.ipfs), Duration::from_millis(self.config.idle_ms));
        let find = async move { find_root(&*ipfs, file, idle).await }.into_actor(self);
        let handle = ctx.spawn(find.map(move |found, this, ctx| match found {
            Ok(root) => this.fetch_root(bid, &root, ctx),
            Err(fault) => this.fetch_ended(bid, Err(fault), ctx),
        }));
        self.fetches.entry(bid).or_default().running = Some(handle);
    }

    /// Now the root is known: writes the pin down as ours before the backend is asked for it.
    fn fetch_root(&mut self, bid: BidKey, root: &Root, ctx: &mut Context<Self>) {
        if self.releasing == Some(root.cid) {
            return self.fetch_ended(bid, Err(Fault::NotNow("the root is being released".to_owned())), ctx);
        }
        let hosted = match self.adopt_root(bid, root) {
            Ok(Some(hosted)) => hosted,
            Ok(None) => {
                self.fetches.remove(&bid);
                return;
            }
            Err(error) => return self.fetch_ended(bid, Err(error.into()), ctx),
        };
        let (ipfs, store) = (Rc::clone(&self.ports.ipfs), Rc::clone(&self.ports.store));
        let idle = Duration::from_millis(self.config.idle_ms);
        let cap = byte_cap(hosted.terms.size);
        let bring = async move { bring(&*ipfs, &*store, hosted.cid, cap, idle).await }.into_actor(self);
        let handle = ctx.spawn(bring.map(move |brought, this, ctx| this.fetch_ended(bid, brought, ctx)));
        self.fetches.entry(bid).or_default().running = Some(handle);
    }

    fn adopt_root(&self, bid: BidKey, root: &Root) -> Result<Option<HostedBid>, store::Error> {
        let store = &*self.ports.store;
        let Some(mut hosted) = store::read::<HostedBid>(store, &bid.to_bytes())? else { return Ok(None) };
        if !matches!(hosted.stage, Stage::Fetching { .. }) {
            return Ok(None);
        }
        let mut batch = Batch::new();
        if hosted.cid != root.cid {
            pins::let_go(store, &mut batch, hosted.cid, Owner::Bid(bid), self.ports.clock.wall())?;
            hosted.cid = root.cid;
            batch.put(&hosted);
            pins::keep(store, &mut batch, hosted.cid, Owner::Bid(bid))?;
        }
        if pins::of(store, &root.cid)?.is_none() {
            batch.put(&Pin {
                cid: root.cid,
                bytes: 0,
                blocks: 0,
                pinned_at: None,
                foreign: root.foreign,
                unneeded_since: None,
            });
        }
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        Ok(Some(hosted))
    }

    /// A fetch is over, one way or the other.
    fn fetch_ended(&mut self, bid: BidKey, brought: Result<Progress, Fault>, ctx: &mut Context<Self>) {
        let event = match &brought {
            Ok(_) => Event::Fetched,
            Err(Fault::Unusable(why)) => Event::FetchFailed(why.clone()),
            Err(Fault::NotNow(why)) => {
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
        self.fetches.remove(&bid);
        if let Err(error) = self.fetched(bid, &event, brought.ok(), ctx) {
            tracing::error!(%error, "the end of a fetch could not be written down; fetching again");
        }
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

    fn fetched(
        &mut self,
        bid: BidKey,
        event: &Event,
        brought: Option<Progress>,
        ctx: &mut Context<Self>,
    ) -> Result<(), store::Error> {
        let store = Rc::clone(&self.ports.store);
        let Some(status) = ChainStatus::read(&*store)? else { return Ok(()) };
        let mut batch = Batch::new();
        let hosted = store::read::<HostedBid>(&*store, &bid.to_bytes())?;
        if let (Some(brought), Some(hosted)) = (brought, hosted) {
            if let Some(mut pin) = pins::of(&*store, &hosted.cid)? {
                pin.bytes = brought.bytes;
                pin.blocks = brought.blocks;
                pin.pinned_at = Some(self.ports.clock.wall());
                batch.put(&pin);
            }
        }
        self.decide(Some(bid), event, &status, batch, ctx)
    }
}

/// Finds out on its bytes which root a market's digest names.
async fn find_root(ipfs: &dyn Ipfs, file: FileHash, idle: Duration) -> Result<Root, Fault> {
    let guess = cids::of_file(file);
    let block = tokio::time::timeout(idle, ipfs.block(guess, Reach::Network))
        .await
        .map_err(|_| Fault::NotNow(format!("nobody gave {guess}")))??
        .ok_or_else(|| Fault::NotNow(format!("{guess} was not found")))?;
    let cid = dag::root_of(file, &block);
    let foreign = ipfs.is_pinned(cid).await?;
    Ok(Root { cid, foreign })
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

/// Pins, and gives up when nothing has come for as long as `idle`.
async fn pin(ipfs: &dyn Ipfs, root: Cid, cap: ByteSize, idle: Duration) -> Result<Progress, Fault> {
    let newest = Rc::new(Cell::new(Progress::default()));
    let report = {
        let newest = Rc::clone(&newest);
        Rc::new(move |progress| newest.set(progress))
    };
    let mut pin = ipfs.pin(root, cap, report);
    loop {
        let before = newest.get();
        match tokio::time::timeout(idle, &mut pin).await {
            Ok(done) => return Ok(done?),
            Err(_) if newest.get() == before => {
                return Err(Fault::NotNow(format!("{root} brought nothing for {} s", idle.as_secs())));
            }
            Err(_) => {}
        }
    }
}
