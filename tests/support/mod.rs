//! Real servers for end-to-end tests. Each listens on loopback on a free port, keeps its files in a temporary directory
//! and ends with the value that stands for it, also when the test's process is killed.
//!
//! [`anvil`] a chain · [`geth`] another client's · [`libkubo`] a foreign IPFS peer · [`kubo`] a Kubo daemon · [`scatter`] the node itself ·
//! [`place`] an operator's directory · [`market`] the same on a chain with a market ·
//! [`replay`] recorded answers · [`fault_proxy`] a bad line to a JSON-RPC server. A server that is not installed makes
//! `start` return `None`: the test says so and returns.
//!
//! ```ignore
//! let Some(anvil) = Anvil::start() else { return };
//! ```

// A test binary uses the servers that it needs.
#![allow(dead_code)]
// The harness lives where the world is: real processes, real time, and a panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

pub mod anvil;
pub mod fault_proxy;
pub mod geth;
pub mod http;
pub mod json_rpc;
pub mod kubo;
pub mod libkubo;
pub mod market;
#[cfg(feature = "embedded")]
pub mod member;
pub mod place;
pub mod process;
pub mod replay;
pub mod scatter;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a local server may take for anything that it normally does at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The installed tool `name`: from `.tools/bin`, else from `PATH`.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(root().join(".tools/bin"))
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// Says that the calling test could not run and what would change that: on standard error, past the test runner's
/// capture, and in the file `SCATTER_NOT_RUN_FILE`, which `make test` repeats in its last lines.
///
/// # Panics
/// Where `SCATTER_REQUIRE`, names with commas between them, says that it has to be there.
pub fn not_run(missing: &str, remedy: &str) {
    let thread = std::thread::current();
    let required = std::env::var("SCATTER_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name == missing);
    assert!(!is_required, "{missing} is missing ({remedy}), and SCATTER_REQUIRE names it");
    let line = format!("{}: {missing} is missing ({remedy})\n", thread.name().unwrap_or("a test"));
    std::io::stderr().write_all(format!("not run: {line}").as_bytes()).unwrap();
    if let Some(file) = std::env::var_os("SCATTER_NOT_RUN_FILE") {
        let mut file = OpenOptions::new().append(true).create(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Asks `probe` until it answers: for what no server announces.
///
/// # Panics
/// After `within`, naming `what`.
pub fn eventually<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
