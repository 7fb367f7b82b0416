use proptest::prelude::*;

use super::*;

const PACE: Pace = Pace { probe: 30_000, max_lag: 30_000 };
const OURS: u64 = 5;

/// Providers that have been asked once and are all at block 100, of which 90 is final.
fn board(count: usize) -> Board {
    let mut board = Board::new(count, PACE, true);
    for who in 0..count {
        board.told_chain(who, 0, OURS, OURS);
        board.saw_head(who, 0, 100);
        board.saw_final(who, 0, 90);
        board.succeeded(who, 0, 0);
    }
    board
}

fn asked(board: &mut Board) -> Vec<usize> {
    board.order(true, |_| 0)
}

#[test]
fn the_order_of_the_configuration_holds_among_those_that_are_well() {
    assert_eq!(asked(&mut board(3)), [0, 1, 2]);
    assert_eq!(asked(&mut Board::new(3, PACE, true)), [0, 1, 2], "and among those that nobody has asked yet");
}

#[test]
fn one_that_fails_comes_last_until_a_probe_finds_it_well() {
    let mut board = board(2);
    assert!(board.failed(0, 1_000));
    assert_eq!((asked(&mut board), board.current()), (vec![1, 0], 1));
    assert_eq!(board.due(1_999), None);
    assert_eq!(board.due(2_000), Some(0));
    assert_eq!(board.due(2_000), None, "a probe is under way");
    board.succeeded(0, 2_000, 2_010);
    board.probed(0, 2_010, true);
    assert_eq!((asked(&mut board), board.current()), (vec![0, 1], 0));
}

#[test]
fn the_return_waits_for_a_look_at_the_head() {
    let mut board = board(3);
    board.failed(0, 1_000);
    asked(&mut board);
    board.succeeded(0, 2_000, 2_000);
    assert_eq!(board.order(false, |_| 0), [1, 0, 2], "a reading under way stays where it is");
    assert_eq!(board.order(true, |_| 0), [0, 1, 2]);
    assert_eq!(board.order(false, |_| 0), [0, 1, 2]);
}

#[test]
fn the_return_waits_until_the_other_has_caught_up() {
    let mut board = board(2);
    board.failed(0, 1_000);
    asked(&mut board);
    board.saw_head(1, 5_000, 104);
    board.saw_head(0, 6_000, 103);
    board.succeeded(0, 6_000, 6_000);
    assert_eq!(asked(&mut board), [1, 0]);
    board.saw_head(0, 9_000, 104);
    assert_eq!(asked(&mut board), [0, 1]);
}

#[test]
fn each_failure_soon_after_the_last_doubles_the_exile() {
    let mut board = board(1);
    let mut now = 1_000;
    for exile in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        assert!(board.failed(0, now));
        assert_eq!(board.due(now + exile - 1), None, "after {exile} ms");
        assert_eq!(board.due(now + exile), Some(0));
        now += exile;
        board.succeeded(0, now, now);
        board.probed(0, now, true);
    }
    now += FORGIVEN;
    board.failed(0, now);
    assert_eq!(board.due(now + FIRST_EXILE), Some(0), "one that was well for a minute begins anew");
}

#[test]
fn failures_of_what_was_sent_together_count_as_one() {
    let mut board = board(2);
    assert!(board.failed(0, 1_000));
    assert!(!(0..50).any(|_| board.failed(0, 1_001)));
    assert_eq!(board.due(2_000), Some(0));
    let mut board = self::board(2);
    board.failed(0, 1_000);
    assert!(!board.succeeded(0, 999, 1_002), "nor is it well because an earlier question was answered");
    assert_eq!(board.state(0), State::Failing);
}

#[test]
fn a_probe_that_fails_doubles_the_exile_too() {
    let mut board = board(2);
    board.failed(0, 0);
    assert_eq!(board.due(1_000), Some(0));
    board.probed(0, 1_000, false);
    assert_eq!((board.due(2_999), board.due(3_000)), (None, Some(0)));
}

#[test]
fn who_stands_by_is_probed_now_and_then_and_who_is_at_work_is_not() {
    let mut board = board(2);
    asked(&mut board);
    assert_eq!(board.due(PACE.probe), Some(1));
    board.probed(1, PACE.probe, true);
    assert_eq!((board.due(PACE.probe), board.due(2 * PACE.probe)), (None, Some(1)));
}

#[test]
fn nobody_is_believed_whose_head_lies_below_a_final_block() {
    let mut board = board(2);
    board.saw_final(0, 1_000, 101);
    assert_eq!(board.state(1), State::Behind, "as far as it is known");
    assert!(board.must_look(1));
    board.saw_head(1, 2_000, 100);
    assert_eq!(board.state(1), State::Behind);
    board.saw_head(1, 3_000, 101);
    assert!(!board.must_look(1));
    board.saw_final(0, 4_000, 50);
    assert_eq!(board.highest_final(), 101, "what was final stays so");
}

#[test]
fn one_alone_is_asked_whatever_it_did_and_looked_at_only_when_it_fell_behind() {
    let mut board = Board::new(1, PACE, false);
    assert!(!board.must_look(0));
    board.failed(0, 0);
    assert_eq!((asked(&mut board), board.must_look(0)), (vec![0], false));
    board.saw_final(0, 0, 10);
    board.saw_head(0, 0, 9);
    assert_eq!((asked(&mut board), board.must_look(0)), (vec![0], true));
}

