//! What is fetched.

use embedded_ipfs::Cid;

use crate::support::ipfs::Daemon;
use crate::support::{noise, numbered};

/// A DAG that the source has pinned.
pub struct Case {
    pub name: String,
    pub cid: Cid,
    /// Distinct blocks.
    pub blocks: u64,
    /// How much it is, in what its unit counts.
    pub amount: f64,
    pub unit: &'static str,
}

/// Has a Kubo add two files, each in the layout of its name, and a directory that is sharded.
pub async fn prepare(source: &Daemon, mib: usize, files: usize) -> Vec<Case> {
    let dir = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    let layouts = [("v0, 256 KiB", &[][..]), ("v1, 1 MiB", &["--cid-version=1", "--chunker=size-1048576"])];
    for (seed, (layout, options)) in (1..).zip(layouts) {
        let path = dir.path().join("file");
        tokio::fs::write(&path, noise(mib << 20, seed)).await.unwrap();
        let cid = source.run(&[&["add", "-Q"], options, &[path.to_str().unwrap()]].concat()).await;
        let name = format!("file of {mib} MiB, {layout}");
        cases.push(case(source, name, &cid, Some(mib as f64)).await);
    }
    let directory = dir.path().join("directory");
    tokio::fs::create_dir(&directory).await.unwrap();
    for (name, bytes) in numbered(files) {
        tokio::fs::write(directory.join(name), bytes).await.unwrap();
    }
    let cid = source.run(&["add", "-r", "-Q", directory.to_str().unwrap()]).await;
    cases.push(case(source, format!("directory of {files} files"), &cid, None).await);
    cases
}

async fn case(source: &Daemon, name: String, cid: &str, mib: Option<f64>) -> Case {
    let blocks = 1 + source.run(&["refs", "-r", "-u", cid]).await.lines().count() as u64;
    let (amount, unit) = mib.map_or((blocks as f64, "blocks/s"), |mib| (mib, "MiB/s"));
    Case { name, cid: cid.parse().unwrap(), blocks, amount, unit }
}
