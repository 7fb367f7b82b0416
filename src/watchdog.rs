//! Watches the actors' arbiter from a thread of its own: an actor that blocks it stops them all, the supervisor
//! too, and only somebody outside can tell.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Between two beats of the arbiter.
const BEAT: Duration = Duration::from_secs(1);
/// Between two looks at them, in seconds.
const LOOK: u64 = 5;
/// Silent for so many seconds, the process is aborted, so that its platform starts it anew.
const LAST: u64 = 60;

/// What a look at the beats says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Alive,
    Silent(u64),
    Dead,
}

/// The watch's memory.
#[derive(Debug, Default)]
struct Pulse {
    beats: u64,
    silent: u64,
}

impl Pulse {
    fn look(&mut self, beats: u64) -> Verdict {
        if beats != self.beats {
            (self.beats, self.silent) = (beats, 0);
            return Verdict::Alive;
        }
        self.silent += LOOK;
        match self.silent {
            silent if silent >= LAST => Verdict::Dead,
            silent => Verdict::Silent(silent),
        }
    }
}

/// Begins to watch the arbiter that this is called on, until it ends.
///
/// # Errors
/// If no thread can be had.
pub fn watch() -> std::io::Result<()> {
    let beats = Arc::new(AtomicU64::new(0));
    let seen = Arc::downgrade(&beats);
    actix_rt::spawn(async move {
        loop {
            beats.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    });
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || look(&seen))?;
    Ok(())
}

fn look(seen: &Weak<AtomicU64>) {
    let mut pulse = Pulse::default();
    loop {
        #[allow(clippy::disallowed_methods, reason = "a thread of its own, outside every arbiter")]
        std::thread::sleep(Duration::from_secs(LOOK));
        let Some(beats) = seen.upgrade() else { return };
        match pulse.look(beats.load(Ordering::Relaxed)) {
            Verdict::Alive => {}
            Verdict::Silent(seconds) => tracing::error!(seconds, "the actors' arbiter is blocked"),
            Verdict::Dead => {
                tracing::error!("the actors' arbiter stays blocked: aborting");
                std::process::abort();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_forgives_all_silence_and_a_minute_without_one_is_the_end() {
        let mut pulse = Pulse::default();
        let told: Vec<Verdict> = [1, 1, 1, 2].into_iter().map(|beats| pulse.look(beats)).collect();
        assert_eq!(told, [Verdict::Alive, Verdict::Silent(5), Verdict::Silent(10), Verdict::Alive]);
        let told: Vec<Verdict> = (0..12).map(|_| pulse.look(2)).collect();
        assert!(told[..11].iter().all(|verdict| matches!(verdict, Verdict::Silent(_))));
        assert_eq!(told[11], Verdict::Dead);
    }
}
