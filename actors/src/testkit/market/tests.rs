//! The model where a story says more than random calls; those are played on the Solidity, too, by `tests/worlds.rs`.

use super::*;
use crate::domain::units::{ByteSize, Digest};

const BIDDER: Address = Address([1; 20]);
const HOSTER: Address = Address([2; 20]);
const VOTERS: [Address; 3] = [Address([3; 20]), Address([4; 20]), Address([5; 20])];
const START: ChainTime = ChainTime(1_700_000_000);
const BID: BidId = BidId(0);

fn offer() -> MarketCall {
    MarketCall::Bid {
        file: FileHash([7; 32]),
        size: ByteSize(10),
        duration: MIN_DURATION,
        amount: Wei::from(100),
        pool: Wei::from(30),
        min_validations: 2,
    }
}

fn vote(valid: bool) -> MarketCall {
    MarketCall::Vote { bid: BID, valid, evidence: Digest::default() }
}

fn file(n: u8) -> MarketCall {
    MarketCall::Register(FileHash([n; 32]))
}

/// A market on which a bid is hosted; the first two voters registered before it, the third behind it in one block.
fn hosted(version: Version) -> (Market, ChainTime) {
    let mut market = Market::by(version);
    let mut at_start = |from, call| market.apply(from, &call, START).unwrap();
    at_start(VOTERS[0], file(1));
    at_start(VOTERS[1], file(2));
    at_start(BIDDER, offer());
    at_start(VOTERS[2], file(3));
    at_start(HOSTER, MarketCall::Accept(BID));
    at_start(HOSTER, MarketCall::Pinned(BID));
    (market, START.plus(MIN_DURATION))
}

#[test]
fn version_1_pays_again_with_every_vote_behind_the_end_and_the_last_one_out_gets_nothing() {
    let (mut market, end) = hosted(Version::Legacy);
    let credit = |market: &Market| market.credits.get(&HOSTER).copied().unwrap_or_default();
    for (voter, valid, due) in [(VOTERS[0], true, 100), (VOTERS[0], true, 200), (VOTERS[1], false, 300)] {
        market.apply(voter, &vote(valid), end).unwrap();
        assert_eq!(credit(&market), Wei::from(due));
    }
    assert_eq!((market.held, market.bids[0].payouts), (Wei::from(130), 3));
    assert_eq!(market.apply(HOSTER, &MarketCall::Withdraw, end), revert("not enough funds"));
}

#[test]
fn ours_pays_once_and_owes_what_it_holds() {
    let (mut market, end) = hosted(Version::V2);
    for voter in &VOTERS[..2] {
        market.apply(*voter, &vote(true), end).unwrap();
        assert_eq!(market.apply(*voter, &vote(true), end), revert("already voted"));
    }
    assert_eq!(market.apply(HOSTER, &MarketCall::Settle(BID), end), revert("too early"));
    market.apply(HOSTER, &MarketCall::Settle(BID), end.plus(VOTE)).unwrap();
    assert_eq!(market.apply(HOSTER, &MarketCall::Settle(BID), end.plus(VOTE)), revert("already settled"));
    assert_eq!(market.credits[&HOSTER], Wei::from(100));
    assert_eq!(market.owes(), market.held);
}

#[test]
fn who_registers_behind_a_bid_has_no_say_in_it_even_in_the_same_block() {
    let (mut market, end) = hosted(Version::V2);
    assert_eq!(market.apply(VOTERS[2], &vote(true), end), revert("not a voter"));
}
