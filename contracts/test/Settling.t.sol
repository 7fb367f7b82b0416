// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {MarketTest} from "./support/MarketTest.sol";
import {ScatterMarket} from "../src/ScatterMarket.sol";
import {Outcome, Settlement} from "../src/Settlement.sol";

/// @dev Settling: once, at the right time, with every wei accounted for.
contract SettlingTest is MarketTest {
    /// @dev Hosts a bid of `amount` and `pool`, has it voted on, waits for the close, and expects these credits.
    function _settle(uint256 pool, int16 quorum, uint256 valid, uint256 invalid, Outcome outcome)
        private
        returns (int256 bidId)
    {
        bidId = place(quorum, AMOUNT, pool);
        pin(bidId);
        vm.warp(endOf(bidId));
        cast(bidId, valid, invalid);
        vm.warp(closeOf(bidId));
        vm.prank(stranger);
        market.settle(bidId);
        assertOutcome(bidId, outcome);
    }

    function test_a_valid_majority_pays_the_hoster_and_its_own_voters() public {
        _settle(103, 3, 2, 1, Outcome.Paid);
        assertOwed(hoster, AMOUNT);
        assertOwed(voter[0], 51);
        assertOwed(voter[1], 51);
        assertOwed(voter[2], 0);
        assertOwed(bidder, 1);
        assertOwed(stranger, 0);
    }

    function test_an_invalid_majority_pays_its_own_voters_and_refunds_the_bidder() public {
        _settle(103, 3, 1, 2, Outcome.Failed);
        assertOwed(hoster, 0);
        assertOwed(voter[0], 0);
        assertOwed(voter[1], 51);
        assertOwed(voter[2], 51);
        assertOwed(bidder, AMOUNT + 1);
    }

    function test_a_tie_pays_all_who_voted_and_refunds_the_bidder() public {
        _settle(103, 2, 1, 1, Outcome.Undecided);
        assertOwed(hoster, 0);
        assertOwed(voter[0], 51);
        assertOwed(voter[1], 51);
        assertOwed(bidder, AMOUNT + 1);
    }

    function test_too_few_votes_earn_one_share_each_of_as_many_as_were_asked_for() public {
        _settle(103, 3, 2, 0, Outcome.Undecided);
        assertOwed(hoster, 0);
        assertOwed(voter[0], 34);
        assertOwed(voter[1], 34);
        assertOwed(bidder, AMOUNT + 35);
    }

    function test_without_votes_all_goes_back_to_the_bidder() public {
        _settle(103, 1, 0, 0, Outcome.Undecided);
        assertOwed(hoster, 0);
        assertOwed(bidder, AMOUNT + 103);
    }

    function test_a_bid_that_nobody_accepted_goes_back_at_the_offers_end() public {
        int256 bidId = place(2);
        vm.warp(START + OFFER - 1);
        vm.expectRevert("too early");
        market.settle(bidId);
        vm.warp(START + OFFER);
        vm.expectEmit(address(market));
        emit ScatterMarket.Settled(bidId, Outcome.Expired, 0, 0, AMOUNT + POOL);
        market.settle(bidId);
        assertOutcome(bidId, Outcome.Expired);
        assertOwed(bidder, AMOUNT + POOL);
    }

    function test_a_bid_that_was_accepted_and_never_pinned_goes_back_too() public {
        int256 bidId = place(2);
        vm.prank(hoster);
        market.accept(bidId);
        vm.warp(START + OFFER);
        market.settle(bidId);
        assertOutcome(bidId, Outcome.Expired);
        assertOwed(bidder, AMOUNT + POOL);
        assertOwed(hoster, 0);
    }

    function test_a_hosted_bid_settles_at_its_close() public {
        int256 bidId = host(2);
        vm.warp(closeOf(bidId) - 1);
        vm.expectRevert("too early");
        market.settle(bidId);
        vm.warp(closeOf(bidId));
        market.settle(bidId);
    }

    function test_a_bid_settles_once_whoever_asks_and_however() public {
        int256 bidId = _settle(POOL, 2, 2, 0, Outcome.Paid);
        vm.expectRevert("already settled");
        market.settle(bidId);
        vm.prank(voter[2]);
        vm.expectRevert("already settled");
        market.validate(bidId);
        vm.prank(voter[2]);
        vm.expectRevert("already settled");
        market.invalidate(bidId);
        assertOwed(hoster, AMOUNT);

        bidId = place(2);
        vm.warp(block.timestamp + OFFER);
        market.settle(bidId);
        vm.expectRevert("already settled");
        market.settle(bidId);
        assertOwed(bidder, AMOUNT + POOL);
    }

    function test_an_unknown_bid_cannot_be_settled() public {
        vm.expectRevert("unknown bid");
        market.settle(0);
        vm.expectRevert("unknown bid");
        market.settle(-1);
    }

    function test_the_event_tells_what_each_side_was_credited() public {
        int256 bidId = place(3, AMOUNT, 103);
        pin(bidId);
        vm.warp(endOf(bidId));
        cast(bidId, 2, 1);
        vm.warp(closeOf(bidId));
        vm.expectEmit(address(market));
        emit ScatterMarket.Settled(bidId, Outcome.Paid, AMOUNT, 102, 1);
        market.settle(bidId);
    }

    function test_a_vote_is_paid_when_its_side_had_a_share() public {
        int256 bidId = _settle(103, 3, 2, 1, Outcome.Paid);
        _assertPaid(bidId, 0, true);
        _assertPaid(bidId, 2, false);
        bidId = _settle(103, 3, 1, 2, Outcome.Failed);
        _assertPaid(bidId, 0, false);
        _assertPaid(bidId, 2, true);
        bidId = _settle(103, 4, 1, 2, Outcome.Undecided);
        _assertPaid(bidId, 0, true);
        _assertPaid(bidId, 2, true);
    }

    function test_a_share_of_nothing_is_not_called_paid() public {
        int256 bidId = _settle(1, 1, 2, 0, Outcome.Paid);
        assertOwed(voter[0], 0);
        assertOwed(bidder, 1);
        _assertPaid(bidId, 0, false);
    }

    function _assertPaid(int256 bidId, uint256 index, bool expected) private view {
        (,,, bool paid) = market.getValidation(bidId, index);
        vm.assertTrue(paid == expected);
    }

    function test_the_fullest_vote_settles_within_a_block() public {
        enrol(62 - voter.length);
        int256 bidId = host(2);
        vm.warp(endOf(bidId));
        cast(bidId, 31, 31);
        vm.warp(closeOf(bidId));
        uint256 before = gasleft();
        market.settle(bidId);
        vm.assertLt(before - gasleft(), 3_000_000);
        assertOutcome(bidId, Outcome.Undecided);
        assertOwed(voter[61], POOL / 62);
    }

    // The division itself, over all numbers that a bid may have ------------------------------------------------------

    function testFuzz_every_division_follows_the_table_and_conserves_the_money(
        uint128 amount,
        uint128 pool,
        uint256 m,
        uint256 v,
        uint256 i
    ) public pure {
        (m, v, i) = (within(m, 1, 15), within(v, 0, 31), within(i, 0, 31));
        vm.assume(pool >= m);
        uint256 n = v + i;
        Settlement.Shares memory s = Settlement.divide(amount, pool, m, v, i);
        vm.assertEq(
            s.hoster + v * s.perValid + i * s.perInvalid + s.bidder, uint256(amount) + pool, "money made or lost"
        );
        if (n >= m && v > i) {
            vm.assertEq(uint256(s.outcome), uint256(Outcome.Paid));
            vm.assertEq(s.hoster, amount);
            vm.assertEq(s.perValid, pool / v);
            vm.assertEq(s.perInvalid, 0);
            vm.assertEq(s.bidder, pool % v);
        } else if (n >= m && i > v) {
            vm.assertEq(uint256(s.outcome), uint256(Outcome.Failed));
            vm.assertEq(s.hoster, 0);
            vm.assertEq(s.perValid, 0);
            vm.assertEq(s.perInvalid, pool / i);
            vm.assertEq(s.bidder, uint256(amount) + pool % i);
        } else {
            uint256 d = n > m ? n : m;
            vm.assertEq(uint256(s.outcome), uint256(Outcome.Undecided));
            vm.assertEq(s.hoster, 0);
            vm.assertEq(s.perValid, pool / d);
            vm.assertEq(s.perInvalid, pool / d);
            vm.assertEq(s.bidder, uint256(amount) + pool - n * (pool / d));
        }
    }

    function testFuzz_a_whole_bid_credits_what_the_division_says(
        uint128 amount,
        uint128 pool,
        uint8 m,
        uint8 v,
        uint8 i
    ) public {
        uint256 quorum = within(m, 1, 15);
        uint256 valid = within(v, 0, 6);
        uint256 invalid = within(i, 0, 6 - valid);
        (amount, pool) = (uint128(within(amount, 1 gwei, 1e30)), uint128(within(pool, quorum, 1e30)));
        int256 bidId = place(int16(int256(quorum)), amount, pool);
        pin(bidId);
        vm.warp(endOf(bidId));
        cast(bidId, valid, invalid);
        vm.warp(closeOf(bidId));
        market.settle(bidId);

        Settlement.Shares memory s = Settlement.divide(amount, pool, quorum, valid, invalid);
        assertOutcome(bidId, s.outcome);
        assertOwed(hoster, s.hoster);
        assertOwed(bidder, s.bidder);
        for (uint256 k = 0; k < valid + invalid; k++) {
            assertOwed(voter[k], k < valid ? s.perValid : s.perInvalid);
        }
        vm.assertEq(address(market).balance, uint256(amount) + pool);
    }
}
