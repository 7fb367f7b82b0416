//! A node without a chain that mirrors peers, for the tests beside.

use std::path::Path;

use futures::FutureExt;

use super::*;
use crate::ports::ipfs::{self, Added, Entry, Identity, Progress, Reach};
use crate::ports::Answer;
use crate::records::consortium::{kept, Listed, Peer, Source, Standing};
use crate::records::hosting::{refer, roots_for};

/// A name that nobody is asked for here.
const NAME: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

pub(super) struct Node {
    pub(super) store: Rc<MemoryStore>,
    pub(super) net: MemoryNet,
    pub(super) ipfs: Rc<MemoryIpfs>,
    pub(super) clock: Rc<ManualClock>,
    pub(super) disk: Rc<MemoryDisk>,
    pub(super) bounds: Bounds,
    pinner: Option<Addr<Pinner>>,
}

impl Node {
    pub(super) fn new() -> Self {
        Self::with(bounds())
    }

    pub(super) fn with(bounds: Bounds) -> Self {
        let net = MemoryNet::default();
        let mut node = Self {
            store: Rc::new(MemoryStore::new()),
            ipfs: Rc::new(MemoryIpfs::on("mirror", &net)),
            clock: Rc::new(ManualClock::at(WallTime(1_000_000))),
            disk: Rc::new(MemoryDisk::default()),
            net,
            bounds,
            pinner: None,
        };
        node.start();
        node
    }

    pub(super) fn start(&mut self) {
        self.start_on(self.store.clone());
    }

    pub(super) fn start_on(&mut self, store: Rc<dyn Store>) {
        self.start_with(store, self.disk.clone());
    }

    pub(super) fn start_with(&mut self, store: Rc<dyn Store>, disk: Rc<dyn Disk>) {
        let config = Config {
            hosting: None,
            mirroring: self.bounds.clone(),
            grace_ms: GRACE_MS,
            compare_each: COMPARE_EACH,
        };
        let ipfs = Rc::new(Slow(self.ipfs.clone()));
        let ports = Ports { ipfs, store, clock: self.clock.clone(), disk };
        self.pinner = Some(Pinner::new(config, ports, Outbox::default(), Guard::none()).start());
    }

    pub(super) async fn stop(&mut self) {
        if let Some(pinner) = self.pinner.take() {
            let _gone = pinner.send(Drain).await;
        }
    }

    pub(super) async fn restart(&mut self) {
        self.stop().await;
        self.start();
    }

    /// The process dies, and the next one finds the store as the last commit left it.
    pub(super) async fn die(&mut self) {
        self.stop().await;
        self.store = Rc::new(self.store.reopen());
        self.start();
    }

    pub(super) fn peer(&self, name: &str, max_bytes: u64, max_pins: u64) {
        let mut batch = Batch::new();
        batch.put(&Peer {
            name: name.to_owned(),
            ipns: NAME.parse().unwrap(),
            addrs: Vec::new(),
            max_bytes: ByteSize(max_bytes),
            max_pins,
            source: Source::Operator,
        });
        self.commit(batch);
    }

    pub(super) fn remove_peer(&self, name: &str) {
        let mut batch = Batch::new();
        batch.delete::<Peer>(&[b"p", name.as_bytes()].concat());
        self.commit(batch);
        self.tell(name);
    }

    /// A store that is dead already takes nothing more, as the resolver would find.
    fn commit(&self, batch: Batch) {
        let _dead = self.store.commit(batch);
    }

    /// The resolver read a peer's lists anew: files by name, and what each lists.
    pub(super) fn lists(&self, name: &str, files: &[(&str, Vec<Cid>)]) {
        let mut batch = Batch::new();
        let generation = crate::records::consortium::standing(&*self.store, name);
        let Ok(standing) = generation else { return };
        for old in crate::records::consortium::listed(&*self.store, name).unwrap_or_default() {
            batch.delete::<Listed>(&crate::ports::store::Record::key(&old));
        }
        for (file, roots) in files {
            batch.put(&Listed {
                peer: name.to_owned(),
                file: (*file).to_owned(),
                cid: crate::testkit::ipfs::cid_of(cids::RAW, file.as_bytes()),
                roots: roots.iter().map(Cid::to_string).collect(),
            });
        }
        batch.put(&Standing {
            name: name.to_owned(),
            ipns: NAME.parse().unwrap(),
            accepted: None,
            directory: None,
            resolved_at: None,
            failing: None,
            held: None,
            bad_files: BTreeMap::new(),
            generation: standing.map_or(1, |standing| standing.generation + 1),
            roots: files.iter().map(|(_, roots)| roots.len() as u64).sum(),
        });
        self.commit(batch);
        self.tell(name);
    }

    pub(super) fn tell(&self, name: &str) {
        if let Some(pinner) = &self.pinner {
            pinner.do_send(Mirror { peer: name.to_owned() });
        }
    }

