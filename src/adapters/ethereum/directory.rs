//! The markets whose contracts are known, by address.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use scatter_actors::domain::following::Contracts;
use scatter_actors::domain::units::Address;

/// The markets, shared with whoever signs. What was found first is kept: the owner of a Router can point it elsewhere,
/// and it is the listener that decides when that counts.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<RwLock<Markets>>);

#[derive(Debug, Default)]
struct Markets {
    /// Those whose logs are read, the one that the configuration names first; of the others somebody asked.
    followed: usize,
    known: Vec<Contracts>,
}

impl Directory {
    /// The contracts of a market, if they are known.
    pub fn of(&self, market: Address) -> Option<Contracts> {
        self.read().known.iter().find(|known| known.market == market).cloned()
    }

    /// The first of those whose logs are read.
    pub(super) fn first(&self) -> Option<Contracts> {
        let markets = self.read();
        markets.known.iter().take(markets.followed).next().cloned()
    }

    /// The contracts whose logs are read, each once.
    pub(super) fn emitters(&self) -> Vec<Address> {
        let markets = self.read();
        let mut emitters = Vec::new();
        for emitter in markets.known.iter().take(markets.followed).flat_map(Contracts::emitters) {
            if !emitters.contains(&emitter) {
                emitters.push(emitter);
            }
        }
        emitters
    }

    /// Reads the logs of these markets from now on.
    pub(super) fn follow(&self, followed: &[Contracts]) {
        let mut markets = self.write();
        let is_followed = |known: &Contracts| followed.iter().any(|one| one.market == known.market);
        let others: Vec<_> = markets.known.drain(..).filter(|known| !is_followed(known)).collect();
        markets.followed = followed.len();
        markets.known = followed.iter().cloned().chain(others).collect();
    }

    /// Reads the logs of this one, if there is none yet whose logs are read.
    pub(super) fn keep_first(&self, found: &Contracts) {
        if self.read().followed == 0 {
            self.follow(std::slice::from_ref(found));
        }
    }

    /// Keeps what somebody asked about, unless it is known already.
    pub(super) fn keep(&self, found: Contracts) {
        if self.of(found.market).is_none() {
            self.write().known.push(found);
        }
    }

    // Whoever panicked while it held the lock has left whole contracts behind.
    fn read(&self) -> RwLockReadGuard<'_, Markets> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Markets> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
