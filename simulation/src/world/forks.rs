//! Two branches that take turns: what a fork put aside comes back.

use scatter_actors::domain::units::ChainTime;
use scatter_actors::testkit::chain::{Branch, BLOCK_SECONDS};

use super::World;

/// Blocks that a branch may lie below the head to come back: the chain's finality lags ten.
const SHALLOW: u64 = 9;

/// A branch that was put aside, and when it comes back.
pub(super) struct Aside {
    branch: Branch,
    until: u64,
}

impl World {
    /// Replaces the newest blocks by empty ones, until the old ones come back.
    pub(super) fn fork(&mut self, depth: u64, until: u64) {
        let depth = depth.min(self.chain.height().saturating_sub(self.floor + 1));
        if depth == 0 || self.aside.is_some() {
            return;
        }
        let before = self.chain.now();
        let branch = self.chain.reorg(depth);
        self.history.tell("chain", format_args!("forks {depth} blocks below its head"));
        self.catch_up_with(before, depth);
        self.aside = Some(Aside { branch, until });
    }

    /// Lets the old branch come back, and grow past the other one, unless a reorg took the ground from under it or that
    /// is final by now.
    pub(super) fn join(&mut self, now: u64) {
        let Some(Aside { branch, .. }) = self.aside.take_if(|aside| aside.until <= now) else { return };
        let ground = branch.from().checked_sub(1).and_then(|below| self.chain.block(below));
        let (before, height) = (self.chain.now(), self.chain.height());
        let is_gone = ground.is_none_or(|ground| ground.hash != branch.parent());
        if is_gone || self.floor >= branch.from() || height - branch.from() >= SHALLOW {
            return;
        }
        self.chain.back_to(branch);
        self.history.tell("chain", format_args!("goes back to the old branch, {} high", self.chain.height()));
        self.catch_up_with(before, (height + 1).saturating_sub(self.chain.height()));
    }

    /// Mines one more empty block than there were; chain time does not go back.
    fn catch_up_with(&mut self, before: ChainTime, blocks: u64) {
        let lost = before.since(self.chain.now());
        self.chain.skip(lost.saturating_sub(blocks * BLOCK_SECONDS));
        (0..=blocks).for_each(|_| self.mine_what(|_| false));
    }
}
