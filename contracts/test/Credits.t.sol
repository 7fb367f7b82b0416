// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ScatterMarket} from "../src/ScatterMarket.sol";
import {MarketTest} from "./support/MarketTest.sol";

/// @dev An account of code: it earns a credit by a refused bid, and answers a payment as its test wants.
contract Creditor {
    enum Answer {
        Take,
        Refuse,
        Reenter,
        Bomb,
        Burn
    }

    ScatterMarket private immutable market;
    Answer public answer;

    constructor(ScatterMarket market_, Answer answer_) payable {
        market = market_;
        answer = answer_;
        market_.bid{value: msg.value}(0, 0, 0, 0, 0, 1);
    }

    function become(Answer next) external {
        answer = next;
    }

    function withdraw() external {
        market.withdraw();
    }

    receive() external payable {
        if (answer == Answer.Refuse) revert("no thanks");
        if (answer == Answer.Reenter) {
            market.withdraw();
            market.transfer(address(0xbeef));
        }
        if (answer == Answer.Bomb) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (answer == Answer.Burn) {
            while (true) {}
        }
    }
}

/// @dev Taking credits out: whole, once, whatever the destination does.
contract CreditsTest is MarketTest {
    uint256 private constant OWED = 5 ether;

    function setUp() public override {
        super.setUp();
        vm.prank(bidder);
        market.bid{value: OWED}(0, 0, 0, 0, 0, 1);
    }

    function test_a_withdrawal_pays_the_whole_credit_even_as_the_last_wei_of_the_contract() public {
        vm.assertEq(address(market).balance, OWED);
        uint256 before = bidder.balance;
        vm.expectEmit(address(market));
        emit Withdraw(OWED, bidder);
        vm.prank(bidder);
        market.withdraw();
        vm.assertEq(bidder.balance, before + OWED);
        assertOwed(bidder, 0);
        vm.assertEq(address(market).balance, 0);
    }

    function test_a_second_withdrawal_finds_nothing() public {
        vm.startPrank(bidder);
        market.withdraw();
        uint256 before = bidder.balance;
        vm.expectEmit(address(market));
        emit WithdrawFailed(bidder, "nothing to withdraw");
        market.withdraw();
        vm.stopPrank();
        vm.assertEq(bidder.balance, before);
    }

    function test_a_transfer_pays_another_address_and_names_the_creditor() public {
        vm.expectEmit(address(market));
        emit Withdraw(OWED, bidder);
        vm.prank(bidder);
        market.transfer(stranger);
        vm.assertEq(stranger.balance, OWED);
        assertOwed(bidder, 0);
    }

    function test_nothing_is_burnt_by_a_transfer_to_nobody() public {
        vm.expectEmit(address(market));
        emit WithdrawFailed(bidder, "no destination");
        vm.prank(bidder);
        market.transfer(address(0));
        assertOwed(bidder, OWED);
    }

    function test_the_market_takes_no_ether_without_a_bid() public {
        vm.expectEmit(address(market));
        emit WithdrawFailed(bidder, "destination refused");
        vm.prank(bidder);
        market.transfer(address(market));
        assertOwed(bidder, OWED);
        (bool ok,) = address(market).call{value: 1 wei}("");
        vm.assertFalse(ok);
        vm.deal(address(this), 1 ether);
        (ok,) = address(market).call{value: 1 wei}(abi.encodeCall(market.accept, (0)));
        vm.assertFalse(ok);
    }

    function test_a_refused_payment_leaves_the_credit_for_later() public {
        Creditor creditor = new Creditor{value: 3 ether}(market, Creditor.Answer.Refuse);
        vm.expectEmit(address(market));
        emit WithdrawFailed(address(creditor), "destination refused");
        creditor.withdraw();
        assertOwed(address(creditor), 3 ether);
        creditor.become(Creditor.Answer.Take);
        creditor.withdraw();
        vm.assertEq(address(creditor).balance, 3 ether);
        assertOwed(address(creditor), 0);
    }

    function test_a_creditor_that_calls_back_is_paid_once() public {
        Creditor creditor = new Creditor{value: 3 ether}(market, Creditor.Answer.Reenter);
        creditor.withdraw();
        vm.assertEq(address(creditor).balance, 3 ether);
        vm.assertEq(address(0xbeef).balance, 0);
        vm.assertEq(address(market).balance, OWED);
        assertOwed(bidder, OWED);
    }

    function test_a_huge_answer_is_never_copied() public {
        Creditor creditor = new Creditor{value: 3 ether}(market, Creditor.Answer.Bomb);
        // Making a million bytes costs the creditor about 2.1 million gas; copying them would cost as much again.
        creditor.withdraw{gas: 3_000_000}();
        assertOwed(address(creditor), 3 ether);
    }

    function test_a_creditor_that_burns_all_gas_loses_nothing_and_takes_nothing() public {
        Creditor creditor = new Creditor{value: 3 ether}(market, Creditor.Answer.Burn);
        creditor.withdraw{gas: 3_000_000}();
        assertOwed(address(creditor), 3 ether);
        vm.assertEq(address(market).balance, OWED + 3 ether);
    }

    function test_ether_forced_into_the_market_changes_nothing() public {
        vm.deal(address(market), address(market).balance + 1 ether);
        vm.prank(bidder);
        market.withdraw();
        vm.assertEq(address(market).balance, 1 ether);
        assertOwed(bidder, 0);
    }

    function test_each_reads_its_own_balance_without_an_argument() public {
        vm.prank(bidder);
        vm.assertEq(market.balance(), OWED);
        vm.prank(stranger);
        vm.assertEq(market.balance(), 0);
    }
}
