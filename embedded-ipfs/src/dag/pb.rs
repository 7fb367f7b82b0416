//! dag-pb (<https://ipld.io/specs/codecs/dag-pb/spec/>): links first, then data, as Kubo writes it.

use cid::Cid;

use crate::proto::{fields, put_bytes, put_int, Malformed};

/// A decoded node that borrows its data from the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node<'a> {
    pub(crate) links: Vec<Link<'a>>,
    pub(crate) data: &'a [u8],
}

/// A link of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    /// Empty within files.
    pub(crate) name: &'a [u8],
    pub(crate) cid: Cid,
    /// Bytes of all blocks below, as its maker claims.
    pub(crate) total_size: u64,
}

/// Reads a node; `None` if the bytes are no dag-pb.
pub(crate) fn decode(block: &[u8]) -> Option<Node<'_>> {
    read(block).ok()
}

fn read(block: &[u8]) -> Result<Node<'_>, Malformed> {
    let mut node = Node { links: Vec::new(), data: &[] };
    let mut data_seen = false;
    for field in fields(block) {
        match field? {
            (1, value) if !data_seen => {
                node.data = value.bytes()?;
                data_seen = true;
            }
            (2, value) => node.links.push(read_link(value.bytes()?)?),
            _ => return Err(Malformed),
        }
    }
    Ok(node)
}

fn read_link(bytes: &[u8]) -> Result<Link<'_>, Malformed> {
    let (mut name, mut cid, mut total_size) = (&b""[..], None, 0);
    for field in fields(bytes) {
        match field? {
            (1, value) => cid = Some(Cid::try_from(value.bytes()?).map_err(|_| Malformed)?),
            (2, value) => name = value.bytes()?,
            (3, value) => total_size = value.varint()?,
            _ => return Err(Malformed),
        }
    }
    Ok(Link { name, cid: cid.ok_or(Malformed)?, total_size })
}

/// The links of a node in their order; `None` if the bytes are no dag-pb.
pub(crate) fn links(block: &[u8]) -> Option<Vec<Cid>> {
    Some(decode(block)?.links.into_iter().map(|link| link.cid).collect())
}

/// Writes a node. Its links are in the order of their names.
pub(crate) fn encode(links: &[Link<'_>], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(links.len() * 48 + data.len() + 8);
    let mut link_bytes = Vec::with_capacity(64);
    for link in links {
        link_bytes.clear();
        put_bytes(&mut link_bytes, 1, &link.cid.to_bytes());
        put_bytes(&mut link_bytes, 2, link.name);
        put_int(&mut link_bytes, 3, link.total_size);
        put_bytes(&mut out, 2, &link_bytes);
    }
    put_bytes(&mut out, 1, data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, RAW};
    use cid::Version;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_written_node_reads_back(sizes in proptest::collection::vec(any::<u64>(), 0..20), data in proptest::collection::vec(any::<u8>(), 0..50)) {
            let links: Vec<_> = sizes.iter().map(|&total_size| Link {
                name: b"name", cid: cid_of(Version::V1, RAW, &total_size.to_be_bytes()), total_size,
            }).collect();
            let block = encode(&links, &data);
            prop_assert_eq!(decode(&block), Some(Node { links, data: &data }));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn fields_that_dag_pb_does_not_have_are_refused() {
        assert_eq!(decode(&[0x18, 1]), None);
        assert_eq!(decode(b"\x0a\x01x\x0a\x01y"), None, "data twice");
    }
}
