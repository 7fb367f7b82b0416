//! What the listener makes durable: spans that were read, and what a reorg takes back.

use std::collections::BTreeSet;

use super::markets::{self, owner};
use super::reader::Answered;
use super::Trouble;
use crate::domain::listening::{Event, Said};
use crate::domain::market::Position;
use crate::domain::units::{Address, BlockHeight, Digest};
use crate::planted::{planted, Bug};
use crate::ports::store::{self, Batch, Order, Record, Store};
use crate::records::following;
use crate::records::journal::{next_seq, Block, Fact, Poison};
use crate::records::listening::{Late, Listening};
use crate::records::meta::{ChainStatus, ReadForGood};

/// Blocks kept below finality, so that a reorg finds its ancestor and a person something to look at.
const BLOCKS_KEPT: u64 = 256;

/// Makes a span durable with its last block: facts, poison, block, status, in one batch. Gives the facts.
pub(super) fn take(
    store: &dyn Store,
    (_, events, last): Answered,
    range: u64,
    status: &mut ChainStatus,
) -> Result<Vec<Fact>, Trouble> {
    let markets = following::read_ones(store)?;
    let mut seq = next_seq::<Fact>(store)?;
    let mut facts = Vec::with_capacity(events.len());
    let mut batch = Batch::new();
    let mut poison = 0;
    for Event { at, by, said, .. } in events {
        match said {
            Said::Known(event) => {
                let market = owner(&markets, by, status.market);
                let fact = Fact { seq, market, at, event, retracted: false };
                seq += 1;
                batch.put(&fact);
                facts.push(fact);
            }
            Said::Poison { topics, data } => {
                park(&mut batch, status.poison + poison, (at, by, topics, data));
                poison += 1;
            }
        }
    }
    batch.put(&Block { number: last.number, hash: last.hash, parent: last.parent, time: last.time });
    // It follows on all that was read before, so as much of that as is final by now is final for good.
    let height = status.finalized.min(last.number);
    if height > ReadForGood::read(store)?.height {
        batch.put(&ReadForGood { height });
    }
    if poison > 0 {
        status.poison += poison;
        batch.put(status);
    }
    let listening = Listening::read(store)?;
    if listening.range != range {
        batch.put(&Listening { range, ..listening });
    }
    let old = status.finalized.0.saturating_sub(BLOCKS_KEPT);
    for block in store::list::<Block>(store, &[], Order::Ascending, 8)? {
        if block.number.0 < old && block.number < last.number {
            batch.delete::<Block>(&block.key());
        }
    }
    store.commit(batch)?;
    Ok(facts)
}

/// Parks a log that could not be decoded, unless so many are parked that it is only counted.
pub(super) fn park(
    batch: &mut Batch,
    parked: u64,
    (at, by, topics, mut data): (Position, Address, Vec<Digest>, Vec<u8>),
) {
    tracing::warn!(block = at.block.0, log = at.log, tx = %at.tx, "an undecodable log is parked");
    data.truncate(Poison::LONGEST);
    if parked < Poison::MOST {
        batch.put(&Poison { at, by, topics, data: hex::encode(data) });
    }
}

/// Removes blocks that are not canonical any more, the newest of ours, and retracts what stood above `ancestor`.
pub(super) fn undo(
    store: &dyn Store,
    gone: &[Block],
    ancestor: Option<BlockHeight>,
) -> Result<Vec<Fact>, Trouble> {
    let mut batch = Batch::new();
    gone.iter().for_each(|block| batch.delete::<Block>(&block.key()));
    let lost = ancestor.map_or(0, |ancestor| ancestor.0 + 1);
    markets::rewind(store, &mut batch, BlockHeight(lost))?;
    for poison in store::list_from::<Poison>(store, &lost.to_be_bytes(), usize::MAX)? {
        batch.delete::<Poison>(&poison.key());
    }
    let mut facts = retractions(store, ancestor)?;
    facts.retain(|_| !planted(Bug::KeepRetracted));
    facts.iter().for_each(|fact| batch.put(fact));
    let depth = gone.len() as u64;
    let mut listening = Listening::read(store)?;
    *listening.reorgs.entry(depth).or_default() += 1;
    batch.put(&listening);
    tracing::warn!(depth, retracted = facts.len(), "the chain was reorganised");
    store.commit(batch)?;
    Ok(facts)
}

/// The journal entries that take back everything above a block, newest first.
fn retractions(store: &dyn Store, above: Option<BlockHeight>) -> Result<Vec<Fact>, store::Error> {
    let mut seq = next_seq::<Fact>(store)?;
    let mut taken_back = BTreeSet::new();
    let mut entries = Vec::new();
    let mut until = seq;
    'journal: loop {
        let rows = store.scan(Fact::TABLE, &[], Some(&until.to_be_bytes()), Order::Descending, 256)?;
        if rows.is_empty() {
            break;
        }
        for (key, _) in rows {
            let Some(fact) = store::read::<Fact>(store, &key)? else { continue };
            until = fact.seq;
            if fact.retracted {
                taken_back.insert(fact.at);
            } else if !taken_back.remove(&fact.at) {
                if above.is_some_and(|above| fact.at.block <= above) {
                    // An event that was read late is final, and entries of later blocks stand before its own.
                    if Late::is(store, &fact.at)? {
                        continue;
                    }
                    break 'journal;
                }
                entries.push(Fact { seq, retracted: true, ..fact });
                seq += 1;
            }
        }
    }
    Ok(entries)
}
