//! Whether everything is done, and what the history was about.

use std::rc::Rc;

use scatter_actors::domain::market::BidKey;
use scatter_actors::domain::units::Wei;
use scatter_actors::ports::store::{self, Order};
use scatter_actors::records::audit;
use scatter_actors::records::hosting::HostedBid;
use scatter_actors::wallet_signer::Wallet;

use super::{Summary, World, HOSTER};
use crate::invariants;
use crate::people::bids_on;
use crate::plan::moves::Moves;

impl World {
    /// All that the hoster has judged.
    pub fn hosted(&self) -> Rc<[HostedBid]> {
        let commits = self.hoster.commits.kept.get();
        let mut judged = self.judged.borrow_mut();
        if judged.0 != commits {
            let bids = store::list::<HostedBid>(&*self.hoster.store, &[], Order::Ascending, usize::MAX);
            *judged = (commits, bids.unwrap().into());
        }
        Rc::clone(&judged.1)
    }

    /// What of the plan's bids is not on the chain, in words.
    pub(super) fn unplaced(&self) -> Option<String> {
        let there: usize = self.truth.markets().values().map(|market| market.bids.len()).sum();
        (there < self.placed).then(|| format!("{} bids are not placed", self.placed - there))
    }

    /// Bids that the hoster has not judged, and has to: those on the market that the Router names now or in the end.
    pub(super) fn unjudged(&self) -> Vec<BidKey> {
        let (markets, hosted) = (self.truth.markets(), self.hosted());
        let now = self.history.now();
        let named = |moves: &Moves| [moves.named(now), moves.last()];
        let must = |key: &BidKey| {
            self.plan.moves.as_ref().is_none_or(|moves| named(moves).contains(&key.market.address))
        };
        let is_judged = |key: &BidKey| hosted.iter().any(|hosted| hosted.bid == *key);
        bids_on(&markets).map(|(key, ..)| key).filter(|key| must(key) && !is_judged(key)).collect()
    }

    /// Whether nothing is left to do.
    pub(super) async fn is_over(&self) -> bool {
        self.unfinished().await.is_empty()
    }

    /// What is left to do, in words.
    pub(super) async fn unfinished(&self) -> String {
        let (markets, hosted) = (self.truth.markets(), self.hosted());
        let mut left = Vec::from_iter(self.unplaced());
        if self.placed < self.plan.bids.len() {
            left.push("not every bid is placed".to_owned());
        }
        left.extend(self.unjudged().iter().map(|bid| format!("bid {bid} was not judged")));
        let open = hosted.iter().filter(|bid| !bid.stage.is_over());
        left.extend(open.map(|bid| format!("bid {} is {}", bid.bid, bid.stage.name())));
        for (address, market) in &*markets {
            let credit = market.credits.get(&HOSTER).copied().unwrap_or_default();
            if credit > Wei::ZERO {
                left.push(format!("the hoster has a credit of {credit} wei on {address}"));
            }
        }
        left.extend(invariants::every_friend_is_mirrored(self).err());
        for root in self.hoster.ipfs.pinned() {
            if !self.foreign.contains(&root) && !self.friends.sizes.contains_key(&root) {
                left.push(format!("{root} is still pinned"));
            }
        }
        for node in self.nodes() {
            let Some(life) = node.life.as_ref() else {
                left.push(format!("{} is down", node.name));
                continue;
            };
            match life.wallet.ask(Wallet).await {
                Ok(status) if status.pending.is_empty() && status.queued == 0 => {}
                Ok(status) => left.push(format!("I3: the wallet of {} waits: {status:?}", node.name)),
                Err(_) => left.push(format!("the wallet of {} does not answer", node.name)),
            }
        }
        for validator in &self.validators {
            for audit in audit::all(&*validator.store, 100).unwrap() {
                let hosted = hosted.iter().find(|bid| bid.bid == audit.bid);
                if hosted.is_some_and(|bid| bid.stage.name() == "released") && !audit.stage.is_over() {
                    left.push(format!("{} audits bid {}: {:?}", validator.name, audit.bid.id, audit.stage));
                }
            }
        }
        left.join("; ")
    }

    pub(super) fn summary(&self) -> Summary {
        let hosted = self.hosted();
        let count = |name: &str| hosted.iter().filter(|bid| bid.stage.name() == name).count();
        Summary {
            paid: count("released"),
            declined: count("declined"),
            failed: count("failed") + count("lost"),
            votes: self.verified.borrow().len(),
            blocks: self.chain.height(),
            faults: self.struck.clone(),
            restarts: self.history.count(|line| line.ends_with(" is started again"))
                + self
                    .history
                    .count(|line| line.ends_with(" starts"))
                    .saturating_sub(self.nodes().count() as u64),
        }
    }
}
