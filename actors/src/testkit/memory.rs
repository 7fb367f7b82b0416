//! A clock that stands until it is moved, randomness that repeats, a disk in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::domain::units::{ByteSize, WallTime};
use crate::ports::clock::Clock;
use crate::ports::disk::{Disk, Error};
use crate::ports::randomness::Randomness;

/// A clock that stands until a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: Cell<u64>,
    monotonic: Cell<u64>,
}

impl ManualClock {
    /// A clock that stands at that moment; its monotonic time starts at 0.
    pub fn at(wall: WallTime) -> Self {
        Self { wall: Cell::new(wall.0), monotonic: Cell::new(0) }
    }
    /// Lets `ms` milliseconds pass.
    pub fn advance(&self, ms: u64) {
        self.wall.set(self.wall.get() + ms);
        self.monotonic.set(self.monotonic.get() + ms);
    }
    /// Sets the wall clock as an operator or a time server would; monotonic time does not notice.
    pub fn jump(&self, wall: WallTime) {
        self.wall.set(wall.0);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> WallTime {
        WallTime(self.wall.get())
    }
    fn monotonic(&self) -> u64 {
        self.monotonic.get()
    }
}

/// Randomness that gives the same bytes for the same seed.
#[derive(Debug)]
pub struct SeededRandomness {
    seed: u64,
    drawn: Cell<u64>,
}

impl SeededRandomness {
    /// The sequence of that seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: Cell::new(0) }
    }
}

impl Randomness for SeededRandomness {
    fn secret(&self) -> [u8; 32] {
        let n = self.drawn.replace(self.drawn.get() + 1);
        Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(n.to_be_bytes()).finalize().into()
    }
}

/// A disk in memory: files by name, and as much free space as a test says.
#[derive(Debug)]
pub struct MemoryDisk {
    free: Cell<u64>,
    broken: Cell<bool>,
    files: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl MemoryDisk {
    /// An empty disk with so much free space.
    pub fn with_free(free: ByteSize) -> Self {
        Self { free: Cell::new(free.0), broken: Cell::new(false), files: RefCell::default() }
    }
    /// Says how much is free from now on.
    pub fn set_free(&self, free: ByteSize) {
        self.free.set(free.0);
    }
    /// Makes every call fail, or mends it.
    pub fn set_broken(&self, broken: bool) {
        self.broken.set(broken);
    }
    /// The names of the files written so far.
    pub fn names(&self) -> Vec<String> {
        self.files.borrow().keys().cloned().collect()
    }
    fn check(&self, name: &str) -> Result<(), Error> {
        match self.broken.get() {
            true => Err(Error { path: format!("memory/{name}"), what: "the disk is broken".into() }),
            false => Ok(()),
        }
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::with_free(ByteSize(1 << 40))
    }
}

impl Disk for MemoryDisk {
    fn free(&self) -> Result<ByteSize, Error> {
        self.check("")?;
        Ok(ByteSize(self.free.get()))
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<String, Error> {
        self.check(name)?;
        self.files.borrow_mut().insert(name.into(), bytes.to_vec());
        Ok(format!("memory/{name}"))
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.check(name)?;
        Ok(self.files.borrow().get(name).cloned())
    }
}
