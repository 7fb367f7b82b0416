//! What this node keeps for others in one table, in memory and bounded: names' records and who provides what.
//! What comes in was checked before ([`super::names`]).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use libp2p::kad::store::{Error, RecordStore};
use libp2p::kad::{KBucketDistance, KBucketKey, ProviderRecord, Record, RecordKey, K_VALUE};
use libp2p::PeerId;

/// Names of others.
const MAX_RECORDS: usize = 1024;
/// Contents whose providers are known, this node's own not counted.
const MAX_PROVIDED: usize = 4096;
/// Kubo takes no longer key.
const MAX_KEY_BYTES: usize = 80;
/// Addresses kept of a provider.
const MAX_ADDRESSES: usize = 8;

pub(crate) struct Records {
    me: PeerId,
    names: HashMap<RecordKey, (KBucketDistance, Record)>,
    providers: HashMap<RecordKey, (KBucketDistance, Vec<ProviderRecord>)>,
    own: Own,
}

/// What this node provides, which may be millions: of each a hash under a secret key. Two of the same are so rare that they
/// do not count; a peer that is told of one content too many hears from this node that it is not here.
#[derive(Default)]
struct Own {
    hashes: HashSet<u64>,
    secret: RandomState,
}

impl Own {
    fn insert(&mut self, key: &RecordKey) {
        self.hashes.insert(self.secret.hash_one(key));
    }

    fn remove(&mut self, key: &RecordKey) {
        self.hashes.remove(&self.secret.hash_one(key));
    }

    fn contains(&self, key: &RecordKey) -> bool {
        self.hashes.contains(&self.secret.hash_one(key))
    }
}

impl Records {
    pub(super) fn new(me: PeerId) -> Records {
        Records { me, names: HashMap::new(), providers: HashMap::new(), own: Own::default() }
    }

    /// Names and provided contents that others gave.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.names.len(), self.providers.len())
    }

    fn distance(&self, key: &RecordKey) -> KBucketDistance {
        KBucketKey::from(self.me).distance(&KBucketKey::new(key.clone()))
    }
}

/// Makes room for one more key: what has expired goes, and then what lies farthest from this node, if that is farther than
/// the newcomer; flooding one node with far keys is then no use. Says whether there is room.
fn make_room<V>(
    map: &mut HashMap<RecordKey, (KBucketDistance, V)>,
    most: usize,
    newcomer: KBucketDistance,
    mut keeps: impl FnMut(&mut V) -> bool,
    evictable: impl Fn(&V) -> bool,
) -> bool {
    if map.len() < most {
        return true;
    }
    map.retain(|_, (_, value)| keeps(value));
    if map.len() < most {
        return true;
    }
    let candidates = map.iter().filter(|(_, (_, value))| evictable(value));
    let farthest = candidates.max_by_key(|(_, (distance, _))| *distance);
    let Some((key, _)) = farthest.filter(|(_, (distance, _))| *distance > newcomer) else {
        return false;
    };
    let key = key.clone();
    map.remove(&key).is_some()
}

/// Monotonic, as the table's own records have it.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

