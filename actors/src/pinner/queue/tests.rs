//! The queue by itself: nobody passes its bytes or places, nothing that fits is left out, every count is right.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const RETRY: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };
const MIB: u64 = 1 << 20;

fn peer(name: &str) -> Rc<Owner> {
    Rc::new(Owner::Peer(name.to_owned()))
}

fn root(number: u32) -> Root {
    number.to_be_bytes().to_vec().into()
}

fn number(root: &Root) -> usize {
    usize::from(root[2]) << 8 | usize::from(root[3])
}

#[test]
fn owners_take_turns_however_long_their_lines_are() {
    let mut queue = Queue::new(4, 4, RETRY);
    for (name, numbers) in [("ann", 0..1_000), ("bob", 1_000..1_002)] {
        numbers.for_each(|number| queue.want(&root(number), &peer(name), 1));
    }
    let first: Vec<usize> = (0..4).filter_map(|_| queue.next(u64::MAX)).map(|s| number(&s.root)).collect();
    assert_eq!(first, [0, 1_000, 1, 1_001]);
    assert_eq!(queue.next(u64::MAX), None, "all places are taken");
}

#[test]
fn one_owner_alone_leaves_places_for_others() {
    let mut queue = Queue::new(4, 2, RETRY);
    (0..10).for_each(|number| queue.want(&root(number), &peer("ann"), 1));
    assert_eq!(std::iter::from_fn(|| queue.next(u64::MAX)).count(), 2);
    queue.want(&root(99), &peer("bob"), 1);
    assert_eq!(queue.next(u64::MAX).map(|start| number(&start.root)), Some(99));
}

#[test]
fn what_two_owners_want_is_brought_once() {
    let mut queue = Queue::new(4, 2, RETRY);
    for name in ["ann", "bob"] {
        queue.want(&root(1), &peer(name), 1);
    }
    assert!(queue.next(u64::MAX).is_some());
    assert_eq!(queue.next(u64::MAX), None);
    assert!(!queue.drop_wanted(&root(1), &peer("ann")), "bob still wants it");
    queue.came(&root(1), 10);
    assert_eq!((queue.counts(&peer("ann")).roots(), queue.counts(&peer("bob")).bytes), (0, 10));
}

#[test]
fn a_root_over_its_share_goes_alone_with_all_that_is_left_while_others_still_wait() {
    let mut queue = Queue::new(8, 4, RETRY);
    let ann = peer("ann");
    queue.limit(&ann, 8 * MIB, u64::MAX);
    (0..200).for_each(|number| queue.want(&root(number), &ann, 1));
    let big = queue.next(u64::MAX).unwrap();
    assert_eq!(big.cap, 2 * MIB);
    assert!(!queue.too_large(&big.root, 0, u64::MAX));
    let mut tries = 0;
    loop {
        let start = queue.next(u64::MAX).unwrap();
        if start.root == big.root {
            assert_eq!(start.cap, 8 * MIB);
            return;
        }
        queue.failed(&start.root, 0, false);
        tries += 1;
        assert!(tries < 50);
    }
}

#[test]
fn an_owner_whose_bytes_are_used_up_does_not_stop_another_who_wants_the_same() {
    let mut queue = Queue::new(8, 4, RETRY);
    let (ann, bob) = (peer("ann"), peer("bob"));
    queue.limit(&ann, 0, u64::MAX);
    queue.limit(&bob, 10, u64::MAX);
    for owner in [&ann, &bob] {
        queue.want(&root(1), owner, 1);
    }
    assert_eq!(queue.next(u64::MAX), Some(Start { root: root(1), cap: 10 }));
}

/// Sizes of roots, and the bounds under which they are brought.
fn sets() -> impl Strategy<Value = (Vec<(bool, u64)>, u64, u64, usize, usize)> {
    let size = prop_oneof![3 => 1..MIB, 2 => MIB..4 * MIB, 1 => 4 * MIB..30 * MIB];
    (prop::collection::vec((any::<bool>(), size), 1..60), 0..40 * MIB, 0..60 * MIB, 1..9_usize, 1..5_usize)
}

