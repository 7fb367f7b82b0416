//! How to vote, and who asks for the money.

use serde::{Deserialize, Serialize};

use super::keccak;
use super::schedule::Plan;
use super::slot::{Outcome, Slot, Try};
use super::Policy;
use crate::domain::market::Vote;
use crate::domain::units::{Address, BidId, ChainTime};

/// Seconds between two turns.
pub const TURN: u64 = 600;
/// Among how many turns the legacy market's payout is drawn.
const TURNS: u64 = 64;

/// What the audit says of the bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The hoster kept the content.
    Valid,
    /// It did not.
    Invalid,
    /// Nobody can tell.
    Abstain,
}

/// Another hoster's endpoint answered us, so that the silence was not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Whose.
    pub hoster: Address,
    /// When, by the chain's newest block.
    pub at: ChainTime,
}

/// What the slots say so far. A slot without outcome counts as nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many slots there are.
    pub slots: u32,
    /// The last one's outcome.
    pub last: Option<Outcome>,
    /// Slots passed.
    pub pass: u32,
    /// Slots late.
    pub late: u32,
    /// Slots failed.
    pub fail: u32,
    /// Slots dark.
    pub dark: u32,
    /// The last slot was dark at enough tries, and another endpoint answered meanwhile.
    pub silence_is_theirs: bool,
}

impl Tally {
    /// Counts.
    pub fn of(plan: Plan, policy: &Policy, slots: &[Slot], elsewhere: &[Elsewhere]) -> Self {
        let count = |outcome| slots.iter().filter(|slot| slot.outcome == Some(outcome)).count() as u32;
        let last = slots.iter().find(|slot| slot.slot == plan.last());
        Self {
            slots: plan.slots,
            last: last.and_then(|slot| slot.outcome),
            pass: count(Outcome::Pass),
            late: count(Outcome::Late),
            fail: count(Outcome::Fail),
            dark: count(Outcome::Dark),
            silence_is_theirs: last.is_some_and(|last| silence_is_theirs(policy, &last.tries, elsewhere)),
        }
    }

    /// The same with one more slot over.
    pub fn with(mut self, plan: Plan, slot: u32, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => self.pass += 1,
            Outcome::Late => self.late += 1,
            Outcome::Fail => self.fail += 1,
            Outcome::Dark => self.dark += 1,
            Outcome::NotRun => {}
        }
        if slot == plan.last() {
            self.last = Some(outcome);
        }
        self
    }

    /// The verdict when all slots are over.
    pub fn verdict(self) -> Verdict {
        if self.is_irrevocable() || self.last == Some(Outcome::Fail) || self.is_silent() {
            Verdict::Invalid
        } else if self.last == Some(Outcome::Pass) && self.pass * 2 >= self.slots {
            Verdict::Valid
        } else {
            Verdict::Abstain
        }
    }

    /// Whether the verdict is invalid whatever the slots to come bring.
    pub fn is_irrevocable(self) -> bool {
        self.fail >= 2 || (self.late > 0 && self.late * 2 >= self.slots)
    }

    fn is_silent(self) -> bool {
        let run = self.pass + self.late + self.fail + self.dark;
        self.last == Some(Outcome::Dark) && self.silence_is_theirs && self.dark * 2 >= run
    }
}

fn silence_is_theirs(policy: &Policy, tries: &[Try], elsewhere: &[Elsewhere]) -> bool {
    let mut times = tries.iter().filter_map(|attempt| attempt.asked.first()).map(|asked| asked.chain);
    let (first, last) = (times.next(), times.next_back());
    let meanwhile = |at: ChainTime| Some(at) >= first && Some(at) <= last;
    tries.len() >= policy.dark_tries.max(1) as usize && elsewhere.iter().any(|other| meanwhile(other.at))
}

/// When an unvoted validator may trigger the legacy market's payout, at which each new vote pays again: in one
/// of 64 turns, which bid and address decide.
pub fn payout_turn(plan: Plan, bid: BidId, validator: Address) -> ChainTime {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&bid.0.to_be_bytes());
    let hash = keccak(&[&word, &validator.0]);
    // 64 divides 256, so the last byte alone decides.
    plan.end.plus(u64::from(hash.0[31]) % TURNS * TURN)
}

