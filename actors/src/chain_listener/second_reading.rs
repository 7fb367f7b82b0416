//! The second reading: final blocks are read again now and then, because a provider may have kept something from the
//! first. One range each [`REST_MS`] while nothing new waits; from the first block to the last, then over again.

use std::collections::{BTreeMap, BTreeSet};

use super::markets::owner;
use super::reader::Reader;
use super::{history, Trouble};
use crate::domain::listening::{Event, Said};
use crate::domain::units::BlockHeight;
use crate::ports::store::{self, Batch, Store};
use crate::records::following;
use crate::records::journal::{next_seq, Fact};
use crate::records::listening::{Late, Listening, SecondReading};
use crate::records::meta::{ChainStatus, ReadForGood};

/// Milliseconds between two ranges.
pub(super) const REST_MS: u64 = 60_000;
/// Entries of the journal that are looked at in one go.
const PAGE: usize = 1_000;
/// An entry about a block that stands so far above a range is behind all entries about the range: reorgs that reach
/// deeper are past finality.
const DEEPEST_REORG: u64 = 1_024;

/// Reads the next range again, if it is time.
pub(super) async fn go_on(reader: &Reader) -> Result<(), Trouble> {
    let now = reader.ports.clock.monotonic();
    if now < reader.rests_until.get() {
        return Ok(());
    }
    reader.rests_until.set(now.saturating_add(REST_MS));
    let store = &*reader.ports.store;
    if history::is_open(store)? {
        // What is in no journal yet was not kept from the first reading.
        return Ok(());
    }
    let mut so_far = Listening::read(store)?.second_reading;
    let top = ReadForGood::read(store)?.height;
    so_far.next = so_far.next.max(BlockHeight(reader.config.start_block));
    so_far.seq = so_far.seq.max(1);
    if top.0 == 0 || so_far.next > top {
        return Ok(());
    }
    let last = BlockHeight(top.0.min(so_far.next.0.saturating_add(reader.reach() - 1)));
    let Some((_, events, _)) = reader.piece(so_far.next, last).await? else { return Ok(()) };
    let facts = compare(store, so_far, last, top, events)?;
    reader.announce(&facts);
    Ok(())
}

/// Puts what the first reading missed into the journal, and moves on. Gives what was missed.
fn compare(
    store: &dyn Store,
    mut so_far: SecondReading,
    last: BlockHeight,
    top: BlockHeight,
    events: Vec<Event>,
) -> Result<Vec<Fact>, Trouble> {
    let Some(status) = ChainStatus::read(store)? else { return Ok(Vec::new()) };
    let markets = following::read_ones(store)?;
    let Known { mut standing, behind } = known(store, &so_far, last)?;
    let mut batch = Batch::new();
    let mut seq = next_seq::<Fact>(store)?;
    let mut missed = Vec::new();
    for Event { at, by, said, .. } in events {
        let Said::Known(event) = said else { continue };
        match standing.remove(&(at.block, at.log)) {
            Some(fact) if (fact.at, &fact.event) == (at, &event) => continue,
            Some(fact) => {
                // Nothing final is undone: a person has to look at this.
                tracing::error!(
                    block = at.block.0,
                    log = at.log,
                    ?fact,
                    ?event,
                    "a final event is another one now"
                );
                so_far.vanished += 1;
                continue;
            }
            None if Late::is(store, &at)? => continue,
            None => {}
        }
        tracing::error!(block = at.block.0, log = at.log, tx = %at.tx, ?event, "an event was kept from the first reading");
        let market = owner(&markets, by, status.market);
        let fact = Fact { seq, market, at, event, retracted: false };
        batch.put(&Late { at, seq });
        batch.put(&fact);
        missed.push(fact);
        seq += 1;
    }
    // A market that is read no longer shows nothing.
    standing.retain(|_, fact| markets.is_empty() || markets.iter().any(|one| one.market == fact.market));
    for fact in standing.values() {
        tracing::error!(block = fact.at.block.0, log = fact.at.log, tx = %fact.at.tx, "a final event was not shown again");
    }
    so_far.missed += missed.len() as u64;
    so_far.vanished += standing.len() as u64;
    (so_far.next, so_far.seq) = (BlockHeight(last.0 + 1), behind);
    if last >= top {
        (so_far.next, so_far.seq, so_far.passes) = (BlockHeight(0), 0, so_far.passes + 1);
    }
    // Read anew: figures may have moved while the provider was asked.
    batch.put(&Listening { second_reading: so_far, ..Listening::read(store)? });
    store.commit(batch)?;
    Ok(missed)
}

struct Known {
    /// Events of the range that stand in the journal, those aside that were found late.
    standing: BTreeMap<(BlockHeight, u32), Fact>,
    /// The first entry that may be about a later block.
    behind: u64,
}

/// What the journal has of a range's blocks.
fn known(store: &dyn Store, so_far: &SecondReading, last: BlockHeight) -> Result<Known, store::Error> {
    let mut standing = BTreeMap::new();
    let late = Late::of(store, so_far.next, last)?;
    let late: BTreeSet<u64> = late.into_iter().map(|late| late.seq).collect();
    let (mut from, mut behind) = (so_far.seq, None);
    'journal: loop {
        let page = store::list_from::<Fact>(store, &from.to_be_bytes(), PAGE)?;
        let Some(end) = page.last().map(|fact| fact.seq) else { break };
        for fact in page.into_iter().filter(|fact| !late.contains(&fact.seq)) {
            if fact.at.block > last {
                behind = behind.or(Some(fact.seq));
                if fact.at.block.0 - last.0 > DEEPEST_REORG {
                    break 'journal;
                }
            } else if fact.at.block >= so_far.next {
                let place = (fact.at.block, fact.at.log);
                if fact.retracted {
                    standing.remove(&place);
                } else {
                    standing.insert(place, fact);
                }
            }
        }
        from = end + 1;
    }
    Ok(Known { standing, behind: behind.unwrap_or(from) })
}
