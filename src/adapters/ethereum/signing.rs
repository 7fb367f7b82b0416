//! The key in memory: it signs transactions and messages, and is wiped when dropped.

use std::fmt;

use ethers::core::k256::ecdsa::SigningKey;
use ethers::signers::Wallet;
use ethers::types::transaction::eip2718::TypedTransaction;
use ethers::types::{
    Eip1559TransactionRequest, RecoveryMessage, Signature, TransactionRequest, H160, H256, U256,
};
use ethers::utils::{hash_message, keccak256, secret_key_to_address};
use scatter_actors::domain::units::{Address, TxHash};
use scatter_actors::ports::keys::{Error, Keys, Signed, Unsigned};

use super::calls::{self, Call};
use super::Directory;

/// An account's key. `Send`, so that it can be decrypted on another thread than it signs on.
#[derive(Clone)]
pub struct Signer {
    wallet: Wallet<SigningKey>,
    directory: Directory,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.address()).finish()
    }
}

/// Why 32 bytes are no key: they are zero or not below the curve's order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a secp256k1 key")]
pub struct NotAKey;

impl Signer {
    /// The account of a key.
    ///
    /// # Errors
    /// If these bytes are none.
    pub fn from_key(key: &[u8; 32]) -> Result<Self, NotAKey> {
        let key = SigningKey::from_slice(key).map_err(|_| NotAKey)?;
        let address = secret_key_to_address(&key);
        Ok(Self { wallet: Wallet::new_with_signer(key, address, 0), directory: Directory::default() })
    }

    /// The same, knowing the addresses that a chain adapter finds: without them it cannot sign a `Register`.
    pub fn with_directory(self, directory: Directory) -> Self {
        Self { directory, ..self }
    }

    /// Signs any call, or a deployment where `to` is `None`.
    pub(super) fn sign_call(&self, tx: &Unsigned, to: Option<Address>, call: &Call) -> Result<Signed, Error> {
        let typed = self.typed(tx, to, call)?;
        let signature = self.wallet.sign_transaction_sync(&typed).map_err(refused)?;
        let raw = typed.rlp_signed(&signature).to_vec();
        let hash = TxHash(keccak256(&raw));
        Ok(Signed { raw, hash })
    }

    fn typed(&self, tx: &Unsigned, to: Option<Address>, call: &Call) -> Result<TypedTransaction, Error> {
        let (from, to) = (H160(self.address().0), to.map(|to| H160(to.0).into()));
        let (gas, nonce) = (U256::from(tx.gas_limit), U256::from(tx.nonce));
        let data = call.data.clone();
        Ok(match tx.fees.max_tip {
            Some(tip) if tip > tx.fees.max_fee => {
                return Err(Error::Refused("the tip exceeds the whole fee".to_owned()));
            }
            Some(tip) => Eip1559TransactionRequest {
                from: Some(from),
                to,
                gas: Some(gas),
                value: Some(call.value.0),
                data: Some(data.into()),
                nonce: Some(nonce),
                access_list: Default::default(),
                max_priority_fee_per_gas: Some(tip.0),
                max_fee_per_gas: Some(tx.fees.max_fee.0),
                chain_id: Some(tx.chain.into()),
            }
            .into(),
            None => TransactionRequest {
                from: Some(from),
                to,
                gas: Some(gas),
                gas_price: Some(tx.fees.max_fee.0),
                value: Some(call.value.0),
                data: Some(data.into()),
                nonce: Some(nonce),
                chain_id: Some(tx.chain.into()),
            }
            .into(),
        })
    }
}

impl Keys for Signer {
    fn address(&self) -> Address {
        Address(ethers::signers::Signer::address(&self.wallet).0)
    }

    fn sign(&self, tx: &Unsigned) -> Result<Signed, Error> {
        let register = self.directory.of(tx.market).and_then(|found| found.register);
        let call = calls::encode(&tx.call, self.address(), tx.market, register).map_err(refused)?;
        self.sign_call(tx, Some(call.to), &call)
    }

    fn sign_message(&self, message: &[u8]) -> Result<[u8; 65], Error> {
        let signature = self.wallet.sign_hash(hash_message(message)).map_err(refused)?;
        let bytes = signature.to_vec();
        bytes.try_into().map_err(|_| Error::Refused("a signature of another length".to_owned()))
    }
}

fn refused(error: impl fmt::Display) -> Error {
    Error::Refused(error.to_string())
}

