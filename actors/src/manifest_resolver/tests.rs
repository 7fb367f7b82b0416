//! The resolver on paused time: what it follows, what it refuses, and what it keeps whatever happens.

use std::cell::{Cell, RefCell};

use cid::Cid;
use ipns_record::SigningKey;

use super::*;
use crate::domain::cids::RAW;
use crate::domain::units::{ByteSize, WallTime};
use crate::ports::store::{Batch, Record};
use crate::records::consortium::{self, listed, standing, Held, Kept, Source, Standing};
use crate::supervisor::{Drain, Ping};
use crate::testkit::ipfs::{cid_of, MemoryNet};
use crate::testkit::names::{key_of, Said};
use crate::testkit::{unixfs_directory, ManualClock, MemoryIpfs, MemoryNames, MemoryStore, SeededRandomness};

mod following;
mod hostile;
mod lasting;

/// When the tests begin, in milliseconds since 1970.
const START: u64 = 1_000_000;
/// A record that outlives every test.
const LONG: WallTime = WallTime(4_000_000_000_000);
const INTERVAL: Duration = Duration::from_secs(600);

/// Hears what the pinner would.
#[derive(Default)]
struct Ear(Rc<RefCell<Vec<String>>>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<Mirror> for Ear {
    type Result = ();
    fn handle(&mut self, mirror: Mirror, _: &mut Self::Context) {
        self.0.borrow_mut().push(mirror.peer);
    }
}

/// The network around one resolver.
struct World {
    store: Rc<MemoryStore>,
    names: MemoryNames,
    theirs: MemoryIpfs,
    ipfs: Rc<MemoryIpfs>,
    clock: Rc<ManualClock>,
    config: Config,
    told: Rc<RefCell<Vec<String>>>,
    resolver: Addr<ManifestResolver>,
    sequence: Cell<u64>,
}

/// A root, by its number.
fn root(n: u64) -> Cid {
    cid_of(RAW, &n.to_be_bytes())
}

/// A manifest's file with these roots.
fn file(roots: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let texts: Vec<String> = roots.into_iter().map(|n| root(n).to_string()).collect();
    serde_json::to_vec(&texts).unwrap()
}

fn peer(name: &str, key: &SigningKey) -> Peer {
    Peer {
        name: name.to_owned(),
        ipns: key.name(),
        addrs: vec![],
        max_bytes: ByteSize(1 << 30),
        max_pins: 1_000,
        source: Source::Config,
    }
}

impl World {
    /// A resolver that follows `ann`, whose key is number 1, and whoever else is configured.
    fn new(others: Vec<Peer>) -> Self {
        let peers = [vec![peer("ann", &key_of(1))], others].concat();
        let config = Config { at_once: 2, jitter: Duration::ZERO, ..Config::new(peers, INTERVAL) };
        let net = MemoryNet::default();
        let (store, names) = (Rc::new(MemoryStore::new()), MemoryNames::new());
        let (theirs, ipfs) = (MemoryIpfs::on("theirs", &net), Rc::new(MemoryIpfs::on("ours", &net)));
        let (clock, told) = (Rc::new(ManualClock::at(WallTime(START))), Rc::default());
        let resolver = start(&config, &store, &names, &ipfs, &clock, &told);
        Self { store, names, theirs, ipfs, clock, config, told, resolver, sequence: Cell::new(0) }
    }

    async fn restart(&mut self) {
        let _gone = self.resolver.send(Drain).await;
        self.begin();
        self.resolver.send(Ping).await.unwrap();
    }

    /// As the platform does after a kill of the process.
    fn kill(&mut self) {
        self.store = Rc::new(self.store.reopen());
        self.begin();
    }

    fn begin(&mut self) {
        self.resolver = start(&self.config, &self.store, &self.names, &self.ipfs, &self.clock, &self.told);
    }

    /// Ann, or another number, publishes a directory of these files as her next record.
    fn publish(&self, key: u8, files: &[(&str, Vec<u8>)]) -> Cid {
        let files: Vec<_> = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
        let directory = self.theirs.hold_directory(&files);
        self.sequence.set(self.sequence.get() + 1);
        self.names.publish(&key_of(key), &format!("/ipfs/{directory}"), self.sequence.get(), LONG);
        directory
    }

    async fn resolve(&self) {
        self.resolver.send(Resolve { peer: None }).await.unwrap();
    }

    async fn accept(&self, peer: &str) -> Result<(), Refusal> {
        self.resolver.send(Accept { peer: peer.to_owned() }).await.unwrap()
    }

    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.clock.advance(1_000);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn standing(&self, name: &str) -> Standing {
        standing(&*self.store, name).unwrap().unwrap()
    }

    /// The roots that are kept for a peer, by number.
    fn kept(&self, name: &str) -> Vec<u64> {
        let texts: Vec<String> =
            listed(&*self.store, name).unwrap().into_iter().flat_map(|file| file.roots).collect();
        let found: Vec<u64> = (0..300).filter(|n| texts.contains(&root(*n).to_string())).collect();
        assert_eq!(found.len(), texts.len(), "each once, and nothing else: {texts:?}");
        found
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.borrow_mut())
    }

    fn write(&self, put: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        put(&mut batch);
        self.store.commit(batch).unwrap();
    }
}

fn start(
    config: &Config,
    store: &Rc<MemoryStore>,
    names: &MemoryNames,
    ipfs: &Rc<MemoryIpfs>,
    clock: &Rc<ManualClock>,
    told: &Rc<RefCell<Vec<String>>>,
) -> Addr<ManifestResolver> {
    let ports = Ports {
        names: Rc::new(names.clone()),
        ipfs: ipfs.clone(),
        store: store.clone(),
        clock: clock.clone(),
        randomness: Rc::new(SeededRandomness::new(7)),
    };
    let outbox = Outbox::default();
    outbox.mirror.point(&Ear(told.clone()).start());
    ManifestResolver::new(config.clone(), ports, outbox, Guard::none()).start()
}

fn on_paused_time<F: std::future::Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime().unwrap()).block_on(async { test().await });
}
