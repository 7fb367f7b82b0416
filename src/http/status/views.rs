//! What the API shows of the store: documents as they stand, page by page.

use cid::Cid;
use scatter_actors::domain::market::BidKey;
use scatter_actors::domain::units::{BidId, WallTime, Wei};
use scatter_actors::ports::store::{self, Order, Store, Table};
use scatter_actors::records::hosting::{references, HostedBid, Pin};
use scatter_actors::records::meta::{Account, ChainStatus};
use scatter_actors::records::room::Room;
use scatter_actors::records::wallet::{attempts, spent_since, Counters};
use scatter_actors::records::{audit, decision};
use serde_json::{json, Value};

use super::{Page, Problem};

/// So many rows are looked at for one page, whatever the filter leaves of them.
const MAX_SCAN: usize = 10_000;
/// Milliseconds of the window over which spending is told.
const DAY_MS: u64 = 86_400_000;

/// Documents of one kind: those of a table, or those whose keys begin alike where a table holds several kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shelf {
    /// Where they stand.
    pub table: Table,
    /// How their keys begin.
    pub prefix: &'static [u8],
}

impl Shelf {
    /// Bids that this node has looked at.
    pub const BIDS: Self = Self { table: Table::Bids, prefix: &[] };
    /// Audits, without their slots and notes.
    pub const AUDITS: Self = Self { table: Table::Audits, prefix: audit::AUDITS };
    /// Slots of audits: what was asked, and what came.
    pub const SLOTS: Self = Self { table: Table::Audits, prefix: audit::SLOTS };
    /// Roots that are kept, or about to be.
    pub const PINS: Self = Self { table: Table::Pins, prefix: &[] };
    /// Transactions wanted.
    pub const INTENTS: Self = Self { table: Table::Intents, prefix: &[] };

    fn rows(self, store: &dyn Store, page: &Page, limit: usize) -> Result<Vec<store::Row>, Problem> {
        let end = store::end_of(self.prefix);
        let (from, until, order) = match (&page.after, page.newest_first) {
            (None, true) => (self.prefix.to_vec(), end, Order::Descending),
            (Some(after), true) => (self.prefix.to_vec(), Some(after.clone()), Order::Descending),
            (None, false) => (self.prefix.to_vec(), end, Order::Ascending),
            // The smallest key behind a key is that key and a zero byte.
            (Some(after), false) => ([&after[..], &[0]].concat(), end, Order::Ascending),
        };
        Ok(store.scan(self.table, &from, until.as_deref(), order, limit)?)
    }
}

/// A page of documents, as `{"items", "next"}`. `stages` keeps those whose stage is one of them.
pub(super) fn list(
    store: &dyn Store,
    shelf: Shelf,
    page: &Page,
    stages: &[String],
) -> Result<Value, Problem> {
    let scan = if stages.is_empty() { page.limit } else { MAX_SCAN };
    let rows = shelf.rows(store, page, scan)?;
    let mut more = rows.len() == scan;
    let mut last = None;
    let mut items = Vec::new();
    for (key, doc) in rows {
        if items.len() == page.limit {
            more = true;
            break;
        }
        let document: Value = serde_json::from_slice(&doc).unwrap_or(Value::Null);
        let stage = stage_of(&document);
        if stages.is_empty() || stages.iter().any(|wanted| Some(wanted.as_str()) == stage) {
            items.push(document);
        }
        last = Some(key);
    }
    let next = last.filter(|_| more).map(hex::encode);
    Ok(json!({"items": items, "next": next}))
}

/// The name of a document's stage: `{"stage": {"stage": NAME}}` as bids and audits have it, or `state`.
pub(super) fn stage_of(document: &Value) -> Option<&str> {
    ["/stage/stage", "/state/state"].iter().find_map(|path| document.pointer(path)?.as_str())
}

