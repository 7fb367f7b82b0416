//! What a node knows of its market when it hears of it through bad providers: what stands on the chain, each event once.
//!
//! The listener, the adapter, the client and the store are those of the node; the chain is a real one, and the faults
//! happen on the way to it.

// A panic is how a test fails, and waiting for a real server takes real time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "chain_adapter/liar.rs"]
#[allow(dead_code)]
mod liar;
#[path = "providers/listening.rs"]
mod listening;
mod support;
#[path = "chain_adapter/world.rs"]
#[allow(dead_code)]
mod world;

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{json, Value};

use liar::Liar;
use listening::{hasty, Listening};
use support::anvil::{quantity, Anvil, Options};
use support::fault_proxy::{Call, Fate, FaultProxy, Moment};
use support::json_rpc::JsonRpc;
use world::World;

/// All that may happen to an answer, by name.
fn faults() -> [(&'static str, Fate); 9] {
    let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"internal error"}}"#;
    let unavailable =
        Fate::Answer { status: "503 Service Unavailable", content_type: "text/plain", body: "".into() };
    [
        ("429 as HTML", Fate::too_many_requests()),
        ("an error without id", Fate::json(error)),
        ("id: null", Fate::Id(Some(Value::Null))),
        ("the id of another question", Fate::Id(Some(json!(999_999_999)))),
        ("no id", Fate::Id(None)),
        ("a body that is cut", Fate::Truncate),
        ("a closed connection", Fate::HangUp),
        ("no answer at all", Fate::Hang),
        ("503", unavailable),
    ]
}

/// One of `faults` for this share of all answers.
fn now_and_then(seed: u64, share: f64, faults: Vec<Fate>) -> impl Fn(&Call, Moment) -> Fate + Send + Sync {
    let dice = Mutex::new(StdRng::seed_from_u64(seed));
    move |_, moment| {
        let mut dice = dice.lock().unwrap();
        match moment {
            Moment::Response if dice.gen_bool(share) => faults[dice.gen_range(0..faults.len())].clone(),
            _ => Fate::Pass,
        }
    }
}

#[actix_rt::test]
async fn through_each_fault_of_one_provider_every_event_is_read_once() {
    let Some(world) = World::start().await else { return };
    listening::some_history(&world).await;
    for (name, fault) in faults() {
        let proxy = FaultProxy::start(*world.anvil);
        proxy.set_rule(now_and_then(7, 0.1, vec![fault]));
        let node = Listening::start(&world, &[proxy.url()], hasty());
        node.knows_the_truth(&world, name).await;
        listening::something_more(&world).await;
        node.knows_the_truth(&world, name).await;
        let errors: u64 = node.rpc.standings()[0].errors.values().sum();
        assert!(errors > 0, "{name}: nothing happened");
    }
}

#[actix_rt::test]
async fn through_random_faults_of_two_providers_and_a_reorg_every_event_is_read_once() {
    let Some(world) = World::start().await else { return };
    listening::some_history(&world).await;
    for seed in 0..4 {
        let proxies = [0, 1].map(|which| {
            let proxy = FaultProxy::start(*world.anvil);
            let all = faults().map(|(_, fault)| fault).to_vec();
            proxy.set_rule(now_and_then(2 * seed + which, 0.05, all));
            proxy
        });
        let node = Listening::start(&world, &proxies.each_ref().map(FaultProxy::url), hasty());
        listening::something_more(&world).await;
        node.knows_the_truth(&world, &format!("seed {seed}")).await;
        world.anvil.reorg(1);
        listening::something_more(&world).await;
        node.knows_the_truth(&world, &format!("seed {seed}, after a reorg")).await;
    }
}

