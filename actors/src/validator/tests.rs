mod evidence;
mod world;

use std::collections::BTreeSet;

use super::*;
use crate::domain::audit::life::{Payout, Skip};
use crate::domain::audit::slot::Outcome as SlotOutcome;
use crate::domain::evidence::verify::{verify, Report};
use crate::domain::market::Settlement;
use crate::domain::units::Wei;
use crate::testkit::chain::Trouble;
use crate::wallet_signer::CancelIntent;
use world::*;

/// Checks the evidence of a bid as a stranger would, and that its digest stands behind the vote.
fn check(world: &World, bid: BidKey) -> Report {
    let (document, car) = world.files(bid);
    let report = verify(&document, car.as_deref(), &recover).unwrap();
    let behind_the_vote = world.votes().into_iter().find_map(|call| match call {
        MarketCall::Vote { bid: id, evidence, .. } if id == bid.id => Some(evidence),
        _ => None,
    });
    assert_eq!(behind_the_vote.unwrap_or(report.digest), report.digest);
    report
}

#[actix_rt::test]
async fn an_honest_hoster_is_voted_valid_and_paid() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    let bid = world.host(BIDDER, HOSTER, &world.file());
    world.start();
    let stage = world.finish(bid).await;
    let payout = Payout::Settled { how: Settlement::Paid, attempt: 0 };
    assert!(matches!(stage, Stage::Voted { valid: true, payout: p, .. } if p == payout), "{stage:?}");
    assert_eq!(world.outcomes(bid).await, [SlotOutcome::Pass; 7]);
    assert_eq!(world.votes().len(), 1);
    let report = check(&world, bid);
    assert_eq!(report.slots[6].rehashed, 59);
    assert_eq!(report.beacons.len(), 7);
}

#[actix_rt::test]
async fn a_settle_that_came_to_nothing_is_sent_again() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    let bid = world.host(BIDDER, HOSTER, &world.file());
    world.start();
    let paying = |wanted: fn(&Payout) -> bool| {
        let world = &world;
        async move {
            while !matches!(world.stage(bid).await, Stage::Voted { payout, .. } if wanted(&payout)) {
                world.turn().await;
            }
        }
    };
    paying(|payout| payout.is_open()).await;
    // The wallet can't send it, and the operator takes it back.
    world.chain.trouble(|what| (what == "simulate").then_some(Trouble::Lost));
    paying(|payout| matches!(payout, Payout::Asked { .. })).await;
    world.wallet().send(CancelIntent { key: IntentKey::of_bid("settle", bid, 0) }).await.unwrap().unwrap();
    world.chain.heal();
    let stage = world.finish(bid).await;
    let payout = Payout::Settled { how: Settlement::Paid, attempt: 1 };
    assert!(matches!(stage, Stage::Voted { valid: true, payout: p, .. } if p == payout), "{stage:?}");
    let ours = world.chain.mined().into_iter().filter(|mined| mined.tx.from == ME);
    assert_eq!(ours.filter(|mined| mined.tx.call == MarketCall::Settle(bid.id)).count(), 1);
}

/// Every way of not having the content, from the beginning or from the last slot's tail on.
#[actix_rt::test]
async fn every_cheat_is_voted_invalid_with_evidence_that_checks() {
    tokio::time::pause();
    for late in [false, true] {
        for cheat in ["drops it", "loses a middle node", "loses a leaf", "flips a byte", "flips the root"] {
            let world = World::with_everybody_registered();
            let root = world.file();
            let middle = world.middle(&root)[3];
            let leaf = *world.hosters.blocks.borrow().iter().find(|(_, bytes)| bytes.len() == 64).unwrap().0;
            let mood = match cheat {
                "drops it" => Mood::Drops,
                "loses a middle node" => Mood::Loses(BTreeSet::from([middle])),
                "loses a leaf" => Mood::Loses(world.leaves()),
                "flips a byte" => Mood::Flips(BTreeSet::from([middle, leaf])),
                _ => Mood::Flips(world.hosters.blocks.borrow().keys().copied().collect()),
            };
            let bid = world.host(BIDDER, HOSTER, &root);
            world.start();
            if late {
                world.pass(100).await;
                while world.outcomes(bid).await.len() < 6 {
                    world.turn().await;
                }
            }
            world.mood(HOSTER, mood);
            let stage = world.finish(bid).await;
            let outcomes = world.outcomes(bid).await;
            assert!(
                matches!(stage, Stage::Voted { valid: false, .. }),
                "{cheat} {late}: {stage:?} {outcomes:?}"
            );
            if late {
                assert_eq!(outcomes[6], SlotOutcome::Fail, "{cheat}");
            } else {
                assert_eq!(outcomes, [SlotOutcome::Fail; 2], "{cheat}");
            }
            let report = check(&world, bid);
            assert_eq!(report.verdict, crate::domain::audit::vote::Verdict::Invalid);
            assert_eq!(world.votes().len(), 1);
        }
    }
}

