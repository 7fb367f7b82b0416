//! Which markets a node follows: the one that is named now, and those that its Router named before, for as long as
//! something of this node lives there.
//!
//! The owner of a Router can point it elsewhere at any time. That moves nothing that is under way: each bid stays with
//! the market that holds it, whose address, contracts and rules are kept with it ([`Followed`]). Only new bids are
//! taken from the market that the Router names, and only once its word is final ([`decide`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::market::{Market, MarketRules, Version};
use super::units::{Address, BlockHeight};
use crate::planted::{planted, Bug};

/// The contracts of one market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contracts {
    /// The market.
    pub market: Address,
    /// Whose rules it follows.
    pub version: Version,
    /// Where registration files are.
    pub register: Option<Address>,
    /// Who may vote (version 2): often the Register itself.
    pub voters: Option<Address>,
    /// Where the terms of new bids are.
    pub env: Option<Address>,
}

impl Contracts {
    /// Those whose logs are read.
    pub fn emitters(&self) -> impl Iterator<Item = Address> + '_ {
        let register = self.register.filter(|register| *register != self.market);
        std::iter::once(self.market).chain(register)
    }
}

/// A market as it was found on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its contracts.
    pub contracts: Contracts,
    /// Its constants.
    pub rules: MarketRules,
}

impl Found {
    /// Its address.
    pub fn address(&self) -> Address {
        self.contracts.market
    }
}

/// What names the market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The configuration does, for good.
    Fixed,
    /// The Router names this one.
    Market(Found),
    /// The Router names nothing that could be followed.
    Unusable {
        /// What it names, in words.
        what: String,
    },
}

/// Where a market stands with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Standing {
    /// New bids are taken from it.
    Current,
    /// No new bids are taken; what this node has there goes on to its end.
    Retired {
        /// The chain's newest block when nothing of this node was found there; `None` while something lives.
        quiet_at: Option<BlockHeight>,
    },
    /// Nothing of this node is left there: it is read no longer.
    Done {
        /// The first block that was not read.
        until: BlockHeight,
    },
}

/// A market that this node follows or has followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// The market.
    pub market: Market,
    /// What was found at its address.
    pub found: Found,
    /// Where it stands.
    pub standing: Standing,
    /// The block in whose state it was named. What the Router said before does not count any more.
    pub named_at: BlockHeight,
    /// From this block on its logs are read with those of the other markets; those of earlier ones are its history.
    pub since: BlockHeight,
    /// The next block of its history that is to be read; none is left when it is `since`.
    pub history: BlockHeight,
}

impl Followed {
    /// The market that was found first. Nothing was read before.
    pub fn first(chain: u64, found: Found, named_at: BlockHeight) -> Self {
        let (since, history) = (BlockHeight(0), BlockHeight(0));
        let market = Market { chain, address: found.address() };
        Self { market, found, standing: Standing::Current, named_at, since, history }
    }

    /// Whether new bids are taken from it.
    pub fn is_current(&self) -> bool {
        self.standing == Standing::Current
    }

    /// Whether its logs are read.
    pub fn is_read(&self) -> bool {
        !matches!(self.standing, Standing::Done { .. })
    }

    /// Whether some of its history is not read yet.
    pub fn has_history(&self) -> bool {
        self.is_read() && self.history < self.since
    }

    /// Whether a block's logs were read, or are going to be, when the block itself is.
    pub fn covers(&self, block: BlockHeight) -> bool {
        let ended = matches!(self.standing, Standing::Done { until } if block >= until);
        (block < self.history || block >= self.since) && !ended
    }

    /// Blocks from `next` on are read anew: a reorg removed them.
    pub fn rewind(&mut self, next: BlockHeight) {
        self.since = self.since.min(next);
        if let Standing::Done { until } = &mut self.standing {
            *until = (*until).min(next);
        }
    }
}

