//! Random histories against a model, with kills: at steps of a write the directory is copied as a crash would leave it, and
//! what was never synced may be torn. Each copy is opened, and must have what was acknowledged and nothing that is wrong.
//! `planted` shows that this finds bugs.

use super::*;
use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU32;

/// Blocks that histories are about.
const BLOCKS: u8 = 24;

#[derive(Clone, Debug)]
pub(super) enum Act {
    Put(Vec<u8>),
    Pin(u8),
    Unpin(u8),
    Collect,
    /// The same while a pin that relies on these puts them, and is recorded when the marking is over.
    CollectAmid(Vec<u8>),
    /// A byte of a block's record changes; somebody reads it, or everything, and it is put again.
    Damage(u8, u16),
    Close,
    Kill,
}

/// What a store must have at least, and may have at most.
#[derive(Clone, Debug, Default)]
struct Expected {
    least: BTreeSet<u8>,
    most: BTreeSet<u8>,
    pins_least: BTreeSet<u8>,
    pins_most: BTreeSet<u8>,
    /// A block is damaged just now.
    damaging: bool,
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let id = 0..BLOCKS;
    prop_oneof![
        5 => proptest::collection::vec(id.clone(), 1..8).prop_map(Act::Put),
        3 => id.clone().prop_map(Act::Pin),
        2 => id.clone().prop_map(Act::Unpin),
        2 => Just(Act::Collect),
        2 => proptest::collection::vec(id.clone(), 1..8).prop_map(Act::CollectAmid),
        2 => (id, any::<u16>()).prop_map(|(id, at)| Act::Damage(id, at)),
        1 => Just(Act::Close),
        1 => Just(Act::Kill),
    ]
}

fn bytes_of(id: u8) -> Vec<u8> {
    vec![id; [0, 1, 90, 700, 1500, 3000][id as usize % 6] + usize::from(id)]
}

fn cid(id: u8) -> Cid {
    cid_of(Version::V1, RAW, &bytes_of(id))
}

fn key(id: u8) -> Key {
    Key::of(&cid(id))
}

fn pin_of(id: u8) -> PinReport {
    PinReport { cid: cid(id), blocks: 1, bytes: bytes_of(id).len() as u64, name: String::new() }
}

/// Looks at copies of the directory, one step in so many.
struct Kills {
    dir: PathBuf,
    expected: Arc<Mutex<Expected>>,
    steps: AtomicU32,
    every: u32,
    /// The newest segment and how much of it a crash cannot take.
    synced: Mutex<(PathBuf, u64)>,
    bug: Option<Bug>,
}

impl Kills {
    fn witness(&self, step: &'static str) {
        let newest = segments(&self.dir).pop().unwrap();
        let length = newest.metadata().unwrap().len();
        let mut synced = lock(&self.synced);
        if synced.0 != newest {
            *synced = (newest.clone(), 0);
        }
        let sure = synced.1.min(length);
        let steps = self.steps.fetch_add(1, Ordering::Relaxed);
        if steps.is_multiple_of(self.every) {
            let image = image(&self.dir);
            tear(
                &image.path().join(open::SEGMENTS).join(newest.file_name().unwrap()),
                sure..length,
                steps / self.every,
            );
            let store = Store::open(image.path(), options(None, self.bug)).unwrap();
            let expected = lock(&self.expected).clone();
            check(&store, image.path(), &expected, u64::from(expected.damaging));
            store.close();
        }
        if step == "synced" {
            synced.1 = length;
        }
    }
}

/// What a crash may make of what was not synced: its end is not there, or some of it was never written and is zeros.
fn tear(segment: &Path, unsure: std::ops::Range<u64>, way: u32) {
    let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
    let some = (unsure.end - unsure.start) * u64::from(way / 2 % 8) / 8;
    if way.is_multiple_of(2) {
        file.set_len(unsure.start + some).unwrap();
    } else if !unsure.is_empty() {
        let zeros = vec![0; (unsure.end - unsure.start - some).min(512) as usize];
        file.write_all_at(&zeros, unsure.start + some).unwrap();
    }
}

fn check(store: &Store, dir: &Path, expected: &Expected, damages: u64) {
    audit(store);
    audit_files(store, dir);
    for id in 0..BLOCKS {
        match store.get(&key(id)).unwrap() {
            Some(bytes) => {
                assert!(bytes == bytes_of(id), "{id} is something else");
                assert!(expected.most.contains(&id), "{id} came back");
            }
            None => assert!(!expected.least.contains(&id), "{id} is lost"),
        }
    }
    let pins = pins(store);
    let pinned: BTreeSet<u8> = (0..BLOCKS).filter(|id| pins.iter().any(|pin| pin.cid == cid(*id))).collect();
    assert!(pinned.is_superset(&expected.pins_least) && pinned.is_subset(&expected.pins_most));
    assert!(store.damaged() <= damages);
}

/// Every file is one of a segment that is counted, or the newest.
fn audit_files(store: &Store, dir: &Path) {
    let mut files = segments(dir);
    files.pop();
    let counted = lock(&store.shared.books).segments.clone();
    for file in files {
        let number = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert!(counted.contains_key(&number), "{file:?} is nobody's");
    }
}

