//! The market through the adapters: what is sent is mined, what is told is read back, what is refused is known before.

use ethers::types::U256;
use scatter::adapters::ethereum::deploy::{fund, Deployed, Deployer};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter_actors::domain::following::Found;
use scatter_actors::domain::market::{MarketCall, MarketEvent, Settlement, Version, Vote};
use scatter_actors::domain::units::{Address, BidId, BlockHeight, ByteSize, ChainTime, FileHash, Wei};
use scatter_actors::ports::chain::{At, Chain, Error};
use scatter_actors::ports::keys::{Fees, Keys, Unsigned};
use serde_json::{json, Value};

use crate::support;
use crate::support::geth::{Geth, CHAIN_ID};
use crate::world::{
    by_router, offer, reverts, vote, Place, World, AMOUNT, DURATION, EVIDENCE, FILE, POOL, VOTE_DURATION,
};

#[actix_rt::test]
async fn a_bid_is_carried_to_its_payout_and_all_of_it_is_read_back() {
    let Some(world) = World::start().await else { return };
    carried_to_its_payout(&world, |seconds| world.anvil.advance(seconds)).await;
}

#[actix_rt::test]
async fn a_bid_on_geth_is_carried_to_its_payout_and_all_of_it_is_read_back() {
    let Some(geth) = Geth::start() else { return };
    let accounts: Vec<_> = (1..=5).map(|n| Signer::from_key(&[n; 32]).unwrap()).collect();
    accounts.iter().for_each(|account| geth.fund(&account.address().to_string(), 10_u128.pow(19)));
    let place = Place::open(&geth.url(), accounts).await;
    assert_eq!(place.chain.chain_id().await.unwrap(), CHAIN_ID);
    carried_to_its_payout(&place, |seconds| geth.advance(seconds)).await;
}

/// A market's whole life. `pass` lets seconds pass on its chain.
async fn carried_to_its_payout(world: &Place, pass: impl Fn(u64)) {
    let chain = &world.chain;
    let (bidder, hoster) = (world.address(1), world.address(2));
    let Found { contracts, rules } = chain.market().await.unwrap().unwrap();
    let market = world.at.market;
    assert_eq!((contracts.market, rules.version), (market, Version::V2));
    assert_eq!((rules.accept_hold, rules.vote_duration), (900, VOTE_DURATION));
    let contracts = chain.contracts().await.unwrap();
    assert_eq!((contracts.register, contracts.env), (Some(world.at.register), Some(world.at.env)));

    for voter in [3, 4] {
        let receipt = world.send(voter, MarketCall::Register(FILE)).await;
        assert_eq!(receipt.events, [MarketEvent::Registered { who: world.address(voter), file: FILE }]);
    }
    let (file, since) = chain.registration(market, world.address(3)).await.unwrap().unwrap();
    assert_eq!(file, FILE);
    assert!(since.0 > 0 && since <= chain.head().await.unwrap().time);
    assert_eq!(chain.registration(market, bidder).await.unwrap(), None);
    assert_eq!(chain.registered_count(market).await.unwrap(), Some(2));

    let bid = BidId(0);
    assert_eq!((chain.bid_count(market).await.unwrap(), chain.bid(world.bid(0)).await.unwrap()), (0, None));
    let receipt = world.send(1, offer()).await;
    let (amount, pool, size) = (Wei::from(AMOUNT), Wei::from(POOL), ByteSize(4_096));
    assert_eq!(receipt.events, [MarketEvent::BidPlaced { bid, bidder, amount, pool, file: FILE, size }]);
    assert_eq!(chain.bid_count(market).await.unwrap(), 1);
    let terms = chain.terms(world.bid(0)).await.unwrap().unwrap();
    assert_eq!((terms.bidder, terms.file, terms.size), (bidder, FILE, size));
    assert_eq!(
        (terms.amount, terms.pool, terms.duration, terms.min_validations),
        (amount, pool, DURATION, 2)
    );
    assert_eq!(chain.terms(world.bid(1)).await.unwrap(), None);

    let receipt = world.send(2, MarketCall::Accept(bid)).await;
    let when = chain.head().await.unwrap().time;
    assert_eq!(receipt.events, [MarketEvent::Accepted { bid, when, hoster }]);
    let state = chain.bid(world.bid(0)).await.unwrap().unwrap();
    assert_eq!((state.hoster, state.hold_until, state.pinned_at), (Some(hoster), when.plus(900), None));

    let receipt = world.send(2, MarketCall::Pinned(bid)).await;
    let pinned_at = chain.head().await.unwrap().time;
    assert_eq!(receipt.events, [MarketEvent::Pinned { bid, hoster, file: FILE }]);

    pass(DURATION);
    for voter in [3, 4] {
        let receipt = world.send(voter, vote(bid, true)).await;
        assert_eq!(
            receipt.events,
            [MarketEvent::Voted { bid, validator: world.address(voter), valid: true }]
        );
        let sent = world.rpc.call::<Value>("eth_getTransactionByHash", json!([receipt.tx])).await.unwrap();
        assert!(sent["input"].as_str().unwrap().ends_with(&hex::encode(EVIDENCE.0)));
    }
    pass(VOTE_DURATION);
    let receipt = world.send(1, MarketCall::Settle(bid)).await;
    let settled = MarketEvent::Settled {
        bid,
        outcome: Settlement::Paid,
        hoster: amount,
        validators: Wei::from(POOL - 1),
        bidder: Wei::from(1),
    };
    assert_eq!(receipt.events, [settled]);
    let state = chain.bid(world.bid(0)).await.unwrap().unwrap();
    let paid = |voter| Vote { validator: world.address(voter), valid: true, paid: true };
    assert_eq!((state.pinned_at, state.outcome), (Some(pinned_at), Some(Settlement::Paid)));
    assert_eq!(state.votes, [paid(3), paid(4)]);
    let both = chain.bids(&[world.bid(1), world.bid(0), world.bid(0)]).await;
    assert_eq!(both, [Ok(None), Ok(Some(state.clone())), Ok(Some(state))], "as each by itself");

    assert_eq!(chain.credit(market, hoster).await.unwrap(), amount);
    let before = chain.balance(hoster).await.unwrap();
    let receipt = world.send(2, MarketCall::Withdraw).await;
    assert_eq!(receipt.events, [MarketEvent::Withdrawn { amount, to: hoster }]);
    assert_eq!(chain.credit(market, hoster).await.unwrap(), Wei::ZERO);
    let cost = receipt.gas_price.times(receipt.gas_used);
    assert_eq!(chain.balance(hoster).await.unwrap(), before.plus(amount).minus(cost));

    let receipt = world.send(1, MarketCall::NoOp).await;
    assert_eq!((receipt.succeeded, receipt.gas_used, receipt.events.len()), (true, 21_000, 0));
}

