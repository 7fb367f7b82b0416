//! What is asked of whom.

use super::*;

#[test]
fn one_peer_is_asked_for_the_block_and_the_others_whether_they_have_it() {
    let [a, b, c] = peers();
    let mut rig = Rig::new(&[a, b, c]);
    rig.want(1);
    assert_eq!(rig.asked(a), [(1, BLOCK)]);
    assert_eq!(rig.asked(b), [(1, HAVE)]);
    assert_eq!(rig.asked(c), [(1, HAVE)]);
}

#[test]
fn a_waiter_gets_its_block_only_after_it_was_stored() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    rig.want(1);
    rig.step(Event::Wanted(99, cid(1)));
    rig.block(a, 1);
    assert_eq!(rig.other, [Effect::Store(vec![(cid(1), bytes(1))])], "E1");
    assert_eq!(rig.asked(b), [(1, HAVE), (1, CANCEL)]);
    rig.other.clear();
    rig.step(Event::Stored(vec![(cid(1), bytes(1))]));
    assert_eq!(rig.other, [Effect::Deliver(vec![1, 99], bytes(1))]);
    assert_eq!(rig.engine.counters().wants, 0);
}

#[test]
fn a_block_that_cannot_be_stored_fails_those_who_wait_for_it() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    rig.want(1);
    rig.block(a, 1);
    rig.other.clear();
    rig.step(Event::NotStored(vec![Key::of(&cid(1))], Fault::Full(7)));
    assert_eq!(rig.other, [Effect::Fail(vec![1], Fault::Full(7))]);
}

#[test]
fn a_block_nobody_asked_for_is_dropped_and_counted() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    rig.block(a, 1);
    rig.want(2);
    rig.block(a, 2);
    rig.block(a, 2);
    assert_eq!(rig.other, [Effect::Store(vec![(cid(2), bytes(2))])]);
    let counters = rig.engine.counters();
    assert_eq!((counters.received_blocks, counters.unwanted_blocks), (1, 2));
}

#[test]
fn a_block_that_the_store_has_is_asked_of_nobody() {
    let [a] = peers();
    let mut engine = Engine::new(100);
    let _ = engine.step(Event::Connected(a), secs(0));
    assert_eq!(engine.step(Event::Wanted(1, cid(1)), secs(0)), [Effect::Read(cid(1))]);
    let effects = engine.step(Event::Read(Key::of(&cid(1)), Some(bytes(1))), secs(0));
    assert_eq!(effects, [Effect::Deliver(vec![1], bytes(1))]);
}

#[test]
fn a_want_moves_on_when_its_peer_does_not_have_the_block() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    rig.want(1);
    rig.presence(b, 1, true);
    rig.sent.clear();
    rig.presence(a, 1, false);
    assert_eq!(rig.asked(b), [(1, BLOCK)]);
}

#[test]
fn a_want_moves_on_when_its_peer_is_silent_for_five_seconds_or_gone() {
    for gone in [true, false] {
        let [a, b] = peers();
        let mut rig = Rig::new(&[a, b]);
        rig.want(1);
        rig.presence(b, 1, true);
        rig.sent.clear();
        rig.pass(secs(5));
        assert_eq!(rig.asked(b), []);
        if gone {
            rig.step(Event::Disconnected(a));
        } else {
            rig.pass(secs(1));
        }
        assert_eq!(rig.asked(b), [(1, BLOCK)]);
    }
}

#[test]
fn peers_that_have_a_block_are_asked_outright_and_take_turns() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    rig.want(0);
    rig.block(a, 0);
    rig.presence(b, 0, true);
    rig.sent.clear();
    for n in 1..=10 {
        rig.want(n);
    }
    let (of_a, of_b) = (rig.asked(a), rig.asked(b));
    assert_eq!((of_a.len(), of_b.len()), (5, 5), "each block is asked once, and of both alike");
    assert!(of_a.iter().chain(&of_b).all(|(_, kind)| *kind == BLOCK));
    rig.pass(secs(11));
    rig.step(Event::Disconnected(a));
    rig.step(Event::Disconnected(b));
    rig.sent.clear();
    rig.step(Event::Connected(a));
    assert_eq!(rig.asked(a).len(), 10);
}

