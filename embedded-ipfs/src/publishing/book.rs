//! The names that this node publishes: a file each in the data directory, written before anything is said.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipns_record::{Name, Record, SigningKey, Timestamp};

use crate::error::at;
use crate::proto::{fields, put_bytes, put_int, Malformed};
use crate::{durable, Error, Published};

/// A key of RSA has some 2 KiB, a value at most 10.
const LONGEST: u64 = 64 << 10;

/// What a name says, and with which key.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) key: SigningKey,
    /// `/ipfs/CID[/path]`.
    pub(crate) value: String,
    pub(crate) sequence: u64,
    /// From the signing of a record to its end.
    pub(crate) lifetime: Duration,
    pub(crate) ttl: Duration,
    /// Nobody was there to be asked what else is known of the name when it was published.
    pub(crate) alone: bool,
}

impl Own {
    /// A record of this that lives from now on.
    pub(crate) fn sign(&self, now_ms: u64) -> Result<Vec<u8>, Error> {
        let lifetime = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let eol = Timestamp::from_ms(now_ms.saturating_add(lifetime));
        let ttl = u64::try_from(self.ttl.as_nanos()).unwrap_or(u64::MAX);
        self.key.sign(self.value.as_bytes(), self.sequence, eol, ttl).map_err(Error::Unsigned)
    }

    pub(crate) fn report(&self) -> Published {
        Published { name: self.key.name(), value: self.value.clone(), sequence: self.sequence }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, &self.key.to_protobuf());
        put_bytes(&mut out, 2, self.value.as_bytes());
        put_int(&mut out, 3, self.sequence);
        put_int(&mut out, 4, self.lifetime.as_secs());
        put_int(&mut out, 5, self.ttl.as_secs());
        put_int(&mut out, 6, self.alone.into());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Own, Malformed> {
        let (mut key, mut value, mut sequence, mut lifetime, mut ttl) = (None, None, None, None, None);
        let mut alone = false;
        for field in fields(bytes) {
            match field? {
                (1, field) => key = SigningKey::from_protobuf(field.bytes()?).ok(),
                (2, field) => value = String::from_utf8(field.bytes()?.to_vec()).ok(),
                (3, field) => sequence = Some(field.varint()?),
                (4, field) => lifetime = Some(Duration::from_secs(field.varint()?)),
                (5, field) => ttl = Some(Duration::from_secs(field.varint()?)),
                (6, field) => alone = field.varint()? != 0,
                _ => {}
            }
        }
        let whole = || {
            Some(Own { key: key?, value: value?, sequence: sequence?, lifetime: lifetime?, ttl: ttl?, alone })
        };
        whole().ok_or(Malformed)
    }
}

/// All names that this node publishes.
pub(crate) struct Book {
    directory: PathBuf,
    own: HashMap<Name, Own>,
}

impl Book {
    /// Reads what is in the directory, which is made if it is not there. Blocks.
    pub(crate) fn open(directory: PathBuf) -> Result<Book, Error> {
        std::fs::create_dir_all(&directory).map_err(at(&directory))?;
        let mut own = HashMap::new();
        for entry in std::fs::read_dir(&directory).map_err(at(&directory))? {
            let path = entry?.path();
            if !durable::is_draft(&path) {
                let name = read(&path)?;
                own.insert(name.key.name(), name);
            }
        }
        Ok(Book { directory, own })
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        self.own.keys().copied().collect()
    }

    pub(crate) fn get(&self, name: Name) -> Option<Own> {
        self.own.get(&name).cloned()
    }

    /// Has a name say something from now on. The sequence goes up with another value and never down, neither below what
    /// this node said nor below what others know. Durable on return. Blocks.
    pub(crate) fn record(&mut self, mut own: Own, known: Option<&Record>) -> Result<Own, Error> {
        let name = own.key.name();
        let here = self.own.get(&name).map(|own| (own.sequence, own.value.as_bytes()));
        let known = known.map(|record| (record.sequence(), record.value()));
        own.sequence = next_sequence([here, known].into_iter().flatten(), own.value.as_bytes());
        durable::replace(&self.path(name), &own.encode())?;
        self.own.insert(name, own.clone());
        Ok(own)
    }

    /// Gives a name up; says whether it was published. Blocks.
    pub(crate) fn remove(&mut self, name: Name) -> Result<bool, Error> {
        durable::remove(&self.path(name))?;
        Ok(self.own.remove(&name).is_some())
    }

    fn path(&self, name: Name) -> PathBuf {
        self.directory.join(name.to_string())
    }
}

