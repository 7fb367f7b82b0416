use super::*;
use crate::block::{cid_of, Key, RAW};
use crate::store::Options;
use cid::{Cid, Version};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn bytes_of(n: u32) -> Vec<u8> {
    n.to_be_bytes().repeat(1000)
}

fn cid(n: u32) -> Cid {
    cid_of(Version::V1, RAW, &bytes_of(n))
}

async fn filled(dir: &tempfile::TempDir, count: u32) -> Store {
    let store = Store::open(dir.path(), Options::new(1 << 20, u64::MAX)).unwrap();
    let blocks = (0..count).map(|n| (Key::of(&cid(n)), bytes_of(n).into())).collect();
    store.put(blocks).await.unwrap();
    store
}

fn stats(readings: &Readings) -> Stats {
    let mut stats = Stats::default();
    readings.report(&mut stats);
    stats
}

#[tokio::test(start_paused = true)]
async fn everything_is_read_at_the_rate_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir, 100).await;
    let readings = Arc::new(Readings::open(dir.path()));
    let (tell, told) = watch::channel(Progress::default());
    let began = Instant::now();
    let report = verify(store, readings.clone(), 10_000, tell).await.unwrap();
    assert_eq!(report, Verified { blocks: 100, bytes: 400_000, ..Verified::default() });
    assert_eq!(began.elapsed().as_secs(), 40);
    assert_eq!(*told.borrow(), Progress { blocks: 100, bytes: 400_000 });
    let stats = stats(&readings);
    assert_eq!((stats.verified_blocks, stats.verified_bytes), (100, 400_000));
    assert!(stats.last_verified.is_some());
}

#[tokio::test(start_paused = true)]
async fn by_itself_everything_is_read_once_in_the_time_that_was_set() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir, 2000).await;
    let readings = Arc::new(Readings::open(dir.path()));
    let reading = tokio::spawn(verify_by_itself(store, readings.clone(), 30 * DAY));
    sleep(15 * DAY).await;
    let half = stats(&readings);
    assert!((900..1100).contains(&half.verified_blocks), "{half:?}");
    assert_eq!(half.last_verified, None);
    sleep(15 * DAY).await;
    assert!(stats(&readings).last_verified.is_some());
    sleep(30 * DAY).await;
    assert!((3900..4400).contains(&stats(&readings).verified_blocks), "and again");
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_restarted_every_other_hour_comes_to_the_end_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = filled(&dir, 2000).await;
    let mut blocks = 0;
    for start in 0.. {
        assert!(start < 400, "{blocks} blocks read");
        let readings = Arc::new(Readings::open(dir.path()));
        if stats(&readings).last_verified.is_some() {
            break;
        }
        let reading = tokio::spawn(verify_by_itself(store.clone(), readings.clone(), 30 * DAY));
        sleep(2 * HOUR).await;
        reading.abort();
        blocks += stats(&readings).verified_blocks;
        store.close();
        store = Store::open(dir.path(), Options::new(1 << 20, u64::MAX)).unwrap();
    }
    assert!((2000..2010).contains(&blocks), "{blocks}: each once, but for what was under way");
}

#[test]
fn a_mark_that_makes_no_sense_is_a_beginning() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["", "7", "7 8", "seven 8 9"] {
        durable::replace(&dir.path().join("verified"), text.as_bytes()).unwrap();
        assert_eq!(Readings::open(dir.path()).next(), Place::default());
    }
    durable::replace(&dir.path().join("verified"), b"7 8 9\n").unwrap();
    assert_eq!(Readings::open(dir.path()).next(), Place { segment: 7, offset: 8 });
}
