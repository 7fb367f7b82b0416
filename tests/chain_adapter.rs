//! The chain and key adapters against a real chain: our contracts, the legacy market's traps, and providers that lie.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "chain_adapter/liar.rs"]
mod liar;
mod support;

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::Arc;

use ethers::abi::ethereum_types::{Bloom, BloomInput};
use ethers::types::U256;
use liar::Liar;
use scatter::adapters::ethereum::deploy::{deploy, fund, Deployed, Deployer};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::json_rpc::{self, Client};
use scatter_actors::domain::market::{MarketCall, MarketEvent, Settlement, Version, Vote};
use scatter_actors::domain::units::{
    Address, BidId, BlockHeight, ByteSize, ChainTime, Digest, FileHash, Wei,
};
use scatter_actors::ports::chain::{At, Chain, Error, Event, Events, Receipt, Span};
use scatter_actors::ports::keys::{Fees, Keys, Signed, Unsigned};
use serde_json::{json, Value};
use support::anvil::Anvil;

const FILE: FileHash = FileHash([0x5c; 32]);
const EVIDENCE: Digest = Digest([0xe1; 32]);
const AMOUNT: u128 = 2_000_000_000;
const POOL: u128 = 1_001;
const DURATION: u64 = 100;
const VOTE_DURATION: u64 = 600;

/// A chain with a market of its own, and accounts: owner, bidder, hoster, validators.
struct World {
    anvil: Anvil,
    rpc: Rc<Client>,
    at: Deployed,
    chain: Ethereum,
    accounts: Vec<Signer>,
}

fn client(url: &str) -> Rc<Client> {
    Rc::new(Client::new(url, json_rpc::Config::default()).unwrap())
}

fn by_router(at: &Deployed) -> Config {
    Config { router: Some(at.router), ..Config::default() }
}

impl World {
    async fn start() -> Option<Self> {
        let anvil = Anvil::start()?;
        let rpc = client(&anvil.url());
        let accounts: Vec<_> = anvil
            .keys()
            .iter()
            .map(|key| {
                let mut bytes = [0; 32];
                hex::decode_to_slice(key.trim_start_matches("0x"), &mut bytes).unwrap();
                Signer::from_key(&bytes).unwrap()
            })
            .collect();
        let terms = [("minDuration", 60), ("voteDuration", VOTE_DURATION), ("offerDuration", 3_600)];
        let at = deploy(rpc.clone(), &accounts[0], &terms).await.unwrap();
        let chain = Ethereum::new(rpc.clone(), by_router(&at));
        let accounts = accounts.into_iter().map(|key| key.with_directory(chain.directory())).collect();
        Some(Self { anvil, rpc, at, chain, accounts })
    }

    fn through(&self, url: &str) -> Ethereum {
        Ethereum::new(client(url), by_router(&self.at))
    }

    fn address(&self, account: usize) -> Address {
        self.accounts[account].address()
    }

    async fn sign(&self, account: usize, call: MarketCall, gas_limit: u64) -> Signed {
        let key = &self.accounts[account];
        let nonce = self.chain.nonce(key.address(), At::Pending).await.unwrap();
        let market = self.chain.fees().await.unwrap();
        let fees =
            Fees { max_fee: market.base_fee.unwrap().times(2).plus(market.tip), max_tip: Some(market.tip) };
        let (chain, market) =
            (self.chain.chain_id().await.unwrap(), self.chain.contracts().await.unwrap().market);
        key.sign(&Unsigned { chain, market, nonce, gas_limit, fees, call }).unwrap()
    }

    /// Simulates, signs, submits, and reads the receipt.
    async fn send(&self, account: usize, call: MarketCall) -> Receipt {
        let gas = self.chain.simulate(self.address(account), &call).await.unwrap();
        self.send_blindly(account, call, gas * 5 / 4).await
    }

