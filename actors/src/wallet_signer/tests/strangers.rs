//! A key that somebody else uses, too; and what is lost on the way to a block.

use super::*;
use crate::testkit::chain::Tx;

fn foreign(nonce: u64) -> Tx {
    let fees = crate::ports::keys::Fees {
        max_fee: Wei::from(9_000_000_000),
        max_tip: Some(Wei::from(1_000_000_000)),
    };
    Tx { from: ME, chain: CHAIN, nonce, gas_limit: 21_000, fees, call: MarketCall::NoOp, on: None }
}

#[actix_rt::test]
async fn a_nonce_that_a_stranger_took_is_given_up_only_when_that_is_final() {
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    let mut foreign = rig.chain.pool().remove(0);
    foreign.call = MarketCall::NoOp;
    rig.chain.inject(foreign);
    rig.blocks(5).await;
    assert_eq!(rig.state("accept:1"), IntentState::InFlight { nonce: 0 });
    rig.blocks(10).await;
    assert_eq!(rig.results("accept:1"), [Abandonment::NonceTaken.to_string()]);
    rig.accept(2);
    rig.blocks(2).await;
    assert_eq!(rig.mined().last(), Some(&(1, accept(2))));
}

#[actix_rt::test]
async fn what_an_account_did_before_this_store_knew_it_is_nobodys_business() {
    let mut rig = Rig::new();
    for nonce in 0..3 {
        rig.chain.inject(foreign(nonce));
    }
    rig.chain.mine();
    rig.start();
    rig.accept(1);
    rig.blocks(15).await;
    assert_eq!(rig.mined().last(), Some(&(3, accept(1))));
    assert_eq!((rig.status().await.foreign_nonces, rig.alerts().await), (0, vec![]));
}

#[actix_rt::test]
async fn a_key_that_somebody_else_uses_is_noticed_counted_and_told() {
    let mut rig = Rig::started();
    rig.accept(1);
    rig.blocks(15).await;
    assert_eq!(rig.alerts().await, [] as [&str; 0]);
    // First it waits in the mempool, then it is mined.
    rig.chain.inject(foreign(1));
    rig.pass(130).await;
    assert!(rig.alerts().await.contains(&"mempool"), "{:?}", rig.alerts().await);
    rig.chain.inject(foreign(2));
    rig.blocks(2).await;
    let status = rig.status().await;
    assert_eq!(status.foreign_nonces, 2, "{:?}", status.alerts);
    let told = status.alerts.iter().find(|alert| alert.about == "foreign").unwrap();
    assert!(told.what.contains("somebody else"), "{told:?}");
    rig.accept(2);
    rig.blocks(15).await;
    assert_eq!(rig.mined().last(), Some(&(3, accept(2))), "the wallet goes on behind them");
    rig.restart().await;
    rig.pass(5).await;
    assert_eq!(rig.status().await.foreign_nonces, 2, "the count is durable");
}

#[actix_rt::test]
async fn a_transaction_that_would_revert_by_now_gives_its_nonce_away_before_it_costs_more() {
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    rig.chain.evict();
    // Somebody else is faster, and the mempool has forgotten ours.
    let mut other = foreign(0);
    (other.from, other.call, other.gas_limit) = (Address([0x22; 20]), accept(1), 150_000);
    rig.chain.inject(other);
    rig.chain.mine();
    rig.pass(120).await;
    let waiting: Vec<MarketCall> = rig.chain.pool().into_iter().map(|tx| tx.call).collect();
    assert_eq!(waiting, [MarketCall::NoOp]);
    rig.blocks(5).await;
    assert_eq!(rig.results("accept:1"), ["it would revert: accepted before"]);
}

#[actix_rt::test]
async fn the_stages_of_a_transaction_are_visible() {
    use crate::domain::wallet::stage::Stage;
    let rig = Rig::started();
    rig.chain.trouble(|method| (method == "submit").then_some(crate::testkit::chain::Trouble::Lost));
    rig.accept(1);
    rig.pass(1).await;
    let stage = || async { rig.status().await.pending.first().map(|pending| pending.stage.clone()) };
    assert_eq!(stage().await, Some(Stage::Signed));
    rig.chain.heal();
    rig.pass(11).await;
    assert_eq!(stage().await, Some(Stage::Sent));
    rig.blocks(1).await;
    assert_eq!(stage().await, Some(Stage::Mined));
    rig.blocks(3).await;
    assert_eq!(stage().await, Some(Stage::Confirmed));
    rig.blocks(12).await;
    assert_eq!(stage().await, None);
    let shown = serde_json::to_value(Stage::Sent).unwrap();
    assert_eq!(shown, serde_json::json!({"stage": "sent"}));
}
