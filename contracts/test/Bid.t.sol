// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {MarketTest} from "./support/MarketTest.sol";

/// @dev Placing bids: what is refused, where the money goes, which terms a bid keeps.
contract BidTest is MarketTest {
    uint256 private constant VALUE = AMOUNT + POOL;

    function _refused(
        string memory reason,
        bytes32 file,
        int64 size,
        uint256 duration,
        uint256 amount,
        uint256 pool,
        int16 quorum
    ) private {
        uint256 before = market.balance(bidder);
        vm.expectEmit(address(market));
        if (bytes(reason).length == 0) emit BidTooLow(file);
        else emit BidInvalid(file, reason);
        vm.prank(bidder);
        vm.assertFalse(market.bid{value: VALUE}(file, size, duration, amount, pool, quorum));
        vm.assertEq(market.getBidCount(), 0);
        assertOwed(bidder, before + VALUE);
    }

    function test_a_bid_is_stored_and_announced() public {
        vm.expectEmit(address(market));
        emit BidSuccessful(0, bidder, AMOUNT, POOL, FILE, SIZE);
        vm.prank(bidder);
        vm.assertTrue(market.bid{value: VALUE}(FILE, SIZE, DURATION, AMOUNT, POOL, 3));

        (address who, bytes32 file, int256 size, uint256 amount, uint256 pool, uint256 duration, int16 quorum) =
            market.getBid(0);
        vm.assertEq(who, bidder);
        vm.assertEq(file, FILE);
        vm.assertEq(size, SIZE);
        vm.assertEq(amount, AMOUNT);
        vm.assertEq(pool, POOL);
        vm.assertEq(duration, DURATION);
        vm.assertEq(quorum, 3);
        vm.assertEq(market.getBidCount(), 1);
        assertOwed(bidder, 0);
        vm.assertEq(address(market).balance, VALUE);
    }

    function test_ids_run_from_zero() public {
        vm.assertEq(place(2), 0);
        vm.assertEq(place(2), 1);
        vm.assertEq(market.getBidCount(), 2);
    }

    function test_without_a_number_of_votes_the_default_of_env_counts() public {
        vm.startPrank(bidder);
        market.bid{value: VALUE}(FILE, SIZE, DURATION, AMOUNT, POOL);
        vm.stopPrank();
        (,,,,,, int16 quorum) = market.getBid(0);
        vm.assertEq(quorum, 2);

        env.setuint(keccak256("defaultMinValidations"), 5);
        vm.prank(bidder);
        market.bid{value: VALUE}(FILE, SIZE, DURATION, AMOUNT, POOL);
        (,,,,,, quorum) = market.getBid(1);
        vm.assertEq(quorum, 5);
    }

    function test_a_default_beyond_all_bounds_places_nothing() public {
        uint256[3] memory absurd = [uint256(16), 1 << 16, type(uint256).max];
        for (uint256 i = 0; i < absurd.length; i++) {
            env.setuint(keccak256("defaultMinValidations"), absurd[i]);
            vm.expectEmit(address(market));
            emit BidInvalid(FILE, "votes out of range");
            vm.prank(bidder);
            vm.assertFalse(market.bid{value: VALUE}(FILE, SIZE, DURATION, AMOUNT, POOL));
        }
        assertOwed(bidder, 3 * VALUE);
    }

    function test_each_broken_rule_is_named_and_the_value_is_credited() public {
        _refused("no file", 0, SIZE, DURATION, AMOUNT, POOL, 2);
        _refused("no size", FILE, 0, DURATION, AMOUNT, POOL, 2);
        _refused("no size", FILE, -1, DURATION, AMOUNT, POOL, 2);
        _refused("votes out of range", FILE, SIZE, DURATION, AMOUNT, POOL, 0);
        _refused("votes out of range", FILE, SIZE, DURATION, AMOUNT, POOL, -1);
        _refused("votes out of range", FILE, SIZE, DURATION, AMOUNT, POOL, 16);
        _refused("pool too small", FILE, SIZE, DURATION, AMOUNT, 2, 3);
        _refused("value out of range", FILE, SIZE, DURATION, 1 << 128, POOL, 2);
        _refused("value out of range", FILE, SIZE, DURATION, AMOUNT, 1 << 128, 2);
        _refused("value out of range", FILE, SIZE, DURATION, type(uint256).max, type(uint256).max, 2);
        _refused("too short", FILE, SIZE, 7 days - 1, AMOUNT, POOL, 2);
        _refused("too long", FILE, SIZE, 3650 days + 1, AMOUNT, POOL, 2);
        _refused("too long", FILE, SIZE, type(uint256).max, AMOUNT, POOL, 2);
    }

    function test_an_amount_below_the_floor_is_too_low() public {
        env.setuint(keccak256("minBid"), 0.5 ether);
        _refused("", FILE, SIZE, DURATION, 0.5 ether - 1, POOL, 2);
        env.setuint(keccak256("minBid"), 0);
        _refused("", FILE, SIZE, DURATION, 0, POOL, 2);
    }

    function test_a_value_that_does_not_cover_the_promises_is_too_low() public {
        _refused("", FILE, SIZE, DURATION, AMOUNT + 1, POOL, 2);
        _refused("", FILE, SIZE, DURATION, AMOUNT, POOL + 1, 2);
        _refused("", FILE, SIZE, DURATION, type(uint128).max, type(uint128).max, 2);
    }

    function test_the_bounds_themselves_are_accepted() public {
        vm.startPrank(bidder);
        vm.assertTrue(market.bid{value: 1 gwei + 15}(FILE, 1, 7 days, 1 gwei, 15, 15));
        vm.assertTrue(market.bid{value: 1 gwei + 1}(FILE, type(int64).max, 3650 days, 1 gwei, 1, 1));
        uint256 most = type(uint128).max;
        vm.deal(bidder, 2 * most);
        vm.assertTrue(market.bid{value: 2 * most}(FILE, SIZE, DURATION, most, most, 2));
        vm.stopPrank();
        (,,, uint256 amount, uint256 pool,,) = market.getBid(2);
        vm.assertEq(amount, most);
        vm.assertEq(pool, most);
    }

    function test_an_overpayment_is_credited_to_the_bidder() public {
        vm.prank(bidder);
        vm.assertTrue(market.bid{value: VALUE + 7}(FILE, SIZE, DURATION, AMOUNT, POOL, 2));
        assertOwed(bidder, 7);
    }

    function test_a_bid_keeps_the_terms_of_its_day() public {
        int256 bidId = place(2);
        env.setuint(keccak256("acceptHoldDuration"), 1 hours);
        env.setuint(keccak256("offerDuration"), 1 days);
        env.setuint(keccak256("voteDuration"), 2 days);
        env.setuint(keccak256("defaultMinValidations"), 9);
        pin(bidId);

        (uint256 placedAt, uint256 offerEnd, uint256 holdUntil, uint256 pinnedAt, uint256 end, uint256 close) =
            market.bidWindows(bidId);
        vm.assertEq(placedAt, START);
        vm.assertEq(offerEnd, START + OFFER);
        vm.assertEq(holdUntil, START + HOLD);
        vm.assertEq(pinnedAt, START);
        vm.assertEq(end, START + DURATION);
        vm.assertEq(close, START + DURATION + VOTE);
        (uint256 hold, uint256 vote, uint256 limit) = market.bidTerms(bidId);
        vm.assertEq(hold, HOLD);
        vm.assertEq(vote, VOTE);
        vm.assertEq(limit, 6);

        int256 later = place(2);
        (hold, vote, limit) = market.bidTerms(later);
        vm.assertEq(hold, 1 hours);
        vm.assertEq(vote, 2 days);
    }

    function test_the_owner_of_env_cannot_lock_a_new_bid_for_ever() public {
        string[4] memory keys = ["acceptHoldDuration", "offerDuration", "voteDuration", "voteDuration"];
        uint256[4] memory values = [uint256(1 days + 1), 365 days + 1, 30 days + 1, 0];
        for (uint256 i = 0; i < keys.length; i++) {
            uint256 usual = env.getuint(keccak256(bytes(keys[i])));
            env.setuint(keccak256(bytes(keys[i])), values[i]);
            _refused("terms out of range", FILE, SIZE, DURATION, AMOUNT, POOL, 2);
            env.setuint(keccak256(bytes(keys[i])), usual);
        }
        env.setuint(keccak256("maxDuration"), type(uint256).max);
        _refused("too long", FILE, SIZE, 36500 days + 1, AMOUNT, POOL, 2);
    }

    function test_the_widest_terms_are_kept_without_loss() public {
        env.setuint(keccak256("acceptHoldDuration"), 1 days);
        env.setuint(keccak256("offerDuration"), 365 days);
        env.setuint(keccak256("voteDuration"), 30 days);
        env.setuint(keccak256("maxDuration"), type(uint256).max);
        vm.prank(bidder);
        market.bid{value: VALUE}(FILE, SIZE, 36500 days, AMOUNT, POOL, 2);
        vm.warp(START + 365 days - 1);
        pin(0);
        (, uint256 offerEnd, uint256 holdUntil,, uint256 end, uint256 close) = market.bidWindows(0);
        vm.assertEq(offerEnd, START + 365 days);
        vm.assertEq(holdUntil, START + 365 days - 1 + 1 days);
        vm.assertEq(end, START + 365 days - 1 + 36500 days);
        vm.assertEq(close, end + 30 days);
    }

    function testFuzz_a_bid_either_stands_in_full_or_is_owed_back_in_full(
        uint128 value,
        int64 size,
        uint256 duration,
        uint256 amount,
        uint256 pool,
        int16 quorum
    ) public {
        // Half of the runs near the bounds, where the interesting answers are.
        if (value % 2 == 0) {
            (amount, pool) = (within(amount, 0, 2 ether), within(pool, 0, 20));
            (duration, quorum) = (within(duration, 6 days, 3651 days), int16(int256(within(uint16(quorum), 0, 17))));
        }
        vm.deal(bidder, value);
        vm.prank(bidder);
        bool placed = market.bid{value: value}(FILE, size, duration, amount, pool, quorum);
        vm.assertEq(address(market).balance, value);
        if (placed) {
            (,, int256 s, uint256 a, uint256 p, uint256 d, int16 q) = market.getBid(0);
            vm.assertEq(s, size);
            vm.assertEq(a, amount);
            vm.assertEq(p, pool);
            vm.assertEq(d, duration);
            vm.assertEq(q, quorum);
        }
        assertOwed(bidder, placed ? value - amount - pool : value);
        vm.assertEq(market.getBidCount(), placed ? int256(1) : int256(0));
    }
}