    async fn send_blindly(&self, account: usize, call: MarketCall, gas: u64) -> Receipt {
        let signed = self.sign(account, call, gas).await;
        assert_eq!(self.chain.submit(&signed.raw).await.unwrap(), signed.hash);
        for _ in 0..1_000 {
            if let Some(receipt) = self.chain.receipt(signed.hash).await.unwrap() {
                assert_eq!(receipt.tx, signed.hash);
                return receipt;
            }
            actix_rt::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{} is not mined", signed.hash);
    }

    async fn refusal(&self, account: usize, call: MarketCall) -> Error {
        self.chain.simulate(self.address(account), &call).await.unwrap_err()
    }
}

fn offer() -> MarketCall {
    MarketCall::Bid {
        file: FILE,
        size: ByteSize(4_096),
        duration: DURATION,
        amount: Wei::from(AMOUNT),
        pool: Wei::from(POOL),
        min_validations: 2,
    }
}

fn vote(bid: BidId, valid: bool) -> MarketCall {
    MarketCall::Vote { bid, valid, evidence: EVIDENCE }
}

fn reverts(reason: &str) -> Error {
    Error::Reverts { reason: reason.to_owned() }
}

#[actix_rt::test]
async fn a_bid_is_carried_to_its_payout_and_all_of_it_is_read_back() {
    let Some(world) = World::start().await else { return };
    let chain = &world.chain;
    let (bidder, hoster) = (world.address(1), world.address(2));
    let (market, rules) = chain.market().await.unwrap().unwrap();
    assert_eq!((market, rules.version), (world.at.market, Version::V2));
    assert_eq!((rules.accept_hold, rules.vote_duration), (900, VOTE_DURATION));
    let contracts = chain.contracts().await.unwrap();
    assert_eq!((contracts.register, contracts.env), (Some(world.at.register), Some(world.at.env)));

    for voter in [3, 4] {
        let receipt = world.send(voter, MarketCall::Register(FILE)).await;
        assert_eq!(receipt.events, [MarketEvent::Registered { who: world.address(voter), file: FILE }]);
    }
    let (file, since) = chain.registration(world.address(3)).await.unwrap().unwrap();
    assert_eq!(file, FILE);
    assert!(since.0 > 0 && since <= chain.head().await.unwrap().time);
    assert_eq!(chain.registration(bidder).await.unwrap(), None);
    assert_eq!(chain.registered_count().await.unwrap(), Some(2));

    let bid = BidId(0);
    assert_eq!((chain.bid_count().await.unwrap(), chain.bid(bid).await.unwrap()), (0, None));
    let receipt = world.send(1, offer()).await;
    let (amount, pool, size) = (Wei::from(AMOUNT), Wei::from(POOL), ByteSize(4_096));
    assert_eq!(receipt.events, [MarketEvent::BidPlaced { bid, bidder, amount, pool, file: FILE, size }]);
    assert_eq!(chain.bid_count().await.unwrap(), 1);
    let terms = chain.terms(bid).await.unwrap().unwrap();
    assert_eq!((terms.bidder, terms.file, terms.size), (bidder, FILE, size));
    assert_eq!(
        (terms.amount, terms.pool, terms.duration, terms.min_validations),
        (amount, pool, DURATION, 2)
    );
    assert_eq!(chain.terms(BidId(1)).await.unwrap(), None);

    let receipt = world.send(2, MarketCall::Accept(bid)).await;
    let when = chain.head().await.unwrap().time;
    assert_eq!(receipt.events, [MarketEvent::Accepted { bid, when, hoster }]);
    let state = chain.bid(bid).await.unwrap().unwrap();
    assert_eq!((state.hoster, state.hold_until, state.pinned_at), (Some(hoster), when.plus(900), None));

    let receipt = world.send(2, MarketCall::Pinned(bid)).await;
    let pinned_at = chain.head().await.unwrap().time;
    assert_eq!(receipt.events, [MarketEvent::Pinned { bid, hoster, file: FILE }]);

    world.anvil.advance(DURATION);
    for voter in [3, 4] {
        let receipt = world.send(voter, vote(bid, true)).await;
        assert_eq!(
            receipt.events,
            [MarketEvent::Voted { bid, validator: world.address(voter), valid: true }]
        );
        let sent = world.anvil.call("eth_getTransactionByHash", json!([receipt.tx]));
        assert!(sent["input"].as_str().unwrap().ends_with(&hex::encode(EVIDENCE.0)));
    }
    world.anvil.advance(VOTE_DURATION);
    let receipt = world.send(1, MarketCall::Settle(bid)).await;
    let settled = MarketEvent::Settled {
        bid,
        outcome: Settlement::Paid,
        hoster: amount,
        validators: Wei::from(POOL - 1),
        bidder: Wei::from(1),
    };
    assert_eq!(receipt.events, [settled]);
    let state = chain.bid(bid).await.unwrap().unwrap();
    let paid = |voter| Vote { validator: world.address(voter), valid: true, paid: true };
    assert_eq!((state.pinned_at, state.outcome), (Some(pinned_at), Some(Settlement::Paid)));
    assert_eq!(state.votes, [paid(3), paid(4)]);

    assert_eq!(chain.credit(hoster).await.unwrap(), amount);
    let before = chain.balance(hoster).await.unwrap();
    let receipt = world.send(2, MarketCall::Withdraw).await;
    assert_eq!(receipt.events, [MarketEvent::Withdrawn { amount, to: hoster }]);
    assert_eq!(chain.credit(hoster).await.unwrap(), Wei::ZERO);
    let cost = receipt.gas_price.times(receipt.gas_used);
    assert_eq!(chain.balance(hoster).await.unwrap(), before.plus(amount).minus(cost));

    let receipt = world.send(1, MarketCall::NoOp).await;
    assert_eq!((receipt.succeeded, receipt.gas_used, receipt.events.len()), (true, 21_000, 0));
}

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
async fn what_the_market_would_refuse_is_told_before_it_costs_anything() {
    let Some(world) = World::start().await else { return };
    let bid = BidId(0);
    assert_eq!(world.refusal(2, MarketCall::Accept(bid)).await, reverts("unknown bid"));
    world.send(1, offer()).await;
    assert_eq!(world.refusal(1, MarketCall::Accept(bid)).await, reverts("own bid"));
    world.send(2, MarketCall::Accept(bid)).await;
    assert_eq!(world.refusal(3, MarketCall::Accept(bid)).await, reverts("the market would refuse it"));
    assert_eq!(world.refusal(3, MarketCall::Pinned(bid)).await, reverts("the market would refuse it"));
    assert_eq!(world.refusal(3, vote(bid, true)).await, reverts("not pinned"));
    assert_eq!(world.refusal(3, MarketCall::Settle(bid)).await, reverts("too early"));
    let huge = MarketCall::Bid {
        file: FILE,
        size: ByteSize(u64::MAX),
        duration: 1,
        amount: Wei::ZERO,
        pool: Wei::ZERO,
        min_validations: 1,
    };
    assert!(matches!(world.refusal(1, huge).await, Error::Reverts { reason } if reason.contains("size")));

    // Sent all the same, each is mined without a revert and says no by its event.
    let receipt = world.send_blindly(3, MarketCall::Accept(bid), 200_000).await;
    assert!(receipt.succeeded);
    assert!(matches!(receipt.events[..], [MarketEvent::AcceptWait { seconds: 1..=900 }]));
    let receipt = world.send_blindly(3, MarketCall::Pinned(bid), 200_000).await;
    assert_eq!(receipt.events, [MarketEvent::NotAcceptedByPinner { bid, hoster: world.address(2) }]);
    let receipt = world.send_blindly(3, MarketCall::Withdraw, 200_000).await;
    let to = world.address(3);
    assert_eq!(
        receipt.events,
        [MarketEvent::WithdrawFailed { to, reason: "nothing to withdraw".to_owned() }]
    );
    let no_file = MarketCall::Bid {
        file: FileHash::default(),
        size: ByteSize(1),
        duration: DURATION,
        amount: Wei::from(1),
        pool: Wei::from(1),
        min_validations: 1,
    };
    let receipt = world.send_blindly(3, no_file, 200_000).await;
    let refused = MarketEvent::BidRefused { file: FileHash::default(), reason: "no file".to_owned() };
    assert_eq!(receipt.events, [refused]);

    let reverted = world.send_blindly(3, vote(bid, true), 200_000).await;
    assert!(!reverted.succeeded && reverted.events.is_empty());
}

#[actix_rt::test]
async fn the_legacy_market_is_read_by_its_own_views_alone() {
    let Some(world) = World::start().await else { return };
    let owner = &world.accounts[0];
    let artifact =
        std::fs::read_to_string(support::root().join("contracts/artifacts/test/TrapMarket.json")).unwrap();
    let word = |address: Address| [vec![0; 12], address.0.to_vec()].concat();
    let arguments = [word(world.at.env), word(world.at.register)].concat();
    let market = Deployer::new(world.rpc.clone(), owner).create(&artifact, &arguments).await.unwrap();
    let config = Config { market: Some(market), ..by_router(&world.at) };
    let legacy = Ethereum::new(world.rpc.clone(), config);
    let (found, rules) = legacy.market().await.unwrap().unwrap();
    assert_eq!((found, rules.version, rules.vote_duration), (market, Version::Legacy, 0));
    assert_eq!(legacy.registered_count().await.unwrap(), None);

    let accounts: Vec<_> =
        world.accounts.iter().map(|key| key.clone().with_directory(legacy.directory())).collect();
    let world = World { chain: legacy, accounts, ..world };
    let (bid, chain) = (BidId(0), &world.chain);
    assert_eq!(chain.bid(bid).await.unwrap(), None);
    world.send(1, offer()).await;
    let receipt = world.send(2, MarketCall::Accept(bid)).await;
    assert!(matches!(receipt.events[..], [MarketEvent::Accepted { .. }]), "{receipt:?}");
    world.send(2, MarketCall::Pinned(bid)).await;
    world.send(3, vote(bid, true)).await;
    world.send(3, vote(bid, false)).await;
    let state = chain.bid(bid).await.unwrap().unwrap();
    assert_eq!(
        (state.hoster, state.hold_until, state.pinned_at),
        (Some(world.address(2)), ChainTime(0), None)
    );
    let said = |valid| Vote { validator: world.address(3), valid, paid: false };
    assert_eq!((state.votes, state.outcome), (vec![said(true), said(false)], None));
    assert!(matches!(world.refusal(3, MarketCall::Settle(bid)).await, Error::Reverts { .. }));
}

#[actix_rt::test]
async fn a_market_that_is_not_there_is_none_and_one_that_was_found_stays() {
    let Some(world) = World::start().await else { return };
    let nowhere = Address([0xee; 20]);
    for config in [
        Config { market: Some(nowhere), ..Config::default() },
        Config { router: Some(nowhere), ..Config::default() },
        Config::default(),
    ] {
        let chain = Ethereum::new(world.rpc.clone(), config);
        assert_eq!(chain.market().await.unwrap(), None);
        assert!(matches!(chain.bid_count().await.unwrap_err(), Error::Untrustworthy { .. }));
    }

    world.chain.market().await.unwrap().unwrap();
    let repoint = ethers::utils::id("set(bytes32,address)").to_vec();
    let key = ethers::utils::keccak256("Scatter").to_vec();
    let target = [vec![0; 12], nowhere.0.to_vec()].concat();
    let by = Deployer::new(world.rpc.clone(), &world.accounts[0]);
    by.send(Some(world.at.router), Wei::ZERO, [repoint, key, target].concat()).await.unwrap();
    assert_eq!(world.chain.market().await.unwrap().unwrap().0, world.at.market);
    assert_eq!(
        world.through(&world.anvil.url()).market().await.unwrap(),
        None,
        "a fresh node follows the Router"
    );

    let fixed = Config { market: Some(world.at.market), ..Config::default() };
    let contracts = Ethereum::new(world.rpc.clone(), fixed).contracts().await.unwrap();
    assert_eq!((contracts.register, contracts.env), (Some(world.at.register), Some(world.at.env)));
}

#[actix_rt::test]
async fn both_kinds_of_transactions_are_mined_and_a_second_submit_is_no_failure() {
    let Some(world) = World::start().await else { return };
    let key = &world.accounts[5];
    let chain = world.chain.chain_id().await.unwrap();
    let price = Wei::from(20_000_000_000);
    for (nonce, max_tip) in [(0, None), (1, Some(Wei::from(1)))] {
        let fees = Fees { max_fee: price, max_tip };
        let tx = Unsigned {
            chain,
            market: world.at.market,
            nonce,
            gas_limit: 21_000,
            fees,
            call: MarketCall::NoOp,
        };
        let signed = key.sign(&tx).unwrap();
        assert_eq!(key.sign(&tx).unwrap(), signed, "the same input gives the same bytes");
        world.anvil.call("evm_setAutomine", json!([false]));
        world.chain.submit(&signed.raw).await.unwrap();
        assert_eq!(world.chain.submit(&signed.raw).await.unwrap(), signed.hash);
        assert_eq!(world.chain.receipt(signed.hash).await.unwrap(), None);
        assert_eq!(world.chain.nonce(key.address(), At::Latest).await.unwrap(), nonce);
        assert_eq!(world.chain.nonce(key.address(), At::Pending).await.unwrap(), nonce + 1);
        world.anvil.mine(1);
        let receipt = world.chain.receipt(signed.hash).await.unwrap().unwrap();
        assert!(receipt.succeeded && receipt.gas_price <= price);
    }
    let fees = Fees { max_fee: Wei::from(1), max_tip: Some(Wei::from(2)) };
    let tx = Unsigned {
        chain,
        market: world.at.market,
        nonce: 2,
        gas_limit: 21_000,
        fees,
        call: MarketCall::NoOp,
    };
    assert!(key.sign(&tx).unwrap_err().to_string().contains("tip"));
    let low = Fees { max_fee: Wei::from(1), max_tip: Some(Wei::from(1)) };
    let refused =
        world.chain.submit(&key.sign(&Unsigned { fees: low, ..tx }).unwrap().raw).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { ref message, .. } if !message.is_empty()), "{refused}");

    world.anvil.call("evm_setAutomine", json!([true]));
    let to = Address([0x77; 20]);
    fund(world.rpc.clone(), &world.accounts[0], to, Wei::from(5)).await.unwrap();
    assert_eq!(world.chain.balance(to).await.unwrap(), Wei(U256::from(5)));
}

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
    assert_eq!(chain.bid_count().await.unwrap(), 0);
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
