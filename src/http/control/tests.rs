use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use scatter_actors::domain::cids;
use scatter_actors::domain::market::{
    Execution, Market, MarketCall, MarketEvent, MarketRules, Position, Version,
};
use scatter_actors::domain::registration;
use scatter_actors::domain::units::{BlockHeight, ChainTime, FileHash, TxHash, WallTime};
use scatter_actors::ports::ipfs::Reach;
use scatter_actors::ports::keys::{Fees, Keys, Unsigned};
use scatter_actors::ports::store::{self, Batch, Order as Direction};
use scatter_actors::records::audit::AuditSecrets;
use scatter_actors::records::following::{Followed, Standing};
use scatter_actors::records::intent::{Intent, IntentState};
use scatter_actors::records::journal::{Fact, Outcome};
use scatter_actors::records::meta::ChainStatus;
use scatter_actors::testkit::chain::{FakeChain, FakeKeys};
use scatter_actors::testkit::{ManualClock, MemoryIpfs, MemoryStore, SeededRandomness};
use serde_json::json;

use super::*;

const ME: Address = Address([1; 20]);
const CHAIN: u64 = 1337;

struct World {
    chain: Rc<FakeChain>,
    store: Rc<MemoryStore>,
    ipfs: Rc<MemoryIpfs>,
    control: Addr<Control>,
}

fn market() -> Market {
    Market { chain: CHAIN, address: Address([0x3a; 20]) }
}

fn world_of(version: Version) -> World {
    let chain = Rc::new(FakeChain::with_market(CHAIN));
    let store = Rc::new(MemoryStore::default());
    let ipfs = Rc::new(MemoryIpfs::new());
    let status = ChainStatus {
        market: market(),
        rules: MarketRules { version, accept_hold: 900, vote_duration: 86_400 },
        head: BlockHeight(0),
        head_time: chain.now(),
        newest_time: chain.now(),
        finalized: BlockHeight(0),
        head_changed: WallTime(0),
        poison: 0,
        halted: None,
    };
    let mut batch = Batch::new();
    batch.put(&status);
    store.commit(batch).unwrap();
    let ports = Ports {
        chain: Some(chain.clone() as Rc<dyn Chain>),
        ipfs: ipfs.clone(),
        store: store.clone(),
        clock: Rc::new(ManualClock::at(WallTime(5))),
        randomness: Rc::new(SeededRandomness::new(1)),
    };
    let config = Config { me: Some(ME), hoster: true, validator: true, endpoint: None, consortium: None };
    let control = Control::new(config, ports, Outbox::default(), Guard::none()).start();
    World { chain, store, ipfs, control }
}

fn world() -> World {
    world_of(Version::V2)
}

fn offer(request: u32) -> Offer {
    Offer {
        request,
        cid: cids::of_file(FileHash([7; 32])),
        size: ByteSize(1 << 20),
        amount: Wei::from(1_000),
        pool: Wei::from(10),
        duration: 7 * 86_400,
        min_validations: 2,
    }
}

impl World {
    async fn order(&self, order: Order) -> Result<Value, Fault> {
        self.control.send(order).await.unwrap()
    }
    fn intents(&self) -> Vec<Intent> {
        store::list(&*self.store, &[], Direction::Ascending, 100).unwrap()
    }
    /// Mines a call of ours and tells what came of it.
    async fn mine(&self, call: MarketCall) -> Vec<MarketEvent> {
        self.mine_on(market().address, call).await
    }
    async fn mine_on(&self, market: Address, call: MarketCall) -> Vec<MarketEvent> {
        let nonce = self.chain.mined().len() as u64;
        let fees = Fees { max_fee: Wei::from(10_000_000_000), max_tip: Some(Wei::from(1_000_000_000)) };
        let tx = Unsigned { chain: CHAIN, market, nonce, gas_limit: 500_000, fees, call };
        let signed = FakeKeys(ME).sign(&tx).unwrap();
        self.chain.submit(&signed.raw).await.unwrap();
        self.chain.mine();
        self.chain.mined().last().unwrap().receipt.events.clone()
    }
    fn put(&self, record: &impl store::Record) {
        let mut batch = Batch::new();
        batch.put(record);
        self.store.commit(batch).unwrap();
    }
    fn tell(&self, seq: u64, event: MarketEvent, retracted: bool) {
        let hash = Default::default();
        let at = Position {
            block: BlockHeight(1),
            log: seq as u32,
            hash,
            time: ChainTime(1),
            tx: TxHash::default(),
        };
        self.put(&Fact { seq, market: market(), at, event, retracted });
    }
}