#[test]
fn one_whose_blocks_come_late_is_asked_when_nobody_else_is() {
    let mut board = board(2);
    board.saw_head(1, 1_000, 101);
    board.saw_head(1, 9_000, 105);
    board.saw_head(0, 31_000, 100);
    assert_eq!(board.state(0), State::Good, "30 s after 101 was first heard of");
    board.saw_head(0, 31_001, 100);
    assert_eq!((board.state(0), asked(&mut board)), (State::Lagging, vec![1, 0]));
    board.failed(1, 32_000);
    assert_eq!(asked(&mut board), [0, 1]);
    board.saw_head(0, 33_000, 104);
    assert_eq!(board.state(0), State::Good, "105 is 24 s old");
}

#[test]
fn one_whose_finality_stands_still_lags_although_its_head_moves() {
    let mut board = board(2);
    board.saw_final(1, 10, 95);
    board.saw_final(0, 10 + MAX_FINAL_LAG + 1, 90);
    assert_eq!(board.state(0), State::Lagging);
}

#[test]
fn a_chain_that_stands_still_makes_nobody_lag() {
    let mut board = board(2);
    for who in [0, 1] {
        board.saw_head(who, 1_000_000_000, 100);
        assert_eq!(board.state(who), State::Good);
    }
}

#[test]
fn one_on_another_chain_is_left_out_and_asked_again_after_a_while() {
    let mut board = board(2);
    board.saw_final(0, 1, 1_000_000);
    assert!(board.told_chain(0, 1_000, OURS, 1));
    assert!(!board.told_chain(0, 1_001, OURS, 1), "that is no news any more");
    assert_eq!((board.state(0), asked(&mut board)), (State::OtherChain(1), vec![1]));
    assert_eq!(board.state(1), State::Good, "what is final elsewhere does not count");
    board.saw_head(0, 1_002, 2_000_000);
    board.saw_head(1, 40_000, 100);
    assert_eq!(board.state(1), State::Good, "nor do heights there");
    board.failed(1, 41_000);
    assert_eq!(asked(&mut board), [1], "not even when nobody else is well");
    assert!(!board.succeeded(0, 42_000, 42_000) && !board.failed(0, 42_000));
    board.told_chain(1, 42_000, OURS, OURS);
    board.succeeded(1, 42_000, 42_000);
    assert_eq!(board.due(OTHER_CHAIN), None);
    assert_eq!(board.due(OTHER_CHAIN + 1_001), Some(0));
    assert!(board.told_chain(0, OTHER_CHAIN + 1_002, OURS, OURS));
    assert_eq!(asked(&mut board), [0, 1]);
}

#[test]
fn one_that_wants_to_be_left_alone_comes_behind_those_that_do_not() {
    let mut board = board(2);
    assert_eq!(board.order(false, |who| u64::from(who == 0)), [1, 0]);
    assert_eq!(board.order(false, |who| 9 - who as u64), [1, 0]);
}

#[derive(Debug, Clone)]
enum Happening {
    Asked(bool),
    Failed(usize),
    Succeeded(usize),
    Head(usize, u64),
    Final(usize, u64),
    Chain(usize, bool),
    Probes(bool),
}

fn happenings() -> impl Strategy<Value = Vec<(Happening, u64)>> {
    use Happening::*;
    let who = 0..3usize;
    let any = prop_oneof![
        any::<bool>().prop_map(Asked),
        who.clone().prop_map(Failed),
        who.clone().prop_map(Succeeded),
        (who.clone(), 0..40u64).prop_map(|(who, height)| Head(who, height)),
        (who.clone(), 0..40u64).prop_map(|(who, height)| Final(who, height)),
        (who, prop::bool::weighted(0.9)).prop_map(|(who, ours)| Chain(who, ours)),
        any::<bool>().prop_map(Probes),
    ];
    prop::collection::vec((any, 0..20_000u64), 1..200)
}

proptest! {
    #[test]
    fn whatever_happens_the_order_is_sound(all in happenings()) {
        let (mut board, mut now) = (Board::new(3, PACE, true), 0);
        for (happening, pause) in all {
            match happening {
                Happening::Asked(looks) => {
                    let before = board.current();
                    let stays = board.state(before).rank() == 0;
                    let order = board.order(looks, |_| 0);
                    let mut sorted = order.clone();
                    sorted.sort_unstable();
                    sorted.dedup();
                    prop_assert_eq!(sorted.len(), order.len(), "nobody is asked twice");
                    for who in 0..3 {
                        let ours = !matches!(board.state(who), State::OtherChain(_));
                        prop_assert_eq!(order.contains(&who), ours, "{:?}", board);
                    }
                    if stays && !looks {
                        prop_assert_eq!(order.first(), Some(&before), "a reading is not torn apart");
                    }
                    let ranks: Vec<_> = order.iter().map(|who| board.state(*who).rank()).collect();
                    prop_assert!(ranks.is_sorted(), "{:?}", ranks);
                }
                Happening::Failed(who) => drop(board.failed(who, now)),
                Happening::Succeeded(who) => drop(board.succeeded(who, now, now)),
                Happening::Head(who, height) => {
                    board.saw_head(who, now, height);
                    if !matches!(board.state(who), State::OtherChain(_)) {
                        let is_behind = board.state(who) == State::Behind;
                        prop_assert_eq!(is_behind, height < board.highest_final());
                    }
                }
                Happening::Final(who, height) => board.saw_final(who, now, height),
                Happening::Chain(who, ours) => drop(board.told_chain(who, now, OURS, u64::from(ours) * OURS)),
                Happening::Probes(answered) => {
                    let mut probes = 0;
                    while let Some(who) = board.due(now) {
                        if answered {
                            board.succeeded(who, now, now);
                        }
                        board.probed(who, now, answered);
                        probes += 1;
                        prop_assert!(probes <= 3, "nobody is probed twice at a time");
                    }
                }
            }
            now += pause;
        }
    }
}
