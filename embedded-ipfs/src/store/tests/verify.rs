//! Reading everything: what it finds, whatever happens to the store meanwhile.

use super::disk::{flip, many};
use super::*;
use crate::core::reachable;
use crate::dag::pb;

/// Runs what blocks.
async fn off<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Reads on to the end, a few places in memory at a time.
pub(super) fn rest(mut verification: Verification) -> Checked {
    let mut all = Checked::default();
    while let Some(checked) = verification.step(3000).unwrap() {
        all.blocks += checked.blocks;
        all.bytes += checked.bytes;
        all.damaged.extend(checked.damaged);
    }
    all
}

async fn read_all(store: &Store) -> Checked {
    let store = store.clone();
    off(move || rest(store.verification(Place::default()).unwrap().holding(7))).await
}

fn whole<'b>(blocks: impl IntoIterator<Item = &'b (Key, Bytes)>) -> Checked {
    let sizes: Vec<_> = blocks.into_iter().map(|(_, bytes)| bytes.len() as u64).collect();
    Checked { blocks: sizes.len() as u64, bytes: sizes.iter().sum(), damaged: vec![] }
}

/// Some hundred blocks in segments of fourteen or so.
async fn filled(dir: &tempfile::TempDir) -> (Store, Vec<(Key, Bytes)>) {
    let store = open_with(dir, small());
    let blocks = many(120);
    for some in blocks.chunks(8) {
        store.put(some.to_vec()).await.unwrap();
    }
    (store, blocks)
}

#[tokio::test]
async fn each_block_is_read_once_and_in_the_order_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (store, blocks) = filled(&dir).await;
    assert_eq!(read_all(&store).await, whole(&blocks));
    let places = off(move || {
        let mut verification = store.verification(Place::default()).unwrap().holding(7);
        let mut places = vec![verification.next()];
        while verification.step(1).unwrap().is_some() {
            places.push(verification.next());
        }
        places
    })
    .await;
    assert_eq!(places.len(), blocks.len() + 1);
    assert!(places.is_sorted());
}

#[tokio::test]
async fn damage_anywhere_in_a_record_is_found_and_told_and_the_rest_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let (store, blocks) = filled(&dir).await;
    let mut losses = store.losses().unwrap();
    // The magic, the size, the minute, the multihash's size, the sum, the multihash, the block.
    let places = [0, 5, 9, 12, 20, 30, 60];
    let (hurt, well) = blocks.split_at(places.len());
    for (at, (key, _)) in places.into_iter().zip(hurt) {
        flip(&store, dir.path(), key, at);
    }
    let found = read_all(&store).await;
    let hurt: HashSet<_> = hurt.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(found.damaged.iter().cloned().collect::<HashSet<_>>(), hurt);
    assert_eq!(Checked { damaged: vec![], ..found }, whole(well));
    assert_eq!(store.damaged(), 7);
    let told: HashSet<_> = std::iter::from_fn(|| losses.try_recv().ok()).collect();
    assert_eq!(told, hurt);
    assert_eq!(read_all(&store).await, whole(well), "what was dropped is not found again");

    store.put(blocks.clone()).await.unwrap();
    assert_eq!(read_all(&store).await, whole(&blocks));
    audit(&store);
}

#[tokio::test]
async fn a_segment_that_is_gone_is_found_without_reading_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, blocks) = filled(&dir).await;
    std::fs::remove_file(&segments(dir.path())[2]).unwrap();
    let found = read_all(&store).await;
    assert!(found.damaged.len() > 10, "{}", found.damaged.len());
    assert_eq!(found.blocks as usize + found.damaged.len(), blocks.len());
    assert_eq!(store.metas(&found.damaged).unwrap(), vec![None; found.damaged.len()]);
}

#[tokio::test]
async fn a_row_that_leads_to_another_blocks_record_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (one, other) = (block(b"one"), block(b"two"));
    store.put(vec![one.clone(), other.clone()]).await.unwrap();
    let index = store.index().unwrap();
    let row = index.row(&other.0).unwrap().unwrap();
    index.recent().insert(one.0.clone(), row);
    assert_eq!(read_all(&store).await, Checked { damaged: vec![one.0], ..whole([&other]) });
}

