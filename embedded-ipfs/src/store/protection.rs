//! Which blocks a sweep must leave alone although no recorded pin reaches them yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cid::Cid;

use super::lock;
use super::planted::{Bug, Planted};
use crate::block::Key;
use crate::dag::{Seen, Sight};

/// Blocks of pins and adds in flight, counted, since two pins may share one.
#[derive(Default)]
pub(super) struct Protection {
    planted: Planted,
    counts: HashMap<Key, u32>,
    sweeping: bool,
    /// Released while a sweep runs, which may not have seen the pin that they became part of.
    released: Vec<Key>,
}

impl Protection {
    pub(super) fn new(planted: Planted) -> Protection {
        Protection { planted, ..Protection::default() }
    }

    pub(super) fn covers(&self, key: &Key) -> bool {
        self.counts.contains_key(key)
    }

    fn release(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            if let Some(count) = self.counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&key);
                }
            }
        }
    }
}

/// Keeps what it has seen from being swept until it is dropped.
pub(crate) struct Guard {
    protection: Arc<Mutex<Protection>>,
    seen: Seen,
}

impl Guard {
    pub(super) fn new(protection: Arc<Mutex<Protection>>) -> Guard {
        Guard { protection, seen: Seen::default() }
    }

    /// Protects a block from now on. To be called before looking whether it is here.
    pub(crate) fn see(&mut self, cid: &Cid) -> Sight {
        let sight = self.seen.see(cid);
        if sight == Sight::New {
            *lock(&self.protection).counts.entry(Key::of(cid)).or_default() += 1;
        }
        sight
    }

    /// Distinct blocks seen.
    pub(crate) fn len(&self) -> u64 {
        self.seen.0.len() as u64
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.seen).0.into_keys();
        let mut protection = lock(&self.protection);
        if protection.sweeping && !protection.planted.is(Bug::ReleaseEarly) {
            protection.released.extend(keys);
        } else {
            protection.release(keys);
        }
    }
}

/// A sweep under way.
pub(super) struct Sweeping<'p>(&'p Mutex<Protection>);

impl<'p> Sweeping<'p> {
    pub(super) fn begin(protection: &'p Mutex<Protection>) -> Self {
        lock(protection).sweeping = true;
        Sweeping(protection)
    }
}

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        let mut protection = lock(self.0);
        protection.sweeping = false;
        let released = std::mem::take(&mut protection.released);
        protection.release(released);
    }
}
