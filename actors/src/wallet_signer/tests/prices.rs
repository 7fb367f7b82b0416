//! What transactions pay: replacement, ceilings, deadlines, and chains without EIP-1559.

use std::collections::BTreeSet;

use super::*;
use crate::ports::keys::{self, Keys, Unsigned};
use crate::testkit::chain::Tx;

const GWEI: u128 = 1_000_000_000;

#[actix_rt::test]
async fn a_stuck_transaction_is_outbid_at_the_same_nonce() {
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    let offered = rig.chain.pool()[0].fees;
    // The base fee doubles and more: the offer is too low.
    rig.chain.set_base_fee(3 * GWEI);
    rig.blocks(4).await;
    assert_eq!(rig.mined(), []);
    rig.blocks(2).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
    let paid = rig.chain.mined()[0].tx.fees;
    assert!(paid.max_fee.times(100) >= offered.max_fee.times(110));
    rig.blocks(4).await;
    assert_eq!(rig.results("accept:1"), ["mined"]);
}

#[actix_rt::test]
async fn the_old_hash_may_be_mined_after_a_replacement() {
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    let old = rig.chain.pool().remove(0);
    rig.pass(70).await;
    assert_ne!(rig.chain.pool()[0], old, "it was replaced");
    rig.chain.inject(old.clone());
    rig.blocks(5).await;
    assert_eq!(rig.chain.mined()[0].tx, old);
    assert_eq!(rig.results("accept:1"), ["mined"]);
}

#[actix_rt::test]
async fn at_the_ceiling_the_same_bytes_go_out_again_and_again() {
    let mut rig = Rig::with(|config| config.max_fee_per_gas = Wei::from(3 * GWEI));
    rig.start();
    rig.accept(1);
    rig.pass(5).await;
    rig.chain.set_base_fee(20 * GWEI);
    for _ in 0..100 {
        rig.blocks(1).await;
        if rig.chain.pool().is_empty() {
            break;
        }
    }
    let handed_over = rig.chain.handed_over();
    let distinct: BTreeSet<_> = handed_over.iter().collect();
    assert!(rig.chain.pool()[0].fees.max_fee <= Wei::from(3 * GWEI));
    assert!(distinct.len() <= 5 && handed_over.len() > 20, "{} of {}", distinct.len(), handed_over.len());
    assert!(rig.alerts().await.contains(&"ceiling"));
    rig.chain.set_base_fee(GWEI);
    rig.blocks(5).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
}

#[actix_rt::test]
async fn a_provider_that_wants_a_tenth_more_gets_it() {
    let rig = Rig::started();
    // A forgotten transaction of ours holds nonce 0 in the mempool.
    let fees = crate::ports::keys::Fees { max_fee: Wei::from(3 * GWEI), max_tip: Some(Wei::from(GWEI)) };
    let forgotten =
        Tx { from: ME, chain: CHAIN, nonce: 0, gas_limit: 21_000, fees, call: MarketCall::NoOp, on: None };
    rig.chain.inject(forgotten);
    rig.accept(1);
    rig.pass(120).await;
    rig.blocks(5).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
}

/// A transaction at nonce 0 that pays that many gwei in all, a tenth of it as a tip.
fn paying(gwei: u128) -> Unsigned {
    let fees = keys::Fees { max_fee: Wei::from(gwei * GWEI), max_tip: Some(Wei::from(gwei * GWEI / 10)) };
    let call = MarketCall::Withdraw;
    Unsigned { chain: CHAIN, market: MARKET.address, nonce: 0, gas_limit: 150_000, fees, call }
}

#[actix_rt::test]
async fn a_chain_refuses_109_per_cent_and_takes_110_which_is_what_the_wallet_offers() {
    use crate::ports::chain::Chain as _;
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    let offered = rig.chain.pool()[0].fees;
    let of = |percent: u128| Unsigned {
        fees: keys::Fees {
            max_fee: offered.max_fee.times(percent as u64).divided_by(100),
            max_tip: offered.max_tip.map(|tip| tip.times(percent as u64).divided_by(100)),
        },
        ..paying(1)
    };
    let refused = rig.chain.submit(&FakeKeys(ME).sign(&of(109)).unwrap().raw).await.unwrap_err();
    assert!(refused.to_string().contains("replacement transaction underpriced"), "{refused}");
    rig.pass(60).await;
    let bumped = rig.chain.pool()[0].clone();
    assert_eq!((bumped.call, bumped.fees), (accept(1), of(110).fees));
}

#[actix_rt::test]
async fn at_the_ceiling_a_hundred_rounds_send_no_other_bytes() {
    let mut rig = Rig::with(|config| {
        config.max_fee_per_gas = Wei::from(2_200_000_000);
        config.bump_after_seconds = 10;
    });
    rig.start();
    rig.accept(1);
    rig.pass(5).await;
    rig.chain.set_base_fee(20 * GWEI);
    for _ in 0..100 {
        rig.blocks(1).await;
    }
    let handed_over = rig.chain.handed_over();
    let distinct: BTreeSet<_> = handed_over.iter().collect();
    assert_eq!(distinct.len(), 1, "no replacement fits below the ceiling");
    assert!(handed_over.len() >= 20, "the same bytes again: {}", handed_over.len());
    assert!(rig.alerts().await.contains(&"ceiling"));
    rig.chain.set_base_fee(GWEI);
    rig.blocks(5).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
}

/// How often a transaction of that deadline is replaced in two minutes in which nothing is mined, and what it pays.
async fn replaced(deadline: Option<u64>) -> (u64, Wei) {
    let mut rig = Rig::another();
    rig.start();
    let until = deadline.map(|seconds| ChainTime(1_700_000_000 + seconds));
    rig.accept_until(1, until);
    for _ in 0..10 {
        rig.pass(BLOCK_SECONDS).await;
        rig.chain.mine_empty(1);
    }
    rig.pass(5).await;
    (rig.status().await.counts.replaced, rig.chain.pool()[0].fees.max_fee)
}

#[actix_rt::test]
async fn the_nearer_the_deadline_the_more_urgent_the_replacements() {
    tokio::time::pause();
    let calm = replaced(None).await;
    let soon = replaced(Some(400)).await;
    let sooner = replaced(Some(150)).await;
    assert_eq!(replaced(Some(86_400)).await, calm);
    assert!(calm.0 < soon.0 || calm.1 <= soon.1, "{calm:?} {soon:?}");
    assert!(soon.0 < sooner.0 && soon.1 < sooner.1, "{soon:?} {sooner:?}");
}

#[actix_rt::test]
async fn without_eip_1559_transactions_name_one_price_and_are_outbid_by_a_tenth() {
    let mut rig = Rig::new();
    rig.chain.set_legacy();
    rig.start();
    rig.accept(1);
    rig.pass(5).await;
    let offered = rig.chain.pool()[0].fees;
    assert_eq!((offered.max_fee, offered.max_tip), (Wei::from(1_100_000_000), None));
    rig.pass(70).await;
    let dearer = rig.chain.pool()[0].fees;
    assert_eq!((dearer.max_fee, dearer.max_tip), (Wei::from(1_210_000_000), None));
    rig.blocks(15).await;
    assert_eq!((rig.mined(), rig.results("accept:1")), (vec![(0, accept(1))], vec!["mined".to_owned()]));
    assert_eq!(rig.status().await.spent_today, rig.spent());
}
