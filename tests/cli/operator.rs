//! The commands that speak to a running node, with a real chain below it.

use std::fs;

use scatter::adapters::ethereum::calls::encode;
use scatter::adapters::ethereum::deploy::Deployer;
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{ByteSize, FileHash, Wei};
use serde_json::Value;

use crate::support::anvil::Anvil;
use crate::support::geth::Geth;
use crate::support::market::{client, Market, Miner};
use crate::support::place::error;
use crate::support::{eventually, PATIENCE};

/// Sends a bid with the node's key that is too short for the market.
fn place_refused_bid(market: &Market<Anvil>) {
    let call = MarketCall::Bid {
        file: FileHash([1; 32]),
        size: ByteSize(1),
        duration: 1,
        amount: Wei::from(1_000),
        pool: Wei::from(10),
        min_validations: 2,
    };
    let call = encode(&call, market.place.account.parse().unwrap(), market.market, None).unwrap();
    actix_rt::System::new().block_on(async {
        let (rpc, signer) = (client(&market.chain.url()), market.place.signer());
        Deployer::new(rpc, &signer).send(Some(call.to), call.value, call.data).await.unwrap();
    });
}

#[test]
fn an_operator_registers_and_places_a_bid_through_the_running_node() {
    let Some(anvil) = Anvil::start() else { return };
    registers_and_places_a_bid(&Market::on(anvil));
}

#[test]
fn an_operator_on_geth_registers_and_places_a_bid_through_the_running_node() {
    let Some(geth) = Geth::start() else { return };
    registers_and_places_a_bid(&Market::on(geth));
}

fn registers_and_places_a_bid(market: &Market<impl Miner>) {
    let node = market.run();
    let place = &market.place;

    let registered = market.answer(&["register", "--alias", "me"]);
    assert_eq!(registered["registration"]["address"], place.account.as_str());
    assert_eq!(registered["result"]["result"], "mined", "{registered}");
    assert!(market.answer(&["register", "--alias", "me"])["intent"].is_null());

    fs::write(place.path().join("file"), "content that somebody keeps").unwrap();
    let bid = ["bid", "place", "file", "--amount", "1 gwei", "--pool", "1000", "--duration", "7d"];
    let unasked = market.finish(&bid);
    assert_eq!((unasked.code(), &error(&unasked)["code"]), (4, &"refused".into()), "{unasked:?}");
    assert_eq!(market.answer(&["bid", "list"])["items"], serde_json::json!([]));
    let placed = market.answer(&[&bid[..], &["--yes"]].concat());
    assert_eq!((&placed["quote"]["size"], &placed["quote"]["value"]), (&27.into(), &"1000001000".into()));
    assert!(placed["quote"]["warnings"].to_string().contains("accounts are registered"), "{placed}");
    let id = placed["bid"].as_u64().unwrap().to_string();
    let shown = market.answer(&["bid", "show", &id]);
    assert_eq!(
        (&shown["phase"], &shown["terms"]["bidder"]),
        (&"open".into(), &place.account.as_str().into())
    );
    assert_eq!(market.answer(&["bid", "list"])["items"][0]["cid"], placed["quote"]["cid"]);

    let status = market.answer(&["status"]);
    assert_eq!(status["wallet"]["account"], place.account.as_str());
    for args in [&["status"][..], &["bid", "list"], &["bid", "show", &id]] {
        let ended = place.scatter(&[args, &["--config", "node.toml"]].concat());
        assert!(ended.code() == 0 && ended.stdout.lines().count() > 1, "{ended:?}");
    }
    let refused = place.scatter(&["withdraw", "--config", "node.toml", "--json"]);
    assert_eq!((refused.code(), &error(&refused)["code"]), (4, &"refused".into()));
    let unknown = place.scatter(&["bid", "show", "99", "--config", "node.toml", "--json"]);
    assert_eq!((unknown.code(), &error(&unknown)["code"]), (4, &"not_found".into()));

    // A second node on the directory is refused, and the first is none the worse for it.
    let second = place.scatter(&["run", "--config", "node.toml"]);
    assert!(second.code() == 2 && second.stderr.contains("holds this data directory"), "{second:?}");
    let check = place.scatter(&["check", "--config", "node.toml"]);
    assert!(check.stdout.contains("in use by the node that is running"), "{check:?}");

    node.terminate();
    let ended = node.finish(PATIENCE);
    assert_eq!(ended.code(), 0);
    for line in ended.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && !line.to_string().contains("sesame"), "{line}");
    }
    assert!(!place.path().join("data/control.sock").exists());
}

#[test]
fn a_probe_learns_from_the_exit_status_whether_the_node_lives_and_is_ready() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    let file = market.place.path().join("node.toml");
    let ready = fs::read_to_string(&file).unwrap();
    let full = ready.replace("[roles]", "[roles]\nhoster = true") + "[hoster]\nmin_free_disk = \"900TiB\"\n";
    for (config, verdict) in [(&ready, 0), (&full, 3)] {
        fs::write(&file, config).unwrap();
        let node = market.run();
        assert_eq!(market.answer(&["status", "--live"])["alive"], true);
        let judged = eventually("a verdict that does not come too early", PATIENCE, || {
            let judged = market.finish(&["status", "--ready"]);
            let early = judged.stdout.contains("unseen") || judged.stdout.contains("actor_down");
            (!early).then_some(judged)
        });
        assert_eq!(judged.code(), verdict, "{judged:?}");
        if verdict != 0 {
            assert_eq!(error(&judged)["code"], "check_failed");
            assert_eq!(judged.json()["reasons"][0]["code"], "disk_full");
        }
        node.terminate();
        assert_eq!(node.finish(PATIENCE).code(), 0);
    }
    for what in ["--live", "--ready"] {
        assert_eq!(market.finish(&["status", what]).code(), 3, "nothing runs");
    }
}

#[test]
fn a_bid_that_the_market_would_refuse_costs_nothing() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    let _node = market.run();
    fs::write(market.place.path().join("file"), "content").unwrap();
    let before = market.chain.balance(&market.place.account);
    let bid = ["bid", "place", "file", "--amount", "1 gwei", "--pool", "1000", "--duration", "1s", "--yes"];
    let refused = market.finish(&bid);
    assert_eq!((refused.code(), &error(&refused)["code"]), (4, &"refused".into()), "{refused:?}");
    assert!(
        error(&refused)["message"].as_str().unwrap().contains("the market would refuse it"),
        "{refused:?}"
    );
    assert_eq!(market.chain.balance(&market.place.account), before);
}

#[test]
fn what_the_market_owes_is_withdrawn_once() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    // The market credits the value of a bid that it refuses.
    place_refused_bid(&market);
    let _node = market.run();
    let withdrawn = market.answer(&["withdraw"]);
    let event = &withdrawn["result"]["events"][0];
    assert_eq!((&event["event"], &event["amount"]), (&"withdrawn".into(), &"1010".into()), "{withdrawn}");
    let again = market.finish(&["withdraw"]);
    assert_eq!((again.code(), &error(&again)["code"]), (4, &"refused".into()), "{again:?}");
}
