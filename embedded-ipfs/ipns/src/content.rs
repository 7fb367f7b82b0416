//! What a record points to, if that is content.

use cid::Cid;

/// Codec of a key in a CID: a name and no content.
pub(crate) const LIBP2P_KEY: u64 = 0x72;

/// A record that points to no content: following it further would be another look-up, by somebody else's word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotContent {
    /// The value is empty.
    #[error("the record points to nothing")]
    Empty,
    /// Another IPNS name or a domain.
    #[error("the record points to another name")]
    AnotherName,
    /// The value is neither a path nor a CID.
    #[error("the record points to nothing that is known")]
    Unknown,
    /// A path below `/ipfs/` whose CID or segments are none.
    #[error("the record's path is malformed")]
    BadPath,
}

/// Reads `/ipfs/CID`, `/ipfs/CID/path` or the bytes of a CID. Empty segments mean nothing, as in Kubo.
pub(crate) fn content(value: &[u8]) -> Result<(Cid, Vec<String>), NotContent> {
    match value.first() {
        None => Err(NotContent::Empty),
        Some(b'/') => path(std::str::from_utf8(value).map_err(|_| NotContent::BadPath)?),
        Some(_) => match Cid::try_from(value) {
            // A CID reads its own bytes and leaves what follows.
            Ok(cid) if cid.to_bytes() == value => Ok((content_cid(cid)?, Vec::new())),
            _ => Err(NotContent::Unknown),
        },
    }
}

fn path(text: &str) -> Result<(Cid, Vec<String>), NotContent> {
    if text.starts_with("/ipns/") {
        return Err(NotContent::AnotherName);
    }
    let mut segments = text.strip_prefix("/ipfs/").ok_or(NotContent::Unknown)?.split('/');
    let cid: Cid = segments.next().and_then(|first| first.parse().ok()).ok_or(NotContent::BadPath)?;
    let segments: Vec<_> = segments.filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    if segments.iter().any(|segment| segment == "." || segment == "..") {
        return Err(NotContent::BadPath);
    }
    Ok((content_cid(cid)?, segments))
}

fn content_cid(cid: Cid) -> Result<Cid, NotContent> {
    match cid.codec() {
        LIBP2P_KEY => Err(NotContent::AnotherName),
        _ => Ok(cid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    const V1: &str = "bafybeifkipmlz2fehxda6y7x752uolfed7bdd46jzdammpfga5zrnkq33u";

    #[test]
    fn a_path_below_ipfs_is_content() {
        for cid in [V0, V1] {
            let parsed: Cid = cid.parse().unwrap();
            for (path, segments) in [
                (format!("/ipfs/{cid}"), vec![]),
                (format!("/ipfs/{cid}/"), vec![]),
                (format!("/ipfs/{cid}/a/b c"), vec!["a", "b c"]),
                (format!("/ipfs/{cid}//a//"), vec!["a"]),
            ] {
                let segments = segments.into_iter().map(str::to_owned).collect();
                assert_eq!(content(path.as_bytes()), Ok((parsed, segments)), "{path}");
            }
        }
    }

    #[test]
    fn the_bytes_of_a_cid_are_content() {
        for cid in [V0, V1, "bafkqaaa"] {
            let cid: Cid = cid.parse().unwrap();
            assert_eq!(content(&cid.to_bytes()), Ok((cid, vec![])));
            assert_eq!(content(&[cid.to_bytes(), vec![0]].concat()), Err(NotContent::Unknown));
        }
    }

    #[test]
    fn another_name_is_no_content() {
        let name = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w";
        let bytes = name.parse::<Cid>().unwrap().to_bytes();
        for value in [
            b"/ipns/example.org".to_vec(),
            format!("/ipns/{name}").into(),
            format!("/ipfs/{name}").into(),
            format!("/ipns/{name}/ipfs/{V1}").into(),
            bytes,
        ] {
            assert_eq!(content(&value), Err(NotContent::AnotherName), "{value:?}");
        }
    }

    #[test]
    fn anything_else_is_no_content() {
        assert_eq!(content(b""), Err(NotContent::Empty));
        for value in [
            V1.as_bytes(),
            b"/",
            b"/ipld/bafkqaaa",
            b"ipfs://bafkqaaa",
            b"https://example.org/ipfs/bafkqaaa",
            b"//ipfs/bafkqaaa",
        ] {
            assert_eq!(content(value), Err(NotContent::Unknown), "{value:?}");
        }
        for value in [
            &b"/ipfs/"[..],
            b"/ipfs/example.org",
            b"/ipfs//bafkqaaa",
            b"/ipfs/bafkqaaa/..",
            b"/ipfs/bafkqaaa/./a",
            b"/ipfs/bafkqaaa/\xff",
        ] {
            assert_eq!(content(value), Err(NotContent::BadPath), "{value:?}");
        }
    }
}
