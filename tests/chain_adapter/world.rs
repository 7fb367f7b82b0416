//! A chain with a market of its own.

use std::ops::Deref;
use std::rc::Rc;

use scatter::adapters::ethereum::deploy::{deploy, Deployed};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::json_rpc::{self, Client};
use scatter_actors::domain::market::{BidKey, Market, MarketCall};
use scatter_actors::domain::units::{Address, BidId, BlockHeight, ByteSize, Digest, FileHash, Wei};
use scatter_actors::ports::chain::{At, Chain, Error, Receipt};
use scatter_actors::ports::keys::{Fees, Keys, Signed, Unsigned};

use crate::support::anvil::Anvil;

pub const FILE: FileHash = FileHash([0x5c; 32]);
pub const EVIDENCE: Digest = Digest([0xe1; 32]);
pub const AMOUNT: u128 = 2_000_000_000;
pub const POOL: u128 = 1_001;
pub const DURATION: u64 = 100;
pub const VOTE_DURATION: u64 = 600;

/// A market on some chain, and accounts: owner, bidder, hoster, validators.
pub struct Place {
    pub rpc: Rc<Client>,
    pub at: Deployed,
    pub chain: Ethereum,
    pub accounts: Vec<Signer>,
}

/// A market on an Anvil of its own.
pub struct World {
    pub anvil: Anvil,
    place: Place,
}

impl Deref for World {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

pub fn client(url: &str) -> Rc<Client> {
    Rc::new(Client::new(url, json_rpc::Config::default()).unwrap())
}

pub fn by_router(at: &Deployed) -> Config {
    Config { router: Some(at.router), ..Config::default() }
}

impl World {
    pub async fn start() -> Option<Self> {
        let anvil = Anvil::start()?;
        let accounts = anvil
            .keys()
            .iter()
            .map(|key| {
                let mut bytes = [0; 32];
                hex::decode_to_slice(key.trim_start_matches("0x"), &mut bytes).unwrap();
                Signer::from_key(&bytes).unwrap()
            })
            .collect();
        let place = Place::open(&anvil.url(), accounts).await;
        Some(Self { anvil, place })
    }
}

impl Place {
    /// Deploys a market with accounts that have ether.
    pub async fn open(url: &str, accounts: Vec<Signer>) -> Self {
        let rpc = client(url);
        let terms = [("minDuration", 60), ("voteDuration", VOTE_DURATION), ("offerDuration", 3_600)];
        let at = deploy(rpc.clone(), &accounts[0], &terms).await.unwrap();
        let chain = Ethereum::new(rpc.clone(), by_router(&at));
        let accounts = accounts.into_iter().map(|key| key.with_directory(chain.directory())).collect();
        Self { rpc, at, chain, accounts }
    }

    pub fn through(&self, url: &str) -> Ethereum {
        Ethereum::new(client(url), by_router(&self.at))
    }

    /// A bid of the market. The adapter asks whatever chain it is on.
    pub fn bid(&self, id: u64) -> BidKey {
        BidKey { market: Market { chain: 31_337, address: self.at.market }, id: BidId(id) }
    }

    pub fn address(&self, account: usize) -> Address {
        self.accounts[account].address()
    }

    pub async fn sign(&self, account: usize, call: MarketCall, gas_limit: u64) -> Signed {
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
    pub async fn send(&self, account: usize, call: MarketCall) -> Receipt {
        let gas = self
            .chain
            .simulate(self.address(account), &(self.at.market, call.clone()), BlockHeight(0))
            .await
            .unwrap();
        self.send_blindly(account, call, gas * 5 / 4).await
    }

    pub async fn send_blindly(&self, account: usize, call: MarketCall, gas: u64) -> Receipt {
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

    pub async fn refusal(&self, account: usize, call: MarketCall) -> Error {
        self.chain.simulate(self.address(account), &(self.at.market, call), BlockHeight(0)).await.unwrap_err()
    }
}

pub fn offer() -> MarketCall {
    MarketCall::Bid {
        file: FILE,
        size: ByteSize(4_096),
        duration: DURATION,
        amount: Wei::from(AMOUNT),
        pool: Wei::from(POOL),
        min_validations: 2,
    }
}

pub fn vote(bid: BidId, valid: bool) -> MarketCall {
    MarketCall::Vote { bid, valid, evidence: EVIDENCE }
}

pub fn reverts(reason: &str) -> Error {
    Error::Reverts { reason: reason.to_owned() }
}
