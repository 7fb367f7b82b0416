// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Env} from "../src/Env.sol";
import {ScatterMarket} from "../src/ScatterMarket.sol";
import {Outcome} from "../src/Settlement.sol";
import {MarketTest} from "./support/MarketTest.sol";
import {Test} from "./support/Test.sol";

/// @dev Everybody who can touch a market, doing at random whatever the market offers, sensible or not.
contract Crowd is Test {
    ScatterMarket private immutable market;
    Env private immutable env;
    /// @dev Any of them may bid, host or vote; the last one refuses ether.
    address[] public people;
    /// @dev Ether that came in other than by a bid.
    uint256 public forced;
    /// @dev The outcome of each bid when it was first seen settled.
    mapping(int256 => Outcome) public outcome;
    /// @dev What broke, if anything did.
    string public broken;
    /// @dev How often each thing succeeded; read by the test that the crowd is not idle.
    mapping(string => uint256) public done;

    constructor(ScatterMarket market_, Env env_, address[] memory people_) {
        (market, env, people) = (market_, env_, people_);
    }

    function peopleCount() external view returns (uint256) {
        return people.length;
    }

    function bid(uint256 who, uint256 amount, uint256 pool, uint256 quorum, uint256 extra) external {
        (amount, pool) = (within(amount, 0, 3 ether), within(pool, 0, 100));
        uint256 value = amount + pool + within(extra, 0, 1);
        if (extra % 5 == 0) value -= value > 0 ? 1 : 0;
        address bidder = _person(who);
        vm.deal(bidder, value);
        vm.prank(bidder);
        bool placed = market.bid{value: value}("f", 1, 7 days, amount, pool, int16(int256(within(quorum, 0, 6))));
        if (placed) done["bid"]++;
    }

    function accept(uint256 who, uint256 which) external {
        int256 bidId = _bid(which);
        vm.prank(_person(who));
        try market.accept(bidId) returns (bool accepted) {
            if (accepted) done["accept"]++;
        } catch {}
    }

    function pinned(uint256 who, uint256 which) external {
        int256 bidId = _bid(which);
        (address holder,) = market.holdOf(bidId);
        vm.prank(who % 4 == 0 ? _person(who) : holder);
        try market.pinned(bidId) returns (bool pinned_) {
            if (pinned_) done["pinned"]++;
        } catch {}
    }

    /// @dev Waits for a hosted bid's end, which chance alone seldom meets, and has some of the people vote.
    function poll(uint256 which, uint256 sides, uint256 turnout) external {
        (,,,, uint256 end,) = market.bidWindows(_bid(which));
        if (end == 0) return;
        if (block.timestamp < end) vm.warp(end);
        for (uint256 i = 0; i < people.length; i++) {
            if ((turnout >> (2 * i)) & 3 != 0) vote(i, which, sides >> i);
        }
    }

    function vote(uint256 who, uint256 which, uint256 side) public {
        int256 bidId = _bid(which);
        uint256 before = _owed();
        uint256 held = _held(bidId);
        (bool wasSettled, uint256 votes) = (_settled(bidId), market.getValidationCount(bidId));
        vm.prank(_person(who));
        (bool ok,) = address(market)
            .call(side % 3 != 0 ? abi.encodeCall(market.validate, (bidId)) : abi.encodeCall(market.invalidate, (bidId)));
        if (ok && market.getValidationCount(bidId) > votes) {
            done["vote"]++;
            if (_owed() != before) broken = "a vote that counts moved money";
            if (wasSettled) broken = "a settled bid took a vote";
        } else {
            _checkSettling(before, held, wasSettled, bidId);
        }
    }

    function settle(uint256 which) external {
        int256 bidId = _bid(which);
        uint256 before = _owed();
        uint256 held = _held(bidId);
        bool wasSettled = _settled(bidId);
        try market.settle(bidId) {
            if (wasSettled) broken = "a bid settled twice";
        } catch {}
        _checkSettling(before, held, wasSettled, bidId);
    }

    /// @dev If a bid became settled, all its money, and no other, was credited; if not, none was.
    function _checkSettling(uint256 before, uint256 held, bool wasSettled, int256 bidId) private {
        if (!wasSettled && _settled(bidId)) {
            if (_owed() != before + held) broken = "a settlement made or lost money";
            outcome[bidId] = market.settledOutcome(bidId);
            done[["", "paid", "failed", "undecided", "expired"][uint256(outcome[bidId])]]++;
        } else if (_owed() != before) {
            broken = "credits changed without a settlement";
        }
    }

    function withdraw(uint256 who, uint256 to) external {
        address creditor = _person(who);
        address target = to % 3 == 0 ? _person(to) : creditor;
        uint256 owed = market.balance(creditor);
        uint256 before = target.balance;
        vm.prank(creditor);
        market.transfer(target);
        uint256 left = market.balance(creditor);
        if (left != 0 && left != owed) broken = "a withdrawal took a part";
        if (target.balance - before != owed - left) broken = "a withdrawal paid another sum than it took";
        if (owed > 0 && left == 0) done["withdraw"]++;
    }

    function wait_(uint256 time) external {
        uint256[4] memory most = [uint256(0), 20 minutes, 2 hours, 3 days];
        vm.warp(block.timestamp + within(time, 0, most[(time >> 128) % 4]));
    }

    function force(uint256 amount) external {
        amount = within(amount, 1, 10);
        forced += amount;
        vm.deal(address(market), address(market).balance + amount);
    }

    /// @dev The owner of Env turns every knob within and beyond its range.
    function setEnv(uint256 key, uint256 value) external {
        string[4] memory keys = ["acceptHoldDuration", "offerDuration", "voteDuration", "defaultMinValidations"];
        // Mostly in range, so that bids go on: seconds, seconds, seconds, votes.
        uint256 most = [uint256(2 hours), 20 days, 2 days, 6][key % 4];
        if ((key >> 128) % 16 == 0) most = 400 days;
        env.setuint(keccak256(bytes(keys[key % 4])), within(value, 1, most));
    }

    function _person(uint256 who) private view returns (address) {
        return people[who % people.length];
    }

    /// @dev One of the last four bids, so that things meet.
    function _bid(uint256 which) private view returns (int256) {
        uint256 count = uint256(market.getBidCount());
        if (count == 0) return 0;
        uint256 back = which % (count < 4 ? count : 4);
        return int256(count - 1 - back);
    }

    function _settled(int256 bidId) private view returns (bool) {
        return market.settledOutcome(bidId) != Outcome.None;
    }

    function _held(int256 bidId) private view returns (uint256) {
        (,,, uint256 amount, uint256 pool,,) = market.getBid(bidId);
        return amount + pool;
    }

    function _owed() private view returns (uint256 sum) {
        for (uint256 i = 0; i < people.length; i++) {
            sum += market.balance(people[i]);
        }
    }
}

