// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Env} from "../../src/Env.sol";
import {Register} from "../../src/Register.sol";
import {ScatterEvents} from "../../src/ScatterEvents.sol";
import {ScatterMarket} from "../../src/ScatterMarket.sol";
import {Outcome} from "../../src/Settlement.sol";
import {Test} from "./Test.sol";

/// @dev A market with its default terms, a bidder, two hosters and six registered voters.
abstract contract MarketTest is Test, ScatterEvents {
    bytes32 internal constant FILE = keccak256("file");
    int64 internal constant SIZE = 1_000_000;
    uint256 internal constant DURATION = 7 days;
    uint256 internal constant AMOUNT = 1 ether;
    uint256 internal constant POOL = 0.1 ether;
    uint256 internal constant HOLD = 900;
    uint256 internal constant OFFER = 7 days;
    uint256 internal constant VOTE = 1 days;
    uint256 internal constant START = 1_700_000_000;

    address internal bidder = named("bidder");
    address internal hoster = named("hoster");
    address internal rival = named("rival");
    address internal stranger = named("stranger");
    address[] internal voter;

    Env internal env;
    Register internal register;
    ScatterMarket internal market;

    function setUp() public virtual {
        vm.warp(START);
        env = new Env(new bytes32[](0), new uint256[](0));
        register = new Register();
        market = new ScatterMarket(env, register);
        vm.deal(bidder, 1_000 ether);
        enrol(6);
    }

    /// @dev Registers `count` more voters.
    function enrol(uint256 count) internal {
        for (uint256 i = 0; i < count; i++) {
            address who = address(uint160(0x70000 + voter.length));
            voter.push(who);
            vm.prank(who);
            register.register(keccak256(abi.encode(who)));
        }
    }

    /// @dev Places the usual bid with `quorum` votes.
    function place(int16 quorum) internal returns (int256) {
        return place(quorum, AMOUNT, POOL);
    }

    function place(int16 quorum, uint256 amount, uint256 pool) internal returns (int256 bidId) {
        vm.deal(bidder, bidder.balance + amount + pool);
        vm.prank(bidder);
        vm.assertTrue(market.bid{value: amount + pool}(FILE, SIZE, DURATION, amount, pool, quorum));
        return market.getBidCount() - 1;
    }

    /// @dev Places a bid and has the hoster pin it at once.
    function host(int16 quorum) internal returns (int256 bidId) {
        bidId = place(quorum);
        pin(bidId);
    }

    function pin(int256 bidId) internal {
        vm.startPrank(hoster);
        vm.assertTrue(market.accept(bidId));
        vm.assertTrue(market.pinned(bidId));
        vm.stopPrank();
    }

    function endOf(int256 bidId) internal view returns (uint256 end) {
        (,,,, end,) = market.bidWindows(bidId);
    }

    function closeOf(int256 bidId) internal view returns (uint256 close) {
        (,,,,, close) = market.bidWindows(bidId);
    }

    /// @dev Casts the next `valid` and then `invalid` votes of the enrolled voters, from the first on.
    function cast(int256 bidId, uint256 valid, uint256 invalid) internal {
        for (uint256 i = 0; i < valid + invalid; i++) {
            vm.prank(voter[i]);
            if (i < valid) market.validate(bidId);
            else market.invalidate(bidId);
        }
    }

    function assertOutcome(int256 bidId, Outcome expected) internal view {
        vm.assertEq(uint256(market.settledOutcome(bidId)), uint256(expected), "outcome");
    }

    function assertOwed(address who, uint256 amount) internal view {
        vm.assertEq(market.balance(who), amount, "credit");
    }
}
