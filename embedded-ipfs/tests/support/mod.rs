//! Nodes on loopback in directories of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod ipfs;
pub mod kubo;
pub mod memory;
pub mod table;
pub mod told;

use std::future::Future;
use std::io::Write;
use std::time::Duration;

use embedded_ipfs::{Config, Multiaddr, Node};

/// Says that the calling test could not run and what would change that: on standard error, past the capture of a passing
/// test's output, and in the file whose lines the workspace's gate repeats at its end. Where `SCATTER_REQUIRE`, names with
/// commas between them, says that it has to be there, the test fails.
pub fn not_run(missing: &str, remedy: &str) {
    let required = std::env::var_os("SCATTER_REQUIRE").unwrap_or_default();
    let is_required = required.to_string_lossy().split(',').any(|name| name == missing);
    assert!(!is_required, "{missing} is missing ({remedy}), and SCATTER_REQUIRE names it");
    let thread = std::thread::current();
    let line = format!("{}: {missing} is missing ({remedy})\n", thread.name().unwrap_or("a test"));
    std::io::stderr().write_all(format!("not run: {line}").as_bytes()).unwrap();
    if let Some(file) = std::env::var_os("SCATTER_NOT_RUN_FILE") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// How often each kind of break is repeated.
pub const ROUNDS: u64 = 20;

/// A deadline for whole tests: long enough for a busy machine, short enough to end.
pub const LIMIT: Duration = Duration::from_secs(600);

/// Fails the test instead of hanging it.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("the test's deadline passed")
}

/// The same for [`ROUNDS`] of what starts processes.
pub async fn within_rounds<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(3 * LIMIT, work).await.expect("the test's deadline passed")
}

pub fn config(dir: &tempfile::TempDir) -> Config {
    Config { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..Config::new(dir.path()) }
}

pub async fn node(dir: &tempfile::TempDir) -> Node {
    Node::start(config(dir)).await.unwrap()
}

pub fn address(node: &Node) -> Multiaddr {
    node.addrs().remove(0)
}

/// Waits until something is so; the caller's deadline ends it.
pub async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes that neither compress nor repeat.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Zeros with a number in every 4 KiB: quick to make, and no two of its blocks are the same.
pub fn sparse(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for (n, page) in (0u64..).zip(bytes.chunks_exact_mut(4096)) {
        page[..8].copy_from_slice(&n.to_le_bytes());
        page[8..16].copy_from_slice(&seed.to_le_bytes());
    }
    bytes
}

/// So many small files, in the order of their names.
pub fn numbered(count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|n| (format!("file-{n:05}"), format!("{n}\n").into_bytes())).collect()
}

/// A reader that fails.
pub struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }
}
