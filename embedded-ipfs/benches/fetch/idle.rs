//! The memory of a node that has nothing to do, in a process of its own: this program again, with a flag.

use std::time::Duration;

use embedded_ipfs::{Config, Node};
use tokio::io::{AsyncBufReadExt, BufReader};

pub const FLAG: &str = "--idle-node";
/// What a node did at its start is done by then.
const SETTLES: Duration = Duration::from_secs(5);

/// Is that process: a node as [`measure`] wants it, until it is killed.
pub async fn run(dir: &str) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let _node = Node::start(Config { listen, ..Config::new(dir) }).await.unwrap();
    println!("started");
    std::future::pending().await
}

/// Its resident memory in MiB; `None` where the system has no `/proc`.
pub async fn measure() -> Option<f64> {
    let dir = tempfile::tempdir().unwrap();
    let mut process = tokio::process::Command::new(std::env::current_exe().unwrap())
        .arg(FLAG)
        .arg(dir.path())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("started"));
    tokio::time::sleep(SETTLES).await;
    let resident = crate::support::memory::resident(process.id().unwrap());
    process.kill().await.unwrap();
    resident.map(|mib| (mib * 10.0).round() / 10.0)
}