#[tokio::test]
async fn what_is_moved_removed_or_stored_meanwhile_is_no_damage_and_no_damage_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, blocks) = filled(&dir).await;
    // Of the first two thirds most goes, so that the rest of them moves; the last third stays where it is.
    let (first, last) = blocks.split_at(80);
    let kept: Vec<_> = first.iter().step_by(3).chain(last).cloned().collect();
    let reader = store.clone();
    let mut verification = off(move || {
        let mut verification = reader.verification(Place::default()).unwrap().holding(90);
        let read = (0..20).map(|_| verification.step(1).unwrap().unwrap().blocks).sum::<u64>();
        assert_eq!(read, 20);
        verification
    })
    .await;
    let (moves, stays) = (&first[39].0, &last[30].0);
    flip(&store, dir.path(), moves, 100);
    flip(&store, dir.path(), stays, 100);
    let before = store.index().unwrap().row(&first[42].0).unwrap().unwrap().place;
    collect(&store, kept.iter().map(|(key, _)| key.clone()).collect()).await;
    assert!(store.index().unwrap().row(&first[42].0).unwrap().unwrap().place > before);
    assert_eq!(store.damaged(), 1, "whoever moves a block reads it");
    let new = many(130).split_off(120);
    store.put(new.clone()).await.unwrap();

    // Places that were noted before are of files that are gone now.
    let (verification, ahead) = off(move || {
        let ahead = verification.step(u64::MAX).unwrap();
        (verification, ahead)
    })
    .await;
    assert_eq!(ahead, Some(Checked::default()));
    let found = off(move || rest(verification)).await;
    assert_eq!((found.damaged, store.damaged()), (vec![stays.clone()], 2));
    let here = kept.iter().chain(&new).filter(|(key, _)| key != moves && key != stays);
    assert_eq!(read_all(&store).await, whole(here));
    audit(&store);
}

#[tokio::test]
async fn another_reading_goes_on_where_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (store, blocks) = filled(&dir).await;
    let reader = store.clone();
    let (first, next) = off(move || {
        let mut verification = reader.verification(Place::default()).unwrap();
        (verification.step(9000).unwrap().unwrap(), verification.next())
    })
    .await;
    store.close();
    let store = open_with(&dir, small());
    let second = off(move || rest(store.verification(next).unwrap())).await;
    assert_eq!(first.blocks + second.blocks, blocks.len() as u64);
    assert_eq!(first.bytes + second.bytes, whole(&blocks).bytes);
}

#[tokio::test]
async fn a_closed_store_is_read_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = filled(&dir).await;
    let reader = store.clone();
    let mut verification = off(move || reader.verification(Place::default()).unwrap()).await;
    assert!(verification.step(1).unwrap().is_some());
    store.close();
    assert!(matches!(verification.step(1), Err(Error::Stopped)));
}

#[tokio::test]
async fn all_that_a_pin_lacks_is_asked_for_at_once_and_not_block_after_block() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let cids: Vec<_> = [b"one", b"two", b"six"].map(|bytes| cid_of(Version::V1, RAW, bytes)).into();
    let links: Vec<_> = cids.iter().map(|cid| pb::Link { name: b"", cid: *cid, total_size: 3 }).collect();
    let bytes = Bytes::from(pb::encode(&links, b""));
    let root = cid_of(Version::V1, DAG_PB, &bytes);
    store.put(vec![(Key::of(&root), bytes), (Key::of(&cids[1]), Bytes::from_static(b"two"))]).await.unwrap();
    store.record_pin(PinReport { cid: root, ..pin(b"") }).await.unwrap();
    let mut losses = store.losses().unwrap();
    let seen = reachable(&store);
    assert!(matches!(seen, Err(Error::NotHere(cid)) if cid == cids[0]));
    let asked: Vec<_> = std::iter::from_fn(|| losses.try_recv().ok()).collect();
    assert_eq!(asked, [Key::of(&cids[0]), Key::of(&cids[2])]);
}
