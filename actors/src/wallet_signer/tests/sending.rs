//! Nonces, replacement, deadlines, reorgs and providers that lie.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::*;
use crate::ports::keys::{Keys, Unsigned};
use crate::records::journal::Block;
use crate::records::wallet::{attempts, Attempt, Counters};
use crate::testkit::chain::Trouble;

const GWEI: u128 = 1_000_000_000;

#[actix_rt::test]
async fn an_intent_is_mined_once_and_its_outcome_is_told_at_its_depth() {
    let rig = Rig::started();
    rig.accept(1);
    rig.blocks(3).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
    assert_eq!((rig.outcomes().len(), rig.state("accept:1")), (0, IntentState::InFlight { nonce: 0 }));
    rig.blocks(1).await;
    assert_eq!(rig.results("accept:1"), ["mined"]);
    assert_eq!(rig.state("accept:1"), IntentState::Confirmed { nonce: 0 });
    let Execution::Mined { events, cost: paid, .. } = rig.outcomes().remove(0).result else { panic!() };
    assert_eq!((events.len(), paid), (1, rig.spent()));
    rig.blocks(10).await;
    assert_eq!(rig.state("accept:1"), IntentState::Done);
    assert_eq!((rig.mined().len(), rig.outcomes().len()), (1, 1));
    assert_eq!(attempts(rig.store.as_ref()).unwrap(), [], "final attempts are forgotten");
}

#[actix_rt::test]
async fn without_a_finalized_tag_a_transaction_is_final_far_below_the_head() {
    let rig = Rig::started();
    rig.chain.set_final_lag(None);
    rig.accept(1);
    rig.blocks(24).await;
    assert_eq!(rig.state("accept:1"), IntentState::Confirmed { nonce: 0 });
    rig.blocks(1).await;
    assert_eq!(rig.state("accept:1"), IntentState::Done);
}

#[actix_rt::test]
async fn the_same_key_twice_is_one_transaction() {
    let rig = Rig::started();
    rig.accept(1);
    rig.accept(1);
    rig.pass(1).await;
    rig.accept(1);
    rig.blocks(5).await;
    rig.accept(1);
    rig.blocks(15).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
}

#[actix_rt::test]
async fn many_intents_on_a_cold_start_get_dense_nonces_oldest_first_and_few_at_a_time() {
    let mut rig = Rig::new();
    for bid in (20..32).rev() {
        rig.accept(bid);
        rig.pass(1).await;
    }
    rig.start();
    rig.pass(5).await;
    assert_eq!(rig.chain.pool().len(), 4);
    rig.blocks(20).await;
    let expected: Vec<_> = (20..32).rev().enumerate().map(|(n, bid)| (n as u64, accept(bid))).collect();
    assert_eq!(rig.mined(), expected);
}

#[actix_rt::test]
async fn an_intent_of_which_nobody_told_is_found() {
    let rig = Rig::started();
    rig.pass(10).await;
    rig.write(rig.intent("quiet", accept(1), None));
    rig.blocks(1).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
}

#[actix_rt::test]
async fn a_lost_answer_leaves_one_transaction() {
    tokio::time::pause();
    for trouble in [Trouble::Lost, Trouble::AnswerLost, Trouble::Says("bad gateway")] {
        let mut rig = Rig::another();
        rig.start();
        let left = Cell::new(3u32);
        let fault = trouble.clone();
        rig.chain.trouble(move |method| {
            let now = method == "submit" && left.replace(left.get().saturating_sub(1)) > 0;
            now.then(|| fault.clone())
        });
        rig.accept(1);
        rig.pass(20).await;
        rig.blocks(5).await;
        assert_eq!(rig.mined(), [(0, accept(1))], "{trouble:?}");
        let distinct: BTreeSet<_> = rig.chain.handed_over().into_iter().collect();
        assert_eq!(distinct.len(), 1, "the same bytes each time: {trouble:?}");
        assert_eq!(rig.results("accept:1"), ["mined"], "{trouble:?}");
    }
}

#[actix_rt::test]
async fn a_deadline_that_passes_in_flight_gives_the_nonce_to_a_transfer_of_nothing() {
    let rig = Rig::started();
    rig.chain.mine_empty(1);
    let deadline = ChainTime(1_700_000_000 + 5 * BLOCK_SECONDS);
    rig.accept_until(1, Some(deadline));
    rig.pass(5).await;
    rig.chain.mine_empty(5);
    rig.pass(10).await;
    assert_eq!(rig.chain.pool()[0].call, MarketCall::NoOp);
    assert_eq!(rig.outcomes(), [], "nothing is over before the nonce is used");
    rig.blocks(4).await;
    assert_eq!(rig.mined(), [(0, MarketCall::NoOp)]);
    assert_eq!(rig.results("accept:1"), [too_late()]);
}

