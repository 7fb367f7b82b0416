//! What a person orders: cancel, and bump.

use super::*;
use crate::records::wallet::instructions;

impl Rig {
    pub(super) async fn cancel(&self, key: &str) -> Result<Cancelled, Refusal> {
        self.wallet.as_ref().unwrap().send(CancelIntent { key: IntentKey(key.into()) }).await.unwrap()
    }
    pub(super) async fn bump(&self, key: &str, attempt: Option<u32>) -> Result<Bumped, Refusal> {
        self.wallet.as_ref().unwrap().send(BumpIntent { key: IntentKey(key.into()), attempt }).await.unwrap()
    }
}

fn key(key: &str) -> IntentKey {
    IntentKey(key.into())
}

const CANCELLED: &str = "the operator cancelled it";

#[actix_rt::test]
async fn a_queued_intent_that_is_cancelled_is_never_sent() {
    let mut rig = Rig::with(|config| config.in_flight = 1);
    rig.start();
    rig.accept(1);
    rig.accept(2);
    rig.pass(5).await;
    assert_eq!(rig.state("accept:2"), IntentState::Queued);
    for _ in 0..2 {
        assert_eq!(rig.cancel("accept:2").await, Ok(Cancelled::Done));
    }
    rig.restart().await;
    rig.blocks(15).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
    assert_eq!(rig.results("accept:2"), [CANCELLED]);
    assert_eq!(rig.cancel("accept:2").await, Ok(Cancelled::Done));
}

#[actix_rt::test]
async fn an_intent_cancelled_while_the_chain_is_asked_about_it_gets_no_nonce() {
    let rig = Rig::started();
    rig.pass(1).await;
    rig.accept(1);
    // The round waits for its first answers when the order comes.
    tokio::task::yield_now().await;
    assert_eq!(rig.cancel("accept:1").await, Ok(Cancelled::Done));
    rig.blocks(5).await;
    assert_eq!(rig.chain.handed_over(), []);
    assert_eq!(rig.results("accept:1"), [CANCELLED]);
}

#[actix_rt::test]
async fn a_cancelled_transaction_gives_its_nonce_to_a_transfer_of_nothing_that_pays_a_tenth_more() {
    let rig = Rig::started();
    rig.accept(1);
    rig.accept(2);
    rig.pass(5).await;
    let offered = rig.chain.pool()[0].fees;
    for _ in 0..3 {
        assert_eq!(rig.cancel("accept:1").await, Ok(Cancelled::UnderWay { nonce: 0 }));
    }
    rig.pass(2).await;
    let held = rig.chain.pool().remove(0);
    assert_eq!(held.call, MarketCall::NoOp);
    assert!(held.fees.max_fee.times(100) >= offered.max_fee.times(110));
    assert_eq!(rig.status().await.counts.replaced, 1, "the same order thrice is one");
    rig.blocks(15).await;
    assert_eq!(rig.mined(), [(0, MarketCall::NoOp), (1, accept(2))]);
    assert_eq!(rig.results("accept:1"), [CANCELLED]);
    assert_eq!(rig.cancel("accept:1").await, Ok(Cancelled::Done));
    assert_eq!(instructions(rig.store.as_ref()).unwrap(), []);
}

#[actix_rt::test]
async fn an_order_outlives_the_process_that_heard_it() {
    let mut rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    rig.chain.trouble(|_| Some(crate::testkit::chain::Trouble::Lost));
    assert_eq!(rig.cancel("accept:1").await, Ok(Cancelled::UnderWay { nonce: 0 }));
    rig.pass(5).await;
    rig.kill().await;
    rig.chain.heal();
    rig.start();
    rig.blocks(5).await;
    assert_eq!(rig.mined(), [(0, MarketCall::NoOp)]);
    assert_eq!(rig.results("accept:1"), [CANCELLED]);
}

#[actix_rt::test]
async fn a_cancelled_transaction_that_is_mined_all_the_same_counts_as_mined() {
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    let original = rig.chain.pool().remove(0);
    assert_eq!(rig.cancel("accept:1").await, Ok(Cancelled::UnderWay { nonce: 0 }));
    rig.pass(5).await;
    rig.chain.inject(original);
    rig.blocks(5).await;
    assert_eq!(rig.results("accept:1"), ["mined"]);
    let refused = Refusal::Mined { key: key("accept:1"), nonce: 0 };
    assert_eq!(rig.cancel("accept:1").await, Err(refused));
    rig.blocks(15).await;
    assert_eq!(rig.cancel("accept:1").await, Err(Refusal::Over { key: key("accept:1") }));
    assert_eq!(instructions(rig.store.as_ref()).unwrap(), []);
}

#[actix_rt::test]
async fn a_bumped_transaction_pays_a_tenth_more_at_once_and_only_once() {
    let rig = Rig::started();
    rig.accept(1);
    rig.accept(2);
    rig.pass(5).await;
    let offered = rig.chain.pool()[1].fees;
    // Even one that waits behind another.
    assert_eq!(rig.bump("accept:2", Some(0)).await, Ok(Bumped::UnderWay { nonce: 1, attempt: 0 }));
    rig.pass(2).await;
    assert_eq!(rig.bump("accept:2", Some(0)).await, Ok(Bumped::Done { nonce: 1, attempt: 1 }));
    rig.pass(20).await;
    let paid = rig.chain.pool()[1].fees;
    assert!(paid.max_fee.times(100) >= offered.max_fee.times(110));
    assert_eq!(rig.status().await.counts.replaced, 1);
    assert_eq!(rig.bump("accept:2", None).await, Ok(Bumped::UnderWay { nonce: 1, attempt: 1 }));
    rig.blocks(15).await;
    assert_eq!(rig.status().await.counts.replaced, 2);
    assert_eq!(rig.mined(), [(0, accept(1)), (1, accept(2))]);
    assert_eq!(instructions(rig.store.as_ref()).unwrap(), []);
}

#[actix_rt::test]
async fn an_order_that_cannot_be_carried_out_is_refused_in_a_typed_answer() {
    let mut rig = Rig::with(|config| {
        config.in_flight = 1;
        config.max_fee_per_gas = Wei::from(2_100_000_000);
    });
    rig.start();
    rig.accept(1);
    rig.accept(2);
    rig.pass(5).await;
    let (first, second, other) = (key("accept:1"), key("accept:2"), key("accept:3"));
    assert_eq!(rig.cancel("accept:3").await, Err(Refusal::Unknown { key: other.clone() }));
    assert_eq!(rig.bump("accept:3", None).await, Err(Refusal::Unknown { key: other }));
    assert_eq!(rig.bump("accept:2", None).await, Err(Refusal::Queued { key: second }));
    let refused = Refusal::AtCeiling { key: first.clone(), nonce: 0 };
    assert_eq!(rig.bump("accept:1", None).await, Err(refused));
    rig.blocks(5).await;
    assert_eq!(rig.bump("accept:1", None).await, Err(Refusal::Mined { key: first.clone(), nonce: 0 }));
    rig.blocks(15).await;
    assert_eq!(rig.bump("accept:1", None).await, Err(Refusal::Over { key: first }));
}
