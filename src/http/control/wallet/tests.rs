//! The routes, with a wallet on a chain in memory behind them.

use std::rc::Rc;

use actix::prelude::*;
use actix_web::http::StatusCode;
use actix_web::test::{call_service, init_service, read_body_json, TestRequest};
use actix_web::App;
use scatter_actors::domain::market::{Market, MarketCall, MarketRules, Version};
use scatter_actors::domain::units::{Address, BlockHeight, FileHash, WallTime};
use scatter_actors::ports::chain::Chain;
use scatter_actors::ports::store::{Batch, Store};
use scatter_actors::records::intent::{Intent, IntentState};
use scatter_actors::records::meta::ChainStatus;
use scatter_actors::supervisor::Guard;
use scatter_actors::testkit::chain::{FakeChain, FakeKeys};
use scatter_actors::testkit::{ManualClock, MemoryIpfs, MemoryStore, SeededRandomness};
use scatter_actors::wallet_signer::{self, Submit, WalletSigner};

use super::super::{Config, Control, Outbox, Ports};
use super::*;

const ME: Address = Address([1; 20]);
const MARKET: Market = Market { chain: 1337, address: Address([0x3a; 20]) };

struct World {
    chain: Rc<FakeChain>,
    store: Rc<MemoryStore>,
    outbox: Outbox,
    door: Door<Order>,
}

/// A node with an account; its wallet sends one transaction at a time.
fn world(me: Option<Address>) -> World {
    let chain = Rc::new(FakeChain::with_market(MARKET.chain));
    let (store, clock) = (Rc::new(MemoryStore::default()), Rc::new(ManualClock::at(WallTime(5))));
    let mut batch = Batch::new();
    batch.put(&ChainStatus {
        market: MARKET,
        rules: MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 86_400 },
        head: BlockHeight(0),
        head_time: chain.now(),
        newest_time: chain.now(),
        finalized: BlockHeight(0),
        head_changed: WallTime(0),
        poison: 0,
        halted: None,
    });
    store.commit(batch).unwrap();
    let ports = wallet_signer::Ports {
        chain: chain.clone(),
        keys: Rc::new(FakeKeys(ME)),
        store: store.clone(),
        clock: clock.clone(),
    };
    let config = wallet_signer::Config { in_flight: 1, ..Default::default() };
    let wallet = WalletSigner::new(config, ports, Guard::none()).start();
    let outbox = Outbox::default();
    outbox.wallet.point(&wallet);
    outbox.cancel.point(&wallet);
    outbox.bump.point(&wallet);
    outbox.submit.point(&wallet);
    let ports = Ports {
        chain: Some(chain.clone() as Rc<dyn Chain>),
        ipfs: Rc::new(MemoryIpfs::new()),
        store: store.clone(),
        clock,
        randomness: Rc::new(SeededRandomness::new(1)),
    };
    let config = Config { me, ..Config::default() };
    let door = Door::new();
    door.point(&Control::new(config, ports, outbox.clone(), Guard::none()).start());
    World { chain, store, outbox, door }
}

impl World {
    fn want(&self, key: &str) {
        let key = IntentKey(key.into());
        let mut batch = Batch::new();
        batch.put(&Intent {
            key: key.clone(),
            market: MARKET,
            call: MarketCall::Register(FileHash([7; 32])),
            deadline: None,
            created: WallTime(5),
            state: IntentState::Queued,
        });
        self.store.commit(batch).unwrap();
        self.outbox.submit.tell(Submit { key });
    }
    async fn ask(&self, request: TestRequest) -> (StatusCode, Value) {
        let app = init_service(App::new().app_data(Data::new(self.door.clone())).configure(routes)).await;
        let response = call_service(&app, request.to_request()).await;
        (response.status(), read_body_json(response).await)
    }
    async fn post(&self, path: &str) -> (StatusCode, Value) {
        self.ask(TestRequest::post().uri(path)).await
    }
}

/// Lets the wallet do all that it can do without time: a chain in memory answers within turns.
async fn settled() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn the_operator_cancels_and_bumps_by_key() {
    let world = world(Some(ME));
    world.want("register:1337:0x3a:1");
    world.want("register:1337:0x3a:2");
    settled().await;
    let (first, second) =
        ("/api/v1/wallet/intents/register:1337:0x3a:1", "/api/v1/wallet/intents/register%3A1337%3A0x3a%3A2");
    let (status, answer) = world.post(&format!("{first}/bump")).await;
    let told = json!({"bumped": "under_way", "nonce": 0, "attempt": 0, "intent": "register:1337:0x3a:1"});
    assert_eq!((status, answer), (StatusCode::OK, told));
    settled().await;
    let (status, answer) = world.post(&format!("{first}/bump?attempt=0")).await;
    let told = json!({"bumped": "done", "nonce": 0, "attempt": 1, "intent": "register:1337:0x3a:1"});
    assert_eq!((status, answer), (StatusCode::OK, told));
    let (status, answer) = world.post(&format!("{first}/cancel")).await;
    let told = json!({"cancelled": "under_way", "nonce": 0, "intent": "register:1337:0x3a:1"});
    assert_eq!((status, answer), (StatusCode::OK, told));
    let (status, answer) = world.post(&format!("{second}/cancel")).await;
    assert_eq!((status, answer["cancelled"].as_str()), (StatusCode::OK, Some("done")));
    settled().await;
    let waiting: Vec<MarketCall> = world.chain.pool().into_iter().map(|tx| tx.call).collect();
    assert_eq!(waiting, [MarketCall::NoOp]);
    let (status, answer) = world.ask(TestRequest::get().uri("/wallet")).await;
    assert_eq!((status, &answer["nonce"]), (StatusCode::OK, &json!(1)));
    assert_eq!(answer["pending"][0]["attempts"], 3);
}

#[actix_rt::test]
async fn what_the_wallet_refuses_is_told_with_its_code() {
    let world = world(Some(ME));
    world.want("register:1");
    settled().await;
    world.want("register:2");
    for (path, status, code, words) in [
        ("register:9/cancel", StatusCode::NOT_FOUND, "not_found", "was ever wanted"),
        ("register:2/bump", StatusCode::CONFLICT, "refused", "has no nonce yet"),
    ] {
        let (told, answer) = world.post(&format!("/api/v1/wallet/intents/{path}")).await;
        assert_eq!((told, answer["error"]["code"].as_str()), (status, Some(code)), "{path}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{answer}");
    }
}

#[actix_rt::test]
async fn a_node_without_an_account_says_so() {
    let (status, answer) = world(None).post("/api/v1/wallet/intents/register:1/cancel").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"]["key"], "wallet.keystore");
}