#[actix_rt::test]
async fn content_that_comes_back_within_the_hour_is_late_and_not_lost() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    let bid = world.host(BIDDER, HOSTER, &world.file());
    world.start();
    world.mood(HOSTER, Mood::Drops);
    while !matches!(world.stage(bid).await, Stage::Contained { .. }) {
        world.turn().await;
    }
    world.mood(HOSTER, Mood::Honest);
    let stage = world.finish(bid).await;
    assert!(matches!(stage, Stage::Voted { valid: true, .. }), "{stage:?}");
    assert_eq!(world.outcomes(bid).await[0], SlotOutcome::Late);
    check(&world, bid);
}

#[actix_rt::test]
async fn silence_is_voted_on_only_if_another_endpoint_answered_us() {
    tokio::time::pause();
    for mood in [Mood::Silent, Mood::SaysToBlocks(421)] {
        for neighbour in [false, true] {
            let world = World::with_everybody_registered();
            let root = world.file();
            let bid = world.host(BIDDER, HOSTER, &root);
            if neighbour {
                world.host(BIDDER, NEIGHBOUR, &root);
            }
            world.mood(HOSTER, mood.clone());
            world.start();
            let stage = world.finish(bid).await;
            assert_eq!(world.outcomes(bid).await, [SlotOutcome::Dark; 7], "{mood:?}");
            match neighbour {
                true => assert!(matches!(stage, Stage::Voted { valid: false, .. }), "{mood:?} {stage:?}"),
                false => assert!(matches!(stage, Stage::Abstained { .. }), "{mood:?} {stage:?}"),
            }
            check(&world, bid);
        }
    }
}

#[actix_rt::test]
async fn a_hoster_that_is_slow_within_its_time_passes() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    let bid = world.host(BIDDER, HOSTER, &world.file());
    world.mood(HOSTER, Mood::Slow(2_000));
    world.start();
    let stage = world.finish(bid).await;
    assert!(matches!(stage, Stage::Voted { valid: true, .. }), "{stage:?}");
}

/// I7, over restarts: a kill after any number of commits, and at every turn, brings no second vote and loses none.
#[actix_rt::test]
async fn killed_at_every_step_the_validator_votes_once() {
    tokio::time::pause();
    for cheats in [false, true] {
        for commits in [0, 1, 3, 6] {
            let world = World::with_everybody_registered();
            let bid = world.host(BIDDER, HOSTER, &world.file());
            if cheats {
                world.mood(HOSTER, Mood::Drops);
            }
            world.start();
            for turn in 0..100 {
                let fuse = world.store.borrow().fuse();
                fuse.burn_after(commits + turn % 3);
                world.turn_blindly().await;
                world.restart().await;
                world.pass(1).await;
                if world.stage(bid).await.is_over() {
                    break;
                }
            }
            let stage = world.finish(bid).await;
            assert!(matches!(stage, Stage::Voted { valid, .. } if valid != cheats), "{commits}: {stage:?}");
            assert_eq!(world.votes().len(), 1, "{commits}");
            check(&world, bid);
        }
    }
}

#[actix_rt::test]
async fn what_is_ours_and_what_we_may_not_vote_on_is_not_audited() {
    tokio::time::pause();
    let skip = |stage: &Stage| match stage {
        Stage::Skipped { reason } => Some(reason.clone()),
        _ => None,
    };
    let settle = |world: World, bid| async move {
        world.start();
        world.pass(100).await;
        skip(&world.stage(bid).await)
    };

    let world = World::with_everybody_registered();
    let bid = world.host(ME, HOSTER, &world.file());
    assert_eq!(settle(world, bid).await, Some(Skip::OwnBid));

    let world = World::with_everybody_registered();
    let bid = world.host(BIDDER, ME, &world.file());
    assert_eq!(settle(world, bid).await, Some(Skip::OwnHosting));

    let world = World::new();
    let bid = world.host(BIDDER, HOSTER, &world.file());
    assert_eq!(settle(world, bid).await, Some(Skip::RegisteredLate));

    let world = World::new();
    let bid = world.host(BIDDER, HOSTER, &world.file());
    world.register(ME, None, None);
    assert_eq!(settle(world, bid).await, Some(Skip::RegisteredLate));

    let world = World::new();
    world.register(ME, None, None);
    let bid = world.host(BIDDER, HOSTER, &world.file());
    assert_eq!(settle(world, bid).await, Some(Skip::NoAnchor));

    let mut world = World::with_everybody_registered();
    world.config.min_reward = Wei::from(1_001u128);
    let bid = world.host(BIDDER, HOSTER, &world.file());
    assert_eq!(settle(world, bid).await, Some(Skip::Limits("its reward".into())));
}

