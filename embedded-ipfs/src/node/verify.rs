//! Reads everything that is kept, when it is asked for and by itself, so that damage to what nobody reads is found while
//! others still have it.
//!
//! Owns: how far the reading by itself has come, in a file of one line, so that restarts do not begin it again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until, Instant};

use super::{watched, Node};
use crate::clock::now_ms;
use crate::core::{reachable, Task};
use crate::store::{lock, Checked, Place, Store, Verification};
use crate::{durable, Error, Progress, Stats, Verified};

/// Bytes a second, while the node reads by itself.
const RATE: u64 = 16 << 20;
/// The reading by itself is done in so many portions or more.
const PORTIONS: u32 = 720;
/// The longest time between two of them, and how long after the start the first one is, at most.
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// After so many portions it is looked whether something is missing of the pins: once a day, by default.
const A_DAY: u64 = 24;
/// Damaged blocks that a report names.
const NAMED: usize = 1024;

impl Node {
    /// Reads every block that is in the store now, in the order in which they lie on disk, at `bytes_per_second` at most, and
    /// says which are damaged: those are dropped, counted in [`Stats::damaged_blocks`] and asked for, as if somebody had read
    /// them. `progress` is called on the caller's task when the counts grew; [`Stats::bytes`] is about where they end.
    /// Whatever else the node does goes on meanwhile. Dropping the future ends the work.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Store`] if files cannot be read for another reason than damage.
    pub async fn verify(
        &self,
        bytes_per_second: u64,
        progress: impl FnMut(Progress),
    ) -> Result<Verified, Error> {
        let (tell, told) = watch::channel(Progress::default());
        let (store, readings) = (self.inner.core.store.clone(), self.inner.readings.clone());
        let work = verify(store, readings, bytes_per_second, tell);
        watched(Task::spawn(&self.inner.runtime, work), told, progress).await
    }
}

/// What was read to see whether it is whole.
pub(super) struct Readings {
    file: PathBuf,
    blocks: AtomicU64,
    bytes: AtomicU64,
    mark: Mutex<Mark>,
    /// As in the mark, for whoever must not wait until that is written.
    ended: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// Where the reading by itself goes on.
    next: Place,
    /// When everything was read last, in milliseconds since 1970; 0 for never.
    ended: u64,
}

impl Mark {
    fn parse(text: &str) -> Option<Mark> {
        let mut words = text.split_whitespace();
        let next = Place { segment: words.next()?.parse().ok()?, offset: words.next()?.parse().ok()? };
        Some(Mark { next, ended: words.next()?.parse().ok()? })
    }
}

impl Readings {
    /// As the last run left it. A file that is lost or damaged costs a beginning. Blocks.
    #[allow(clippy::disallowed_methods, reason = "this file is this module's")]
    pub(super) fn open(data_dir: &Path) -> Readings {
        let file = data_dir.join("verified");
        let mark = std::fs::read_to_string(&file).ok().and_then(|text| Mark::parse(&text));
        let mark = mark.unwrap_or_default();
        let (blocks, bytes, ended) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(mark.ended));
        Readings { file, blocks, bytes, mark: Mutex::new(mark), ended }
    }

    fn count(&self, checked: &Checked) {
        self.blocks.fetch_add(checked.blocks, Ordering::Relaxed);
        self.bytes.fetch_add(checked.bytes, Ordering::Relaxed);
    }

    fn next(&self) -> Place {
        lock(&self.mark).next
    }

    /// Changes the mark, durably. Blocks.
    fn note(&self, change: impl FnOnce(&mut Mark)) {
        let mut mark = lock(&self.mark);
        change(&mut mark);
        let Mark { next: Place { segment, offset }, ended } = *mark;
        self.ended.store(ended, Ordering::Relaxed);
        if let Err(error) = durable::replace(&self.file, format!("{segment} {offset} {ended}\n").as_bytes()) {
            tracing::warn!(%error, "how far blocks were verified is not on disk: a restart goes further back");
        }
    }

    pub(super) fn report(&self, stats: &mut Stats) {
        stats.verified_blocks = self.blocks.load(Ordering::Relaxed);
        stats.verified_bytes = self.bytes.load(Ordering::Relaxed);
        let ended = self.ended.load(Ordering::Relaxed);
        stats.last_verified = (ended > 0).then(|| UNIX_EPOCH + Duration::from_millis(ended));
    }
}

