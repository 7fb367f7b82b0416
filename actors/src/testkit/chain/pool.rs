//! What waits to be mined, by geth's rules: one transaction a nonce, which only a better paid one replaces.
//!
//! Source: go-ethereum, `core/txpool` (`errors.go`, `legacypool/list.go`); the price bump is 10 %.

use std::collections::BTreeMap;

use super::{hash_of, Tx};
use crate::domain::units::{Address, TxHash, Wei};

/// The mempool of the one provider.
#[derive(Debug, Default)]
pub(super) struct Pool(BTreeMap<(Address, u64), Tx>);

/// A tenth more, rounded up: what geth wants of a replacement.
fn replaces(old: Wei, new: Wei) -> bool {
    new > old && new.times(100) >= old.times(110)
}

fn tip(tx: &Tx) -> Wei {
    tx.fees.max_tip.unwrap_or(tx.fees.max_fee)
}

impl Pool {
    /// Takes a transaction of an account with that next nonce and so much ether, or says in geth's words why not.
    pub(super) fn take(&mut self, tx: Tx, chain: u64, next: u64, balance: Wei) -> Result<TxHash, String> {
        let hash = hash_of(&tx);
        if tx.chain != chain {
            return Err("invalid chain id for signer".into());
        }
        if tip(&tx) > tx.fees.max_fee {
            return Err("max priority fee per gas higher than max fee per gas".into());
        }
        if tx.nonce < next {
            return Err(format!("nonce too low: next nonce {next}, tx nonce {}", tx.nonce));
        }
        let worst = tx.fees.max_fee.times(tx.gas_limit).plus(tx.call.value());
        if worst > balance {
            return Err("insufficient funds for gas * price + value".into());
        }
        if let Some(old) = self.0.get(&(tx.from, tx.nonce)) {
            if hash_of(old) == hash {
                return Err("already known".into());
            }
            if !replaces(old.fees.max_fee, tx.fees.max_fee) || !replaces(tip(old), tip(&tx)) {
                return Err("replacement transaction underpriced".into());
            }
        }
        self.put(tx);
        Ok(hash)
    }
    /// Puts a transaction there, whatever stood in its place.
    pub(super) fn put(&mut self, tx: Tx) {
        self.0.insert((tx.from, tx.nonce), tx);
    }
    /// Puts a transaction back that a reorg unmined, unless another has its nonce by now.
    pub(super) fn put_back(&mut self, tx: &Tx) {
        self.0.entry((tx.from, tx.nonce)).or_insert_with(|| tx.clone());
    }
    pub(super) fn remove(&mut self, tx: &Tx) {
        self.0.remove(&(tx.from, tx.nonce));
    }
    pub(super) fn has(&self, from: Address, nonce: u64) -> bool {
        self.0.contains_key(&(from, nonce))
    }
    /// Forgets what is to be forgotten.
    pub(super) fn evict(&mut self, gone: impl Fn(&Tx) -> bool) {
        self.0.retain(|_, tx| !gone(tx));
    }
    pub(super) fn list(&self) -> Vec<Tx> {
        self.0.values().cloned().collect()
    }
}
