//! Units and identifiers as types, so that a wei is never a byte and a block hash never a digest.

use std::fmt;
use std::str::FromStr;

use primitive_types::U256;
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the value that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {expected}")]
pub struct ParseError {
    /// What stood there, shortened to 80 characters.
    pub found: String,
    /// What should have stood there.
    pub expected: &'static str,
}

impl ParseError {
    /// An error about `found`, of which at most 80 characters are kept.
    pub fn new(found: &str, expected: &'static str) -> Self {
        Self { found: found.chars().take(80).collect(), expected }
    }
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:expr, $expected:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let mut bytes = [0; $len];
                hex::decode_to_slice(digits, &mut bytes)
                    .map_err(|_| ParseError::new(text, $expected))?;
                Ok(Self(bytes))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_bytes!(
    /// A 20-byte account or contract address; shown in lower-case hex.
    Address, 20, "an address of 20 bytes in hex"
);
hex_bytes!(
    /// The hash of a transaction.
    TxHash, 32, "a transaction hash of 32 bytes in hex"
);
hex_bytes!(
    /// The hash of a block of the chain.
    BlockHash, 32, "a block hash of 32 bytes in hex"
);
hex_bytes!(
    /// The bare sha2-256 digest by which the market names a file's root.
    FileHash, 32, "a file hash of 32 bytes in hex"
);
hex_bytes!(
    /// A keccak-256 digest: a seed, a secret, an evidence digest.
    Digest, 32, "a digest of 32 bytes in hex"
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A bid's number in its market. The contract counts in `int256`; what does not fit is refused, never cut.
    BidId
);
number!(
    /// A block's number.
    BlockHeight
);
number!(
    /// Time as the chain tells it, in seconds since 1970: it rules the market's windows.
    ChainTime
);
number!(
    /// Time as this machine tells it, in milliseconds since 1970: it stamps records and rules spend windows.
    WallTime
);
number!(
    /// An amount of data in bytes.
    ByteSize
);

impl ChainTime {
    /// The moment `seconds` later, saturating.
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
    /// The moment `seconds` earlier, saturating at 0.
    pub fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
    /// Seconds from `earlier` to this moment; 0 if that is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl WallTime {
    /// Milliseconds from `earlier` to this moment; 0 if that is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// An amount of money in wei. In JSON a decimal string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wei(pub U256);

impl Wei {
    /// No money.
    pub const ZERO: Self = Self(U256::zero());

    /// The sum, saturating at the largest amount.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
    /// The difference, saturating at zero.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
    /// The product, saturating at the largest amount.
    pub fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(U256::from(factor)))
    }
    /// The quotient rounded down; zero where the divisor is zero.
    pub fn divided_by(self, divisor: u64) -> Self {
        Self(self.0.checked_div(U256::from(divisor)).unwrap_or_default())
    }
}

impl From<u128> for Wei {
    fn from(wei: u128) -> Self {
        Self(U256::from(wei))
    }
}

impl fmt::Display for Wei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Wei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wei", self.0)
    }
}

impl FromStr for Wei {
    type Err = ParseError;

    /// Reads `"0.01 ether"`, `"30 gwei"`, `"5 wei"` or a bare count of wei.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new(text, "an amount such as \"0.01 ether\", \"30 gwei\" or wei");
        let text = text.trim();
        let (number, decimals) = match text.split_once(' ') {
            None => (text, 0),
            Some((number, "wei")) => (number, 0),
            Some((number, "gwei")) => (number, 9),
            Some((number, "ether")) => (number, 18),
            Some(_) => return Err(wrong()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = whole.bytes().chain(fraction.bytes());
        if whole.is_empty() || fraction.len() > decimals || !digits.clone().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let padded = format!("{whole}{fraction:0<decimals$}");
        U256::from_dec_str(&padded).map(Self).map_err(|_| wrong())
    }
}

impl Serialize for Wei {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Wei {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_in_every_unit_and_never_rounded() {
        for (text, wei) in [
            ("0.01 ether", Some(10_000_000_000_000_000u128)),
            ("1 ether", Some(1_000_000_000_000_000_000)),
            ("30 gwei", Some(30_000_000_000)),
            ("1.5 gwei", Some(1_500_000_000)),
            ("7", Some(7)),
            ("7 wei", Some(7)),
            ("0.5 wei", None),
            ("-1", None),
            ("1 eth", None),
            ("", None),
            (".5 ether", None),
            ("1e18", None),
        ] {
            assert_eq!(text.parse::<Wei>().ok(), wei.map(Wei::from), "{text}");
        }
    }

    #[test]
    fn money_in_json_is_a_decimal_string() {
        let text = serde_json::to_string(&Wei(U256::MAX)).unwrap();
        assert_eq!(serde_json::from_str::<Wei>(&text).unwrap(), Wei(U256::MAX));
        assert!(text.starts_with("\"1157920892373161954235709850086879078532"));
    }

    #[test]
    fn an_address_reads_back_from_its_own_text() {
        let address = Address([0xab; 20]);
        assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        assert!("0x12".parse::<Address>().is_err());
    }
}
