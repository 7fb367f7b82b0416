//! The life of a bid, as tables and properties.

use proptest::prelude::*;

use super::*;
use crate::domain::market::{Abandonment, Version};
use crate::domain::units::{BlockHeight, ByteSize, FileHash, TxHash, Wei};

const ME: Address = Address([1; 20]);
const OTHER: Address = Address([2; 20]);
const BID: BidId = BidId(7);
const FILE: FileHash = FileHash([3; 32]);

fn terms() -> BidTerms {
    BidTerms {
        bidder: OTHER,
        file: FILE,
        size: ByteSize(1 << 20),
        amount: Wei::from(10),
        pool: Wei::from(4),
        duration: 1_000,
        min_validations: 2,
    }
}

fn rules(version: Version) -> MarketRules {
    let vote_duration = match version {
        Version::V2 => 100,
        Version::Legacy => 0,
    };
    MarketRules { version, accept_hold: 900, vote_duration }
}

fn mined(time: u64, events: Vec<MarketEvent>) -> Execution {
    Execution::Mined {
        tx: TxHash([9; 32]),
        block: BlockHeight(1),
        time: ChainTime(time),
        gas: 1,
        cost: Wei::from(1),
        events,
    }
}

fn accepted_by(hoster: Address, when: u64) -> MarketEvent {
    MarketEvent::Accepted { bid: BID, when: ChainTime(when), hoster }
}

fn pinned_by(hoster: Address) -> MarketEvent {
    MarketEvent::Pinned { bid: BID, hoster, file: FILE }
}

fn settled(outcome: Settlement) -> MarketEvent {
    MarketEvent::Settled { bid: BID, outcome, hoster: Wei::ZERO, validators: Wei::ZERO, bidder: Wei::ZERO }
}

fn vote() -> MarketEvent {
    MarketEvent::Voted { bid: BID, validator: OTHER, valid: true }
}

fn go(stage: &Stage, event: &Event, version: Version, now: u64) -> Step {
    let (terms, rules) = (terms(), rules(version));
    step(stage, event, Case { bid: BID, terms: &terms, rules: &rules, me: ME }, ChainTime(now))
}

#[test]
fn a_bid_is_carried_from_admission_to_release() {
    let script = [
        (Event::Start, 10, "accepting"),
        (Event::AcceptEnded(mined(20, vec![accepted_by(ME, 20)])), 21, "fetching"),
        (Event::Tick, 100, "fetching"),
        (Event::Fetched, 200, "announcing"),
        (Event::AnnounceEnded(mined(210, vec![pinned_by(ME)])), 211, "hosting"),
        (Event::Tick, 1_209, "hosting"),
        (Event::Tick, 1_310, "settling"),
        (Event::Told(settled(Settlement::Paid), ChainTime(1_311)), 1_312, "released"),
    ];
    let mut stage = Stage::Admitted { not_before: ChainTime(0), attempt: 0 };
    for (event, now, want) in script {
        stage = go(&stage, &event, Version::V2, now).next;
        assert_eq!(stage.name(), want, "{event:?}");
    }
    assert_eq!(stage, Stage::Released { how: Some(Settlement::Paid), attempt: 0 });
}

#[test]
fn a_mined_accept_counts_only_if_its_events_name_us() {
    let accepting = Stage::Accepting { attempt: 0 };
    let table = [
        (mined(20, vec![accepted_by(ME, 20)]), "fetching"),
        (mined(20, vec![accepted_by(OTHER, 20)]), "lost"),
        (mined(20, vec![]), "lost"),
        (mined(20, vec![MarketEvent::AcceptWait { seconds: 300 }]), "admitted"),
        (Execution::Reverted { tx: TxHash([9; 32]), cost: Wei::from(1) }, "admitted"),
        (Execution::Abandoned { reason: Abandonment::WouldRevert("unknown bid".into()) }, "admitted"),
        (Execution::Abandoned { reason: Abandonment::Cancelled }, "failed"),
    ];
    for (execution, want) in table {
        let step = go(&accepting, &Event::AcceptEnded(execution.clone()), Version::V2, 30);
        assert_eq!(step.next.name(), want, "{execution:?}");
    }
}

