//! The contents that there are in the simulated network, and the numbers that decide its histories.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use cid::{Cid, Version};

use crate::block::{cid_of, RAW};

/// All the contents that there are, every third of them so small that it is sent for a WANT_HAVE.
static CONTENTS: LazyLock<Vec<(Cid, Bytes)>> = LazyLock::new(|| {
    let content = |n: u32| {
        let bytes = Bytes::from(n.to_be_bytes().repeat(if n.is_multiple_of(3) { 8 } else { 300 }));
        (cid_of(Version::V1, RAW, &bytes), bytes)
    };
    (0..4000).map(content).collect()
});
static NUMBERS: LazyLock<HashMap<Cid, usize>> =
    LazyLock::new(|| CONTENTS.iter().enumerate().map(|(n, (cid, _))| (*cid, n)).collect());

pub(in super::super) fn content(n: usize) -> (Cid, Bytes) {
    CONTENTS[n].clone()
}

pub(in super::super) fn number(cid: &Cid) -> usize {
    NUMBERS[cid]
}

/// A small generator: the same seed, the same numbers.
pub(in super::super) struct Dice(u64);

impl Dice {
    pub(in super::super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in super::super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(in super::super) fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    pub(in super::super) fn millis(&mut self, most: usize) -> Duration {
        Duration::from_micros(self.below(most * 1000) as u64)
    }
}
