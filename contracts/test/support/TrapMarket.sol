// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Env} from "../../src/Env.sol";
import {ScatterEvents} from "../../src/ScatterEvents.sol";

/// @title A market that behaves like version 1, faults included. For tests only: it loses money.
/// @notice A node meets such markets in the field and must stay whole on them. What is wrong with it: a refused bid's
/// value, an overpayment and an unhosted bid's money stay here; anybody pins once a hold has lapsed or without one;
/// anybody votes, at any time, as often as they like; each vote after the end pays everybody again, the hoster
/// whatever the votes say; `validationSway` wraps; the last one out can't withdraw.
contract TrapMarket is ScatterEvents {
    struct Validation {
        uint256 when;
        address validator;
        bool isValid;
        bool paid;
    }

    struct Bid {
        address bidder;
        bytes32 fileHash;
        int64 fileSize;
        uint256 amount;
        uint256 pool;
        uint256 duration;
        int16 minValidations;
        uint256 accepted;
        address hoster;
        uint256 pinned;
        Validation[] validations;
    }

    Env public immutable env;
    int256 private bidCount;
    mapping(int256 => Bid) private bids;
    mapping(address => uint256) private credits;

    /// @dev The second argument is unused; with it both markets are deployed alike.
    constructor(Env env_, address) {
        env = env_;
    }

    function bid(bytes32 fileHash, int64 fileSize, uint256 duration, uint256 bidValue, uint256 validationPool)
        external
        payable
        returns (bool)
    {
        int16 minValidations = int16(int256(env.getuint(keccak256("defaultMinValidations"))));
        return bid(fileHash, fileSize, duration, bidValue, validationPool, minValidations);
    }

    function bid(
        bytes32 fileHash,
        int64 fileSize,
        uint256 duration,
        uint256 bidValue,
        uint256 validationPool,
        int16 minValidations
    ) public payable returns (bool) {
        if (
            msg.value < bidValue + validationPool || fileHash == 0 || fileSize < 1 || bidValue < 1
                || validationPool < uint256(int256(minValidations)) || bidValue < env.getuint(keccak256("minBid"))
                || duration < env.getuint(keccak256("minDuration"))
        ) {
            emit BidInvalid(fileHash, "failed validation");
            return false;
        }
        int256 bidId = bidCount++;
        Bid storage b = bids[bidId];
        b.bidder = msg.sender;
        b.fileHash = fileHash;
        b.fileSize = fileSize;
        b.amount = bidValue;
        b.pool = validationPool;
        b.duration = duration;
        b.minValidations = minValidations;
        emit BidSuccessful(bidId, msg.sender, bidValue, validationPool, fileHash, fileSize);
        return true;
    }

    function accept(int256 bidId) external returns (bool) {
        Bid storage b = bids[bidId];
        if (!isBidOpenForAccept(bidId, msg.sender)) {
            emit AcceptWait(block.timestamp - b.accepted); // the time that has passed, not the time that is left
            return false;
        }
        b.accepted = block.timestamp;
        b.hoster = msg.sender;
        emit Accepted(bidId, block.timestamp, msg.sender);
        return true;
    }

    function pinned(int256 bidId) external returns (bool) {
        Bid storage b = bids[bidId];
        require(b.pinned == 0, "already pinned");
        if (!isBidOpenForPin(bidId, msg.sender)) {
            emit NotAcceptedByPinner(bidId, b.hoster);
            return false;
        }
        b.pinned = block.timestamp;
        b.hoster = msg.sender;
        emit Pinned(bidId, msg.sender, b.fileHash);
        return true;
    }

    function validate(int256 bidId) external {
        _vote(bidId, true);
    }

    function invalidate(int256 bidId) external {
        _vote(bidId, false);
    }

    function _vote(int256 bidId, bool isValid) private {
        Bid storage b = bids[bidId];
        require(b.pinned != 0, "not open");
        b.validations.push(Validation(block.timestamp, msg.sender, isValid, false));
        if (block.timestamp >= b.pinned + b.duration) {
            uint256 share = b.pool / b.validations.length;
            for (uint256 i = 0; i < b.validations.length; i++) {
                credits[b.validations[i].validator] += share;
                b.validations[i].paid = true;
            }
            credits[b.hoster] += b.amount;
        }
        emit ValidationOcurred(bidId, msg.sender, isValid);
    }

    function withdraw() external {
        transfer(msg.sender);
    }

    function transfer(address to) public {
        uint256 amount = credits[msg.sender];
        if (amount == 0) {
            emit WithdrawFailed(msg.sender, "zero balance");
            return;
        }
        require(amount < address(this).balance, "not enough funds"); // even when it is exactly enough
        credits[msg.sender] = 0;
        payable(to).transfer(amount);
        emit Withdraw(amount, msg.sender);
    }

    function getBid(int256 bidId)
        external
        view
        returns (
            address bidder,
            bytes32 fileHash,
            int256 fileSize,
            uint256 bidAmount,
            uint256 validationPool,
            uint256 duration,
            int16 minValidations
        )
    {
        Bid storage b = bids[bidId];
        return (b.bidder, b.fileHash, b.fileSize, b.amount, b.pool, b.duration, b.minValidations);
    }

    function getBidCount() external view returns (int256) {
        return bidCount;
    }

    function getHoster(int256 bidId) external view returns (address) {
        return bids[bidId].hoster;
    }

    function getValidation(int256 bidId, uint256 index)
        external
        view
        returns (uint256 when, address validator, bool isValid, bool paid)
    {
        Validation storage v = bids[bidId].validations[index];
        return (v.when, v.validator, v.isValid, v.paid);
    }

    function getValidationCount(int256 bidId) external view returns (uint256) {
        return bids[bidId].validations.length;
    }

    function isBidOpenForAccept(int256 bidId) external view returns (bool) {
        return isBidOpenForAccept(bidId, msg.sender);
    }

    function isBidOpenForAccept(int256 bidId, address hoster) public view returns (bool) {
        Bid storage b = bids[bidId];
        return b.fileHash != 0 && b.pinned == 0 && !_held(b) && b.bidder != hoster;
    }

    function isBidOpenForPin(int256 bidId) external view returns (bool) {
        return isBidOpenForPin(bidId, msg.sender);
    }

    function isBidOpenForPin(int256 bidId, address hoster) public view returns (bool) {
        Bid storage b = bids[bidId];
        return b.fileHash != 0 && b.pinned == 0 && (!_held(b) || b.hoster == hoster);
    }

    function _held(Bid storage b) private view returns (bool) {
        uint256 hold = env.getuint(keccak256("acceptHoldDuration")); // as it is now, not as it was at the bid
        return b.accepted != 0 && block.timestamp - b.accepted < hold;
    }

    function validationSway(int256 bidId) public view returns (uint256 sway) {
        Validation[] storage validations = bids[bidId].validations;
        for (uint256 i = 0; i < validations.length; i++) {
            unchecked {
                sway = validations[i].isValid ? sway + 1 : sway - 1; // wraps below zero
            }
        }
    }

    function satisfied(int256 bidId) external view returns (bool) {
        Bid storage b = bids[bidId];
        uint256 quorum = uint256(int256(b.minValidations));
        uint256 sway = validationSway(bidId);
        return b.validations.length >= quorum && sway != 0 && sway >= quorum; // a wrapped sway is huge
    }

    function validatorIndex(int256 bidId, address validator) external view returns (uint256) {
        Validation[] storage validations = bids[bidId].validations;
        for (uint256 i = 0; i < validations.length; i++) {
            if (validations[i].validator == validator) return i;
        }
        return type(uint256).max;
    }

    function balance(address who) external view returns (uint256) {
        return credits[who];
    }

    function balance() external view returns (uint256) {
        return credits[msg.sender];
    }

    function getJob() external view returns (int256 bidId, bytes32 fileHash, int64 fileSize) {
        for (bidId = 0; bidId < bidCount; bidId++) {
            if (isBidOpenForAccept(bidId, msg.sender)) return (bidId, bids[bidId].fileHash, bids[bidId].fileSize);
        }
        return (-1, 0, 0);
    }
}