#[test]
fn somebody_elses_hold_is_waited_for_and_its_meaning_differs_between_the_markets() {
    let accepting = Stage::Accepting { attempt: 0 };
    let wait = Event::AcceptEnded(mined(20, vec![MarketEvent::AcceptWait { seconds: 300 }]));
    for (version, not_before) in [(Version::V2, 320), (Version::Legacy, 620)] {
        let next = go(&accepting, &wait, version, 30).next;
        assert_eq!(next, Stage::Admitted { not_before: ChainTime(not_before), attempt: 1 });
        assert_eq!(go(&next, &Event::Start, version, not_before - 1).next, next);
        assert_eq!(go(&next, &Event::Start, version, not_before).next, Stage::Accepting { attempt: 1 });
    }
}

#[test]
fn an_announcement_counts_only_if_its_events_name_us() {
    let announcing = Stage::Announcing { hold_until: ChainTime(900), attempt: 0 };
    let stranger = MarketEvent::NotAcceptedByPinner { bid: BID, hoster: OTHER };
    let table = [
        (mined(20, vec![pinned_by(ME)]), 30, "hosting"),
        (mined(20, vec![stranger]), 30, "lost"),
        (mined(20, vec![]), 30, "failed"),
        (Execution::Abandoned { reason: Abandonment::TooLate }, 901, "admitted"),
        (Execution::Abandoned { reason: Abandonment::TooLate }, 899, "admitted"),
        (Execution::Abandoned { reason: Abandonment::WouldRevert("already pinned".into()) }, 30, "admitted"),
        (Execution::Abandoned { reason: Abandonment::Cancelled }, 30, "failed"),
    ];
    for (execution, now, want) in table {
        let step = go(&announcing, &Event::AnnounceEnded(execution.clone()), Version::V2, now);
        assert_eq!(step.next.name(), want, "{execution:?}");
    }
}

#[test]
fn an_announcement_that_came_too_late_is_followed_by_another_accept_once_the_hold_is_over() {
    let announcing = Stage::Announcing { hold_until: ChainTime(900), attempt: 0 };
    let late = Event::AnnounceEnded(Execution::Abandoned { reason: Abandonment::TooLate });
    for (now, not_before) in [(880, 900), (900, 900), (905, 905)] {
        let next = go(&announcing, &late, Version::V2, now).next;
        assert!(matches!(next, Stage::Admitted { attempt: 1, .. }), "{next:?}");
        assert_eq!(go(&next, &Event::Start, Version::V2, not_before).next, Stage::Accepting { attempt: 1 });
        assert_eq!(go(&next, &Event::Start, Version::V2, 899).next, next, "our own hold is in the way");
    }
}

#[test]
fn a_hold_that_lapses_is_accepted_again_but_not_for_ever() {
    let mut stage = Stage::Fetching { hold_until: ChainTime(900), attempt: 0 };
    let mut accepts = 1;
    while let Stage::Fetching { hold_until, .. } = stage {
        let lapsed = go(&stage, &Event::Tick, Version::V2, hold_until.0).next;
        let again = go(&lapsed, &Event::Start, Version::V2, hold_until.0).next;
        if again == lapsed {
            stage = lapsed;
            break;
        }
        accepts += 1;
        let held = Event::AcceptEnded(mined(hold_until.0, vec![accepted_by(ME, hold_until.0)]));
        stage = go(&again, &held, Version::V2, hold_until.0 + 1).next;
    }
    assert_eq!((accepts, stage), (MAX_ACCEPTS, Stage::Failed { reason: Failure::HoldExpired }));
}

#[test]
fn another_hosters_announcement_ends_ours_and_nothing_that_is_over_begins_again() {
    let live = [
        Stage::Admitted { not_before: ChainTime(0), attempt: 0 },
        Stage::Accepting { attempt: 0 },
        Stage::Fetching { hold_until: ChainTime(900), attempt: 0 },
        Stage::Announcing { hold_until: ChainTime(900), attempt: 0 },
    ];
    for stage in live {
        let step = go(&stage, &Event::Told(pinned_by(OTHER), ChainTime(1)), Version::V2, 2);
        assert_eq!(step.next, Stage::Lost { to: Some(OTHER) });
        assert!(step.effects.contains(&Effect::LetGo));
    }
}

