//! A name system in memory: it keeps the newest record of each name, and lies if a test says so.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use ipns_record::{Name, SigningKey, Timestamp};

use crate::domain::units::WallTime;
use crate::ports::names::{Error, Names};
use crate::ports::Answer;

/// What the system says of a name, whatever it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These bytes: a record that is old, forged, or none at all.
    Bytes(Vec<u8>),
    /// Nothing, ever.
    Silence,
    /// That nobody has a record.
    Nobody,
    /// That it could not look.
    Broken,
}

/// The name system. Clones are other nodes' views of the same.
#[derive(Clone, Default)]
pub struct MemoryNames {
    kept: Rc<RefCell<BTreeMap<Name, Vec<u8>>>>,
    said: Rc<RefCell<BTreeMap<Name, Said>>>,
    latency_ms: Rc<Cell<u64>>,
    deaf: Rc<Cell<bool>>,
    gets: Rc<Cell<u64>>,
    puts: Rc<Cell<u64>>,
}

/// The ed25519 key of a repeated byte.
pub fn key_of(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

impl MemoryNames {
    /// A system that knows nothing and answers at once.
    pub fn new() -> Self {
        Self::default()
    }
    /// Says this of a name from now on; `None` makes it honest again.
    pub fn say(&self, name: Name, said: impl Into<Option<Said>>) {
        match said.into() {
            Some(said) => self.said.borrow_mut().insert(name, said),
            None => self.said.borrow_mut().remove(&name),
        };
    }
    /// Lets every answer take so many milliseconds.
    pub fn set_latency(&self, ms: u64) {
        self.latency_ms.set(ms);
    }
    /// Takes no record from now on, or takes them again.
    pub fn set_deaf(&self, deaf: bool) {
        self.deaf.set(deaf);
    }
    /// How often a record was asked for.
    pub fn gets(&self) -> u64 {
        self.gets.get()
    }
    /// How often a record was taken.
    pub fn puts(&self) -> u64 {
        self.puts.get()
    }
    /// The record that is kept.
    pub fn kept(&self, name: Name) -> Option<Vec<u8>> {
        self.kept.borrow().get(&name).cloned()
    }
    /// Signs and keeps a record, as its owner's node would: also one that is older than the kept one.
    pub fn publish(&self, key: &SigningKey, value: &str, sequence: u64, eol: WallTime) -> Vec<u8> {
        let record = key.sign(value.as_bytes(), sequence, Timestamp::from_ms(eol.0), 0).unwrap();
        self.kept.borrow_mut().insert(key.name(), record.clone());
        record
    }
}

impl Names for MemoryNames {
    fn get(&self, name: Name) -> Answer<'_, Vec<u8>, Error> {
        async move {
            self.gets.set(self.gets.get() + 1);
            tokio::time::sleep(Duration::from_millis(self.latency_ms.get())).await;
            let said = self.said.borrow().get(&name).cloned();
            match said {
                Some(Said::Bytes(bytes)) => Ok(bytes),
                Some(Said::Silence) => std::future::pending().await,
                Some(Said::Nobody) => Err(Error::NotFound(name)),
                Some(Said::Broken) => Err(Error::Unreachable("it is broken".into())),
                None => self.kept(name).ok_or(Error::NotFound(name)),
            }
        }
        .boxed_local()
    }

    fn put(&self, name: Name, record: Vec<u8>) -> Answer<'_, (), Error> {
        async move {
            tokio::time::sleep(Duration::from_millis(self.latency_ms.get())).await;
            if self.deaf.get() {
                return Err(Error::Unreachable("nobody took it".into()));
            }
            let verified = ipns_record::verify(name, &record, 0);
            let found = verified.map_err(|refusal| Error::Refused(refusal.to_string()))?;
            let kept = self.kept(name).and_then(|kept| ipns_record::verify(name, &kept, 0).ok());
            if kept.is_none_or(|kept| found.is_newer_than(&kept)) {
                self.kept.borrow_mut().insert(name, record);
            }
            self.puts.set(self.puts.get() + 1);
            Ok(())
        }
        .boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "/ipfs/bafkqaaa";

    #[tokio::test(start_paused = true)]
    async fn the_newest_record_is_kept_and_nothing_else_is_taken() {
        let (names, key) = (MemoryNames::new(), key_of(1));
        let sign = |sequence| key.sign(VALUE.as_bytes(), sequence, Timestamp::from_ms(1_000), 0).unwrap();
        assert_eq!(names.get(key.name()).await, Err(Error::NotFound(key.name())));
        names.put(key.name(), sign(2)).await.unwrap();
        names.put(key.name(), sign(1)).await.unwrap();
        assert_eq!(names.get(key.name()).await, Ok(sign(2)));
        let stranger = names.put(key_of(2).name(), sign(3)).await;
        assert!(matches!(stranger, Err(Error::Refused(_))), "{stranger:?}");
    }
}
