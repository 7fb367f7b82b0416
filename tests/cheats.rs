//! Hosters that cheat are found, with evidence that verifies, and are not paid: real nodes on a real chain, and between
//! the validators and an honest hoster somebody who changes its answers.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "cheats/liar.rs"]
mod liar;
mod support;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use cid::Cid;
use liar::{Liar, Lie};
use scatter::adapters::ethereum::signing::recover;
use scatter::cli::devnet::{Audience, Drive, Market, Offer, Options, Placed, Report, Story};
use scatter_actors::domain::audit::vote::Verdict;
use scatter_actors::domain::dag;
use scatter_actors::domain::evidence::verify::verify;
use scatter_actors::domain::market::{MarketEvent, Settlement};
use scatter_actors::domain::units::{Address, ByteSize, Wei};
use support::{not_run, root, tool};

/// A market whose validators ask the liar instead of the hoster.
struct Street {
    market: Market,
    liar: Liar,
    before: Vec<Wei>,
    out: tempfile::TempDir,
}

impl Street {
    async fn open(artifact: Option<&Path>) -> Option<Self> {
        let Some(anvil) = tool("anvil") else {
            not_run("Anvil", "tools/install anvil");
            return None;
        };
        let out = tempfile::tempdir().unwrap();
        let liar = Rc::new(RefCell::new(None));
        let mut options = Options::new(env!("CARGO_BIN_EXE_scatter"), out.path().join("report"));
        options.anvil = Some(anvil);
        options.artifact = artifact.map(|path| std::fs::read_to_string(path).unwrap());
        options.before_firewall = Some(Box::new({
            let liar = liar.clone();
            move |url| liar.borrow_mut().insert(Liar::before(url)).url()
        }));
        let market = Market::start(options, Story::new(Audience::Nobody)).await.unwrap();
        let liar = liar.take().unwrap();
        let mut before = Vec::new();
        for node in market.nodes() {
            before.push(market.purse(node).await.unwrap().0);
        }
        Some(Self { market, liar, before, out })
    }

    /// Has a bid hosted honestly, and lies from then on.
    async fn cheat(&mut self, size: u64, lie: impl FnOnce(&[Cid]) -> Lie) -> Report {
        let mut drive = Drive::default();
        let placed = self.market.place(&Offer::of(ByteSize(size))).await.unwrap();
        let is_pinned = |state: &scatter_actors::domain::market::BidState| state.pinned_at.is_some();
        self.market.carry_until(placed.id, &mut drive, &is_pinned).await.unwrap();
        self.liar.begin(lie(&self.leaves(&placed)));
        if let Err(fault) = self.market.carry(placed.id, &mut drive).await {
            let story = std::fs::read_to_string(self.out.path().join("report/logs/story.log"));
            panic!("{fault}\n{}", story.unwrap_or_default());
        }
        Report::of(&mut self.market, placed, &self.before).await.unwrap()
    }

    fn leaves(&self, placed: &Placed) -> Vec<Cid> {
        dag::links(&placed.cid, &self.liar.truth(&placed.cid)).unwrap()
    }
}

fn withdrawn(report: &Report, who: Address) -> Wei {
    report.entries.iter().fold(Wei::ZERO, |sum, entry| match entry.event {
        MarketEvent::Withdrawn { amount, to } if to == who => sum.plus(amount),
        _ => sum,
    })
}

/// Both validators voted invalid, each with evidence that stands for itself and for its vote.
fn assert_found_out(street: &Street, report: &Report) {
    let voters: Vec<_> = report.votes.iter().map(|vote| (vote.validator, vote.valid)).collect();
    let wanted: Vec<_> = street.market.validators().iter().map(|node| (node.address(), false)).collect();
    assert_eq!(voters, wanted);
    for vote in &report.votes {
        let file = vote.evidence.as_ref().expect("evidence");
        let document = std::fs::read(file).unwrap();
        let car = std::fs::read(file.with_extension("car")).ok();
        let found =
            verify(&document, car.as_deref(), &|message, signature| recover(message, signature)).unwrap();
        assert_eq!((found.verdict, found.validator), (Verdict::Invalid, vote.validator));
        let behind = report.entries.iter().find_map(|entry| match entry.event {
            MarketEvent::Voted { validator, .. } if validator == vote.validator => entry.evidence.clone(),
            _ => None,
        });
        assert_eq!(behind, Some(found.digest.to_string()), "the digest behind the vote");
    }
}

/// The hoster gets nothing, the bidder gets its money back.
fn assert_refunded(street: &mut Street, report: &Report) {
    assert_eq!(report.state.outcome, Some(Settlement::Failed));
    let hoster = street.market.hoster().address();
    assert_eq!(withdrawn(report, hoster), Wei::ZERO);
    assert_eq!(withdrawn(report, street.market.bidder().address()), report.state.terms.amount);
    let odd: Vec<_> = report.untrue().into_iter().filter(|what| what.contains("balance")).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[actix_rt::test]
async fn a_hoster_that_drops_the_content_after_pinned_is_found_and_not_paid() {
    let Some(mut street) = Street::open(None).await else { return };
    let report = street.cheat(1 << 20, |_| Lie::Dropped).await;
    assert_found_out(&street, &report);
    assert_refunded(&mut street, &report);
    street.market.end().await;
}

#[actix_rt::test]
async fn a_hoster_that_loses_a_single_middle_block_is_found_and_not_paid() {
    let Some(mut street) = Street::open(None).await else { return };
    // More blocks than one slot asks for: most slots find it, none by design.
    let report = street.cheat(24 << 20, |leaves| Lie::Lost(leaves[leaves.len() / 2])).await;
    assert_found_out(&street, &report);
    assert_refunded(&mut street, &report);
    street.market.end().await;
}

#[actix_rt::test]
async fn a_hoster_that_serves_a_flipped_byte_is_found_and_not_paid() {
    let Some(mut street) = Street::open(None).await else { return };
    let report = street.cheat(1 << 20, |leaves| Lie::Flipped(leaves[1])).await;
    assert_found_out(&street, &report);
    assert_refunded(&mut street, &report);
    street.market.end().await;
}

#[actix_rt::test]
async fn on_a_market_that_pays_at_each_vote_nobody_is_paid_twice() {
    let artifact = root().join("contracts/artifacts/test/TrapMarket.json");
    let Some(mut street) = Street::open(Some(&artifact)).await else { return };
    let report = street.cheat(1 << 20, |_| Lie::Dropped).await;
    assert_found_out(&street, &report);
    let hoster = street.market.hoster().address();
    assert_eq!(withdrawn(&report, hoster), Wei::ZERO);
    for node in street.market.nodes() {
        let votes = report.entries.iter().filter(|e| e.by == node.address() && e.call.ends_with("validate"));
        assert!(votes.count() <= 1, "{} voted twice", node.name());
    }
    let paid =
        street.market.nodes().fold(Wei::ZERO, |sum, node| sum.plus(withdrawn(&report, node.address())));
    assert!(paid <= report.state.terms.amount.plus(report.state.terms.pool), "{paid}");
    street.market.end().await;
}
