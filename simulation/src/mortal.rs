//! A node's ports as one life of its process holds them: once its fuse has blown, they are inert.
//!
//! What is asked after the death, or answered after it, stays unanswered for ever, as it does for a dead
//! process; actors that still hold these ports until they are dropped can do no harm.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use cid::Cid;
use futures::future::{pending, FutureExt};
use ipns_record::Name;
use scatter::adapters::sqlite::Sqlite;
use scatter_actors::domain::following::{Contracts, Found, Named};
use scatter_actors::domain::market::{BidKey, BidState, BidTerms};
use scatter_actors::domain::units::{
    Address, BlockHash, BlockHeight, ByteSize, ChainTime, FileHash, TxHash, Wei,
};
use scatter_actors::ports::chain::{self, At, CallAt, Chain, Events, FeeMarket, Header, Receipt, Span};
use scatter_actors::ports::disk::{self, Disk};
use scatter_actors::ports::ipfs::{self, Added, Entry, Identity, Ipfs, Progress, Reach};
use scatter_actors::ports::names::{self, Names};
use scatter_actors::ports::store::{self, Batch, Change, Order, Row, Store, Table};
use scatter_actors::ports::Answer;
use scatter_actors::testkit::chain::FakeChain;
use scatter_actors::testkit::names::MemoryNames;
use scatter_actors::testkit::{Fuse, MemoryDisk, MemoryIpfs};

use crate::history::History;

/// A port that dies with its process.
#[derive(Clone)]
pub struct Mortal<P> {
    inner: Rc<P>,
    fuse: Fuse,
    node: &'static str,
}

impl<P> Mortal<P> {
    /// The port of a life of `node` that ends with `fuse`.
    pub fn new(inner: &Rc<P>, fuse: &Fuse, node: &'static str) -> Self {
        Self { inner: Rc::clone(inner), fuse: fuse.clone(), node }
    }

    /// What is behind it.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// The answer, if the asker lives to hear it; not even the question, if it is dead already.
    pub fn alive<'a, T: 'a, E: 'a>(&'a self, answer: Answer<'a, T, E>) -> Answer<'a, T, E> {
        async move {
            if self.fuse.is_blown() {
                pending::<()>().await;
            }
            let answer = answer.await;
            if self.fuse.is_blown() {
                pending::<()>().await;
            }
            answer
        }
        .boxed_local()
    }
}

impl Chain for Mortal<FakeChain> {
    fn chain_id(&self) -> Answer<'_, u64, chain::Error> {
        self.alive(self.inner.chain_id())
    }
    fn market(&self) -> Answer<'_, Option<Found>, chain::Error> {
        self.alive(self.inner.market())
    }
    fn market_at(&self, market: Address) -> Answer<'_, Option<Found>, chain::Error> {
        self.alive(self.inner.market_at(market))
    }
    fn named(&self, at: BlockHeight) -> Answer<'_, Named, chain::Error> {
        self.alive(self.inner.named(at))
    }
    fn follow(&self, markets: &[Contracts]) {
        self.inner.follow(markets);
    }
    fn head(&self) -> Answer<'_, Header, chain::Error> {
        self.alive(self.inner.head())
    }
    fn finalized(&self) -> Answer<'_, Option<Header>, chain::Error> {
        self.alive(self.inner.finalized())
    }
    fn header(&self, number: BlockHeight) -> Answer<'_, Option<Header>, chain::Error> {
        self.alive(self.inner.header(number))
    }
    fn events(&self, span: Span) -> Answer<'_, Events, chain::Error> {
        self.alive(self.inner.events(span))
    }
    fn others_fill_the_filter(&self, block: BlockHash) -> Answer<'_, bool, chain::Error> {
        self.alive(self.inner.others_fill_the_filter(block))
    }
    fn distrust(&self, what: &str) -> chain::Error {
        self.inner.distrust(what)
    }
    fn terms(&self, bid: BidKey) -> Answer<'_, Option<BidTerms>, chain::Error> {
        self.alive(self.inner.terms(bid))
    }
    fn bid(&self, bid: BidKey) -> Answer<'_, Option<BidState>, chain::Error> {
        self.alive(self.inner.bid(bid))
    }
    fn bid_count(&self, market: Address) -> Answer<'_, u64, chain::Error> {
        self.alive(self.inner.bid_count(market))
    }
    fn registration(
        &self,
        market: Address,
        who: Address,
    ) -> Answer<'_, Option<(FileHash, ChainTime)>, chain::Error> {
        self.alive(self.inner.registration(market, who))
    }
    fn registered_count(&self, market: Address) -> Answer<'_, Option<u64>, chain::Error> {
        self.alive(self.inner.registered_count(market))
    }
    fn credit(&self, market: Address, who: Address) -> Answer<'_, Wei, chain::Error> {
        self.alive(self.inner.credit(market, who))
    }
    fn balance(&self, who: Address) -> Answer<'_, Wei, chain::Error> {
        self.alive(self.inner.balance(who))
    }
    fn nonce(&self, who: Address, at: At) -> Answer<'_, u64, chain::Error> {
        self.alive(self.inner.nonce(who, at))
    }
    fn fees(&self) -> Answer<'_, FeeMarket, chain::Error> {
        self.alive(self.inner.fees())
    }
    fn simulate<'a>(
        &'a self,
        from: Address,
        call: &'a CallAt,
        known: BlockHeight,
    ) -> Answer<'a, u64, chain::Error> {
        self.alive(self.inner.simulate(from, call, known))
    }
    fn submit<'a>(&'a self, raw: &'a [u8]) -> Answer<'a, TxHash, chain::Error> {
        self.alive(self.inner.submit(raw))
    }
    fn receipt(&self, tx: TxHash) -> Answer<'_, Option<Receipt>, chain::Error> {
        self.alive(self.inner.receipt(tx))
    }
}