#[actix_rt::test]
async fn a_transaction_that_is_mined_before_its_replacement_counts() {
    let rig = Rig::started();
    let deadline = ChainTime(1_700_000_000 + BLOCK_SECONDS);
    rig.accept_until(1, Some(deadline));
    rig.pass(5).await;
    let original = rig.chain.pool().remove(0);
    rig.chain.mine_empty(2);
    rig.pass(10).await;
    assert_eq!(rig.chain.pool()[0].call, MarketCall::NoOp);
    rig.chain.inject(original);
    rig.blocks(5).await;
    assert_eq!(rig.results("accept:1"), ["mined"]);
}

#[actix_rt::test]
async fn what_is_too_late_or_would_revert_is_never_sent() {
    let rig = Rig::started();
    rig.chain.mine_empty(10);
    rig.accept(13);
    rig.accept_until(1, Some(ChainTime(1_700_000_000)));
    rig.pass(10).await;
    assert_eq!(rig.chain.handed_over(), []);
    assert_eq!(rig.results("accept:13"), ["it would revert: unlucky"]);
    assert_eq!(rig.results("accept:1"), [too_late()]);
    assert_eq!((rig.state("accept:13"), rig.state("accept:1")), (IntentState::Done, IntentState::Done));
    assert_eq!(rig.outcomes().len(), 2);
}

#[actix_rt::test]
async fn a_simulation_that_gets_no_answer_is_asked_again() {
    let rig = Rig::started();
    let left = Cell::new(2u32);
    rig.chain.trouble(move |method| {
        let now = method == "simulate" && left.replace(left.get().saturating_sub(1)) > 0;
        now.then_some(Trouble::Lost)
    });
    rig.accept(1);
    rig.pass(30).await;
    assert_eq!(rig.chain.pool().len(), 1);
}

#[actix_rt::test]
async fn a_reorg_takes_an_outcome_back_and_the_same_bytes_go_out_again() {
    let rig = Rig::started();
    rig.accept(1);
    rig.blocks(5).await;
    assert_eq!(rig.state("accept:1"), IntentState::Confirmed { nonce: 0 });
    let first = rig.chain.mined()[0].tx.clone();
    rig.chain.reorg(5);
    rig.chain.evict();
    rig.chain.mine_empty(6);
    rig.pass(10).await;
    assert_eq!(rig.state("accept:1"), IntentState::InFlight { nonce: 0 });
    assert_eq!(rig.chain.pool(), [first]);
    rig.blocks(4).await;
    assert_eq!(rig.results("accept:1"), ["mined", "mined"], "it landed elsewhere: readers hear of it");
    assert_eq!(rig.mined(), [(0, accept(1))]);
    let spent = rig.status().await.spent_today;
    assert_eq!(spent, rig.spent(), "it is paid once");
}

#[actix_rt::test]
async fn a_receipt_out_of_a_block_that_is_not_canonical_counts_for_nothing() {
    let rig = Rig::started();
    rig.accept(1);
    rig.blocks(2).await;
    rig.chain.reorg(2);
    rig.chain.tell_orphans(true);
    rig.chain.mine_empty(10);
    rig.pass(30).await;
    assert_eq!(rig.outcomes(), []);
    rig.chain.tell_orphans(false);
    rig.blocks(5).await;
    let Execution::Mined { block, .. } = rig.outcomes().remove(0).result else { panic!() };
    assert_eq!(block.0, 11);
}

#[actix_rt::test]
async fn a_transaction_that_comes_back_to_the_block_that_it_was_taken_from_is_no_news() {
    let rig = Rig::started();
    rig.accept(1);
    rig.blocks(5).await;
    let branch = rig.chain.reorg(5);
    rig.chain.mine_empty(6);
    rig.pass(10).await;
    assert_eq!(rig.state("accept:1"), IntentState::InFlight { nonce: 0 });
    assert_eq!(rig.status().await.spent_today, Wei::ZERO);
    rig.chain.back_to(branch);
    rig.blocks(3).await;
    assert_eq!(rig.state("accept:1"), IntentState::Confirmed { nonce: 0 });
    assert_eq!(rig.results("accept:1"), ["mined"]);
    assert_eq!(rig.status().await.spent_today, rig.spent());
}

#[actix_rt::test]
async fn what_the_listener_has_read_spares_questions_but_never_makes_an_outcome_final() {
    let rig = Rig::started();
    rig.accept(1);
    rig.blocks(5).await;
    let receipt = rig.chain.mined().remove(0).receipt;
    let (number, hash, parent, time) = (receipt.block, receipt.hash, receipt.hash, ChainTime(0));
    let mut batch = Batch::new();
    batch.put(&Block { number, hash, parent, time });
    rig.store.commit(batch).unwrap();
    rig.pass(10).await;
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    rig.chain.trouble(move |method| {
        count.set(count.get() + u32::from(method == "header"));
        None
    });
    rig.pass(60).await;
    assert_eq!(asked.get(), 0);
    // A reorg of which the listener never hears.
    rig.chain.reorg(5);
    rig.chain.evict();
    rig.chain.mine_empty(20);
    rig.pass(10).await;
    assert_eq!(rig.state("accept:1"), IntentState::InFlight { nonce: 0 });
    rig.blocks(15).await;
    assert_eq!(rig.results("accept:1"), ["mined", "mined"]);
    assert_eq!(rig.state("accept:1"), IntentState::Done);
}

