// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {MarketTest} from "./support/MarketTest.sol";
import {ScatterMarket} from "../src/ScatterMarket.sol";
import {Outcome} from "../src/Settlement.sol";
import {VoterList} from "../src/Voters.sol";

/// @dev Voting: when it counts, who may, and what the tallies say.
contract VotingTest is MarketTest {
    int256 private bidId;

    function setUp() public override {
        super.setUp();
        bidId = host(2);
    }

    function _validate(address who) private {
        vm.prank(who);
        market.validate(bidId);
    }

    function _invalidate(address who) private {
        vm.prank(who);
        market.invalidate(bidId);
    }

    function _assertTally(uint256 valid, uint256 invalid) private view {
        (uint256 v, uint256 i) = market.tally(bidId);
        vm.assertEq(v, valid, "valid");
        vm.assertEq(i, invalid, "invalid");
        vm.assertEq(market.getValidationCount(bidId), valid + invalid);
    }

    // When ---------------------------------------------------------------------------------------------------------

    function test_a_valid_vote_counts_from_the_end_to_the_close() public {
        vm.warp(endOf(bidId) - 1);
        vm.expectRevert("too early");
        _validate(voter[0]);

        vm.warp(endOf(bidId));
        vm.expectEmit(address(market));
        emit ValidationOcurred(bidId, voter[0], true);
        _validate(voter[0]);
        vm.warp(closeOf(bidId) - 1);
        _validate(voter[1]);
        _assertTally(2, 0);
    }

    function test_an_invalid_vote_counts_from_pinning_to_the_close() public {
        vm.expectEmit(address(market));
        emit ValidationOcurred(bidId, voter[0], false);
        _invalidate(voter[0]);
        vm.warp(closeOf(bidId) - 1);
        _invalidate(voter[1]);
        _assertTally(0, 2);
    }

    function test_an_invalid_majority_before_the_end_settles_nothing() public {
        cast(bidId, 0, 2);
        vm.warp(endOf(bidId) - 1);
        vm.expectRevert("too early");
        market.settle(bidId);
        vm.warp(endOf(bidId));
        for (uint256 i = 2; i < 5; i++) {
            _validate(voter[i]);
        }
        vm.warp(closeOf(bidId));
        market.settle(bidId);
        assertOutcome(bidId, Outcome.Paid);
    }

    function test_no_vote_settles_before_the_close() public {
        vm.warp(closeOf(bidId) - 1);
        cast(bidId, 3, 0);
        assertOutcome(bidId, Outcome.None);
        assertOwed(hoster, 0);
        vm.expectRevert("too early");
        market.settle(bidId);
    }

    function test_a_vote_at_the_close_does_not_count_and_settles() public {
        vm.warp(endOf(bidId));
        cast(bidId, 2, 0);
        vm.warp(closeOf(bidId));
        vm.expectEmit(address(market));
        emit ScatterMarket.Settled(bidId, Outcome.Paid, AMOUNT, POOL, 0);
        _invalidate(voter[2]);
        _assertTally(2, 0);
        vm.assertFalse(market.hasVoted(bidId, voter[2]));
        assertOwed(voter[2], 0);
        assertOwed(hoster, AMOUNT);
    }

    function test_anybody_may_settle_by_a_late_vote() public {
        vm.warp(closeOf(bidId));
        _validate(stranger);
        assertOutcome(bidId, Outcome.Undecided);
        _assertTally(0, 0);
    }

    // Who ----------------------------------------------------------------------------------------------------------

    function test_an_unpinned_bid_has_no_votes() public {
        bidId = place(2);
        vm.expectRevert("not pinned");
        _validate(voter[0]);
        vm.prank(hoster);
        market.accept(bidId);
        vm.expectRevert("not pinned");
        _invalidate(voter[0]);
        vm.warp(START + 30 days);
        vm.expectRevert("not pinned");
        _invalidate(voter[0]);
    }

    function test_an_unknown_bid_has_no_votes() public {
        bidId = 1;
        vm.expectRevert("unknown bid");
        _validate(voter[0]);
        bidId = -1;
        vm.expectRevert("unknown bid");
        _invalidate(voter[0]);
    }

    function test_the_parties_to_a_bid_have_no_vote_although_registered() public {
        vm.prank(hoster);
        register.register("hoster");
        vm.prank(bidder);
        register.register("bidder");
        bidId = host(2);
        vm.warp(endOf(bidId));
        vm.expectRevert("party to the bid");
        _validate(hoster);
        vm.expectRevert("party to the bid");
        _invalidate(bidder);
    }

    function test_nobody_votes_twice() public {
        _invalidate(voter[0]);
        vm.warp(endOf(bidId));
        _validate(voter[1]);
        vm.expectRevert("already voted");
        _invalidate(voter[0]);
        vm.expectRevert("already voted");
        _validate(voter[0]);
        vm.expectRevert("already voted");
        _validate(voter[1]);
        vm.expectRevert("already voted");
        _invalidate(voter[1]);
        _assertTally(1, 1);
    }

    function test_who_voted_on_one_bid_may_vote_on_another() public {
        _invalidate(voter[0]);
        bidId = host(2);
        vm.assertFalse(market.hasVoted(bidId, voter[0]));
        _invalidate(voter[0]);
        _assertTally(0, 1);
    }

    function test_who_never_registered_has_no_vote() public {
        vm.expectRevert("not a voter");
        _invalidate(stranger);
    }

    function test_who_registers_after_the_bid_has_no_vote_on_it_even_in_the_same_second() public {
        vm.prank(stranger);
        register.register("file");
        vm.expectRevert("not a voter");
        _invalidate(stranger);
        bidId = host(2);
        _invalidate(stranger);
        _assertTally(0, 1);
    }

    function test_registering_again_does_not_lose_the_vote() public {
        vm.warp(START + 1 days);
        vm.prank(voter[0]);
        register.register("moved");
        _invalidate(voter[0]);
        _assertTally(0, 1);
    }

    function test_a_settled_bid_takes_no_votes() public {
        vm.warp(closeOf(bidId));
        market.settle(bidId);
        vm.expectRevert("already settled");
        _validate(voter[0]);
        vm.expectRevert("already settled");
        _invalidate(voter[0]);
    }

    function test_on_a_market_with_a_closed_list_only_the_listed_vote() public {
        VoterList list = new VoterList();
        list.add(voter[0]);
        market = new ScatterMarket(env, list);
        bidId = host(2);
        list.add(voter[1]);
        _invalidate(voter[0]);
        vm.expectRevert("not a voter");
        _invalidate(voter[1]);
        vm.expectRevert("not a voter");
        _invalidate(voter[2]);
    }

    function test_each_side_has_room_for_31_votes() public {
        enrol(64 - voter.length);
        bidId = host(2);
        vm.warp(endOf(bidId));
        cast(bidId, 31, 31);
        vm.expectRevert("too many votes");
        _validate(voter[62]);
        vm.expectRevert("too many votes");
        _invalidate(voter[62]);
        _assertTally(31, 31);
        vm.assertEq(market.validatorIndex(bidId, voter[61]), 61);
    }

    // What is remembered -------------------------------------------------------------------------------------------

    function test_votes_are_kept_in_the_order_of_voting() public {
        _invalidate(voter[3]);
        vm.warp(endOf(bidId) + 5);
        _validate(voter[1]);

        (uint256 when, address who, bool isValid, bool paid) = market.getValidation(bidId, 0);
        vm.assertEq(when, START);
        vm.assertEq(who, voter[3]);
        vm.assertFalse(isValid);
        vm.assertFalse(paid);
        (when, who, isValid, paid) = market.getValidation(bidId, 1);
        vm.assertEq(when, START + DURATION + 5);
        vm.assertEq(who, voter[1]);
        vm.assertTrue(isValid);
        vm.assertFalse(paid);

        vm.assertEq(market.validatorIndex(bidId, voter[3]), 0);
        vm.assertEq(market.validatorIndex(bidId, voter[1]), 1);
        vm.assertEq(market.validatorIndex(bidId, voter[0]), type(uint256).max);
        vm.assertTrue(market.hasVoted(bidId, voter[3]));
        vm.assertFalse(market.hasVoted(bidId, voter[0]));
        vm.expectRevert("no such vote");
        market.getValidation(bidId, 2);
    }

    function test_the_sway_is_the_hosters_lead_and_never_wraps() public {
        cast(bidId, 0, 2);
        vm.assertEq(market.validationSway(bidId), 0);
        vm.assertFalse(market.satisfied(bidId));
        vm.warp(endOf(bidId));
        _validate(voter[2]);
        _validate(voter[3]);
        vm.assertEq(market.validationSway(bidId), 0);
        vm.assertFalse(market.satisfied(bidId));
        _validate(voter[4]);
        vm.assertEq(market.validationSway(bidId), 1);
        vm.assertTrue(market.satisfied(bidId));
    }

    function test_a_lead_without_enough_votes_does_not_satisfy() public {
        vm.warp(endOf(bidId));
        _validate(voter[0]);
        vm.assertEq(market.validationSway(bidId), 1);
        vm.assertFalse(market.satisfied(bidId));
    }

    function test_bytes_after_the_argument_are_ignored() public {
        bytes memory call = abi.encodePacked(abi.encodeCall(market.invalidate, (bidId)), keccak256("evidence"));
        vm.prank(voter[0]);
        (bool ok,) = address(market).call(call);
        vm.assertTrue(ok);
        vm.warp(endOf(bidId));
        call = abi.encodePacked(abi.encodeCall(market.validate, (bidId)), keccak256("evidence"));
        vm.prank(voter[1]);
        (ok,) = address(market).call(call);
        vm.assertTrue(ok);
        _assertTally(1, 1);
    }
}
