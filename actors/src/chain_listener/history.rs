//! The history of a market that was found when it had bids already: what it told in blocks that were read without it.
//! A part of it at a time, while nothing new waits; final blocks only, so nothing of it is ever undone.

use super::markets::owner;
use super::reader::{Answered, Reader};
use super::{ledger, Trouble};
use crate::domain::listening::{Event, Said};
use crate::domain::units::BlockHeight;
use crate::ports::store::{Batch, Store};
use crate::records::following::{self, Followed};
use crate::records::journal::{next_seq, Fact};
use crate::records::listening::Late;
use crate::records::meta::{ChainStatus, ReadForGood};

/// Ranges in a row before the head is looked at again.
const RANGES: usize = 16;

/// Whether a market has history that is not in the journal yet.
pub(super) fn is_open(store: &dyn Store) -> Result<bool, Trouble> {
    Ok(following::all(store)?.iter().any(Followed::has_history))
}

/// Reads on in the history of a market. Tells whether there may be more to read at once.
pub(super) async fn go_on(reader: &Reader) -> Result<bool, Trouble> {
    let store = &*reader.ports.store;
    for _ in 0..RANGES {
        let top = ReadForGood::read(store)?.height;
        let open = |one: &Followed| one.has_history() && one.history <= top;
        let Some(of) = following::all(store)?.into_iter().find(open) else { return Ok(false) };
        let most = of.history.0.saturating_add(reader.reach() - 1);
        let last = BlockHeight(most.min(top.0).min(of.since.0 - 1));
        if let Some(read) = reader.piece(of.history, last).await? {
            let facts = take(store, of, read, last)?;
            reader.announce(&facts);
        }
    }
    Ok(true)
}

/// Makes a part of a market's history durable: facts, parked logs and how far it is read, in one batch.
fn take(
    store: &dyn Store,
    of: Followed,
    (_, events, _): Answered,
    last: BlockHeight,
) -> Result<Vec<Fact>, Trouble> {
    let Some(mut status) = ChainStatus::read(store)? else { return Ok(Vec::new()) };
    let read = following::read_ones(store)?;
    // What others told of these blocks is in the journal, a shared Register's words too.
    let is_news = |event: &Event| {
        let tells = |one: &Followed| one.found.contracts.emitters().any(|emitter| emitter == event.by);
        tells(&of) && !read.iter().any(|other| other.covers(event.at.block) && tells(other))
    };
    let mut batch = Batch::new();
    let mut seq = next_seq::<Fact>(store)?;
    let (mut facts, mut parked) = (Vec::new(), 0);
    for event in events.into_iter().filter(is_news) {
        let market = owner(std::slice::from_ref(&of), event.by, of.market);
        let at = event.at;
        match event.said {
            Said::Known(event) => {
                let fact = Fact { seq, market, at, event, retracted: false };
                seq += 1;
                batch.put(&Late { at, seq: fact.seq });
                batch.put(&fact);
                facts.push(fact);
            }
            Said::Poison { topics, data } => {
                ledger::park(&mut batch, status.poison + parked, (at, event.by, topics, data));
                parked += 1;
            }
        }
    }
    if parked > 0 {
        status.poison += parked;
        batch.put(&status);
    }
    tracing::info!(market = %of.market, from = of.history.0, to = last.0, events = facts.len(), "history is read");
    batch.put(&Followed { history: BlockHeight(last.0 + 1), ..of });
    store.commit(batch)?;
    Ok(facts)
}
