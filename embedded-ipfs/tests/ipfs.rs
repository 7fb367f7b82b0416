//! Beside a Kubo daemon, both ways: names, providers, directories. Without `ipfs` on the PATH the tests say "not run".

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use embedded_ipfs::{AddOptions, Node, PinLimits};
use ipns_record::{Name, SigningKey, Timestamp};
use support::ipfs::Daemon;
use support::{node, noise, numbered, sparse, within};

const CONTENT: &str = "/ipfs/bafkqaaa";

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A node that is connected with a daemon and in its routing table, as it is in ours.
async fn beside(daemon: &Daemon, dir: &tempfile::TempDir) -> Node {
    let node = node(dir).await;
    node.connect(daemon.address.clone()).await.unwrap();
    while !daemon.run(&["stats", "dht", "lan"]).await.contains(&node.peer_id().to_string()) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    node
}

#[tokio::test]
async fn a_name_that_kubo_publishes_is_got_here_with_every_change() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = beside(&daemon, &home).await;
        for kind in ["ed25519", "rsa"] {
            let name: Name = daemon.run(&["key", "gen", "--type", kind, kind]).await.parse().unwrap();
            daemon.run(&["name", "publish", "--key", kind, CONTENT]).await;
            let first = node.name_get(name).await.unwrap();
            assert_eq!(first.value(), CONTENT.as_bytes());
            daemon.run(&["name", "publish", "--key", kind, "/ipfs/bafkqabtimvwgy3yk"]).await;
            let second = node.name_get(name).await.unwrap();
            assert!(second.is_newer_than(&first));
        }
        // Of an RSA key Kubo gives the key beside each record, as nodes of before 2018 want it.
        assert_eq!(node.stats().await.unwrap().dht_refused, 2);
        daemon.kill().await;
        // Kubo had given its records to its only peer.
        assert_eq!(node.stats().await.unwrap().dht_names, 2);
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_put_here_is_resolved_by_kubo_with_every_change() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = beside(&daemon, &home).await;
        let owner = SigningKey::from_seed(&[1; 32]).unwrap();
        for (sequence, content) in [(1, CONTENT), (2, "/ipfs/bafkqabtimvwgy3yk")] {
            // Until 2100.
            let eol = Timestamp::from_ms(4_102_444_800_000);
            let record = owner.sign(content.as_bytes(), sequence, eol, 0).unwrap();
            assert_eq!(node.name_put(owner.name(), record).await.unwrap(), 1, "Kubo took it");
            let name = format!("/ipns/{}", owner.name());
            assert_eq!(daemon.run(&["name", "resolve", "--nocache", &name]).await, content);
        }
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn each_tells_the_other_what_it_has() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = beside(&daemon, &home).await;
        let ours = node.add(&noise(1000, 1)[..], AddOptions::default()).await.unwrap().cid;
        let found = daemon.run(&["routing", "findprovs", "-n", "1", &ours.to_string()]).await;
        assert_eq!(found, node.peer_id().to_string());

        let file = home.path().join("file");
        tokio::fs::write(&file, noise(1000, 2)).await.unwrap();
        let theirs = daemon.run(&["add", "-Q", file.to_str().unwrap()]).await;
        daemon.run(&["routing", "provide", &theirs]).await;
        let found = node.providers(&theirs.parse().unwrap(), 5).await.unwrap();
        assert!(daemon.address.to_string().ends_with(&found[0].peer.to_string()), "{found:?}");
        assert!(!found[0].addresses.is_empty(), "{found:?}");
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn kubo_tells_strangers_of_one_another_and_one_pins_from_the_other() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let (first, second) = (dir(), dir());
        let (holder, other) = (beside(&daemon, &first).await, beside(&daemon, &second).await);
        let added = holder.add(&noise(1 << 20, 3)[..], AddOptions::default()).await.unwrap();
        other.pin(&added.cid, PinLimits::default(), |_| {}).await.unwrap();
        let bare = format!("/p2p/{}", holder.peer_id()).parse().unwrap();
        assert_eq!(other.connect(bare).await.unwrap(), holder.peer_id());
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn directories_get_the_cids_of_ipfs_add_and_are_listed_alike() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = beside(&daemon, &home).await;
        for count in [0, 1, 100, 5957, 5958, 10_000] {
            let directory = home.path().join(count.to_string());
            tokio::fs::create_dir(&directory).await.unwrap();
            for (name, bytes) in numbered(count) {
                tokio::fs::write(directory.join(name), bytes).await.unwrap();
            }
            let theirs = daemon.run(&["add", "-r", "-Q", directory.to_str().unwrap()]).await.parse().unwrap();
            // Before we have it ourselves, so from Kubo.
            let names: Vec<_> =
                node.ls(&theirs, count).await.unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, numbered(count).into_iter().map(|(name, _)| name).collect::<Vec<_>>());
            assert_eq!(node.add_directory(numbered(count)).await.unwrap().cid, theirs, "{count} files");
        }
        let ours = node.add_directory(numbered(6500)).await.unwrap().cid;
        let listed = daemon.run(&["ls", "--size=false", "--resolve-type=false", &ours.to_string()]).await;
        assert_eq!(listed.lines().count(), 6500);
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_of_200_mib_is_pinned_either_way() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = beside(&daemon, &home).await;
        let (theirs, ours) = (sparse(200 << 20, 1), sparse(200 << 20, 2));
        let path = home.path().join("file");
        tokio::fs::write(&path, &theirs).await.unwrap();
        let cid = daemon.run(&["add", "-Q", path.to_str().unwrap()]).await.parse().unwrap();
        let before = daemon.sent().await;
        let report = node.pin(&cid, PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!((report.blocks, daemon.sent().await - before), (806, 806), "each block was sent once");
        assert!(node.read(&cid, u64::MAX).await.unwrap() == theirs);

        let added = node.add(&ours[..], AddOptions::default()).await.unwrap();
        daemon.pin(&added.cid.to_string()).await;
        let (status, read) = daemon.call(&format!("cat?arg={}&offline=true", added.cid)).await;
        assert!(status == 200 && read == ours);
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_directory_of_10_000_files_is_pinned_either_way() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let home = dir();
        let node = beside(&daemon, &home).await;
        let directory = home.path().join("directory");
        tokio::fs::create_dir(&directory).await.unwrap();
        for (name, bytes) in numbered(10_000) {
            tokio::fs::write(directory.join(name), bytes).await.unwrap();
        }
        let cid = daemon.run(&["add", "-r", "-Q", directory.to_str().unwrap()]).await;
        let below = daemon.run(&["refs", "-r", "-u", &cid]).await.lines().count() as u64;
        let before = daemon.sent().await;
        let report = node.pin(&cid.parse().unwrap(), PinLimits::default(), |_| {}).await.unwrap();
        assert_eq!(report.blocks, below + 1);
        let sent = daemon.sent().await - before;
        assert!(sent >= report.blocks && sent * 100 <= report.blocks * 101, "{sent} of {}", report.blocks);

        let others = numbered(20_000).split_off(10_000);
        let added = node.add_directory(others).await.unwrap().cid.to_string();
        daemon.pin(&added).await;
        let listed = daemon.run(&["ls", "--offline", "--size=false", "--resolve-type=false", &added]).await;
        assert_eq!(listed.lines().count(), 10_000);
        daemon.kill().await;
    })
    .await;
}
