//! Which markets are read: the one that the Router names, once that is final, and those that it named before for as
//! long as something of this node lives there.

use std::collections::BTreeSet;

use super::reader::Reader;
use super::{Trouble, READER};
use crate::domain::following::{decide, Found, Named, Seen, Standing};
use crate::domain::market::Market;
use crate::domain::units::{Address, BlockHeight, ChainTime};
use crate::ports::store::{Batch, Store};
use crate::records::decision::{self, Decision};
use crate::records::following::{self, Followed};
use crate::records::listening::Listening;
use crate::records::meta::{newest_block, Account, ChainStatus};

/// Polls from one look at the Router to the next.
const POLLS: u64 = 15;

/// Looks whether the Router names another market, and which are done with, if it is time.
pub(super) async fn look(reader: &Reader, status: &mut ChainStatus) -> Result<(), Trouble> {
    let now = reader.ports.clock.monotonic();
    if now < reader.router_rests_until.get() {
        return Ok(());
    }
    reader.router_rests_until.set(now.saturating_add(reader.config.poll_ms.saturating_mul(POLLS)));
    let store = &*reader.ports.store;
    let known = following::all(store)?;
    let named = word(reader, &known, status.finalized).await?;
    let alive = alive(reader, &known, status.head_time).await?;
    let start = BlockHeight(reader.config.start_block);
    let seen = Seen {
        named: named.as_ref(),
        finalized: status.finalized,
        head: status.head,
        next: newest_block(store)?.map_or(start, |block| BlockHeight(block.number.0 + 1)),
        start,
        alive: &alive,
    };
    let changed = decide(&known, &seen);
    if changed.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    for one in &changed {
        batch.put(one);
        tell(reader, &mut batch, one, &known)?;
        if one.is_current() {
            (status.market, status.rules) = (one.market, one.found.rules.clone());
            batch.put(status);
        }
    }
    store.commit(batch)?;
    reader.follow_markets()
}

/// The market that the Router names in the state of a final block, if that is news and one that can be followed.
async fn word(reader: &Reader, known: &[Followed], finalized: BlockHeight) -> Result<Option<Found>, Trouble> {
    // What it said before it was last believed is no news.
    if !known.iter().any(|one| one.is_current() && one.named_at < finalized) {
        return Ok(None);
    }
    let (named, trouble) = match reader.ports.chain.named(finalized).await {
        Ok(Named::Fixed) => (None, None),
        Ok(Named::Market(found)) => (Some(found), None),
        Ok(Named::Unusable { what }) => (None, Some(what)),
        Err(error) => (None, Some(error.to_string())),
    };
    let store = &*reader.ports.store;
    let listening = Listening::read(store)?;
    if listening.router != trouble {
        if let Some(what) = &trouble {
            tracing::error!(what, "what the router says cannot be followed: the market stays as it is");
        }
        let mut batch = Batch::new();
        batch.put(&Listening { router: trouble, ..listening });
        store.commit(batch)?;
    }
    Ok(named)
}

/// The retired markets on which something of this node lives, credit included.
async fn alive(reader: &Reader, known: &[Followed], now: ChainTime) -> Result<BTreeSet<Address>, Trouble> {
    let store = &*reader.ports.store;
    let account = Account::read(store)?;
    let mut alive = BTreeSet::new();
    for one in known.iter().filter(|one| matches!(one.standing, Standing::Retired { .. })) {
        let address = one.market.address;
        let owed = match &account {
            // Where the provider does not tell there may be some.
            Some(Account { address: me }) => {
                let credit = reader.ports.chain.credit(address, *me).await;
                credit.map_or(true, |credit| credit > Default::default())
            }
            None => false,
        };
        if owed || following::lives(store, one.market, now)? {
            alive.insert(address);
        }
    }
    Ok(alive)
}

/// Tells loudly what became of a market: money depends on it.
fn tell(
    reader: &Reader,
    batch: &mut Batch,
    one: &Followed,
    known: &[Followed],
) -> Result<(), crate::ports::store::Error> {
    let before = known.iter().find(|known| known.market == one.market).map(|known| known.standing);
    let said = match (before, one.standing) {
        (_, Standing::Current) => "the router names this market: new bids are taken from it",
        (Some(Standing::Current), Standing::Retired { .. }) => {
            "the router names another market: no new bids are taken from this one, what is under way goes on"
        }
        (_, Standing::Done { .. }) => "nothing of this node is left on this market: it is read no longer",
        (_, Standing::Retired { .. }) => return Ok(()),
    };
    tracing::warn!(market = %one.market, version = ?one.found.rules.version, block = one.named_at.0, said);
    let (store, subject) = (&*reader.ports.store, one.market.to_string());
    batch.put(&Decision {
        seq: decision::next_seq(store, &subject)?,
        subject,
        at: reader.ports.clock.wall(),
        by: READER.to_owned(),
        said: said.to_owned(),
        details: serde_json::json!(one),
    });
    Ok(())
}

/// Whose log it is, by the contract that told it: a Register may serve several markets, the current one first.
pub(super) fn owner(read: &[Followed], by: Address, or: Market) -> Market {
    let its_own = read.iter().find(|one| one.market.address == by);
    let registers = || read.iter().find(|one| one.found.contracts.emitters().any(|emitter| emitter == by));
    its_own.or_else(registers).map_or(or, |one| one.market)
}

/// Writes down that blocks from `next` on will be read anew.
pub(super) fn rewind(
    store: &dyn Store,
    batch: &mut Batch,
    next: BlockHeight,
) -> Result<(), crate::ports::store::Error> {
    for before in following::all(store)? {
        let mut after = before.clone();
        after.rewind(next);
        if after != before {
            batch.put(&after);
        }
    }
    Ok(())
}