/// A provider that is `blocks` behind `chain`, and denies what it does not know yet.
fn lagging(chain: JsonRpc, blocks: u64) -> Liar {
    Liar::start(chain, move |method, params, answer| {
        let hex = |number: u64| format!("{number:#x}");
        let behind = |tag: &str| {
            let newest = chain.call("eth_getBlockByNumber", json!([tag, false]));
            quantity(&newest["number"]).saturating_sub(blocks)
        };
        let head = behind("latest");
        let block = |number: u64| chain.call("eth_getBlockByNumber", json!([hex(number), false]));
        let is_known = |block: &Value| block.is_null() || quantity(&block["number"]) <= head;
        match (method, params[0].as_str()) {
            ("eth_blockNumber", _) => answer["result"] = json!(hex(head)),
            ("eth_getBlockByNumber", Some(tag @ ("latest" | "finalized"))) => {
                answer["result"] = block(behind(tag))
            }
            ("eth_getBlockByNumber" | "eth_getBlockByHash", _) if !is_known(&answer["result"]) => {
                answer["result"] = Value::Null;
            }
            ("eth_getLogs", _) => {
                if let Some(logs) = answer["result"].as_array_mut() {
                    logs.retain(|log| quantity(&log["blockNumber"]) <= head);
                }
            }
            _ => {}
        }
    })
}

#[actix_rt::test]
async fn a_preferred_provider_that_lags_by_three_blocks_hides_nothing() {
    let Some(world) = World::start().await else { return };
    listening::some_history(&world).await;
    let late = lagging(*world.anvil, 3);
    let node = Listening::start(&world, &[late.url(), world.anvil.url()], hasty());
    for round in 0..4 {
        listening::something_more(&world).await;
        node.knows_the_truth(&world, &format!("round {round}")).await;
    }
    let standings = node.rpc.standings();
    // Two blocks below the head are final here: three behind is behind finality.
    assert_eq!((standings[0].state, standings[1].state), ("behind", "good"), "{standings:#?}");
    assert!(standings[1].in_use);
}

#[actix_rt::test]
async fn a_preferred_provider_of_another_chain_is_never_asked_for_logs() {
    let Some(world) = World::start().await else { return };
    let Some(other) = Anvil::start_with(&Options { chain_id: Some(1), ..Options::default() }) else { return };
    // Its heights are far above ours, and mean nothing.
    other.mine(500);
    let proxy = FaultProxy::start(*other);
    listening::some_history(&world).await;
    let node = Listening::start(&world, &[proxy.url(), world.anvil.url()], hasty());
    node.knows_the_truth(&world, "another chain").await;
    let standings = node.rpc.standings();
    assert_eq!((standings[0].state, standings[1].state), ("other_chain", "good"), "{standings:#?}");
    assert_eq!(standings[0].head, None);
    assert_eq!(proxy.count("eth_getLogs") + proxy.count("eth_call"), 0);
}

#[actix_rt::test]
async fn a_preferred_provider_that_was_away_is_asked_again_when_it_is_back() {
    let Some(world) = World::start().await else { return };
    listening::some_history(&world).await;
    let proxy = FaultProxy::start(*world.anvil);
    let node = Listening::start(&world, &[proxy.url(), world.anvil.url()], hasty());
    node.knows_the_truth(&world, "the first").await;
    assert!(node.rpc.standings()[0].in_use);
    proxy.set_rule(|_, _| Fate::HangUp);
    listening::something_more(&world).await;
    node.knows_the_truth(&world, "the second").await;
    node.eventually("the second is asked", |standings| {
        standings[1].in_use && standings[0].state == "failing"
    })
    .await;
    proxy.set_rule(|_, _| Fate::Pass);
    node.eventually("the first is asked again", |standings| standings[0].in_use).await;
    listening::something_more(&world).await;
    node.knows_the_truth(&world, "the first again").await;
}

#[actix_rt::test]
async fn a_provider_that_hangs_for_good_holds_nothing_up_but_its_own_time() {
    let Some(world) = World::start().await else { return };
    listening::some_history(&world).await;
    let proxy = FaultProxy::start(*world.anvil);
    proxy.set_rule(|_, _| Fate::Hang);
    let node = Listening::start(&world, &[proxy.url(), world.anvil.url()], hasty());
    node.knows_the_truth(&world, "one hangs").await;
    assert!(node.rpc.standings()[0].errors["timed_out"] > 0);
}
