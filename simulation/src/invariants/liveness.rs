//! What holds once all trouble is over: what should happen has happened.

use std::collections::BTreeSet;

use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::market::Settlement;
use scatter_actors::records::hosting::HostedBid;

use super::{holds, Verdict};
use crate::node::FLOOR;
use crate::people::rivals::RIVAL;
use crate::people::QUORUM;
use crate::plan::moves::SECOND;
use crate::plan::PlannedBid;
use crate::street::Cheat;
use crate::world::World;

/// All that a friend lists is here.
///
/// # Errors
/// What is not.
pub fn every_friend_is_mirrored(world: &World) -> Verdict {
    let pinned: BTreeSet<cid::Cid> = world.hoster.ipfs.pinned().into_iter().collect();
    for friend in &world.friends.all {
        let missing = friend.lists.difference(&pinned).count();
        holds(missing == 0, || format!("{missing} roots of {} are not mirrored", friend.name))?;
    }
    Ok(())
}

/// A bid at the floor or above is settled as paid, unless there was no room for it when it came or the hoster
/// cheated.
pub(super) fn every_bid_that_was_worth_it_is_paid(world: &World) -> Verdict {
    let markets = world.truth.markets();
    for bid in world.hosted().iter() {
        let id = bid.bid;
        let fate = &markets[&id.market.address].bids[id.id.0 as usize];
        let outcome = fate.outcome;
        if fate.hoster == Some(RIVAL) && fate.pinned_at.is_some() {
            let lost = matches!(bid.stage, Stage::Lost { .. } | Stage::Declined { .. });
            holds(lost, || format!("paid: bid {id}, which the rival hosts, is {:?}", bid.stage))?;
            continue;
        }
        if world.people.files.borrow().iter().any(|file| file.is_understated(&fate.terms)) {
            let out = matches!(bid.stage, Stage::Failed { .. } | Stage::Declined { .. });
            holds(out, || format!("paid: bid {id}, larger than it says, is {:?}", bid.stage))?;
            continue;
        }
        match &bid.stage {
            Stage::Declined { reason } => {
                let cheap = reason.contains(&format!("below the floor of {FLOOR}"));
                let full = reason.contains("are used or promised");
                let disk = reason.contains("would leave less than") && world.struck.contains_key("disk_full");
                let retired = reason.contains("its market is retired") && may_retire(world, bid);
                // Voters who registered behind the bid have no vote on it.
                let voters = reason.contains("and may vote") && fate.voters() <= QUORUM as usize;
                holds(cheap || full || disk || retired || voters, || {
                    format!("paid: bid {id} was declined: {reason}")
                })?;
            }
            stage => {
                let due = match world.plan.cheat {
                    Cheat::None => Settlement::Paid,
                    // Nobody can prove silence towards a single hoster: it gets nothing, and that is all.
                    Cheat::Silent => Settlement::Undecided,
                    Cheat::Drops | Cheat::Flips => Settlement::Failed,
                };
                let released = matches!(stage, Stage::Released { how, .. } if *how == Some(due));
                let paid_out = outcome == Some(due) || world.plan.legacy && fate.payouts == 1;
                holds(released && paid_out, || {
                    format!("paid: bid {id} ended {stage:?}, on chain {outcome:?}")
                })?;
            }
        }
    }
    Ok(())
}

/// Whether the Router's moves excuse that a bid was declined.
fn may_retire(world: &World, bid: &HostedBid) -> bool {
    let Some(moves) = &world.plan.moves else { return false };
    let market = bid.bid.market.address;
    let is_it =
        |planned: &&PlannedBid| planned.elsewhere == (market == SECOND) && planned.amount == bid.terms.amount;
    // The earliest that it could be: what excuses it, excuses what came later.
    let placed = world.plan.bids.iter().filter(is_it).map(|planned| planned.at).min();
    moves.may_retire(market, placed.unwrap_or_default())
}
