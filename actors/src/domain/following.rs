//! The markets that a node follows.

use serde::{Deserialize, Serialize};

use super::market::{MarketRules, Version};
use super::units::Address;

/// The contracts of one market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contracts {
    /// The market.
    pub market: Address,
    /// Whose rules it follows.
    pub version: Version,
    /// Where registration files are.
    pub register: Option<Address>,
    /// Who may vote (version 2): often the Register itself.
    pub voters: Option<Address>,
    /// Where the terms of new bids are.
    pub env: Option<Address>,
}

impl Contracts {
    /// Those whose logs are read.
    pub fn emitters(&self) -> impl Iterator<Item = Address> + '_ {
        let register = self.register.filter(|register| *register != self.market);
        std::iter::once(self.market).chain(register)
    }
}

/// A market as it was found on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its contracts.
    pub contracts: Contracts,
    /// Its constants.
    pub rules: MarketRules,
}

impl Found {
    /// Its address.
    pub fn address(&self) -> Address {
        self.contracts.market
    }
}