proptest! {
    #[test]
    fn no_bound_is_passed_and_nothing_that_fits_is_left_out(
        (roots, limit, disk, at_once, per_owner) in sets(),
        order in any::<u64>(),
    ) {
        let mut queue = Queue::new(at_once, per_owner, RETRY);
        let (ann, bob) = (peer("ann"), peer("bob"));
        queue.limit(&ann, limit, disk);
        for ((whose, _), number) in roots.iter().zip(0..) {
            queue.want(&root(number), if *whose { &ann } else { &bob }, 1);
        }
        let (mut running, mut stored, mut now) = (Vec::<Start>::new(), 0, 0);
        for step in 0..10_000_u64 {
            while let Some(start) = queue.next(disk - stored) {
                running.push(start);
            }
            let given: u64 = running.iter().map(|start| start.cap).sum();
            prop_assert!(stored + given <= disk && running.len() <= at_once);
            let anns = running.iter().filter(|start| roots[number(&start.root)].0);
            let caps: u64 = anns.map(|start| start.cap).sum();
            prop_assert!(queue.counts(&ann).bytes + caps <= limit);
            if running.is_empty() {
                now += 120_000;
                queue.retry(now);
                match queue.next(disk - stored) {
                    Some(start) => running.push(start),
                    None => break,
                }
            }
            // Some end in another order than they began.
            let ended = running.swap_remove((order.rotate_left(step as u32 % 64) % running.len() as u64) as usize);
            let size = roots[number(&ended.root)].1;
            if size <= ended.cap {
                stored += size;
                queue.came(&ended.root, size);
            } else {
                queue.too_large(&ended.root, now, disk - stored);
            }
            prop_assert!(step < 9_000, "it comes to an end");
        }
        for (owner, mine, limit) in [(&ann, true, limit), (&bob, false, u64::MAX)] {
            let counts = queue.counts(owner);
            let all = roots.iter().filter(|(whose, _)| *whose == mine).count();
            prop_assert_eq!(counts.roots(), all as u64);
            let room = (limit - counts.bytes).min(disk - stored);
            let left: Vec<u64> = roots.iter().zip(0..)
                .filter(|((whose, _), number)| *whose == mine && queue.roots.contains_key(&root(*number)))
                .map(|((_, size), _)| *size).collect();
            prop_assert!(left.iter().all(|size| *size > room), "{:?} would fit into {}", left, room);
        }
    }

    #[test]
    fn counts_are_what_they_count_whatever_happens(
        steps in prop::collection::vec((0..9_u8, any::<bool>(), 0..6_u32), 1..200),
    ) {
        let mut queue = Queue::new(3, 2, RETRY);
        let (mut seized, mut now) = (Vec::new(), 0);
        for (step, who, which) in steps {
            let (owner, some) = (peer(if who { "ann" } else { "bob" }), root(which));
            let here = queue.running.contains_key(&some);
            match step {
                0 | 1 => queue.want(&some, &owner, u64::from(which)),
                2 => drop(queue.drop_wanted(&some, &owner)),
                3 => drop(queue.next(8 * MIB)),
                4 if here => queue.came(&some, 5),
                5 if here => queue.failed(&some, now, who),
                6 if here => drop(queue.too_large(&some, now, 8 * MIB)),
                7 => { queue.taken(&some); seized.push(some); }
                8 => {
                    seized.pop().into_iter().for_each(|root| queue.given_back(&root, who.then_some(5)));
                    now += 30_000;
                    queue.retry(now);
                }
                _ => {}
            }
            for (owner, line) in &queue.lines {
                let wanted = queue.roots.values().filter(|wanted| wanted.owners.contains(owner));
                let counts = line.counts;
                prop_assert_eq!(counts.pending + counts.failing + counts.too_large, wanted.count() as u64);
                let runs = || queue.running.values().filter(|run| run.owner == *owner);
                prop_assert_eq!(line.running, runs().count());
                prop_assert_eq!(line.reserved, runs().map(|run| run.cap).sum::<u64>());
            }
            for (root, wanted) in &queue.roots {
                prop_assert_eq!(wanted.state == State::Running, queue.running.contains_key(root));
                prop_assert!(!wanted.owners.is_empty());
                let bids = queue.elsewhere.contains_key(root);
                prop_assert_eq!(wanted.state == State::Elsewhere, bids, "{:?}", wanted);
            }
            prop_assert!(queue.running.keys().all(|root| queue.roots.contains_key(root)));
        }
    }
}
