//! The listener's hands: one poll of the chain into the store.

use std::collections::BTreeSet;

use super::{Config, Ports, Trouble};
use crate::domain::listening::{plan, Heights, Plan};
use crate::domain::market::{Market, Position};
use crate::domain::units::{BlockHeight, ChainTime};
use crate::planted::{planted, Bug};
use crate::ports::chain::{Chain, Event, Header, Span};
use crate::ports::store::{self, Batch, Order, Record, Store};
use crate::records::journal::{next_seq, Block, Fact};
use crate::records::meta::{newest_block, ChainStatus, ReadForGood};

/// Blocks kept below finality, so that a reorg finds its ancestor and a person something to look at.
const BLOCKS_KEPT: u64 = 256;
/// Reads in a row before the mailbox is looked at again.
const READS_A_POLL: usize = 64;

/// One poll.
pub(super) struct Reader {
    pub(super) config: Config,
    pub(super) ports: Ports,
}

impl Reader {
    /// Reads until nothing more is deep enough, or for a while. Tells what entered the journal even where it
    /// then ran into trouble, whether chain time moved, and whether there is more to read at once.
    pub(super) async fn read(&self) -> (Vec<Fact>, Option<ChainTime>, Result<bool, Trouble>) {
        let mut facts = Vec::new();
        let mut moved = None;
        let outcome = self.read_into(&mut facts, &mut moved).await;
        (facts, moved, outcome)
    }

    async fn read_into(&self, facts: &mut Vec<Fact>, moved: &mut Option<ChainTime>) -> Result<bool, Trouble> {
        let Some(mut status) = self.look().await? else { return Ok(false) };
        for _ in 0..READS_A_POLL {
            let newest = newest_block(&*self.ports.store)?;
            let next = newest.as_ref().map_or(self.config.start_block, |block| block.number.0 + 1);
            let at = Heights { next: BlockHeight(next), head: status.head, finalized: status.finalized };
            let (first, span, last) = match plan(at, self.config.confirmations, self.config.max_range) {
                Plan::Idle => return Ok(false),
                Plan::Range(from, to) => {
                    (self.header(from).await?, Span::Range(from, to), self.header(to).await?)
                }
                Plan::One(height) => {
                    let header = self.header(height).await?;
                    (header.clone(), Span::Block(header.hash, height), header)
                }
            };
            if newest.is_some_and(|newest| newest.hash != first.parent) && !planted(Bug::IgnoreParents) {
                facts.extend(self.rewind().await?);
                continue;
            }
            facts.extend(self.take(span, &last, &mut status).await?);
            *moved = Some(last.time);
        }
        Ok(true)
    }

    /// Looks at the head and writes down what is new about the chain. `None` once the listener has halted.
    async fn look(&self) -> Result<Option<ChainStatus>, Trouble> {
        let stored = ChainStatus::read(&*self.ports.store)?;
        if stored.as_ref().is_some_and(|status| status.halted.is_some()) {
            return Ok(None);
        }
        let chain = &self.ports.chain;
        let found = chain.chain_id().await?;
        if found != self.config.chain_id {
            return Err(Trouble::WrongChain { found, wanted: self.config.chain_id });
        }
        let head = chain.head().await?;
        let finalized = match chain.finalized().await? {
            Some(block) => block.number,
            None => BlockHeight(head.number.0.saturating_sub(self.config.finality_depth)),
        };
        let now = self.ports.clock.wall();
        let status = match stored {
            Some(mut status) => {
                if status.newest_time < head.time {
                    status.newest_time = head.time;
                    status.head_changed = now;
                }
                status.head = head.number;
                status.head_time = head.time;
                status.finalized = status.finalized.max(finalized);
                status
            }
            None => {
                let (address, rules) = chain.market().await?.ok_or(Trouble::NoMarket)?;
                ChainStatus {
                    market: Market { chain: found, address },
                    rules,
                    head: head.number,
                    head_time: head.time,
                    newest_time: head.time,
                    finalized,
                    head_changed: now,
                    poison: 0,
                    halted: None,
                }
            }
        };
        let mut batch = Batch::new();
        batch.put(&status);
        self.ports.store.commit(batch)?;
        Ok(Some(status))
    }

