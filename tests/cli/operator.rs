//! The commands that speak to a running node, with a real chain below it.

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use scatter::adapters::ethereum::calls::encode;
use scatter::adapters::ethereum::deploy::{deploy, fund, Deployer};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::json_rpc::{self, Client};
use scatter::adapters::keystore;
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{Address, ByteSize, FileHash, Wei};
use serde_json::Value;

use crate::place::{error, Place};
use crate::support::anvil::Anvil;
use crate::support::scatter::{Finished, Scatter};
use crate::support::{eventually, PATIENCE};

/// The operator's directory on a chain with a market of its own: a bidder's node, funded.
pub struct Market {
    pub place: Place,
    pub anvil: Anvil,
    market: Address,
}

impl Market {
    pub fn start() -> Option<Self> {
        let anvil = Anvil::start()?;
        let key = hex::decode(anvil.keys()[0].trim_start_matches("0x")).unwrap();
        let owner = Signer::from_key(&key.try_into().unwrap()).unwrap();
        let place = Place::new();
        let me = place.account.parse().unwrap();
        let deployed = actix_rt::System::new().block_on(async {
            let rpc = Rc::new(Client::new(&anvil.url(), json_rpc::Config::default()).unwrap());
            let deployed = deploy(rpc.clone(), &owner, &[("minDuration", 60)]).await.unwrap();
            fund(rpc, &owner, me, "1 ether".parse().unwrap()).await.unwrap();
            deployed
        });
        place.configure(&[
            ("validator = true", ""),
            ("log_format = \"text\"", "log_format = \"json\""),
            ("http://127.0.0.1:1/secret-api-key", &anvil.url()),
            ("0x00000000000000000000000000000000000000aa", &deployed.market.to_string()),
            ("[wallet]", "confirmations = 1\npoll = \"100ms\"\n[wallet]"),
        ]);
        Some(Self { place, anvil, market: deployed.market })
    }

    pub fn run(&self) -> Scatter {
        let node = Scatter::start(self.place.path(), &["run", "--config", "node.toml"]);
        node.wait_for_line("start", PATIENCE, |line| line.contains("running").then_some(()));
        eventually("a look at the chain", PATIENCE, || {
            let status = self.finish(&["status"]);
            (status.code() == 0 && !status.json()["chain"].is_null()).then_some(())
        });
        node
    }

    /// Sends a bid with our key that is too short for the market.
    fn place_refused_bid(&self) {
        let call = MarketCall::Bid {
            file: FileHash([1; 32]),
            size: ByteSize(1),
            duration: 1,
            amount: Wei::from(1_000),
            pool: Wei::from(10),
            min_validations: 2,
        };
        let call = encode(&call, self.place.account.parse().unwrap(), self.market, None).unwrap();
        let signer = keystore::open(&self.place.path().join("key.json"), "open sesame").unwrap();
        actix_rt::System::new().block_on(async {
            let rpc = Rc::new(Client::new(&self.anvil.url(), json_rpc::Config::default()).unwrap());
            Deployer::new(rpc, &signer).send(Some(call.to), call.value, call.data).await.unwrap();
        });
    }

    /// Runs a command to its answer while the chain goes on.
    pub fn answer(&self, args: &[&str]) -> Value {
        let ended = self.finish(args);
        assert_eq!(ended.code(), 0, "{args:?}: {ended:?}");
        ended.json()
    }

    /// Runs a command to its end while the chain goes on.
    pub fn finish(&self, args: &[&str]) -> Finished {
        let command =
            Scatter::start(self.place.path(), &[args, &["--config", "node.toml", "--json"]].concat());
        while command.status().is_none() {
            self.anvil.mine(1);
            std::thread::sleep(Duration::from_millis(100));
        }
        command.finish(PATIENCE)
    }
}

#[test]
fn an_operator_registers_and_places_a_bid_through_the_running_node() {
    let Some(market) = Market::start() else { return };
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
    let Some(market) = Market::start() else { return };
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
    let Some(market) = Market::start() else { return };
    let _node = market.run();
    fs::write(market.place.path().join("file"), "content").unwrap();
    let before = market.anvil.balance(&market.place.account);
    let bid = ["bid", "place", "file", "--amount", "1 gwei", "--pool", "1000", "--duration", "1s", "--yes"];
    let refused = market.finish(&bid);
    assert_eq!((refused.code(), &error(&refused)["code"]), (4, &"refused".into()), "{refused:?}");
    assert!(
        error(&refused)["message"].as_str().unwrap().contains("the market would refuse it"),
        "{refused:?}"
    );
    assert_eq!(market.anvil.balance(&market.place.account), before);
}

#[test]
fn what_the_market_owes_is_withdrawn_once() {
    let Some(market) = Market::start() else { return };
    // The market credits the value of a bid that it refuses.
    market.place_refused_bid();
    let _node = market.run();
    let withdrawn = market.answer(&["withdraw"]);
    let event = &withdrawn["result"]["events"][0];
    assert_eq!((&event["event"], &event["amount"]), (&"withdrawn".into(), &"1010".into()), "{withdrawn}");
    let again = market.finish(&["withdraw"]);
    assert_eq!((again.code(), &error(&again)["code"]), (4, &"refused".into()), "{again:?}");
}