#[test]
fn so_many_blocks_are_hoped_for_of_a_peer_and_the_rest_follows_as_it_answers() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    for n in 0..2000 {
        rig.want(n);
    }
    assert_eq!(rig.asked(a).len(), OPEN);
    for n in 0..100 {
        rig.block(a, n);
    }
    assert_eq!(rig.asked(a).len(), 100);
}

#[test]
fn fewer_wants_than_kubo_holds_lie_at_a_peer_and_the_oldest_refused_one_makes_room() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    for n in 0..WINDOW as u32 {
        rig.want(n);
        rig.presence(a, n, false);
    }
    rig.sent.clear();
    rig.want(5000);
    let mut asked = rig.asked(a);
    asked.sort();
    assert_eq!(asked, [(0, CANCEL), (5000, BLOCK)], "E2");
    const { assert!(WINDOW < 1024) };
}

#[test]
fn thousands_of_dead_wants_do_not_hold_up_a_live_one() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    for n in 0..5000 {
        rig.want(n);
    }
    let mut refused = 0;
    loop {
        let asked: Vec<_> = rig.asked_cids(a);
        if asked.is_empty() {
            break;
        }
        refused += asked.len();
        let presences = asked.into_iter().map(|cid| (cid, false)).collect();
        rig.step(Event::Received(a, Message { presences, ..Message::default() }));
    }
    assert_eq!(refused, 5000, "each was asked once");
    rig.want(6000);
    assert!(rig.asked_cids(a).contains(&cid(6000)));
}

impl Rig {
    fn asked_cids(&mut self, peer: PeerId) -> Vec<Cid> {
        let sent = std::mem::take(&mut self.sent);
        let entries =
            sent.into_iter().filter(|(to, _)| *to == peer).flat_map(|(_, outgoing)| outgoing.entries);
        entries.filter(|entry| entry.kind.is_some()).map(|entry| entry.cid).collect()
    }
}

#[test]
fn everything_is_asked_again_now_and_then_with_longer_pauses() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    rig.want(1);
    rig.presence(a, 1, false);
    rig.sent.clear();
    let mut asked_at = Vec::new();
    for second in 1..=200 {
        rig.pass(secs(1));
        if !rig.asked(a).is_empty() {
            asked_at.push(second);
            rig.presence(a, 1, false);
        }
    }
    assert_eq!(asked_at, [15, 45, 105, 165]);
}

#[test]
fn a_new_peer_hears_the_full_wantlist_and_a_returning_one_again() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a]);
    rig.want(1);
    rig.want(2);
    rig.step(Event::Connected(b));
    let full: Vec<_> = rig.sent.iter().map(|(to, outgoing)| (*to, outgoing.full)).collect();
    assert_eq!(full, [(a, true), (a, false), (b, true)]);
    let mut asked = rig.asked(b);
    asked.sort();
    assert_eq!(asked, [(1, HAVE), (2, HAVE)]);
    rig.step(Event::Disconnected(a));
    rig.sent.clear();
    rig.step(Event::Connected(a));
    assert!(rig.sent[0].1.full);
    assert_eq!(rig.asked(a).len(), 2);
}

#[test]
fn a_want_taken_back_is_cancelled_where_it_lies_and_shared_ones_only_by_the_last() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    rig.want(1);
    rig.step(Event::Wanted(99, cid(1)));
    rig.sent.clear();
    rig.step(Event::Dropped(1));
    assert_eq!(rig.asked(a), []);
    rig.step(Event::Dropped(99));
    assert_eq!(rig.asked(a), [(1, CANCEL)]);
    assert_eq!(rig.engine.counters().wants, 0);
}

#[test]
fn a_peer_that_cannot_be_written_to_is_left_alone_for_a_while_and_then_hears_everything() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    rig.want(1);
    rig.sent.clear();
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        rig.step(Event::SendFailed(a));
        rig.pass(secs(pause) - Duration::from_millis(1));
        assert!(rig.sent.is_empty(), "quiet for {pause} s");
        let mut effects = rig.engine.step(Event::Tick, rig.now + Duration::from_millis(1));
        rig.now += Duration::from_millis(1);
        assert!(
            matches!(effects.remove(0), Effect::Send(_, outgoing) if outgoing.full && outgoing.entries.len() == 1)
        );
    }
}