#[actix_rt::test]
async fn the_same_request_heard_twice_is_one_bid() {
    let world = world();
    let first = world.order(Order::Bid(offer(9))).await.unwrap();
    assert_eq!(first, world.order(Order::Bid(offer(9))).await.unwrap());
    assert_eq!(world.intents().len(), 1);
    assert_ne!(first, world.order(Order::Bid(offer(10))).await.unwrap());
    let wanted = &world.intents()[0];
    assert_eq!(wanted.call.value(), Wei::from(1_010));
    assert_eq!((wanted.state.clone(), wanted.created), (IntentState::Queued, WallTime(5)));
}

#[actix_rt::test]
async fn a_bid_that_the_market_would_refuse_is_refused_before_money_moves() {
    let world = world();
    for (key, offer) in [
        ("size", Offer { size: ByteSize(0), ..offer(1) }),
        ("amount", Offer { amount: Wei::ZERO, ..offer(1) }),
        ("min_validations", Offer { min_validations: 16, ..offer(1) }),
        ("pool", Offer { pool: Wei::from(1), ..offer(1) }),
        ("duration", Offer { duration: 0, ..offer(1) }),
    ] {
        for order in [Order::Bid(offer.clone()), Order::Quote(offer)] {
            let fault = world.order(order).await.unwrap_err();
            assert_eq!((fault.code, fault.key.as_deref()), (Code::Usage, Some(key)));
        }
    }
    assert!(world.intents().is_empty());
}

#[actix_rt::test]
async fn a_quote_warns_and_sends_nothing() {
    let world = world();
    let quote = world.order(Order::Quote(offer(1))).await.unwrap();
    let warnings = quote["warnings"].to_string();
    assert!(warnings.contains("0 accounts are registered"), "{warnings}");
    assert!(warnings.contains("has not pinned the content"), "{warnings}");
    assert!(!warnings.contains("outvoting"), "{warnings}");
    assert_eq!(quote["value"], "1010");

    // 1.1 gwei a gas × 86k × (2 + 1) = 0.0002838 ether.
    let safe: Wei = "0.0002838 ether".parse().unwrap();
    for (amount, warned) in [(safe, false), (safe.plus(Wei::from(1)), true)] {
        let quote = world.order(Order::Quote(Offer { amount, ..offer(1) })).await.unwrap();
        assert_eq!(quote["warnings"].to_string().contains("outvoting"), warned, "{amount}");
    }
    assert!(world.intents().is_empty());

    let legacy = world_of(Version::Legacy).order(Order::Quote(offer(1))).await.unwrap();
    assert!(legacy["warnings"][0].as_str().unwrap().contains("keeps the money"), "{legacy}");
}

#[actix_rt::test]
async fn pinned_content_and_enough_validators_are_not_warned_of() {
    let world = world();
    world.mine(MarketCall::Register(FileHash([1; 32]))).await;
    let cid = world.ipfs.hold(cids::RAW, b"content");
    world.ipfs.pin(cid, ByteSize(100), Rc::new(|_| {})).await.unwrap();
    let offer = Offer { cid, min_validations: 1, ..offer(1) };
    let warnings = world.order(Order::Quote(offer)).await.unwrap()["warnings"].clone();
    let text = warnings.to_string();
    assert!(text.contains("1 accounts are registered") && !text.contains("pinned"), "{text}");
}

#[actix_rt::test]
async fn nothing_is_withdrawn_where_nothing_is_owed() {
    let world = world();
    let fault = world.order(Order::Withdraw { request: 1 }).await.unwrap_err();
    assert_eq!(fault.code, Code::Refused);
    assert!(fault.message.contains("owes nothing to 0x0101"), "{fault}");
    // The market credits the value of a bid that it refuses.
    let Offer { size, amount, pool, .. } = offer(1);
    let file = Default::default();
    world.mine(MarketCall::Bid { file, size, duration: 1, amount, pool, min_validations: 1 }).await;
    let first = world.order(Order::Withdraw { request: 1 }).await.unwrap();
    assert_eq!(first, world.order(Order::Withdraw { request: 1 }).await.unwrap());
    assert_eq!(world.intents().len(), 1);
}

fn registration(endpoint: Option<&str>) -> Order {
    Order::Register(Registration { request: 3, endpoint: endpoint.map(str::to_owned), alias: "me".into() })
}

