//! Two markets, one of them retired: what is wanted on each goes there, and what the old one owes is fetched.

use super::*;
use crate::domain::units::{ByteSize, FileHash};
use crate::records::following::{Followed, Standing};
use crate::testkit::chain::{Tx, CALL_GAS};
use crate::testkit::market::MIN_DURATION;

const NEW: Market = Market { chain: CHAIN, address: Address([0x77; 20]) };
const BIDDER: Address = Address([0xb1; 20]);

/// A bid of so much on a market, as the first transactions of an account.
fn offer(rig: &Rig, from: Address, nonce: u64, on: Address, amount: u128) {
    let call = MarketCall::Bid {
        file: FileHash([1; 32]),
        size: ByteSize(1),
        duration: MIN_DURATION,
        amount: Wei::from(amount),
        pool: Wei::from(9),
        min_validations: 2,
    };
    let gwei = Wei::from(1_000_000_000);
    let fees = crate::ports::keys::Fees { max_fee: gwei.times(20), max_tip: Some(gwei) };
    let tx = Tx { from, chain: CHAIN, nonce, gas_limit: CALL_GAS, fees, call, on: Some(on) };
    rig.chain.inject(tx);
}

/// Bid 0 of somebody on both markets, of which the second one is current.
async fn moved(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::with(change);
    rig.chain = Rc::new(FakeChain::with_market(CHAIN));
    rig.chain.deploy(NEW.address, Version::V2);
    offer(&rig, BIDDER, 0, MARKET.address, 5);
    offer(&rig, BIDDER, 1, NEW.address, 5);
    rig.chain.mine();
    let mut batch = Batch::new();
    let retired = Standing::Retired { quiet_at: None };
    for (market, standing) in [(MARKET, retired), (NEW, Standing::Current)] {
        let found = rig.chain.market_at(market.address).await.unwrap().unwrap();
        batch.put(&Followed { standing, ..Followed::first(CHAIN, found, BlockHeight(1)) });
    }
    let status = ChainStatus::read(rig.store.as_ref()).unwrap().unwrap();
    batch.put(&ChainStatus { market: NEW, ..status });
    rig.store.commit(batch).unwrap();
    rig
}

#[actix_rt::test]
async fn what_is_wanted_on_an_old_market_goes_there() {
    let mut rig = moved(|_| {}).await;
    rig.start();
    let (old, new) = (rig.intent("accept:old", accept(0), None), rig.intent("accept:new", accept(0), None));
    rig.write(old);
    rig.blocks(6).await;
    let hoster = |rig: &Rig, on: Market| rig.chain.market_on(on.address).bids[0].hoster;
    assert_eq!((hoster(&rig, MARKET), hoster(&rig, NEW)), (Some(ME), None));
    rig.write(Intent { market: NEW, ..new });
    rig.restart().await;
    rig.blocks(6).await;
    assert_eq!(hoster(&rig, NEW), Some(ME));
}

#[actix_rt::test]
async fn a_dearer_transaction_for_an_old_market_goes_there_too() {
    let mut rig = moved(|_| {}).await;
    rig.start();
    rig.write(rig.intent("accept:old", accept(0), None));
    rig.pass(2 * 60).await;
    rig.restart().await;
    rig.pass(2 * 60).await;
    assert!(rig.status().await.pending[0].attempts > 1, "nobody mines it: it is outbid");
    rig.blocks(6).await;
    assert_eq!(rig.results("accept:old"), ["mined"]);
    assert_eq!(rig.chain.market_on(MARKET.address).bids[0].hoster, Some(ME));
}

#[actix_rt::test]
async fn credit_on_an_old_market_is_withdrawn_however_little_and_that_on_the_current_one_when_it_is_worth_it()
{
    let mut rig = moved(|config| config.auto_withdraw = true).await;
    // A bid of nothing is refused, and its pool is credited.
    offer(&rig, ME, 0, MARKET.address, 0);
    offer(&rig, ME, 1, NEW.address, 0);
    rig.chain.mine();
    rig.start();
    rig.blocks(12).await;
    let credit = |on: Market| rig.chain.market_on(on.address).credits.get(&ME).copied().unwrap_or_default();
    assert_eq!((credit(MARKET), credit(NEW)), (Wei::ZERO, Wei::from(9)));
    assert_eq!(rig.mined().len(), 3, "two bids and one withdrawal");
    assert_eq!(rig.results(&format!("withdraw:{MARKET}:{ME}:0")), ["mined"]);

    rig.wallet.as_ref().unwrap().do_send(Withdraw);
    rig.blocks(6).await;
    assert_eq!(credit(NEW), Wei::ZERO);
    assert_eq!(rig.results(&format!("withdraw:{NEW}:{ME}:1")), ["mined"]);
}