    async fn header(&self, number: BlockHeight) -> Result<Header, Trouble> {
        self.ports.chain.header(number).await?.ok_or(Trouble::Moved)
    }

    async fn is_canonical(&self, block: &Block) -> Result<bool, Trouble> {
        let header = self.ports.chain.header(block.number).await?;
        Ok(header.is_some_and(|header| header.hash == block.hash))
    }

    /// Reads a span and makes it durable with its block: facts, block, status, in one batch.
    async fn take(&self, span: Span, last: &Header, status: &mut ChainStatus) -> Result<Vec<Fact>, Trouble> {
        let read = self.ports.chain.events(span).await?;
        let seqs = next_seq::<Fact>(&*self.ports.store)?..;
        let mut facts = Vec::with_capacity(read.events.len());
        let mut batch = Batch::new();
        let mut times = Times { chain: &*self.ports.chain, last: last.clone() };
        for (Event { at, event }, seq) in read.events.into_iter().zip(seqs) {
            let time = times.of(&at).await?;
            let fact =
                Fact { seq, market: status.market, at: Position { time, ..at }, event, retracted: false };
            batch.put(&fact);
            facts.push(fact);
        }
        batch.put(&Block { number: last.number, hash: last.hash, parent: last.parent, time: last.time });
        // It follows on all that was read before, so as much of that as is final by now is final for good.
        let height = status.finalized.min(last.number);
        if height > ReadForGood::read(&*self.ports.store)?.height {
            batch.put(&ReadForGood { height });
        }
        status.poison += read.poison;
        if read.poison > 0 {
            tracing::warn!(logs = read.poison, block = last.number.0, "logs could not be decoded");
            batch.put(status);
        }
        let old = status.finalized.0.saturating_sub(BLOCKS_KEPT);
        for block in store::list::<Block>(&*self.ports.store, &[], Order::Ascending, 8)? {
            if block.number.0 < old && block.number < last.number {
                batch.delete::<Block>(&block.key());
            }
        }
        self.ports.store.commit(batch)?;
        Ok(facts)
    }

    /// Goes back to the newest block of ours that is still canonical and retracts what stood above it.
    async fn rewind(&self) -> Result<Vec<Fact>, Trouble> {
        let store = &*self.ports.store;
        let for_good = ReadForGood::read(store)?.height;
        let mut gone = Vec::new();
        let mut ancestor = None;
        for block in store::list::<Block>(store, &[], Order::Descending, usize::MAX)? {
            if self.is_canonical(&block).await? {
                ancestor = Some(block.number);
                break;
            }
            if block.number <= for_good && for_good.0 > 0 {
                return Err(Trouble::PastFinality(block.number));
            }
            gone.push(block);
        }
        if gone.is_empty() {
            return Err(Trouble::Moved);
        }
        let mut batch = Batch::new();
        gone.iter().for_each(|block| batch.delete::<Block>(&block.key()));
        let mut facts = retractions(store, ancestor)?;
        facts.retain(|_| !planted(Bug::KeepRetracted));
        facts.iter().for_each(|fact| batch.put(fact));
        tracing::warn!(depth = gone.len(), retracted = facts.len(), "the chain was reorganised");
        store.commit(batch)?;
        Ok(facts)
    }
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
                    break 'journal;
                }
                entries.push(Fact { seq, retracted: true, ..fact });
                seq += 1;
            }
        }
    }
    Ok(entries)
}

/// Timestamps of the blocks of a span, each asked for once: a ranged read does not tell them.
struct Times<'a> {
    chain: &'a dyn Chain,
    last: Header,
}

impl Times<'_> {
    async fn of(&mut self, at: &Position) -> Result<ChainTime, Trouble> {
        if at.time.0 > 0 {
            return Ok(at.time);
        }
        if self.last.number != at.block {
            self.last = self.chain.header(at.block).await?.ok_or(Trouble::Moved)?;
        }
        if self.last.hash != at.hash {
            return Err(Trouble::Moved);
        }
        Ok(self.last.time)
    }
}
