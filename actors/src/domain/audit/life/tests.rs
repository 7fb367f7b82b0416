use super::*;
use crate::domain::audit::slot::{Answer, Asked, Purpose, Try};
use crate::domain::audit::vote::payout_turn;
use crate::domain::bid::{SETTLE_AGAIN_AFTER, SETTLE_AGAIN_WITHIN};
use crate::domain::dag;
use crate::domain::market::{Abandonment, Market, Version};
use crate::domain::units::{BidId, BlockHeight, TxHash, WallTime, Wei};
use proptest::prelude::*;

const PINNED: u64 = 1_000_000;
const DAY: u64 = 86_400;
const ME: Address = Address([7; 20]);

fn bid() -> BidKey {
    BidKey { market: Market { chain: 1337, address: Address([1; 20]) }, id: BidId(5) }
}

/// A market, a plan of four slots, and what was learnt.
struct World {
    rules: MarketRules,
    policy: Policy,
    plan: Plan,
    slots: Vec<Slot>,
    elsewhere: Vec<Elsewhere>,
}

impl World {
    fn new(version: Version) -> Self {
        let vote_duration = if version == Version::V2 { DAY } else { 0 };
        let rules = MarketRules { version, accept_hold: 900, vote_duration };
        let plan = Plan::new(ChainTime(PINNED), 4 * DAY);
        let due = |slot| plan.stratum(slot).from.plus(plan.tail / 2);
        let slots = (0..plan.slots).map(|slot| Slot::new(slot, Digest::default(), due(slot))).collect();
        Self { rules, policy: Policy::default(), plan, slots, elsewhere: vec![] }
    }

    fn case(&self) -> Case<'_> {
        Case {
            bid: bid(),
            me: ME,
            rules: &self.rules,
            policy: &self.policy,
            plan: Some(self.plan),
            slots: &self.slots,
            elsewhere: &self.elsewhere,
            jitter: 600,
        }
    }

    fn step(&self, stage: &Stage, event: Event, at: ChainTime) -> Step {
        step(stage, &event, self.case(), Now { head: at, deep: at })
    }

    /// Keeps what the actor would keep.
    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Close { slot, outcome } = effect {
                self.slots[*slot as usize].outcome = Some(*outcome);
            }
        }
    }

    /// Lives through the slots with these outcomes of their runs; `None` is a node that was not there.
    fn live(&mut self, runs: &[Option<Standing>]) -> (Stage, ChainTime) {
        let mut stage = self.step(&Stage::Due, Event::Qualified(Ok(())), self.plan.pinned_at).next;
        let mut at = self.plan.pinned_at;
        for (slot, run) in runs.iter().enumerate() {
            let slot = slot as u32;
            if !matches!(stage, Stage::Watching { slot: s, .. } if s == slot) {
                break;
            }
            let Some(run) = run else {
                at = self.plan.closes(slot, self.policy.grace);
                let missed = self.step(&stage, Event::Tick, at);
                self.keep(&missed.effects);
                stage = missed.next;
                continue;
            };
            at = self.slots[slot as usize].due;
            let run_it = self.step(&stage, Event::Tick, at);
            assert_eq!(run_it.effects, [Effect::Run { slot }]);
            let ran = self.step(&run_it.next, Event::Tried(run.clone()), at);
            self.keep(&ran.effects);
            stage = ran.next;
        }
        (stage, at)
    }
}

fn mined(events: Vec<MarketEvent>) -> Execution {
    Execution::Mined {
        tx: TxHash::default(),
        block: BlockHeight(1),
        time: ChainTime(1),
        gas: 1,
        cost: Wei::ZERO,
        events,
    }
}

fn my_vote(valid: bool) -> MarketEvent {
    MarketEvent::Voted { bid: BidId(5), validator: ME, valid }
}

fn passed(n: usize) -> Vec<Option<Standing>> {
    vec![Some(Standing::Passed); n]
}

fn silent_try(at: ChainTime) -> Try {
    let asked = Asked {
        at: WallTime(0),
        chain: at,
        cid: dag::probe(),
        purpose: Purpose::Probe,
        answer: Answer::Dark { status: None, why: "no answer".into() },
    };
    Try { registration: None, drawn: None, walked: 0, asked: vec![asked] }
}

