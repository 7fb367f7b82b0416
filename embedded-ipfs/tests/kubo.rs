//! Beside a real Kubo, both ways. Without one the tests say "not run" and nothing else.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::path::Path;
use std::time::Duration;

use embedded_ipfs::{fetch_from, AddOptions, Answer, Cid, Multiaddr, PinLimits};
use support::kubo::{runner, Kubo};
use support::{address, node, noise, numbered, sparse, within};

const MIB: usize = 1 << 20;

fn file(dir: &tempfile::TempDir, bytes: &[u8]) -> std::path::PathBuf {
    use std::io::Write;
    let path = dir.path().join(format!("file-{}", bytes.len()));
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    path
}

#[tokio::test]
async fn our_cids_are_those_of_ipfs_add() {
    let Some(runner) = runner() else { return };
    within(async {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut kubo = Kubo::start(&runner, &theirs.path().join("repo")).await;
        let node = node(&ours).await;
        let chunk = 256 << 10;
        // One chunk, two, a full node and one more leaf, and a tree of three levels.
        for size in [0, 1, chunk - 1, chunk, chunk + 1, 174 * chunk, 174 * chunk + 1, 300 * chunk + 7] {
            let bytes = noise(size, 7);
            let added =
                node.add(&bytes[..], AddOptions { pin: false, ..AddOptions::default() }).await.unwrap();
            assert_eq!(added.size, size as u64);
            assert_eq!(added.cid, kubo.add(&file(&theirs, &bytes)).await, "{size} bytes");
            node.gc(Duration::ZERO).await.unwrap();
        }
        kubo.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_of_200_mib_that_kubo_added_is_pinned_here() {
    let Some(runner) = runner() else { return };
    within(async {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut kubo = Kubo::start(&runner, &theirs.path().join("repo")).await;
        let bytes = sparse(200 * MIB, 3);
        let cid = kubo.add(&file(&theirs, &bytes)).await;
        let node = node(&ours).await;
        node.connect(kubo.address.clone()).await.unwrap();
        let report = node.pin(&cid, PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!(report.blocks, 800 + 5 + 1, "leaves, nodes, root");
        assert!(node.read(&cid, u64::MAX).await.unwrap() == bytes);
        let stats = node.stats().await.unwrap();
        assert_eq!((stats.received_blocks, stats.unwanted_blocks), (806, 0), "each block came once");
        kubo.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_of_200_mib_that_we_added_is_pinned_by_kubo_and_so_are_other_layouts() {
    let Some(runner) = runner() else { return };
    within(async {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut kubo = Kubo::start(&runner, &theirs.path().join("repo")).await;
        let node = node(&ours).await;
        kubo.connect(&address(&node)).await;
        let large_leaves = AddOptions { chunk_bytes: MIB, ..AddOptions::v1() };
        for (mib, options) in [(200, AddOptions::default()), (50, AddOptions::v1()), (50, large_leaves)] {
            let bytes = sparse(mib * MIB, options.chunk_bytes as u64);
            let added = node.add(&bytes[..], options).await.unwrap();
            kubo.pin(&added.cid).await;
            let copy = theirs.path().join("copy");
            kubo.download(&added.cid, &copy).await;
            use std::io::Read;
            let mut read = Vec::new();
            std::fs::File::open(&copy).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{options:?}");
            std::fs::remove_file(copy).unwrap();
        }
        kubo.kill().await;
    })
    .await;
}

/// Kubo's core as a library stands still now and then in the midst of thousands of small blocks, also where a Kubo 0.41
/// has them (three times in five): it wants nothing then, and nothing is under way. It is killed then, and goes on with
/// what it has.
async fn pinned_in_some_lives(runner: &Path, repository: &Path, from: &Multiaddr, cid: &Cid) -> Kubo {
    const LIFE: Duration = Duration::from_secs(30);
    loop {
        let mut kubo = Kubo::start(runner, repository).await;
        kubo.connect(from).await;
        if tokio::time::timeout(LIFE, kubo.pin(cid)).await.is_ok() {
            return kubo;
        }
        kubo.kill().await;
    }
}

#[tokio::test]
async fn a_directory_of_10_000_files_is_pinned_by_kubo_and_from_it_by_another_of_us() {
    let Some(runner) = runner() else { return };
    within(async {
        let dirs: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let (first, second) = (node(&dirs[1]).await, node(&dirs[2]).await);
        let added = first.add_directory(numbered(10_000)).await.unwrap();
        let pin = first.pinned(&added.cid).await.unwrap().unwrap();
        let repository = dirs[0].path().join("repo");
        let kubo = pinned_in_some_lives(&runner, &repository, &address(&first), &added.cid).await;
        first.stop().await;
        second.connect(kubo.address.clone()).await.unwrap();
        assert_eq!(second.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap(), pin);
        let entries = second.ls(&added.cid, 10_000).await.unwrap();
        assert!(entries.iter().map(|entry| &entry.name).eq(numbered(10_000).iter().map(|(name, _)| name)));
        let file = second.find(&added.cid, &["file-09999"]).await.unwrap();
        assert_eq!(second.read(&file, 100).await.unwrap(), "9999\n");
        kubo.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_pin_goes_on_when_kubo_was_killed_and_comes_back() {
    let Some(runner) = runner() else { return };
    within(async {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = theirs.path().join("repo");
        let mut kubo = Kubo::start(&runner, &repository).await;
        let cid = kubo.add(&file(&theirs, &noise(20 * MIB, 8))).await;
        let node = node(&ours).await;
        node.connect(kubo.address.clone()).await.unwrap();
        let (half, mut halfway) = tokio::sync::watch::channel(0);
        let pinning = tokio::spawn({
            let node = node.clone();
            let report = move |now: embedded_ipfs::Progress| {
                half.send_replace(now.blocks);
            };
            async move { node.pin(&cid, PinLimits::default(), report).await }
        });
        halfway.wait_for(|blocks| *blocks >= 20).await.unwrap();
        kubo.kill().await;
        let kubo = Kubo::start(&runner, &repository).await;
        node.connect(kubo.address.clone()).await.unwrap();
        pinning.await.unwrap().unwrap();
        kubo.kill().await;
    })
    .await;
}

#[tokio::test]
async fn one_peer_alone_is_asked_and_says_what_it_has_past_the_store_of_a_node_here() {
    let Some(runner) = runner() else { return };
    within(async {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut kubo = Kubo::start(&runner, &theirs.path().join("repo")).await;
        let node = node(&ours).await;
        node.connect(kubo.address.clone()).await.unwrap();
        let bytes = noise(1000, 9);
        let cid = kubo.add(&file(&theirs, &bytes)).await;
        let missing: Cid = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o".parse().unwrap();
        let limit = Duration::from_secs(20);
        let answers = fetch_from(kubo.address.clone(), vec![cid, missing], limit, 1 << 20).await.unwrap();
        assert!(matches!(&answers[0].answer, Answer::Block { bytes, .. } if embedded_ipfs::verify(&cid, bytes).is_ok()));
        assert_eq!(answers[1].answer, Answer::DontHave);
        let stats = node.stats().await.unwrap();
        assert_eq!((stats.blocks, stats.received_blocks), (0, 0));
        // Nor does what the node has answer for the peer.
        let local = node.put(0x55, &b"local"[..]).await.unwrap();
        let answers = fetch_from(kubo.address.clone(), vec![local], limit, 1 << 20).await.unwrap();
        assert_eq!(answers[0].answer, Answer::DontHave);
        kubo.kill().await;
    })
    .await;
}

#[tokio::test]
async fn kubo_pins_from_a_stranger_that_our_table_tells_of() {
    let Some(runner) = runner() else { return };
    within(async {
        let (theirs, first, second) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut kubo = Kubo::start(&runner, &theirs.path().join("repo")).await;
        let (middle, holder) = (node(&first).await, node(&second).await);
        let added = holder.add(&noise(MIB, 10)[..], AddOptions::default()).await.unwrap();
        holder.connect(address(&middle)).await.unwrap();
        middle.connect(kubo.address.clone()).await.unwrap();
        kubo.pin(&added.cid).await;
        assert!(holder.peers().iter().any(|peer| kubo.address.to_string().ends_with(&peer.id.to_string())));
        assert_eq!(middle.stats().await.unwrap().blocks, 0, "the one that told of it has nothing");
        kubo.kill().await;
    })
    .await;
}