#[test]
fn on_the_legacy_market_only_a_vote_after_the_end_pays_and_nobody_settles() {
    let hosting = Stage::Hosting {
        pinned_at: ChainTime(0),
        end: ChainTime(1_000),
        close: ChainTime(1_000),
        attempt: 0,
    };
    let early = go(&hosting, &Event::Told(vote(), ChainTime(999)), Version::Legacy, 999);
    assert_eq!(early.next, hosting);
    let over = go(&hosting, &Event::Tick, Version::Legacy, 1_000);
    assert_eq!((over.next.name(), over.effects), ("settling", vec![]));
    assert_eq!(resume(&over.next), [Effect::Keep], "not after a restart either");
    let paid = go(&over.next, &Event::Told(vote(), ChainTime(1_001)), Version::Legacy, 1_002);
    assert_eq!(paid.next, Stage::Released { how: Some(Settlement::Paid), attempt: 0 });
    let never = go(&over.next, &Event::Tick, Version::Legacy, 1_000 + LEGACY_PATIENCE);
    assert_eq!(never.next, Stage::Released { how: None, attempt: 0 });
}

#[test]
fn a_reorg_that_removes_the_bid_or_its_settlement_is_followed() {
    let placed = MarketEvent::BidPlaced {
        bid: BID,
        bidder: OTHER,
        amount: Wei::ZERO,
        pool: Wei::ZERO,
        file: FILE,
        size: ByteSize(1),
    };
    let gone = |stage: &Stage| go(stage, &Event::Retracted(placed.clone()), Version::V2, 5);
    let unspent = gone(&Stage::Admitted { not_before: ChainTime(0), attempt: 0 });
    assert_eq!(unspent.next, Stage::Failed { reason: Failure::Retracted });
    let fetching = Stage::Fetching { hold_until: ChainTime(900), attempt: 0 };
    assert_eq!(gone(&fetching).next, fetching, "its transaction and ours are mined again");
    let other = go(&fetching, &Event::Told(placed.clone(), ChainTime(6)), Version::V2, 7);
    assert_eq!(other.next, Stage::Failed { reason: Failure::Retracted }, "the number is another bid's now");
    assert_eq!(other.effects, vec![Effect::StopFetch, Effect::LetGo]);

    let released = Stage::Released { how: Some(Settlement::Paid), attempt: 0 };
    let again = go(&released, &Event::Retracted(settled(Settlement::Paid)), Version::V2, 5);
    assert_eq!(again.next.name(), "settling");
    assert!(again.effects.contains(&Effect::Keep), "what is not paid yet is kept");
}

#[test]
fn what_a_reorg_mines_anew_counts_from_there() {
    let fetching = Stage::Fetching { hold_until: ChainTime(900), attempt: 1 };
    let accept = Event::AcceptEnded(mined(40, vec![accepted_by(ME, 40)]));
    let later = go(&fetching, &accept, Version::V2, 50).next;
    assert_eq!(later, Stage::Fetching { hold_until: ChainTime(40 + 900), attempt: 1 });

    let hosting = Stage::Hosting {
        pinned_at: ChainTime(10),
        end: ChainTime(1_010),
        close: ChainTime(1_110),
        attempt: 0,
    };
    let pinned = Event::AnnounceEnded(mined(70, vec![pinned_by(ME)]));
    let later = go(&hosting, &pinned, Version::V2, 80).next;
    assert_eq!(
        later,
        Stage::Hosting {
            pinned_at: ChainTime(70),
            end: ChainTime(1_070),
            close: ChainTime(1_170),
            attempt: 0
        }
    );
    let reverted = Event::AnnounceEnded(Execution::Reverted { tx: TxHash([9; 32]), cost: Wei::from(1) });
    let step = go(&hosting, &reverted, Version::V2, 80);
    assert_eq!(step.next, Stage::Admitted { not_before: ChainTime(80 + ACCEPT_AGAIN_AFTER), attempt: 1 });
}

#[test]
fn what_the_market_did_not_take_is_accepted_anew_after_a_while_but_not_for_ever() {
    let reverted = Event::AcceptEnded(Execution::Reverted { tx: TxHash([9; 32]), cost: Wei::from(1) });
    let mut now = 100;
    for attempt in 0..MAX_ACCEPTS - 1 {
        let waiting = go(&Stage::Accepting { attempt }, &reverted, Version::V2, now).next;
        assert_eq!(go(&waiting, &Event::Start, Version::V2, now + ACCEPT_AGAIN_AFTER - 1).next, waiting);
        now += ACCEPT_AGAIN_AFTER;
        let accepting = Stage::Accepting { attempt: attempt + 1 };
        assert_eq!(go(&waiting, &Event::Start, Version::V2, now).next, accepting);
    }
    let last = go(&Stage::Accepting { attempt: MAX_ACCEPTS - 1 }, &reverted, Version::V2, now);
    assert_eq!(last.next.name(), "failed");
    assert!(last.effects.contains(&Effect::LetGo), "nobody pays for it");
}

