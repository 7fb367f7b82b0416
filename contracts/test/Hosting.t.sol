// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {MarketTest} from "./support/MarketTest.sol";
import {Outcome} from "../src/Settlement.sol";

/// @dev Accepting and pinning: who may, when, and how a lost race is told.
contract HostingTest is MarketTest {
    int256 private bidId;

    function setUp() public override {
        super.setUp();
        bidId = place(2);
    }

    function _accept(address who) private returns (bool) {
        vm.prank(who);
        return market.accept(bidId);
    }

    function _pinned(address who) private returns (bool) {
        vm.prank(who);
        return market.pinned(bidId);
    }

    function _waits(address who, uint256 left) private {
        vm.expectEmit(address(market));
        emit AcceptWait(left);
        vm.assertFalse(_accept(who));
    }

    // Accepting ----------------------------------------------------------------------------------------------------

    function test_an_acceptance_holds_the_bid_for_its_hoster() public {
        vm.expectEmit(address(market));
        emit Accepted(bidId, START, hoster);
        vm.assertTrue(_accept(hoster));
        (address who, uint256 until) = market.holdOf(bidId);
        vm.assertEq(who, hoster);
        vm.assertEq(until, START + HOLD);
        vm.assertEq(market.getHoster(bidId), hoster);
    }

    function test_a_lost_race_tells_the_seconds_left() public {
        _accept(hoster);
        _waits(rival, HOLD);
        vm.warp(START + 100);
        _waits(rival, HOLD - 100);
        vm.warp(START + HOLD - 1);
        _waits(rival, 1);
        vm.assertEq(market.getHoster(bidId), hoster);
    }

    function test_a_hold_cannot_be_renewed_while_it_lives() public {
        _accept(hoster);
        vm.warp(START + HOLD - 1);
        _waits(hoster, 1);
    }

    function test_a_lapsed_hold_opens_the_bid_again_for_all() public {
        _accept(hoster);
        vm.warp(START + HOLD);
        vm.assertTrue(_accept(rival));
        vm.assertEq(market.getHoster(bidId), rival);
        vm.warp(START + 2 * HOLD);
        vm.assertTrue(_accept(rival));
        (, uint256 until) = market.holdOf(bidId);
        vm.assertEq(until, START + 3 * HOLD);
    }

    function test_nobody_accepts_after_the_offer_has_ended() public {
        vm.warp(START + OFFER - 1);
        vm.assertTrue(_accept(hoster));
        vm.warp(START + OFFER - 1 + HOLD);
        _waits(rival, 0);
    }

    function test_the_offer_ends_at_its_second() public {
        vm.warp(START + OFFER);
        _waits(hoster, 0);
    }

    function test_a_pinned_bid_is_no_longer_accepted() public {
        pin(bidId);
        _waits(rival, 0);
        vm.warp(START + HOLD);
        _waits(rival, 0);
        vm.assertEq(market.getHoster(bidId), hoster);
    }

    function test_a_settled_bid_is_no_longer_accepted() public {
        vm.warp(START + OFFER);
        market.settle(bidId);
        _waits(hoster, 0);
    }

    function test_a_bidder_cannot_accept_its_own_bid() public {
        vm.expectRevert("own bid");
        _accept(bidder);
    }

    function test_unknown_bids_cannot_be_accepted_or_pinned() public {
        int256[3] memory unknown = [bidId + 1, int256(-1), type(int256).min];
        for (uint256 i = 0; i < unknown.length; i++) {
            vm.expectRevert("unknown bid");
            market.accept(unknown[i]);
            vm.expectRevert("unknown bid");
            market.pinned(unknown[i]);
        }
    }

    // Pinning ------------------------------------------------------------------------------------------------------

    function test_the_hoster_who_accepted_pins_and_its_time_starts() public {
        _accept(hoster);
        vm.warp(START + 60);
        vm.expectEmit(address(market));
        emit Pinned(bidId, hoster, FILE);
        vm.assertTrue(_pinned(hoster));
        (,,, uint256 pinnedAt, uint256 end, uint256 close) = market.bidWindows(bidId);
        vm.assertEq(pinnedAt, START + 60);
        vm.assertEq(end, START + 60 + DURATION);
        vm.assertEq(close, START + 60 + DURATION + VOTE);
    }

    function test_nobody_pins_without_having_accepted() public {
        vm.expectEmit(address(market));
        emit NotAcceptedByPinner(bidId, address(0));
        vm.assertFalse(_pinned(hoster));
    }

    function test_a_stranger_cannot_pin_what_another_accepted_even_after_the_lapse() public {
        _accept(hoster);
        vm.expectEmit(address(market));
        emit NotAcceptedByPinner(bidId, hoster);
        vm.assertFalse(_pinned(rival));
        vm.warp(START + HOLD);
        vm.expectEmit(address(market));
        emit NotAcceptedByPinner(bidId, hoster);
        vm.assertFalse(_pinned(rival));
        vm.assertEq(market.getHoster(bidId), hoster);
    }

    function test_a_late_hoster_may_pin_while_nobody_else_accepted() public {
        _accept(hoster);
        vm.warp(START + OFFER - 1);
        vm.assertTrue(_pinned(hoster));
    }

    function test_a_late_hoster_is_out_once_another_accepted() public {
        _accept(hoster);
        vm.warp(START + HOLD);
        _accept(rival);
        vm.expectEmit(address(market));
        emit NotAcceptedByPinner(bidId, rival);
        vm.assertFalse(_pinned(hoster));
        vm.assertTrue(_pinned(rival));
    }

    function test_a_hold_from_before_the_offers_end_is_honoured_after_it() public {
        vm.warp(START + OFFER - 1);
        _accept(hoster);
        vm.warp(START + OFFER - 1 + HOLD - 1);
        vm.expectRevert("too early");
        market.settle(bidId);
        vm.assertTrue(_pinned(hoster));
    }

    function test_a_hold_that_outlives_the_offer_ends_at_its_second() public {
        vm.warp(START + OFFER - 1);
        _accept(hoster);
        vm.warp(START + OFFER - 1 + HOLD);
        vm.expectRevert("offer over");
        _pinned(hoster);
        market.settle(bidId);
        assertOutcome(bidId, Outcome.Expired);
    }

    function test_a_hoster_whose_hold_lapsed_is_out_at_the_offers_end() public {
        _accept(hoster);
        vm.warp(START + OFFER);
        vm.expectRevert("offer over");
        _pinned(hoster);
    }

    function test_an_expired_bid_cannot_be_pinned() public {
        _accept(hoster);
        vm.warp(START + OFFER);
        market.settle(bidId);
        vm.expectRevert("offer over");
        _pinned(hoster);
    }

    function test_a_bid_is_pinned_once() public {
        pin(bidId);
        vm.expectRevert("already pinned");
        _pinned(hoster);
        vm.expectRevert("already pinned");
        _pinned(rival);
    }

    // What the views say -------------------------------------------------------------------------------------------

    /// @dev The views are asked, then the call is made: both must agree, at any time, for anybody.
    function testFuzz_the_views_foretell_accept_and_pinned(uint256 first, uint256 second, uint256 third) public {
        address[3] memory who = [hoster, rival, bidder];
        vm.warp(START + within(first, 0, OFFER + 2 * HOLD));
        _foretell(who[second % 3], first % 2 == 0);
        vm.warp(block.timestamp + within(second, 0, 2 * HOLD));
        _foretell(who[third % 3], second % 2 == 0);
        vm.warp(block.timestamp + within(third, 0, OFFER));
        _foretell(who[first % 3], true);
    }

    function _foretell(address who, bool pins) private {
        bool acceptable = market.isBidOpenForAccept(bidId, who);
        vm.prank(who);
        vm.assertTrue(market.isBidOpenForAccept(bidId) == acceptable);
        vm.prank(who);
        try market.accept(bidId) returns (bool accepted) {
            vm.assertTrue(accepted == acceptable);
        } catch {
            vm.assertFalse(acceptable);
        }
        bool pinnable = market.isBidOpenForPin(bidId, who);
        vm.prank(who);
        vm.assertTrue(market.isBidOpenForPin(bidId) == pinnable);
        if (!pins) return;
        vm.prank(who);
        try market.pinned(bidId) returns (bool pinned) {
            vm.assertTrue(pinned == pinnable);
        } catch {
            vm.assertFalse(pinnable);
        }
    }
}
