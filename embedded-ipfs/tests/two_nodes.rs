//! Two nodes on loopback.

mod support;

use embedded_ipfs::{AddOptions, Error, PinLimits, Progress};
use support::{address, config, node, noise, until, within};

#[tokio::test]
async fn a_file_of_50_mib_is_pinned_from_another_node_and_read_back() {
    within(async {
        let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (node(&left).await, node(&right).await);
        let file = noise(50 << 20, 1);
        let added = a.add(&file[..], AddOptions::default()).await.unwrap();
        b.connect(address(&a)).await.unwrap();
        let mut last = Progress::default();
        let report = b.pin(&added.cid, PinLimits::default(), |now| last = now).await.unwrap();
        assert_eq!(report.blocks, 200 + 2 + 1, "leaves, nodes, root");
        assert_eq!((last.blocks, last.bytes), (report.blocks, report.bytes));
        assert_eq!(a.pinned(&added.cid).await.unwrap(), Some(report.clone()), "both count alike");
        assert!(b.read(&added.cid, u64::MAX).await.unwrap() == file);
        let stats = b.stats().await.unwrap();
        assert_eq!((stats.blocks, stats.bytes, stats.pins), (report.blocks, report.bytes, 1));
        assert_eq!(
            (stats.received_blocks, stats.unwanted_blocks),
            (report.blocks, 0),
            "each block came once"
        );
        a.stop().await;
        b.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_pin_that_waits_resumes_when_its_peer_comes_back() {
    within(async {
        let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let a = node(&left).await;
        let added = a.add(&noise(3 << 20, 2)[..], AddOptions::default()).await.unwrap();
        let at = address(&a);
        a.stop().await;
        let b = node(&right).await;
        b.keep(at.clone()).await.unwrap();
        let waiting = tokio::spawn({
            let b = b.clone();
            async move { b.pin(&added.cid, PinLimits::default(), |_| {}).await }
        });
        // The same key and port again.
        let mut again = config(&left);
        again.listen = vec![at.iter().take(2).collect()];
        let a = embedded_ipfs::Node::start(again).await.unwrap();
        assert_eq!(address(&a), at);
        waiting.await.unwrap().unwrap();
        a.stop().await;
        until(|| b.peers().is_empty()).await;
        assert!(matches!(b.connect(at).await, Err(Error::Unreachable(_))));
        b.stop().await;
    })
    .await;
}
