//! Headers, logs and receipts as JSON-RPC spells them. What does not fit is an error of the parse, never cut.

use ethers::types::U256;
use scatter_actors::domain::units::{Address, BlockHash, BlockHeight, ChainTime, Digest, TxHash, Wei};
use scatter_actors::ports::chain::Header;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A number in hex with `0x` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity(pub U256);

impl Quantity {
    pub(super) fn wei(self) -> Wei {
        Wei(self.0)
    }

    pub(super) fn u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let digits = text.strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len()));
        let number = digits.and_then(|digits| U256::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or_else(|| D::Error::custom("a quantity is not 0x and 1 to 64 hex digits"))
    }
}

/// A number that fits 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let number = Quantity::deserialize(d)?.u64();
        number.map(Self).ok_or_else(|| D::Error::custom("a quantity does not fit 64 bits"))
    }
}

/// Bytes in hex with `0x` before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bytes(pub Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
        bytes.map(Self).ok_or_else(|| D::Error::custom("bytes are not 0x and hex digits"))
    }
}

/// `0x` and lower-case hex, as requests want bytes.
pub(super) fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// `0x` and hex without leading zeros, as requests want numbers.
pub(super) fn quantity_of(number: impl Into<U256>) -> String {
    format!("{:#x}", number.into())
}

/// A block's header.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawHeader {
    number: Option<Number>,
    hash: Option<BlockHash>,
    parent_hash: BlockHash,
    timestamp: Number,
    base_fee_per_gas: Option<Quantity>,
    #[serde(default)]
    pub(super) logs_bloom: Option<Bytes>,
}

impl RawHeader {
    /// The header; `None` for one that is not mined.
    pub(super) fn header(&self) -> Option<Header> {
        Some(Header {
            number: BlockHeight(self.number?.0),
            hash: self.hash?,
            parent: self.parent_hash,
            time: ChainTime(self.timestamp.0),
            base_fee: self.base_fee_per_gas.map(Quantity::wei),
        })
    }
}

/// A log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawLog {
    pub address: Address,
    pub topics: Vec<Digest>,
    pub data: Bytes,
    pub block_number: Option<Number>,
    pub block_hash: Option<BlockHash>,
    pub transaction_hash: Option<TxHash>,
    pub log_index: Option<Number>,
    /// Told by newer clients only, and by some of them as 0.
    #[serde(default)]
    pub block_timestamp: Option<Number>,
    #[serde(default)]
    pub removed: bool,
}

/// A receipt.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawReceipt {
    pub transaction_hash: TxHash,
    pub block_number: Option<Number>,
    pub block_hash: Option<BlockHash>,
    pub status: Option<Number>,
    pub gas_used: Number,
    pub effective_gas_price: Option<Quantity>,
    pub logs: Vec<RawLog>,
}

/// The one part of a transaction that old clients leave out of its receipt.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawTransaction {
    pub gas_price: Quantity,
}

/// What recent blocks paid.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawFeeHistory {
    #[serde(default)]
    pub base_fee_per_gas: Vec<Quantity>,
    #[serde(default)]
    pub reward: Option<Vec<Vec<Quantity>>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_does_not_fit_is_refused_and_never_cut() {
        for (text, number) in [
            ("\"0x0\"", Some(0)),
            ("\"0xffffffffffffffff\"", Some(u64::MAX)),
            ("\"0x10000000000000000\"", None),
            ("\"0x\"", None),
            ("\"10\"", None),
            ("\"0xg\"", None),
            ("7", None),
        ] {
            let read = serde_json::from_str::<Number>(text).ok().map(|n| n.0);
            assert_eq!(read, number, "{text}");
        }
        let long = format!("\"0x{}\"", "f".repeat(65));
        assert!(serde_json::from_str::<Quantity>(&long).is_err());
    }

    #[test]
    fn numbers_are_sent_without_leading_zeros() {
        assert_eq!(quantity_of(0u64), "0x0");
        assert_eq!(quantity_of(256u64), "0x100");
    }

    #[test]
    fn a_pending_header_is_none() {
        let text =
            format!(r#"{{"number":null,"hash":null,"parentHash":"0x{}","timestamp":"0x1"}}"#, "0".repeat(64));
        assert_eq!(serde_json::from_str::<RawHeader>(&text).unwrap().header(), None);
    }
}
