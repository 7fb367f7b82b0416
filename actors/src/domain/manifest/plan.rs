//! What a newer set changes. Additions happen at once; many removals at a time wait for the operator.

use std::collections::BTreeSet;

/// A round removes at most one root in so many: 20 %.
const ONE_IN: usize = 5;

/// What becomes of a peer's set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<K> {
    /// How many roots are new.
    pub added: usize,
    /// How many are kept no longer for this peer.
    pub removed: usize,
    /// Roots that the peer lists no more and that are kept until the operator's word.
    pub held: BTreeSet<K>,
}

/// Compares what a peer listed (`before`) and what of older sets waits for the operator (`held`) with what it lists
/// now.
///
/// If more than 20 % of what it listed is gone, none of that goes yet. What is held once stays held, however the
/// set changes, until the operator's word or until the peer lists it again.
pub fn plan<K: Ord + Clone>(before: &BTreeSet<K>, held: &BTreeSet<K>, now: &BTreeSet<K>) -> Plan<K> {
    let gone: BTreeSet<K> = before.difference(now).filter(|root| !held.contains(*root)).cloned().collect();
    let added = now.iter().filter(|root| !before.contains(*root) && !held.contains(*root)).count();
    let mut still: BTreeSet<K> = held.difference(now).cloned().collect();
    if gone.len() * ONE_IN > before.len() {
        still.extend(gone);
        Plan { added, removed: 0, held: still }
    } else {
        Plan { added, removed: gone.len(), held: still }
    }
}

impl<K> Plan<K> {
    /// Whether other roots are kept for the peer than before.
    pub fn changes(&self) -> bool {
        self.added > 0 || self.removed > 0
    }
}
