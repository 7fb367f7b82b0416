//! An IPFS backend in memory that counts how often it is asked.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use cid::multihash::Multihash;
use cid::Cid;
use futures::future::{err, ok, pending};
use futures::FutureExt;
use sha2::{Digest, Sha256};

use crate::domain::cids::SHA2_256;
use crate::domain::units::ByteSize;
use crate::ports::ipfs::{Added, Error, Identity, Ipfs, Progress, Reach};
use crate::ports::Answer;

/// Blocks and pins in memory. It walks no DAG: a root's one block is its whole content.
#[derive(Debug, Default)]
pub struct MemoryIpfs {
    blocks: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    pins: RefCell<BTreeSet<Cid>>,
    touches: Cell<u64>,
    broken: Cell<bool>,
}

impl MemoryIpfs {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }
    /// How often it was asked anything.
    pub fn touches(&self) -> u64 {
        self.touches.get()
    }
    /// Makes every call fail, or mends it.
    pub fn set_broken(&self, broken: bool) {
        self.broken.set(broken);
    }
    /// Puts a block there without counting as asked; tells its CID.
    pub fn hold(&self, codec: u64, bytes: &[u8]) -> Cid {
        let hash = Multihash::wrap(SHA2_256, &Sha256::digest(bytes)).unwrap();
        self.blocks.borrow_mut().insert(hash.to_bytes(), bytes.to_vec());
        Cid::new_v1(codec, hash)
    }
    /// Puts bytes in the place of a block, as a failing disk would.
    pub fn rot(&self, cid: &Cid, bytes: &[u8]) {
        self.blocks.borrow_mut().insert(cid.hash().to_bytes(), bytes.to_vec());
    }
    fn touch(&self) -> Result<(), Error> {
        self.touches.set(self.touches.get() + 1);
        match self.broken.get() {
            true => Err(Error::Unreachable("the backend is broken".into())),
            false => Ok(()),
        }
    }
    fn answer<T: 'static>(&self, give: impl FnOnce() -> T) -> Answer<'_, T, Error> {
        match self.touch() {
            Ok(()) => ok(give()).boxed_local(),
            Err(e) => err(e).boxed_local(),
        }
    }
    fn at(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.blocks.borrow().get(&cid.hash().to_bytes()).cloned()
    }
}

impl Ipfs for MemoryIpfs {
    fn pin(&self, root: Cid, cap: ByteSize, progress: Rc<dyn Fn(Progress)>) -> Answer<'_, Progress, Error> {
        if let Err(e) = self.touch() {
            return err(e).boxed_local();
        }
        match self.at(&root) {
            // Nobody has it: the caller waits for as long as it likes.
            None => pending().boxed_local(),
            Some(block) if block.len() as u64 > cap.0 => err(Error::TooLarge { cap: cap.0 }).boxed_local(),
            Some(block) => {
                let done = Progress { blocks: 1, bytes: block.len() as u64 };
                progress(done);
                self.pins.borrow_mut().insert(root);
                ok(done).boxed_local()
            }
        }
    }
    fn unpin(&self, root: Cid) -> Answer<'_, (), Error> {
        self.answer(|| {
            self.pins.borrow_mut().remove(&root);
        })
    }
    fn is_pinned(&self, root: Cid) -> Answer<'_, bool, Error> {
        self.answer(|| self.pins.borrow().contains(&root))
    }
    fn pins(&self) -> Answer<'_, Vec<Cid>, Error> {
        self.answer(|| self.pins.borrow().iter().copied().collect())
    }
    fn block(&self, cid: Cid, reach: Reach) -> Answer<'_, Option<Vec<u8>>, Error> {
        if let Err(e) = self.touch() {
            return err(e).boxed_local();
        }
        match (self.at(&cid), reach) {
            (None, Reach::Network) => pending().boxed_local(),
            (found, _) => ok(found).boxed_local(),
        }
    }
    fn put(&self, codec: u64, bytes: Vec<u8>) -> Answer<'_, Cid, Error> {
        self.answer(|| self.hold(codec, &bytes))
    }
    fn add<'a>(&'a self, _: &'a Path) -> Answer<'a, Added, Error> {
        match self.touch() {
            Ok(()) => err(Error::Unusable("a backend in memory reads no files".into())).boxed_local(),
            Err(e) => err(e).boxed_local(),
        }
    }
    fn connect<'a>(&'a self, _: &'a str) -> Answer<'a, (), Error> {
        self.answer(|| ())
    }
    fn identity(&self) -> Answer<'_, Identity, Error> {
        self.answer(|| Identity { peer: "12D3KooWMemory".into(), addrs: vec![], agent: "memory/1".into() })
    }
    fn stored(&self) -> Answer<'_, ByteSize, Error> {
        self.answer(|| ByteSize(self.blocks.borrow().values().map(|block| block.len() as u64).sum()))
    }
}