type Witness = Arc<dyn Fn(&'static str) + Send + Sync>;

fn options(witness: Option<Witness>, bug: Option<Bug>) -> Options {
    let planted = Planted { bug };
    Options { segment_bytes: 4 << 10, planted, witness, ..Options::new(1 << 20, u64::MAX) }
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    expected: Arc<Mutex<Expected>>,
    every: u32,
    /// How often a block was damaged since the store was opened.
    damages: u64,
    bug: Option<Bug>,
}

impl World {
    fn open(dir: tempfile::TempDir, expected: Arc<Mutex<Expected>>, every: u32, bug: Option<Bug>) -> World {
        let newest = dir.path().join(open::SEGMENTS).exists().then(|| segments(dir.path()).pop()).flatten();
        let synced = newest.map(|path| (path.clone(), path.metadata().unwrap().len())).unwrap_or_default();
        let kills = Kills {
            dir: dir.path().to_owned(),
            expected: expected.clone(),
            steps: AtomicU32::new(0),
            every,
            synced: Mutex::new(synced),
            bug,
        };
        let witness: Witness = Arc::new(move |step| kills.witness(step));
        let store = Store::open(dir.path(), options(Some(witness), bug)).unwrap();
        World { dir, store, expected, every, damages: 0, bug }
    }

    async fn act(&mut self, act: Act) {
        let mut expected = lock(&self.expected).clone();
        match act {
            Act::Put(ids) => {
                lock(&self.expected).most.extend(&ids);
                let blocks = ids.iter().map(|id| (key(*id), bytes_of(*id).into())).collect();
                self.store.put(blocks).await.unwrap();
                expected.least.extend(&ids);
                expected.most.extend(ids);
            }
            Act::Pin(id) if expected.least.contains(&id) => {
                lock(&self.expected).pins_most.insert(id);
                self.store.record_pin(pin_of(id)).await.unwrap();
                expected.pins_least.insert(id);
                expected.pins_most.insert(id);
            }
            Act::Unpin(id) => {
                lock(&self.expected).pins_least.remove(&id);
                let existed = self.store.remove_pin(cid(id)).await.unwrap();
                assert_eq!(existed, expected.pins_least.remove(&id));
                expected.pins_most.remove(&id);
            }
            Act::Collect => {
                expected.least = expected.pins_least.clone();
                lock(&self.expected).least = expected.least.clone();
                self.collect(crate::core::reachable).await;
                expected.most = expected.least.clone();
            }
            Act::CollectAmid(ids) => {
                let known = |id: &u8| expected.pins_least.contains(id) || ids.contains(id);
                expected.least.retain(known);
                expected.most.extend(&ids);
                expected.pins_most.insert(ids[0]);
                *lock(&self.expected) = expected.clone();
                let mut guard = self.store.guard();
                ids.iter().for_each(|id| {
                    guard.see(&cid(*id));
                });
                let blocks: Vec<_> = ids.iter().map(|id| (key(*id), bytes_of(*id).into())).collect();
                let (again, pin) = (blocks.clone(), pin_of(ids[0]));
                let runtime = tokio::runtime::Handle::current();
                let amid = move |store: &Store| {
                    let reachable = crate::core::reachable(store)?;
                    runtime.block_on(store.put(again))?;
                    runtime.block_on(store.record_pin(pin))?;
                    drop(guard);
                    Ok(reachable)
                };
                let (put, ()) = tokio::join!(self.store.put(blocks), self.collect(amid));
                put.unwrap();
                expected.pins_least.insert(ids[0]);
                expected.least.extend(ids);
                expected.most = expected.least.clone();
            }
            Act::Damage(id, at) if expected.least.contains(&id) => {
                let during = Expected { damaging: true, ..expected.clone() };
                *lock(&self.expected) = during;
                lock(&self.expected).least.remove(&id);
                self.damages += 1;
                let at = u64::from(at) % segment::record_len(&key(id), bytes_of(id).len() as u64);
                disk::flip(&self.store, self.dir.path(), &key(id), at);
                if at.is_multiple_of(2) {
                    assert_eq!(self.store.get(&key(id)).unwrap(), None);
                } else {
                    let store = self.store.clone();
                    let read = move || verify::rest(store.verification(Place::default()).unwrap());
                    let found = tokio::task::spawn_blocking(read).await.unwrap();
                    assert_eq!(found.damaged, [key(id)]);
                }
                self.store.put(vec![(key(id), bytes_of(id).into())]).await.unwrap();
            }
            Act::Pin(_) | Act::Damage(..) => return,
            Act::Close | Act::Kill => {
                let dir = match act {
                    Act::Kill => image(self.dir.path()),
                    _ => tempfile::tempdir().unwrap(),
                };
                self.store.close();
                let dir = if matches!(act, Act::Kill) { dir } else { std::mem::replace(&mut self.dir, dir) };
                let expected = self.expected.clone();
                *self = World::open(dir, expected, self.every, self.bug);
            }
        }
        *lock(&self.expected) = expected.clone();
        check(&self.store, self.dir.path(), &expected, self.damages);
    }

    async fn collect(&self, reachable: impl FnOnce(&Store) -> Result<Seen, Error> + Send + 'static) {
        let store = self.store.clone();
        let work = move || {
            store.sweep(u32::MAX, reachable)?;
            store.compact()
        };
        tokio::task::spawn_blocking(work).await.unwrap().unwrap();
    }
}

/// Lives a history through; panics at what is wrong.
pub(super) fn live(acts: Vec<Act>, every: u32, bug: Option<Bug>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::open(tempfile::tempdir().unwrap(), Arc::default(), every, bug);
        for act in acts {
            world.act(act).await;
        }
        world.store.close();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn whatever_happens_what_was_acknowledged_is_there(
        acts in proptest::collection::vec(act(), 1..40),
        every in 1u32..9,
    ) {
        live(acts, every, None);
    }
}