/// What is seen of the markets at one moment.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// The market that the Router names in the state of the newest final block, if it names one that can be followed.
    pub named: Option<&'a Found>,
    /// That block.
    pub finalized: BlockHeight,
    /// The newest block.
    pub head: BlockHeight,
    /// The first block that is not read yet.
    pub next: BlockHeight,
    /// The first block that is ever read.
    pub start: BlockHeight,
    /// Markets on which something of this node lives.
    pub alive: &'a BTreeSet<Address>,
}

/// Decides what becomes of each market; gives those that change.
pub fn decide(known: &[Followed], seen: &Seen<'_>) -> Vec<Followed> {
    let mut after = known.to_vec();
    let current = known.iter().find(|one| one.is_current());
    if let (Some(named), Some(current)) = (seen.named, current) {
        if named.address() != current.market.address && seen.finalized > current.named_at {
            name(&mut after, current.market.chain, named, seen);
        }
    }
    for one in &mut after {
        if let Standing::Retired { quiet_at } = one.standing {
            one.standing = match quiet_at {
                _ if (seen.alive.contains(&one.market.address) || one.has_history())
                    && !planted(Bug::ForgetRetired) =>
                {
                    Standing::Retired { quiet_at: None }
                }
                None => Standing::Retired { quiet_at: Some(seen.head) },
                Some(quiet) if seen.finalized >= quiet => Standing::Done { until: seen.next },
                Some(_) => one.standing,
            };
        }
    }
    after.retain(|one| !known.contains(one));
    after
}