#[actix_rt::test]
async fn a_provider_behind_the_others_takes_nothing_back() {
    let rig = Rig::started();
    rig.accept(1);
    rig.blocks(5).await;
    let commits = rig.store.commits();
    rig.chain.trouble(|_| Some(Trouble::Lags(5)));
    rig.pass(60).await;
    rig.chain.heal();
    rig.blocks(2).await;
    assert_eq!(rig.state("accept:1"), IntentState::Confirmed { nonce: 0 });
    assert_eq!((rig.outcomes().len(), rig.store.commits()), (1, commits));
}

#[actix_rt::test]
async fn a_nonce_too_low_is_judged_by_receipts_and_not_by_a_lagging_provider() {
    let rig = Rig::started();
    rig.chain.trouble(|method| match method {
        "submit" => Some(Trouble::AnswerLost),
        // Receipts come from a provider that is far behind; the nonce does not.
        "receipt" => Some(Trouble::Lags(8)),
        _ => None,
    });
    rig.accept(1);
    rig.blocks(8).await;
    assert_eq!(rig.mined(), [(0, accept(1))]);
    assert_eq!(rig.outcomes(), []);
    rig.chain.heal();
    rig.blocks(1).await;
    assert_eq!(rig.results("accept:1"), ["mined"]);
}

#[actix_rt::test]
async fn a_gap_is_taken_by_a_transfer_of_nothing() {
    let mut rig = Rig::new();
    // A store that lost the attempts at nonces 0 and 1, and kept the one at 2.
    rig.write(rig.intent("accept:1", accept(1), None));
    let fees =
        crate::domain::wallet::fees::Fees { max_fee: Wei::from(3 * GWEI), max_tip: Some(Wei::from(1)) };
    let keys_fees = crate::ports::keys::Fees { max_fee: fees.max_fee, max_tip: fees.max_tip };
    let tx = Unsigned {
        chain: CHAIN,
        market: MARKET.address,
        nonce: 2,
        gas_limit: 150_000,
        fees: keys_fees,
        call: accept(1),
    };
    let signed = FakeKeys(ME).sign(&tx).unwrap();
    let attempt = Attempt {
        nonce: 2,
        number: 0,
        intent: Some(IntentKey("accept:1".into())),
        call: accept(1),
        gives_up: None,
        gas_limit: 150_000,
        fees,
        raw: signed.raw,
        tx: signed.hash,
        signed_at: rig.clock.wall(),
        accepted_at: None,
        mined: None,
    };
    let mut batch = Batch::new();
    batch.put(&attempt);
    batch.put(&Counters { next: 3, ..Counters::default() });
    let state = IntentState::InFlight { nonce: 2 };
    batch.put(&Intent { state, ..rig.intent("accept:1", accept(1), None) });
    rig.store.commit(batch).unwrap();
    rig.start();
    rig.blocks(15).await;
    assert_eq!(rig.mined(), [(0, MarketCall::NoOp), (1, MarketCall::NoOp), (2, accept(1))]);
    assert_eq!(rig.state("accept:1"), IntentState::Done);
    assert_eq!(rig.status().await.spent_today, rig.spent(), "a filled gap is paid for, too");
}

#[actix_rt::test]
async fn a_transaction_that_is_never_taken_gives_its_nonce_away_and_the_others_proceed() {
    let rig = Rig::started();
    let calls = Cell::new(0);
    rig.chain.trouble(move |method| {
        let second = method == "submit" && calls.replace(calls.get() + 1) == 1;
        second.then_some(Trouble::Says("exceeds block gas limit"))
    });
    for bid in 1..=4 {
        rig.write(rig.intent(&format!("accept:{bid}"), accept(bid), None));
    }
    rig.accept(5);
    rig.blocks(8).await;
    assert_eq!(
        rig.mined(),
        [(0, accept(1)), (1, MarketCall::NoOp), (2, accept(3)), (3, accept(4)), (4, accept(5))]
    );
    assert_eq!(rig.results("accept:2"), ["it would revert: exceeds block gas limit"]);
    assert_eq!(rig.results("accept:5"), ["mined"]);
}

#[actix_rt::test]
async fn what_a_mempool_forgets_is_handed_over_again() {
    let rig = Rig::started();
    rig.accept(1);
    rig.pass(5).await;
    rig.chain.evict();
    rig.pass(120).await;
    assert_eq!(rig.chain.pool().len(), 1);
}
