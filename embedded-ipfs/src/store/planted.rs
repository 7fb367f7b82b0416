//! Bugs that the model test plants, one at a time, to see that it catches them.
//!
//! A seam reads `planted.is(Bug::X)`, which is constant false outside the tests.

/// A bug of a line or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A write is acknowledged, and was not synced.
    SkipSync,
    /// A pin is acknowledged, and its transaction was not synced.
    SkipPinSync,
    /// A transaction leaves out the rows that are in memory only.
    ForgetRows,
    /// A compaction forgets a living record, and gives its segment up.
    ForgetLiving,
    /// A sweep removes what an add under way relies on.
    IgnoreProtection,
    /// What a pin relied on that was recorded during a sweep is no longer safe from it.
    ReleaseEarly,
    /// A segment whose file was to go when the crash came stays for ever.
    KeepLeftOver,
    /// What is removed stays in the index.
    KeepRow,
    /// A block that was found damaged is not dropped.
    KeepDamaged,
    /// What a crash tore is taken for a record.
    TrustTail,
    /// A block is given away without a look at its sum.
    TrustBytes,
    /// A reading of everything does not look at sums.
    TrustRecords,
}

/// The bug of a store that a test opened with one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Planted {
    #[cfg(test)]
    pub(super) bug: Option<Bug>,
}

impl Planted {
    pub(super) fn is(self, bug: Bug) -> bool {
        #[cfg(test)]
        return self.bug == Some(bug);
        #[cfg(not(test))]
        {
            let _ = bug;
            false
        }
    }
}
