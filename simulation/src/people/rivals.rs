//! Somebody else who is after the same bids and is always a moment earlier.

use scatter_actors::domain::market::{BidKey, MarketCall, Version};
use scatter_actors::domain::units::Address;
use serde::{Deserialize, Serialize};

use super::{bids_on, elsewhere, People};
use crate::world::HOSTER;

/// The rival's account: blocks are filled in the order of accounts, so it is served first.
pub const RIVAL: Address = Address([0xa9; 20]);

/// What the rival does, at its next chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rivalry {
    /// Accepts a bid for which the hoster's accept waits in the mempool, and lets its hold lapse.
    Accepts,
    /// The same, and announces at once.
    Hosts,
    /// Settles what can be settled before anybody else does.
    Settles,
}

impl Rivalry {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Accepts, Self::Hosts, Self::Settles];
}

impl People {
    /// Lets the rival wait for its chance.
    pub fn rival(&mut self, what: Rivalry) {
        self.rivals.push(what);
    }

    /// What the rival does after each step.
    pub(super) fn race(&mut self) {
        let wanted = self.chain.pool().into_iter().find_map(|tx| match tx.call {
            MarketCall::Accept(bid) if tx.from == HOSTER => Some((bid, tx.on)),
            _ => None,
        });
        let ready = self.rivals.iter().position(|what| *what != Rivalry::Settles);
        if let (Some((bid, on)), Some(ready)) = (wanted, ready) {
            let what = self.rivals.remove(ready);
            self.send(RIVAL, on, MarketCall::Accept(bid));
            if what == Rivalry::Hosts {
                self.send(RIVAL, on, MarketCall::Pinned(bid));
            }
        }
        if self.rivals.contains(&Rivalry::Settles) {
            for bid in self.settlements_due() {
                self.send(RIVAL, elsewhere(bid.market.address), MarketCall::Settle(bid.id));
            }
        }
    }

    /// Bids whose money could be divided now, each told once.
    fn settlements_due(&mut self) -> Vec<BidKey> {
        let (markets, now) = (self.chain.markets_now(), self.chain.now());
        let mut due = Vec::new();
        for (key, bid, version) in bids_on(&markets) {
            let closed = bid.closes_at().is_some_and(|close| now >= close);
            if version == Version::V2 && closed && bid.outcome.is_none() && self.settled.insert(key) {
                due.push(key);
            }
        }
        due
    }
}
