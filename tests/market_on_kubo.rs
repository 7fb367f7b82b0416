//! The whole market with a real Kubo daemon beside each node.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::path::Path;

use cid::Cid;
use rustix::process::{kill_process_group, Signal};
use scatter::cli::devnet::{Audience, Audit, Drive, Kind, Kubo, Market, Node, Offer, Options, Report, Story};
use scatter_actors::domain::audit::slot::{Answer, Purpose};
use scatter_actors::domain::market::MarketEvent;
use scatter_actors::domain::units::{ByteSize, Wei};
use support::member::{ipfs, ROUNDS};
use support::{eventually, not_run, tool};

/// A market, and what everybody owned before.
struct Street {
    market: Market,
    before: Vec<Wei>,
    drive: Drive,
    out: tempfile::TempDir,
}

impl Street {
    async fn open() -> Option<Self> {
        ipfs()?;
        let Some(anvil) = tool("anvil") else {
            not_run("Anvil", "tools/install anvil");
            return None;
        };
        let out = tempfile::tempdir().unwrap();
        let mut options = Options::new(env!("CARGO_BIN_EXE_scatter"), out.path().join("report"));
        options.anvil = Some(anvil);
        options.ipfs = Kind::Kubo;
        let market = Market::start(options, Story::new(Audience::Nobody)).await.unwrap();
        let mut before = Vec::new();
        for node in market.nodes() {
            before.push(market.purse(node).await.unwrap().0);
        }
        Some(Self { market, before, drive: Drive::default(), out })
    }

    /// Carries a bid until that has happened, or to its end.
    async fn carry(
        &mut self,
        placed: &scatter::cli::devnet::Placed,
        until: Option<fn(&MarketEvent) -> bool>,
    ) {
        let carried = match until {
            Some(event) => self.market.carry_until(placed.id, &mut self.drive, &event).await,
            None => self.market.carry(placed.id, &mut self.drive).await,
        };
        if let Err(fault) = carried {
            let report = self.out.path().join("report/logs");
            let said = |log: &str| std::fs::read_to_string(report.join(log)).unwrap_or_default();
            panic!("{fault}\n{}\n{}\n{}", said("story.log"), said("hoster.log"), said("hoster-ipfs.log"));
        }
    }

    /// Everything of the report is true, on chain and on the disks.
    async fn assert_paid(mut self, placed: scatter::cli::devnet::Placed) {
        let mut report = Report::of(&mut self.market, placed, &self.before).await.unwrap();
        self.market.end_nodes().await;
        report.look_at_disk(&mut self.market).await.unwrap();
        assert_eq!(report.untrue(), Vec::<&str>::new());
        assert_eq!(report.outcome(), "paid");
        self.market.end().await;
    }
}

fn kubo(node: &mut Node) -> &mut Kubo {
    node.kubo().expect("a Kubo of its own")
}

async fn is_pinned(node: &mut Node, root: &Cid) -> bool {
    kubo(node).run(&["pin", "ls", "--type=recursive", "--quiet", &root.to_string()]).await.is_ok()
}

/// Bytes that a Kubo had from, and gave to, another by bitswap.
async fn exchanged(node: &mut Node, with: &str) -> (u64, u64) {
    let peer = with.rsplit('/').next().unwrap();
    let ledger: serde_json::Value =
        serde_json::from_str(&kubo(node).run(&["bitswap", "ledger", "--enc=json", peer]).await.unwrap())
            .unwrap();
    (ledger["Recv"].as_u64().unwrap(), ledger["Sent"].as_u64().unwrap())
}

#[actix_rt::test]
async fn with_a_kubo_each_a_bid_is_pinned_by_bitswap_audited_through_the_firewall_and_paid() {
    let Some(mut street) = Street::open().await else { return };
    let size = 4 << 20;
    let placed = street.market.place(&Offer::of(ByteSize(size))).await.unwrap();
    street.carry(&placed, Some(|event| matches!(event, MarketEvent::Pinned { .. }))).await;
    let bidder = street.market.bidder().backend().multiaddr();
    let hoster = street.market.hoster();
    assert!(is_pinned(hoster, &placed.cid).await, "the hoster announced a pin that its Kubo does not have");
    let (received, _) = exchanged(hoster, &bidder).await;
    assert!(received >= size, "the hoster's Kubo had {received} bytes from the bidder's");
    street.carry(&placed, None).await;
    for node in street.market.validators() {
        let audit = Audit::of(node, placed.id).unwrap();
        let asked: Vec<_> = audit.slots.iter().flat_map(|slot| slot.asked()).collect();
        let leaves: Vec<_> = asked.iter().filter(|asked| asked.purpose == Purpose::Leaf).collect();
        assert!(!leaves.is_empty(), "{}: {audit:?}", node.name());
        for leaf in leaves {
            assert!(matches!(leaf.answer, Answer::Right { .. }), "{}: {leaf:?}", node.name());
        }
    }
    street.assert_paid(placed).await;
}

/// How many blocks lie in a repository, whole ones.
fn blocks(directory: &Path) -> usize {
    let shards = std::fs::read_dir(directory).unwrap().flatten();
    let files = shards.filter_map(|shard| std::fs::read_dir(shard.path()).ok()).flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|kind| kind == "data")).count()
}

fn signal(node: &mut Node, signal: Signal) {
    let group = kubo(node).child().expect("a running Kubo").pid();
    kill_process_group(group, signal).unwrap();
}

#[actix_rt::test]
async fn the_hosters_kubo_killed_in_mid_fetch_and_started_again_fetches_on_and_the_bid_is_paid() {
    let Some(mut street) = Street::open().await else { return };
    let placed = street.market.place(&Offer::of(ByteSize(64 << 20))).await.unwrap();
    // The bidder's Kubo stands still until somebody wants its content.
    signal(street.market.bidder_mut(), Signal::STOP);
    street.carry(&placed, Some(|event| matches!(event, MarketEvent::Accepted { .. }))).await;
    let directory = kubo(street.market.hoster()).blocks();
    let begin = blocks(&directory);
    signal(street.market.bidder_mut(), Signal::CONT);
    eventually("the first blocks", ROUNDS, || (blocks(&directory) > begin + 8).then_some(()));
    kubo(street.market.hoster()).kill();
    signal(street.market.bidder_mut(), Signal::STOP);
    let came = blocks(&directory) - begin;
    assert!(came < 256, "the fetch was over before the kill");
    assert!(!is_pinned(street.market.hoster(), &placed.cid).await, "nothing is pinned half");
    kubo(street.market.hoster()).start().unwrap();
    kubo(street.market.hoster()).is_ready().await.unwrap();
    signal(street.market.bidder_mut(), Signal::CONT);
    street.carry(&placed, Some(|event| matches!(event, MarketEvent::Pinned { .. }))).await;
    assert!(is_pinned(street.market.hoster(), &placed.cid).await);
    street.carry(&placed, None).await;
    street.assert_paid(placed).await;
}