#[test]
fn an_honest_hoster_gets_a_valid_vote_behind_the_end_and_the_voter_its_share() {
    let mut world = World::new(Version::V2);
    let (stage, _) = world.live(&passed(4));
    let end = world.plan.end;
    assert_eq!(stage, Stage::Decided { verdict: Verdict::Valid, vote_at: end.plus(600) });
    assert_eq!(world.step(&stage, Event::Tick, end.plus(599)).effects, []);
    let testify = world.step(&stage, Event::Tick, end.plus(600));
    assert_eq!(testify.effects, [Effect::Testify { verdict: Verdict::Valid }]);

    let evidence = Digest([9; 32]);
    let voting = world.step(&testify.next, Event::Testified(evidence), end.plus(600));
    let deadline = Some(end.plus(DAY - 3_600));
    let vote = Effect::Vote { valid: true, evidence, deadline };
    assert_eq!(voting.effects, std::slice::from_ref(&vote));
    assert_eq!(resume(&voting.next, world.case()), [vote]);

    let voted = world.step(&voting.next, Event::VoteEnded(mined(vec![my_vote(true)])), end.plus(700));
    let close = end.plus(DAY);
    assert_eq!(voted.next.wakes_at(), Some(close));
    let look = world.step(&voted.next, Event::Tick, close);
    assert_eq!(look.effects, [Effect::LookAtBid]);
    let seen = Event::BidSeen { settled: None, turn: Some(close.plus(600)) };
    let waits = world.step(&look.next, seen.clone(), close);
    assert_eq!((waits.next.wakes_at(), waits.effects), (Some(close.plus(600)), vec![]));
    let asks = world.step(&waits.next, seen, close.plus(600));
    assert_eq!(asks.effects, [Effect::Settle { attempt: 0 }]);
    assert_eq!(resume(&asks.next, world.case()), [Effect::Settle { attempt: 0 }]);
    let paid = world.step(&asks.next, Event::Settled(Settlement::Paid), close.plus(700)).next;
    let payout = Payout::Settled { how: Settlement::Paid, attempt: 0 };
    assert_eq!(paid, Stage::Voted { valid: true, evidence, payout });
}

#[test]
fn a_second_failure_is_voted_on_at_once() {
    let mut world = World::new(Version::V2);
    let failed = Some(Standing::Failed);
    let (stage, at) = world.live(&[failed.clone(), Some(Standing::Passed), failed]);
    assert_eq!(stage, Stage::Decided { verdict: Verdict::Invalid, vote_at: at });
    let testify = world.step(&stage, Event::Tick, at);
    assert_eq!(testify.effects, [Effect::Testify { verdict: Verdict::Invalid }]);
}

#[test]
fn what_is_missing_is_asked_for_again_before_it_counts() {
    let world = World::new(Version::V2);
    let at = world.slots[0].due;
    let cid = dag::probe();
    let contained =
        world.step(&Stage::Challenging { slot: 0 }, Event::Tried(Standing::Contained(vec![cid])), at);
    assert_eq!(contained.next, Stage::Contained { slot: 0, recheck_at: at.plus(3_600) });
    assert_eq!(world.step(&contained.next, Event::Tick, at.plus(3_599)).effects, []);
    let recheck = world.step(&contained.next, Event::Tick, at.plus(3_600));
    assert_eq!(recheck.effects, [Effect::Recheck { slot: 0 }]);
    for (standing, outcome) in [(Standing::Late, Outcome::Late), (Standing::Failed, Outcome::Fail)] {
        let over = world.step(&contained.next, Event::Rechecked(standing), at.plus(3_600));
        assert_eq!(over.effects, [Effect::Close { slot: 0, outcome }]);
    }
    let silent = world.step(&contained.next, Event::Rechecked(Standing::Dark), at.plus(3_600));
    assert_eq!(silent.next, Stage::Contained { slot: 0, recheck_at: at.plus(4_500) });
    let much_later = world.plan.end.plus(world.policy.grace);
    let never = world.step(&contained.next, Event::Tick, much_later);
    assert_eq!(never.effects, [Effect::Close { slot: 0, outcome: Outcome::NotRun }]);
}

#[test]
fn silence_is_tried_three_times_in_a_slot_and_to_the_end_in_the_last() {
    let mut world = World::new(Version::V2);
    let dark = || Event::Tried(Standing::Dark);
    for slot in [0, world.plan.last()] {
        let mut at = world.slots[slot as usize].due;
        let mut tried = 0;
        let outcome = loop {
            world.slots[slot as usize].tries.push(silent_try(at));
            tried += 1;
            let after = world.step(&Stage::Challenging { slot }, dark(), at);
            if let [Effect::Close { outcome, .. }] = after.effects[..] {
                break outcome;
            }
            at = after.next.wakes_at().unwrap();
            let tick = world.step(&after.next, Event::Tick, at);
            if let [Effect::Close { outcome, .. }] = tick.effects[..] {
                break outcome;
            }
            assert_eq!(tick.effects, [Effect::Run { slot }]);
        };
        assert_eq!(outcome, Outcome::Dark);
        assert!(if slot == 0 { tried == 3 } else { tried >= 3 }, "{slot}: {tried}");
        assert!(slot == 0 || at >= world.plan.end);
    }
}