#[actix_rt::test]
async fn a_registration_is_kept_in_ipfs_before_its_digest_is_wanted() {
    let world = world();
    let answer = world.order(registration(Some("http://127.0.0.1:8480"))).await.unwrap();
    let [Intent { call: MarketCall::Register(file), .. }] = &world.intents()[..] else { panic!() };
    let cid = cids::raw_of_file(*file);
    assert_eq!((answer["cid"].clone(), world.ipfs.pinned()), (json!(cid.to_string()), vec![cid]));
    let block = world.ipfs.block(cid, Reach::Local).await.unwrap().unwrap();
    let read = registration::parse(&block, ME).unwrap();
    assert_eq!((read.alias.as_str(), read.host.endpoint.as_deref()), ("me", Some("http://127.0.0.1:8480")));
    // The anchor of secrets that are durable already.
    let secrets = AuditSecrets::read(&*world.store).unwrap().unwrap();
    assert_eq!(read.host.audit, Some(secrets.anchor()));
}

#[actix_rt::test]
async fn the_same_file_is_not_registered_twice() {
    let world = world();
    world.order(registration(None)).await.unwrap();
    let call = world.intents()[0].call.clone();
    world.mine(call).await;
    let again = world.order(registration(None)).await.unwrap();
    assert!(again["intent"].is_null(), "{again}");
    assert!(again["warnings"][0].as_str().unwrap().contains("no endpoint"), "{again}");
}

#[actix_rt::test]
async fn an_endpoint_that_nobody_would_dial_is_refused() {
    let world = world();
    for endpoint in ["https://hoster.example/path", "ftp://hoster.example", "https://hoster.example:22"] {
        let fault = world.order(registration(Some(endpoint))).await.unwrap_err();
        assert_eq!((fault.code, fault.key.as_deref()), (Code::Usage, Some("hoster.announce_url")));
        assert!(fault.message.starts_with(endpoint), "{fault}");
    }
    assert!(world.intents().is_empty());
}

#[actix_rt::test]
async fn an_intent_tells_its_outcome_once_it_is_deep_enough() {
    let world = world();
    let key = IntentKey("bid:x".into());
    let unknown = world.order(Order::Intent(key.clone())).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    let result = Execution::Reverted { tx: TxHash([4; 32]), cost: Wei::from(3) };
    let call = MarketCall::Withdraw;
    let outcome = Outcome { seq: 1, intent: key.clone(), market: market(), call: call.clone(), result };
    world.put(&outcome);
    for (state, told) in [
        (IntentState::Queued, false),
        // A reorg took the outcome back.
        (IntentState::InFlight { nonce: 0 }, false),
        (IntentState::Confirmed { nonce: 0 }, true),
        (IntentState::Done, true),
    ] {
        let (key, call) = (key.clone(), call.clone());
        let intent = Intent { key, market: market(), call, deadline: None, created: WallTime(1), state };
        world.put(&intent);
        let report = world.order(Order::Intent(intent.key.clone())).await.unwrap();
        assert_eq!(!report["outcome"].is_null(), told, "{report}");
    }
}

#[actix_rt::test]
async fn own_bids_are_listed_newest_first_without_what_a_reorg_removed() {
    let world = world();
    let Offer { size, amount, pool, duration, .. } = offer(1);
    for seq in 1..=3 {
        let call =
            MarketCall::Bid { file: FileHash([1; 32]), size, duration, amount, pool, min_validations: 2 };
        let [event] = <[_; 1]>::try_from(world.mine(call).await).unwrap();
        world.tell(seq, event, false);
    }
    let facts: Vec<Fact> = store::list(&*world.store, &[], Direction::Ascending, 10).unwrap();
    world.tell(4, facts[1].event.clone(), true);
    let MarketEvent::BidPlaced { bid, amount, pool, file, size, .. } = facts[0].event.clone() else {
        panic!()
    };
    let strangers =
        MarketEvent::BidPlaced { bid: BidId(7), bidder: Address([9; 20]), amount, pool, file, size };
    world.tell(5, strangers, false);
    let items = world.order(Order::Bids).await.unwrap()["items"].clone();
    let listed: Vec<_> = items.as_array().unwrap().iter().map(|bid| bid["bid"].clone()).collect();
    assert_eq!(listed, [json!(bid.0 + 2), json!(bid.0)]);
    assert_eq!(items[0]["phase"], "open");
    let shown = world.order(Order::Show(bid, None)).await.unwrap();
    assert_eq!((shown["terms"]["amount"].clone(), shown["decisions"].clone()), (json!("1000"), json!([])));
    let unknown = world.order(Order::Show(BidId(99), None)).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
}

