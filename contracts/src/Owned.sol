// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title A contract with one owner, who may hand it over.
abstract contract Owned {
    /// @notice `owner` owns the contract from now on.
    event OwnerChanged(address indexed owner);

    /// @notice The only address that may change entries.
    address public owner;

    modifier onlyOwner() {
        require(msg.sender == owner, "denied");
        _;
    }

    constructor() {
        owner = msg.sender;
        emit OwnerChanged(msg.sender);
    }

    /// @notice Hands the contract over; address(0) freezes it for ever.
    function setOwner(address next) external onlyOwner {
        owner = next;
        emit OwnerChanged(next);
    }
}