#[test]
fn slots_that_a_stopped_node_missed_are_not_run_late() {
    let mut world = World::new(Version::V2);
    let (stage, _) = world.live(&[None, None, None, Some(Standing::Passed)]);
    let outcomes: Vec<_> = world.slots.iter().map(|slot| slot.outcome.unwrap()).collect();
    assert_eq!(outcomes, [Outcome::NotRun, Outcome::NotRun, Outcome::NotRun, Outcome::Pass]);
    assert!(matches!(stage, Stage::Decided { verdict: Verdict::Abstain, .. }));
    let over = world.step(&stage, Event::Testified(Digest::default()), world.plan.end);
    assert!(matches!(over.next, Stage::Abstained { .. }));
    assert_eq!(over.effects, []);
}

#[test]
fn a_vote_that_comes_too_late_is_not_sent() {
    let mut world = World::new(Version::V2);
    let (stage, _) = world.live(&passed(4));
    let late = world.plan.end.plus(DAY - 3_600);
    assert!(matches!(world.step(&stage, Event::Tick, late).next, Stage::Abstained { .. }));
}

#[test]
fn on_the_legacy_market_the_vote_is_out_before_the_end() {
    let mut world = World::new(Version::Legacy);
    let (stage, _) = world.live(&passed(4));
    let vote_at = world.plan.end.minus(world.plan.tail / 2);
    assert_eq!(stage, Stage::Decided { verdict: Verdict::Valid, vote_at });
    assert_eq!(world.step(&stage, Event::Tick, vote_at.minus(1)).effects, []);
    let testify = world.step(&stage, Event::Tick, vote_at);
    assert_eq!(testify.effects, [Effect::Testify { verdict: Verdict::Valid }]);
    let voting = world.step(&testify.next, Event::Testified(Digest::default()), vote_at);
    let Effect::Vote { deadline: Some(deadline), .. } = voting.effects[0] else { panic!("no deadline") };
    assert!(vote_at < deadline && deadline < world.plan.end);
    let voted = world.step(&voting.next, Event::VoteEnded(mined(vec![my_vote(true)])), vote_at);
    assert!(matches!(voted.next, Stage::Voted { payout: Payout::NotOurs, .. }));
}

#[test]
fn behind_the_end_a_legacy_vote_is_cast_in_its_turn_and_only_if_nobody_is_paid() {
    let mut world = World::new(Version::Legacy);
    let (stage, _) = world.live(&passed(4));
    let turn = payout_turn(world.plan, bid().id, ME);
    for early in [world.plan.end, turn.minus(1)] {
        assert!(early >= turn || world.step(&stage, Event::Tick, early).effects.is_empty());
    }
    let look = world.step(&stage, Event::Tick, turn);
    assert_eq!(look.effects, [Effect::LookForPayout]);
    let paid = world.step(&look.next, Event::PayoutSeen { paid: true }, turn);
    assert!(matches!(paid.next, Stage::Abstained { .. }));
    let unpaid = world.step(&look.next, Event::PayoutSeen { paid: false }, turn);
    assert_eq!(unpaid.effects, [Effect::Testify { verdict: Verdict::Valid }]);
    let voting = world.step(&unpaid.next, Event::Testified(Digest::default()), turn);
    assert!(matches!(voting.effects[..], [Effect::Vote { valid: true, deadline: None, .. }]));
}

#[test]
fn an_invalid_vote_behind_the_end_of_a_legacy_bid_would_pay_the_hoster_and_is_not_cast() {
    let mut world = World::new(Version::Legacy);
    let runs = [passed(3), vec![Some(Standing::Failed)]].concat();
    let (stage, _) = world.live(&runs);
    assert!(matches!(stage, Stage::Decided { verdict: Verdict::Invalid, .. }));
    assert!(matches!(world.step(&stage, Event::Tick, world.plan.end).next, Stage::Abstained { .. }));
}

