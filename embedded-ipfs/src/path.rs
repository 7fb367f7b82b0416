//! Where content is looked for: `/ipfs/CID/a/b`, `/ipns/NAME/a/b`, and the same as a URL or without what stands in front.

use std::str::FromStr;

use cid::Cid;
use ipns_record::Name;

use crate::Error;

/// Codec of a key in a CID: a name and no content.
const LIBP2P_KEY: u64 = 0x72;

/// A root and the names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) root: Root,
    pub(crate) below: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Content(Cid),
    Name(Name),
}

impl FromStr for Path {
    type Err = Error;

    /// Empty names mean nothing, as in Kubo.
    fn from_str(text: &str) -> Result<Path, Error> {
        let refused = || Error::Path(text.to_owned());
        let strip = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
        let (content, name) = (strip(["/ipfs/", "ipfs://"]), strip(["/ipns/", "ipns://"]));
        let mut names = content.or(name).unwrap_or(text).split('/');
        let first = names.next().ok_or_else(refused)?;
        let cid = first.parse().ok().filter(|cid: &Cid| cid.codec() != LIBP2P_KEY);
        let root = match cid.filter(|_| name.is_none()) {
            Some(cid) => Root::Content(cid),
            None if content.is_some() => return Err(refused()),
            None => Root::Name(first.parse().map_err(|_| refused())?),
        };
        let below: Vec<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if below.iter().any(|name| name == "." || name == "..") {
            return Err(refused());
        }
        Ok(Path { root, below })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafybeifkipmlz2fehxda6y7x752uolfed7bdd46jzdammpfga5zrnkq33u";
    const V0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    const NAME: &str = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w";
    const PEER: &str = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA";

    #[test]
    fn contents_and_names_are_told_apart_in_every_form() {
        for (text, root, below) in [
            (CID.to_owned(), Root::Content(CID.parse().unwrap()), vec![]),
            (format!("{V0}/a"), Root::Content(V0.parse().unwrap()), vec!["a"]),
            (format!("/ipfs/{CID}//a/b c/"), Root::Content(CID.parse().unwrap()), vec!["a", "b c"]),
            (format!("ipfs://{CID}/a"), Root::Content(CID.parse().unwrap()), vec!["a"]),
            (NAME.to_owned(), Root::Name(NAME.parse().unwrap()), vec![]),
            (format!("/ipns/{NAME}/a"), Root::Name(NAME.parse().unwrap()), vec!["a"]),
            (format!("ipns://{PEER}"), Root::Name(PEER.parse().unwrap()), vec![]),
            (PEER.to_owned(), Root::Name(PEER.parse().unwrap()), vec![]),
            // The hash of an RSA key looks like a CID of version 0: what stands in front decides.
            (format!("/ipns/{V0}"), Root::Name(V0.parse().unwrap()), vec![]),
        ] {
            let below = below.into_iter().map(str::to_owned).collect();
            assert_eq!(text.parse::<Path>().unwrap(), Path { root, below }, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "/",
            "/ipfs/",
            "/ipns/",
            "//ipfs/bafkqaaa",
            "hello",
            "/ipns/example.org",
            &format!("/ipfs/{NAME}"),
            &format!("/ipfs/{CID}/.."),
            &format!("/ipld/{CID}"),
        ] {
            assert!(matches!(text.parse::<Path>(), Err(Error::Path(refused)) if refused == text), "{text}");
        }
    }
}
