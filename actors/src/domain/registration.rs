//! The registration file: what an account says of itself, on IPFS, its digest in the Register.
//!
//! Source: schema 0.1 of the file (`address`, `alias`, `host.multiaddr`), to which `host.endpoint` and
//! `host.audit` are added. Whoever reads a stranger's file ignores what else stands in it.

use serde::{Deserialize, Serialize};

use super::audit::secrets::Anchor;
use super::units::Address;

/// Bytes of a file at most.
pub const MOST: usize = 64 << 10;

/// A registration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Whose it is.
    pub address: Address,
    /// A name for people; a stranger's text.
    #[serde(default)]
    pub alias: String,
    /// Where the account is found.
    #[serde(default)]
    pub host: Host,
}

/// Where an account is found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Its IPFS node, such as `/ip4/…/tcp/4001/p2p/…`. A hint, never dialled unseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiaddr: Option<String>,
    /// Its firewall's URL, such as `https://hoster.example`; what may be dialled of it is the egress rules'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The end of its chain of audit secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Anchor>,
}

/// Why a file is not somebody's registration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is larger than such a file may be.
    #[error("a registration file of {0} bytes is over 64 KiB")]
    TooLarge(usize),
    /// It is not JSON of that form.
    #[error("the registration file can't be read: line {line}, column {column}")]
    Malformed {
        /// Line of the fault.
        line: usize,
        /// Column of the fault.
        column: usize,
    },
    /// It speaks of somebody else.
    #[error("the registration file is {found}'s, not {wanted}'s")]
    SomebodyElse {
        /// Whose it is.
        found: Address,
        /// Whose it should be.
        wanted: Address,
    },
}

/// Reads the file that `who` registered.
///
/// # Errors
/// If it is too large, malformed, or somebody else's.
pub fn parse(bytes: &[u8], who: Address) -> Result<Registration, Refusal> {
    if bytes.len() > MOST {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    let read: Registration = serde_json::from_slice(bytes)
        .map_err(|e| Refusal::Malformed { line: e.line(), column: e.column() })?;
    if read.address != who {
        return Err(Refusal::SomebodyElse { found: read.address, wanted: who });
    }
    Ok(read)
}

/// Writes a file to register; equal registrations give equal bytes.
pub fn compose(registration: &Registration) -> Vec<u8> {
    // A plain struct of texts and numbers always serialises.
    let mut bytes = serde_json::to_vec_pretty(registration).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::units::Digest;

    fn me() -> Address {
        Address([0xab; 20])
    }

    #[test]
    fn a_file_of_schema_0_1_is_read_with_and_without_what_we_add() {
        let address = me().to_string();
        for (host, endpoint) in [
            (r#"{"multiaddr": "/ip4/1.2.3.4/tcp/4001/p2p/12D3"}"#, None),
            (
                r#"{"multiaddr": "/x", "endpoint": "https://h.example", "other": [1]}"#,
                Some("https://h.example"),
            ),
            ("{}", None),
        ] {
            for address in [&address, &address.to_uppercase().replace("0X", "0x"), &address[2..].to_owned()] {
                let text = format!(r#"{{"address": "{address}", "alias": "a", "host": {host}, "more": 1}}"#);
                let read = parse(text.as_bytes(), me()).unwrap();
                assert_eq!(read.host.endpoint.as_deref(), endpoint);
            }
        }
    }

    #[test]
    fn what_is_composed_reads_back() {
        let anchor = Anchor { anchor: Digest([7; 32]), first_slot: 480_000, slot_seconds: 3_600 };
        let host = Host {
            multiaddr: Some("/ip4/1.2.3.4/tcp/4001/p2p/12D3".into()),
            endpoint: Some("https://hoster.example".into()),
            audit: Some(anchor),
        };
        let registration = Registration { address: me(), alias: "a".into(), host };
        assert_eq!(parse(&compose(&registration), me()), Ok(registration));
    }

    #[test]
    fn another_s_file_a_large_one_and_nonsense_are_refused() {
        let registration = Registration { address: me(), alias: String::new(), host: Host::default() };
        let other = Address([1; 20]);
        let refused = Refusal::SomebodyElse { found: me(), wanted: other };
        assert_eq!(parse(&compose(&registration), other), Err(refused));
        assert_eq!(parse(&vec![b' '; MOST + 1], me()), Err(Refusal::TooLarge(MOST + 1)));
        for nonsense in ["", "[]", "{}", r#"{"address": "0x12"}"#] {
            assert!(matches!(parse(nonsense.as_bytes(), me()), Err(Refusal::Malformed { .. })), "{nonsense}");
        }
    }
}
