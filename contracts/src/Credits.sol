// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ScatterEvents} from "./ScatterEvents.sol";

/// @title What the market owes each address, and how it is fetched.
/// @notice Ether is never pushed: every payment is a credit that its owner withdraws. The contract's own balance is
/// never compared with anything, so ether forced into it changes nothing.
abstract contract Credits is ScatterEvents {
    mapping(address => uint256) private credits;

    /// @notice What `who` can withdraw, in wei.
    function balance(address who) external view returns (uint256) {
        return credits[who];
    }

    /// @notice What the caller can withdraw, in wei.
    function balance() external view returns (uint256) {
        return credits[msg.sender];
    }

    /// @notice Sends the caller's whole credit to the caller. Success is the event `Withdraw`, not the receipt's status.
    function withdraw() external {
        _withdraw(msg.sender);
    }

    /// @notice Sends the caller's whole credit to `to`. Success is the event `Withdraw`, not the receipt's status.
    function transfer(address to) external {
        _withdraw(to);
    }

    /// @dev Owes `who` another `amount` wei that the contract already holds.
    function _credit(address who, uint256 amount) internal {
        if (amount > 0) credits[who] += amount;
    }

    function _withdraw(address to) private {
        uint256 amount = credits[msg.sender];
        if (amount == 0) {
            emit WithdrawFailed(msg.sender, "nothing to withdraw");
            return;
        }
        if (to == address(0)) {
            emit WithdrawFailed(msg.sender, "no destination");
            return;
        }
        // Zero before the call, so that a destination that calls back finds nothing.
        credits[msg.sender] = 0;
        if (_send(to, amount)) {
            emit Withdraw(amount, msg.sender);
        } else {
            // The failed call undid all that it did, so what it calls back into can't have changed this.
            credits[msg.sender] = amount;
            emit WithdrawFailed(msg.sender, "destination refused");
        }
    }

    /// @dev A call whose answer is never copied: a destination can't make the sender pay for a huge one.
    function _send(address to, uint256 amount) private returns (bool sent) {
        assembly ("memory-safe") {
            sent := call(gas(), to, amount, 0, 0, 0, 0)
        }
    }
}
