//! Judges every open bid once, by the operator's rules, and keeps every verdict.
//!
//! Owns: the verdict on a bid, with which its life here begins.  Hears: [`BidPlaced`].
//! Says: [`Host`].  On restart: goes on behind its cursor over the facts.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use crate::acting_as;
use crate::chain_listener::BidPlaced;
use crate::domain::admission::{judge, price, Circumstances, Policy, Refusal};
use crate::domain::bid::Stage;
use crate::domain::cids;
use crate::domain::market::{BidKey, BidState, MarketEvent};
use crate::domain::units::{Address, BidId, ByteSize, Wei};
use crate::line::Line;
use crate::pinner::{self, Host};
use crate::planted::{planted, Bug};
use crate::ports::chain::{self, Chain};
use crate::ports::clock::Clock;
use crate::ports::disk::{self, Disk};
use crate::ports::store::{self, Batch, Store};
use crate::records::decision::{self, Decision};
use crate::records::following::rules_of;
use crate::records::hosting::HostedBid;
use crate::records::intent::{Intent, IntentKey};
use crate::records::journal::{absorb, has_read_up_to, is_taken_back, unread, Fact};
use crate::records::meta::{chain_now, ChainStatus};
use crate::records::room::Room;
use crate::supervised;
use crate::supervisor::Guard;
use crate::wake::Sweeps;
use crate::wakes;
use crate::work::Works;

/// Its name as a reader of the journal.
pub const READER: &str = "bid_filter";
/// Entries of one look: their bids are asked about together.
const ENTRIES: usize = 64;
/// Between two looks at the journal when nobody tells.
const SWEEP: Duration = Duration::from_secs(5);

/// By what it judges.
#[derive(Debug, Clone)]
pub struct Config {
    /// The operator's rules.
    pub policy: Policy,
    /// Blocks above an event before it is acted on.
    pub confirmations: u64,
    /// Seconds from block to block, as a rule.
    pub block_time: u64,
    /// This node's account.
    pub me: Address,
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The chain.
    pub chain: Rc<dyn Chain>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// The disk.
    pub disk: Rc<dyn Disk>,
}

/// To whom it speaks.
#[derive(Clone, Default)]
pub struct Outbox {
    /// Told of bids that were admitted.
    pub host: Line<Host>,
}

/// Why a bid could not be judged yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error("the provider does not know bid {0} yet")]
    Unknown(BidId),
    #[error(transparent)]
    Chain(#[from] chain::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// The judge of bids.
pub struct BidFilter {
    judge: Rc<Judge>,
    outbox: Outbox,
    due: bool,
    busy: bool,
    _guard: Guard,
}

impl BidFilter {
    /// A filter that begins behind its cursor.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        Self { judge: Rc::new(Judge { config, ports }), outbox, due: false, busy: false, _guard: guard }
    }
}

impl Actor for BidFilter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.wake(ctx);
        ctx.run_interval(SWEEP, |this, ctx| this.wake(ctx));
    }
}

supervised!(BidFilter);
wakes!(BidFilter: BidPlaced);

impl Sweeps for BidFilter {
    fn due(&mut self) -> &mut bool {
        &mut self.due
    }

    /// Judges what is new.
    fn sweep(&mut self, ctx: &mut Self::Context) {
        if std::mem::replace(&mut self.busy, true) {
            return;
        }
        let (judge, host) = (Rc::clone(&self.judge), self.outbox.host.clone());
        let work = async move { judge.read_on(&host).await };
        ctx.work(acting_as!("bid_filter"), work, |outcome, this, ctx| {
            this.busy = false;
            match outcome {
                Ok(true) => this.wake(ctx),
                Ok(false) => {}
                Err(trouble) => tracing::warn!(%trouble, "bids could not be judged; trying again"),
            }
        });
    }
}

struct Judge {
    config: Config,
    ports: Ports,
}

/// What the world says while bids are judged. All of it is asked before anything is decided.
#[derive(Default)]
struct Answers {
    /// Where the bids stand.
    bids: BTreeMap<BidKey, Result<Option<BidState>, chain::Error>>,
    /// Wei a gas.
    gas_price: Wei,
}

