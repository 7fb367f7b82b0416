mod disk;
mod model;
mod old;
mod planted;
mod verify;

use super::index::INDEX;
use super::planted::Bug;
use super::*;
use crate::block::{cid_of, DAG_PB, RAW};
use crate::dag::Seen;
use crate::Swept;
use cid::Version;
use proptest::prelude::*;
use redb::ReadableTable;
use std::collections::HashSet;

fn open(dir: &tempfile::TempDir) -> Store {
    open_with(dir, Options::new(1 << 20, u64::MAX))
}

fn open_with(dir: &tempfile::TempDir, options: Options) -> Store {
    Store::open(dir.path(), options).unwrap()
}

/// Small segments, so that a few blocks fill one.
fn small() -> Options {
    Options { segment_bytes: 16 << 10, ..Options::new(1 << 20, u64::MAX) }
}

fn seen<'k>(keys: impl IntoIterator<Item = &'k Key>) -> Seen {
    Seen(keys.into_iter().map(|key| (key.clone(), 1)).collect())
}

/// Removes all but these, and gives disk back.
async fn collect(store: &Store, keep: Vec<Key>) -> Swept {
    let store = store.clone();
    let work = move || {
        let swept = store.sweep(u32::MAX, |_| Ok(seen(&keep)))?;
        store.compact()?;
        Ok::<_, Error>(swept)
    };
    tokio::task::spawn_blocking(work).await.unwrap().unwrap()
}

/// The directory as a kill would leave it now.
fn image(dir: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    std::fs::create_dir(image.path().join(open::SEGMENTS)).unwrap();
    let copy = |name: &Path| std::fs::copy(dir.join(name), image.path().join(name)).unwrap();
    copy(Path::new(open::INDEX));
    for segment in segments(dir) {
        copy(&Path::new(open::SEGMENTS).join(segment.file_name().unwrap()));
    }
    image
}

/// The segments in their order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join(open::SEGMENTS)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Counts once more what is counted as it changes.
fn audit(store: &Store) {
    let index = store.index().unwrap();
    let mut rows: std::collections::HashMap<Key, Row> = index.recent().clone();
    for row in index.database.begin_read().unwrap().open_table(INDEX).unwrap().iter().unwrap() {
        let (key, row) = row.unwrap();
        rows.entry(Key::from_bytes(key.value())).or_insert(Row::read(row.value()));
    }
    let mut counted = Books::default();
    for (key, row) in &rows {
        counted.born(key, *row);
        counted.totals.add(*row);
    }
    counted.totals.pins = store.pins().count() as u64;
    let books = lock(&store.shared.books).clone();
    assert_eq!(counted.totals, books.totals);
    for (number, segment) in &books.segments {
        let found = counted.segments.remove(number).unwrap_or_default();
        assert_eq!(
            (found.live_bytes, found.live_blocks),
            (segment.live_bytes, segment.live_blocks),
            "{number}"
        );
        assert!(found.end <= segment.end);
    }
    assert!(counted.segments.is_empty(), "blocks in segments that are not there");
}

fn block(bytes: &[u8]) -> (Key, Bytes) {
    (Key::of(&cid_of(Version::V1, RAW, bytes)), Bytes::copy_from_slice(bytes))
}

fn pins(store: &Store) -> Vec<PinReport> {
    store.pins().collect::<Result<_, _>>().unwrap()
}

fn pin(bytes: &[u8]) -> PinReport {
    PinReport {
        cid: cid_of(Version::V0, DAG_PB, bytes),
        blocks: 1,
        bytes: bytes.len() as u64,
        name: String::new(),
    }
}

#[tokio::test]
async fn blocks_of_every_size_come_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = [0, 1, 1000, 65_279, 65_280, 65_281, 262_158, 2 << 20]
        .iter()
        .map(|&n| block(&vec![n as u8; n]))
        .collect();
    let store = open(&dir);
    store.put(blocks.clone()).await.unwrap();
    store.record_pin(pin(b"root")).await.unwrap();
    store.close();
    assert!(matches!(store.get(&blocks[0].0), Err(Error::Stopped)));

    let store = open(&dir);
    for (key, bytes) in &blocks {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(bytes));
        assert_eq!(store.meta(key).unwrap().unwrap().size, bytes.len() as u64);
    }
    let bytes = blocks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(store.totals(), Totals { blocks: blocks.len() as u64, bytes, pins: 1 });
    assert_eq!(pins(&store), [pin(b"root")]);
    audit(&store);
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_store_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let second = Store::open(dir.path(), Options::new(1 << 20, u64::MAX));
    assert!(matches!(second, Err(Error::Locked)));
    store.close();
    open(&dir);
}

