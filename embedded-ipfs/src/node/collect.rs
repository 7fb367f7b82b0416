//! Garbage: collected when it is asked for, and again when what was too young has grown old, after a restart, too.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep_until, Instant};

use crate::clock::now_minute;
use crate::core::reachable;
use crate::store::Store;
use crate::{durable, Error, Swept};

/// How long behind a grace garbage is collected again; so long after a start, too.
const SOON: Duration = Duration::from_secs(60);

/// A store's garbage, and a file that says with which grace some of it was spared.
#[derive(Clone)]
pub(super) struct Garbage {
    store: Store,
    spared: PathBuf,
}

impl Garbage {
    /// `data_dir` is where the file is kept while there is something to say.
    pub(super) fn new(store: Store, data_dir: &Path) -> Garbage {
        Garbage { store, spared: data_dir.join("spared") }
    }

    /// Removes what no pin reaches and what is older than `grace`, and gives its room on disk back. Blocks.
    pub(super) fn collect(&self, grace: Duration) -> Result<Swept, Error> {
        let minutes = u32::try_from(grace.as_secs().div_ceil(60)).unwrap_or(u32::MAX);
        let young_from = if grace.is_zero() { u32::MAX } else { now_minute().saturating_sub(minutes) };
        let swept = self.store.sweep(young_from, reachable)?;
        let kept = match swept.spared {
            0 => self.forget(),
            _ => durable::replace(&self.spared, grace.as_secs().to_string().as_bytes()),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "garbage that was spared will not be remembered across a restart");
        }
        // What was removed is removed, whether or not its room is given back; and that may take minutes.
        if let Err(error) = self.store.compact() {
            tracing::warn!(%error, "disk not given back: it will be tried again after the next collection");
        }
        Ok(swept)
    }

    /// The grace with which something was spared before the last stop. Blocks.
    pub(super) fn spared(&self) -> Option<Duration> {
        let mut seconds = String::new();
        File::open(&self.spared).ok()?.take(20).read_to_string(&mut seconds).ok()?;
        seconds.parse().ok().map(Duration::from_secs)
    }

    fn forget(&self) -> io::Result<()> {
        match self.spared.try_exists() {
            Ok(false) => Ok(()),
            _ => durable::remove(&self.spared),
        }
    }
}

/// Collects again when the grace that came in last is over, until nothing was spared; `None` came in where a call spared
/// nothing, so that nothing is left to do. `left` is what the time before the
/// start left to do, which is due soon: blocks know their age.
pub(super) async fn collect_again<F>(
    left: Option<Duration>,
    mut spared: mpsc::Receiver<Option<Duration>>,
    collect: impl Fn(Duration) -> F,
) where
    F: Future<Output = Result<Swept, Error>>,
{
    let later = |grace: Duration| {
        // Ages are told to the minute: a moment earlier, what was stored last would be spared once more.
        let pause = grace.saturating_add(SOON);
        // Beyond what a clock can say is never.
        Instant::now().checked_add(pause).map(|due| (due, grace))
    };
    let mut next = left.map(|grace| (Instant::now() + SOON, grace));
    loop {
        let (due, grace) = next.unwrap_or_else(|| (Instant::now(), Duration::ZERO));
        tokio::select! {
            biased;
            grace = spared.recv() => match grace {
                Some(grace) => next = grace.and_then(later),
                None => break,
            },
            () = sleep_until(due), if next.is_some() => {
                next = match collect(grace).await {
                    Ok(swept) if swept.spared == 0 => None,
                    Ok(_) => later(grace),
                    Err(error) => {
                        tracing::warn!(%error, "garbage not collected: it will be tried again");
                        later(grace)
                    }
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, Key, RAW};
    use crate::store::Options;
    use bytes::Bytes;
    use cid::Version;
    use std::sync::{Arc, Mutex};

    const HOUR: Duration = Duration::from_secs(3600);

    /// When, in seconds, and with which grace is collected in a week; a call with no grace spares nothing. `outcomes` are what comes of it, last first.
    async fn collections(
        left: Option<Duration>,
        asked: &[(Duration, Duration)],
        outcomes: Vec<Result<Swept, Error>>,
    ) -> Vec<(u64, Duration)> {
        let (sender, spared) = mpsc::channel(1);
        let noted: Arc<Mutex<Vec<_>>> = Arc::default();
        let (log, outcomes, started) = (noted.clone(), Mutex::new(outcomes), Instant::now());
        let collecting = tokio::spawn(collect_again(left, spared, move |grace| {
            log.lock().unwrap().push((started.elapsed().as_secs(), grace));
            let outcome = outcomes.lock().unwrap().pop().unwrap_or(Ok(Swept::default()));
            async move { outcome }
        }));
        for (at, grace) in asked {
            sleep_until(started + *at).await;
            sender.send((!grace.is_zero()).then_some(*grace)).await.unwrap();
        }
        sleep_until(started + 7 * 24 * HOUR).await;
        drop(sender);
        collecting.await.unwrap();
        let noted = noted.lock().unwrap();
        noted.clone()
    }

    fn spared(blocks: u64) -> Result<Swept, Error> {
        Ok(Swept { spared: blocks, ..Swept::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_spared_is_collected_when_its_time_has_come_and_once_more_after_a_failure() {
        let outcomes = vec![spared(0), Err(Error::Deadline), spared(1)];
        let collected = collections(None, &[(Duration::ZERO, HOUR)], outcomes).await;
        assert_eq!(collected, [(3660, HOUR), (7320, HOUR), (10_980, HOUR)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_grace_does_not_wait_for_a_longer_one() {
        let asked = [(Duration::ZERO, 100 * HOUR), (HOUR, 2 * HOUR)];
        assert_eq!(collections(None, &asked, vec![]).await, [(3 * 3600 + 60, 2 * HOUR)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_spared_before_a_restart_is_looked_at_soon_and_then_in_its_time() {
        let collected = collections(Some(HOUR), &[], vec![spared(0), spared(1)]).await;
        assert_eq!(collected, [(60, HOUR), (3720, HOUR)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_spares_nothing_leaves_nothing_of_the_one_before() {
        let asked = [(Duration::ZERO, HOUR), (HOUR / 2, Duration::ZERO)];
        assert_eq!(collections(None, &asked, vec![]).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grace_without_end_is_waited_for_without_end() {
        assert_eq!(collections(None, &[(Duration::ZERO, Duration::MAX)], vec![]).await, []);
    }

    #[test]
    fn that_something_was_spared_is_remembered_until_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::new(1 << 20, u64::MAX)).unwrap();
        let cid = cid_of(Version::V1, RAW, b"unpinned");
        let put = store.put(vec![(Key::of(&cid), Bytes::from_static(b"unpinned"))]);
        futures::executor::block_on(put).unwrap();
        let remembered = || Garbage::new(store.clone(), dir.path()).spared();
        assert_eq!(remembered(), None);
        for (grace, blocks, left) in [(HOUR, 0, Some(HOUR)), (Duration::ZERO, 1, None), (HOUR, 0, None)] {
            let swept = Garbage::new(store.clone(), dir.path()).collect(grace).unwrap();
            assert_eq!((swept.blocks, remembered()), (blocks, left));
        }
    }
}
