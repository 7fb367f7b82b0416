//! The visited set of a walk.

use std::collections::HashMap;

use cid::Cid;

use crate::block::{Key, DAG_CBOR, DAG_JSON, DAG_PB, RAW};

/// Blocks seen, with a bit per codec under which they were seen: one digest as raw and as dag-pb is one block with
/// different links.
#[derive(Default)]
pub(crate) struct Seen(pub(crate) HashMap<Key, u8>);

/// How a CID stands to what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A block not seen yet.
    New,
    /// A block seen under another codec: its bytes are counted, its links are others.
    OtherCodec,
    /// Seen.
    Known,
}

impl Seen {
    /// Whether it was seen, under its codec.
    pub(crate) fn knows(&self, cid: &Cid) -> bool {
        self.0.get(&Key::of(cid)).is_some_and(|bits| bits & codec_bit(cid.codec()) != 0)
    }

    pub(crate) fn see(&mut self, cid: &Cid) -> Sight {
        let bit = codec_bit(cid.codec());
        match self.0.get_mut(&Key::of(cid)) {
            Some(bits) if *bits & bit != 0 => Sight::Known,
            Some(bits) => {
                *bits |= bit;
                Sight::OtherCodec
            }
            None => {
                self.0.insert(Key::of(cid), bit);
                Sight::New
            }
        }
    }
}

/// Codecs whose links are known are told apart; no other one is walked.
fn codec_bit(codec: u64) -> u8 {
    match codec {
        RAW => 1,
        DAG_PB => 2,
        DAG_CBOR => 4,
        DAG_JSON => 8,
        _ => 16,
    }
}
