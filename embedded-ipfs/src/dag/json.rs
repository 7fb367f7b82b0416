//! The links of dag-json (<https://ipld.io/specs/codecs/dag-json/spec/>): maps with the one key `/` and a CID as text.
//! Such maps with bytes in them are no links; every other map with that key is refused, because readers differ on it.

use std::fmt;

use cid::Cid;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The links in their order; `None` if the bytes are no dag-json. Nesting beyond 127 levels is refused.
pub(super) fn links(block: &[u8]) -> Option<Vec<Cid>> {
    let mut links = Vec::new();
    let mut json = serde_json::Deserializer::from_slice(block);
    Value(&mut links).deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(links)
}

/// Any value: its links are taken, the rest is passed over.
struct Value<'l>(&'l mut Vec<Cid>);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of dag-json")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Value(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut first = true;
        while let Some(key) = map.next_key::<String>()? {
            if key != "/" {
                map.next_value_seed(Value(self.0))?;
            } else if first {
                map.next_value_seed(Reserved(self.0))?;
                let more = map.next_key::<String>()?;
                return more.map_or(Ok(()), |_| Err(A::Error::custom("a link with something beside it")));
            } else {
                return Err(A::Error::custom("a link with something beside it"));
            }
            first = false;
        }
        Ok(())
    }
}

/// What is below the key `/`: a CID, or a map of bytes.
struct Reserved<'l>(&'l mut Vec<Cid>);

impl<'de> DeserializeSeed<'de> for Reserved<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reserved<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CID or bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        // As text a CID would be found behind any path.
        if text.contains('/') {
            return Err(E::custom("a path and no CID"));
        }
        self.0.push(text.parse().map_err(E::custom)?);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let bytes = map.next_key::<String>()?.is_some_and(|key| key == "bytes");
        if !bytes {
            return Err(A::Error::custom("neither a CID nor bytes"));
        }
        map.next_value::<String>()?;
        match map.next_key::<String>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("bytes with something beside them")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, RAW};
    use cid::Version;
    use proptest::prelude::*;

    fn cid(text: &str) -> Cid {
        cid_of(Version::V1, RAW, text.as_bytes())
    }

    #[test]
    fn links_in_maps_and_lists_are_found_in_order() {
        let (one, two) = (cid("1"), cid("2"));
        let block = format!(
            r#" {{"a": [1.5e3, {{"/":"{one}"}}, null], "b": {{"c": {{ "\u002f" : "{two}" }}, "d": "{one}"}}, "e": true}} "#
        );
        assert_eq!(links(block.as_bytes()), Some(vec![one, two]));
        assert_eq!(links(&block.as_bytes()[..block.len() - 2]), None, "cut short");
        assert_eq!(links(format!("{block} 1").as_bytes()), None, "something after it");
        let v0 = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
        assert_eq!(links(format!(r#"{{"/":"{v0}"}}"#).as_bytes()), Some(vec![v0.parse().unwrap()]));
    }

    #[test]
    fn bytes_and_texts_are_no_links() {
        let cid = cid("x");
        for block in [
            r#"{"/":{"bytes":"AQID"}}"#.to_owned(),
            format!(r#""{cid}""#),
            format!(r#"{{"link":"{cid}"}}"#),
            r#"{"a/":1,"//":{}}"#.to_owned(),
            "[]".to_owned(),
            "-3".to_owned(),
        ] {
            assert_eq!(links(block.as_bytes()), Some(vec![]), "{block}");
        }
    }

    #[test]
    fn what_readers_could_take_for_a_link_or_not_is_refused() {
        let cid = cid("x");
        for block in [
            r#"{"/":"no CID"}"#.to_owned(),
            format!(r#"{{"/":"/ipfs/{cid}"}}"#),
            r#"{"/":1}"#.to_owned(),
            r#"{"/":{}}"#.to_owned(),
            r#"{"/":{"bytes":1}}"#.to_owned(),
            r#"{"/":{"bytes":"","more":1}}"#.to_owned(),
            format!(r#"{{"/":"{cid}","a":1}}"#),
            format!(r#"{{"a":1,"/":"{cid}"}}"#),
            format!(r#"{{"/":"{cid}","/":"{cid}"}}"#),
            format!(r#"{{"/":["{cid}"]}}"#),
            "[".repeat(5000),
            String::new(),
            "{\"a\":\"\u{1}\"}".to_owned(),
        ] {
            assert_eq!(links(block.as_bytes()), None, "{block}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in r#"[\[\]{}:,"/a0-9. bytes]{0,80}"#) {
            let _ = links(bytes.as_bytes());
        }
    }
}