async fn verify(
    store: Store,
    readings: Arc<Readings>,
    rate: u64,
    progress: watch::Sender<Progress>,
) -> Result<Verified, Error> {
    let verification = begin(store, Place::default()).await?;
    let mut report = Verified::default();
    let told = |checked: Checked| {
        readings.count(&checked);
        report.blocks += checked.blocks;
        report.bytes += checked.bytes;
        report.damaged_blocks += checked.damaged.len() as u64;
        let room = NAMED.saturating_sub(report.damaged.len());
        report.damaged.extend(checked.damaged.iter().filter_map(|key| key.raw()).take(room));
        progress.send_replace(Progress { blocks: report.blocks, bytes: report.bytes });
    };
    advance(verification, u64::MAX, rate, told).await?;
    noted(readings, |mark| mark.ended = now_ms()).await?;
    Ok(report)
}

/// Reads everything once in `every`, portion by portion, and then again, until the runtime ends.
pub(super) async fn verify_by_itself(store: Store, readings: Arc<Readings>, every: Duration) {
    let pause = (every / PORTIONS).clamp(Duration::from_millis(1), HOUR);
    let share = pause.as_secs_f64() / every.as_secs_f64();
    let (mut under_way, mut portions) = (None, 0u64);
    sleep(pause.min(MINUTE)).await;
    loop {
        if portions % A_DAY == 0 && ask_for_missing(store.clone()).await.is_err() {
            break;
        }
        portions += 1;
        let portion = (store.totals().bytes as f64 * share).ceil() as u64;
        match read_portion(&store, &readings, under_way.take(), portion.max(1)).await {
            Ok(verification) => under_way = verification,
            Err(Error::Stopped) => break,
            Err(error) => tracing::warn!(%error, "blocks not verified: it will be tried again"),
        }
        sleep(pause).await;
    }
}

/// What was found damaged, and did not come back while it was asked for, is asked for again: the pins know it.
async fn ask_for_missing(store: Store) -> Result<(), Error> {
    match spawn_blocking(move || reachable(&store).map(drop)).await.map_err(|_| Error::Stopped)? {
        Err(Error::NotHere(cid)) => {
            tracing::warn!(%cid, "blocks of pins are missing: they are asked for again")
        }
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => tracing::warn!(%error, "whether pins are whole could not be seen"),
        Ok(()) => {}
    }
    Ok(())
}

/// Goes on with the reading that is under way, or with that of the last run; `None` at its end.
async fn read_portion(
    store: &Store,
    readings: &Arc<Readings>,
    under_way: Option<Verification>,
    portion: u64,
) -> Result<Option<Verification>, Error> {
    let verification = match under_way {
        Some(verification) => verification,
        None => begin(store.clone(), readings.next()).await?,
    };
    let verification = advance(verification, portion, RATE, |checked| readings.count(&checked)).await?;
    let next = verification.as_ref().map(Verification::next);
    let noting = move |mark: &mut Mark| match next {
        Some(next) => mark.next = next,
        None => *mark = Mark { next: Place::default(), ended: now_ms() },
    };
    noted(readings.clone(), noting).await?;
    Ok(verification)
}

async fn begin(store: Store, from: Place) -> Result<Verification, Error> {
    spawn_blocking(move || store.verification(from)).await.map_err(|_| Error::Stopped)?
}

async fn noted(
    readings: Arc<Readings>,
    change: impl FnOnce(&mut Mark) + Send + 'static,
) -> Result<(), Error> {
    spawn_blocking(move || readings.note(change)).await.map_err(|_| Error::Stopped)
}

/// Reads a portion at so many bytes a second; `None` if that was the last one. Each step is told.
async fn advance(
    mut verification: Verification,
    portion: u64,
    rate: u64,
    mut told: impl FnMut(Checked),
) -> Result<Option<Verification>, Error> {
    let rate = rate.max(1);
    let step = (rate / 8).clamp(64 << 10, 4 << 20);
    let mut left = portion;
    while left > 0 {
        let (started, most, before) = (Instant::now(), step.min(left), verification.read());
        let stepping = spawn_blocking(move || {
            let checked = verification.step(most);
            (verification, checked)
        });
        let checked;
        (verification, checked) = stepping.await.map_err(|_| Error::Stopped)?;
        let Some(checked) = checked? else { return Ok(None) };
        // What is damaged takes its time and its part of the portion, too.
        let read = verification.read() - before;
        left = left.saturating_sub(read);
        let takes = Duration::from_secs_f64(read as f64 / rate as f64);
        told(checked);
        sleep_until(started + takes).await;
    }
    Ok(Some(verification))
}

#[cfg(test)]
mod tests;