impl RecordStore for Records {
    type RecordsIter<'a> = Box<dyn Iterator<Item = Cow<'a, Record>> + 'a>;
    type ProvidedIter<'a> = std::iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        self.names.get(key).map(|(_, record)| Cow::Borrowed(record))
    }

    fn put(&mut self, record: Record) -> Result<(), Error> {
        if record.value.len() > ipns_record::MAX_RECORD_BYTES || record.key.as_ref().len() > MAX_KEY_BYTES {
            return Err(Error::ValueTooLarge);
        }
        let (distance, now, me) = (self.distance(&record.key), now(), self.me);
        let alive = |record: &mut Record| !record.is_expired(now);
        let others = |record: &Record| record.publisher != Some(me);
        let room = self.names.contains_key(&record.key)
            || record.publisher == Some(me)
            || make_room(&mut self.names, MAX_RECORDS, distance, alive, others);
        if !room {
            return Err(Error::MaxRecords);
        }
        self.names.insert(record.key.clone(), (distance, record));
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        self.names.remove(key);
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        Box::new(self.names.values().map(|(_, record)| Cow::Borrowed(record)))
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<(), Error> {
        if record.provider == self.me {
            self.own.insert(&record.key);
            return Ok(());
        }
        if record.key.as_ref().len() > MAX_KEY_BYTES {
            return Err(Error::ValueTooLarge);
        }
        record.addresses.truncate(MAX_ADDRESSES);
        let (distance, now) = (self.distance(&record.key), now());
        let alive = |known: &mut Vec<ProviderRecord>| {
            known.retain(|record| !record.is_expired(now));
            !known.is_empty()
        };
        if !self.providers.contains_key(&record.key)
            && !make_room(&mut self.providers, MAX_PROVIDED, distance, alive, |_| true)
        {
            return Err(Error::MaxProvidedKeys);
        }
        let (_, known) = self.providers.entry(record.key.clone()).or_insert((distance, Vec::new()));
        known.retain(|other| other.provider != record.provider && !other.is_expired(now));
        // A list that is full stays as it is: the first to come are no worse than the last.
        if known.len() < K_VALUE.get() {
            known.push(record);
        }
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        // The table fills in this node's addresses.
        let own = self.own.contains(key).then(|| ProviderRecord::new(key.clone(), self.me, Vec::new()));
        let known = self.providers.get(key).into_iter().flat_map(|(_, known)| known.iter().cloned());
        own.into_iter().chain(known).collect()
    }

    /// Nothing: the node says again what it provides at its own pace ([`super::providing`]).
    fn provided(&self) -> Self::ProvidedIter<'_> {
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.me {
            self.own.remove(key);
        } else if let Some((_, known)) = self.providers.get_mut(key) {
            known.retain(|record| record.provider != *provider);
            if known.is_empty() {
                self.providers.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(n: usize) -> RecordKey {
        RecordKey::new(&n.to_be_bytes())
    }

    fn record(n: usize, lives: Duration) -> Record {
        Record { expires: Some(now() + lives), ..Record::new(key(n), vec![1]) }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn a_full_store_keeps_what_is_near_and_what_lives() {
        let mut records = Records::new(PeerId::random());
        for n in 0..MAX_RECORDS {
            records.put(record(n, DAY)).unwrap();
        }
        let mut refused = 0;
        for n in MAX_RECORDS..2 * MAX_RECORDS {
            refused += usize::from(records.put(record(n, DAY)).is_err());
            assert_eq!(records.names.len(), MAX_RECORDS);
        }
        assert!(refused > 0 && refused < MAX_RECORDS, "{refused}");
        let mut kept: Vec<_> = records.names.values().map(|(distance, _)| *distance).collect();
        let mut all: Vec<_> = (0..2 * MAX_RECORDS).map(|n| records.distance(&key(n))).collect();
        kept.sort();
        all.sort();
        assert_eq!(kept, all[..MAX_RECORDS], "the nearest half of all");

        tokio::time::advance(DAY).await;
        let farthest = (0..).find(|&n| records.distance(&key(n)) > all[2 * MAX_RECORDS - 8]).unwrap();
        records.put(record(farthest, DAY)).unwrap();
        assert_eq!(records.names.len(), 1, "all others had expired");
    }

    #[tokio::test]
    async fn what_this_node_put_or_provides_is_not_pushed_out_by_others() {
        let me = PeerId::random();
        let mut records = Records::new(me);
        let own = Record { publisher: Some(me), ..record(0, DAY) };
        records.put(own.clone()).unwrap();
        records.add_provider(ProviderRecord::new(key(0), me, vec![])).unwrap();
        for n in 1..2 * MAX_RECORDS {
            let _ = records.put(record(n, DAY));
        }
        for n in 1..2 * MAX_PROVIDED {
            let _ = records.add_provider(ProviderRecord::new(key(n), PeerId::random(), vec![]));
        }
        assert_eq!(records.get(&key(0)).as_deref(), Some(&own));
        assert_eq!(records.counts(), (MAX_RECORDS, MAX_PROVIDED));
        assert_eq!(records.providers(&key(0))[0].provider, me);
        records.remove_provider(&key(0), &me);
        assert!(records.providers(&key(0)).is_empty());
    }

    #[tokio::test]
    async fn a_content_has_so_many_providers_with_so_many_addresses_and_each_once() {
        let mut records = Records::new(PeerId::random());
        let address: libp2p::Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let peers: Vec<_> = (0..40).map(|_| PeerId::random()).collect();
        for _ in 0..2 {
            for peer in &peers {
                let provider = ProviderRecord::new(key(1), *peer, vec![address.clone(); 100]);
                records.add_provider(provider).unwrap();
            }
        }
        let known = records.providers(&key(1));
        assert_eq!(known.len(), K_VALUE.get());
        assert!(known.iter().all(|provider| provider.addresses.len() == MAX_ADDRESSES));
        let long = ProviderRecord::new(RecordKey::new(&[0; 81]), peers[0], vec![]);
        assert!(records.add_provider(long).is_err());
    }
}