/// What one commit makes durable.
#[derive(Default)]
struct Verdicts {
    batch: Batch,
    /// The bids that are judged in it.
    bids: BTreeSet<BidKey>,
    /// Those of them that are admitted.
    admitted: Vec<BidKey>,
}

/// What an entry of the journal asks for.
enum Call {
    /// Nothing: it places no bid, or one whose life goes on.
    Nothing,
    /// A verdict.
    Judge(BidKey),
    /// The pinner has to read on first.
    Wait,
}

impl Judge {
    /// Judges the next entries of the journal. What the chain says of all of them is asked at once, and the verdicts
    /// are one commit with the cursor behind their entries. Tells whether there may be more.
    async fn read_on(&self, host: &Line<Host>) -> Result<bool, Trouble> {
        let store = &*self.ports.store;
        let facts = unread::<Fact>(store, READER, ENTRIES)?;
        let mut wanted = BTreeSet::new();
        for fact in &facts {
            if let Call::Judge(bid) = self.call(fact)? {
                wanted.insert(bid);
            }
        }
        let answers = self.ask(wanted.into_iter().collect()).await?;
        // From here to the commit nothing is awaited: nobody changes the room in between.
        let mut verdicts = Verdicts::default();
        let more = self.decide(&facts, &answers, &mut verdicts);
        if let Err(Trouble::Store(_)) = more {
            // A verdict may be half in the batch.
            return more;
        }
        if !verdicts.batch.is_empty() {
            store.commit(verdicts.batch)?;
        }
        for bid in verdicts.admitted {
            host.tell(Host { bid });
        }
        more
    }

    /// What an entry asks for, as the store stands.
    fn call(&self, fact: &Fact) -> Result<Call, store::Error> {
        let store = &*self.ports.store;
        let (MarketEvent::BidPlaced { .. }, Some(bid), false) = (&fact.event, fact.bid(), fact.retracted)
        else {
            return Ok(Call::Nothing);
        };
        let Some(known) = store::read::<HostedBid>(store, &bid.to_bytes())? else {
            return Ok(Call::Judge(bid));
        };
        if !has_read_up_to(store, pinner::READER, fact)? {
            // A reorg placed it anew, and the pinner has yet to hear what that reorg took back.
            return Ok(Call::Wait);
        }
        let same = known.terms.are_of(&fact.event);
        if !same && !known.stage.is_over() {
            // After a reorg the number went to another bid. The pinner ends the old one's life first.
            return Ok(Call::Wait);
        }
        // The same bid again: its life goes on, unless it ended by that reorg.
        Ok(if !same || known.may_be_had_anew() { Call::Judge(bid) } else { Call::Nothing })
    }

    async fn ask(&self, wanted: Vec<BidKey>) -> Result<Answers, Trouble> {
        if wanted.is_empty() {
            return Ok(Answers::default());
        }
        let chain = &self.ports.chain;
        let (fees, states) = futures::join!(chain.fees(), chain.bids(&wanted));
        let fees = fees?;
        let gas_price = fees.base_fee.unwrap_or_default().plus(fees.tip);
        Ok(Answers { bids: wanted.into_iter().zip(states).collect(), gas_price })
    }

    /// Decides entry by entry until one has to wait. Tells whether there may be more.
    fn decide(&self, facts: &[Fact], answers: &Answers, into: &mut Verdicts) -> Result<bool, Trouble> {
        for fact in facts {
            match self.call(fact)? {
                Call::Nothing => {}
                Call::Wait => return Ok(false),
                // Judged in this batch, or wanted since the chain was asked: the next look sees it as it stands then.
                Call::Judge(bid) if into.bids.contains(&bid) || !answers.bids.contains_key(&bid) => {
                    return Ok(true);
                }
                Call::Judge(bid) => self.verdict(bid, fact, answers, into)?,
            }
            absorb(&mut into.batch, READER, fact);
        }
        Ok(!facts.is_empty())
    }

