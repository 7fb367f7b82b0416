//! The owner of the contracts: deploys a second market, and points the Router to it and back.

use scatter_actors::domain::market::{MarketCall, Version};
use scatter_actors::domain::units::FileHash;

use super::World;
use crate::people::{BIDDER, VOTERS};
use crate::plan::moves::SECOND;

impl World {
    /// What the owner has said by now stands from the next block on, also where a reorg took it back.
    pub(super) fn let_the_owner_act(&self) {
        let (Some(moves), now) = (&self.plan.moves, self.history.now()) else { return };
        if now < moves.deployed {
            return;
        }
        if !self.chain.markets_now().contains_key(&SECOND) {
            self.history.tell("owner", format_args!("deploys {SECOND}"));
            self.chain.deploy(SECOND, Version::V2);
        }
        let named = moves.named(now);
        if self.chain.router() != named {
            self.history.tell("owner", format_args!("points the Router to {named}"));
            self.chain.point_router(named);
        }
    }

    /// Registers bidder and voters on the second market, as they are on the first.
    pub(super) fn register_on_the_second(&mut self, now: u64) {
        let there = self.plan.moves.as_ref().is_some_and(|moves| now >= moves.deployed);
        if there && !std::mem::replace(&mut self.registered, true) {
            for (n, who) in [BIDDER].into_iter().chain(VOTERS).enumerate() {
                self.people.send(who, Some(SECOND), MarketCall::Register(FileHash([n as u8 + 1; 32])));
            }
        }
    }
}
