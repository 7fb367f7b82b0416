// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Bids} from "./Bids.sol";
import {Credits} from "./Credits.sol";
import {Env} from "./Env.sol";
import {Outcome, Settlement} from "./Settlement.sol";
import {Voters} from "./Voters.sol";

/// @title A market for keeping IPFS files pinned.
/// @notice A bidder locks ether for a file, a size and a duration; a hoster accepts, pins the file and says so;
/// validators check it and vote once the duration has passed; then the bid is settled, once.
///
///   Open -> Held (until a time) -> Open again, when the hold lapses
///                               -> Hosted -> Voting [end, close) -> Settled (Paid | Failed | Undecided)
///   Open | Held -> Settled (Expired)
///
/// Nobody has power over a live bid: no owner, no pause, no ban, and its terms are copied when it is placed.
contract ScatterMarket is Bids, Credits {
    /// @notice The bid was settled; what the hoster, all validators together, and the bidder were credited, in wei.
    event Settled(int256 indexed bidId, Outcome outcome, uint256 hoster, uint256 validators, uint256 bidder);

    /// @notice The most votes that a bid may ask for.
    uint256 public constant MAX_QUORUM = 15;
    /// @notice The most votes on each side, so that settling always fits into a block.
    uint256 public constant MAX_VOTES = 31;

    // What Env may ask for. Without limits its owner could lock a bid's money for ever by a change just ahead of it.
    uint256 private constant MAX_HOLD = 1 days;
    uint256 private constant MAX_OFFER = 365 days;
    uint256 private constant MAX_VOTE = 30 days;
    uint256 private constant MAX_DURATION = 36500 days;

    /// @notice Where the terms of new bids come from.
    Env public immutable env;
    /// @notice Who may vote: the open Register, or a closed list.
    Voters public immutable voters;

    /// @dev A bid as asked for, not checked yet. A struct, because the stack is too small for it.
    struct Offer {
        bytes32 fileHash;
        int64 fileSize;
        uint256 duration;
        uint256 amount;
        uint256 pool;
        int256 quorum;
    }

    constructor(Env env_, Voters voters_) {
        env = env_;
        voters = voters_;
    }

    /// @notice 2: this market settles once and by its votes. Version 1 lacks the function.
    function marketVersion() external pure returns (uint256) {
        return 2;
    }

    // Bidding ------------------------------------------------------------------------------------------------------

    /// @notice Offers `bidValue` wei to a hoster and `validationPool` wei to validators for keeping the file.
    /// @dev The value of a refused bid, and whatever is over, is credited to the sender. Success is `BidSuccessful`.
    /// @param fileHash The sha2-256 digest of the root block. @param fileSize Bytes.
    /// @param duration Seconds. @param minValidations The fewest votes that decide.
    function bid(
        bytes32 fileHash,
        int64 fileSize,
        uint256 duration,
        uint256 bidValue,
        uint256 validationPool,
        int16 minValidations
    ) external payable returns (bool) {
        return _bid(Offer(fileHash, fileSize, duration, bidValue, validationPool, minValidations), env.terms());
    }

    /// @notice The same with Env's default for the fewest votes that decide.
    function bid(bytes32 fileHash, int64 fileSize, uint256 duration, uint256 bidValue, uint256 validationPool)
        external
        payable
        returns (bool)
    {
        Env.Terms memory terms = env.terms();
        int256 quorum = int256(terms.defaultMinValidations);
        return _bid(Offer(fileHash, fileSize, duration, bidValue, validationPool, quorum), terms);
    }

    function _bid(Offer memory o, Env.Terms memory terms) private returns (bool) {
        string memory fault = _fault(o, terms);
        if (bytes(fault).length > 0) {
            emit BidInvalid(o.fileHash, fault);
        } else if (o.amount == 0 || o.amount < terms.minBid || msg.value < o.amount + o.pool) {
            emit BidTooLow(o.fileHash);
        } else {
            _place(o, terms);
            _credit(msg.sender, msg.value - o.amount - o.pool);
            return true;
        }
        _credit(msg.sender, msg.value);
        return false;
    }

    /// @dev Which rule the offer breaks; empty if none. After it, every number fits its field and no sum overflows.
    function _fault(Offer memory o, Env.Terms memory terms) private pure returns (string memory) {
        if (o.fileHash == 0) return "no file";
        if (o.fileSize < 1) return "no size";
        if (o.quorum < 1 || o.quorum > int256(MAX_QUORUM)) return "votes out of range";
        if (o.pool < uint256(o.quorum)) return "pool too small";
        if (o.amount > type(uint128).max || o.pool > type(uint128).max) return "value out of range";
        if (o.duration < terms.minDuration) return "too short";
        if (o.duration > terms.maxDuration || o.duration > MAX_DURATION) return "too long";
        if (
            terms.acceptHoldDuration > MAX_HOLD || terms.offerDuration > MAX_OFFER || terms.voteDuration == 0
                || terms.voteDuration > MAX_VOTE
        ) return "terms out of range";
        return "";
    }

    function _place(Offer memory o, Env.Terms memory terms) private {
        int256 bidId = bidCount++;
        Bid storage b = bids[bidId];
        b.fileHash = o.fileHash;
        b.amount = uint128(o.amount);
        b.pool = uint128(o.pool);
        b.bidder = msg.sender;
        b.fileSize = o.fileSize;
        b.quorum = uint8(uint256(o.quorum));
        b.placedAt = uint40(block.timestamp);
        b.offerEnd = uint40(block.timestamp + terms.offerDuration);
        b.duration = uint40(o.duration);
        b.holdDuration = uint32(terms.acceptHoldDuration);
        b.voteDuration = uint32(terms.voteDuration);
        b.voterLimit = uint64(voters.voterCount());
        emit BidSuccessful(bidId, msg.sender, o.amount, o.pool, o.fileHash, o.fileSize);
    }

    // Hosting ------------------------------------------------------------------------------------------------------

    /// @notice Reserves the bid for the sender until its hold ends. Success is `Accepted` with the sender in it.
    /// @dev `AcceptWait(0)` means that no hold is in the way: the bid is pinned or its offer is over.
    function accept(int256 bidId) external returns (bool) {
        Bid storage b = _known(bidId);
        require(msg.sender != b.bidder, "own bid");
        if (!_acceptable(b, msg.sender)) {
            bool held = b.pinnedAt == 0 && block.timestamp < b.holdUntil;
            emit AcceptWait(held ? b.holdUntil - block.timestamp : 0);
            return false;
        }
        b.hoster = msg.sender;
        b.holdUntil = uint40(block.timestamp + b.holdDuration);
        emit Accepted(bidId, block.timestamp, msg.sender);
        return true;
    }

    /// @notice Says that the sender, who accepted, holds the file from now to the end. Success is `Pinned`.
    function pinned(int256 bidId) external returns (bool) {
        Bid storage b = _known(bidId);
        require(b.pinnedAt == 0, "already pinned");
        if (msg.sender != b.hoster) {
            emit NotAcceptedByPinner(bidId, b.hoster);
            return false;
        }
        require(_pinnable(b, msg.sender), "offer over");
        b.pinnedAt = uint40(block.timestamp);
        emit Pinned(bidId, msg.sender, b.fileHash);
        return true;
    }

    // Voting -------------------------------------------------------------------------------------------------------

    /// @notice Votes that the file was there to the end: in [end, close), because earlier nobody can know.
    /// @dev Bytes after the argument are ignored: a voter appends the digest of its evidence.
    function validate(int256 bidId) external {
        _vote(bidId, true);
    }

    /// @notice Votes that it was not: in [pinnedAt, close). It counts at the close, never earlier.
    /// @dev Bytes after the argument are ignored: a voter appends the digest of its evidence.
    function invalidate(int256 bidId) external {
        _vote(bidId, false);
    }

    function _vote(int256 bidId, bool isValid) private {
        Bid storage b = _known(bidId);
        require(b.outcome == Outcome.None, "already settled");
        require(b.pinnedAt != 0, "not pinned");
        (uint256 end, uint256 close) = _voteWindow(b);
        if (block.timestamp >= close) {
            // Too late to count; clients that only know version 1 trigger the payout in this way.
            _settle(bidId, b);
            return;
        }
        require(!isValid || block.timestamp >= end, "too early");
        require(msg.sender != b.hoster && msg.sender != b.bidder, "party to the bid");
        require(votePlace[bidId][msg.sender] == 0, "already voted");
        uint256 ordinal = voters.voterOrdinal(msg.sender);
        require(ordinal != 0 && ordinal <= b.voterLimit, "not a voter");

        uint256 index = _voteCount(b);
        if (isValid) {
            require(b.valid < MAX_VOTES, "too many votes");
            b.valid++;
        } else {
            require(b.invalid < MAX_VOTES, "too many votes");
            b.invalid++;
        }
        votes[bidId][index] = Vote(msg.sender, uint40(block.timestamp), isValid);
        votePlace[bidId][msg.sender] = index + 1;
        emit ValidationOcurred(bidId, msg.sender, isValid);
    }

    // Settling -----------------------------------------------------------------------------------------------------

    /// @notice Divides the bid's money once its vote has closed, or gives it back if nobody hosted it in time.
    function settle(int256 bidId) external {
        Bid storage b = _known(bidId);
        require(b.outcome == Outcome.None, "already settled");
        (, uint256 close) = _voteWindow(b);
        require(block.timestamp >= (b.pinnedAt == 0 ? _offerClose(b) : close), "too early");
        _settle(bidId, b);
    }

    function _settle(int256 bidId, Bid storage b) private {
        Settlement.Shares memory s = _shares(b);
        b.outcome = s.outcome;
        uint256 count = _voteCount(b);
        uint256 toValidators;
        for (uint256 i = 0; i < count; i++) {
            Vote storage v = votes[bidId][i];
            uint256 share = v.isValid ? s.perValid : s.perInvalid;
            toValidators += share;
            _credit(v.voter, share);
        }
        _credit(b.hoster, s.hoster);
        _credit(b.bidder, s.bidder);
        assert(s.hoster + toValidators + s.bidder == uint256(b.amount) + b.pool);
        emit Settled(bidId, s.outcome, s.hoster, toValidators, s.bidder);
    }

    function _known(int256 bidId) private view returns (Bid storage b) {
        b = bids[bidId];
        require(b.bidder != address(0), "unknown bid");
    }
}
