//! The measure by which the soak judges memory: it finds a leak in noise, and none where there is none.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use support::memory::{resident, trend};

/// Half an hour of samples each five seconds: a level, a leak in MiB a minute, noise of some MiB, and a peak now and then.
fn samples(leak: f64, noise: f64) -> Vec<(f64, f64)> {
    let dice = support::noise(360, 5);
    let sample = |n: usize| {
        let minutes = n as f64 / 12.0;
        let peak = if n.is_multiple_of(40) { 60.0 } else { 0.0 };
        (minutes, 80.0 + leak * minutes + noise * (f64::from(dice[n]) / 128.0 - 1.0) + peak)
    };
    (0..360).map(sample).collect()
}

#[test]
fn a_leak_is_told_from_noise_and_from_peaks() {
    for (leak, noise, leaks) in [(0.0, 8.0, false), (0.05, 8.0, false), (1.0, 8.0, true), (0.2, 1.0, true)] {
        let trend = trend(&samples(leak, noise)).unwrap();
        assert_eq!(trend.leaks(4.0), leaks, "{leak} MiB a minute in noise of {noise}: {trend:?}");
        assert!((trend.slope - leak).abs() < 0.08, "{trend:?}");
    }
}

#[test]
fn memory_that_a_process_takes_is_seen() {
    let process = std::process::id();
    let Some(before) = resident(process) else { return support::not_run("/proc", "Linux") };
    let taken = vec![1u8; 64 << 20];
    let grown = resident(process).unwrap() - before;
    assert!(grown > 50.0 && taken.iter().all(|&byte| byte == 1), "{grown} MiB");
}
