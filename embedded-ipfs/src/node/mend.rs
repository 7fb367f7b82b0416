//! Blocks that were here and are lost: asked for again, so that pins are whole again.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::stream::FuturesUnordered;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::block::Key;
use crate::Error;

/// Blocks asked for at once; more wait.
const AT_ONCE: usize = 32;
/// How long one is asked for. Who misses it again after that tells of it again.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Asks for what was lost, each block once at a time, until the runtime ends.
pub(super) async fn mend<F>(mut losses: mpsc::Receiver<Key>, get: impl Fn(Cid) -> F)
where
    F: Future<Output = Result<Bytes, Error>>,
{
    let (mut wanted, mut asking) = (HashSet::new(), FuturesUnordered::new());
    loop {
        tokio::select! {
            lost = losses.recv(), if asking.len() < AT_ONCE => {
                let Some(key) = lost else { break };
                let Some(cid) = key.raw() else { continue };
                if wanted.insert(key.clone()) {
                    let got = tokio::time::timeout(PATIENCE, get(cid));
                    asking.push(async move { (key, cid, got.await) });
                }
            }
            Some((key, cid, got)) = asking.next() => {
                wanted.remove(&key);
                match got {
                    Ok(Ok(_)) => tracing::info!(%cid, "a lost block is here again"),
                    Ok(Err(error)) => tracing::warn!(%cid, %error, "a lost block is still missing"),
                    Err(_) => tracing::warn!(%cid, "a lost block is still missing: nobody gave it"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, RAW};
    use cid::Version;
    use std::sync::{Arc, Mutex};

    #[tokio::test(start_paused = true)]
    async fn a_lost_block_is_asked_for_once_at_a_time_and_again_after_an_hour_in_vain() {
        let cid = cid_of(Version::V1, RAW, b"lost");
        let (lost, losses) = mpsc::channel(8);
        let asked: Arc<Mutex<Vec<Cid>>> = Arc::default();
        let noted = asked.clone();
        let mending = tokio::spawn(mend(losses, move |cid| {
            noted.lock().unwrap().push(cid);
            std::future::pending()
        }));
        lost.send(Key::of(&cid)).await.unwrap();
        lost.send(Key::of(&cid)).await.unwrap();
        tokio::time::sleep(PATIENCE / 2).await;
        assert_eq!(*asked.lock().unwrap(), [cid]);
        tokio::time::sleep(PATIENCE).await;
        lost.send(Key::of(&cid)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*asked.lock().unwrap(), [cid, cid]);
        mending.abort();
    }
}