#[test]
fn an_accept_that_was_never_sent_costs_nothing_and_is_tried_for_longer() {
    let refused = Execution::Abandoned { reason: Abandonment::WouldRevert("unknown bid".into()) };
    let announcing = Stage::Announcing { hold_until: ChainTime(900), attempt: 0 };
    let unheard = Event::AnnounceEnded(refused.clone());
    let waiting = Stage::Admitted { not_before: ChainTime(100 + ACCEPT_AGAIN_AFTER), attempt: 1 };
    assert_eq!(go(&announcing, &unheard, Version::V2, 100).next, waiting);
    let refused = Event::AcceptEnded(refused);
    let (mut stage, mut now, mut tries) = (Stage::Accepting { attempt: 0 }, 100, 1);
    while let Stage::Admitted { not_before, .. } = go(&stage, &refused, Version::V2, now).next {
        assert!(not_before.0 >= now + ACCEPT_AGAIN_AFTER);
        let waiting = go(&stage, &refused, Version::V2, now).next;
        now = not_before.0;
        stage = go(&waiting, &Event::Start, Version::V2, now).next;
        tries += 1;
    }
    assert!(tries > MAX_ACCEPTS && tries <= MAX_UNSENT, "{tries}");
    assert!(now > 100 + 6 * 3_600 && now < 100 + 24 * 3_600, "an outage of some hours is survived: {now}");
}

fn too_early() -> Event {
    Event::SettleEnded(Execution::Abandoned { reason: Abandonment::WouldRevert("too early".into()) })
}

#[test]
fn a_settle_that_came_to_nothing_is_tried_anew_under_a_key_of_its_own_and_ever_more_seldom() {
    let mut stage = Stage::Settling { close: ChainTime(100), settle: Settle::Asked { attempt: 0 } };
    let mut now = 200;
    for attempt in 1..40 {
        let waiting = go(&stage, &too_early(), Version::V2, now).next;
        let Stage::Settling { settle: Settle::Again { not_before, .. }, .. } = waiting else {
            panic!("{waiting:?}")
        };
        assert!(not_before.0 - now >= SETTLE_AGAIN_AFTER && not_before.0 - now <= SETTLE_AGAIN_WITHIN);
        assert_eq!(resume(&waiting), [Effect::Keep], "nothing is sent before its time");
        let early = go(&waiting, &Event::Tick, Version::V2, not_before.0 - 1);
        assert_eq!((&early.next, early.effects), (&waiting, vec![]));
        now = not_before.0;
        let again = go(&waiting, &Event::Tick, Version::V2, now);
        assert_eq!(again.effects, [Effect::Settle { attempt }]);
        assert_eq!(resume(&again.next), [Effect::Keep, Effect::Settle { attempt }]);
        stage = again.next;
    }
    let paid = go(&stage, &Event::Told(settled(Settlement::Paid), ChainTime(now)), Version::V2, now);
    assert_eq!(paid.next, Stage::Released { how: Some(Settlement::Paid), attempt: 39 });
}

#[test]
fn a_settle_that_somebody_else_forestalled_is_not_the_one_that_a_reorg_makes_necessary() {
    let settling = Stage::Settling { close: ChainTime(100), settle: Settle::Asked { attempt: 0 } };
    let told = Event::Told(settled(Settlement::Paid), ChainTime(110));
    let reverted = Event::SettleEnded(Execution::Reverted { tx: TxHash([9; 32]), cost: Wei::from(1) });
    for events in [[&told, &reverted], [&reverted, &told]] {
        let released =
            events.iter().fold(settling.clone(), |stage, event| go(&stage, event, Version::V2, 120).next);
        let again = go(&released, &Event::Retracted(settled(Settlement::Paid)), Version::V2, 130);
        assert_eq!(again.effects, [Effect::Keep, Effect::Settle { attempt: 1 }]);
    }
}

