//! Logs: all of them, once, and only those that can be right; and what a provider that gives less says.

use std::rc::Rc;
use std::time::Duration;

use ethers::abi::ethereum_types::{Bloom, BloomInput};
use scatter::adapters::ethereum::deploy::Deployer;
use scatter::adapters::ethereum::Ethereum;
use scatter::adapters::json_rpc::{self, Client};
use scatter_actors::domain::listening::{examine, Doubt};
use scatter_actors::domain::units::{Address, BidId, BlockHeight, Wei};
use scatter_actors::ports::chain::{Chain, Error, Event, Said, Span};
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
    let range = examine(Span::Range(BlockHeight(0), head.number), range).unwrap().1;
    assert_eq!(range.len(), 3);
    let mut single = Vec::new();
    for number in 0..=head.number.0 {
        let header = world.chain.header(BlockHeight(number)).await.unwrap().unwrap();
        let span = Span::Block(header.hash, header.number);
        let (_, events, _) = examine(span, world.chain.events(span).await.unwrap()).unwrap();
        assert!(events.iter().all(|event| event.at.time == header.time && event.at.hash == header.hash));
        single.extend(events);
    }
    assert_eq!(range, single);
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
        ("which a reorg removed", |logs| logs[0]["removed"] = json!(true)),
        ("not in the span", |logs| logs[0]["blockHash"] = json!(format!("0x{}", "11".repeat(32)))),
        ("not in the span", |logs| logs[0]["blockNumber"] = json!("0xffff")),
        ("two logs", |logs| logs.push(logs[0].clone())),
        ("without its place", |logs| logs[0]["logIndex"] = Value::Null),
        ("nobody asked for", |logs| logs[0]["address"] = json!(format!("0x{}", "22".repeat(20)))),
        ("whose bloom filter names", Vec::clear),
    ];
    for (words, lie) in lies {
        liar.lie(move |method, _, answer| {
            if method == "eth_getLogs" {
                lie(answer["result"].as_array_mut().unwrap());
            }
        });
        let span = Span::Block(head.hash, head.number);
        let doubt = match chain.events(span).await {
            Ok(told) => examine(span, told).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(doubt.contains(words), "{words}: {doubt}");
    }

    // A machine that lags behind has no logs of what it has not seen.
    liar.lie(|method, _, answer| {
        if method == "eth_getLogs" {
            answer["result"] = json!([]);
        } else if method == "eth_getBlockByNumber" {
            answer["result"] = Value::Null;
        }
    });
    let span = Span::Range(BlockHeight(0), head.number);
    let told = chain.events(span).await.unwrap();
    assert_eq!(examine(span, told), Err(Doubt::Unknown(head.number)));

    liar.lie(|_, _, _| {});
    assert_eq!(chain.events(Span::Block(head.hash, head.number)).await.unwrap().logs.len(), 1);
    let gone = Span::Block(head.parent, head.number);
    assert_eq!(examine(gone, chain.events(gone).await.unwrap()), Err(Doubt::Unknown(head.number)));
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

    let liar = Liar::start(*world.anvil, |_, _, _| {});
    let chain = world.through(&liar.url());
    let told = chain.events(block).await.unwrap();
    assert!(told.named && told.logs.is_empty());
    assert!(chain.others_fill_the_filter(head.hash).await.unwrap());

    liar.lie(|method, params, answer| {
        if method == "eth_getLogs" && params[0]["address"].is_null() {
            answer["result"].as_array_mut().unwrap().pop();
        }
    });
    assert!(!chain.others_fill_the_filter(head.hash).await.unwrap(), "a log is missing in the sum");

    // A chain without filters of its own.
    liar.lie(|method, _, answer| match method {
        "eth_getBlockByHash" => answer["result"]["logsBloom"] = json!(format!("0x{}", "ff".repeat(256))),
        _ => assert!(!answer.to_string().contains("error"), "{answer}"),
    });
    assert!(!chain.events(block).await.unwrap().named);
}

#[actix_rt::test]
async fn a_log_that_does_not_decode_is_told_as_it_is_among_the_others() {
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
    let told = chain.events(Span::Range(BlockHeight(0), head.number)).await.unwrap().logs;
    let [Said::Poison { topics, data }, Said::Poison { .. }, Said::Known(event)] =
        [0, 1, 2].map(|n| told[n].said.clone())
    else {
        panic!("{told:?}")
    };
    assert_eq!((topics[1].0, data.len()), ([0xff; 32], 96), "the whole log is there to look at");
    assert_eq!(event.bid(), Some(BidId(2)));
}

