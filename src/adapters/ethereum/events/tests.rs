use super::*;
use ethers::abi::AbiEncode;
use scatter_actors::domain::market::Settlement;
use scatter_actors::domain::units::{Address, BidId, ChainTime, FileHash};

const SOMEBODY: Address = Address([0xab; 20]);
const FILE: FileHash = FileHash([0xf1; 32]);

fn number(word: u64) -> U256 {
    U256::from(word)
}

fn of(address: Address) -> U256 {
    U256::from_big_endian(&address.0)
}

fn root() -> U256 {
    U256::from_big_endian(&FILE.0)
}

/// What a log says: the event's signature, its indexed words, its data.
fn decode(signature: &str, indexed: &[U256], data: Vec<u8>) -> Option<MarketEvent> {
    let indexed = indexed.iter().map(|word| Digest(super::super::abi::bytes32(*word)));
    let topics: Vec<_> = std::iter::once(Digest(keccak256(signature))).chain(indexed).collect();
    Topics::default().decode(&topics, &data)
}

const BID_SUCCESSFUL: &str = "BidSuccessful(int256,address,uint256,uint256,bytes32,int64)";
const SETTLED: &str = "Settled(int256,uint8,uint256,uint256,uint256)";
const ACCEPTED: &str = "Accepted(int256,uint256,address)";

fn bid_placed(id: U256, size: U256) -> Option<MarketEvent> {
    decode(BID_SUCCESSFUL, &[id, of(SOMEBODY), number(5)], [number(4), root(), size].encode())
}

#[test]
fn a_number_that_does_not_fit_makes_a_log_poison() {
    let placed = |bid, size| MarketEvent::BidPlaced {
        bid: BidId(bid),
        bidder: SOMEBODY,
        amount: Wei(number(5)),
        pool: Wei(number(4)),
        file: FILE,
        size: ByteSize(size),
    };
    assert_eq!(bid_placed(number(u64::MAX), number(9)), Some(placed(u64::MAX, 9)));
    assert_eq!(bid_placed(number(0), number(i64::MAX as u64)), Some(placed(0, i64::MAX as u64)));
    let minus_one = U256::MAX;
    for (id, size) in [
        (number(u64::MAX) + 1, number(9)),
        (minus_one, number(9)),
        (number(0), minus_one),
        (number(0), number(i64::MAX as u64 + 1)),
    ] {
        assert_eq!(bid_placed(id, size), None, "{id} {size}");
    }
}

#[test]
fn an_accept_is_read_whether_its_time_is_indexed_or_not() {
    let accepted = MarketEvent::Accepted { bid: BidId(3), when: ChainTime(77), hoster: SOMEBODY };
    let (id, when, hoster) = (number(3), number(77), of(SOMEBODY));
    assert_eq!(decode(ACCEPTED, &[id, when, hoster], Vec::new()), Some(accepted.clone()));
    assert_eq!(decode(ACCEPTED, &[id, hoster], when.encode()), Some(accepted));
}

#[test]
fn words_with_bits_that_mean_nothing_are_poison() {
    let dirty = of(SOMEBODY) | (number(1) << 160);
    assert_eq!(decode("Withdraw(uint256,address)", &[number(1), dirty], Vec::new()), None);
    let voted = |valid| {
        decode("ValidationOcurred(int256,address,bool)", &[number(1), of(SOMEBODY), valid], Vec::new())
    };
    assert!(matches!(voted(number(1)), Some(MarketEvent::Voted { valid: true, .. })));
    assert!(matches!(voted(number(0)), Some(MarketEvent::Voted { valid: false, .. })));
    assert_eq!(voted(number(2)), None);
}

#[test]
fn an_outcome_is_one_of_four() {
    let settled =
        |how| decode(SETTLED, &[number(1)], [number(how), number(1), number(2), number(3)].encode());
    let outcomes = [Settlement::Paid, Settlement::Failed, Settlement::Undecided, Settlement::Expired];
    for (how, outcome) in (1..).zip(outcomes) {
        assert!(matches!(settled(how), Some(MarketEvent::Settled { outcome: o, .. }) if o == outcome));
    }
    assert_eq!((settled(0), settled(5)), (None, None));
}

#[test]
fn a_reason_is_a_strangers_text_and_is_cut() {
    let refused = |data| decode("BidInvalid(bytes32,string)", &[root()], data);
    let long = "é".repeat(10_000);
    assert!(matches!(
        refused((long,).encode()),
        Some(MarketEvent::BidRefused { reason, .. }) if reason.chars().count() == 200
    ));
    // A length or an offset beyond the data.
    assert_eq!(refused([number(32), number(1_000)].encode()), None);
    assert_eq!(refused([U256::MAX, number(1)].encode()), None);
    assert_eq!(refused(Vec::new()), None);
}

#[test]
fn a_log_of_another_shape_is_poison() {
    assert_eq!(Topics::default().decode(&[], &[]), None);
    assert_eq!(decode("Transfer(address,address,uint256)", &[of(SOMEBODY); 2], Vec::new()), None);
    assert_eq!(decode(ACCEPTED, &[number(3)], number(77).encode()), None);
    assert_eq!(decode(BID_SUCCESSFUL, &[number(0), of(SOMEBODY), number(5)], [number(4)].encode()), None);
}
