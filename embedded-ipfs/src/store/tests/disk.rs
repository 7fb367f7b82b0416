//! What the files of a store look like, and what happens when they do not.

use super::*;
use std::os::unix::fs::FileExt;

/// Blocks of 1 KiB and some.
pub(super) fn many(count: u32) -> Vec<(Key, Bytes)> {
    (0..count).map(|n| block(&n.to_be_bytes().repeat(256 + n as usize % 7))).collect()
}

fn bytes_on_disk(dir: &Path) -> u64 {
    segments(dir).iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// Changes a byte of a block's record; `at` counts from the record's beginning.
pub(super) fn flip(store: &Store, dir: &Path, key: &Key, at: u64) {
    let place = store.index().unwrap().row(key).unwrap().unwrap().place;
    let path = dir.join(open::SEGMENTS).join(format!("{:08}.blocks", place.segment));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let (mut byte, at) = ([0], u64::from(place.offset) + at);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[tokio::test]
async fn disk_goes_back_to_near_the_living_bytes_after_a_sweep() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, small());
    let blocks = many(600);
    for some in blocks.chunks(10) {
        store.put(some.to_vec()).await.unwrap();
    }
    let full = bytes_on_disk(dir.path());
    assert!(full > 600 << 10 && segments(dir.path()).len() > 30, "{full}");
    // One segment in three wholly dead, the rest half.
    let kept = blocks.iter().enumerate().filter(|(n, _)| n % 90 >= 30 && n % 2 == 0);
    let kept: Vec<_> = kept.map(|(_, block)| block.clone()).collect();
    let swept = collect(&store, kept.iter().map(|(key, _)| key.clone()).collect()).await;
    assert_eq!(swept.blocks as usize, blocks.len() - kept.len());
    let left = store.totals().bytes;
    let disk = bytes_on_disk(dir.path());
    assert!(disk < left * 4 / 3 + (16 << 10), "{disk} for {left}");
    assert_eq!(lock(&store.shared.books).disk(), disk, "what is told is what it is");
    audit(&store);
    store.close();
    let store = open_with(&dir, small());
    for (key, bytes) in &kept {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(bytes));
    }
    audit(&store);
}

#[tokio::test]
async fn a_sweep_of_everything_leaves_next_to_nothing_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.put(many(100)).await.unwrap();
    assert!(bytes_on_disk(dir.path()) > 100 << 10);
    assert_eq!(collect(&store, vec![]).await.blocks, 100);
    assert_eq!(bytes_on_disk(dir.path()), 0);
    store.put(many(2)).await.unwrap();
    store.close();
    assert_eq!(open(&dir).totals().blocks, 2);
}

#[tokio::test]
async fn a_flipped_byte_is_noticed_told_and_made_good_by_storing_the_block_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, small());
    let mut losses = store.losses().unwrap();
    let blocks = many(30);
    store.put(blocks.clone()).await.unwrap();
    // In the magic, the size, the minute, the sum, the multihash, the block, its last byte.
    let places = [0, 4, 8, 20, 30, 60, record_end(&blocks[0])];
    for (n, at) in places.into_iter().enumerate() {
        let (key, bytes) = &blocks[n];
        flip(&store, dir.path(), key, at);
        assert_eq!(store.get(key).unwrap(), None, "{at}");
        assert_eq!((store.meta(key).unwrap(), store.damaged()), (None, n as u64 + 1));
        assert_eq!(losses.try_recv().unwrap(), *key);
        store.put(vec![(key.clone(), bytes.clone())]).await.unwrap();
        assert_eq!(store.get(key).unwrap().as_ref(), Some(bytes));
        audit(&store);
    }
    assert_eq!(store.totals().blocks, 30);
    store.close();
    let store = open_with(&dir, small());
    for (key, bytes) in &blocks {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(bytes));
    }
}

fn record_end((key, bytes): &(Key, Bytes)) -> u64 {
    segment::record_len(key, bytes.len() as u64) - 1
}

