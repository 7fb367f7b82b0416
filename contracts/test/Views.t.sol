// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {MarketTest} from "./support/MarketTest.sol";
import {Outcome} from "../src/Settlement.sol";
import {Vm} from "./support/Test.sol";

/// @dev What the market tells of itself, and that it speaks version 1's interface.
contract ViewsTest is MarketTest {
    function test_the_market_names_its_version_and_its_neighbours() public view {
        vm.assertEq(market.marketVersion(), 2);
        vm.assertEq(address(market.env()), address(env));
        vm.assertEq(address(market.voters()), address(register));
    }

    /// @dev The signatures are written out, not taken from the compiler, so that a changed type is found.
    function test_every_call_of_version_1_is_answered() public {
        host(2);
        vm.warp(endOf(0));
        cast(0, 1, 0);
        bytes memory id = abi.encode(int256(0));
        _answers("getBid(int256)", id, 7);
        _answers("getBidCount()", "", 1);
        _answers("getHoster(int256)", id, 1);
        _answers("getValidation(int256,uint256)", abi.encode(0, 0), 4);
        _answers("getValidationCount(int256)", id, 1);
        _answers("isBidOpenForAccept(int256)", id, 1);
        _answers("isBidOpenForAccept(int256,address)", abi.encode(0, stranger), 1);
        _answers("isBidOpenForPin(int256)", id, 1);
        _answers("isBidOpenForPin(int256,address)", abi.encode(0, stranger), 1);
        _answers("satisfied(int256)", id, 1);
        _answers("validationSway(int256)", id, 1);
        _answers("validatorIndex(int256,address)", abi.encode(0, stranger), 1);
        _answers("balance(address)", abi.encode(stranger), 1);
        _answers("balance()", "", 1);
        _answers("getJob()", "", 3);
        // The same with what a node of ours asks beyond it.
        _answers("holdOf(int256)", id, 2);
        _answers("bidWindows(int256)", id, 6);
        _answers("bidTerms(int256)", id, 3);
        _answers("tally(int256)", id, 2);
        _answers("hasVoted(int256,address)", abi.encode(0, stranger), 1);
        _answers("settledOutcome(int256)", id, 1);
        _answers("marketVersion()", "", 1);
        _answers("getJobFrom(int256)", id, 3);
    }

    function _answers(string memory signature, bytes memory arguments, uint256 words) private view {
        (bool ok, bytes memory answer) =
            address(market).staticcall(bytes.concat(bytes4(keccak256(bytes(signature))), arguments));
        vm.assertTrue(ok);
        vm.assertEq(answer.length, 32 * words, signature);
    }

    /// @dev The topics are written out, not taken from the compiler.
    function test_every_event_of_version_1_has_its_topic_and_indexed_arguments() public {
        vm.recordLogs();
        vm.prank(bidder);
        market.bid{value: 1}(FILE, SIZE, DURATION, AMOUNT, 1, 0);
        _logged("BidInvalid(bytes32,string)", 1);
        vm.prank(bidder);
        market.bid{value: 1}(FILE, SIZE, DURATION, AMOUNT, 1, 1);
        _logged("BidTooLow(bytes32)", 1);
        place(1);
        _logged("BidSuccessful(int256,address,uint256,uint256,bytes32,int64)", 3);
        market.pinned(0);
        _logged("NotAcceptedByPinner(int256,address)", 2);
        vm.prank(hoster);
        market.accept(0);
        _logged("Accepted(int256,uint256,address)", 3);
        market.accept(0);
        _logged("AcceptWait(uint256)", 0);
        vm.prank(hoster);
        market.pinned(0);
        _logged("Pinned(int256,address,bytes32)", 2);
        vm.prank(voter[0]);
        market.invalidate(0);
        _logged("ValidationOcurred(int256,address,bool)", 3);
        vm.prank(bidder);
        market.withdraw();
        _logged("Withdraw(uint256,address)", 2);
        market.withdraw();
        _logged("WithdrawFailed(address,string)", 1);
        vm.warp(closeOf(0));
        market.settle(0);
        _logged("Settled(int256,uint8,uint256,uint256,uint256)", 1);
    }

    function _logged(string memory signature, uint256 arguments) private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, signature);
        vm.assertEq(logs[0].topics[0], keccak256(bytes(signature)));
        vm.assertEq(logs[0].topics.length, 1 + arguments, signature);
    }

    // Views of bids that do not exist, and work for hosters ---------------------------------------------------------

    function test_a_bid_that_does_not_exist_is_all_zero_and_closed_to_all() public {
        place(2);
        int256[2] memory unknown = [int256(1), -1];
        for (uint256 i = 0; i < unknown.length; i++) {
            (address who, bytes32 file,, uint256 amount,,, int16 quorum) = market.getBid(unknown[i]);
            vm.assertEq(who, address(0));
            vm.assertEq(file, bytes32(0));
            vm.assertEq(amount, 0);
            vm.assertEq(quorum, 0);
            (uint256 placedAt, uint256 offerEnd,,, uint256 end, uint256 close) = market.bidWindows(unknown[i]);
            vm.assertEq(placedAt + offerEnd + end + close, 0);
            vm.assertEq(market.getHoster(unknown[i]), address(0));
            vm.assertFalse(market.isBidOpenForAccept(unknown[i], hoster));
            vm.assertFalse(market.isBidOpenForPin(unknown[i], hoster));
            vm.assertFalse(market.isBidOpenForPin(unknown[i], address(0)));
            vm.assertFalse(market.satisfied(unknown[i]));
            vm.assertFalse(market.hasVoted(unknown[i], voter[0]));
            vm.assertEq(market.validatorIndex(unknown[i], voter[0]), type(uint256).max);
            assertOutcome(unknown[i], Outcome.None);
        }
    }

    function test_the_windows_of_an_unpinned_bid_have_no_vote_in_them() public {
        int256 bidId = place(2);
        (,,, uint256 pinnedAt, uint256 end, uint256 close) = market.bidWindows(bidId);
        vm.assertEq(pinnedAt + end + close, 0);
    }

    function test_a_job_is_the_first_bid_that_the_caller_could_accept() public {
        _assertJob(-1);
        pin(place(2));
        int256 held = place(2);
        vm.prank(rival);
        market.accept(held);
        int256 open = place(2);
        vm.prank(hoster);
        (int256 bidId, bytes32 file, int64 size) = market.getJob();
        vm.assertEq(bidId, open);
        vm.assertEq(file, FILE);
        vm.assertEq(size, SIZE);

        vm.prank(bidder);
        (bidId,,) = market.getJob();
        vm.assertEq(bidId, -1);
        vm.warp(START + HOLD);
        _assertJob(held);
        vm.warp(START + OFFER);
        _assertJob(-1);
    }

    function test_a_job_is_sought_in_256_bids_at_a_time() public {
        for (uint256 i = 0; i < 257; i++) {
            place(2);
        }
        _assertJob(1);
        vm.startPrank(hoster);
        (int256 bidId,,) = market.getJobFrom(0);
        vm.assertEq(bidId, 0);
        (bidId,,) = market.getJobFrom(256);
        vm.assertEq(bidId, 256);
        (bidId,,) = market.getJobFrom(257);
        vm.assertEq(bidId, -1);
        for (int256 id = 0; id < 256; id++) {
            market.accept(id);
        }
        (bidId,,) = market.getJobFrom(0);
        vm.assertEq(bidId, -1);
        vm.stopPrank();
        vm.expectRevert("negative cursor");
        market.getJobFrom(-1);
    }

    function _assertJob(int256 expected) private {
        vm.prank(hoster);
        (int256 bidId,,) = market.getJob();
        vm.assertEq(bidId, expected);
    }
}
