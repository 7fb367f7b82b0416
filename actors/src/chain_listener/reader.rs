//! The listener's hands: one poll of the chain into the store.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{Config, Ports, Trouble};
use crate::domain::listening::{examine, plan, Doubt, Heights, Hopeless, Plan, Reach};
use crate::domain::market::Market;
use crate::domain::units::{BlockHash, BlockHeight, ChainTime};
use crate::planted::{planted, Bug};
use crate::ports::chain::{self, Event, Header, Said, Span};
use crate::ports::store::{self, Batch, Order, Record, Store};
use crate::records::journal::{next_seq, Block, Fact, Poison};
use crate::records::meta::{newest_block, ChainStatus, ReadForGood};

/// Blocks kept below finality, so that a reorg finds its ancestor and a person something to look at.
const BLOCKS_KEPT: u64 = 256;
/// Reads in a row before the mailbox is looked at again.
const READS_A_POLL: usize = 64;

/// A span's answer that was examined: its first block, its logs in order, its last block.
type Answered = (Header, Vec<Event>, Header);

/// What reads the chain, poll by poll.
pub(super) struct Reader {
    config: Config,
    ports: Ports,
    /// How much is asked for at once, learnt from the provider's answers.
    reach: RefCell<Reach>,
}

impl Reader {
    pub(super) fn new(config: Config, ports: Ports) -> Self {
        let reach = RefCell::new(Reach::new(config.max_range));
        Self { config, ports, reach }
    }

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
            let reach = self.reach.borrow().blocks();
            let read = match plan(at, self.config.confirmations, reach) {
                Plan::Idle => return Ok(false),
                Plan::Range(from, to) => self.range(from, to).await?,
                Plan::One(height) => {
                    let Header { hash, .. } = self.header(height).await?;
                    Some(self.examined(Span::Block(hash, height)).await?)
                }
            };
            // Too much was asked for, and less is the next time.
            let Some((first, events, last)) = read else { continue };
            if newest.is_some_and(|newest| newest.hash != first.parent) && !planted(Bug::IgnoreParents) {
                facts.extend(self.rewind().await?);
                continue;
            }
            facts.extend(self.take(events, &last, &mut status)?);
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

    /// Reads a range; `None` if it was too long, and a shorter one is to be asked for.
    async fn range(&self, from: BlockHeight, to: BlockHeight) -> Result<Option<Answered>, Trouble> {
        let blocks = to.0 - from.0 + 1;
        match self.examined(Span::Range(from, to)).await {
            Ok(read) => {
                self.reach.borrow_mut().answered(blocks, read.1.len() as u64);
                Ok(Some(read))
            }
            Err(Trouble::Chain(chain::Error::TooMuch { message, blocks: told, .. })) => {
                tracing::debug!(blocks, told, message, "a range is too long for the provider");
                // A provider that does not even answer one block is left for another.
                self.shorten(blocks, told).map_err(|()| self.distrust(&message))?;
                Ok(None)
            }
            Err(refused @ Trouble::Chain(chain::Error::Refused { .. })) => {
                // Words that nobody knows may mean the same: after a pause less is asked for.
                let _one_block_is_the_least = self.shorten(blocks, None);
                Err(refused)
            }
            Err(other) => Err(other),
        }
    }

    fn shorten(&self, blocks: u64, told: Option<u64>) -> Result<(), ()> {
        self.reach.borrow_mut().refused(blocks, told).map_err(|Hopeless| ())
    }

    /// Asks for a span's logs until the answer can be right, twice at most.
    async fn examined(&self, span: Span) -> Result<Answered, Trouble> {
        let ask = || async { Ok::<_, Trouble>(examine(span, self.ports.chain.events(span).await?)) };
        let answer = match ask().await? {
            Err(Doubt::Silent(_)) => ask().await?,
            other => other,
        };
        match (answer, span) {
            (Ok(read), _) => Ok(read),
            (Err(Doubt::Silent(number)), Span::Block(hash, _)) => self.silent(hash, number).await,
            (Err(doubt), _) => Err(self.distrust(&doubt.to_string())),
        }
    }

    /// A block without logs of ours whose filter names us: by chance, if its other logs explain the filter.
    async fn silent(&self, hash: BlockHash, number: BlockHeight) -> Result<Answered, Trouble> {
        match self.ports.chain.others_fill_the_filter(hash).await {
            Ok(true) => {}
            Ok(false) => return Err(self.distrust(&Doubt::Silent(number).to_string())),
            // A provider that does not show all logs leaves no way to tell chance from a lie.
            Err(chain::Error::Refused { message, .. } | chain::Error::TooMuch { message, .. }) => {
                tracing::warn!(block = number.0, message, "no logs although the filter names our contract");
            }
            Err(other) => return Err(other.into()),
        }
        let header = self.header(number).await?;
        if header.hash != hash {
            return Err(Trouble::Moved);
        }
        Ok((header.clone(), Vec::new(), header))
    }

    fn distrust(&self, what: &str) -> Trouble {
        self.ports.chain.distrust(what).into()
    }

    /// Makes a span durable with its last block: facts, poison, block, status, in one batch.
    fn take(
        &self,
        events: Vec<Event>,
        last: &Header,
        status: &mut ChainStatus,
    ) -> Result<Vec<Fact>, Trouble> {
        let store = &*self.ports.store;
        let mut seq = next_seq::<Fact>(store)?;
        let mut facts = Vec::with_capacity(events.len());
        let mut batch = Batch::new();
        let mut poison = 0;
        for Event { at, by, said, .. } in events {
            match said {
                Said::Known(event) => {
                    let fact = Fact { seq, market: status.market, at, event, retracted: false };
                    seq += 1;
                    batch.put(&fact);
                    facts.push(fact);
                }
                Said::Poison { topics, mut data } => {
                    tracing::warn!(block = at.block.0, log = at.log, tx = %at.tx, "an undecodable log is parked");
                    data.truncate(Poison::LONGEST);
                    if status.poison + poison < Poison::MOST {
                        batch.put(&Poison { at, by, topics, data: hex::encode(data) });
                    }
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
        let old = status.finalized.0.saturating_sub(BLOCKS_KEPT);
        for block in store::list::<Block>(store, &[], Order::Ascending, 8)? {
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
        let lost = ancestor.map_or(0, |ancestor| ancestor.0 + 1).to_be_bytes();
        for poison in store::list_from::<Poison>(store, &lost, usize::MAX)? {
            batch.delete::<Poison>(&poison.key());
        }
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
