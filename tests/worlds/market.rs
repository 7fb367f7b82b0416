//! The model of the market against the Solidity: the same random calls, and after every block the same receipts, events,
//! credits, views and refusals. By our rules and by those of version 1.

use scatter_actors::domain::market::{self, BidKey, MarketCall, Version};
use scatter_actors::domain::units::{
    Address, BidId, BlockHeight, ByteSize, ChainTime, Digest, FileHash, Wei,
};
use scatter_actors::ports::chain::{Chain, Error};
use scatter_actors::ports::keys::{Fees, Keys, Unsigned};
use scatter_actors::ports::randomness::Randomness;
use scatter_actors::testkit::market::{Market, ACCEPT_HOLD, MAX_DURATION, MIN_DURATION, OFFER, VOTE};
use scatter_actors::testkit::SeededRandomness;

use crate::ground::{Deployed, Ground};

/// Sequences by each rule set, and blocks of each; a block holds one to three calls.
const SEQUENCES: u64 = 3;
const BLOCKS: usize = 40;
/// More than any call takes.
const GAS: u64 = 1_500_000;

#[actix_rt::test]
async fn the_model_and_the_contract_answer_the_same_random_calls_alike() {
    play(Version::V2).await;
}

#[actix_rt::test]
async fn the_model_and_a_market_of_version_1_answer_the_same_random_calls_alike() {
    play(Version::Legacy).await;
}

async fn play(version: Version) {
    let Some(ground) = Ground::start() else { return };
    let mut nonces = vec![0; ground.addresses().len()];
    for seed in 0..SEQUENCES {
        let deployed = ground.deploy(version).await;
        let time = deployed.chain.head().await.unwrap().time;
        let model = Market::by(version);
        let mut pair = Pair { ground: &ground, deployed, model, time, nonces, did: Vec::new() };
        let dice = SeededRandomness::new(seed);
        for block in 0..BLOCKS {
            if let Err(difference) = pair.step(&dice).await {
                let did = pair.did.join("\n  ");
                panic!("{version:?}, seed {seed}, block {block}: {difference}\n  {did}");
            }
        }
        assert!(pair.model.bids.iter().any(|bid| bid.payouts > 0), "seed {seed} pays nothing out");
        nonces = pair.nonces;
    }
}

/// The model and the contract.
struct Pair<'a> {
    ground: &'a Ground,
    deployed: Deployed,
    model: Market,
    time: ChainTime,
    nonces: Vec<u64>,
    did: Vec<String>,
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, model: T, real: T) -> Result<(), String> {
    match model == real {
        true => Ok(()),
        false => Err(format!("{what}\n  the model: {model:?}\n  the chain: {real:?}")),
    }
}