/// Reads a range as a listener does: by less whenever that is too much.
async fn read_on(chain: &Ethereum, first: u64, last: u64) -> Result<Vec<Event>, Error> {
    let (mut events, mut next, mut size) = (Vec::new(), first, last - first + 1);
    while next <= last {
        let end = last.min(next + size - 1);
        match chain.events(Span::Range(BlockHeight(next), BlockHeight(end))).await {
            Ok(told) => events.extend(told.logs),
            Err(Error::TooMuch { blocks, .. }) if size > 1 => {
                size = blocks.unwrap_or(size / 2).clamp(1, size - 1);
                continue;
            }
            Err(error) => return Err(error),
        }
        next = end + 1;
    }
    Ok(events)
}

#[actix_rt::test]
async fn a_range_that_is_too_much_is_told_apart_with_the_range_that_the_words_allow() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    for account in 1..5 {
        world.send(account, offer()).await;
        world.anvil.mine(5);
    }
    let head = world.chain.head().await.unwrap().number.0;
    let whole = world.chain.events(Span::Range(BlockHeight(0), BlockHeight(head))).await.unwrap().logs;
    assert_eq!(whole.len(), 4);
    for (code, words, allowed) in [
        (-32005, "query returned more than 10000 results", None),
        (-32602, "Log response size exceeded. This block range should work: [0x0, 0x2]", Some(3)),
        (-32614, "eth_getLogs is limited to a 3 blocks range", Some(3)),
        (-32000, "block range too large", None),
    ] {
        let liar = Liar::start(*world.anvil, move |method, params, answer| {
            let number = |key: &str| quantity(&params[0][key]);
            if method == "eth_getLogs" && number("toBlock") - number("fromBlock") >= 3 {
                *answer = json!({ "error": { "code": code, "message": words } });
            }
        });
        let chain = world.through(&liar.url());
        let error = chain.events(Span::Range(BlockHeight(0), BlockHeight(head))).await.unwrap_err();
        assert!(
            matches!(&error, Error::TooMuch { blocks, message, .. }
            if *blocks == allowed && message == words),
            "{error:?}"
        );
        assert_eq!(read_on(&chain, 0, head).await.unwrap(), whole, "{words}");
        liar.lie(|method, _, answer| {
            if method == "eth_getLogs" {
                *answer = json!({ "error": { "code": -32000, "message": "no" } });
            }
        });
        let error = read_on(&chain, 0, head).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "other words stay a refusal: {error}");
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
    assert_eq!(read_on(&chain, 0, head).await.unwrap(), whole, "an answer larger than is read");
}

#[actix_rt::test]
async fn a_range_that_takes_too_long_is_too_much() {
    let Some(world) = World::start().await else { return };
    world.anvil.mine(20);
    let liar = Liar::start(*world.anvil, move |method, params, _| {
        let number = |key: &str| quantity(&params[0][key]);
        if method == "eth_getLogs" && number("toBlock") - number("fromBlock") >= 8 {
            std::thread::sleep(Duration::from_secs(3));
        }
    });
    let hasty = json_rpc::Config { idle: Duration::from_secs(1), ..json_rpc::Config::default() };
    let chain = Ethereum::new(Rc::new(Client::new(&liar.url(), hasty).unwrap()), by_router(&world.at));
    let error = chain.events(Span::Range(BlockHeight(0), BlockHeight(19))).await.unwrap_err();
    assert!(matches!(error, Error::TooMuch { blocks: None, .. }), "{error:?}");
    assert_eq!(read_on(&chain, 0, 19).await.unwrap(), []);
}

#[actix_rt::test]
async fn times_are_the_same_whether_the_provider_tells_them_with_the_logs_or_not() {
    let Some(world) = World::start().await else { return };
    world.chain.contracts().await.unwrap();
    for account in 1..4 {
        world.send(account, offer()).await;
        world.anvil.mine(3);
    }
    let span = Span::Range(BlockHeight(0), world.chain.head().await.unwrap().number);
    let told = world.chain.events(span).await.unwrap();
    assert!(told.logs.iter().all(|log| log.at.time.0 > 1_600_000_000));
    for lie in ["gone", "zero"] {
        let liar = Liar::start(*world.anvil, move |method, _, answer| {
            for log in
                answer["result"].as_array_mut().into_iter().flatten().filter(|_| method == "eth_getLogs")
            {
                match lie {
                    "gone" => drop(log.as_object_mut().unwrap().remove("blockTimestamp")),
                    _ => log["blockTimestamp"] = json!("0x0"),
                }
            }
        });
        assert_eq!(world.through(&liar.url()).events(span).await.unwrap(), told, "{lie}");
    }
}
