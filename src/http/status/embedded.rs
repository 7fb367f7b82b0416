//! What the IPFS node inside the process counts, for `/metrics`.

use std::rc::Rc;
use std::time::UNIX_EPOCH;

use embedded_ipfs::{Node, Stats};
use futures::FutureExt;

use super::actor::Counting;
use crate::http::metrics::{Kind, Page};

/// Asks a node for its counters each time that somebody wants to see them.
pub fn counting(node: Node) -> Counting {
    Rc::new(move || {
        let node = node.clone();
        async move {
            match node.stats().await {
                Ok(stats) => Some(Rc::new(move |page: &mut Page| metrics(&stats, page)) as _),
                Err(error) => {
                    tracing::warn!(%error, "the embedded ipfs node did not tell its counters");
                    None
                }
            }
        }
        .boxed_local()
    })
}

fn metrics(stats: &Stats, page: &mut Page) {
    use Kind::{Counter, Gauge};
    let mut single = |name: &str, kind, help: &str, value: u64| page.single(name, kind, help, value as f64);
    single("scatter_ipfs_blocks", Gauge, "Blocks in the embedded node's store.", stats.blocks);
    let help = "Bytes that the embedded node's store takes on disk.";
    single("scatter_ipfs_disk_bytes", Gauge, help, stats.disk_bytes);
    let help = "Blocks found damaged on disk; each was dropped and is asked for again.";
    single("scatter_ipfs_damaged_blocks_total", Counter, help, stats.damaged_blocks);
    let help = "Blocks that were read to see whether they are whole.";
    single("scatter_ipfs_verified_blocks_total", Counter, help, stats.verified_blocks);
    if let Some(ended) = stats.last_verified.and_then(|ended| ended.duration_since(UNIX_EPOCH).ok()) {
        let help = "When everything in the store had been read last, in seconds since 1970.";
        single("scatter_ipfs_verified_timestamp_seconds", Gauge, help, ended.as_secs());
    }
    single("scatter_ipfs_peers", Gauge, "Connected peers.", stats.peers);
    single("scatter_ipfs_dht_peers", Gauge, "Peers in the hash tables' routing tables.", stats.dht_peers);
    let help = "Connections that others wanted and that were not let in.";
    single("scatter_ipfs_refused_connections_total", Counter, help, stats.refused_connections);
    single("scatter_ipfs_failed_dials_total", Counter, "Dials that failed.", stats.failed_dials);
    single("scatter_ipfs_wants", Gauge, "Blocks that this node waits for.", stats.wants);
    let help = "Blocks that had been asked for and came.";
    single("scatter_ipfs_received_blocks_total", Counter, help, stats.received_blocks);
    single("scatter_ipfs_received_bytes_total", Counter, "Their bytes.", stats.received_bytes);
    single("scatter_ipfs_sent_blocks_total", Counter, "Blocks sent to peers.", stats.sent_blocks);
    single("scatter_ipfs_sent_bytes_total", Counter, "Their bytes.", stats.sent_bytes);
    let help = "Blocks that came and that nobody waited for.";
    single("scatter_ipfs_unwanted_blocks_total", Counter, help, stats.unwanted_blocks);
    let help = "Peers that were left because they kept breaking bitswap's rules; the log says which.";
    single("scatter_ipfs_left_peers_total", Counter, help, stats.left_peers);

    let labelled = |label: &'static str, counts: &[(&'static str, u64)]| -> Vec<_> {
        counts.iter().map(|(name, count)| (vec![(label, *name)], *count as f64)).collect()
    };
    let connections = [("in", stats.inbound_connections), ("out", stats.outbound_connections)];
    let help = "Connections that stand, by who made them.";
    page.family("scatter_ipfs_connections", Gauge, help, labelled("direction", &connections));
    let breaches = [
        ("unasked_block", stats.breaches.unasked_blocks),
        ("senseless_block", stats.breaches.senseless_blocks),
        ("unasked_presence", stats.breaches.unasked_presences),
        ("excess_want", stats.breaches.excess_wants),
        ("empty_message", stats.breaches.empty_messages),
        ("oversize_message", stats.breaches.oversize_messages),
        ("malformed_message", stats.breaches.malformed_messages),
        ("stalled_message", stats.breaches.stalled_messages),
        ("excess_stream", stats.breaches.excess_streams),
    ];
    let help = "What peers did against the rules of bitswap; an honest one does now and then.";
    page.family("scatter_ipfs_breaches_total", Counter, help, labelled("rule", &breaches));
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_ipfs::Config;
    use scatter_actors::domain::cids::RAW;

    async fn node(dir: &tempfile::TempDir) -> Node {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        Node::start(Config { listen, ..Config::new(dir.path()) }).await.unwrap()
    }

    async fn page(node: &Node) -> String {
        let gauge = counting(node.clone())().await.unwrap();
        let mut page = Page::new();
        gauge(&mut page);
        page.into_text()
    }

    #[actix_rt::test]
    async fn a_block_that_went_from_node_to_node_is_counted_on_either_side() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (node(&first).await, node(&second).await);
        let cid = a.put(RAW, b"twelve bytes".to_vec()).await.unwrap();
        b.connect(a.addrs().remove(0)).await.unwrap();
        assert_eq!(&b.get(&cid).await.unwrap()[..], b"twelve bytes");
        let told = page(&b).await;
        for line in [
            "scatter_ipfs_blocks 1",
            "scatter_ipfs_peers 1",
            "scatter_ipfs_connections{direction=\"out\"} 1",
            "scatter_ipfs_received_blocks_total 1",
            "scatter_ipfs_received_bytes_total 12",
            "scatter_ipfs_damaged_blocks_total 0",
            "scatter_ipfs_breaches_total{rule=\"unasked_block\"} 0",
        ] {
            assert!(told.lines().any(|found| found == line), "{line} is missing in\n{told}");
        }
        let told = page(&a).await;
        for line in ["scatter_ipfs_sent_blocks_total 1", "scatter_ipfs_connections{direction=\"in\"} 1"] {
            assert!(told.lines().any(|found| found == line), "{line} is missing in\n{told}");
        }
        a.stop().await;
        assert!(counting(a)().await.is_none(), "a node that ended counts nothing");
        b.stop().await;
    }
}
