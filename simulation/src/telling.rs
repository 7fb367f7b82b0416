//! Commits in words: what a batch changes that a person wants to read about.

use scatter_actors::ports::store::{Batch, Change, Record, Table};
use scatter_actors::records::decision::Decision;
use scatter_actors::records::hosting::{Pin, Reference};
use scatter_actors::records::intent::{Intent, IntentState};
use scatter_actors::records::journal::{Fact, Outcome};
use scatter_actors::records::wallet::Attempt;

/// The changes worth a line each.
pub fn notable(batch: &Batch) -> impl Iterator<Item = &Change> {
    batch.changes.iter().filter(|change| match change {
        Change::Put(Table::Refs, key, _) | Change::Delete(Table::Refs, key) => key.first() == Some(&b'r'),
        Change::Put(table, ..) => NOTABLE.contains(table),
        Change::Delete(table, _) => *table == Table::Pins,
    })
}

/// Tables whose rows are told.
const NOTABLE: [Table; 6] =
    [Table::Facts, Table::Decisions, Table::Intents, Table::Attempts, Table::Outcomes, Table::Pins];

/// A change in words, if it says anything.
pub fn words(change: &Change) -> Option<String> {
    let (table, key, doc) = match change {
        Change::Put(table, key, doc) => (*table, key, doc),
        // A reference stands twice; it is told where it stands by root.
        Change::Delete(Table::Refs, key) if key.first() == Some(&b'r') => {
            return Some(format!("drops reference {}", hex::encode(&key[1..9])))
        }
        Change::Delete(Table::Pins, key) => return Some(format!("forgets pin {}", hex::encode(&key[..8]))),
        Change::Delete(..) => return None,
    };
    match table {
        Table::Facts => read::<Fact>(key, doc).map(|fact| {
            let verb = if fact.retracted { "takes back" } else { "learns" };
            format!("{verb} #{} block {}: {:?}", fact.seq, fact.at.block, fact.event)
        }),
        Table::Decisions => read::<Decision>(key, doc).map(|decision| {
            let bid = decision.subject.rsplit(':').next().unwrap_or_default();
            format!("{}: bid {bid} {}", decision.by, decision.said)
        }),
        Table::Intents => read::<Intent>(key, doc).map(|intent| {
            let state = match intent.state {
                IntentState::Queued => "queued".to_owned(),
                IntentState::InFlight { nonce } => format!("in flight with nonce {nonce}"),
                IntentState::Confirmed { nonce } => format!("confirmed with nonce {nonce}"),
                IntentState::Done => "done".to_owned(),
            };
            format!("intent {} is {state}", short(&intent.key.0))
        }),
        Table::Attempts => read::<Attempt>(key, doc).map(|attempt| {
            let mined = match &attempt.mined {
                Some(mined) if mined.standing => format!(", mined in {}", mined.block),
                Some(_) => ", unmined by a reorg".to_owned(),
                None => String::new(),
            };
            let taken = if attempt.accepted_at.is_some() { ", taken" } else { "" };
            format!("attempt {}/{} {:?}{taken}{mined}", attempt.nonce, attempt.number, attempt.call)
        }),
        Table::Outcomes => read::<Outcome>(key, doc)
            .map(|outcome| format!("outcome of {}: {:?}", short(&outcome.intent.0), outcome.result)),
        Table::Refs => read::<Reference>(key, doc)
            .map(|reference| format!("keeps {} for {:?}", reference.cid, reference.owner)),
        Table::Pins => read::<Pin>(key, doc).map(|pin| {
            let state = match (pin.pinned_at, pin.unneeded_since) {
                (_, Some(_)) => "unneeded",
                (Some(_), None) => "complete",
                (None, None) => "wanted",
            };
            format!("pin {} is {state}, {} bytes", pin.cid, pin.bytes)
        }),
        _ => None,
    }
}

/// A key without the chain and market, which are always the same here.
fn short(key: &str) -> String {
    let mut parts: Vec<&str> = key.split(':').collect();
    parts.retain(|part| !part.starts_with("0x"));
    parts.join(":")
}

fn read<R: Record>(key: &[u8], doc: &[u8]) -> Option<R> {
    R::from_row(key, doc).ok()
}
