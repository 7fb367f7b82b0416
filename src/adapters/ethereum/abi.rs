//! The contracts' words, decoded strictly: bits that a type has no room for make it no such value, never another one.

use ethers::abi::AbiDecode;
use ethers::types::U256;
use scatter_actors::domain::market::Settlement;
use scatter_actors::domain::units::{Address, BidId, ChainTime, FileHash};

/// Longest text of a contract that is kept, in characters: it is a stranger's.
const LONGEST_REASON: usize = 200;

/// The first `N` words of an answer or of a log's data; `None` if there are fewer.
pub(super) fn words<const N: usize>(data: &[u8]) -> Option<[U256; N]> {
    <[U256; N]>::decode(data).ok()
}

/// The only word.
pub(super) fn word(data: &[u8]) -> Option<U256> {
    words::<1>(data).map(|[word]| word)
}

/// A number that fits 64 bits; a negative one does not.
pub(super) fn small(word: U256) -> Option<u64> {
    u64::try_from(word).ok()
}

/// A bid's number.
pub(super) fn bid(word: U256) -> Option<BidId> {
    small(word).map(BidId)
}

/// A moment.
pub(super) fn time(word: U256) -> Option<ChainTime> {
    small(word).map(ChainTime)
}

/// Yes or no.
pub(super) fn flag(word: U256) -> Option<bool> {
    small(word).filter(|word| *word < 2).map(|word| word == 1)
}

/// 32 bytes.
pub(super) fn bytes32(word: U256) -> [u8; 32] {
    let mut bytes = [0; 32];
    word.to_big_endian(&mut bytes);
    bytes
}

/// A file's digest.
pub(super) fn file(word: U256) -> FileHash {
    FileHash(bytes32(word))
}

/// An address, zero included.
pub(super) fn address(word: U256) -> Option<Address> {
    let bytes = bytes32(word);
    let (padding, address) = bytes.split_at(12);
    if padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    address.try_into().ok().map(Address)
}

/// An address, `Some(None)` for zero, which is how contracts say nobody.
pub(super) fn somebody(word: U256) -> Option<Option<Address>> {
    address(word).map(|address| (address != Address::default()).then_some(address))
}

/// An outcome by its number in the contract; `Some(None)` for 0, not settled.
pub(super) fn outcome(word: U256) -> Option<Option<Settlement>> {
    match small(word)? {
        0 => Some(None),
        1 => Some(Some(Settlement::Paid)),
        2 => Some(Some(Settlement::Failed)),
        3 => Some(Some(Settlement::Undecided)),
        4 => Some(Some(Settlement::Expired)),
        _ => None,
    }
}

/// The start of the only text.
pub(super) fn text(data: &[u8]) -> Option<String> {
    String::decode(data).ok().map(|text| shortened(&text))
}

/// The start of a text.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_REASON).collect()
}
