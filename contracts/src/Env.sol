// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Owned} from "./Owned.sol";

/// @title The terms on which new bids are placed.
/// @notice A bid copies them when it is placed, so the owner changes the terms of later bids only.
contract Env is Owned {
    /// @notice Durations in seconds, `minBid` in wei, `defaultMinValidations` in votes.
    struct Terms {
        uint256 acceptHoldDuration;
        uint256 defaultMinValidations;
        uint256 minDuration;
        uint256 maxDuration;
        uint256 minBid;
        uint256 offerDuration;
        uint256 voteDuration;
    }

    /// @notice Bids placed from now on have `value` for `key`.
    event TermChanged(bytes32 indexed key, uint256 value);

    bytes32 private constant ACCEPT_HOLD_DURATION = keccak256("acceptHoldDuration");
    bytes32 private constant DEFAULT_MIN_VALIDATIONS = keccak256("defaultMinValidations");
    bytes32 private constant MIN_DURATION = keccak256("minDuration");
    bytes32 private constant MAX_DURATION = keccak256("maxDuration");
    bytes32 private constant MIN_BID = keccak256("minBid");
    bytes32 private constant OFFER_DURATION = keccak256("offerDuration");
    bytes32 private constant VOTE_DURATION = keccak256("voteDuration");

    mapping(bytes32 => uint256) private values;

    /// @param keys Names (keccak256) whose defaults the deployer replaces; may be empty.
    /// @param replacements The value for each key.
    constructor(bytes32[] memory keys, uint256[] memory replacements) {
        require(keys.length == replacements.length, "keys and values differ");
        values[ACCEPT_HOLD_DURATION] = 900 seconds;
        values[DEFAULT_MIN_VALIDATIONS] = 2;
        values[MIN_DURATION] = 7 days;
        values[MAX_DURATION] = 3650 days;
        values[MIN_BID] = 1 gwei;
        values[OFFER_DURATION] = 7 days;
        values[VOTE_DURATION] = 1 days;
        for (uint256 k = 0; k < keys.length; k++) {
            values[keys[k]] = replacements[k];
        }
    }

    /// @notice Sets what `key` is for bids placed from now on.
    function setuint(bytes32 key, uint256 value) external onlyOwner {
        values[key] = value;
        emit TermChanged(key, value);
    }

    /// @notice The value of `key`, or zero.
    function getuint(bytes32 key) external view returns (uint256) {
        return values[key];
    }

    /// @notice All terms in one call.
    function terms() external view returns (Terms memory) {
        return Terms({
            acceptHoldDuration: values[ACCEPT_HOLD_DURATION],
            defaultMinValidations: values[DEFAULT_MIN_VALIDATIONS],
            minDuration: values[MIN_DURATION],
            maxDuration: values[MAX_DURATION],
            minBid: values[MIN_BID],
            offerDuration: values[OFFER_DURATION],
            voteDuration: values[VOTE_DURATION]
        });
    }
}