#[test]
fn one_message_at_a_time_is_under_way_to_a_peer() {
    let [a] = peers();
    let mut engine = Engine::new(100);
    let mut sends = 0;
    let mut step = |event| {
        let effects = engine.step(event, secs(1));
        sends += effects.iter().filter(|effect| matches!(effect, Effect::Send(..))).count();
        sends
    };
    step(Event::Connected(a));
    for n in 0..10 {
        step(Event::Wanted(n, cid(n as u32)));
        step(Event::Read(Key::of(&cid(n as u32)), None));
    }
    assert_eq!(step(Event::Tick), 1, "E3");
    assert_eq!(step(Event::Sent(a)), 2, "all that gathered meanwhile in one");
    assert_eq!(step(Event::Sent(a)), 2);
}

#[test]
fn a_block_larger_than_any_message_fails_those_who_wait_for_it() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    rig.want(1);
    rig.sent.clear();
    rig.step(Event::Oversize(a, cid(1), 5 << 20));
    assert_eq!(rig.other, [Effect::Fail(vec![1], Fault::TooLarge(5 << 20))]);
    assert_eq!(rig.asked(b), [(1, CANCEL)]);
    assert_eq!(rig.engine.counters().wants, 0);
}

#[test]
fn a_peer_that_gets_a_block_after_all_and_says_so_is_asked_for_it() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    rig.want(1);
    rig.presence(b, 1, false);
    rig.presence(a, 1, false);
    assert_eq!(rig.asked(b), [(1, HAVE)]);
    rig.presence(b, 1, true);
    assert_eq!(rig.asked(b), [(1, BLOCK)]);
}

#[test]
fn a_silent_peer_is_the_last_to_be_asked_and_what_waits_for_room_there_goes_to_others() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a]);
    for n in 0..200 {
        rig.want(n);
    }
    rig.step(Event::Connected(b));
    let presences = (0..200).map(|n| (cid(n), true)).collect();
    rig.step(Event::Received(b, Message { presences, ..Message::default() }));
    rig.pass(secs(6));
    let asked = rig.asked(b);
    let blocks = |asked: &[(u32, Option<Kind>)]| asked.iter().filter(|(_, kind)| *kind == BLOCK).count();
    assert_eq!(blocks(&asked), OPEN, "as many as find room");
    rig.asked(a);
    for n in 0..100 {
        rig.block(b, n);
    }
    rig.want(300);
    assert!(rig.asked(b).contains(&(300, BLOCK)));
}

#[test]
fn a_peer_that_sends_other_blocks_but_not_this_one_is_waited_for_half_a_minute() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    rig.want(1);
    rig.presence(b, 1, true);
    rig.sent.clear();
    for n in 2..34 {
        rig.want(n);
        rig.block(a, n);
        assert_eq!(rig.asked(b).iter().filter(|asked| asked.0 == 1).count(), 0, "second {n}");
        rig.pass(secs(1));
        if rig.asked(b).contains(&(1, BLOCK)) {
            assert!(n >= 31, "second {n}");
            return;
        }
    }
    panic!("it was never asked elsewhere");
}

#[test]
fn a_peer_that_keeps_sending_what_was_not_asked_for_is_left_and_forgotten() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    rig.want(1);
    rig.presence(b, 1, true);
    rig.sent.clear();
    for n in 1000..4000 {
        rig.block(a, n);
        if !rig.other.is_empty() {
            break;
        }
    }
    let unasked = limits::Breach::Unasked(bytes(0).len());
    assert_eq!(rig.other, [Effect::Leave(a, unasked)]);
    assert_eq!(rig.asked(b), [(1, BLOCK)], "another is asked at once");
    rig.block(a, 4001);
    assert_eq!(rig.other.len(), 1, "it is left once");
}

#[test]
fn an_answer_that_comes_after_another_peer_was_faster_is_no_breach() {
    let [a, b] = peers();
    let mut rig = Rig::new(&[a, b]);
    for n in 0..100 {
        rig.want(n);
    }
    for n in 0..100 {
        rig.block(a, n);
        rig.presence(b, n, true);
        rig.block(b, n);
    }
    assert_eq!(rig.engine.peers[&b].conduct, limits::Conduct::default());
    rig.block(b, 0);
    assert_ne!(rig.engine.peers[&b].conduct, limits::Conduct::default(), "once");
}
