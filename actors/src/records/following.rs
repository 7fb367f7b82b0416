//! Which markets this node follows, and by which rules each plays.

use super::meta::ChainStatus;
use crate::domain::market::{Market, MarketRules};
use crate::ports::store::{self, Store};

/// The rules of a market; `None` before the listener has seen the chain.
///
/// # Errors
/// If the store fails.
pub fn rules_of(store: &dyn Store, _market: Market) -> Result<Option<MarketRules>, store::Error> {
    Ok(ChainStatus::read(store)?.map(|status| status.rules))
}
