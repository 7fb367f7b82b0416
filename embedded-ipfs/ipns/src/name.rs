//! Names.

use std::fmt;
use std::str::FromStr;

use cid::multibase::Base;
use cid::Cid;
use libp2p_identity::PeerId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::content::LIBP2P_KEY;

/// The hash that is the hashed bytes themselves.
const IDENTITY: u64 = 0;

/// What the keys of IPNS records in a DHT start with.
const ROUTING_PREFIX: &[u8] = b"/ipns/";

/// An IPNS name: the multihash of a public key, or the key itself if it is short. It reads `12D3…`, `k51…`, `Qm…` and
/// any other base, and writes the base36 form `k51…`, as Kubo does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(PeerId);

/// A text that is no IPNS name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IPNS name (12D3…, k51… or Qm…)")]
pub struct NotAName(pub String);

impl Name {
    /// The name of a peer's own key.
    pub fn of_peer(peer: PeerId) -> Self {
        Self(peer)
    }

    /// The peer whose own key this is, if a peer's it is.
    pub fn peer(&self) -> PeerId {
        self.0
    }

    /// The name's bytes: a multihash.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The key of its record in a DHT: `/ipns/` and the name's bytes.
    pub fn routing_key(&self) -> Vec<u8> {
        [ROUTING_PREFIX, &self.to_bytes()].concat()
    }

    /// The name whose record has that key in a DHT; `None` if the key is of something else.
    pub fn from_routing_key(key: &[u8]) -> Option<Self> {
        let bytes = key.strip_prefix(ROUTING_PREFIX)?;
        PeerId::from_bytes(bytes).ok().map(Self)
    }

    /// The public key in the name, if it is short enough to be there, in libp2p's encoding.
    pub(crate) fn inlined_key(&self) -> Option<Vec<u8>> {
        let hash = self.0.as_ref();
        (hash.code() == IDENTITY).then(|| hash.digest().to_vec())
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let refused = || NotAName(text.to_owned());
        let bare = text.strip_prefix("/ipns/").or(text.strip_prefix("ipns://")).unwrap_or(text);
        if let Ok(peer) = bare.parse::<PeerId>() {
            return Ok(Self(peer));
        }
        // A CID would find itself behind any `/ipfs/`.
        if bare.contains('/') {
            return Err(refused());
        }
        let cid: Cid = bare.parse().map_err(|_| refused())?;
        if cid.codec() != LIBP2P_KEY {
            return Err(refused());
        }
        PeerId::from_bytes(&cid.hash().to_bytes()).map(Self).map_err(|_| refused())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A peer id is a multihash of at most 64 bytes, and version 1 takes every base.
        let cid = Cid::read_bytes(&[&[1, LIBP2P_KEY as u8][..], &self.to_bytes()].concat()[..]);
        match cid.ok().and_then(|cid| cid.to_string_of_base(Base::Base36Lower).ok()) {
            Some(text) => f.write_str(&text),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_in_three_forms_is_one_name() {
        let peer = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA";
        let name: Name = peer.parse().unwrap();
        let text = name.to_string();
        assert!(text.starts_with("k51qzi5uqu5d"), "{text}");
        for form in [text.clone(), format!("/ipns/{text}"), format!("/ipns/{peer}"), format!("ipns://{text}")]
        {
            assert_eq!(form.parse(), Ok(name));
        }
        assert_eq!(name.peer().to_string(), peer);
    }

    #[test]
    fn an_old_rsa_name_is_read_and_written_in_base36() {
        let name: Name = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert!(name.to_string().starts_with("k2k4r8"), "{name}");
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn content_and_domains_are_no_names() {
        for text in [
            "",
            "example.org",
            "bafkqaaa",
            "/ipfs/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            "/ipfs/k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w",
            "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w/path",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NotAName(text.to_owned())));
        }
    }

    #[test]
    fn a_routing_key_leads_back_to_its_name() {
        for text in [
            "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA",
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        ] {
            let name: Name = text.parse().unwrap();
            let key = name.routing_key();
            assert_eq!(Name::from_routing_key(&key), Some(name));
            assert_eq!(Name::from_routing_key(&[&key[..], &[0; 300]].concat()), None);
            assert_eq!(Name::from_routing_key(&key[1..]), None);
            assert_eq!(Name::from_routing_key(&key[..key.len() - 1]), None);
        }
        assert_eq!(Name::from_routing_key(b"/pk/"), None);
    }
}
