//! Logs: all of them, once, and only those that can be right.

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use ethers::abi::ethereum_types::{Bloom, BloomInput};
use scatter::adapters::ethereum::deploy::Deployer;
use scatter::adapters::ethereum::Ethereum;
use scatter::adapters::json_rpc::{self, Client};
use scatter_actors::domain::units::{Address, BidId, BlockHeight, Wei};
use scatter_actors::ports::chain::{Chain, Error, Event, Events, Span};
use serde_json::{json, Value};

use crate::liar::Liar;
use crate::support::anvil::quantity;
use crate::world::{by_router, offer, World};

#[actix_rt::test]
async fn a_range_and_its_blocks_one_by_one_tell_the_same() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    for account in 1..4 {
        world.send(account, offer()).await;
        world.anvil.mine(2);
    }
    let head = world.chain.head().await.unwrap();
    let range = world.chain.events(Span::Range(BlockHeight(0), head.number)).await.unwrap();
    assert_eq!((range.events.len(), range.poison), (3, 0));
    let mut single = Vec::new();
    for number in 0..=head.number.0 {
        let header = world.chain.header(BlockHeight(number)).await.unwrap().unwrap();
        let events = world.chain.events(Span::Block(header.hash, header.number)).await.unwrap().events;
        assert!(events.iter().all(|event| event.at.time == header.time && event.at.hash == header.hash));
        single.extend(events);
    }
    let timeless = |events: Vec<Event>| -> Vec<_> {
        events.into_iter().map(|e| (e.at.block, e.at.log, e.at.tx, e.event)).collect()
    };
    assert_eq!(timeless(range.events), timeless(single));
    assert_eq!(world.chain.header(BlockHeight(head.number.0 + 1)).await.unwrap(), None);
    let parent = world.chain.header(BlockHeight(head.number.0 - 1)).await.unwrap().unwrap();
    assert_eq!(parent.hash, head.parent);
    assert!(world.chain.finalized().await.unwrap().unwrap().number < head.number);
    assert_eq!(world.chain.chain_id().await.unwrap(), 31_337);
}

#[actix_rt::test]
async fn logs_that_cannot_be_right_are_not_believed() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    world.send(1, offer()).await;
    let head = world.chain.head().await.unwrap();
    let liar = Liar::start(*world.anvil, |_, _, _| {});
    let chain = world.through(&liar.url());
    chain.contracts().await.unwrap();

    type Lie = fn(&mut Vec<Value>);
    let lies: [(&str, Lie); 7] = [
        ("removed", |logs| logs[0]["removed"] = json!(true)),
        ("another block's hash", |logs| logs[0]["blockHash"] = json!(format!("0x{}", "11".repeat(32)))),
        ("another number", |logs| logs[0]["blockNumber"] = json!("0xffff")),
        ("twice the same", |logs| logs.push(logs[0].clone())),
        ("no place", |logs| logs[0]["logIndex"] = Value::Null),
        ("a stranger's", |logs| logs[0]["address"] = json!(format!("0x{}", "22".repeat(20)))),
        ("none at all", Vec::clear),
    ];
    for (name, lie) in lies {
        liar.lie(move |method, _, answer| {
            if method == "eth_getLogs" {
                lie(answer["result"].as_array_mut().unwrap());
            }
        });
        let error = chain.events(Span::Block(head.hash, head.number)).await.unwrap_err();
        assert!(matches!(error, Error::Untrustworthy { .. }), "{name}: {error}");
    }

    // A machine that lags behind has no logs of what it has not seen.
    liar.lie(|method, _, answer| {
        if method == "eth_getLogs" {
            answer["result"] = json!([]);
        } else if method == "eth_getBlockByNumber" {
            answer["result"] = Value::Null;
        }
    });
    let error = chain.events(Span::Range(BlockHeight(0), head.number)).await.unwrap_err();
    assert!(matches!(error, Error::Untrustworthy { .. }), "{error}");

    liar.lie(|_, _, _| {});
    assert_eq!(chain.events(Span::Block(head.hash, head.number)).await.unwrap().events.len(), 1);
    let gone = Span::Block(head.parent, head.number);
    assert!(matches!(chain.events(gone).await.unwrap_err(), Error::Untrustworthy { .. }));
}

#[actix_rt::test]
async fn an_empty_answer_for_a_block_that_names_us_is_asked_for_again() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    world.send(1, offer()).await;
    let head = world.chain.head().await.unwrap();
    let liar = Liar::start(*world.anvil, |_, _, _| {});
    let chain = world.through(&liar.url());
    chain.contracts().await.unwrap();
    let asked = AtomicU32::new(0);
    liar.lie(move |method, _, answer| {
        if method == "eth_getLogs" && asked.fetch_add(1, SeqCst) == 0 {
            answer["result"] = json!([]);
        }
    });
    assert_eq!(chain.events(Span::Block(head.hash, head.number)).await.unwrap().events.len(), 1);
}

/// Creation code that logs topics until they fill the bits of `address` in the block's bloom filter by chance.
fn imitate_in_the_filter(address: Address) -> Vec<u8> {
    let wanted = Bloom::from(BloomInput::Raw(&address.0));
    let (mut filled, mut code) = (Bloom::zero(), Vec::new());
    for guess in 0_u64.. {
        let topic = ethers::utils::keccak256(guess.to_be_bytes());
        let bits = Bloom::from(BloomInput::Raw(&topic));
        if (bits & wanted | filled) != filled {
            filled.accrue_bloom(&bits);
            code.extend([&[0x7f][..], &topic, &[0x60, 0, 0x60, 0, 0xa1]].concat());
            // PUSH32 topic, LOG1
        }
        if filled.contains_bloom(&wanted) {
            break;
        }
    }
    code
}