/// The sequence of a value after what was said before. The same value keeps its own, as with Kubo.
fn next_sequence<'v>(said: impl Iterator<Item = (u64, &'v [u8])> + Clone, value: &[u8]) -> u64 {
    let Some(last) = said.clone().map(|(sequence, _)| sequence).max() else { return 0 };
    let mut said = said.filter(|(sequence, _)| *sequence == last);
    if said.all(|(_, said)| said == value) {
        last
    } else {
        last.saturating_add(1)
    }
}

fn read(path: &Path) -> Result<Own, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(at(path))?;
    file.take(LONGEST).read_to_end(&mut bytes).map_err(at(path))?;
    Own::decode(&bytes).map_err(|_| Error::Published(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn own(seed: u8, value: &str) -> Own {
        Own {
            key: SigningKey::from_seed(&[seed; 32]).unwrap(),
            value: value.to_owned(),
            sequence: 0,
            lifetime: Duration::from_secs(48 * 3600),
            ttl: Duration::from_secs(300),
            alone: false,
        }
    }

    fn open(dir: &tempfile::TempDir) -> Result<Book, Error> {
        Book::open(dir.path().join("names"))
    }

    #[test]
    fn another_value_has_the_next_sequence_and_the_same_keeps_its_own_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let values = [("/ipfs/a", 0), ("/ipfs/a", 0), ("/ipfs/b", 1), ("/ipfs/a", 2), ("/ipfs/a", 2)];
        for (value, sequence) in values {
            let said = open(&dir).unwrap().record(own(1, value), None).unwrap();
            assert_eq!((said.value.as_str(), said.sequence), (value, sequence));
        }
        let book = open(&dir).unwrap();
        let name = own(1, "").key.name();
        assert_eq!(book.names(), [name]);
        assert_eq!(
            book.get(name).unwrap().report(),
            Published { name, value: "/ipfs/a".to_owned(), sequence: 2 }
        );
    }

    #[test]
    fn the_sequence_is_never_below_what_others_know() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(&dir).unwrap();
        let known = |value: &str, sequence| {
            let own = Own { sequence, ..own(1, value) };
            ipns_record::verify(own.key.name(), &own.sign(NOW).unwrap(), NOW).unwrap()
        };
        let mut said =
            |value: &str, known: &Record| book.record(own(1, value), Some(known)).unwrap().sequence;
        assert_eq!(said("/ipfs/a", &known("/ipfs/a", 7)), 7, "the same");
        assert_eq!(said("/ipfs/b", &known("/ipfs/a", 3)), 8, "what is known is older than ours");
        assert_eq!(said("/ipfs/b", &known("/ipfs/c", 8)), 9, "a twin said something else");
        assert_eq!(said("/ipfs/d", &known("/ipfs/b", 40)), 41);
        assert_eq!(said("/ipfs/e", &known("/ipfs/b", u64::MAX)), u64::MAX);
    }

    #[test]
    fn a_record_lives_from_its_signing_and_is_valid() {
        let own = own(1, "/ipfs/bafkqaaa");
        let record = ipns_record::verify(own.key.name(), &own.sign(NOW).unwrap(), NOW).unwrap();
        assert_eq!((record.value(), record.ttl_ns()), (&b"/ipfs/bafkqaaa"[..], 300_000_000_000));
        assert_eq!(record.eol().ms(), NOW + 48 * 3_600_000);
        let long = Own { lifetime: Duration::MAX, ..own };
        assert!(long.sign(NOW).is_ok(), "until the year 9999");
    }

    #[test]
    fn what_is_given_up_is_gone_and_a_file_that_breaks_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(&dir).unwrap();
        book.record(own(1, "/ipfs/a"), None).unwrap();
        let kept = book.record(own(2, "/ipfs/b"), None).unwrap();
        assert!(book.remove(own(1, "").key.name()).unwrap());
        assert!(!book.remove(own(1, "").key.name()).unwrap());
        // A draft that a kill left behind is no name.
        std::fs::copy(book.path(kept.key.name()), book.directory.join("draft.new")).unwrap();
        assert_eq!(open(&dir).unwrap().names(), [kept.key.name()]);
        std::fs::copy(dir.path().join("names/draft.new"), book.directory.join("broken")).unwrap();
        let broken = std::fs::OpenOptions::new().write(true).open(book.directory.join("broken")).unwrap();
        broken.set_len(40).unwrap();
        assert!(matches!(open(&dir), Err(Error::Published(path)) if path.ends_with("broken")));
    }
}
