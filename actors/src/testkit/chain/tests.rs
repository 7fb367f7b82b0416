//! The chain in memory, by its own rules.

use super::provider::refused;
use super::*;
use crate::ports::chain::{At, Chain};
use crate::ports::keys::{Keys, Signed, Unsigned};

const ME: FakeKeys = FakeKeys(Address([1; 20]));

fn chain() -> FakeChain {
    FakeChain::new(1, Box::new(|_, _, _, _| Ok(vec![])))
}
fn signed(nonce: u64, fee: u128, tip: u128) -> Signed {
    let fees = Fees { max_fee: Wei::from(fee), max_tip: Some(Wei::from(tip)) };
    let (market, call) = (Address::default(), MarketCall::Withdraw);
    ME.sign(&Unsigned { chain: 1, market, nonce, gas_limit: CALL_GAS, fees, call }).unwrap()
}

#[actix_rt::test]
async fn a_replacement_needs_a_tenth_more_on_both_fields() {
    let chain = chain();
    let gwei = 1_000_000_000u128;
    chain.submit(&signed(0, 100 * gwei, 10 * gwei).raw).await.unwrap();
    for (fee, tip, taken) in [
        (109, 11, Err("replacement transaction underpriced")),
        (110, 10, Err("replacement transaction underpriced")),
        (100, 10, Err("already known")),
        (110, 11, Ok(())),
    ] {
        let answer = chain.submit(&signed(0, fee * gwei, tip * gwei).raw).await;
        let taken = taken.map_err(|words| refused("submit", words));
        assert_eq!(answer.map(|_| ()), taken, "{fee} {tip}");
    }
    assert_eq!(chain.pool().len(), 1);
}

#[actix_rt::test]
async fn a_reorg_puts_what_was_mined_back_into_the_pool() {
    let chain = chain();
    let tx = signed(0, 2_000_000_000, 1).hash;
    chain.submit(&signed(0, 2_000_000_000, 1).raw).await.unwrap();
    chain.mine();
    let first = chain.receipt(tx).await.unwrap().unwrap();
    assert_eq!(chain.nonce(ME.0, At::Latest).await.unwrap(), 1);
    chain.reorg(1);
    assert_eq!((chain.receipt(tx).await.unwrap(), chain.pool().len()), (None, 1));
    chain.mine();
    let second = chain.receipt(tx).await.unwrap().unwrap();
    assert_eq!(first.block, second.block);
    assert_ne!(first.hash, second.hash);
}

#[actix_rt::test]
async fn finality_that_stops_stays_where_it_is_and_goes_on_later() {
    let chain = chain();
    chain.mine_empty(20);
    let newest = || async { chain.finalized().await.unwrap().unwrap().number.0 };
    assert_eq!(newest().await, 10);
    chain.stop_finality(true);
    chain.mine_empty(20);
    assert_eq!(newest().await, 10);
    chain.stop_finality(false);
    assert_eq!(newest().await, 30);
}

#[actix_rt::test]
async fn a_branch_that_comes_back_is_the_same_to_the_hash() {
    let chain = chain();
    chain.submit(&signed(0, 2_000_000_000, 1).raw).await.unwrap();
    chain.mine();
    chain.mine_empty(2);
    let before = chain.head().await.unwrap();
    let branch = chain.reorg(3);
    assert_eq!((branch.depth(), branch.from()), (3, 1));
    assert_eq!(Some(branch.parent()), chain.block(0).map(|block| block.hash));
    chain.mine_empty(4);
    assert_ne!(chain.block(3).unwrap().hash, before.hash);
    chain.back_to(branch);
    assert_eq!(chain.head().await.unwrap(), before);
    assert_eq!((chain.pool().len(), chain.mined().len()), (0, 1));
}