#[test]
fn a_settle_that_did_it_waits_for_the_chain_to_tell() {
    let settling = Stage::Settling { close: ChainTime(100), settle: Settle::Asked { attempt: 2 } };
    let ended = Event::SettleEnded(mined(110, vec![settled(Settlement::Paid)]));
    assert_eq!(go(&settling, &ended, Version::V2, 120).next, settling);
    let without_effect = go(&settling, &Event::SettleEnded(mined(110, vec![])), Version::V2, 120).next;
    assert_ne!(without_effect, settling);
}

#[test]
fn what_the_operator_took_back_is_not_sent_again_for_a_day() {
    let settling = Stage::Settling { close: ChainTime(100), settle: Settle::Asked { attempt: 0 } };
    let cancelled = Event::SettleEnded(Execution::Abandoned { reason: Abandonment::Cancelled });
    let next = go(&settling, &cancelled, Version::V2, 120).next;
    let not_before = ChainTime(120 + SETTLE_AGAIN_WITHIN);
    assert_eq!(
        next,
        Stage::Settling { close: ChainTime(100), settle: Settle::Again { attempt: 1, not_before } }
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    let execution = prop_oneof![
        (0u64..3_000, any::<bool>()).prop_map(|(t, me)| {
            let who = if me { ME } else { OTHER };
            mined(t, vec![accepted_by(who, t), pinned_by(who)])
        }),
        Just(mined(5, vec![])),
        Just(Execution::Abandoned { reason: Abandonment::TooLate }),
        (0u64..1_000).prop_map(|s| mined(s, vec![MarketEvent::AcceptWait { seconds: s }])),
    ];
    let told = prop_oneof![
        Just(accepted_by(OTHER, 50)),
        Just(pinned_by(OTHER)),
        Just(pinned_by(ME)),
        Just(settled(Settlement::Failed)),
        Just(vote()),
    ];
    prop_oneof![
        Just(Event::Start),
        Just(Event::Tick),
        Just(Event::Fetched),
        Just(Event::FetchFailed("bad".into())),
        execution.clone().prop_map(Event::AcceptEnded),
        execution.clone().prop_map(Event::AnnounceEnded),
        execution.prop_map(Event::SettleEnded),
        (told.clone(), 0u64..3_000).prop_map(|(e, t)| Event::Told(e, ChainTime(t))),
        told.prop_map(Event::Retracted),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_content_is_kept_while_it_matters_and_let_go_when_it_does_not(
        events in prop::collection::vec((any_event(), 0u64..3_000), 0..60), legacy in any::<bool>(),
    ) {
        let version = if legacy { Version::Legacy } else { Version::V2 };
        let mut stage = Stage::Admitted { not_before: ChainTime(0), attempt: 0 };
        let (mut kept, mut fetching, mut accepts) = (false, false, 0);
        let mut settles = std::collections::BTreeSet::new();
        for (event, now) in events {
            let step = go(&stage, &event, version, now);
            for effect in &step.effects {
                match effect {
                    Effect::Keep => kept = true,
                    Effect::LetGo => kept = false,
                    Effect::Fetch => fetching = true,
                    Effect::StopFetch => fetching = false,
                    Effect::Accept { attempt } => {
                        prop_assert_eq!(*attempt, accepts, "each accept has a key of its own");
                        accepts += 1;
                    }
                    Effect::Settle { attempt } => {
                        prop_assert!(settles.insert(*attempt) || matches!(event, Event::Retracted(_)));
                    }
                    Effect::Announce { .. } => {}
                }
            }
            if matches!(event, Event::Fetched | Event::FetchFailed(_)) {
                fetching = false;
            }
            let needs = matches!(
                step.next,
                Stage::Fetching { .. } | Stage::Announcing { .. } | Stage::Hosting { .. } | Stage::Settling { .. }
            );
            prop_assert!(!needs || kept, "{:?} after {:?} is not kept", step.next, event);
            prop_assert!(!step.next.is_over() || !kept, "{:?} after {:?} is still kept", step.next, event);
            let may_fetch = matches!(step.next, Stage::Fetching { .. });
            prop_assert!(may_fetch || !fetching, "a fetch goes on that nobody needs");
            prop_assert!(accepts <= MAX_ACCEPTS);
            stage = step.next;
        }
    }

    #[test]
    fn deciding_twice_is_deciding_once(event in any_event(), now in 0u64..3_000) {
        let stage = Stage::Announcing { hold_until: ChainTime(900), attempt: 1 };
        prop_assert_eq!(go(&stage, &event, Version::V2, now), go(&stage, &event, Version::V2, now));
    }
}
