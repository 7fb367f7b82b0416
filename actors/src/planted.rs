//! Bugs that the simulation plants, one at a time, to see that its invariants catch them.
//!
//! A seam in production code reads `planted(Bug::X)`. Without the feature `planted`, which the simulation's own
//! workspace member alone asks for, that is constant false and the seam is compiled away; with it, a bug is planted
//! on one thread, for one history.

/// A bug of one line, and the invariant that it breaks: two for each of I1 to I12, and what liveness alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// I1: an intent that is known is wanted anew.
    WantAgain,
    /// I1: an intent that got a nonce stays queued.
    LeaveQueued,
    /// I2: a transaction is sent before it is durable.
    SendBeforePersist,
    /// I2: a replacement is sent before it is durable.
    ReplaceBeforePersist,
    /// I3: what a mempool forgot is not sent again.
    ForgetEvicted,
    /// I3: a nonce is left out, and the gap stays.
    SkipNonce,
    /// I4: what is signed and not final counts nothing.
    CountMinedOnly,
    /// I4: what was spent counts nothing.
    ForgetSpending,
    /// I5: one owner's word is enough to let a root go.
    CountReferencesOnce,
    /// I5: a pin that somebody else made is given up.
    UnpinForeign,
    /// I6: what is promised takes no room.
    ForgetPromises,
    /// I6: what is pinned takes no room.
    ForgetPins,
    /// I7: a vote is cast, and its evidence is on no disk.
    VoteWithoutEvidence,
    /// I7: blocks are taken for good without a look at their hash.
    TrustBytes,
    /// I8: what a reorg removed is not retracted.
    KeepRetracted,
    /// I8: a block is read without a look at its parent.
    IgnoreParents,
    /// I9: a name that can't be resolved lists nothing.
    EmptyOnFailure,
    /// I9: a peer's change lets go what other peers list.
    TouchOthers,
    /// I10: whatever is asked for is fetched.
    ServeAnything,
    /// I10: what a bid named once is served for ever.
    ServeEnded,
    /// I11: an actor that died stays dead.
    LeaveDead,
    /// I11: an actor's death takes the next one along.
    TakeNeighbour,
    /// I12: a node is ready whatever its IPFS backend says.
    ReadyWithoutIpfs,
    /// I12: a node is ready however old its head is.
    ReadyWithOldHead,
    /// I12: a node is ready however full its disk is.
    ReadyWithFullDisk,
    /// Liveness: an accept that the market did not take ends the bid.
    AcceptOnce,
    /// Liveness: nobody looks whether the backend still has what the store calls pinned.
    TrustPins,
    /// Liveness: a market that the Router names no more is not read any more, whatever lives there.
    ForgetRetired,
    /// I8: of a market that the Router names, only what comes from then on is read.
    SkipHistory,
}

impl Bug {
    /// The bugs that seeds should catch, in the order of the invariants that they break.
    pub const ALL: [Self; 29] = [
        Self::WantAgain,
        Self::LeaveQueued,
        Self::SendBeforePersist,
        Self::ReplaceBeforePersist,
        Self::ForgetEvicted,
        Self::SkipNonce,
        Self::CountMinedOnly,
        Self::ForgetSpending,
        Self::CountReferencesOnce,
        Self::UnpinForeign,
        Self::ForgetPromises,
        Self::ForgetPins,
        Self::VoteWithoutEvidence,
        Self::TrustBytes,
        Self::KeepRetracted,
        Self::IgnoreParents,
        Self::EmptyOnFailure,
        Self::TouchOthers,
        Self::ServeAnything,
        Self::ServeEnded,
        Self::LeaveDead,
        Self::TakeNeighbour,
        Self::ReadyWithoutIpfs,
        Self::ReadyWithOldHead,
        Self::ReadyWithFullDisk,
        Self::AcceptOnce,
        Self::TrustPins,
        Self::ForgetRetired,
        Self::SkipHistory,
    ];
}

#[cfg(feature = "planted")]
mod seam {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether that bug is planted on this thread.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug on this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}

#[cfg(not(feature = "planted"))]
mod seam {
    use super::Bug;

    /// Whether that bug is planted: never, where nobody plants.
    #[inline(always)]
    pub const fn planted(_: Bug) -> bool {
        false
    }
}

pub use seam::*;
