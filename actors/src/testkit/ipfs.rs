//! IPFS nodes in memory that get blocks from one another: slowly, partly, or never.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use cid::multihash::Multihash;
use cid::Cid;
use futures::FutureExt;
use sha2::{Digest as _, Sha256};

use super::directories::{entries, unixfs_directory};
use crate::domain::cids::{DAG_PB, RAW, SHA2_256};
use crate::domain::dag;
use crate::domain::units::ByteSize;
use crate::ports::ipfs::{Added, Entry, Error, Identity, Ipfs, Progress, Reach};
use crate::ports::Answer;

/// Milliseconds that a block takes over the network.
const HOP_MS: u64 = 5;
/// Milliseconds between two looks for a block that nobody has yet.
const LOOK_MS: u64 = 500;

/// Bytes of a leaf, as `ipfs add` cuts them.
const CHUNK: usize = 256 << 10;

type Blocks = Rc<RefCell<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// What connects the nodes.
#[derive(Clone, Default)]
pub struct MemoryNet(Rc<RefCell<Vec<Blocks>>>);

/// One node.
pub struct MemoryIpfs {
    name: String,
    blocks: Blocks,
    pins: RefCell<BTreeSet<Cid>>,
    net: MemoryNet,
    asked: Cell<u64>,
    down: Cell<bool>,
    /// How often it went down: what was under way then is broken off.
    falls: Cell<u64>,
    full: Cell<bool>,
    hop_ms: Cell<u64>,
    listings: Cell<u64>,
    reads: Cell<u64>,
    dialled: RefCell<Vec<String>>,
    undialled: Cell<bool>,
}

/// The CIDv1 of a block named by sha2-256.
pub fn cid_of(codec: u64, bytes: &[u8]) -> Cid {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    Cid::new_v1(codec, Multihash::wrap(SHA2_256, &digest).unwrap())
}