#[actix_rt::test]
async fn a_machine_that_has_not_seen_what_is_known_tells_of_no_revert() {
    let Some(world) = World::start().await else { return };
    let (from, head) = (world.address(2), world.chain.head().await.unwrap().number);
    let call = (world.at.market, MarketCall::Accept(BidId(99)));
    let told = world.chain.simulate(from, &call, head).await.unwrap_err();
    assert_eq!(told, reverts("unknown bid"));
    let ahead = BlockHeight(head.0 + 1);
    let told = world.chain.simulate(from, &call, ahead).await.unwrap_err();
    assert!(matches!(told, Error::Untrustworthy { .. }), "{told}");
    assert!(told.is_transient());
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
    let Found { contracts, rules } = legacy.market().await.unwrap().unwrap();
    assert_eq!((contracts.market, rules.version, rules.vote_duration), (market, Version::Legacy, 0));
    assert_eq!(legacy.registered_count(market).await.unwrap(), None);

    let accounts: Vec<_> =
        world.accounts.iter().map(|key| key.clone().with_directory(legacy.directory())).collect();
    let at = Deployed { market, ..world.at };
    let world = Place { rpc: world.rpc.clone(), at, chain: legacy, accounts };
    let (bid, chain) = (BidId(0), &world.chain);
    assert_eq!(chain.bid(world.bid(0)).await.unwrap(), None);
    world.send(1, offer()).await;
    let receipt = world.send(2, MarketCall::Accept(bid)).await;
    assert!(matches!(receipt.events[..], [MarketEvent::Accepted { .. }]), "{receipt:?}");
    world.send(2, MarketCall::Pinned(bid)).await;
    world.send(3, vote(bid, true)).await;
    world.send(3, vote(bid, false)).await;
    let state = chain.bid(world.bid(0)).await.unwrap().unwrap();
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
        assert!(matches!(chain.bid_count(nowhere).await.unwrap_err(), Error::Untrustworthy { .. }));
    }

    world.chain.market().await.unwrap().unwrap();
    let repoint = ethers::utils::id("set(bytes32,address)").to_vec();
    let key = ethers::utils::keccak256("Scatter").to_vec();
    let target = [vec![0; 12], nowhere.0.to_vec()].concat();
    let by = Deployer::new(world.rpc.clone(), &world.accounts[0]);
    by.send(Some(world.at.router), Wei::ZERO, [repoint, key, target].concat()).await.unwrap();
    assert_eq!(world.chain.market().await.unwrap().unwrap().address(), world.at.market);
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
async fn both_kinds_of_transactions_are_mined_and_a_second_submit_is_refused_in_the_providers_words() {
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
        let again = world.chain.submit(&signed.raw).await.unwrap_err();
        assert!(
            matches!(again, Error::Refused { ref message, .. } if message == "transaction already imported"),
            "{again}"
        );
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
