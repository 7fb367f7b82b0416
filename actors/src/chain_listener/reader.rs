//! The listener's hands: one poll of the chain into the store.

use std::cell::{Cell, RefCell};

use futures::stream::{FuturesOrdered, StreamExt};

use super::{history, ledger, markets, second_reading, Config, Outbox, Ports, Trouble};
use crate::domain::listening::{examine, plan, Doubt, Event, Header, Heights, Hopeless, Plan, Reach, Span};
use crate::domain::market::Market;
use crate::domain::units::{BlockHash, BlockHeight};
use crate::planted::{planted, Bug};
use crate::ports::chain;
use crate::ports::store::{self, Batch, Order};
use crate::records::following::{self, Followed};
use crate::records::journal::Block;
use crate::records::listening::Listening;
use crate::records::meta::{newest_block, ChainStatus, ReadForGood};

/// Spans read in a row before the head is looked at again.
const READS_A_POLL: usize = 64;

/// A span's answer that was examined: its first block, its logs in order, its last block.
pub(super) type Answered = (Header, Vec<Event>, Header);

/// What reads the chain, poll by poll.
pub(super) struct Reader {
    pub(super) config: Config,
    pub(super) ports: Ports,
    outbox: Outbox,
    /// How much is asked for at once, learnt from the provider's answers.
    reach: RefCell<Reach>,
    /// The head below which the newest block of ours was found to be canonical.
    trusted: Cell<Option<BlockHash>>,
    /// When final blocks may be read again, on the monotonic clock.
    pub(super) rests_until: Cell<u64>,
    /// When the Router is asked again, likewise.
    pub(super) router_rests_until: Cell<u64>,
}

/// What came of looking at a span's answer beside the store.
enum Next {
    /// It is in the store.
    Taken(Block),
    /// A reorg: what it removed is retracted.
    Rewound,
}

impl Reader {
    pub(super) fn new(config: Config, ports: Ports, outbox: Outbox) -> Self {
        let reach = RefCell::new(Reach::new(config.max_range));
        let (trusted, rests_until, router_rests_until) = (Cell::default(), Cell::default(), Cell::default());
        Self { config, ports, outbox, reach, trusted, rests_until, router_rests_until }
    }

    /// Reads until nothing more is deep enough, or for a while; tells what entered the journal. True if there is more
    /// to read at once.
    pub(super) async fn read(&self) -> Result<bool, Trouble> {
        let more = self.read_on().await;
        if let Err(trouble) = &more {
            self.note(trouble)?;
        }
        more
    }

    async fn read_on(&self) -> Result<bool, Trouble> {
        let Some((mut status, head)) = self.look().await? else { return Ok(false) };
        let store = &*self.ports.store;
        markets::look(self, &mut status).await?;
        let mut newest = newest_block(store)?;
        for _ in 0..READS_A_POLL {
            let next = newest.as_ref().map_or(self.config.start_block, |block| block.number.0 + 1);
            let at = Heights { next: BlockHeight(next), head: status.head, finalized: status.finalized };
            let followed = match plan(at, self.config.confirmations, 1) {
                Plan::Idle => return self.stand_still(head.hash, newest.as_ref()).await,
                Plan::Range(..) => {
                    self.catch_up(at, newest, &mut status).await?;
                    return Ok(true);
                }
                Plan::One(height) => {
                    let Header { hash, .. } = self.header(height).await?;
                    let read = self.examined(Span::Block(hash, height)).await?;
                    self.follow(newest.as_ref(), read, &mut status).await?
                }
            };
            newest = match followed {
                Next::Taken(block) => Some(block),
                Next::Rewound => newest_block(store)?,
            };
        }
        Ok(true)
    }

    /// Nothing new is deep enough: a time to look whether the newest block of ours is still canonical, which the next
    /// block would tell only once it comes, and to read final blocks again.
    async fn stand_still(&self, head: BlockHash, newest: Option<&Block>) -> Result<bool, Trouble> {
        if let Some(newest) = newest.filter(|_| self.trusted.get() != Some(head)) {
            let there = self.ports.chain.header(newest.number).await?;
            if there.is_some_and(|there| there.hash != newest.hash) && !planted(Bug::IgnoreParents) {
                self.rewind().await?;
                return Ok(true);
            }
            self.trusted.set(Some(head));
        }
        if history::go_on(self).await? {
            return Ok(true);
        }
        second_reading::go_on(self).await?;
        Ok(false)
    }

    /// Tells the provider whose logs are read.
    pub(super) fn follow_markets(&self) -> Result<(), Trouble> {
        let read = following::read_ones(&*self.ports.store)?;
        let contracts: Vec<_> = read.into_iter().map(|one| one.found.contracts).collect();
        self.ports.chain.follow(&contracts);
        Ok(())
    }