#[actix_rt::test]
async fn a_bloom_filter_that_names_us_by_chance_is_settled_by_the_blocks_whole_logs() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    let by = Deployer::new(world.rpc.clone(), &world.accounts[0]);
    by.send(None, Wei::ZERO, imitate_in_the_filter(world.at.market)).await.unwrap();
    let head = world.chain.head().await.unwrap();
    let block = Span::Block(head.hash, head.number);

    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let liar = Liar::start(*world.anvil, move |method, _, _| {
        if method == "eth_getLogs" {
            count.fetch_add(1, SeqCst);
        }
    });
    let chain = world.through(&liar.url());
    assert_eq!(chain.events(block).await.unwrap(), Events::default());
    assert_eq!(asked.load(SeqCst), 3, "asked, asked again, asked for all");

    liar.lie(|method, params, answer| {
        if method == "eth_getLogs" && params[0]["address"].is_null() {
            answer["result"].as_array_mut().unwrap().pop();
        }
    });
    assert!(chain.events(block).await.unwrap_err().to_string().contains("bloom"));

    // A chain without filters of its own.
    liar.lie(|method, _, answer| match method {
        "eth_getBlockByHash" => answer["result"]["logsBloom"] = json!(format!("0x{}", "ff".repeat(256))),
        _ => assert!(!answer.to_string().contains("error"), "{answer}"),
    });
    assert_eq!(chain.events(block).await.unwrap(), Events::default());
}

#[actix_rt::test]
async fn poison_is_counted_and_the_rest_is_read() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    for account in 1..4 {
        world.send(account, offer()).await;
    }
    let liar = Liar::start(*world.anvil, |method, _, answer| {
        if method == "eth_getLogs" {
            let minus_one = format!("0x{}", "ff".repeat(32));
            answer["result"][0]["topics"][1] = json!(minus_one);
            answer["result"][1]["topics"][0] = json!(minus_one);
        }
    });
    let chain = world.through(&liar.url());
    let head = chain.head().await.unwrap();
    let events = chain.events(Span::Range(BlockHeight(0), head.number)).await.unwrap();
    assert_eq!((events.poison, events.events.len()), (2, 1));
    assert_eq!(events.events[0].event.bid(), Some(BidId(2)));
}

#[actix_rt::test]
async fn a_range_that_is_too_much_is_read_by_pieces_whatever_the_provider_calls_it() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    for account in 1..5 {
        world.send(account, offer()).await;
        world.anvil.mine(5);
    }
    let head = world.chain.head().await.unwrap().number;
    let whole = world.chain.events(Span::Range(BlockHeight(0), head)).await.unwrap();
    assert_eq!(whole.events.len(), 4);
    for (code, words) in [
        (-32005, "query returned more than 10000 results"),
        (-32602, "Log response size exceeded. Try with this block range [0x0, 0x2]"),
        (-32614, "eth_getLogs is limited to a 3 blocks range"),
        (-32000, "block range too large"),
    ] {
        let liar = Liar::start(*world.anvil, move |method, params, answer| {
            let number = |key: &str| quantity(&params[0][key]);
            if method == "eth_getLogs" && number("toBlock") - number("fromBlock") >= 3 {
                *answer = json!({ "error": { "code": code, "message": words } });
            }
        });
        let chain = world.through(&liar.url());
        assert_eq!(chain.events(Span::Range(BlockHeight(0), head)).await.unwrap(), whole, "{words}");
        liar.lie(|method, _, answer| {
            if method == "eth_getLogs" {
                *answer = json!({ "error": { "code": -32000, "message": "no" } });
            }
        });
        let error = chain.events(Span::Range(BlockHeight(0), head)).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "one block that is refused is an error: {error}");
    }

    let liar = Liar::start(*world.anvil, |method, _, answer| {
        if method == "eth_getLogs" {
            for log in answer["result"].as_array_mut().unwrap() {
                log["data"] = json!(format!("{}{}", log["data"].as_str().unwrap(), "00".repeat(10_000)));
            }
        }
    });
    let small = json_rpc::Config { max_body: 50_000, ..json_rpc::Config::default() };
    let chain = Ethereum::new(Rc::new(Client::new(&liar.url(), small).unwrap()), by_router(&world.at));
    assert_eq!(chain.events(Span::Range(BlockHeight(0), head)).await.unwrap(), whole);
}

#[actix_rt::test]
async fn a_range_that_takes_too_long_is_asked_for_by_less_the_next_time() {
    let Some(world) = World::start().await else { return };
    world.anvil.mine(20);
    let asked = Arc::new(AtomicU64::new(0));
    let blocks = asked.clone();
    let liar = Liar::start(*world.anvil, move |method, params, _| {
        let number = |key: &str| quantity(&params[0][key]);
        if method == "eth_getLogs" && number("toBlock") - number("fromBlock") >= 8 {
            blocks.store(number("toBlock") - number("fromBlock") + 1, SeqCst);
            std::thread::sleep(Duration::from_secs(3));
        }
    });
    let hasty = json_rpc::Config { idle: Duration::from_secs(1), ..json_rpc::Config::default() };
    let chain = Ethereum::new(Rc::new(Client::new(&liar.url(), hasty).unwrap()), by_router(&world.at));
    let span = Span::Range(BlockHeight(0), BlockHeight(19));
    for expected in [20, 10] {
        assert!(matches!(chain.events(span).await.unwrap_err(), Error::Unreachable { .. }));
        assert_eq!(asked.load(SeqCst), expected);
    }
    assert_eq!(chain.events(span).await.unwrap(), Events::default());
}
