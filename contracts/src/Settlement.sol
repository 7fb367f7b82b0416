// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @notice How a bid ended. `None`: it has not been settled.
enum Outcome {
    None,
    Paid,
    Failed,
    Undecided,
    Expired
}

/// @title Divides a bid's money by its votes. Pure: no storage, no time.
library Settlement {
    /// @notice Who gets what, in wei. A share that does not divide goes to the bidder with the remainder.
    struct Shares {
        Outcome outcome;
        uint256 hoster;
        uint256 perValid;
        uint256 perInvalid;
        uint256 bidder;
    }

    /// @notice The shares of a bid that was hosted and whose vote has closed.
    /// @param amount Wei for the hoster. @param pool Wei for the validators.
    /// @param quorum The fewest votes that decide (at least 1).
    /// @param valid Votes for the hoster. @param invalid Votes against.
    function divide(uint256 amount, uint256 pool, uint256 quorum, uint256 valid, uint256 invalid)
        internal
        pure
        returns (Shares memory s)
    {
        uint256 votes = valid + invalid;
        if (votes < quorum || valid == invalid) {
            // Nobody won: those who voted are paid for it, as if at least a quorum had.
            uint256 share = pool / (votes > quorum ? votes : quorum);
            s = Shares(Outcome.Undecided, 0, share, share, amount + pool - votes * share);
        } else if (valid > invalid) {
            s = Shares(Outcome.Paid, amount, pool / valid, 0, pool % valid);
        } else {
            s = Shares(Outcome.Failed, 0, 0, pool / invalid, amount + pool % invalid);
        }
    }

    /// @notice The shares of a bid that nobody hosted: all goes back.
    function refund(uint256 amount, uint256 pool) internal pure returns (Shares memory) {
        return Shares(Outcome.Expired, 0, 0, 0, amount + pool);
    }
}
