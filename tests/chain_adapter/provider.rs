//! Providers that lack something, and one that answers about another transaction.

use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::Wei;
use scatter_actors::ports::chain::{Chain, Error};
use serde_json::json;

use crate::liar::Liar;
use crate::world::World;

#[actix_rt::test]
async fn a_provider_without_eip_1559_or_finality_or_batches_is_understood() {
    let Some(world) = World::start().await else { return };
    let liar = Liar::start(*world.anvil, |method, params, answer| {
        if params[0] == "finalized" {
            *answer = json!({ "error": { "code": -32602, "message": "unknown block tag" } });
        } else if method == "eth_getBlockByNumber" {
            answer["result"].as_object_mut().map(|header| header.remove("baseFeePerGas"));
        }
    });
    liar.refuse_batches();
    let chain = world.through(&liar.url());
    assert_eq!(chain.finalized().await.unwrap(), None);
    let fees = chain.fees().await.unwrap();
    assert_eq!(fees.base_fee, None);
    assert!(fees.tip > Wei::ZERO);
    assert_eq!(chain.head().await.unwrap().base_fee, None);
    assert_eq!(chain.bid_count(world.at.market).await.unwrap(), 0);
    assert_eq!(chain.market().await.unwrap(), world.chain.market().await.unwrap());
}

#[actix_rt::test]
async fn finality_that_was_told_once_does_not_vanish_with_an_error() {
    let Some(world) = World::start().await else { return };
    let liar = Liar::start(*world.anvil, |_, _, _| {});
    let chain = world.through(&liar.url());
    chain.finalized().await.unwrap().unwrap();
    liar.lie(|_, _, answer| *answer = json!({ "error": { "code": -32000, "message": "busy" } }));
    assert!(matches!(chain.finalized().await.unwrap_err(), Error::Refused { code: -32000, .. }));
    let fresh = world.through(&liar.url());
    liar.lie(|_, _, answer| *answer = json!({ "error": { "code": -32005, "message": "slow down" } }));
    assert!(matches!(fresh.finalized().await.unwrap_err(), Error::Refused { code: -32005, .. }));
}

#[actix_rt::test]
async fn a_transaction_that_the_provider_calls_by_another_name_is_not_believed() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    let signed = world.sign(1, MarketCall::NoOp, 21_000).await;
    let liar = Liar::start(*world.anvil, |method, _, answer| {
        if method == "eth_sendRawTransaction" {
            answer["result"] = json!(format!("0x{}", "33".repeat(32)));
        } else if method == "eth_getTransactionReceipt" {
            answer["result"]["transactionHash"] = json!(format!("0x{}", "33".repeat(32)));
        }
    });
    let chain = world.through(&liar.url());
    assert!(matches!(chain.submit(&signed.raw).await.unwrap_err(), Error::Untrustworthy { .. }));
    assert!(matches!(chain.receipt(signed.hash).await.unwrap_err(), Error::Untrustworthy { .. }));
}
