//! Garbage: collected when it is asked for, and again when what was too young has grown old.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::now_minute;
use crate::core::reachable;
use crate::store::Store;
use crate::{Error, Swept};

/// Removes what no pin reaches and what is older than `grace`, and gives its room on disk back. Blocks.
pub(super) fn collect(store: &Store, grace: Duration) -> Result<Swept, Error> {
    let minutes = u32::try_from(grace.as_secs().div_ceil(60)).unwrap_or(u32::MAX);
    let young_from = if grace.is_zero() { u32::MAX } else { now_minute().saturating_sub(minutes) };
    let swept = store.sweep(young_from, reachable)?;
    // What was removed is removed, whether or not its room is given back.
    if let Err(error) = store.compact() {
        tracing::warn!(%error, "disk not given back: it will be tried again after the next collection");
    }
    Ok(swept)
}

/// Collects again each grace that comes in, when it is over, until nothing was spared. One at a time: a second one asked for
/// meanwhile is done by the first.
pub(super) async fn collect_again<F>(mut due: mpsc::Receiver<Duration>, collect: impl Fn(Duration) -> F)
where
    F: Future<Output = Result<Swept, Error>>,
{
    while let Some(grace) = due.recv().await {
        loop {
            tokio::time::sleep(grace.max(Duration::from_secs(60))).await;
            match collect(grace).await {
                Ok(swept) if swept.spared > 0 => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "garbage not collected");
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::Arc;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn what_was_spared_is_collected_when_its_time_has_come() {
        let (later, due) = mpsc::channel(1);
        let young = Arc::new(AtomicU64::new(2));
        let left = young.clone();
        let started = Instant::now();
        let collecting = tokio::spawn(collect_again(due, move |grace| {
            assert_eq!(grace, Duration::from_secs(3600));
            let spared = left.fetch_sub(1, Ordering::Relaxed) - 1;
            async move { Ok(Swept { spared, ..Swept::default() }) }
        }));
        later.send(Duration::from_secs(3600)).await.unwrap();
        drop(later);
        collecting.await.unwrap();
        assert_eq!((young.load(Ordering::Relaxed), started.elapsed().as_secs()), (0, 7200));
    }
}
