// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title The events of the version 1 interface, spelled and indexed as its clients expect them.
/// @notice A mined transaction is not a success: `accept`, `pinned`, `bid` and `withdraw` report a refusal by an event.
interface ScatterEvents {
    /// @notice A bid of `bidValue` + `validationPool` wei stands; its duration is in `getBid`.
    event BidSuccessful(
        int256 indexed bidId,
        address indexed bidder,
        uint256 indexed bidValue,
        uint256 validationPool,
        bytes32 fileHash,
        int64 fileSize
    );
    /// @notice A bid breaks a rule and was not placed.
    event BidInvalid(bytes32 indexed fileHash, string reason);
    /// @notice A bid is below the floor, or its value does not cover its promises; it was not placed.
    event BidTooLow(bytes32 indexed fileHash);
    /// @notice `hoster` reserved the bid at `when` (Unix seconds).
    event Accepted(int256 indexed bidId, uint256 indexed when, address indexed hoster);
    /// @notice The bid was not accepted: another's reservation has `waitLeft` seconds left.
    event AcceptWait(uint256 waitLeft);
    /// @notice `hoster` says that it holds the file; its time starts.
    event Pinned(int256 indexed bidId, address indexed hoster, bytes32 fileHash);
    /// @notice The sender is not the one who accepted; `hoster` is the one who did, or zero.
    event NotAcceptedByPinner(int256 indexed bidId, address indexed hoster);
    /// @notice `validator` voted.
    event ValidationOcurred(int256 indexed bidId, address indexed validator, bool indexed isValid);
    /// @notice `hoster` (any creditor) took `value` wei out.
    event Withdraw(uint256 indexed value, address indexed hoster);
    /// @notice `sender` took nothing out.
    event WithdrawFailed(address indexed sender, string reason);
}
