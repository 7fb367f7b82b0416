//! How the chain goes on: blocks, reorgs, and leaps over days on which nobody waits for anything.

use scatter_actors::bid_filter;
use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::units::{Address, BlockHeight};
use scatter_actors::records::audit;
use scatter_actors::records::journal::{unread, Fact};
use scatter_actors::records::meta::newest_block;
use scatter_actors::testkit::chain::Tx;

use super::World;
use crate::node::Node;
use crate::people::BIDDER;

impl World {
    pub(super) fn mine(&mut self) {
        // One block in ten is full of other people's business.
        let full = self.dice.chance(10);
        self.mine_what(|_| !full);
    }

    /// A block without anything of an account.
    fn mine_without(&mut self, account: Address) {
        self.mine_what(|tx| tx.from != account);
    }

    pub(super) fn mine_what(&mut self, wanted: impl Fn(&Tx) -> bool) {
        self.last_block = self.history.now();
        self.let_the_owner_act();
        let before = self.truth.mined().len();
        self.chain.append(wanted);
        for mined in &self.truth.mined()[before..] {
            let events = &mined.receipt.events;
            let call = &mined.tx.call;
            let how = if mined.receipt.succeeded { format!("{events:?}") } else { "reverted".to_owned() };
            let (from, block) = (mined.tx.from.to_string(), mined.receipt.block);
            self.history.tell("chain", format_args!("block {block}: {from:.6} {call:?}: {how}"));
        }
    }

    /// Lets the days pass in which nothing happens: to the next end or close of a hosted bid, when nobody has
    /// anything to do before it.
    pub(super) fn leap_if_nothing_waits(&mut self) {
        let up = self.nodes().all(Node::is_up);
        if !up
            || self.outages.are_on(self.history.now())
            || !self.people.are_quiet()
            || !self.chain.pool().is_empty()
        {
            return;
        }
        let now = self.chain.now();
        let hosted = self.hosted();
        if self.unplaced().is_some() || !self.unjudged().is_empty() {
            return;
        }
        // What a reorg took and brought again is judged again before its offer is over.
        if !unread::<Fact>(&*self.hoster.store, bid_filter::READER, 1).unwrap().is_empty() {
            return;
        }
        if !self.nodes().all(|node| self.has_read_what_is_mined(node)) {
            return;
        }
        let mut moments = Vec::new();
        for bid in hosted.iter().filter(|bid| !bid.stage.is_over()) {
            let Stage::Hosting { end, close, .. } = bid.stage else { return };
            moments.push(if now < end { end } else { close });
            for validator in &self.validators {
                let Some(audit) = audit::of(&*validator.store, bid.bid).unwrap() else { return };
                match audit.stage.wakes_at() {
                    Some(at) => moments.push(at),
                    None if audit.stage.is_over() => {}
                    None => return,
                }
            }
        }
        if moments.iter().any(|at| *at <= now) {
            return;
        }
        // The last slot of an audit may lie a few seconds before the end: nobody oversleeps it for hours.
        let oversleep = if self.validators.is_empty() { 600 } else { 3 };
        if let Some(next) = moments.iter().min() {
            let seconds = next.since(now) + self.dice.between(0, oversleep);
            self.history.tell("chain", format_args!("nothing happens for {seconds} s"));
            self.chain.skip(seconds);
            self.floor = self.chain.height() + 1;
        }
    }

    /// Whether a node's journal holds every transaction of the canonical chain: until then it may not know what it has
    /// to do.
    fn has_read_what_is_mined(&self, node: &Node) -> bool {
        let last = self.truth.mined().last().map_or(BlockHeight(0), |mined| mined.receipt.block);
        newest_block(&*node.store).unwrap().is_some_and(|read| {
            read.number >= last
                && self.chain.block(read.number.0).is_some_and(|block| block.hash == read.hash)
        })
    }

    /// Replaces the newest blocks, never those below a leap of days, by one more than they were. The new ones
    /// are mined in another order of business, and chain time does not go back.
    pub(super) fn reorg(&mut self, depth: u64) {
        let depth = depth.min(self.chain.height().saturating_sub(self.floor + 1));
        if depth == 0 {
            return;
        }
        let before = self.chain.now();
        self.chain.reorg(depth);
        let lost = before.since(self.chain.now());
        self.history.tell("chain", format_args!("loses {depth} blocks"));
        for n in 0..=depth {
            if n == 0 {
                self.chain.skip(lost.saturating_sub(depth * 12));
            }
            match self.dice.between(0, 9) {
                0..=3 => self.mine(),
                // The answer before the question: it comes to nothing.
                4 => self.mine_without(BIDDER),
                _ => self.mine_what(|_| false),
            }
        }
    }
}