/// Who signed a message by EIP-191; `None` if nobody can have: the last byte must be 27 or 28, and `s` in the lower
/// half of the order, so that a signature has one form only.
pub fn recover(message: &[u8], signature: &[u8; 65]) -> Option<Address> {
    let (r, rest) = signature.split_at(32);
    let (s, v) = rest.split_at(32);
    let signature = Signature {
        r: U256::from_big_endian(r),
        s: U256::from_big_endian(s),
        v: u64::from(*v.first().filter(|v| matches!(v, 27 | 28))?),
    };
    let parsed = ethers::core::k256::ecdsa::Signature::from_slice(&[r, s].concat()).ok()?;
    if parsed.normalize_s().is_some() {
        return None;
    }
    let hash: H256 = hash_message(message);
    signature.recover(RecoveryMessage::Hash(hash)).ok().map(|address| Address(address.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ethers::types::Bytes;
    use ethers::utils::rlp::Rlp;
    use scatter_actors::domain::market::MarketCall;
    use scatter_actors::domain::units::{BidId, FileHash, Wei};
    use scatter_actors::ports::keys::Fees;

    const MARKET: Address = Address([2; 20]);

    /// The first account of every development chain.
    fn key() -> Signer {
        let mut key = [0; 32];
        let digits = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        hex::decode_to_slice(digits, &mut key).unwrap();
        Signer::from_key(&key).unwrap()
    }

    fn accept(max_tip: Option<u128>) -> Unsigned {
        let fees = Fees { max_fee: Wei::from(100), max_tip: max_tip.map(Wei::from) };
        let call = MarketCall::Accept(BidId(7));
        Unsigned { chain: 5, market: MARKET, nonce: 3, gas_limit: 90_000, fees, call }
    }

    #[test]
    fn a_signed_transaction_says_what_was_to_be_signed_and_by_whom() {
        for (max_tip, kind) in [(None, None), (Some(2), Some(2_u8))] {
            let signed = key().sign(&accept(max_tip)).unwrap();
            // A legacy transaction is a bare list, a typed one has its type in front.
            assert_eq!(signed.raw.first().copied().filter(|first| *first < 0x80), kind);
            let raw = Bytes::from(signed.raw.clone());
            let (tx, signature) = TypedTransaction::decode_signed(&Rlp::new(&raw)).unwrap();
            assert_eq!(tx.to_addr(), Some(&H160(MARKET.0)));
            assert_eq!((tx.nonce(), tx.gas()), (Some(&3.into()), Some(&90_000.into())));
            assert_eq!(tx.chain_id(), Some(5.into()));
            assert_eq!(tx.gas_price(), Some(100.into()));
            let from = signature.recover(tx.sighash()).unwrap();
            assert_eq!(Address(from.0), key().address());
            assert_eq!(TxHash(tx.hash(&signature).0), signed.hash);
            assert_eq!(key().sign(&accept(max_tip)).unwrap(), signed);
        }
    }

    #[test]
    fn a_registration_is_signed_only_once_the_register_is_found() {
        let tx = Unsigned { call: MarketCall::Register(FileHash([1; 32])), ..accept(None) };
        assert!(key().sign(&tx).unwrap_err().to_string().contains("register"));
    }

    #[test]
    fn a_message_tells_its_signer_and_no_other_form_of_its_signature_does() {
        let signature = key().sign_message(b"evidence").unwrap();
        assert_eq!(recover(b"evidence", &signature), Some(key().address()));
        assert_ne!(recover(b"Evidence", &signature), Some(key().address()));

        let mut mirrored = signature;
        let order =
            U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
        (order.unwrap() - U256::from_big_endian(&signature[32..64])).to_big_endian(&mut mirrored[32..64]);
        mirrored[64] ^= 27 ^ 28;
        assert_eq!(recover(b"evidence", &mirrored), None, "the same signature with s in the upper half");
        for v in [0, 1, 26, 29, 255] {
            let mut other = signature;
            other[64] = v;
            assert_eq!(recover(b"evidence", &other), None, "v = {v}");
        }
        assert_eq!(recover(b"evidence", &[0; 65]), None);
    }

    #[test]
    fn a_message_is_signed_as_wallets_do_it() {
        // `personal_sign` of "hello" by the first development account, as Anvil answers it.
        let known = concat!(
            "f16ea9a3478698f695fd1401bfe27e9e4a7e8e3da94aa72b021125e31fa899cc",
            "573c48ea3fe1d4ab61a9db10c19032026e3ed2dbccba5a178235ac27f94504311c"
        );
        assert_eq!(hex::encode(key().sign_message(b"hello").unwrap()), known);
    }
}