/// What `me` gains when the bid is settled: whether anything, and from when on it is its turn to ask for it
/// (the hoster at the close, each voter ten minutes later than the one before).
pub fn settle_turn(votes: &[Vote], min_validations: u32, me: Address, close: ChainTime) -> Option<ChainTime> {
    let rank = votes.iter().position(|vote| vote.validator == me)? as u64 + 1;
    let mine = votes.iter().find(|vote| vote.validator == me)?.valid;
    let valid = votes.iter().filter(|vote| vote.valid).count();
    let invalid = votes.len() - valid;
    let decided = votes.len() >= min_validations as usize && valid != invalid;
    let gains = !decided || mine == (valid > invalid);
    gains.then(|| close.plus(rank * TURN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::slot::{Answer, Asked, Purpose};
    use crate::domain::dag;
    use crate::domain::units::WallTime;
    use proptest::prelude::*;
    use Outcome::{Dark, Fail, Late, NotRun, Pass};

    fn slots(outcomes: &[Outcome], tries: &[u64]) -> Vec<Slot> {
        let silent = |at: &u64| Try {
            registration: None,
            drawn: None,
            walked: 0,
            asked: vec![Asked {
                at: WallTime(0),
                chain: ChainTime(*at),
                cid: dag::probe(),
                purpose: Purpose::Probe,
                answer: Answer::Dark { status: None, why: "no answer".into() },
            }],
        };
        let slot = |(n, outcome): (usize, &Outcome)| {
            let mut slot = Slot::new(n as u32, Default::default(), ChainTime(0));
            slot.outcome = Some(*outcome);
            if n + 1 == outcomes.len() {
                slot.tries = tries.iter().map(silent).collect();
            }
            slot
        };
        outcomes.iter().enumerate().map(slot).collect()
    }

    fn verdict(outcomes: &[Outcome], tries: &[u64], elsewhere: &[u64]) -> Verdict {
        let plan = Plan { slots: outcomes.len() as u32, ..Plan::new(ChainTime(0), 86_400) };
        let elsewhere: Vec<Elsewhere> =
            elsewhere.iter().map(|at| Elsewhere { hoster: Address([9; 20]), at: ChainTime(*at) }).collect();
        Tally::of(plan, &Policy::default(), &slots(outcomes, tries), &elsewhere).verdict()
    }

    #[test]
    fn the_table_of_votes() {
        for (outcomes, want) in [
            ([Pass, Pass, Pass, Pass], Verdict::Valid),
            ([NotRun, NotRun, Pass, Pass], Verdict::Valid),
            ([Dark, Dark, Pass, Pass], Verdict::Valid),
            ([Fail, Pass, Pass, Pass], Verdict::Valid),
            ([Late, Pass, Pass, Pass], Verdict::Valid),
            ([NotRun, NotRun, NotRun, Pass], Verdict::Abstain),
            ([Dark, Dark, Dark, Pass], Verdict::Abstain),
            ([Pass, Pass, Pass, NotRun], Verdict::Abstain),
            ([Pass, Pass, Pass, Late], Verdict::Abstain),
            ([Pass, Pass, Pass, Dark], Verdict::Abstain),
            ([NotRun, NotRun, NotRun, NotRun], Verdict::Abstain),
            ([Pass, Pass, Pass, Fail], Verdict::Invalid),
            ([Fail, Fail, Pass, Pass], Verdict::Invalid),
            ([Late, Late, Pass, Pass], Verdict::Invalid),
            ([Late, Fail, Pass, Pass], Verdict::Valid),
        ] {
            assert_eq!(verdict(&outcomes, &[], &[]), want, "{outcomes:?}");
        }
    }

    #[test]
    fn silence_is_invalid_only_after_three_tries_while_another_endpoint_answered() {
        let dark = [Pass, Pass, Dark, Dark];
        for (outcomes, tries, elsewhere, want) in [
            (dark, &[10, 20, 30][..], &[15][..], Verdict::Invalid),
            (dark, &[10, 20, 30], &[10], Verdict::Invalid),
            (dark, &[10, 20, 30], &[30], Verdict::Invalid),
            (dark, &[10, 20, 30], &[9, 31], Verdict::Abstain),
            (dark, &[10, 20, 30], &[], Verdict::Abstain),
            (dark, &[10, 20], &[15], Verdict::Abstain),
            ([Pass, Pass, Pass, Dark], &[10, 20, 30], &[15], Verdict::Abstain),
            ([NotRun, NotRun, Pass, Dark], &[10, 20, 30], &[15], Verdict::Invalid),
            ([NotRun, Dark, Dark, Pass], &[10, 20, 30], &[15], Verdict::Abstain),
        ] {
            assert_eq!(verdict(&outcomes, tries, elsewhere), want, "{outcomes:?} {tries:?} {elsewhere:?}");
        }
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop::sample::select(vec![Pass, Late, Fail, Dark, NotRun])
    }

    proptest! {
        #[test]
        fn what_is_irrevocable_stays_invalid(
            outcomes in prop::collection::vec(outcome(), 4..32), open in 0..32usize,
        ) {
            let plan = Plan { slots: outcomes.len() as u32, ..Plan::new(ChainTime(0), 86_400) };
            let mut some = slots(&outcomes, &[]);
            some.iter_mut().rev().take(open).for_each(|slot| slot.outcome = None);
            if Tally::of(plan, &Policy::default(), &some, &[]).is_irrevocable() {
                prop_assert_eq!(verdict(&outcomes, &[], &[]), Verdict::Invalid);
            }
        }

        #[test]
        fn a_better_slot_never_makes_the_verdict_worse(
            outcomes in prop::collection::vec(outcome(), 4..32), at in 0..32usize,
        ) {
            let better = {
                let mut better = outcomes.clone();
                let at = at % better.len();
                better[at] = Pass;
                better
            };
            let rank = |verdict| match verdict { Verdict::Invalid => 0, Verdict::Abstain => 1, Verdict::Valid => 2 };
            prop_assert!(rank(verdict(&better, &[], &[])) >= rank(verdict(&outcomes, &[], &[])));
        }
    }

    #[test]
    fn the_turn_of_the_legacy_payout_is_spread_over_64_turns() {
        let plan = Plan::new(ChainTime(0), 86_400);
        let turns: std::collections::BTreeSet<u64> =
            (0..2_000).map(|n| payout_turn(plan, BidId(n), Address([7; 20])).since(plan.end)).collect();
        assert_eq!(turns.len(), 64);
        assert_eq!(turns.last(), Some(&(63 * TURN)));
        assert_ne!(
            payout_turn(plan, BidId(1), Address([7; 20])),
            payout_turn(plan, BidId(1), Address([8; 20]))
        );
    }

    #[test]
    fn voters_ask_for_the_money_one_after_another_if_they_gain() {
        let close = ChainTime(1_000);
        let votes = |said: &[bool]| -> Vec<Vote> {
            let vote = |(n, valid): (usize, &bool)| Vote {
                validator: Address([n as u8; 20]),
                valid: *valid,
                paid: false,
            };
            said.iter().enumerate().map(vote).collect()
        };
        let turn = |said: &[bool], me| settle_turn(&votes(said), 2, Address([me; 20]), close).map(|t| t.0);
        assert_eq!(turn(&[true, true, false], 0), Some(1_600));
        assert_eq!(turn(&[true, true, false], 1), Some(2_200));
        assert_eq!(turn(&[true, true, false], 2), None);
        assert_eq!(turn(&[false, true, false], 2), Some(2_800));
        assert_eq!(turn(&[true, false], 1), Some(2_200), "a tie pays every voter");
        assert_eq!(turn(&[true], 0), Some(1_600), "too few votes pay every voter");
        assert_eq!(turn(&[true], 9), None);
    }
}
