mod world;

use std::collections::BTreeSet;

use super::*;
use crate::domain::audit::life::{Payout, Skip};
use crate::domain::audit::slot::Outcome as SlotOutcome;
use crate::domain::evidence::verify::{verify, Report};
use crate::domain::market::Settlement;
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
    let payout = Payout::Settled { how: Settlement::Paid };
    assert!(matches!(stage, Stage::Voted { valid: true, payout: p, .. } if p == payout), "{stage:?}");
    assert_eq!(world.outcomes(bid).await, [SlotOutcome::Pass; 7]);
    assert_eq!(world.votes().len(), 1);
    let report = check(&world, bid);
    assert_eq!(report.slots[6].rehashed, 59);
    assert_eq!(report.beacons.len(), 7);
}
