// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ScatterMarket} from "../src/ScatterMarket.sol";
import {Outcome} from "../src/Settlement.sol";
import {MarketTest} from "./support/MarketTest.sol";
import {TrapMarket} from "./support/TrapMarket.sol";

/// @dev The traps of version 1, one by one: TrapMarket has them, so that a node can be tested on it, and ours has not.
/// Both markets speak one interface, so each story is told once, with `market` pointing at the one or the other.
contract TrapsTest is MarketTest {
    TrapMarket private trap;

    function setUp() public override {
        super.setUp();
        trap = new TrapMarket(env, address(register));
    }

    modifier onVersion1() {
        market = ScatterMarket(address(trap));
        _;
    }

    function _refused() private returns (uint256 lost) {
        vm.prank(bidder);
        market.bid{value: 1 ether}(0, SIZE, DURATION, AMOUNT, POOL, 2);
        return 1 ether - market.balance(bidder);
    }

    function test_version_1_keeps_the_value_of_a_refused_bid() public onVersion1 {
        vm.expectEmit(address(market));
        emit BidInvalid(0, "failed validation");
        vm.assertEq(_refused(), 1 ether);
    }

    function test_ours_owes_it_back() public {
        vm.assertEq(_refused(), 0);
    }

    function _overpaid() private returns (uint256 lost) {
        vm.prank(bidder);
        market.bid{value: AMOUNT + POOL + 1 ether}(FILE, SIZE, DURATION, AMOUNT, POOL, 2);
        return 1 ether - market.balance(bidder);
    }

    function test_version_1_keeps_an_overpayment() public onVersion1 {
        vm.assertEq(_overpaid(), 1 ether);
    }

    function test_ours_owes_an_overpayment_back() public {
        vm.assertEq(_overpaid(), 0);
    }

    function test_version_1_calls_a_bid_that_is_too_low_invalid() public onVersion1 {
        vm.expectEmit(address(market));
        emit BidInvalid(FILE, "failed validation");
        vm.prank(bidder);
        market.bid(FILE, SIZE, DURATION, AMOUNT, POOL, 2);
    }

    function test_version_1_has_no_version_no_settling_and_no_refund() public onVersion1 {
        place(2);
        vm.warp(START + 3650 days);
        vm.expectRevert();
        market.marketVersion();
        vm.expectRevert();
        market.settle(0);
        assertOwed(bidder, 0);
    }

    function test_version_1_tells_the_time_that_passed_not_the_time_that_is_left() public onVersion1 {
        place(2);
        vm.prank(hoster);
        market.accept(0);
        vm.warp(START + 100);
        vm.expectEmit(address(market));
        emit AcceptWait(100);
        vm.prank(rival);
        market.accept(0);
    }

    function _pinUnaccepted() private returns (bool) {
        place(2);
        vm.prank(stranger);
        return market.pinned(0);
    }

    function test_version_1_lets_anybody_pin_what_nobody_accepted() public onVersion1 {
        vm.assertTrue(_pinUnaccepted());
        vm.assertEq(market.getHoster(0), stranger);
    }

    function test_ours_does_not() public {
        vm.assertFalse(_pinUnaccepted());
    }

    function _pinLapsed() private returns (bool) {
        place(2);
        vm.prank(hoster);
        market.accept(0);
        vm.warp(START + HOLD);
        vm.prank(stranger);
        return market.pinned(0);
    }

    function test_version_1_lets_anybody_pin_once_the_hold_has_lapsed() public onVersion1 {
        vm.assertTrue(_pinLapsed());
        vm.assertEq(market.getHoster(0), stranger);
    }

    function test_ours_keeps_the_one_who_accepted() public {
        vm.assertFalse(_pinLapsed());
        vm.assertEq(market.getHoster(0), hoster);
    }

    function test_version_1_lets_one_address_vote_many_times_and_the_parties_too() public onVersion1 {
        host(2);
        address[4] memory who = [stranger, stranger, hoster, bidder];
        for (uint256 i = 0; i < who.length; i++) {
            vm.prank(who[i]);
            market.validate(0);
        }
        vm.assertEq(market.getValidationCount(0), 4);
        vm.assertTrue(market.satisfied(0));
    }

    function test_version_1_pays_the_hoster_whatever_the_votes_say() public onVersion1 {
        host(2);
        vm.warp(START + DURATION);
        vm.prank(voter[0]);
        market.invalidate(0);
        assertOwed(hoster, AMOUNT);
        assertOwed(voter[0], POOL);
    }

    function _invalidMajority() private {
        host(2);
        vm.warp(START + DURATION);
        cast(0, 0, 2);
        vm.warp(START + DURATION + VOTE);
    }

    function test_ours_pays_no_hoster_whom_the_votes_condemn() public {
        _invalidMajority();
        market.settle(0);
        assertOwed(hoster, 0);
        assertOutcome(0, Outcome.Failed);
    }

    function test_version_1_pays_out_again_with_every_vote_after_the_end_and_takes_other_bids_money()
        public
        onVersion1
    {
        host(2);
        vm.warp(START + DURATION);
        cast(0, 2, 0);
        assertOwed(hoster, 2 * AMOUNT);
        vm.prank(voter[2]);
        market.validate(0);
        assertOwed(hoster, 3 * AMOUNT);
        vm.assertGt(market.balance(hoster), address(market).balance);
    }

    function test_ours_pays_once_however_many_vote_and_settle() public {
        host(2);
        vm.warp(endOf(0));
        cast(0, 3, 0);
        vm.warp(closeOf(0));
        for (uint256 i = 0; i < 5; i++) {
            vm.prank(voter[i]);
            try market.validate(0) {} catch {}
        }
        assertOwed(hoster, AMOUNT);
        vm.assertEq(address(market).balance, AMOUNT + POOL);
    }

    function test_version_1_wraps_its_sway_below_zero_and_calls_that_satisfied() public onVersion1 {
        host(2);
        cast(0, 0, 2);
        vm.assertEq(market.validationSway(0), type(uint256).max - 1);
        vm.assertTrue(market.satisfied(0));
    }

    function test_ours_has_no_sway_below_zero() public {
        _invalidMajority();
        vm.assertEq(market.validationSway(0), 0);
        vm.assertFalse(market.satisfied(0));
    }

    function test_version_1_does_not_let_the_last_one_out() public onVersion1 {
        host(1);
        vm.warp(START + DURATION);
        cast(0, 1, 0);
        vm.prank(voter[0]);
        market.withdraw();
        vm.prank(hoster);
        vm.expectRevert("not enough funds");
        market.withdraw();
    }

    function test_ours_does() public {
        host(1);
        vm.warp(endOf(0));
        cast(0, 1, 0);
        vm.warp(closeOf(0));
        market.settle(0);
        vm.prank(voter[0]);
        market.withdraw();
        vm.prank(hoster);
        market.withdraw();
        vm.assertEq(hoster.balance, AMOUNT);
        vm.assertEq(address(market).balance, 0);
    }

    function test_version_1_changes_the_terms_of_live_holds() public onVersion1 {
        place(2);
        vm.prank(hoster);
        market.accept(0);
        env.setuint(keccak256("acceptHoldDuration"), 1);
        vm.warp(START + 1);
        vm.prank(rival);
        vm.assertTrue(market.accept(0));
    }

    function test_version_1_carries_an_honest_bid_to_its_payout() public onVersion1 {
        host(2);
        vm.warp(START + DURATION - 1);
        cast(0, 1, 0);
        assertOwed(hoster, 0);
        vm.warp(START + DURATION);
        vm.prank(voter[1]);
        market.validate(0);
        assertOwed(hoster, AMOUNT);
        assertOwed(voter[0], POOL / 2);
        assertOwed(voter[1], POOL / 2);
        (,,, bool paid) = market.getValidation(0, 0);
        vm.assertTrue(paid);
    }
}