    /// Reads final blocks, several ranges side by side, and takes them in their order.
    async fn catch_up(
        &self,
        mut at: Heights,
        mut newest: Option<Block>,
        status: &mut ChainStatus,
    ) -> Result<(), Trouble> {
        let mut ahead = FuturesOrdered::new();
        for left in (1..=READS_A_POLL).rev() {
            while ahead.len() < self.reach.borrow().side_by_side().min(left) {
                let reach = self.reach.borrow().blocks();
                let Plan::Range(from, to) = plan(at, self.config.confirmations, reach) else { break };
                ahead.push_back(self.range(from, to));
                at.next = BlockHeight(to.0 + 1);
            }
            let Some(pieces) = ahead.next().await else { break };
            for piece in pieces? {
                match self.follow(newest.as_ref(), piece, status).await? {
                    Next::Taken(block) => newest = Some(block),
                    Next::Rewound => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Takes a span that follows on the newest block; where it does not follow, goes back to where it would.
    async fn follow(
        &self,
        newest: Option<&Block>,
        read: Answered,
        status: &mut ChainStatus,
    ) -> Result<Next, Trouble> {
        let (first, _, last) = &read;
        if newest.is_some_and(|newest| newest.hash != first.parent) && !planted(Bug::IgnoreParents) {
            self.rewind().await?;
            return Ok(Next::Rewound);
        }
        let block = Block { number: last.number, hash: last.hash, parent: last.parent, time: last.time };
        let range = self.reach.borrow().blocks();
        let facts = ledger::take(&*self.ports.store, read, range, status)?;
        self.outbox.announce(&facts, Some(block.time));
        Ok(Next::Taken(block))
    }

    /// Looks at the head and writes down what is new about the chain. `None` once the listener has halted.
    async fn look(&self) -> Result<Option<(ChainStatus, Header)>, Trouble> {
        let store = &*self.ports.store;
        let stored = ChainStatus::read(store)?;
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
        let mut batch = Batch::new();
        let status = match stored {
            Some(mut status) => {
                if status.newest_time < head.time {
                    status.newest_time = head.time;
                    status.head_changed = now;
                }
                status.head = head.number;
                status.head_time = head.time;
                status.finalized = status.finalized.max(finalized);
                if following::all(store)?.is_empty() {
                    // An older program kept no more of it than where it is.
                    let market = chain.market_at(status.market.address).await?.ok_or(Trouble::NoMarket)?;
                    batch.put(&Followed::first(found, market, BlockHeight(0)));
                }
                status
            }
            None => {
                let market = chain.market().await?.ok_or(Trouble::NoMarket)?;
                batch.put(&Followed::first(found, market.clone(), head.number));
                ChainStatus {
                    market: Market { chain: found, address: market.address() },
                    rules: market.rules,
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
        batch.put(&status);
        store.commit(batch)?;
        self.follow_markets()?;
        Ok(Some((status, head)))
    }

    async fn header(&self, number: BlockHeight) -> Result<Header, Trouble> {
        self.ports.chain.header(number).await?.ok_or(Trouble::Moved)
    }

    /// Reads a range, in as many pieces as the provider's limits demand.
    async fn range(&self, from: BlockHeight, to: BlockHeight) -> Result<Vec<Answered>, Trouble> {
        let (mut pieces, mut next) = (Vec::new(), from);
        while next <= to {
            let last = BlockHeight(to.0.min(next.0.saturating_add(self.reach.borrow().blocks() - 1)));
            if let Some(piece) = self.piece(next, last).await? {
                pieces.push(piece);
                next = BlockHeight(last.0 + 1);
            }
        }
        Ok(pieces)
    }

    /// Reads a range at once; `None` if it was too long, and a shorter one is to be asked for.
    pub(super) async fn piece(
        &self,
        from: BlockHeight,
        to: BlockHeight,
    ) -> Result<Option<Answered>, Trouble> {
        let blocks = to.0 - from.0 + 1;
        match self.examined(Span::Range(from, to)).await {
            Ok(read) => {
                self.reach.borrow_mut().answered(blocks, read.1.len() as u64);
                Ok(Some(read))
            }
            Err(Trouble::Chain(chain::Error::TooMuch { message, blocks: told, .. })) => {
                tracing::debug!(blocks, told, message, "a range is too long for the provider");
                let shorter = self.reach.borrow_mut().refused(blocks, told);
                // A provider that does not even answer one block is left for another.
                shorter.map_err(|Hopeless| self.distrust(&message))?;
                Ok(None)
            }
            Err(refused @ Trouble::Chain(chain::Error::Refused { .. })) => {
                // Words that nobody knows may mean the same: after a pause less is asked for, down to one block.
                let _ = self.reach.borrow_mut().refused(blocks, None);
                Err(refused)
            }
            Err(other) => Err(other),
        }
    }

    /// The range that is asked for at the moment, in blocks.
    pub(super) fn reach(&self) -> u64 {
        self.reach.borrow().blocks()
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

    /// Goes back to the newest block of ours that is still canonical and retracts what stood above it.
    async fn rewind(&self) -> Result<(), Trouble> {
        let store = &*self.ports.store;
        let for_good = ReadForGood::read(store)?.height;
        let mut gone = Vec::new();
        let mut ancestor = None;
        for block in store::list::<Block>(store, &[], Order::Descending, usize::MAX)? {
            // A provider that does not know a block below one that it told of is no witness that it is gone.
            if self.header(block.number).await?.hash == block.hash {
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
        let facts = ledger::undo(store, &gone, ancestor)?;
        self.outbox.announce(&facts, None);
        Ok(())
    }

    /// Counts trouble; past finality the listener halts, and nobody sends any more.
    fn note(&self, trouble: &Trouble) -> Result<(), store::Error> {
        let store = &*self.ports.store;
        let mut batch = Batch::new();
        let mut listening = Listening::read(store)?;
        *listening.errors.entry(trouble.kind().to_owned()).or_default() += 1;
        listening.range = self.reach();
        batch.put(&listening);
        if let (Trouble::PastFinality(_), Some(mut status)) = (trouble, ChainStatus::read(store)?) {
            status.halted = Some(trouble.to_string());
            batch.put(&status);
        }
        store.commit(batch)
    }

    pub(super) fn announce(&self, facts: &[crate::records::journal::Fact]) {
        self.outbox.announce(facts, None);
    }
}
