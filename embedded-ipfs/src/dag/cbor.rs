//! The links of dag-cbor (<https://ipld.io/specs/codecs/dag-cbor/spec/>): tag 42 on a byte string of 0x00 and a CID.

use cid::Cid;

/// Deeper nesting is refused: no honest block has it, and a count is kept per level.
const MAX_DEPTH: usize = 1024;

/// The links in their order; `None` if the bytes are no dag-cbor.
pub(super) fn links(block: &[u8]) -> Option<Vec<Cid>> {
    let mut links = Vec::new();
    let mut rest = block;
    let mut open = vec![1u64]; // items still to come, per level of nesting
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let (major, n) = head(&mut rest)?;
        let nested = match major {
            0 | 1 | 7 => None,
            2 | 3 => take(&mut rest, n).map(|_| None)?,
            4 => Some(n),
            5 => Some(n.checked_mul(2)?),
            6 if n == 42 => {
                links.push(link(&mut rest)?);
                None
            }
            _ => return None,
        };
        if let Some(items) = nested {
            if open.len() == MAX_DEPTH {
                return None;
            }
            open.push(items);
        }
    }
    rest.is_empty().then_some(links)
}

/// The CID behind the tag of a link.
pub(crate) fn link(rest: &mut &[u8]) -> Option<Cid> {
    let (2, size) = head(rest)? else {
        return None;
    };
    let [0, cid @ ..] = take(rest, size)? else {
        return None;
    };
    Cid::try_from(cid).ok()
}

/// Major type and argument of the next item; dag-cbor has definite lengths only.
pub(crate) fn head(rest: &mut &[u8]) -> Option<(u8, u64)> {
    let &first = rest.first()?;
    *rest = &rest[1..];
    let n = match first & 0x1f {
        n @ 0..=23 => u64::from(n),
        n @ 24..=27 => take(rest, 1 << (n - 24))?.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)),
        _ => return None,
    };
    Some((first >> 5, n))
}

pub(crate) fn take<'a>(rest: &mut &'a [u8], n: u64) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(usize::try_from(n).ok()?)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, RAW};
    use cid::Version;
    use proptest::prelude::*;

    #[test]
    fn links_in_maps_and_arrays_are_found_in_order() {
        let (one, two) = (cid_of(Version::V1, RAW, b"1"), cid_of(Version::V1, RAW, b"2"));
        let link = |cid: &Cid| [&[0xd8, 42, 0x58, 37, 0][..], &cid.to_bytes()].concat();
        // {"a": [1.5, one], "b": {"c": two, "d": "text"}}
        let block = [
            &b"\xa2\x61a\x82\xfb\x3f\xf8\0\0\0\0\0\0"[..],
            &link(&one),
            b"\x61b\xa2\x61c",
            &link(&two),
            b"\x61d\x64text",
        ]
        .concat();
        assert_eq!(links(&block), Some(vec![one, two]));
        assert_eq!(links(&block[..block.len() - 1]), None, "cut short");
        assert_eq!(links(&[&block[..], b"\0"].concat()), None, "something after it");
    }

    #[test]
    fn nesting_without_end_and_indefinite_lengths_are_refused() {
        assert_eq!(links(&[0x81; 5000]), None);
        assert_eq!(links(b"\x9f\x01\xff"), None);
        assert_eq!(links(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = links(&bytes);
        }
    }
}
