//! Makes a plan that breaks an invariant smaller, as long as it still breaks the same one.

use crate::case::name_of;
use crate::plan::{Plan, Voter};
use crate::world::{live, Ended};

/// A smaller plan that still breaks the same invariant.
pub struct Shrunk {
    /// How it ended.
    pub ended: Ended,
    /// Histories that were lived to find it.
    pub lived: usize,
}

/// Leaves out of a plan what its failure does not need: halves of the faults at first, then single ones, bids, and
/// whoever else takes part. Lives at most so many histories. The plan itself, where nothing can be left out.
///
/// # Panics
/// If the history did not fail.
pub fn shrink(ended: Ended, most: usize) -> Shrunk {
    let name = name_of(ended.verdict.as_ref().unwrap_err()).to_owned();
    let mut search = Search { name, best: ended, lived: 0, most };
    loop {
        let before = search.size();
        search.leave_out(|plan| plan.faults.len(), |plan, range| drop(plan.faults.drain(range)), 0);
        search.leave_out(|plan| plan.bids.len(), |plan, range| drop(plan.bids.drain(range)), 1);
        search.simplify(|plan| plan.friends = 0);
        search.simplify(|plan| {
            plan.moves = None;
            plan.bids.iter_mut().for_each(|bid| bid.elsewhere = false);
        });
        // Scripts take over: honest ones, or there would be too few votes, which is another defect.
        search.simplify(|plan| (plan.validators, plan.voters) = (false, [Voter::Honest; 3]));
        if search.size() == before || search.lived >= most {
            return Shrunk { ended: search.best, lived: search.lived };
        }
    }
}

struct Search {
    name: String,
    best: Ended,
    lived: usize,
    most: usize,
}

impl Search {
    fn size(&self) -> usize {
        let plan = &self.best.plan;
        plan.faults.len()
            + plan.bids.len()
            + plan.friends
            + usize::from(plan.validators)
            + usize::from(plan.moves.is_some())
    }

    /// Lives another plan, which becomes the best one if it breaks the same.
    fn attempt(&mut self, plan: Plan) -> bool {
        if self.lived >= self.most {
            return false;
        }
        self.lived += 1;
        let ended = live(plan);
        let same = ended.verdict.as_ref().is_err_and(|broken| name_of(broken) == self.name);
        if same {
            self.best = ended;
        }
        same
    }

    /// Leaves out runs of a list, ever shorter ones, but never all that keep it at `least`.
    fn leave_out(
        &mut self,
        len: impl Fn(&Plan) -> usize,
        drain: impl Fn(&mut Plan, std::ops::Range<usize>),
        least: usize,
    ) {
        let mut run = len(&self.best.plan).div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < len(&self.best.plan) && self.lived < self.most {
                let until = (at + run).min(len(&self.best.plan));
                let mut plan = self.best.plan.clone();
                drain(&mut plan, at..until);
                if len(&plan) < least || !self.attempt(plan) {
                    at = until;
                }
            }
            if run == 1 || self.lived >= self.most {
                return;
            }
            run = run.div_ceil(2);
        }
    }

    fn simplify(&mut self, change: impl Fn(&mut Plan)) {
        let mut plan = self.best.plan.clone();
        let parts = |plan: &Plan| (plan.friends, plan.validators, plan.moves.is_some());
        let before = parts(&plan);
        change(&mut plan);
        if before != parts(&plan) {
            self.attempt(plan);
        }
    }
}
