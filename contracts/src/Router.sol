// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Owned} from "./Owned.sol";

/// @title Names the market's contracts by key.
/// @notice Keys: keccak256 of "Scatter", "Register", "Env", "BidStore". The owner can point a key elsewhere, so a
/// node that holds money pins the addresses that it has checked instead of asking again.
contract Router is Owned {
    /// @notice `key` names `target` from now on.
    event EntryChanged(bytes32 indexed key, address target);

    mapping(bytes32 => address) private entries;

    /// @notice Points `key` at `target`; address(0) removes it.
    function set(bytes32 key, address target) external onlyOwner {
        entries[key] = target;
        emit EntryChanged(key, target);
    }

    /// @notice The address behind `key`, or zero.
    function get(bytes32 key) external view returns (address) {
        return entries[key];
    }
}