    /// The operator lists roots for others.
    pub(super) fn own(&self, roots: &[Cid]) {
        let mut batch = Batch::new();
        roots.iter().for_each(|root| refer(&mut batch, *root, Owner::Manual));
        self.commit(batch);
        if let Some(pinner) = &self.pinner {
            pinner.do_send(KeepOwn);
        }
    }

    /// Content of so many bytes that somebody else on the net has, each number another.
    pub(super) fn offer(&self, numbers: std::ops::Range<u32>, size: usize) -> Vec<Cid> {
        let somebody = MemoryIpfs::on("somebody", &self.net);
        numbers.map(|number| somebody.hold(cids::RAW, &content(number, size))).collect()
    }

    /// Content that this node has already, unpinned.
    pub(super) fn hold(&self, numbers: std::ops::Range<u32>) -> Vec<Cid> {
        numbers.map(|number| self.ipfs.hold(cids::RAW, &content(number, 40))).collect()
    }

    pub(super) async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(1_000);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The grace of what nobody needs goes by.
    pub(super) async fn outlast_grace(&self) {
        self.clock.advance(GRACE_MS);
        self.pass(12).await;
    }

    pub(super) fn kept_for(&self, name: &str) -> BTreeSet<Cid> {
        roots_for(&*self.store, &Owner::Peer(name.to_owned())).unwrap().into_iter().collect()
    }

    pub(super) fn generation_kept(&self, name: &str) -> u64 {
        kept(&*self.store, name).unwrap().generation
    }

    pub(super) fn pinned(&self) -> BTreeSet<Cid> {
        self.ipfs.pinned().into_iter().collect()
    }

    pub(super) async fn mirrored(&self, name: &str) -> Mirrored {
        let asked = Mirroring { peer: Some(name.to_owned()) };
        let answer = self.pinner.as_ref().unwrap().send(asked).await.unwrap();
        answer.into_iter().next().unwrap()
    }
}

pub(super) fn content(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(size.max(4), 7);
    bytes
}

/// CIDs of content that nobody has.
pub(super) fn dead(numbers: std::ops::Range<u32>) -> Vec<Cid> {
    numbers
        .map(|number| crate::testkit::ipfs::cid_of(cids::RAW, &[&number.to_be_bytes()[..], b"dead"].concat()))
        .collect()
}

pub(super) fn set(cids: &[Cid]) -> BTreeSet<Cid> {
    cids.iter().copied().collect()
}

/// A backend whose words take time: what it tells may not be true any more, what it is told comes late.
struct Slow(Rc<MemoryIpfs>);

/// How long a question takes that is the backend's so-manieth: now less than another one, now more.
fn uneven(node: &MemoryIpfs) -> u64 {
    if node.touches().is_multiple_of(2) {
        1
    } else {
        12
    }
}

async fn a_while(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

impl Ipfs for Slow {
    fn pin(
        &self,
        root: Cid,
        cap: ByteSize,
        progress: Rc<dyn Fn(Progress)>,
    ) -> Answer<'_, Progress, ipfs::Error> {
        async move {
            a_while(2).await;
            self.0.pin(root, cap, progress).await
        }
        .boxed_local()
    }
    fn unpin(&self, root: Cid) -> Answer<'_, (), ipfs::Error> {
        async move {
            a_while(6).await;
            self.0.unpin(root).await?;
            a_while(2).await;
            Ok(())
        }
        .boxed_local()
    }
    fn is_pinned(&self, root: Cid) -> Answer<'_, bool, ipfs::Error> {
        async move {
            let pinned = self.0.is_pinned(root).await;
            a_while(2).await;
            pinned
        }
        .boxed_local()
    }
    fn pins(&self) -> Answer<'_, Vec<Cid>, ipfs::Error> {
        async move {
            let pins = self.0.pins().await;
            a_while(uneven(&self.0)).await;
            pins
        }
        .boxed_local()
    }
    fn block(&self, cid: Cid, reach: Reach) -> Answer<'_, Option<Vec<u8>>, ipfs::Error> {
        self.0.block(cid, reach)
    }
    fn put(&self, codec: u64, bytes: Vec<u8>) -> Answer<'_, Cid, ipfs::Error> {
        self.0.put(codec, bytes)
    }
    fn add<'a>(&'a self, file: &'a Path) -> Answer<'a, Added, ipfs::Error> {
        self.0.add(file)
    }
    fn ls(&self, directory: Cid, cap: usize) -> Answer<'_, Vec<Entry>, ipfs::Error> {
        self.0.ls(directory, cap)
    }
    fn cat(&self, file: Cid, cap: ByteSize) -> Answer<'_, Vec<u8>, ipfs::Error> {
        self.0.cat(file, cap)
    }
    fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Answer<'_, Cid, ipfs::Error> {
        self.0.add_directory(files)
    }
    fn connect<'a>(&'a self, multiaddr: &'a str) -> Answer<'a, (), ipfs::Error> {
        self.0.connect(multiaddr)
    }
    fn identity(&self) -> Answer<'_, Identity, ipfs::Error> {
        self.0.identity()
    }
    fn stored(&self) -> Answer<'_, ByteSize, ipfs::Error> {
        self.0.stored()
    }
}
