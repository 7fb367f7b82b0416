//! Bitswap 1.2 messages (<https://specs.ipfs.tech/bitswap-protocol/>).

use bytes::Bytes;
use cid::Cid;

use crate::block::{cid_from_prefix, prefix_of};
use crate::proto::{fields, put_bytes, put_int, put_varint, Malformed};

/// The largest message that Kubo reads; we send none above it.
pub(crate) const SEND_MAX: usize = 4 << 20;
/// The largest message that we read: some slack over what a peer should send.
pub(crate) const RECEIVE_MAX: usize = SEND_MAX + (64 << 10);
/// Entries, blocks and presences that are read of one message; what is beyond them is a peer's mistake.
const ENTRIES_MAX: usize = 8192;

/// What is wanted of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Whether it is there.
    Have,
    /// The block itself.
    Block,
}

/// One change of a wantlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) cid: Cid,
    /// `None` takes the want back.
    pub(crate) kind: Option<Kind>,
    /// The asker wants to hear of absence too.
    pub(crate) send_dont_have: bool,
}

/// A message of either direction. Blocks of a received one were hashed: their CIDs are those of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The entries are the whole wantlist, not changes of it.
    pub(crate) full: bool,
    pub(crate) entries: Vec<Entry>,
    pub(crate) blocks: Vec<(Cid, Bytes)>,
    /// Whether the sender has each of these.
    pub(crate) presences: Vec<(Cid, bool)>,
    /// Entries, blocks and presences beyond what is read of one message, in a received one.
    pub(crate) excess: usize,
    /// Blocks that were left out because their prefix makes no sense, in a received one.
    pub(crate) senseless: usize,
}

