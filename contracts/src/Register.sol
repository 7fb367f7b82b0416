// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Voters} from "./Voters.sol";

/// @title Who takes part, and where their registration file is.
/// @notice Open to all. The first registration also makes an address a voter on bids that are placed afterwards.
contract Register is Voters {
    /// @notice `who` registered `fileHash`, the sha2-256 digest of a JSON file on IPFS.
    event Registered(address indexed who, bytes32 fileHash);

    mapping(address => bytes32) private files;

    /// @notice When an address first registered (Unix seconds); zero if it never did.
    mapping(address => uint256) public registeredAt;

    /// @notice Stores the sender's file; doing it again replaces the file and keeps the first time and place.
    function register(bytes32 fileHash) external {
        require(fileHash != 0, "no file");
        files[msg.sender] = fileHash;
        if (_join(msg.sender)) registeredAt[msg.sender] = block.timestamp;
        emit Registered(msg.sender, fileHash);
    }

    /// @notice The digest of `who`'s registration file, or zero.
    function getUserFile(address who) external view returns (bytes32) {
        return files[who];
    }
}
