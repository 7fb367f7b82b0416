// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Outcome, Settlement} from "./Settlement.sol";

/// @title The bids, their votes, and everything that can be asked about them.
/// @notice All times are Unix seconds, all windows half-open: `[from, to)`. A bid's state follows from its times; only
/// its outcome is stored. Views answer zero for a bid that does not exist.
abstract contract Bids {
    /// @dev Five slots. Everything that a later change of Env, Register or Router could alter is copied here.
    struct Bid {
        bytes32 fileHash;
        uint128 amount;
        uint128 pool;
        address bidder;
        int64 fileSize;
        uint8 quorum;
        uint8 valid;
        uint8 invalid;
        Outcome outcome;
        address hoster;
        uint40 holdUntil;
        uint40 pinnedAt;
        uint40 placedAt;
        uint40 offerEnd;
        uint40 duration;
        uint32 holdDuration;
        uint32 voteDuration;
        uint64 voterLimit;
    }

    struct Vote {
        address voter;
        uint40 when;
        bool isValid;
    }

    /// @dev How many bids `getJob` looks at.
    int256 private constant JOB_SPAN = 256;

    int256 internal bidCount;
    mapping(int256 bidId => Bid) internal bids;
    mapping(int256 bidId => mapping(uint256 index => Vote)) internal votes;
    /// @dev One more than the index of an address' vote, zero if it has none.
    mapping(int256 bidId => mapping(address voter => uint256)) internal votePlace;

    // What a bid is ------------------------------------------------------------------------------------------------

    /// @notice How many bids were placed; their ids run from 0.
    function getBidCount() external view returns (int256) {
        return bidCount;
    }

    /// @notice What was asked for and offered: bytes, wei, seconds, votes.
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
        return (b.bidder, b.fileHash, b.fileSize, b.amount, b.pool, b.duration, int16(uint16(b.quorum)));
    }

    /// @notice The terms that were in force when the bid was placed: seconds of a hold, seconds of the vote, and the
    /// highest voter ordinal that may vote on it.
    function bidTerms(int256 bidId)
        external
        view
        returns (uint256 acceptHoldDuration, uint256 voteDuration, uint256 voterLimit)
    {
        Bid storage b = bids[bidId];
        return (b.holdDuration, b.voteDuration, b.voterLimit);
    }

    /// @notice Its times. Open in [placedAt, offerEnd), hosted in [pinnedAt, end), votable in [end, close); the last
    /// three are zero until it is pinned. `holdUntil` is that of the last acceptance, lapsed or not.
    function bidWindows(int256 bidId)
        external
        view
        returns (uint256 placedAt, uint256 offerEnd, uint256 holdUntil, uint256 pinnedAt, uint256 end, uint256 close)
    {
        Bid storage b = bids[bidId];
        (end, close) = _voteWindow(b);
        return (b.placedAt, b.offerEnd, b.holdUntil, b.pinnedAt, end, close);
    }

    // Who hosts it -------------------------------------------------------------------------------------------------

    /// @notice Who accepted last, or hosts; zero if nobody ever did.
    function getHoster(int256 bidId) external view returns (address) {
        return bids[bidId].hoster;
    }

    /// @notice Who accepted last, and until when nobody else can.
    function holdOf(int256 bidId) external view returns (address hoster, uint256 until) {
        return (bids[bidId].hoster, bids[bidId].holdUntil);
    }

    /// @notice Whether the caller could accept now.
    function isBidOpenForAccept(int256 bidId) external view returns (bool) {
        return _acceptable(bids[bidId], msg.sender);
    }

    /// @notice Whether `hoster` could accept now.
    function isBidOpenForAccept(int256 bidId, address hoster) external view returns (bool) {
        return _acceptable(bids[bidId], hoster);
    }

    /// @notice Whether the caller could pin now.
    function isBidOpenForPin(int256 bidId) external view returns (bool) {
        return _pinnable(bids[bidId], msg.sender);
    }

    /// @notice Whether `hoster` could pin now.
    function isBidOpenForPin(int256 bidId, address hoster) external view returns (bool) {
        return _pinnable(bids[bidId], hoster);
    }

    /// @notice The oldest of the newest 256 bids that the caller could accept; id -1 if there is none.
    function getJob() external view returns (int256 bidId, bytes32 fileHash, int64 fileSize) {
        return getJobFrom(bidCount > JOB_SPAN ? bidCount - JOB_SPAN : int256(0));
    }

    /// @notice The first of the 256 bids from `cursor` that the caller could accept; id -1 if there is none.
    function getJobFrom(int256 cursor) public view returns (int256 bidId, bytes32 fileHash, int64 fileSize) {
        require(cursor >= 0, "negative cursor");
        for (bidId = cursor; bidId < bidCount && bidId - cursor < JOB_SPAN; bidId++) {
            Bid storage b = bids[bidId];
            if (_acceptable(b, msg.sender)) return (bidId, b.fileHash, b.fileSize);
        }
        return (-1, 0, 0);
    }

    // How the vote stands ------------------------------------------------------------------------------------------

    /// @notice Votes for the hoster and against.
    function tally(int256 bidId) external view returns (uint256 valid, uint256 invalid) {
        return (bids[bidId].valid, bids[bidId].invalid);
    }

    /// @notice How many votes there are.
    function getValidationCount(int256 bidId) external view returns (uint256) {
        return _voteCount(bids[bidId]);
    }

    /// @notice The vote at `index`, in the order of voting; reverts past the last. `paid`: the bid is settled and this
    /// vote had a share.
    function getValidation(int256 bidId, uint256 index)
        external
        view
        returns (uint256 when, address validator, bool isValid, bool paid)
    {
        Bid storage b = bids[bidId];
        require(index < _voteCount(b), "no such vote");
        Vote storage v = votes[bidId][index];
        if (b.outcome != Outcome.None) {
            Settlement.Shares memory shares = _shares(b);
            paid = (v.isValid ? shares.perValid : shares.perInvalid) > 0;
        }
        return (v.when, v.voter, v.isValid, paid);
    }

    /// @notice Whether `voter` has voted.
    function hasVoted(int256 bidId, address voter) external view returns (bool) {
        return votePlace[bidId][voter] != 0;
    }

    /// @notice The index of `validator`'s vote; the greatest uint256 if it has none.
    function validatorIndex(int256 bidId, address validator) external view returns (uint256) {
        unchecked {
            return votePlace[bidId][validator] - 1; // zero wraps to the greatest on purpose
        }
    }

    /// @notice By how many votes the hoster leads; zero when it does not.
    function validationSway(int256 bidId) external view returns (uint256) {
        Bid storage b = bids[bidId];
        return b.valid > b.invalid ? b.valid - b.invalid : 0;
    }

    /// @notice Whether the votes so far would pay the hoster. It does not mean that the vote is over, nor that anybody
    /// was paid: that is `settledOutcome`.
    function satisfied(int256 bidId) external view returns (bool) {
        Bid storage b = bids[bidId];
        return _voteCount(b) >= b.quorum && b.valid > b.invalid;
    }

    /// @notice How it ended: 0 not yet, 1 Paid, 2 Failed, 3 Undecided, 4 Expired.
    function settledOutcome(int256 bidId) external view returns (Outcome) {
        return bids[bidId].outcome;
    }

    // The rules that views and transactions share --------------------------------------------------------------------

    /// @dev When the last chance to pin ends: a hold taken before the offer's end is honoured to its own end.
    function _offerClose(Bid storage b) internal view returns (uint256) {
        return b.offerEnd > b.holdUntil ? b.offerEnd : b.holdUntil;
    }

    /// @dev When votes count, and when they stop to; zeros if it is not pinned.
    function _voteWindow(Bid storage b) internal view returns (uint256 end, uint256 close) {
        if (b.pinnedAt == 0) return (0, 0);
        end = uint256(b.pinnedAt) + b.duration;
        close = end + b.voteDuration;
    }

    /// @dev A bid that does not exist has offerEnd 0, so it is never open.
    function _acceptable(Bid storage b, address hoster) internal view returns (bool) {
        return b.pinnedAt == 0 && block.timestamp < b.offerEnd && block.timestamp >= b.holdUntil && hoster != b.bidder;
    }

    /// @dev A hoster whose hold has lapsed may still pin, as long as nobody else accepted since.
    function _pinnable(Bid storage b, address hoster) internal view returns (bool) {
        return b.pinnedAt == 0 && hoster != address(0) && hoster == b.hoster && block.timestamp < _offerClose(b);
    }

    function _voteCount(Bid storage b) internal view returns (uint256) {
        return uint256(b.valid) + b.invalid;
    }

    /// @dev Who gets what, once the bid may be settled.
    function _shares(Bid storage b) internal view returns (Settlement.Shares memory) {
        if (b.pinnedAt == 0) return Settlement.refund(b.amount, b.pool);
        return Settlement.divide(b.amount, b.pool, b.quorum, b.valid, b.invalid);
    }
}
