//! What must be right before anything starts: the key, the data directory, the chain and the market on it.
//!
//! `run` refuses to start on these faults, `check` tells them one by one.

use std::rc::Rc;
use std::time::Duration;

use scatter_actors::domain::market::MarketRules;
use scatter_actors::domain::units::{Address, Wei};
use scatter_actors::ports::chain::{self, Chain as _, Header};
use secrecy::ExposeSecret;

use crate::adapters::data_dir::{self, DataDir};
use crate::adapters::ethereum::signing::Signer;
use crate::adapters::ethereum::Ethereum;
use crate::adapters::{keystore, name_key};
use crate::config::{Chain, Node, ProviderUrl, Wallet};
use crate::exit::{told, Code, Fault};

/// How long a provider has for all questions of a preflight together.
const CHAIN_PATIENCE: Duration = Duration::from_secs(10);

/// Decrypts the account's key. Takes a second and a quarter of a gigabyte: not on the actors' arbiter.
///
/// # Errors
/// [`Code::Key`] or [`Code::Config`], about `wallet.keystore` or `wallet.password_file`.
pub fn key(wallet: &Wallet) -> Result<Signer, Fault> {
    // The key file first: a password for nothing is not worth asking for.
    if !wallet.keystore.exists() {
        return Err(key_fault(&keystore::Error::Missing { path: wallet.keystore.clone() }));
    }
    let password = wallet.password.read()?;
    keystore::open(&wallet.keystore, password.expose_secret()).map_err(|error| key_fault(&error))
}

/// A key file's fault as ours.
pub fn key_fault(error: &keystore::Error) -> Fault {
    let key = match error {
        keystore::Error::WrongPassword { .. } => "wallet.password_file",
        _ => "wallet.keystore",
    };
    Fault::new(Code::Key, told(error)).about(key)
}

/// The fault of a name's key file as ours.
pub fn name_fault(error: &name_key::Error) -> Fault {
    Fault::new(Code::Key, told(error)).about("consortium.key_file")
}

/// Makes the data directory if need be and locks it.
///
/// # Errors
/// [`Code::Locked`] or [`Code::DataDir`], about `node.data_dir`.
pub fn data_dir(node: &Node) -> Result<DataDir, Fault> {
    DataDir::lock(&node.data_dir).map_err(|error| {
        let code = match error {
            data_dir::Error::Held { .. } => Code::Locked,
            data_dir::Error::Refused { .. } => Code::DataDir,
        };
        Fault::new(code, told(&error)).about("node.data_dir")
    })
}

/// The chain as its provider shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The market's address.
    pub market: Address,
    /// Its rules.
    pub rules: MarketRules,
    /// The newest block.
    pub head: Header,
    /// The account's ether, where an account was asked about.
    pub balance: Option<Wei>,
}

/// One provider, and what it shows.
pub struct Provider {
    /// Its URL, without credentials.
    pub url: String,
    /// What it shows, or why nothing.
    pub found: Result<Found, Fault>,
}

/// Asks whether this is the right chain and whether the market is there, and what the account has. One provider that
/// shows it is enough.
///
/// # Errors
/// [`Code::WrongChain`] and [`Code::NoMarket`] as the providers' answers; [`Code::Unreachable`] where one gives none,
/// with which a node may start all the same: a provider may come up later.
pub async fn chain(config: &Chain, account: Option<Address>) -> Result<Found, Fault> {
    agreed(&providers(config, account).await).map(|(_, found)| found.clone())
}

/// What the providers say together, and which one says it: the first that shows the market is right, and while one is
/// silent it may yet show it.
///
/// # Errors
/// As for [`chain()`].
pub fn agreed(providers: &[Provider]) -> Result<(&Provider, &Found), Fault> {
    let good = providers.iter().find_map(|provider| Some((provider, provider.found.as_ref().ok()?)));
    let faults = || providers.iter().filter_map(|provider| provider.found.as_ref().err());
    let silent = || faults().find(|fault| fault.code == Code::Unreachable);
    let none = || Fault::new(Code::Config, "there is no provider").about("chain.urls");
    good.ok_or_else(|| silent().or_else(|| faults().next()).cloned().unwrap_or_else(none))
}

/// Asks each provider on its own, side by side.
pub async fn providers(config: &Chain, account: Option<Address>) -> Vec<Provider> {
    let each = config.urls.iter().map(|url| async move {
        let look = tokio::time::timeout(CHAIN_PATIENCE, look(config, url, account));
        let found = look.await.unwrap_or_else(|_| {
            let text = format!("{url}: no answer within {} s", CHAIN_PATIENCE.as_secs());
            Err(Fault::new(Code::Unreachable, text).about("chain.urls"))
        });
        Provider { url: url.to_string(), found }
    });
    futures::future::join_all(each).await
}

async fn look(config: &Chain, url: &ProviderUrl, account: Option<Address>) -> Result<Found, Fault> {
    let client =
        url.connect(config).map_err(|mistake| Fault::new(Code::Config, &mistake).about(&mistake.key))?;
    let chain = Ethereum::new(Rc::new(client), config.contracts());
    let unreachable = |error: chain::Error| Fault::new(Code::Unreachable, told(&error)).about("chain.urls");
    let id = chain.chain_id().await.map_err(unreachable)?;
    if id != config.chain_id {
        let text = format!("{url}: this is chain {id}, not {} as configured", config.chain_id);
        return Err(Fault::new(Code::WrongChain, text).about("chain.chain_id"));
    }
    let Some(market) = chain.market().await.map_err(unreachable)? else {
        let (key, address) = match (config.market, config.router) {
            (Some(market), _) => ("chain.market", market.to_string()),
            (None, router) => ("chain.router", router.unwrap_or_default().to_string()),
        };
        let text = format!("{url}: there is no market at {address} ({key})");
        return Err(Fault::new(Code::NoMarket, text).about(key));
    };
    let head = chain.head().await.map_err(unreachable)?;
    let balance = match account {
        Some(account) => Some(chain.balance(account).await.map_err(unreachable)?),
        None => None,
    };
    Ok(Found { market: market.address(), rules: market.rules, head, balance })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(codes: &[Code]) -> Code {
        let fault = |code: &Code| Provider { url: String::new(), found: Err(Fault::new(*code, "no")) };
        agreed(&codes.iter().map(fault).collect::<Vec<_>>()).map(|_| ()).unwrap_err().code
    }

    #[test]
    fn a_node_is_refused_only_when_no_provider_may_yet_show_the_market() {
        assert_eq!(said(&[Code::WrongChain, Code::NoMarket]), Code::WrongChain);
        assert_eq!(said(&[Code::WrongChain, Code::Unreachable, Code::NoMarket]), Code::Unreachable);
        assert_eq!(said(&[Code::Unreachable, Code::WrongChain]), Code::Unreachable);
    }
}
