//! Puts our contracts on a chain of one's own: devnet and tests start from here.

use std::rc::Rc;
use std::time::Duration;

use ethers::abi::{encode, AbiEncode, Token};
use ethers::types::{H160, U256};
use ethers::utils::{get_contract_address, keccak256};
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{Address, TxHash, Wei};
use scatter_actors::ports::chain::{self, At, Chain};
use scatter_actors::ports::keys::{self, Fees, Keys, Unsigned};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::calls::{with, Call};
use super::signing::Signer;
use super::wire::{hex_of, quantity_of, Bytes, Number, RawReceipt};
use super::{revert, Config, Ethereum};
use crate::adapters::json_rpc::Client;

const ROUTER: &str = include_str!("../../../contracts/artifacts/Router.json");
const ENV: &str = include_str!("../../../contracts/artifacts/Env.json");
const REGISTER: &str = include_str!("../../../contracts/artifacts/Register.json");
/// The artifact of our market.
pub const MARKET: &str = include_str!("../../../contracts/artifacts/ScatterMarket.json");

/// How long a transaction may take to be mined.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often its receipt is asked for.
const PAUSE: Duration = Duration::from_millis(50);

/// Why something is not on the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider failed, or the call would revert.
    #[error(transparent)]
    Chain(#[from] chain::Error),
    /// The key did not sign.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// It was mined and reverted.
    #[error("transaction {0} reverted")]
    Reverted(TxHash),
    /// It was not mined in time.
    #[error("transaction {0} is not mined after {1:?}")]
    NotMined(TxHash, Duration),
    /// The file is no artifact.
    #[error("not an artifact with byte code: {0}")]
    Artifact(String),
}

/// A market of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployed {
    /// Names the others.
    pub router: Address,
    /// The terms of new bids.
    pub env: Address,
    /// The accounts.
    pub register: Address,
    /// The bids.
    pub market: Address,
}

/// Deploys Env, Register, market and Router, and wires the Router. `terms` replaces defaults of Env by name, such as
/// `("minDuration", 60)`: durations in seconds, `minBid` in wei.
///
/// # Errors
/// If the chain refuses, or `owner` cannot pay.
pub async fn deploy(rpc: Rc<Client>, owner: &Signer, terms: &[(&str, u64)]) -> Result<Deployed, Error> {
    deploy_market(rpc, owner, MARKET, terms).await
}

/// The same with another market: the text of an artifact whose constructor takes Env and Register.
///
/// # Errors
/// As [`deploy`].
pub async fn deploy_market(
    rpc: Rc<Client>,
    owner: &Signer,
    artifact: &str,
    terms: &[(&str, u64)],
) -> Result<Deployed, Error> {
    let by = Deployer::new(rpc, owner);
    let keys = terms.iter().map(|(name, _)| Token::FixedBytes(keccak256(name).to_vec())).collect();
    let values = terms.iter().map(|(_, value)| Token::Uint(U256::from(*value))).collect();
    let env = by.create(ENV, &encode(&[Token::Array(keys), Token::Array(values)])).await?;
    let register = by.create(REGISTER, &[]).await?;
    let market = by.create(artifact, &(H160(env.0), H160(register.0)).encode()).await?;
    let router = by.create(ROUTER, &[]).await?;
    for (name, target) in [("Scatter", market), ("Register", register), ("Env", env)] {
        let data = with("set(bytes32,address)", (keccak256(name), H160(target.0)));
        by.send(Some(router), Wei::ZERO, data).await?;
    }
    Ok(Deployed { router, env, register, market })
}

/// Sends ether and waits until it is there.
///
/// # Errors
/// If the chain refuses, or `from` cannot pay.
pub async fn fund(rpc: Rc<Client>, from: &Signer, to: Address, amount: Wei) -> Result<TxHash, Error> {
    Ok(Deployer::new(rpc, from).send(Some(to), amount, Vec::new()).await?.0)
}

/// Sends one transaction after the other and waits for each.
#[derive(Debug)]
pub struct Deployer<'a> {
    chain: Ethereum,
    owner: &'a Signer,
}

#[derive(Deserialize)]
struct Artifact {
    bytecode: Bytes,
}

impl<'a> Deployer<'a> {
    /// Sends as `owner`.
    pub fn new(rpc: Rc<Client>, owner: &'a Signer) -> Self {
        Self { chain: Ethereum::new(rpc, Config::default()), owner }
    }

    /// Deploys the contract of an artifact (JSON with `bytecode`), whose constructor gets `arguments`.
    ///
    /// # Errors
    /// If the text is no artifact or the chain refuses.
    pub async fn create(&self, artifact: &str, arguments: &[u8]) -> Result<Address, Error> {
        let artifact: Artifact =
            serde_json::from_str(artifact).map_err(|e| Error::Artifact(e.to_string()))?;
        let mut code = artifact.bytecode.0;
        code.extend(arguments);
        let (_, nonce) = self.send(None, Wei::ZERO, code).await?;
        Ok(Address(get_contract_address(H160(self.owner.address().0), nonce).0))
    }

    /// Sends a transaction and waits until it is mined; gives its hash and nonce.
    ///
    /// # Errors
    /// If the chain refuses it, or it reverts or is not mined.
    pub async fn send(&self, to: Option<Address>, value: Wei, data: Vec<u8>) -> Result<(TxHash, u64), Error> {
        let from = self.owner.address();
        let mut question = json!({ "from": from, "value": quantity_of(value.0), "data": hex_of(&data) });
        if let Some(to) = to {
            question["to"] = json!(to);
        }
        let gas = self.chain.rpc.call::<Number>("eth_estimateGas", json!([question])).await;
        let gas = gas.map_err(revert::of_a_call)?.0;
        let nonce = self.chain.nonce(from, At::Pending).await?;
        let market = self.chain.fees().await?;
        let fees = match market.base_fee {
            Some(base) => Fees { max_fee: base.times(2).plus(market.tip), max_tip: Some(market.tip) },
            None => Fees { max_fee: market.tip, max_tip: None },
        };
        let chain = self.chain.chain_id().await?;
        let gas_limit = gas.saturating_add(gas / 4);
        let tx = Unsigned { chain, market: from, nonce, gas_limit, fees, call: MarketCall::NoOp };
        let call = Call { to: to.unwrap_or_default(), value, data };
        let signed = self.owner.sign_call(&tx, to, &call)?;
        let hash = self.chain.submit(&signed.raw).await?;
        timeout(PATIENCE, self.mined(hash)).await.map_err(|_| Error::NotMined(hash, PATIENCE))??;
        Ok((hash, nonce))
    }

    async fn mined(&self, tx: TxHash) -> Result<(), Error> {
        loop {
            let receipt = self.chain.rpc.find::<RawReceipt>("eth_getTransactionReceipt", json!([tx])).await;
            match receipt.map_err(chain::Error::from)? {
                Some(receipt) if receipt.status == Some(Number(1)) => return Ok(()),
                Some(_) => return Err(Error::Reverted(tx)),
                None => sleep(PAUSE).await,
            }
        }
    }
}