/// An IPFS node, and who wants to know which blocks are asked of it.
pub struct Backend {
    /// The node.
    pub ipfs: Rc<MemoryIpfs>,
    /// Told of each block before it is looked for.
    pub watcher: Box<dyn Fn(&Cid)>,
}

impl Mortal<Backend> {
    fn ipfs(&self) -> &MemoryIpfs {
        &self.inner.ipfs
    }
}

impl Ipfs for Mortal<Backend> {
    fn pin(
        &self,
        root: Cid,
        cap: ByteSize,
        progress: Rc<dyn Fn(Progress)>,
    ) -> Answer<'_, Progress, ipfs::Error> {
        self.alive(self.ipfs().pin(root, cap, progress))
    }
    fn unpin(&self, root: Cid) -> Answer<'_, (), ipfs::Error> {
        self.alive(self.ipfs().unpin(root))
    }
    fn is_pinned(&self, root: Cid) -> Answer<'_, bool, ipfs::Error> {
        (self.inner.watcher)(&root);
        self.alive(self.ipfs().is_pinned(root))
    }
    fn pins(&self) -> Answer<'_, Vec<Cid>, ipfs::Error> {
        self.alive(self.ipfs().pins())
    }
    fn block(&self, cid: Cid, reach: Reach) -> Answer<'_, Option<Vec<u8>>, ipfs::Error> {
        (self.inner.watcher)(&cid);
        self.alive(self.ipfs().block(cid, reach))
    }
    fn put(&self, codec: u64, bytes: Vec<u8>) -> Answer<'_, Cid, ipfs::Error> {
        self.alive(self.ipfs().put(codec, bytes))
    }
    fn add<'a>(&'a self, file: &'a Path) -> Answer<'a, Added, ipfs::Error> {
        self.alive(self.ipfs().add(file))
    }
    fn ls(&self, directory: Cid, cap: usize) -> Answer<'_, Vec<Entry>, ipfs::Error> {
        self.alive(self.ipfs().ls(directory, cap))
    }
    fn cat(&self, file: Cid, cap: ByteSize) -> Answer<'_, Vec<u8>, ipfs::Error> {
        self.alive(self.ipfs().cat(file, cap))
    }
    fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Answer<'_, Cid, ipfs::Error> {
        self.alive(self.ipfs().add_directory(files))
    }
    fn connect<'a>(&'a self, multiaddr: &'a str) -> Answer<'a, (), ipfs::Error> {
        self.alive(self.ipfs().connect(multiaddr))
    }
    fn identity(&self) -> Answer<'_, Identity, ipfs::Error> {
        self.alive(self.ipfs().identity())
    }
    fn stored(&self) -> Answer<'_, ByteSize, ipfs::Error> {
        self.alive(self.ipfs().stored())
    }
}

impl Names for Mortal<MemoryNames> {
    fn get(&self, name: Name) -> Answer<'_, Vec<u8>, names::Error> {
        self.alive(self.inner.get(name))
    }
    fn put(&self, name: Name, record: Vec<u8>) -> Answer<'_, (), names::Error> {
        self.alive(self.inner.put(name, record))
    }
}

impl Disk for Mortal<MemoryDisk> {
    fn free(&self) -> Result<ByteSize, disk::Error> {
        self.inner.free()
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<String, disk::Error> {
        match self.fuse.is_blown() {
            true => Err(disk::Error { path: name.to_owned(), what: "the process is dead".to_owned() }),
            false => self.inner.write(name, bytes),
        }
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, disk::Error> {
        self.inner.read(name)
    }
}

/// How often a node's store was written to, by what an invariant looks at.
#[derive(Debug, Default)]
pub struct Commits {
    /// Bids, pins, references, peers' sets.
    pub kept: Cell<u64>,
    /// Blocks and what the chain told.
    pub journal: Cell<u64>,
}

impl Commits {
    fn count(&self, batch: &Batch) {
        let touches = |tables: &[Table]| {
            batch.changes.iter().any(|change| match change {
                Change::Put(table, ..) | Change::Delete(table, _) => tables.contains(table),
            })
        };
        let mark = |count: &Cell<u64>, touched| count.set(count.get() + u64::from(touched));
        mark(&self.kept, touches(&[Table::Bids, Table::Pins, Table::Refs, Table::Peers]));
        mark(&self.journal, touches(&[Table::Blocks, Table::Facts]));
    }
}

/// The production store, whose commits count down the fuse and stand in the history.
pub struct FusedStore {
    store: Mortal<Sqlite>,
    history: History,
    commits: Rc<Commits>,
}

impl FusedStore {
    /// The store as this life sees it. The next life opens it as the last commit left it.
    pub fn new(store: Mortal<Sqlite>, history: History, commits: &Rc<Commits>) -> Self {
        Self { store, history, commits: Rc::clone(commits) }
    }
}

impl Store for FusedStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, store::Error> {
        self.store.fuse.check()?;
        self.store.inner.get(table, key)
    }
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, store::Error> {
        self.store.fuse.check()?;
        self.store.inner.scan(table, from, until, order, limit)
    }
    fn commit(&self, batch: Batch) -> Result<(), store::Error> {
        self.store.fuse.check()?;
        self.history.tell_changes(self.store.node, &batch);
        self.commits.count(&batch);
        self.store.inner.commit(batch)?;
        self.store.fuse.count();
        if self.store.fuse.is_blown() {
            self.history.tell(self.store.node, "is killed behind this commit");
        }
        Ok(())
    }
}