#[actix_rt::test]
async fn a_bid_on_an_earlier_market_is_found_by_its_number_or_by_the_market_where_both_know_it() {
    const NEW: Address = Address([0x4b; 20]);
    let world = world();
    let Offer { size, amount, pool, duration, .. } = offer(1);
    let bid =
        |file| MarketCall::Bid { file: FileHash(file), size, duration, amount, pool, min_validations: 2 };
    world.mine(bid([1; 32])).await;
    world.mine(bid([2; 32])).await;
    // The Router named the other market since, and one bid was placed there.
    world.chain.deploy(NEW, Version::V2);
    world.chain.mine();
    world.mine_on(NEW, bid([3; 32])).await;
    let old = world.chain.market().await.unwrap().unwrap();
    let new = world.chain.market_at(NEW).await.unwrap().unwrap();
    let first = Followed::first(CHAIN, old, BlockHeight(1));
    world.put(&Followed { standing: Standing::Retired { quiet_at: None }, ..first });
    world.put(&Followed::first(CHAIN, new, BlockHeight(3)));
    let status = ChainStatus::read(&*world.store).unwrap().unwrap();
    world.put(&ChainStatus { market: Market { chain: CHAIN, address: NEW }, ..status });

    let show = async |id, on| {
        let shown = world.order(Order::Show(BidId(id), on)).await?;
        let address = shown["market"]["address"].as_str().unwrap().parse::<Address>().unwrap();
        Ok::<_, Fault>((address, shown["terms"]["file"].as_str().unwrap()[2..4].to_owned()))
    };
    assert_eq!(show(0, None).await.unwrap(), (NEW, "03".into()));
    assert_eq!(show(1, None).await.unwrap(), (market().address, "02".into()), "the new one has no such bid");
    assert_eq!(show(0, Some(market().address)).await.unwrap(), (market().address, "01".into()));
    assert_eq!(show(1, Some(NEW)).await.unwrap_err().code, Code::NotFound);
    let nobodys = show(0, Some(Address([9; 20]))).await.unwrap_err();
    assert!(nobodys.to_string().contains("never a market of this node"), "{nobodys}");
}

#[actix_rt::test]
async fn a_node_without_chain_or_account_says_which_key_is_missing() {
    let World { ipfs, store, .. } = world();
    let clock = Rc::new(ManualClock::at(WallTime(5)));
    let randomness = Rc::new(SeededRandomness::new(1));
    let ports = Ports { chain: None, ipfs, store, clock, randomness };
    let control = Control::new(Config::default(), ports, Outbox::default(), Guard::none()).start();
    let fault = control.send(Order::Bid(offer(1))).await.unwrap().unwrap_err();
    assert_eq!(fault.key.as_deref(), Some("chain.urls"));
}

#[test]
fn the_address_that_others_can_use_is_told() {
    let addrs =
        ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/dns4/a.example/tcp/1", "/ip4/8.8.8.8/tcp/1"];
    let addrs = addrs.map(str::to_owned);
    assert_eq!(desk::reachable(&addrs), Some(&addrs[2]));
    assert_eq!(desk::reachable(&addrs[..2]), Some(&addrs[1]));
    assert_eq!(desk::reachable(&addrs[..1]), Some(&addrs[0]));
}

/// One exchange from another thread, as the command line does it.
async fn exchange(path: std::path::PathBuf, question: String) -> String {
    let talk = move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[actix_rt::test]
async fn the_socket_is_its_owners_alone_serves_orders_and_is_gone_afterwards() {
    let world = world();
    let door = Door::new();
    door.point(&world.control);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    // A dead node left its socket behind.
    drop(UnixListener::bind(&path).unwrap());
    let more = |config: &mut ServiceConfig| {
        config.route("/healthz", web::get().to(|| async { HttpResponse::Ok().json(json!({"alive": true})) }));
    };
    let running = serve(&path, door, more).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let handle = running.server.handle();
    let served = actix_rt::spawn(running.run());

    let body = serde_json::to_string(&json!({
        "request": 1, "cid": offer(1).cid.to_string(), "size": 5, "amount": "1000", "pool": "10",
        "duration": 604_800, "min_validations": 2,
    }))
    .unwrap();
    let answer = exchange(path.clone(), post("/bid", &body)).await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("\"intent\":\"bid:1337:"), "{answer}");
    let key = world.intents()[0].key.clone();
    let answer = exchange(path.clone(), format!("GET /intents/{key} HTTP/1.0\r\n\r\n")).await;
    assert!(answer.contains("\"state\":\"queued\""), "{answer}");
    let answer = exchange(path.clone(), post("/bid", "{\"amount\": 5}")).await;
    assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("\"code\":\"usage\""), "{answer}");
    let answer = exchange(path.clone(), "GET /healthz HTTP/1.0\r\n\r\n".into()).await;
    assert!(answer.contains("\"alive\":true"), "{answer}");

    handle.stop(true).await;
    served.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[actix_rt::test]
async fn something_else_at_the_sockets_place_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    std::fs::create_dir(&path).unwrap();
    assert!(serve(&path, Door::new(), |_| {}).is_err());
    assert!(path.is_dir());
}
