//! Where bids stand: many of them in a few exchanges, all at one block.

use std::collections::{BTreeMap, BTreeSet};

use ethers::types::U256;
use scatter_actors::domain::following::Contracts;
use scatter_actors::domain::market::{BidKey, BidState, Version, Vote};
use scatter_actors::domain::units::{Address, BidId, ChainTime};
use scatter_actors::ports::chain::Error;
use serde_json::json;

use super::abi::{address, flag, outcome, small, somebody, time, word, words};
use super::calls::{of_bid, with};
use super::views::View;
use super::wire::{quantity_of, Number};
use super::Ethereum;

/// Most votes of one bid that are read: on the legacy market anybody may add as many as they pay for.
const MOST_VOTES: u64 = 256;
/// What every market tells of a bid.
const STANDING: [&str; 3] = ["getBid(int256)", "getHoster(int256)", "getValidationCount(int256)"];
/// What version 2 tells besides.
const BESIDES: [&str; 3] = ["bidWindows(int256)", "settledOutcome(int256)", "bidTerms(int256)"];

/// The answer to a view; `None` for a revert.
type Told = Option<Vec<u8>>;
/// What became of the questions about one bid.
type Seen<T> = Result<T, Error>;

impl Ethereum {
    pub(super) async fn read_bids(&self, bids: &[BidKey]) -> Vec<Seen<Option<BidState>>> {
        match self.ask_about(bids).await {
            Ok(told) => told,
            Err(error) => bids.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn ask_about(&self, bids: &[BidKey]) -> Result<Vec<Seen<Option<BidState>>>, Error> {
        let mut markets = BTreeMap::new();
        for market in bids.iter().map(|bid| bid.market.address).collect::<BTreeSet<_>>() {
            markets.insert(market, self.contracts_of(market).await?);
        }
        let of = |bid: &BidKey| markets.get(&bid.market.address);
        // All of it at one block, so that the parts fit each other.
        let head: Number = self.rpc.call("eth_blockNumber", json!([])).await?;
        let at = quantity_of(head.0);
        let questions = bids.iter().map(|bid| of(bid).map_or_else(Vec::new, |of| questions(of, bid.id)));
        let told = self.views_of_each(&at, questions.collect()).await;
        let read = |(bid, told): (&BidKey, Seen<Vec<Told>>)| self.standing_in(bid.id, &told?);
        let mut states: Vec<_> = bids.iter().zip(told).map(read).collect();

        let votes = bids.iter().zip(&states).map(|(bid, state)| match state {
            Ok(Some((_, count))) => (0..*count).map(|n| vote(bid.market.address, bid.id, n)).collect(),
            _ => Vec::new(),
        });
        let told = self.views_of_each(&at, votes.collect()).await;
        for ((bid, state), told) in bids.iter().zip(&mut states).zip(told) {
            let Ok(Some((known, _))) = state else { continue };
            let votes = told.and_then(|told| {
                let votes: Option<Vec<_>> = told.iter().map(|answer| vote_in(answer.as_deref()?)).collect();
                votes.ok_or_else(|| self.distrust(format!("bid {}: a vote does not decode", bid.id)))
            });
            match votes {
                Ok(votes) => known.votes = votes,
                Err(error) => *state = Err(error),
            }
        }
        Ok(states.into_iter().map(|state| Ok(state?.map(|(state, _)| state))).collect())
    }

    /// A bid without its votes, and how many there are to be read; `None` if there is no such bid.
    fn standing_in(&self, id: BidId, told: &[Told]) -> Seen<Option<(BidState, u64)>> {
        let [terms, hoster, count, besides @ ..] = told else {
            return Err(self.distrust("a batch got too few answers"));
        };
        let Some(terms) = self.terms_in(id, terms.as_deref())? else { return Ok(None) };
        let hoster = hoster.as_deref().and_then(word).and_then(somebody);
        let count = count.as_deref().and_then(word).and_then(small);
        let (Some(hoster), Some(count)) = (hoster, count) else {
            return Err(self.distrust(format!("bid {id}: its hoster or its votes do not decode")));
        };
        let mut state = BidState {
            terms,
            hoster,
            hold_until: ChainTime(0),
            pinned_at: None,
            votes: Vec::new(),
            outcome: None,
            offer_end: None,
            voters: None,
        };
        if let [windows, outcome, rules] = besides {
            let (windows, outcome, rules) = (windows.as_deref(), outcome.as_deref(), rules.as_deref());
            besides_in(windows, outcome, rules, &mut state).ok_or_else(|| {
                self.distrust(format!("bid {id}: its windows, its outcome or its voters do not decode"))
            })?;
        }
        Ok(Some((state, count.min(MOST_VOTES))))
    }
}

fn questions(of: &Contracts, bid: BidId) -> Vec<View> {
    let ask = |view: &&str| (of.market, of_bid(view, bid));
    let mut views: Vec<View> = STANDING.iter().map(ask).collect();
    if of.version == Version::V2 {
        views.extend(BESIDES.iter().map(ask));
    }
    views
}

fn vote(market: Address, bid: BidId, number: u64) -> View {
    (market, with("getValidation(int256,uint256)", (U256::from(bid.0), U256::from(number))))
}

fn vote_in(answer: &[u8]) -> Option<Vote> {
    let [_when, validator, valid, paid] = words(answer)?;
    Some(Vote { validator: address(validator)?, valid: flag(valid)?, paid: flag(paid)? })
}

fn besides_in(
    windows: Option<&[u8]>,
    settled: Option<&[u8]>,
    rules: Option<&[u8]>,
    state: &mut BidState,
) -> Option<()> {
    let [_placed, offer_end, hold_until, pinned_at, _end, _close] = words(windows?)?;
    state.offer_end = Some(time(offer_end)?);
    state.hold_until = time(hold_until)?;
    state.pinned_at = time(pinned_at).map(|at| (at.0 > 0).then_some(at))?;
    state.outcome = outcome(word(settled?)?)?;
    let [_hold, _vote, voters] = words(rules?)?;
    state.voters = Some(small(voters)?);
    Some(())
}
