//! CAR archives: out of one node, into another, and between this node and Kubo (`ipfs dag export` and `ipfs dag import`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use embedded_ipfs::{AddOptions, BadCar, Cid, Config, Error, Limits, Node};
use futures::TryStreamExt;
use support::ipfs::Daemon;
use support::{config, node, noise, numbered, within};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

async fn exported(node: &Node, roots: &[Cid]) -> Vec<u8> {
    let pieces: Vec<_> = node.export(roots).try_collect().await.unwrap();
    pieces.concat()
}

#[tokio::test]
async fn what_one_node_exports_is_imported_and_pinned_by_another() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let file = noise(5 << 20, 1);
        let one = a.add(&file[..], AddOptions::default()).await.unwrap().cid;
        let two = a.add_directory(numbered(7000)).await.unwrap().cid;
        let archive = exported(&a, &[one, two]).await;
        let imported = b.import(&archive[..], true).await.unwrap();
        assert_eq!(imported.roots, [one, two]);
        assert_eq!(
            b.pins().try_collect::<Vec<_>>().await.unwrap(),
            a.pins().try_collect::<Vec<_>>().await.unwrap()
        );
        let stats = b.stats().await.unwrap();
        assert_eq!((stats.blocks, stats.bytes), (imported.blocks, imported.bytes));
        b.gc(Duration::ZERO).await.unwrap();
        assert!(b.read(&one, u64::MAX).await.unwrap() == file);
        assert_eq!(b.ls(&two, 7000).await.unwrap().len(), 7000);
        assert_eq!(exported(&b, &[one, two]).await, archive);
        // Blocks that both roots reach are there once.
        assert_eq!(exported(&a, &[one, one]).await.len(), exported(&a, &[one]).await.len() + 39);
    })
    .await;
}

/// A dag-cbor list of one link, again and again.
fn repeated(link: &Cid, times: u32) -> Vec<u8> {
    let link = [&[0xd8, 42, 0x58, 37, 0][..], &link.to_bytes()].concat();
    [&[0x9a][..], &times.to_be_bytes(), &link.repeat(times as usize)].concat()
}

#[tokio::test]
async fn links_that_repeat_themselves_cost_the_exporter_nothing_and_roots_are_pinned_once() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let mut root = a.put(0x55, vec![0; 1 << 20]).await.unwrap();
        let mut size = 1 << 20;
        for _ in 0..3 {
            let block = repeated(&root, 95_000);
            size += block.len();
            root = a.put(0x71, block).await.unwrap();
        }
        let archive = exported(&a, &[root; 1000]).await;
        assert!(archive.len() < size + (64 << 10), "{} bytes", archive.len());
        let imported = b.import(&archive[..], true).await.unwrap();
        assert_eq!((imported.roots.len(), imported.blocks), (1000, 4));
        let pins: Vec<_> = b.pins().try_collect().await.unwrap();
        assert_eq!(pins.iter().map(|pin| (pin.cid, pin.blocks)).collect::<Vec<_>>(), [(root, 4)]);
    })
    .await;
}

