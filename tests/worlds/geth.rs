//! The mempool in memory against geth's own, in geth's own words.

use std::rc::Rc;

use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::json_rpc::{self, Client};
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{Address, Wei};
use scatter_actors::ports::chain::{Chain, Error};
use scatter_actors::ports::keys::{Fees, Keys, Unsigned};
use scatter_actors::testkit::chain::{FakeChain, FakeKeys, WEALTH};
use serde_json::json;

use crate::support::geth::{Geth, CHAIN_ID};

const GWEI: u128 = 1_000_000_000;

/// Nonce, fee and tip in gwei of one transaction after the other. Behind the gap at 1 nothing is mined, so it can be
/// replaced.
const STORY: [(u64, u128, u128); 10] = [
    (0, 100, 1),
    (0, 200, 2),
    (2, 100, 10),
    (2, 100, 10),
    (2, 109, 11),
    (2, 110, 10),
    (2, 99, 9),
    (2, 110, 11),
    (2, 121, 12),
    (2, 121, 13),
];

/// What became of each: nothing to say, or the client's words up to the figures that it adds.
async fn told(chain: &dyn Chain, keys: &dyn Keys, mine: impl Fn()) -> Vec<Result<(), String>> {
    let mut told = Vec::new();
    for (nonce, fee, tip) in STORY {
        let fees = Fees { max_fee: Wei::from(fee * GWEI), max_tip: Some(Wei::from(tip * GWEI)) };
        let (market, call) = (Address::default(), MarketCall::NoOp);
        let tx = Unsigned { chain: CHAIN_ID, market, nonce, gas_limit: 21_000, fees, call };
        let answer = chain.submit(&keys.sign(&tx).unwrap().raw).await;
        mine();
        told.push(match answer {
            Ok(_) => Ok(()),
            Err(Error::Refused { message, .. }) => {
                let words = message.split(": ").next().unwrap_or_default();
                Err(words.to_owned())
            }
            Err(other) => panic!("nonce {nonce}: {other}"),
        });
    }
    told
}

#[actix_rt::test]
async fn the_mempool_in_memory_takes_and_refuses_as_geth_does_and_in_its_words() {
    let Some(geth) = Geth::start() else { return };
    let key = Signer::from_key(&[0x42; 32]).unwrap();
    // By balances and nonces alone: a geth that is young has no receipts yet.
    let who = key.address().to_string();
    let gift = json!({ "from": geth.call("eth_accounts", json!([]))[0], "to": who, "value": format!("{WEALTH:#x}") });
    geth.call("eth_sendTransaction", json!([gift]));
    let reaches = |method: &str, least: u128| {
        geth.eventually(method, || {
            let told = geth.call(method, json!([who, "latest"]));
            let told = u128::from_str_radix(told.as_str()?.trim_start_matches("0x"), 16).ok()?;
            (told >= least).then_some(())
        });
    };
    reaches("eth_getBalance", WEALTH);
    let rpc = Rc::new(Client::new(&geth.url(), json_rpc::Config::default()).unwrap());
    let real =
        told(&Ethereum::new(rpc, Config::default()), &key, || reaches("eth_getTransactionCount", 1)).await;

    let chain = FakeChain::with_market(CHAIN_ID);
    let modelled = told(&chain, &FakeKeys(Address([0x11; 20])), || chain.mine()).await;
    assert_eq!(modelled, real, "the model is left, geth right");
    assert!(real.iter().filter(|answer| answer.is_ok()).count() >= 3, "{real:?}");
}