/// @dev A person of code that takes no ether.
contract Refuser {}

/// @dev After any history: the market can pay all that it owes and all that it holds for live bids.
contract InvariantsTest is MarketTest {
    Crowd private crowd;

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function setUp() public override {
        super.setUp();
        address[] memory people = new address[](9);
        for (uint256 i = 0; i < 6; i++) {
            people[i] = voter[i];
        }
        (people[6], people[7], people[8]) = (hoster, rival, address(new Refuser()));
        crowd = new Crowd(market, env, people);
        env.setOwner(address(crowd));
    }

    /// @dev Read by forge: whom it may call, and with what.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(crowd);
    }

    /// @dev Read by forge.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory calls = new bytes4[](14);
        bytes4[9] memory each = [
            Crowd.bid.selector,
            Crowd.accept.selector,
            Crowd.pinned.selector,
            Crowd.vote.selector,
            Crowd.settle.selector,
            Crowd.withdraw.selector,
            Crowd.wait_.selector,
            Crowd.force.selector,
            Crowd.setEnv.selector
        ];
        for (uint256 i = 0; i < 9; i++) {
            calls[i] = each[i];
        }
        // What carries a bid on comes more often, so that many bids reach their end.
        (calls[9], calls[10], calls[11]) = (Crowd.vote.selector, Crowd.poll.selector, Crowd.wait_.selector);
        (calls[12], calls[13]) = (Crowd.pinned.selector, Crowd.accept.selector);
        targets[0] = FuzzSelector(address(crowd), calls);
    }

    /// @dev One campaign for all four, since each would replay the same histories.
    function invariant_the_market_is_solvent_final_and_fair_after_any_history() public view {
        _creditsAndEscrowAreExactlyWhatTheContractHolds();
        _moneyMovesOnlyByASettlementAndAllOfItOnce();
        for (int256 id = 0; id < market.getBidCount(); id++) {
            _anOutcomeNeverChanges(id);
            _talliesAreTheRecordedVotesOneEach(id);
        }
    }

    function _creditsAndEscrowAreExactlyWhatTheContractHolds() private view {
        uint256 owed;
        for (uint256 i = 0; i < crowd.peopleCount(); i++) {
            owed += market.balance(crowd.people(i));
        }
        uint256 escrow;
        for (int256 id = 0; id < market.getBidCount(); id++) {
            if (market.settledOutcome(id) != Outcome.None) continue;
            (,,, uint256 amount, uint256 pool,,) = market.getBid(id);
            escrow += amount + pool;
        }
        vm.assertEq(owed + escrow + crowd.forced(), address(market).balance, "solvency");
    }

    function _moneyMovesOnlyByASettlementAndAllOfItOnce() private view {
        vm.assertEq(bytes(crowd.broken()).length, 0, crowd.broken());
    }

    function _anOutcomeNeverChanges(int256 id) private view {
        vm.assertEq(uint256(market.settledOutcome(id)), uint256(crowd.outcome(id)), "outcome");
    }

    function _talliesAreTheRecordedVotesOneEach(int256 id) private view {
        (address owner,,,,,,) = market.getBid(id);
        uint256 valid;
        uint256 count = market.getValidationCount(id);
        for (uint256 i = 0; i < count; i++) {
            (, address who, bool isValid,) = market.getValidation(id, i);
            if (isValid) valid++;
            vm.assertEq(market.validatorIndex(id, who), i, "one vote each");
            vm.assertFalse(who == owner || who == market.getHoster(id));
        }
        (uint256 v, uint256 i_) = market.tally(id);
        vm.assertEq(v, valid, "valid votes");
        vm.assertEq(v + i_, count, "all votes");
    }

    /// @dev The invariants say nothing if the crowd never gets anywhere: one long history, the same in every run.
    function test_the_crowd_brings_bids_to_every_outcome() public {
        bytes4[] memory calls = this.targetSelectors()[0].selectors;
        for (uint256 step = 0; step < 8_000; step++) {
            uint256 dice = uint256(keccak256(abi.encode(step)));
            bytes memory arguments;
            for (uint256 i = 0; i < 5; i++) {
                arguments = bytes.concat(arguments, keccak256(abi.encode(dice, i)));
            }
            bytes4 call = calls[dice % calls.length];
            (bool ok,) = address(crowd).call(bytes.concat(call, arguments));
            vm.assertTrue(ok);
        }
        string[9] memory things =
            ["bid", "accept", "pinned", "vote", "withdraw", "paid", "failed", "undecided", "expired"];
        for (uint256 i = 0; i < things.length; i++) {
            vm.assertGt(crowd.done(things[i]), 5, things[i]);
        }
        invariant_the_market_is_solvent_final_and_fair_after_any_history();
    }
}