/// Reads a bid as a person writes it: its number in this node's market, or `CHAIN:MARKET:BID`.
pub(super) fn bid_key(store: &dyn Store, text: &str) -> Result<BidKey, Problem> {
    let unreadable = || Problem::usage("id", "a bid is a number or CHAIN:MARKET:BID");
    if let Ok(id) = text.parse() {
        let status = ChainStatus::read(store)?;
        let unseen = || Problem::not_found("the node has not seen its market yet");
        return Ok(BidKey { market: status.ok_or_else(unseen)?.market, id: BidId(id) });
    }
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().ok_or_else(unreadable);
    let chain = part()?.parse().map_err(|_| unreadable())?;
    let address = part()?.parse().map_err(|_| unreadable())?;
    let id = BidId(part()?.parse().map_err(|_| unreadable())?);
    Ok(BidKey { market: scatter_actors::domain::market::Market { chain, address }, id })
}

/// One bid with the decisions on it.
pub(super) fn bid(store: &dyn Store, text: &str) -> Result<Value, Problem> {
    let key = bid_key(store, text)?;
    let hosted = store::read::<HostedBid>(store, &key.to_bytes())?;
    let decisions = decision::on(store, &key.to_string(), 200)?;
    if hosted.is_none() && decisions.is_empty() {
        return Err(Problem::not_found("the node has not looked at this bid"));
    }
    Ok(json!({"key": key.to_string(), "bid": hosted, "decisions": decisions}))
}

/// The decisions on a bid or a CID, and how things stand.
pub(super) fn why(store: &dyn Store, subject: &str) -> Result<Value, Problem> {
    if let Ok(cid) = subject.parse::<Cid>() {
        let pin = store::read::<Pin>(store, &scatter_actors::records::hosting::root_key(&cid))?;
        let (owners, decisions) = (references(store, &cid)?, decision::on(store, &cid.to_string(), 200)?);
        if pin.is_none() && owners.is_empty() && decisions.is_empty() {
            return Err(Problem::not_found("the node knows nothing of this CID"));
        }
        return Ok(
            json!({"subject": cid.to_string(), "pin": pin, "references": owners, "decisions": decisions}),
        );
    }
    let mut bid = bid(store, subject)?;
    bid["subject"] = bid["key"].clone();
    Ok(bid)
}

/// The account: nonces, what is under way, what the last day cost.
pub(super) fn wallet(store: &dyn Store, now: WallTime) -> Result<Value, Problem> {
    let counters = Counters::read(store)?;
    let spent = spent(store, now)?;
    let under_way: Vec<Value> = attempts(store)?
        .into_iter()
        .map(|attempt| {
            json!({
                "nonce": attempt.nonce, "number": attempt.number, "intent": attempt.intent,
                "call": attempt.call, "tx": attempt.tx, "signed_at": attempt.signed_at,
                "accepted_at": attempt.accepted_at, "mined": attempt.mined, "worst_wei": attempt.worst(),
            })
        })
        .collect();
    Ok(json!({
        "account": Account::read(store)?.map(|account| account.address),
        "next_nonce": counters.next, "final_below": counters.final_below,
        "spent_last_day_wei": spent, "attempts": under_way,
    }))
}

/// What was spent in the last 24 hours.
pub(super) fn spent(store: &dyn Store, now: WallTime) -> Result<Wei, Problem> {
    let spends = spent_since(store, WallTime(now.0.saturating_sub(DAY_MS)))?;
    Ok(spends.iter().fold(Wei::ZERO, |sum, spend| sum.plus(spend.wei)))
}

/// How many of the newest documents are at which stage.
pub(super) fn by_stage(store: &dyn Store, shelf: Shelf) -> Result<Vec<(String, usize)>, Problem> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let newest = Page { after: None, limit: MAX_SCAN, newest_first: true };
    for (_, doc) in shelf.rows(store, &newest, MAX_SCAN)? {
        let document: Value = serde_json::from_slice(&doc).unwrap_or(Value::Null);
        *counts.entry(stage_of(&document).unwrap_or("unknown").to_owned()).or_default() += 1;
    }
    Ok(counts.into_iter().collect())
}

/// How many complete pins there are and their bytes.
pub(super) fn pins(store: &dyn Store) -> Result<(u64, u64), Problem> {
    let room = Room::read(store)?;
    Ok((room.pins, room.pinned_bytes))
}