impl Message {
    /// Reads a message. A block whose prefix is senseless is left out.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Message, Malformed> {
        let mut message = Message::default();
        for field in fields(bytes) {
            match field? {
                (1, wantlist) => message.read_wantlist(wantlist.bytes()?)?,
                (3, payload) if message.blocks.len() < ENTRIES_MAX => {
                    let (mut prefix, mut data) = (&b""[..], &b""[..]);
                    for field in fields(payload.bytes()?) {
                        match field? {
                            (1, value) => prefix = value.bytes()?,
                            (2, value) => data = value.bytes()?,
                            _ => {}
                        }
                    }
                    // A block that is a small part of its message must not keep all of it in memory.
                    let shared = match data.len() * 2 > bytes.len() {
                        true => bytes.slice_ref(data),
                        false => Bytes::copy_from_slice(data),
                    };
                    match cid_from_prefix(prefix, data) {
                        Some(cid) => message.blocks.push((cid, shared)),
                        None => message.senseless += 1,
                    }
                }
                (4, presence) if message.presences.len() < ENTRIES_MAX => {
                    let (mut cid, mut have) = (None, true);
                    for field in fields(presence.bytes()?) {
                        match field? {
                            (1, value) => cid = Cid::try_from(value.bytes()?).ok(),
                            (2, value) => have = value.varint()? == 0,
                            _ => {}
                        }
                    }
                    message.presences.extend(cid.map(|cid| (cid, have)));
                }
                (3 | 4, _) => message.excess += 1,
                _ => {}
            }
        }
        Ok(message)
    }

    /// Whether there is nothing in it.
    pub(crate) fn says_nothing(&self) -> bool {
        *self == Message::default()
    }

    fn read_wantlist(&mut self, wantlist: &[u8]) -> Result<(), Malformed> {
        for field in fields(wantlist) {
            match field? {
                (1, value) if self.entries.len() < ENTRIES_MAX => {
                    self.entries.extend(read_entry(value.bytes()?)?)
                }
                (1, _) => self.excess += 1,
                (2, value) => self.full = value.varint()? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the message, without the length that goes before it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let blocks: usize = self.blocks.iter().map(|(_, bytes)| bytes.len() + 32).sum();
        let mut body = Vec::with_capacity(blocks + 56 * (self.entries.len() + self.presences.len()) + 16);
        if self.full || !self.entries.is_empty() {
            let mut wantlist = Vec::with_capacity(56 * self.entries.len() + 2);
            for entry in &self.entries {
                put_bytes(&mut wantlist, 1, &write_entry(entry));
            }
            if self.full {
                put_int(&mut wantlist, 2, 1);
            }
            put_bytes(&mut body, 1, &wantlist);
        }
        for (cid, data) in &self.blocks {
            let mut head = Vec::with_capacity(24);
            put_bytes(&mut head, 1, &prefix_of(cid));
            put_varint(&mut head, 2 << 3 | 2);
            put_varint(&mut head, data.len() as u64);
            put_varint(&mut body, 3 << 3 | 2);
            put_varint(&mut body, (head.len() + data.len()) as u64);
            body.extend_from_slice(&head);
            body.extend_from_slice(data);
        }
        for (cid, have) in &self.presences {
            let mut presence = Vec::with_capacity(48);
            put_bytes(&mut presence, 1, &cid.to_bytes());
            put_int(&mut presence, 2, u64::from(!have));
            put_bytes(&mut body, 4, &presence);
        }
        body
    }
}

fn read_entry(bytes: &[u8]) -> Result<Option<Entry>, Malformed> {
    let (mut cid, mut cancel, mut kind, mut send_dont_have) = (None, false, Kind::Block, false);
    for field in fields(bytes) {
        match field? {
            (1, value) => cid = Cid::try_from(value.bytes()?).ok(),
            (3, value) => cancel = value.varint()? != 0,
            (4, value) => kind = if value.varint()? == 1 { Kind::Have } else { Kind::Block },
            (5, value) => send_dont_have = value.varint()? != 0,
            _ => {}
        }
    }
    Ok(cid.map(|cid| Entry { cid, kind: (!cancel).then_some(kind), send_dont_have }))
}

fn write_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(56);
    put_bytes(&mut out, 1, &entry.cid.to_bytes());
    put_int(&mut out, 2, 1);
    match entry.kind {
        None => put_int(&mut out, 3, 1),
        Some(Kind::Block) => {}
        Some(Kind::Have) => put_int(&mut out, 4, 1),
    }
    if entry.send_dont_have {
        put_int(&mut out, 5, 1);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{cid_of, DAG_PB, RAW};
    use cid::Version;
    use proptest::prelude::*;

    fn cid() -> impl Strategy<Value = Cid> {
        (any::<[u8; 4]>(), any::<bool>()).prop_map(|(bytes, v0)| match v0 {
            true => cid_of(Version::V0, DAG_PB, &bytes),
            false => cid_of(Version::V1, RAW, &bytes),
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let kind = prop_oneof![Just(None), Just(Some(Kind::Have)), Just(Some(Kind::Block))];
        (cid(), kind, any::<bool>()).prop_map(|(cid, kind, send_dont_have)| Entry {
            cid,
            kind,
            send_dont_have,
        })
    }

    proptest! {
        #[test]
        fn a_written_message_reads_back(
            full in any::<bool>(),
            entries in proptest::collection::vec(entry(), 0..5),
            data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5),
            presences in proptest::collection::vec((cid(), any::<bool>()), 0..5),
        ) {
            let blocks = data.into_iter().map(|data| (cid_of(Version::V0, DAG_PB, &data), data.into())).collect();
            let message = Message { full, entries, blocks, presences, ..Message::default() };
            prop_assert_eq!(Message::decode(&message.encode().into()), Ok(message));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode(&bytes.into());
        }
    }

    #[test]
    fn a_wantlist_of_millions_of_entries_is_read_no_further_than_the_cap() {
        let one = write_entry(&Entry {
            cid: cid_of(Version::V1, RAW, b""),
            kind: Some(Kind::Have),
            send_dont_have: true,
        });
        let mut wantlist = Vec::new();
        for _ in 0..ENTRIES_MAX + 1000 {
            put_bytes(&mut wantlist, 1, &one);
        }
        let mut body = Vec::new();
        put_bytes(&mut body, 1, &wantlist);
        let message = Message::decode(&body.into()).unwrap();
        assert_eq!((message.entries.len(), message.excess), (ENTRIES_MAX, 1000));
    }
}