/// Makes a market the current one, and retires the one that was.
fn name(markets: &mut Vec<Followed>, chain: u64, named: &Found, seen: &Seen<'_>) {
    let market = Market { chain, address: named.address() };
    for one in markets.iter_mut().filter(|one| one.is_current()) {
        one.standing = Standing::Retired { quiet_at: None };
    }
    match markets.iter_mut().find(|one| one.market == market) {
        Some(again) => {
            if let Standing::Done { until } = again.standing {
                (again.history, again.since) = (until.min(seen.next), seen.next);
            }
            again.standing = Standing::Current;
            again.named_at = seen.finalized;
        }
        None => markets.push(Followed {
            market,
            found: named.clone(),
            standing: Standing::Current,
            named_at: seen.finalized,
            since: seen.next,
            history: if planted(Bug::SkipHistory) { seen.next } else { seen.start.min(seen.next) },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Address = Address([1; 20]);
    const NEW: Address = Address([2; 20]);

    fn found(market: Address) -> Found {
        let (register, voters, env) = (None, None, None);
        let rules = MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 60 };
        Found { contracts: Contracts { market, version: Version::V2, register, voters, env }, rules }
    }

    /// What a node knows, with the blocks that pass.
    struct Node {
        known: Vec<Followed>,
        finalized: u64,
        alive: BTreeSet<Address>,
    }

    impl Node {
        /// Found its market when block 10 was the newest.
        fn new() -> Self {
            let first = Followed::first(1, found(OLD), BlockHeight(10));
            Self { known: vec![first], finalized: 5, alive: [OLD].into() }
        }

        /// Looks when that block is final; the newest is 10 above it, the newest read 2 below that.
        fn look(&mut self, finalized: u64, named: Option<Address>) {
            self.finalized = finalized;
            let named = named.map(found);
            let seen = Seen {
                named: named.as_ref(),
                finalized: BlockHeight(finalized),
                head: BlockHeight(finalized + 10),
                next: BlockHeight(finalized + 9),
                start: BlockHeight(3),
                alive: &self.alive,
            };
            for changed in decide(&self.known, &seen) {
                self.known.retain(|one| one.market != changed.market);
                self.known.push(changed);
            }
        }

        fn current(&self) -> Address {
            let current: Vec<_> = self.known.iter().filter(|one| one.is_current()).collect();
            assert_eq!(current.len(), 1, "new bids are taken from one market: {:?}", self.known);
            current[0].market.address
        }

        fn of(&self, market: Address) -> &Followed {
            self.known.iter().find(|one| one.market.address == market).unwrap()
        }
    }

    #[test]
    fn another_market_is_followed_once_the_routers_word_is_final_and_its_whole_history_is_read() {
        let mut node = Node::new();
        node.look(20, None);
        assert_eq!(node.current(), OLD, "while the router names nothing of use, nothing changes");
        node.look(21, Some(NEW));
        assert_eq!(node.current(), NEW);
        let new = node.of(NEW);
        assert_eq!(
            (new.history, new.since, new.named_at),
            (BlockHeight(3), BlockHeight(30), BlockHeight(21))
        );
        assert!(new.has_history() && !new.covers(BlockHeight(29)) && new.covers(BlockHeight(30)));
        assert_eq!(node.of(OLD).standing, Standing::Retired { quiet_at: None });
        assert!(node.of(OLD).is_read());
    }

    #[test]
    fn what_the_router_said_before_it_named_the_current_market_does_not_count() {
        let mut node = Node::new();
        for finalized in [6, 10] {
            node.look(finalized, Some(NEW));
            assert_eq!(node.current(), OLD, "block {finalized}");
        }
        node.look(11, Some(NEW));
        assert_eq!(node.current(), NEW);
    }

    #[test]
    fn a_retired_market_is_read_until_nothing_of_ours_lives_there_for_good() {
        let mut node = Node::new();
        node.look(20, Some(NEW));
        node.look(30, Some(NEW));
        assert_eq!(node.of(OLD).standing, Standing::Retired { quiet_at: None });
        node.alive.clear();
        node.look(31, Some(NEW));
        let quiet = Standing::Retired { quiet_at: Some(BlockHeight(41)) };
        assert_eq!(node.of(OLD).standing, quiet);
        node.look(40, Some(NEW));
        assert_eq!(node.of(OLD).standing, quiet, "a reorg could still bring something back");
        node.alive.insert(OLD);
        node.look(41, Some(NEW));
        assert_eq!(node.of(OLD).standing, Standing::Retired { quiet_at: None }, "and so it did");
        node.alive.clear();
        node.look(42, Some(NEW));
        node.look(52, Some(NEW));
        assert_eq!(node.of(OLD).standing, Standing::Done { until: BlockHeight(61) });
        assert!(!node.of(OLD).is_read());
        assert_eq!(node.current(), NEW, "the current one stays, though nothing of ours lives there");
    }

    #[test]
    fn a_router_that_points_back_makes_the_old_market_current_again() {
        let mut node = Node::new();
        node.look(20, Some(NEW));
        node.look(21, Some(OLD));
        assert_eq!(node.current(), OLD);
        assert!(!node.of(OLD).has_history(), "it was read all the time");

        node.look(22, Some(NEW));
        node.alive.clear();
        node.look(23, Some(NEW));
        node.look(40, Some(NEW));
        assert_eq!(node.of(OLD).standing, Standing::Done { until: BlockHeight(49) });
        node.look(60, Some(OLD));
        assert_eq!(node.current(), OLD);
        let old = node.of(OLD);
        assert_eq!(
            (old.history, old.since),
            (BlockHeight(49), BlockHeight(69)),
            "what was not read is read now"
        );
    }

    #[test]
    fn blocks_that_a_reorg_removed_are_read_anew_with_the_new_market() {
        let mut new = Followed::first(1, found(NEW), BlockHeight(0));
        (new.history, new.since) = (BlockHeight(3), BlockHeight(30));
        new.rewind(BlockHeight(28));
        assert_eq!((new.since, new.covers(BlockHeight(28))), (BlockHeight(28), true));
        new.rewind(BlockHeight(90));
        assert_eq!(new.since, BlockHeight(28));
        new.standing = Standing::Done { until: BlockHeight(95) };
        assert!(new.covers(BlockHeight(94)) && !new.covers(BlockHeight(95)));
        new.rewind(BlockHeight(93));
        assert!(!new.covers(BlockHeight(93)));
    }
}