impl Pair<'_> {
    /// A block of calls, at a time at which something may be due.
    async fn step(&mut self, dice: &SeededRandomness) -> Result<(), String> {
        let calls: Vec<(usize, MarketCall)> = (0..1 + dice.below(3)).map(|_| self.any_call(dice)).collect();
        let (by, first) = &calls[0];
        self.try_out(*by, first).await?;
        self.time = self.time.plus(self.wait(dice));
        let mut sent = Vec::new();
        for (by, call) in &calls {
            self.did.push(format!("at {} account {by}: {call:?}", self.time.0));
            sent.push(self.submit(*by, call).await);
        }
        self.ground.block_at(self.time);
        let addresses = self.ground.addresses();
        for ((by, call), tx) in calls.iter().zip(sent) {
            let told = self.model.apply(addresses[*by], call, self.time);
            let receipt = self.deployed.chain.receipt(tx).await.unwrap().expect("it is mined");
            same("whether it reverts", told.is_err(), !receipt.succeeded)?;
            same("events", told.unwrap_or_default(), receipt.events)?;
        }
        self.look(&addresses).await
    }

    /// Asks both what a call would do now.
    async fn try_out(&self, by: usize, call: &MarketCall) -> Result<(), String> {
        let from = self.ground.addresses()[by];
        let mut model = self.model.clone();
        let told = match model.apply(from, call, self.time) {
            Ok(events) if model.says_no(&events) => Err("the market would refuse it".to_owned()),
            Ok(_) => Ok(()),
            Err(reason) => Err(reason),
        };
        let real = match self
            .deployed
            .chain
            .simulate(from, &(self.deployed.address, call.clone()), BlockHeight(0))
            .await
        {
            Ok(_) => Ok(()),
            Err(Error::Reverts { reason }) => Err(reason),
            Err(other) => return Err(format!("{call:?}: {other}")),
        };
        // Where the contract reverts without a word, the adapter finds one.
        let silent = told.as_ref().is_err_and(String::is_empty);
        match silent && real.is_err() {
            true => Ok(()),
            false => same(&format!("{call:?} tried out by account {by} at {}", self.time.0), told, real),
        }
    }

    async fn submit(&mut self, by: usize, call: &MarketCall) -> scatter_actors::domain::units::TxHash {
        let fees = Fees { max_fee: Wei::from(100_000_000_000), max_tip: Some(Wei::from(1_000_000_000)) };
        let (nonce, call) = (self.nonces[by], call.clone());
        self.nonces[by] += 1;
        let market = self.deployed.address;
        let tx = Unsigned { chain: 31_337, market, nonce, gas_limit: GAS, fees, call };
        let signed = self.deployed.keys[by].sign(&tx).unwrap();
        self.deployed.chain.submit(&signed.raw).await.unwrap()
    }

    /// All that can be asked.
    async fn look(&self, addresses: &[Address]) -> Result<(), String> {
        let (chain, model, at) = (&self.deployed.chain, &self.model, self.deployed.address);
        same("rules", model.rules(), chain.market().await.unwrap().unwrap().rules)?;
        same("bids", model.bids.len() as u64, chain.bid_count(at).await.unwrap())?;
        for (n, who) in addresses.iter().enumerate() {
            let credit = model.credits.get(who).copied().unwrap_or_default();
            same(&format!("credit of account {n}"), credit, chain.credit(at, *who).await.unwrap())?;
        }
        let held = chain.balance(self.deployed.address).await.unwrap();
        same("ether of the market", model.held, held)?;
        // Old bids change no more, or it is seen by their credits.
        let newest = model.bids.len() as u64;
        for id in (newest.saturating_sub(3)..=newest).map(BidId) {
            let key = BidKey { market: market::Market { chain: 31_337, address: at }, id };
            let (modelled, real) = (model.state_of(id), chain.bid(key).await.unwrap());
            same("terms", modelled.as_ref().map(|bid| bid.terms.clone()), chain.terms(key).await.unwrap())?;
            same(&format!("bid {id}"), modelled, real)?;
        }
        let who = addresses[self.did.len() % addresses.len()];
        same(
            "registration",
            model.registered.get(&who).copied(),
            chain.registration(at, who).await.unwrap(),
        )?;
        let count = chain.registered_count(at).await.unwrap();
        let tells = (model.version == Version::V2).then_some(model.registered.len() as u64);
        same("registered accounts", tells, count)
    }

    /// Seconds to the next block: a moment, or to the edge of one of the market's windows.
    fn wait(&self, dice: &SeededRandomness) -> u64 {
        let edges = self.model.bids.iter().rev().take(3).flat_map(|bid| {
            let end = bid.pinned_at.map(|at| at.plus(bid.terms.duration));
            let windows =
                [Some(bid.hold_until), Some(bid.placed_at.plus(OFFER)), end, end.map(|end| end.plus(VOTE))];
            windows.into_iter().flatten()
        });
        let ahead: Vec<u64> =
            edges.filter(|edge| *edge > self.time).map(|edge| edge.since(self.time)).collect();
        match dice.below(10) {
            0..=2 if !ahead.is_empty() => {
                // The last second of a window, and the first behind it.
                let edge = ahead[dice.below(ahead.len() as u64) as usize];
                (edge + dice.below(2)).saturating_sub(1).max(1)
            }
            3 => dice.below(2 * ACCEPT_HOLD) + 1,
            _ => dice.below(60) + 1,
        }
    }

    fn any_call(&self, dice: &SeededRandomness) -> (usize, MarketCall) {
        let by = dice.below(self.ground.addresses().len() as u64) as usize;
        // Mostly one of the newest bids, now and then one that does not exist.
        let bids = self.model.bids.len() as u64;
        let bid = BidId(bids.saturating_sub(1 + dice.below(2)) + u64::from(dice.below(20) == 0));
        let state = self.model.state_of(bid);
        let hosted = self.model.bids.get(bid.0 as usize).is_some_and(|bid| bid.pinned_at.is_some());
        // Often the one who may, so that bids get on.
        let hoster = state.and_then(|state| state.hoster);
        let hoster = self.ground.addresses().iter().position(|who| Some(*who) == hoster).unwrap_or(by);
        let evidence = Digest([dice.below(256) as u8; 32]);
        match dice.below(20) {
            0 => (by, MarketCall::Register(FileHash([dice.below(4) as u8; 32]))),
            1..=2 => (by, MarketCall::Register(FileHash([7; 32]))),
            3..=5 if bids < 3 || dice.below(3) == 0 => (by, offer(dice)),
            6..=8 if !hosted => (by, MarketCall::Accept(bid)),
            9 => (by, MarketCall::Accept(bid)),
            10..=12 if !hosted => (hoster, MarketCall::Pinned(bid)),
            13 => (by, MarketCall::Pinned(bid)),
            14..=15 => (by, MarketCall::Settle(bid)),
            16 => (by, MarketCall::Withdraw),
            17 => (hoster, MarketCall::Withdraw),
            _ => (by, MarketCall::Vote { bid, valid: dice.below(3) > 0, evidence }),
        }
    }
}

/// An offer; one in four breaks a rule, or stands at its edge.
fn offer(dice: &SeededRandomness) -> MarketCall {
    let odd = |of: u64| dice.below(of) == 0;
    let pick = |among: &[u64]| among[dice.below(among.len() as u64) as usize];
    MarketCall::Bid {
        file: FileHash([if odd(30) { 0 } else { 9 }; 32]),
        size: ByteSize(if odd(30) { 0 } else { 1 + dice.below(1 << 40) }),
        duration: match odd(12) {
            true => pick(&[0, MIN_DURATION - 1, MAX_DURATION, MAX_DURATION + 1]),
            false => MIN_DURATION + dice.below(1_000),
        },
        amount: Wei::from(u128::from(if odd(20) { 0 } else { dice.below(1_000_000_007) })),
        pool: Wei::from(u128::from(dice.below(1_003))),
        min_validations: pick(&[1, 2, 2, 2, 3, 0, 15, 16]) as u32,
    }
}