#[actix_rt::test]
async fn a_hoster_without_an_endpoint_or_with_unauditable_content_is_skipped() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    let nobody = crate::domain::units::Address([0x99; 20]);
    world.register(nobody, None, None);
    let cbor = {
        let blocks = &mut world.hosters.blocks.borrow_mut();
        let raw = crate::domain::dag::made::raw(blocks, b"cbor");
        let cbor = cid::Cid::new_v1(crate::domain::cids::DAG_CBOR, *raw.hash());
        crate::domain::dag::made::node(blocks, &[cbor])
    };
    let without = world.host(BIDDER, nobody, &world.file());
    let exotic = world.host(BIDDER, HOSTER, &cbor);
    world.start();
    assert_eq!(world.finish(without).await, Stage::Skipped { reason: Skip::NoEndpoint });
    let stage = world.finish(exotic).await;
    assert!(matches!(stage, Stage::Skipped { reason: Skip::Content(_) }), "{stage:?}");
}

#[actix_rt::test]
async fn one_hoster_is_asked_one_thing_at_a_time_and_few_hosters_at_once() {
    tokio::time::pause();
    let mut world = World::with_everybody_registered();
    world.config.at_once = 2;
    let root = world.file();
    let bids: Vec<BidKey> = (0..5).map(|_| world.host(BIDDER, HOSTER, &root)).collect();
    world.start();
    world.pass(100).await;
    // All five are due at once, and still in their time.
    let moments = world.views().await;
    world.leap(moments.iter().filter_map(|view| view.stage.wakes_at()).max().unwrap());
    world.pass(150).await;
    for bid in bids {
        assert_eq!(world.outcomes(bid).await, [SlotOutcome::Pass]);
    }
    assert_eq!(world.hosters.most_at_once.get(), 2);
}

#[actix_rt::test]
async fn questions_name_hoster_and_bid_and_nothing_but_the_probe_goes_to_a_stranger() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    let bid = world.host(BIDDER, HOSTER, &world.file());
    world.mood(HOSTER, Mood::Says(404));
    world.start();
    for _ in 0..5 {
        world.turn().await;
    }
    {
        let asked = world.hosters.asked.borrow();
        assert!(!asked.is_empty());
        assert!(asked.iter().all(|ask| ask.cid == crate::domain::dag::probe() && ask.bid.is_none()));
    }
    world.mood(HOSTER, Mood::Honest);
    world.finish(bid).await;
    let asked = world.hosters.asked.borrow();
    let blocks: Vec<_> = asked.iter().filter(|ask| ask.cid != crate::domain::dag::probe()).collect();
    assert!(!blocks.is_empty());
    assert!(blocks.iter().all(|ask| ask.hoster == HOSTER && ask.bid == Some(bid)));
    assert!(asked.iter().all(|ask| ask.max_bytes == 2 << 20 && ask.timeout_ms == 15_000));
}

#[actix_rt::test]
async fn a_reorg_that_moves_the_announcement_begins_the_audit_anew() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    world.chain.set_final_lag(Some(30));
    let bid = world.host(BIDDER, HOSTER, &world.file());
    world.start();
    world.pass(60).await;
    assert!(matches!(world.stage(bid).await, Stage::Watching { slot: 0, .. }));
    let first = world.views().await[0].end;
    // The announcement goes, with the blocks on top of it, and comes back later.
    world.chain.reorg(5);
    world.chain.mine_empty(6);
    world.chain.mine();
    world.chain.mine_empty(6);
    world.pass(60).await;
    let again = world.views().await[0].clone();
    assert!(matches!(again.stage, Stage::Watching { slot: 0, .. }), "{again:?}");
    assert!(again.end > first);
    world.chain.set_final_lag(Some(2));
    let stage = world.finish(bid).await;
    assert!(matches!(stage, Stage::Voted { valid: true, .. }), "{stage:?}");
    check(&world, bid);
}

#[actix_rt::test]
async fn content_whose_leaves_are_nodes_is_walked_once_and_drawn_from_in_every_slot() {
    tokio::time::pause();
    let world = World::with_everybody_registered();
    let root = {
        let blocks = &mut world.hosters.blocks.borrow_mut();
        let leaves: Vec<cid::Cid> =
            (0..40u8).map(|n| crate::domain::dag::made::old_leaf(blocks, &[n; 64])).collect();
        let middle: Vec<cid::Cid> =
            leaves.chunks(8).map(|leaves| crate::domain::dag::made::node(blocks, leaves)).collect();
        crate::domain::dag::made::node(blocks, &middle)
    };
    let bid = world.host(BIDDER, HOSTER, &root);
    world.start();
    let stage = world.finish(bid).await;
    assert!(matches!(stage, Stage::Voted { valid: true, .. }), "{stage:?}");
    let report = check(&world, bid);
    assert_eq!(report.slots[6].drawn, 46);
    // A probe and the blocks drawn in each of seven slots, and one walk over all nodes.
    assert_eq!(world.hosters.asked.borrow().len(), 7 * (1 + 46) + 46);
}
