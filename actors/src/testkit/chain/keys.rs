//! Signatures that only this chain believes.

use sha3::{Digest as _, Keccak256};

use super::{hash_of, Tx, MARKET};
use crate::domain::market::MarketCall;
use crate::domain::units::Address;
use crate::ports::keys::{Error, Keys, Signed, Unsigned};

/// A key whose signatures this chain, and only this chain, believes.
#[derive(Debug, Clone, Copy)]
pub struct FakeKeys(pub Address);

impl Keys for FakeKeys {
    fn address(&self) -> Address {
        self.0
    }
    fn sign(&self, tx: &Unsigned) -> Result<Signed, Error> {
        let Unsigned { chain, nonce, gas_limit, fees, market, .. } = *tx;
        let on = (market != MARKET && tx.call != MarketCall::NoOp).then_some(market);
        let tx = Tx { from: self.0, chain, nonce, gas_limit, fees, call: tx.call.clone(), on };
        Ok(Signed { raw: serde_json::to_vec(&tx).unwrap(), hash: hash_of(&tx) })
    }
    fn sign_message(&self, message: &[u8]) -> Result<[u8; 65], Error> {
        let mut signature = [27; 65];
        signature[..32].copy_from_slice(&Keccak256::digest(message));
        signature[32..52].copy_from_slice(&self.0 .0);
        Ok(signature)
    }
}
