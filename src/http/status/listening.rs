//! How the chain is listened to: how far, by how much at once, and what came in between.

use scatter_actors::ports::store::{self, Order, Store};
use scatter_actors::records::following::{self, Standing};
use scatter_actors::records::journal::Poison;
use scatter_actors::records::listening::Listening;
use scatter_actors::records::meta::{newest_block, ChainStatus};
use serde_json::{json, Value};

use super::Problem;
use crate::http::metrics::{
    Kind::{Counter, Gauge},
    Page,
};

/// Parked logs that are shown.
const SHOWN: usize = 20;

/// All of it; `null` before the listener has seen the chain.
pub(super) fn document(store: &dyn Store) -> Result<Value, Problem> {
    let Some(chain) = ChainStatus::read(store)? else { return Ok(Value::Null) };
    let read = newest_block(store)?.map_or(0, |block| block.number.0);
    let Listening { range, reorgs, errors, second_reading, router } = Listening::read(store)?;
    let parked = store::list::<Poison>(store, &[], Order::Descending, SHOWN)?;
    Ok(json!({
        "head": chain.head, "finalized": chain.finalized, "read": read, "lag": chain.head.0.saturating_sub(read),
        "range": range, "reorgs": reorgs, "errors": errors, "second_reading": second_reading,
        "markets": following::all(store)?, "router_trouble": router,
        "poison": { "logs": chain.poison, "newest": parked },
    }))
}

/// Adds its figures to the metrics.
pub(super) fn metrics(store: &dyn Store, page: &mut Page) -> Result<(), Problem> {
    let Some(chain) = ChainStatus::read(store)? else { return Ok(()) };
    let read = newest_block(store)?.map_or(0, |block| block.number.0);
    let Listening { range, reorgs, errors, second_reading, router } = Listening::read(store)?;
    page.single("scatter_chain_read_block", Gauge, "The newest block whose events are read.", read as f64);
    let lag = chain.head.0.saturating_sub(read) as f64;
    page.single("scatter_chain_lag_blocks", Gauge, "Blocks from there to the newest.", lag);
    page.single("scatter_chain_range_blocks", Gauge, "Blocks that are asked for at once.", range as f64);
    let depths: Vec<_> = reorgs.iter().map(|(depth, count)| (depth.to_string(), *count as f64)).collect();
    let depths = depths.iter().map(|(depth, count)| (vec![("depth", depth.as_str())], *count));
    page.family("scatter_chain_reorgs_total", Counter, "Reorgs that undid blocks, by how many.", depths);
    let errors = errors.iter().map(|(kind, count)| (vec![("kind", kind.as_str())], *count as f64));
    page.family("scatter_chain_errors_total", Counter, "Looks at the chain that failed, by kind.", errors);
    let found = [("missed", second_reading.missed), ("vanished", second_reading.vanished)];
    let found = found.map(|(what, count)| (vec![("what", what)], count as f64));
    let help = "Final events that only the second reading showed, or that it did not show again.";
    page.family("scatter_chain_second_reading_total", Counter, help, found);
    let markets = following::all(store)?;
    let markets: Vec<_> =
        markets.iter().map(|one| (one.market.address.to_string(), name(one.standing))).collect();
    let markets = markets.iter().map(|(market, is)| (vec![("market", market.as_str()), ("is", *is)], 1.0));
    let help = "The markets that are followed or were, and where each stands: current, retired or done.";
    page.family("scatter_chain_markets", Gauge, help, markets);
    let help = "1 while what the Router says cannot be followed.";
    page.single("scatter_chain_router_trouble", Gauge, help, f64::from(u8::from(router.is_some())));
    Ok(())
}

fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Current => "current",
        Standing::Retired { .. } => "retired",
        Standing::Done { .. } => "done",
    }
}