#[test]
fn a_vote_that_did_not_count_is_never_sent_again() {
    let world = World::new(Version::V2);
    let voting = Stage::Voting { valid: true, evidence: Digest::default() };
    let somebody = MarketEvent::Voted { bid: BidId(5), validator: Address([8; 20]), valid: true };
    for execution in [
        mined(vec![]),
        mined(vec![somebody]),
        Execution::Reverted { tx: TxHash::default(), cost: Wei::ZERO },
        Execution::Abandoned { reason: Abandonment::TooLate },
    ] {
        let over = world.step(&voting, Event::VoteEnded(execution), world.plan.end);
        assert!(matches!(over.next, Stage::Abstained { .. }), "{over:?}");
        assert_eq!(over.effects, []);
    }
}

#[test]
fn a_reorg_takes_the_announcement_back_until_a_vote_is_out() {
    let world = World::new(Version::V2);
    let pinned = MarketEvent::Pinned { bid: BidId(5), hoster: Address([2; 20]), file: Default::default() };
    let gone = world.step(
        &Stage::Watching { slot: 1, due: ChainTime(0) },
        Event::Retracted(pinned.clone()),
        ChainTime(PINNED),
    );
    assert_eq!(gone.next, Stage::Skipped { reason: Skip::Retracted });
    let again = world.step(&gone.next, Event::Announced, ChainTime(PINNED));
    assert_eq!((again.next, again.effects), (Stage::Due, vec![Effect::Qualify]));
    let voting = Stage::Voting { valid: true, evidence: Digest::default() };
    assert_eq!(world.step(&voting, Event::Retracted(pinned), ChainTime(PINNED)).next, voting);
}

fn paying(payout: Payout) -> Stage {
    Stage::Voted { valid: true, evidence: Digest::default(), payout }
}

fn settlement() -> MarketEvent {
    let zero = Wei::ZERO;
    let outcome = Settlement::Paid;
    MarketEvent::Settled { bid: BidId(5), outcome, hoster: zero, validators: zero, bidder: zero }
}

#[test]
fn a_settle_that_came_to_nothing_is_tried_anew_under_a_key_of_its_own_once_the_bid_was_looked_at() {
    let world = World::new(Version::V2);
    let mut at = world.plan.end.plus(DAY);
    let mut stage = paying(Payout::Asked { attempt: 0 });
    for attempt in 1..40 {
        let execution = match attempt % 3 {
            0 => mined(vec![]),
            1 => Execution::Reverted { tx: TxHash::default(), cost: Wei::ZERO },
            _ => Execution::Abandoned { reason: Abandonment::WouldRevert("too early".into()) },
        };
        let waiting = world.step(&stage, Event::SettleEnded { attempt: attempt - 1, execution }, at);
        assert_eq!(waiting.effects, []);
        let again = waiting.next.wakes_at().unwrap();
        assert!(again.since(at) >= SETTLE_AGAIN_AFTER && again.since(at) <= SETTLE_AGAIN_WITHIN);
        assert_eq!(world.step(&waiting.next, Event::Tick, again.minus(1)).effects, []);
        assert_eq!(world.step(&waiting.next, Event::Tick, again).effects, [Effect::LookAtBid]);
        at = again;
        let asked = world.step(&waiting.next, Event::BidSeen { settled: None, turn: Some(at) }, at);
        assert_eq!(asked.effects, [Effect::Settle { attempt }]);
        assert_eq!(resume(&asked.next, world.case()), [Effect::Settle { attempt }]);
        stage = asked.next;
    }
    let paid = Event::SettleEnded { attempt: 39, execution: mined(vec![settlement()]) };
    let paid = world.step(&stage, paid, at).next;
    assert_eq!(paid, paying(Payout::Settled { how: Settlement::Paid, attempt: 39 }));
}

#[test]
fn a_settle_that_somebody_else_forestalled_is_not_the_one_that_a_reorg_makes_necessary() {
    let world = World::new(Version::V2);
    let at = world.plan.end.plus(DAY);
    let told = Event::Settled(Settlement::Paid);
    let execution = Execution::Reverted { tx: TxHash::default(), cost: Wei::ZERO };
    let ended = Event::SettleEnded { attempt: 0, execution };
    let gone = Event::Retracted(settlement());
    for events in [[&told, &ended, &gone], [&ended, &told, &gone], [&told, &gone, &ended]] {
        let asked = paying(Payout::Asked { attempt: 0 });
        let open = events.iter().fold(asked, |stage, event| world.step(&stage, (*event).clone(), at).next);
        assert_eq!(world.step(&open, Event::Tick, at).effects, [Effect::LookAtBid]);
        let again = world.step(&open, Event::BidSeen { settled: None, turn: Some(at) }, at);
        assert_eq!(again.effects, [Effect::Settle { attempt: 1 }]);
        let told_again = world.step(&again.next, ended.clone(), at);
        assert_eq!(told_again.next, again.next, "the second try is under way");
    }
}