/// A file as UnixFS makes it: leaves of `chunk` bytes below one root. The root first, as a CIDv0.
pub fn unixfs_file(bytes: &[u8], chunk: usize) -> Vec<(Cid, Vec<u8>)> {
    let leaves: Vec<(Cid, Vec<u8>)> =
        bytes.chunks(chunk).map(|leaf| (cid_of(RAW, leaf), leaf.to_vec())).collect();
    let field =
        |number: u8, bytes: &[u8]| [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat();
    let number = |field: u8, value: u64| [&[field << 3][..], &varint(value)].concat();
    let mut node = Vec::new();
    let mut data = [number(1, 2), number(3, bytes.len() as u64)].concat();
    for (cid, leaf) in &leaves {
        let link = [field(1, &cid.to_bytes()), field(2, b""), number(3, leaf.len() as u64)].concat();
        node.extend(field(2, &link));
        data.extend(number(4, leaf.len() as u64));
    }
    node.extend(field(1, &data));
    let root = Cid::new_v0(*cid_of(DAG_PB, &node).hash()).unwrap();
    [vec![(root, node)], leaves].concat()
}

/// Whether bytes hash to a name, as far as that is by sha2-256.
fn is_named_so(cid: &Cid, bytes: &[u8]) -> bool {
    cid.hash().code() != SHA2_256 || cid.hash().digest() == &Sha256::digest(bytes)[..]
}

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

impl Default for MemoryIpfs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryIpfs {
    /// A node with nobody around it.
    pub fn new() -> Self {
        Self::on("12D3KooWMemory", &MemoryNet::default())
    }
    /// A node on the net.
    pub fn on(name: &str, net: &MemoryNet) -> Self {
        let blocks = Blocks::default();
        net.0.borrow_mut().push(Rc::clone(&blocks));
        Self {
            name: name.to_owned(),
            blocks,
            pins: RefCell::default(),
            net: net.clone(),
            asked: Cell::new(0),
            down: Cell::new(false),
            falls: Cell::new(0),
            full: Cell::new(false),
            hop_ms: Cell::new(HOP_MS),
            listings: Cell::new(0),
            reads: Cell::new(0),
            dialled: RefCell::default(),
            undialled: Cell::new(false),
        }
    }
    /// Puts blocks onto the node's disk.
    pub fn load(&self, blocks: &[(Cid, Vec<u8>)]) {
        for (cid, bytes) in blocks {
            self.blocks.borrow_mut().insert(cid.hash().to_bytes(), bytes.clone());
        }
    }
    /// Pins a DAG whose blocks, the root first, are all given.
    pub fn pin_here(&self, blocks: &[(Cid, Vec<u8>)]) {
        self.load(blocks);
        self.pins.borrow_mut().extend(blocks.first().map(|(root, _)| *root));
    }
    /// Removes a block from the node's disk.
    pub fn lose(&self, cid: &Cid) {
        self.blocks.borrow_mut().remove(&cid.hash().to_bytes());
    }
    /// Forgets a pin, and collects its root's block, as somebody else's `pin rm` and `repo gc` would.
    pub fn lose_pin(&self, root: &Cid) {
        self.pins.borrow_mut().remove(root);
        self.lose(root);
    }
    /// Puts a block there without counting as asked; tells its CID.
    pub fn hold(&self, codec: u64, bytes: &[u8]) -> Cid {
        let cid = cid_of(codec, bytes);
        self.load(&[(cid, bytes.to_vec())]);
        cid
    }
    /// Puts a directory of files there without counting as asked; tells its CID.
    pub fn hold_directory(&self, files: &[(String, Vec<u8>)]) -> Cid {
        let mut entries = Vec::new();
        for (name, bytes) in files {
            let blocks = unixfs_file(bytes, CHUNK);
            entries.push((name.as_str(), blocks[0].0));
            self.load(&blocks);
        }
        entries.sort_unstable();
        let directory = unixfs_directory(&entries);
        self.load(std::slice::from_ref(&directory));
        directory.0
    }
    /// How often a directory was listed here.
    pub fn listings(&self) -> u64 {
        self.listings.get()
    }
    /// Lets nobody be connected to, or everybody again.
    pub fn set_undialled(&self, undialled: bool) {
        self.undialled.set(undialled);
    }
    /// Whom it was told to connect to, in order.
    pub fn dialled(&self) -> Vec<String> {
        self.dialled.borrow().clone()
    }
    /// How often a file was read here.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }
    /// Puts bytes in the place of a block, as a failing disk would.
    pub fn rot(&self, cid: &Cid, bytes: &[u8]) {
        self.load(&[(*cid, bytes.to_vec())]);
    }
    /// How often anything was asked of the node.
    pub fn touches(&self) -> u64 {
        self.asked.get()
    }
    /// Makes every call fail, those under way too, or mends it.
    pub fn set_broken(&self, broken: bool) {
        self.falls.set(self.falls.get() + u64::from(broken));
        self.down.set(broken);
    }
    /// Leaves no room for any block that comes over the network, or makes room again.
    pub fn set_full(&self, full: bool) {
        self.full.set(full);
    }
    /// Lets every block that comes over the network take so many milliseconds.
    pub fn set_hop(&self, ms: u64) {
        self.hop_ms.set(ms);
    }
    /// What is pinned, for a test to look at.
    pub fn pinned(&self) -> Vec<Cid> {
        self.pins.borrow().iter().copied().collect()
    }

    fn here(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.blocks.borrow().get(&cid.hash().to_bytes()).cloned()
    }

    fn check(&self) -> Result<(), Error> {
        self.asked.set(self.asked.get() + 1);
        match self.down.get() {
            true => Err(self.is_down()),
            false => Ok(()),
        }
    }

    fn is_down(&self) -> Error {
        Error::Unreachable(format!("{} is down", self.name))
    }

    /// A block from here or from whoever has it, waited for as long as nobody does. What does not hash to its name is
    /// not taken, whoever sends it.
    async fn bring(&self, cid: &Cid) -> Result<Vec<u8>, Error> {
        let falls = self.falls.get();
        loop {
            if let Some(block) = self.here(cid) {
                return Ok(block);
            }
            let key = cid.hash().to_bytes();
            let found = self.net.0.borrow().iter().find_map(|peer| {
                let block = peer.borrow().get(&key).cloned();
                block.filter(|block| is_named_so(cid, block))
            });
            let wait = if found.is_some() { self.hop_ms.get() } else { LOOK_MS };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if self.falls.get() > falls {
                return Err(self.is_down());
            }
            if let Some(block) = found {
                if self.full.get() {
                    return Err(Error::Storage("no space left on device".to_owned()));
                }
                self.blocks.borrow_mut().insert(key, block.clone());
                return Ok(block);
            }
        }
    }
}

impl Ipfs for MemoryIpfs {
    fn pin(&self, root: Cid, cap: ByteSize, progress: Rc<dyn Fn(Progress)>) -> Answer<'_, Progress, Error> {
        async move {
            self.check()?;
            let mut walked = Progress::default();
            let mut seen = BTreeSet::new();
            let mut ahead = vec![root];
            while let Some(cid) = ahead.pop() {
                if !seen.insert(cid.hash().to_bytes()) {
                    continue;
                }
                let block = self.bring(&cid).await?;
                walked.blocks += 1;
                walked.bytes += block.len() as u64;
                progress(walked);
                if walked.bytes > cap.0 {
                    return Err(Error::TooLarge { cap: cap.0 });
                }
                ahead.extend(dag::links(&cid, &block).map_err(|why| Error::Unusable(why.to_string()))?);
            }
            self.pins.borrow_mut().insert(root);
            Ok(walked)
        }
        .boxed_local()
    }
    fn unpin(&self, root: Cid) -> Answer<'_, (), Error> {
        async move {
            self.check()?;
            self.pins.borrow_mut().remove(&root);
            Ok(())
        }
        .boxed_local()
    }
    fn is_pinned(&self, root: Cid) -> Answer<'_, bool, Error> {
        async move { self.check().map(|()| self.pins.borrow().contains(&root)) }.boxed_local()
    }
    fn pins(&self) -> Answer<'_, Vec<Cid>, Error> {
        async move { self.check().map(|()| self.pinned()) }.boxed_local()
    }
    fn block(&self, cid: Cid, reach: Reach) -> Answer<'_, Option<Vec<u8>>, Error> {
        async move {
            self.check()?;
            match reach {
                Reach::Local => Ok(self.here(&cid)),
                Reach::Network => self.bring(&cid).await.map(Some),
            }
        }
        .boxed_local()
    }
    fn put(&self, codec: u64, bytes: Vec<u8>) -> Answer<'_, Cid, Error> {
        async move {
            self.check()?;
            let cid = cid_of(codec, &bytes);
            self.load(&[(cid, bytes)]);
            Ok(cid)
        }
        .boxed_local()
    }
    /// There are no files in memory: tests [`load`](Self::load) blocks.
    fn add<'a>(&'a self, file: &'a Path) -> Answer<'a, Added, Error> {
        async move { Err(Error::Storage(format!("{}: no such file", file.display()))) }.boxed_local()
    }
    fn ls(&self, directory: Cid, cap: usize) -> Answer<'_, Vec<Entry>, Error> {
        async move {
            self.check()?;
            self.listings.set(self.listings.get() + 1);
            let unusable = || Error::Unusable(format!("{directory} is no directory"));
            if directory.codec() != DAG_PB {
                return Err(unusable());
            }
            let entries = entries(&self.bring(&directory).await?).ok_or_else(unusable)?;
            match entries.len() > cap {
                true => Err(Error::TooMany { cap }),
                false => Ok(entries),
            }
        }
        .boxed_local()
    }

    fn cat(&self, file: Cid, cap: ByteSize) -> Answer<'_, Vec<u8>, Error> {
        async move {
            self.check()?;
            self.reads.set(self.reads.get() + 1);
            let (mut bytes, mut ahead) = (Vec::new(), vec![file]);
            while let Some(cid) = ahead.pop() {
                let unusable = |why: dag::Unauditable| Error::Unusable(format!("{cid}: {why}"));
                let block = self.bring(&cid).await?;
                let links = dag::links(&cid, &block).map_err(unusable)?;
                if cid.codec() == DAG_PB && entries(&block).is_some() {
                    return Err(Error::Unusable(format!("{cid}: a directory")));
                }
                if links.is_empty() {
                    bytes.extend(dag::file_bytes(&cid, &block).map_err(unusable)?);
                }
                ahead.extend(links.into_iter().rev());
                if bytes.len() as u64 > cap.0 {
                    return Err(Error::TooLarge { cap: cap.0 });
                }
            }
            Ok(bytes)
        }
        .boxed_local()
    }

    fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Answer<'_, Cid, Error> {
        async move {
            self.check()?;
            let names: BTreeSet<_> = files.iter().map(|(name, _)| name.as_str()).collect();
            let is_bad = |name: &&str| matches!(*name, "" | "." | "..") || name.contains('/');
            if names.len() < files.len() || names.iter().any(is_bad) {
                return Err(Error::Unusable("names that are none, or twice the same".to_owned()));
            }
            let root = self.hold_directory(&files);
            self.pins.borrow_mut().insert(root);
            Ok(root)
        }
        .boxed_local()
    }

    fn connect<'a>(&'a self, multiaddr: &'a str) -> Answer<'a, (), Error> {
        async move {
            self.check()?;
            self.dialled.borrow_mut().push(multiaddr.to_owned());
            match self.undialled.get() {
                true => Err(Error::Unreachable(format!("{multiaddr} does not answer"))),
                false => Ok(()),
            }
        }
        .boxed_local()
    }
    fn identity(&self) -> Answer<'_, Identity, Error> {
        async move {
            self.check()?;
            Ok(Identity { peer: self.name.clone(), addrs: vec![], agent: "memory/1".to_owned() })
        }
        .boxed_local()
    }
    fn stored(&self) -> Answer<'_, ByteSize, Error> {
        let bytes = self.blocks.borrow().values().map(|block| block.len() as u64).sum();
        async move { self.check().map(|()| ByteSize(bytes)) }.boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_node_in_memory_keeps_the_contract_of_backends() {
        crate::testkit::ipfs_contract(&MemoryIpfs::new()).await;
    }
}
