//! The markets that this node follows, as they stand in the store: written by the listener alone.

use super::audit::{Audit, AUDITS};
use super::hosting::HostedBid;
use super::intent::{Intent, IntentState};
use super::meta::ChainStatus;
use crate::domain::audit::life::Stage;
pub use crate::domain::following::{Followed, Standing};
use crate::domain::market::{BidKey, Market, MarketRules};
use crate::domain::units::{BidId, ChainTime};
use crate::ports::store::{self, Order, Record, Store, Table};

/// Seconds after which a bid that nobody hosts is on offer no more: what our market grants.
const ON_OFFER: u64 = 7 * 86_400;
/// How the markets' keys begin.
const PREFIX: &[u8] = b"market:";

impl Record for Followed {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        key_of(self.market)
    }
}

fn key_of(market: Market) -> Vec<u8> {
    [PREFIX, &beginning(market)].concat()
}

/// How the keys of a market's bids begin.
fn beginning(market: Market) -> Vec<u8> {
    let mut key = BidKey { market, id: BidId(0) }.to_bytes();
    key.truncate(28);
    key
}

/// All markets that were ever followed.
///
/// # Errors
/// If the store fails.
pub fn all(store: &dyn Store) -> Result<Vec<Followed>, store::Error> {
    store::list(store, PREFIX, Order::Ascending, usize::MAX)
}

/// The markets on which something may be ours: those that are read, the current one first.
///
/// # Errors
/// If the store fails.
pub fn read_ones(store: &dyn Store) -> Result<Vec<Followed>, store::Error> {
    let mut read = all(store)?;
    read.retain(Followed::is_read);
    read.sort_by_key(|one| !one.is_current());
    Ok(read)
}

/// The rules of a market; those of the current one for a market that is not known. `None` before the listener has seen
/// the chain.
///
/// # Errors
/// If the store fails.
pub fn rules_of(store: &dyn Store, market: Market) -> Result<Option<MarketRules>, store::Error> {
    if let Some(followed) = store::read::<Followed>(store, &key_of(market))? {
        return Ok(Some(followed.found.rules));
    }
    Ok(ChainStatus::read(store)?.map(|status| status.rules))
}

/// Whether a bid, an audit or a transaction of this node is not over on a market.
///
/// # Errors
/// If the store fails.
pub fn lives(store: &dyn Store, market: Market, now: ChainTime) -> Result<bool, store::Error> {
    let mut lives = false;
    let bids = beginning(market);
    store::visit::<HostedBid>(store, &bids, |bid| lives |= !bid.stage.is_over())?;
    let audits = [AUDITS, &bids[..]].concat();
    store::visit::<Audit>(store, &audits, |audit| lives |= is_open(&audit, now))?;
    store::visit::<Intent>(store, &[], |intent| {
        lives |= intent.market == market && intent.state != IntentState::Done;
    })?;
    Ok(lives)
}

/// Whether an audit may still ask for something: also one of a bid that somebody may yet host.
fn is_open(audit: &Audit, now: ChainTime) -> bool {
    match &audit.stage {
        Stage::Placed => audit.placed_at.is_some_and(|placed| now < placed.plus(ON_OFFER)),
        Stage::Voted { payout, .. } => payout.is_open(),
        stage => !stage.is_over(),
    }
}
