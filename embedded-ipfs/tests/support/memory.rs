//! How much memory a process takes, and whether it grows.

/// Resident memory of a process in MiB; `None` where the system has no `/proc`.
#[allow(clippy::disallowed_methods, reason = "the process is a test's")]
pub fn resident(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

/// A straight line through samples, by Theil and Sen: outliers do not bend it.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    /// What is added in a unit of time.
    pub slope: f64,
    /// What the line adds from the first sample to the last.
    pub growth: f64,
    /// How far samples lie from the line: 1.4826 times the median of the distances, which is one sigma of normal noise.
    pub noise: f64,
}

/// The trend of samples (time, value) in the order of time; `None` of fewer than three.
pub fn trend(samples: &[(f64, f64)]) -> Option<Trend> {
    let (first, last) = (samples.first()?, samples.last()?);
    let pairs = samples.iter().enumerate().flat_map(|(n, a)| samples[n + 1..].iter().map(move |b| (a, b)));
    let slope = median(pairs.map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect())?;
    let offset = median(samples.iter().map(|(at, value)| value - slope * at).collect())?;
    let noise =
        1.4826 * median(samples.iter().map(|(at, value)| (value - slope * at - offset).abs()).collect())?;
    (samples.len() > 2).then_some(Trend { slope, growth: slope * (last.0 - first.0), noise })
}

impl Trend {
    /// Whether it grows by more than three sigma of its noise, and by more than `slack` all in all.
    pub fn leaks(&self, slack: f64) -> bool {
        self.growth > slack.max(3.0 * self.noise)
    }
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}