    /// Judges one bid, each by the room that the verdicts before it leave.
    fn verdict(
        &self,
        bid: BidKey,
        fact: &Fact,
        answers: &Answers,
        into: &mut Verdicts,
    ) -> Result<(), Trouble> {
        let store = &*self.ports.store;
        let state = answers.bids.get(&bid).cloned().transpose()?.flatten();
        let (Some(state), Some(rules)) = (state, rules_of(store, bid.market)?) else {
            // A provider that lags does not know it yet; what a reorg removed nobody knows.
            return if is_taken_back(store, fact)? { Ok(()) } else { Err(Trouble::Unknown(bid.id)) };
        };
        let circumstances = self.circumstances(bid, answers, &into.batch)?;
        let refusals = judge(&state, &self.config.policy, &rules, &circumstances);
        let stage = match reason(&refusals) {
            None => Stage::Admitted { not_before: state.hold_until, attempt: unused(store, bid)? },
            Some(reason) => Stage::Declined { reason },
        };
        let said = match &stage {
            Stage::Declined { reason } => format!("declined: {reason}"),
            _ => "admitted".to_owned(),
        };
        tracing::info!(bid = bid.id.0, size = state.terms.size.0, said, "bid judged");
        let wall = self.ports.clock.wall();
        into.batch.put(&Decision {
            subject: bid.to_string(),
            seq: decision::next_seq(store, &bid.to_string())?,
            at: wall,
            by: READER.to_owned(),
            said,
            details: details(&state, &circumstances, &refusals),
        });
        into.bids.insert(bid);
        if matches!(stage, Stage::Admitted { .. }) {
            into.admitted.push(bid);
        }
        let cid = cids::of_file(state.terms.file);
        let hosted = HostedBid { bid, terms: state.terms, cid, placed_at: fact.at.time, stage, since: wall };
        let before = store::read::<HostedBid>(store, &bid.to_bytes())?;
        into.batch.put(&hosted);
        Ok(Room::change(store, &mut into.batch, before.as_ref(), Some(&hosted))?)
    }

    fn circumstances(
        &self,
        bid: BidKey,
        answers: &Answers,
        so_far: &Batch,
    ) -> Result<Circumstances, Trouble> {
        let store = &*self.ports.store;
        let current = ChainStatus::read(store)?.map(|status| status.market);
        let current = current.filter(|current| *current != bid.market);
        Ok(Circumstances {
            retired_for: current.map(|current| current.address),
            used: room_taken(&Room::after(store, so_far)?),
            free_disk: self.ports.disk.free()?,
            gas_price: answers.gas_price,
            confirmation_time: self.config.confirmations.saturating_mul(self.config.block_time),
            now: chain_now(store)?,
            me: self.config.me,
        })
    }
}

/// The first try to accept whose key is not used: after a reorg the number may have been another bid's.
fn unused(store: &dyn Store, bid: BidKey) -> Result<u32, store::Error> {
    let mut attempt = 0;
    while store::read::<Intent>(store, IntentKey::of_bid("accept", bid, attempt).0.as_bytes())?.is_some() {
        attempt += 1;
    }
    Ok(attempt)
}

/// Bytes that pins take and that live bids may still take.
fn room_taken(room: &Room) -> ByteSize {
    let pinned = room.pinned_bytes.saturating_add(room.leaving_bytes);
    let pinned = if planted(Bug::ForgetPins) { 0 } else { pinned };
    let promised = if planted(Bug::ForgetPromises) { 0 } else { room.promised_bytes };
    ByteSize(pinned.saturating_add(promised))
}

fn reason(refusals: &[Refusal]) -> Option<String> {
    let reasons: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn details(state: &BidState, now: &Circumstances, refusals: &[Refusal]) -> serde_json::Value {
    serde_json::json!({
        "terms": state.terms,
        "price_per_gib_month_wei": price(&state.terms),
        "room_used_bytes": now.used,
        "free_disk_bytes": now.free_disk,
        "gas_price_wei": now.gas_price,
        "voters": state.voters,
        "refusals": refusals,
    })
}

#[cfg(test)]
mod tests;
