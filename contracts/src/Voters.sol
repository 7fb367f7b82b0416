// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Owned} from "./Owned.sol";

/// @title An append-only list of addresses that may vote.
/// @notice A bid remembers the list's length, so whoever joins later, even in the same block, has no say in it, and
/// nobody can be taken off a list that a live bid relies on.
abstract contract Voters {
    /// @notice How many addresses have joined.
    uint256 public voterCount;

    /// @notice An address' place in the order of joining, from 1; zero if it never joined.
    mapping(address => uint256) public voterOrdinal;

    /// @dev Gives `voter` the next place; keeps an earlier one. Returns whether it is new.
    function _join(address voter) internal returns (bool) {
        if (voterOrdinal[voter] != 0) return false;
        voterOrdinal[voter] = ++voterCount;
        return true;
    }
}

/// @title A closed list: only addresses that the owner has added may vote.
/// @notice A market deployed with it instead of the open Register can't be outvoted by fresh accounts, at the price
/// of trusting whoever keeps the list.
contract VoterList is Voters, Owned {
    /// @notice Adds `voter`, for bids placed from now on.
    function add(address voter) external onlyOwner {
        require(_join(voter), "already listed");
    }
}
