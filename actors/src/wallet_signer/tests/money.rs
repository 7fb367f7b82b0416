//! Caps, balances, the treasury, and whom the wallet refuses to work for.

use super::*;
use crate::domain::market::BidKey;
use crate::records::meta::Account;

/// What one accept may cost at most at these tests' prices: 150,000 gas at 2.1 gwei.
const WORST: u128 = 150_000 * 2_100_000_000;

#[actix_rt::test]
async fn the_days_cap_holds_over_restarts_and_frees_after_a_day() {
    let mut rig = Rig::with(|config| {
        config.max_spend_per_day = Wei::from(2 * WORST);
        config.poll_ms = 30_000;
    });
    rig.start();
    (1..=9).for_each(|bid| rig.accept(bid));
    for _ in 0..12 {
        rig.blocks(15).await;
        rig.restart().await;
    }
    let first_day = rig.mined().len();
    assert!((2..9).contains(&first_day), "{first_day}");
    assert!(rig.spent() <= Wei::from(2 * WORST));
    rig.pass(1).await;
    assert!(rig.alerts().await.contains(&"spend"));
    let status = rig.status().await;
    assert_eq!(status.spent_today, rig.spent());
    rig.pass(86_400).await;
    rig.blocks(15).await;
    assert!(rig.mined().len() > first_day);
}

#[actix_rt::test]
async fn what_costs_more_than_a_transaction_may_is_given_up() {
    let mut rig = Rig::with(|config| config.max_spend_per_tx = Wei::from(WORST - 1));
    rig.start();
    rig.accept(1);
    rig.pass(5).await;
    assert_eq!(rig.chain.handed_over(), []);
    assert_eq!(rig.results("accept:1"), [format!("it is over the spend cap: it may cost {WORST} wei")]);
}

#[actix_rt::test]
async fn nothing_new_is_sent_while_gas_costs_more_than_the_ceiling() {
    let rig = Rig::started();
    rig.chain.set_base_fee(101_000_000_000);
    rig.accept(1);
    rig.pass(20).await;
    assert_eq!(rig.chain.handed_over(), []);
    assert!(rig.alerts().await.contains(&"fees"));
    rig.chain.set_base_fee(1_000_000_000);
    rig.pass(40).await;
    assert_eq!(rig.chain.pool().len(), 1);
    assert_eq!(rig.alerts().await, [] as [&str; 0]);
}

#[actix_rt::test]
async fn an_empty_account_waits_for_its_refill() {
    let rig = Rig::started();
    rig.chain.set_broke(true);
    rig.accept(1);
    rig.pass(20).await;
    assert!(rig.alerts().await.contains(&"balance"));
    assert_eq!(rig.state("accept:1"), IntentState::Queued);
    rig.chain.set_broke(false);
    rig.pass(40).await;
    rig.blocks(4).await;
    assert_eq!(rig.results("accept:1"), ["mined"]);
}

#[actix_rt::test]
async fn an_account_that_empties_in_flight_keeps_its_nonce_until_the_refill() {
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    rig.chain.evict();
    rig.chain.set_broke(true);
    rig.pass(200).await;
    assert!(rig.alerts().await.contains(&"send"));
    assert_eq!(rig.state("accept:1"), IntentState::InFlight { nonce: 0 });
    rig.chain.set_broke(false);
    rig.pass(60).await;
    rig.blocks(4).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
}

#[actix_rt::test]
async fn below_the_floor_only_withdrawals_are_sent() {
    let mut rig = Rig::with(|config| {
        config.balance_floor = Wei::from(11 * OWED);
        config.auto_withdraw = true;
    });
    rig.chain.owe(OWED);
    rig.accept(1);
    rig.start();
    rig.pass(5).await;
    assert_eq!(rig.chain.pool().iter().map(|tx| tx.call.clone()).collect::<Vec<_>>(), [MarketCall::Withdraw]);
    assert!(rig.alerts().await.contains(&"balance"));
}

#[actix_rt::test]
async fn credit_is_withdrawn_once_when_it_is_worth_it() {
    let mut rig = Rig::with(|config| config.auto_withdraw = true);
    rig.chain.owe(9_000_000_000_000_000);
    rig.start();
    rig.blocks(10).await;
    assert_eq!(rig.mined(), [], "too little");
    rig.chain.owe(OWED);
    let bid = BidKey { market: MARKET, id: BidId(1) };
    rig.wallet.as_ref().unwrap().do_send(Settled { bid });
    rig.blocks(30).await;
    assert_eq!(rig.mined(), [(0, MarketCall::Withdraw)]);
    let key = format!("withdraw:{MARKET}:{ME}:0");
    assert_eq!((rig.results(&key), rig.state(&key)), (vec!["mined".to_owned()], IntentState::Done));
    rig.chain.owe(2 * OWED);
    rig.blocks(10).await;
    assert_eq!(rig.mined(), [(0, MarketCall::Withdraw), (1, MarketCall::Withdraw)]);
}

#[actix_rt::test]
async fn an_operator_may_withdraw_less_than_the_least_but_never_nothing() {
    let rig = Rig::started();
    rig.wallet.as_ref().unwrap().do_send(Withdraw);
    rig.blocks(2).await;
    assert_eq!(rig.mined(), []);
    rig.chain.owe(1);
    rig.blocks(10).await;
    assert_eq!(rig.mined(), [], "it is not automatic here");
    rig.wallet.as_ref().unwrap().do_send(Withdraw);
    rig.blocks(2).await;
    assert_eq!(rig.mined(), [(0, MarketCall::Withdraw)]);
}

#[actix_rt::test]
async fn a_wallet_sends_nothing_for_another_chain_another_account_or_a_rewritten_chain() {
    let halted = |rig: &Rig| rig.store.commit(chain_status(Some("block 7"))).unwrap();
    let stranger = |rig: &Rig| {
        let mut batch = Batch::new();
        batch.put(&Account { address: Address([0x22; 20]) });
        rig.store.commit(batch).unwrap();
    };
    let elsewhere = |rig: &mut Rig| rig.chain = Rc::new(FakeChain::new(1, Box::new(rule)));
    tokio::time::pause();
    for case in 0..3 {
        let mut rig = Rig::another();
        match case {
            0 => halted(&rig),
            1 => stranger(&rig),
            _ => elsewhere(&mut rig),
        }
        rig.accept(1);
        rig.start();
        rig.pass(60).await;
        assert_eq!(rig.chain.handed_over(), [], "{case}");
        assert_eq!(rig.alerts().await, ["round"], "{case}");
        assert_eq!(rig.state("accept:1"), IntentState::Queued, "{case}");
    }
}

#[actix_rt::test]
async fn the_status_names_what_is_pending() {
    let rig = Rig::started();
    rig.accept(1);
    rig.accept(2);
    rig.pass(5).await;
    let status = rig.status().await;
    let pending: Vec<_> = status.pending.iter().map(|p| (p.nonce, p.confirmed, p.attempts)).collect();
    assert_eq!((status.nonce, status.queued, pending), (2, 0, vec![(0, false, 1), (1, false, 1)]));
    assert_eq!(status.counted_today, Wei::from(2 * WORST));
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["balance"], "10000000000000000000");
    assert_eq!(json["pending"][0]["intent"], "accept:1");
}