#[test]
fn a_payout_that_was_written_down_before_tries_were_counted_is_read() {
    for (old, now) in [
        (r#"{"payout":"asked"}"#, Payout::Asked { attempt: 0 }),
        (r#"{"payout":"waiting","look_at":7}"#, Payout::Waiting { look_at: ChainTime(7), attempt: 0 }),
        (r#"{"payout":"settled","how":"paid"}"#, Payout::Settled { how: Settlement::Paid, attempt: 0 }),
    ] {
        assert_eq!(serde_json::from_str::<Payout>(old).unwrap(), now);
    }
}

fn event() -> impl Strategy<Value = Event> {
    let standing = prop::sample::select(vec![
        Standing::Passed,
        Standing::Late,
        Standing::Failed,
        Standing::Dark,
        Standing::Contained(vec![dag::probe()]),
    ]);
    let executions = prop::sample::select(vec![
        mined(vec![my_vote(true)]),
        mined(vec![]),
        Execution::Abandoned { reason: Abandonment::Cancelled },
    ]);
    let pinned = MarketEvent::Pinned { bid: BidId(5), hoster: Address([2; 20]), file: Default::default() };
    prop_oneof![
        8 => Just(Event::Tick),
        4 => standing.clone().prop_map(Event::Tried),
        2 => standing.prop_map(Event::Rechecked),
        1 => Just(Event::Announced),
        1 => Just(Event::Qualified(Ok(()))),
        2 => any::<[u8; 32]>().prop_map(|digest| Event::Testified(Digest(digest))),
        1 => any::<bool>().prop_map(|paid| Event::PayoutSeen { paid }),
        1 => executions.clone().prop_map(Event::VoteEnded),
        2 => (0..4u32, executions).prop_map(|(attempt, execution)| Event::SettleEnded { attempt, execution }),
        2 => (0..40 * DAY).prop_map(|turn| Event::BidSeen { settled: None, turn: Some(ChainTime(turn)) }),
        1 => Just(Event::Settled(Settlement::Paid)),
        1 => Just(Event::Retracted(pinned)),
        1 => Just(Event::Retracted(settlement())),
    ]
}

proptest! {
    /// I7: whatever happens in whatever order, at most one vote is wanted, and only right behind its evidence.
    #[test]
    fn one_vote_per_bid_for_ever_and_never_without_evidence(
        legacy in any::<bool>(),
        events in prop::collection::vec((event(), 0..DAY), 1..120),
    ) {
        let mut world = World::new(if legacy { Version::Legacy } else { Version::V2 });
        let mut stage = Stage::Placed;
        let mut at = world.plan.pinned_at;
        let mut votes = 0;
        let mut was_taken_back = false;
        let mut settles = std::collections::BTreeSet::new();
        for (event, pause) in events {
            at = at.plus(pause / 4);
            let after = world.step(&stage, event.clone(), at);
            world.keep(&after.effects);
            was_taken_back |= matches!(&event, Event::Retracted(MarketEvent::Settled { .. }));
            for effect in &after.effects {
                if let Effect::Vote { evidence, .. } = effect {
                    votes += 1;
                    prop_assert_eq!(&event, &Event::Testified(*evidence));
                }
                if let Effect::Settle { attempt } = effect {
                    prop_assert!(settles.insert(*attempt) || was_taken_back, "try {} is wanted twice", attempt);
                    was_taken_back = false;
                }
            }
            stage = after.next;
        }
        prop_assert!(votes <= 1);
    }

    /// Time alone brings every audit to an end, so that none is watched for ever.
    #[test]
    fn a_node_that_only_watches_the_clock_ends_every_audit(
        legacy in any::<bool>(), pauses in prop::collection::vec(1..DAY, 300),
    ) {
        let mut world = World::new(if legacy { Version::Legacy } else { Version::V2 });
        let mut stage = world.step(&Stage::Due, Event::Qualified(Ok(())), world.plan.pinned_at).next;
        let mut at = world.plan.pinned_at;
        for pause in pauses {
            at = at.plus(pause);
            let after = world.step(&stage, Event::Tick, at);
            world.keep(&after.effects);
            stage = after.next;
            if matches!(after.effects[..], [Effect::Testify { .. }]) {
                stage = world.step(&stage, Event::Testified(Digest::default()), at).next;
            }
        }
        prop_assert!(stage.is_over(), "{:?}", stage);
    }
}