#[tokio::test]
async fn a_full_store_refuses_new_blocks_and_still_takes_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, Options::new(1 << 20, 10));
    store.put(vec![block(b"12345678")]).await.unwrap();
    assert!(matches!(store.put(vec![block(b"abc")]).await, Err(Error::Full { limit: 10 })));
    store.put(vec![block(b"12345678")]).await.unwrap();
    assert_eq!(store.totals().bytes, 8);
}

#[tokio::test]
async fn pins_are_found_by_either_version_of_their_root() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.record_pin(pin(b"root")).await.unwrap();
    let v1 = cid_of(Version::V1, DAG_PB, b"root");
    assert_eq!(store.pin(&v1).unwrap(), Some(pin(b"root")));
    assert!(store.remove_pin(v1).await.unwrap());
    assert!(!store.remove_pin(v1).await.unwrap());
    assert_eq!(store.totals().pins, 0);
}

#[tokio::test]
async fn a_sweep_leaves_what_is_reachable_or_protected() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let blocks: Vec<_> = (0..300u32).map(|n| block(&n.to_be_bytes())).collect();
    store.put(blocks.clone()).await.unwrap();
    let mut guard = store.guard();
    guard.see(&cid_of(Version::V1, RAW, &1u32.to_be_bytes()));
    let sweeper = store.clone();
    let reachable = seen([&blocks[0].0]);
    let swept = tokio::task::spawn_blocking(move || {
        sweeper.sweep(u32::MAX, |_| {
            drop(guard); // its pin is recorded now, too late for the mark phase: still safe
            Ok(reachable)
        })
    });
    assert_eq!(swept.await.unwrap().unwrap(), Swept { blocks: 298, bytes: 298 * 4, spared: 0 });
    let left: Vec<_> = store.metas(blocks.iter().map(|(key, _)| key)).unwrap();
    assert_eq!(left.iter().filter(|meta| meta.is_some()).count(), 2);
    assert_eq!(store.totals(), Totals { blocks: 2, bytes: 8, pins: 0 });

    let sweeper = store.clone();
    tokio::task::spawn_blocking(move || sweeper.sweep(u32::MAX, |_| Ok(Seen::default())))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.totals().blocks, 0, "what was released during a sweep is not protected for ever");
}

#[tokio::test]
async fn a_sweep_spares_the_young_unless_room_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, Options::new(1 << 20, 100));
    store.put(vec![block(&[1; 40]), block(&[2; 40])]).await.unwrap();
    let minute = crate::clock::now_minute();
    let sweep = |young_from| {
        let store = store.clone();
        tokio::task::spawn_blocking(move || store.sweep(young_from, |_| Ok(Seen::default())))
    };
    // The clock may have turned to the next minute since.
    let swept = sweep(minute - 1).await.unwrap().unwrap();
    assert_eq!(swept, Swept { blocks: 0, bytes: 0, spared: 2 });
    store.put(vec![block(&[3; 15])]).await.unwrap();
    let swept = sweep(minute - 1).await.unwrap().unwrap();
    assert_eq!(swept, Swept { blocks: 3, bytes: 95, spared: 0 }, "more than nine tenths full");
    store.put(vec![block(&[4; 40])]).await.unwrap();
    assert_eq!(sweep(minute + 2).await.unwrap().unwrap().blocks, 1, "older than that");
}

#[tokio::test]
async fn many_pins_are_listed_a_page_at_a_time_each_once_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut expected: Vec<_> =
        (0..600u32).map(|n| PinReport { name: format!("pin {n}"), ..pin(&n.to_be_bytes()) }).collect();
    futures::future::try_join_all(expected.iter().map(|pin| store.record_pin(pin.clone()))).await.unwrap();
    expected.sort_by_key(|pin| crate::block::normal(&pin.cid).to_bytes());
    assert_eq!(pins(&store), expected);
    assert_eq!(store.pins_after(Some(&expected[598].cid), 9).unwrap(), [expected[599].clone()]);
    assert!(store.name_pin(expected[0].cid, "another".into()).await.unwrap());
    assert_eq!(store.pin(&expected[0].cid).unwrap().unwrap().name, "another");
    assert!(!store.name_pin(pin(b"unknown").cid, "none".into()).await.unwrap());
    assert_eq!(store.totals().pins, 600);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn totals_are_those_of_the_distinct_blocks(sizes in proptest::collection::vec(0usize..200_000, 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let blocks: Vec<_> = sizes.iter().map(|&n| block(&vec![7; n])).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            store.put(blocks.clone()).await.unwrap();
            store.put(blocks.clone()).await.unwrap();
        });
        let distinct: HashSet<_> = sizes.iter().collect();
        prop_assert_eq!(store.totals().bytes, distinct.iter().map(|&&n| n as u64).sum::<u64>());
        prop_assert_eq!(store.totals().blocks, distinct.len() as u64);
    }
}
