//! The seed of a slot's draw: nobody knows it before the slot, nobody can choose it.

use cid::Cid;

use super::keccak;
use crate::domain::market::BidKey;
use crate::domain::units::{Address, BlockHash, Digest};

/// What a seed is made of.
#[derive(Debug, Clone, Copy)]
pub struct Ingredients<'a> {
    /// The bid, with chain and market.
    pub bid: BidKey,
    /// The content's root.
    pub root: &'a Cid,
    /// Who should have it.
    pub hoster: Address,
    /// Who asks.
    pub validator: Address,
    /// The slot's number.
    pub slot: u32,
    /// The slot's secret.
    pub secret: Digest,
    /// Hash of the first block whose timestamp is at or behind the beginning of the slot's stratum.
    pub beacon: BlockHash,
    /// Entries of the index.
    pub leaf_count: u64,
    /// How many of them are drawn.
    pub k: u64,
}

/// `keccak(abi.encode("scatter/audit/1", chainId, market, bidId, rootMultihash, hoster, validator, slot,
/// secret, beacon, leafCount, k))` with the types `(string, uint256, address, int256, bytes, address, address,
/// uint256, bytes32, bytes32, uint256, uint256)`.
pub fn seed(from: Ingredients<'_>) -> Digest {
    keccak(&[&encode(from)])
}

const NAME: &[u8] = b"scatter/audit/1";
const WORDS: u64 = 12;

fn encode(from: Ingredients<'_>) -> Vec<u8> {
    let root = from.root.hash().to_bytes();
    let heads = [
        number(WORDS * 32),
        number(from.bid.market.chain),
        address(from.bid.market.address),
        number(from.bid.id.0),
        number(WORDS * 32 + tail(NAME).len() as u64),
        address(from.hoster),
        address(from.validator),
        number(from.slot.into()),
        from.secret.0,
        from.beacon.0,
        number(from.leaf_count),
        number(from.k),
    ];
    [heads.concat(), tail(NAME), tail(&root)].concat()
}

fn number(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

fn address(value: Address) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&value.0);
    word
}

/// A dynamic value: its length, then its bytes, filled up to whole words.
fn tail(bytes: &[u8]) -> Vec<u8> {
    let mut tail = number(bytes.len() as u64).to_vec();
    tail.extend(bytes);
    tail.resize(tail.len().next_multiple_of(32), 0);
    tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cids;
    use crate::domain::market::Market;
    use crate::domain::units::{BidId, FileHash};

    fn ingredients(root: &Cid) -> Ingredients<'_> {
        Ingredients {
            bid: BidKey { market: Market { chain: 1337, address: Address([0x11; 20]) }, id: BidId(42) },
            root,
            hoster: Address([0x22; 20]),
            validator: Address([0x33; 20]),
            slot: 5,
            secret: Digest([0x44; 32]),
            beacon: BlockHash([0x55; 32]),
            leaf_count: 4_121,
            k: 59,
        }
    }

    /// The vector was computed apart from this code, by an ABI encoder and a Keccak-256 in another language.
    #[test]
    fn the_seed_is_the_keccak_of_the_abi_encoding() {
        let root = cids::of_file(FileHash([0xab; 32]));
        let encoded = encode(ingredients(&root));
        assert_eq!(encoded.len(), 32 * 17);
        let want = "0x381505fae18fd5f0af888e757503c9ca7df80ae98c01e059e0c3ee358dfe9658";
        assert_eq!(seed(ingredients(&root)).to_string(), want);
    }

    #[test]
    fn every_ingredient_changes_the_seed() {
        let root = cids::of_file(FileHash([0xab; 32]));
        let other_root = cids::of_file(FileHash([0xac; 32]));
        let base = ingredients(&root);
        let mut bid = base.bid;
        bid.id = BidId(43);
        let mut market = base.bid;
        market.market.address = Address([0x12; 20]);
        let mut chain = base.bid;
        chain.market.chain = 1;
        let seeds = [
            base,
            Ingredients { bid, ..base },
            Ingredients { bid: market, ..base },
            Ingredients { bid: chain, ..base },
            Ingredients { root: &other_root, ..base },
            Ingredients { hoster: Address([0x23; 20]), ..base },
            Ingredients { validator: Address([0x34; 20]), ..base },
            Ingredients { slot: 6, ..base },
            Ingredients { secret: Digest([0x45; 32]), ..base },
            Ingredients { beacon: BlockHash([0x56; 32]), ..base },
            Ingredients { leaf_count: 4_122, ..base },
            Ingredients { k: 60, ..base },
        ]
        .map(seed);
        let distinct: std::collections::BTreeSet<Digest> = seeds.into_iter().collect();
        assert_eq!(distinct.len(), 12);
    }
}
