// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ScatterMarket} from "../src/ScatterMarket.sol";
import {MarketTest} from "./support/MarketTest.sol";

/// @dev What each transaction costs, intrinsic gas included: every call runs as a transaction of its own. The numbers
/// are committed in `snapshots/`, and a change of more than nothing fails, so that nobody pays more by accident.
/// forge-config: default.isolate = true
contract GasTest is MarketTest {
    function test_the_gas_of_a_bids_whole_life() public {
        vm.prank(bidder);
        market.bid{value: AMOUNT + POOL}(FILE, SIZE, DURATION, AMOUNT, POOL, 2);
        _measure("bid, first");
        vm.prank(bidder);
        market.bid{value: AMOUNT + POOL}(FILE, SIZE, DURATION, AMOUNT, POOL, 2);
        _measure("bid, next");
        vm.prank(hoster);
        market.accept(1);
        _measure("accept");
        vm.prank(hoster);
        market.pinned(1);
        _measure("pinned");
        vm.warp(endOf(1));
        vm.prank(voter[0]);
        market.validate(1);
        _measure("validate, first");
        vm.prank(voter[1]);
        market.validate(1);
        _measure("validate, next");
        vm.warp(closeOf(1));
        vm.prank(hoster);
        market.settle(1);
        _measure("settle, 2 votes, new creditors");
        vm.prank(hoster);
        market.withdraw();
        _measure("withdraw");
    }

    function test_the_gas_of_settling_for_known_creditors() public {
        for (uint256 i = 0; i < 2; i++) {
            int256 bidId = host(2);
            vm.warp(endOf(bidId));
            cast(bidId, 2, 0);
            vm.warp(closeOf(bidId));
            market.settle(bidId);
        }
        _measure("settle, 2 votes, known creditors");
        place(2);
        vm.warp(block.timestamp + OFFER);
        market.settle(2);
        _measure("settle, expired");
    }

    function test_the_gas_of_the_fullest_vote() public {
        enrol(62 - voter.length);
        int256 bidId = host(2);
        vm.warp(endOf(bidId));
        cast(bidId, 31, 31);
        vm.warp(closeOf(bidId));
        market.settle(bidId);
        _measure("settle, 62 votes, new creditors");
    }

    function test_the_gas_of_joining_and_of_deploying() public {
        vm.prank(stranger);
        register.register("file");
        _measure("register, first");
        vm.prank(stranger);
        register.register("other");
        _measure("register, again");
        vm.startSnapshotGas("deploy the market");
        new ScatterMarket(env, register);
        vm.stopSnapshotGas();
    }

    function _measure(string memory name) private {
        vm.snapshotGasLastCall(name);
    }
}