#[tokio::test]
async fn an_archive_without_pins_or_with_something_missing_pins_nothing() {
    within(async {
        let (left, right) = (dir(), dir());
        let (a, b) = (node(&left).await, node(&right).await);
        let root = a.add(&noise(1 << 20, 2)[..], AddOptions::default()).await.unwrap().cid;
        let whole = exported(&a, &[root]).await;
        b.import(&whole[..], false).await.unwrap();
        assert_eq!(b.pins().try_collect::<Vec<_>>().await.unwrap(), []);
        b.gc(Duration::ZERO).await.unwrap();
        // The last section is a leaf: its length, 34 bytes of a CID, and 256 KiB in some bytes more.
        let last = whole.len() - (3 + 34 + (256 << 10) + 14);
        let missing = b.import(&whole[..last], true).await;
        assert!(matches!(missing, Err(Error::NotHere(_))), "{missing:?}");
        assert_eq!(b.pins().try_collect::<Vec<_>>().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn damage_and_a_full_store_are_told_and_nothing_is_pinned() {
    within(async {
        let (left, right) = (dir(), dir());
        let a = node(&left).await;
        let limits = Limits { store_bytes: 5 << 20, ..Limits::default() };
        let small = Node::start(Config { limits, ..config(&right) }).await.unwrap();
        let root = a.add(&noise(1 << 20, 3)[..], AddOptions::default()).await.unwrap().cid;
        let mut archive = exported(&a, &[root]).await;
        let middle = archive.len() / 2;
        archive[middle] ^= 1;
        match small.import(&archive[..], true).await {
            Err(Error::Car { at, fault: BadCar::Mismatch(_) }) => {
                assert!(middle as u64 - (300 << 10) < at && at < middle as u64, "{at} is where {middle} is")
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            small.import(&b"no archive at all"[..], true).await,
            Err(Error::Car { at: 0, fault: BadCar::TooLong(_) | BadCar::CutShort })
        ));
        let large = a.add(&noise(6 << 20, 4)[..], AddOptions::default()).await.unwrap().cid;
        let archive = exported(&a, &[large]).await;
        assert!(matches!(small.import(&archive[..], true).await, Err(Error::Full { .. })));
        assert_eq!(small.pins().try_collect::<Vec<_>>().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_dag_of_an_unknown_codec_is_refused_before_a_byte() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let foreign = node.put(0x78, &b"a git object"[..]).await.unwrap();
        let pieces: Result<Vec<_>, _> = node.export(&[foreign]).try_collect().await;
        assert!(matches!(pieces, Err(Error::Codec(0x78))));
        let around = format!(r#"{{"a":{{"/":"{foreign}"}}}}"#);
        let around = node.put(0x0129, around.into_bytes()).await.unwrap();
        let limits = embedded_ipfs::PinLimits::default();
        assert!(matches!(node.pin(&around, limits, |_| {}).await, Err(Error::Codec(0x78))));
        let leaf = node.put(0x55, &b"leaf"[..]).await.unwrap();
        let known = node.put(0x0129, format!(r#"[{{"/":"{leaf}"}}]"#).into_bytes()).await.unwrap();
        assert_eq!(node.pin(&known, limits, |_| {}).await.unwrap().blocks, 2);
    })
    .await;
}

#[tokio::test]
async fn kubo_imports_what_we_export_and_we_import_what_kubo_exports() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let (home, other) = (dir(), dir());
        let (ours, theirs) = (node(&home).await, node(&other).await);
        let contents = [
            ours.add(&noise(3 << 20, 5)[..], AddOptions::default()).await.unwrap().cid,
            ours.add(&noise(3 << 20, 6)[..], AddOptions::v1_2025()).await.unwrap().cid,
            ours.add_directory(numbered(100)).await.unwrap().cid,
            ours.add_directory(numbered(7000)).await.unwrap().cid,
        ];
        for root in contents {
            let (out, back) = (home.path().join("out.car"), home.path().join("back.car"));
            let archive = exported(&ours, &[root]).await;
            tokio::fs::write(&out, &archive).await.unwrap();
            let told = daemon.run(&["dag", "import", "--stats", out.to_str().unwrap()]).await;
            assert!(told.contains("success"), "{told}");
            // Kubo pinned it, so all of it is there.
            let pinned = daemon.run(&["pin", "ls", "--type=recursive", "-q"]).await;
            assert!(pinned.lines().any(|line| line == root.to_string()), "{pinned}");
            daemon.save(&["dag", "export", "--progress=false", &root.to_string()], &back).await;
            let back = tokio::fs::read(back).await.unwrap();
            assert!(back == archive, "the same bytes in the same order: {root}");
            let imported = theirs.import(&back[..], true).await.unwrap();
            assert_eq!(imported.roots, [root]);
            assert_eq!(theirs.pinned(&root).await.unwrap(), ours.pinned(&root).await.unwrap());
        }
        daemon.kill().await;
    })
    .await;
}
