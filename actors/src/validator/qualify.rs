//! Whether a bid is audited: its terms, our registration, our secrets.

use std::time::Duration;

use actix::prelude::*;

use super::{Config, News, Ports, Validator};
use crate::domain::audit::life::{Event, Skip};
use crate::domain::audit::schedule::Plan;
use crate::domain::audit::slot::Slot;
use crate::domain::cids;
use crate::domain::dag;
use crate::domain::market::{BidKey, BidTerms};
use crate::domain::registration::{self, Registration};
use crate::domain::units::{Address, FileHash};
use crate::ports::chain;
use crate::ports::ipfs::{self, Reach};
use crate::ports::store::{self, Batch};
use crate::records::audit::{self, Audit, AuditSecrets, Registered};
use crate::records::meta::ChainStatus;
use crate::wake::Sweeps;

/// The world did not answer; none of the hoster's doing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Chain(#[from] chain::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Ipfs(#[from] ipfs::Error),
    #[error("our own registration file did not come in time")]
    OwnFile,
    #[error("no block is final yet to which the slot could be bound")]
    NotFinal,
    #[error("the slot's time ran out before it began")]
    TooLate,
    #[error("the chain has no block {0}")]
    NoBlock(u64),
}

/// A bid that is audited.
struct Qualified {
    terms: BidTerms,
    plan: Plan,
    slots: Vec<Slot>,
    own: Registered,
}

impl Validator {
    pub(super) fn qualify(&mut self, known: &Audit, _status: &ChainStatus, ctx: &mut Context<Self>) {
        let (config, ports, known) = (self.config.clone(), self.ports.clone(), known.clone());
        let bid = known.bid;
        let work = async move { qualify(&config, &ports, &known).await };
        self.work(
            bid,
            work,
            move |this, found, ctx| match found {
                Ok(found) => this.qualified(bid, found, ctx),
                Err(trouble) => {
                    tracing::warn!(%bid, %trouble, "a bid could not be qualified; trying again");
                    Ok(())
                }
            },
            ctx,
        );
    }

    fn qualified(
        &mut self,
        bid: BidKey,
        found: Result<Qualified, Skip>,
        ctx: &mut Context<Self>,
    ) -> Result<(), store::Error> {
        let store = self.ports.store.clone();
        let Some(status) = ChainStatus::read(&*store)? else { return Ok(()) };
        let Some(mut known) = audit::of(&*store, bid)? else { return Ok(()) };
        let mut batch = Batch::new();
        let news = match found {
            Err(skip) => Event::Qualified(Err(skip)).into(),
            Ok(found) => {
                // A reorg may have moved the announcement meanwhile: then this plan is not the bid's.
                if known.announced.map(|announced| announced.at) != Some(found.plan.pinned_at) {
                    return Ok(());
                }
                known.terms = Some(found.terms);
                known.plan = Some(found.plan);
                batch.put(&found.own);
                News { event: Event::Qualified(Ok(())), slots: found.slots }
            }
        };
        self.decide(known, news, &status, batch, ctx)?;
        self.wake(ctx);
        Ok(())
    }
}

async fn qualify(config: &Config, ports: &Ports, known: &Audit) -> Result<Result<Qualified, Skip>, Trouble> {
    let me = ports.keys.address();
    let Some(announced) = known.announced else { return Ok(Err(Skip::Retracted)) };
    if announced.hoster == me {
        return Ok(Err(Skip::OwnHosting));
    }
    let Some(terms) = ports.chain.terms(known.bid).await? else { return Ok(Err(Skip::Unknown)) };
    if terms.bidder == me {
        return Ok(Err(Skip::OwnBid));
    }
    if let Some(limit) = over(config, &terms) {
        return Ok(Err(Skip::Limits(limit)));
    }
    // The legacy market does not tell since when; where the bid's placing was not seen, the market decides.
    let Some((file, since)) = ports.chain.registration(known.bid.market.address, me).await? else {
        return Ok(Err(Skip::RegisteredLate));
    };
    if known.placed_at.is_some_and(|placed| since > placed) {
        return Ok(Err(Skip::RegisteredLate));
    }
    let Some(secrets) = AuditSecrets::read(&*ports.store)? else { return Ok(Err(Skip::NoAnchor)) };
    let patience = Duration::from_millis(config.registration_timeout_ms);
    let Some((block, own)) = registration_of(ports, me, file, patience).await? else {
        return Err(Trouble::OwnFile);
    };
    if own.and_then(|own| own.host.audit) != Some(secrets.anchor()) {
        return Ok(Err(Skip::NoAnchor));
    }
    let plan = Plan::new(announced.at, terms.duration);
    let slot = |n| {
        let secret = secrets.at(plan.secret_moment(n))?;
        Some(Slot::new(n, secret, plan.due(known.bid, n, secret)))
    };
    let Some(slots) = (0..plan.slots).map(slot).collect() else { return Ok(Err(Skip::NoSecrets)) };
    let own = Registered { bid: known.bid, who: me, file, block: hex::encode(block) };
    Ok(Ok(Qualified { terms, plan, slots, own }))
}

/// Which of the operator's limits leaves the bid out.
fn over(config: &Config, terms: &BidTerms) -> Option<String> {
    let reward = terms.pool.divided_by(u64::from(terms.min_validations.max(1)));
    let found = |what: &str| Some(what.to_owned());
    if terms.size < config.min_size || terms.size > config.max_size {
        found("its size")
    } else if terms.duration < config.min_duration || terms.duration > config.max_duration {
        found("its duration")
    } else if reward < config.min_reward {
        found("its reward")
    } else {
        None
    }
}

/// A registration file's block, and what it says if that can be read. `None` if it did not come in time.
///
/// # Errors
/// If our own IPFS node is in trouble.
pub(super) async fn registration_of(
    ports: &Ports,
    who: Address,
    file: FileHash,
    patience: Duration,
) -> Result<Option<(Vec<u8>, Option<Registration>)>, ipfs::Error> {
    let block = match tokio::time::timeout(patience, ports.ipfs.block(cids::of_file(file), Reach::Network))
        .await
    {
        Err(_) | Ok(Ok(None) | Err(ipfs::Error::NotFound(_) | ipfs::Error::Unusable(_))) => return Ok(None),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(Some(block))) => block,
    };
    // The backend checks hashes; what a stranger's file is believed for is checked here too.
    if dag::verify_block(&cids::raw_of_file(file), &block).is_err() {
        return Ok(None);
    }
    let root = dag::root_of(file, &block);
    let read = dag::file_bytes(&root, &block).ok().and_then(|bytes| registration::parse(bytes, who).ok());
    Ok(Some((block, read)))
}