#[tokio::test]
async fn a_damaged_block_is_not_moved_to_another_segment_but_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, small());
    let blocks = many(64);
    store.put(blocks.clone()).await.unwrap();
    flip(&store, dir.path(), &blocks[0].0, 100);
    let kept: Vec<_> = blocks.iter().step_by(4).map(|(key, _)| key.clone()).collect();
    collect(&store, kept.clone()).await;
    assert_eq!(store.metas(&kept).unwrap().iter().filter(|meta| meta.is_none()).count(), 1);
    assert_eq!((store.get(&kept[0]).unwrap(), store.damaged()), (None, 1));
    assert!(bytes_on_disk(dir.path()) < store.totals().bytes * 4 / 3 + (16 << 10));
    store.put(vec![]).await.unwrap();
    audit(&store);
}

#[tokio::test]
async fn a_segment_that_is_gone_is_so_many_damaged_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, small());
    let blocks = many(64);
    for some in blocks.chunks(8) {
        store.put(some.to_vec()).await.unwrap();
    }
    std::fs::remove_file(&segments(dir.path())[0]).unwrap();
    let here = blocks.iter().filter(|(key, _)| store.get(key).unwrap().is_some()).count();
    assert!((32..64).contains(&here), "{here}");
    store.close();
    let store = open_with(&dir, small());
    assert_eq!(store.totals().blocks as usize, here);
    store.put(blocks.clone()).await.unwrap();
    assert!(blocks.iter().all(|(key, bytes)| store.get(key).unwrap().as_ref() == Some(bytes)));
    audit(&store);
}

#[tokio::test]
async fn a_segment_and_a_group_at_most_are_read_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(&dir, small());
    let mut most = 0;
    for some in many(300).chunks(4) {
        store.put(some.to_vec()).await.unwrap();
        let (_, saved) = store.index().unwrap().counted().unwrap();
        let saved: u64 = saved.values().map(|segment| segment.end).sum();
        most = most.max(bytes_on_disk(dir.path()) - saved);
    }
    assert!((10 << 10..22 << 10).contains(&most), "{most} bytes");
}

#[tokio::test]
async fn what_follows_a_damaged_record_is_found_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let blocks = many(20);
    store.put(blocks.clone()).await.unwrap();
    flip(&store, dir.path(), &blocks[7].0, 100);
    let killed = image(dir.path());
    let store = open(&killed);
    let here = |block: &&(Key, Bytes)| store.get(&block.0).unwrap().as_ref() == Some(&block.1);
    assert_eq!(blocks.iter().filter(here).count(), 19);
    audit(&store);
}

#[tokio::test]
async fn a_write_that_fails_is_told_and_the_next_goes_to_a_new_segment() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::open(dir.path()).unwrap();
    let full = dir.path().join("00000001.blocks");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&full).unwrap();
    let mut tail = segment::Tail::on(file, 1);
    let (key, bytes) = block(b"bytes");
    let records = [segment::Record { key: key.clone(), bytes, minute: 0 }];
    let mut append = || tail.append(&files, &small(), records.iter());
    assert_eq!(append().unwrap_err().raw_os_error(), Some(28), "no space left on device");
    assert_eq!(append().unwrap(), [Place { segment: 2, offset: 0 }]);
    let file = files.readable(2).unwrap();
    assert_eq!(segment::read(&file, 0, &key, 5, Planted::default()).unwrap(), "bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_torn_tail_costs_what_was_torn_and_nothing_before_it(cut in 0f64..1.0, junk in proptest::collection::vec(any::<u8>(), 0..60)) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let blocks = many(12);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.put(blocks.clone())).unwrap();
        let killed = image(dir.path());
        let path = segments(killed.path()).pop().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let cut = (file.metadata().unwrap().len() as f64 * cut) as u64;
        file.set_len(cut).unwrap();
        file.write_all_at(&junk, cut).unwrap();
        let torn = open(&killed);
        let mut end = 0;
        for (key, bytes) in &blocks {
            end += segment::record_len(key, bytes.len() as u64);
            prop_assert_eq!(torn.get(key).unwrap(), (end <= cut).then(|| bytes.clone()));
        }
        runtime.block_on(torn.put(blocks.clone())).unwrap();
        audit(&torn);
        torn.close();
        let torn = open(&killed);
        for (key, bytes) in &blocks {
            prop_assert_eq!(torn.get(key).unwrap(), Some(bytes.clone()));
        }
    }
}
