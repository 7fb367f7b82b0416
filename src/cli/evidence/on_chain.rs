//! What of evidence the chain knows: the bid, its hoster, the blocks that bind the seeds, the registrations.

use scatter_actors::domain::audit::vote::Verdict;
use scatter_actors::domain::evidence::verify::Report;
use scatter_actors::domain::units::BlockHeight;
use scatter_actors::ports::chain::{Chain, Error};
use serde::Serialize;

/// One claim of the evidence, and what the chain says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The claim.
    pub(super) claim: String,
    /// Whether the chain says so too. `None`: it does not tell any more.
    pub(super) holds: Option<bool>,
}

/// Asks the chain about every claim that it can judge.
///
/// # Errors
/// If the provider does not answer.
pub(super) async fn compare(chain: &dyn Chain, report: &Report) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut find = |claim: String, holds: Option<bool>| findings.push(Finding { claim, holds });

    let id = chain.chain_id().await?;
    find(format!("it is about chain {}", report.bid.market.chain), Some(id == report.bid.market.chain));
    let bid = chain.bid(report.bid).await?;
    let same = |holds: bool| Some(bid.is_some() && holds);
    let told = bid.as_ref();
    find(
        format!("bid {} has these terms", report.bid.id),
        same(told.is_some_and(|bid| bid.terms == report.terms)),
    );
    find(
        format!("{} hosts it", report.hoster),
        same(told.is_some_and(|bid| bid.hoster == Some(report.hoster))),
    );
    // The legacy market does not tell when: the evidence's own word is all there is.
    let pinned = told.and_then(|bid| bid.pinned_at).map(|at| at == report.pinned_at);
    find(format!("it was announced at {}", report.pinned_at), pinned);

    for bound in &report.beacons {
        let number = bound.beacon.number;
        let header = chain.header(number).await?;
        let is_that =
            header.is_some_and(|header| header.hash == bound.beacon.hash && header.time == bound.beacon.time);
        let before = match number.0.checked_sub(1) {
            Some(before) => chain.header(BlockHeight(before)).await?,
            None => None,
        };
        let is_first = number.0 == 0 || before.is_some_and(|header| header.time < bound.from);
        let claim = format!("block {number} is the first of slot {}", bound.slot);
        find(claim, Some(is_that && is_first));
    }
    for (who, file) in &report.registrations {
        // A newer file takes the place of an older one, which the Register then forgets.
        let now = chain.registration(report.bid.market.address, *who).await?;
        let holds = now.is_some_and(|(now, _)| now == *file).then_some(true);
        find(format!("{who} registered {file}"), holds);
    }
    let vote = told.and_then(|bid| bid.votes.iter().find(|vote| vote.validator == report.validator));
    let agrees = vote.map(|vote| vote.valid == (report.verdict == Verdict::Valid));
    find(format!("{} voted so", report.validator), agrees);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use scatter_actors::domain::audit::Beacon;
    use scatter_actors::domain::evidence::verify::Bound;
    use scatter_actors::domain::market::{BidKey, BidTerms, Market, MarketCall};
    use scatter_actors::domain::units::{Address, BidId, ByteSize, ChainTime, Digest, FileHash, Wei};
    use scatter_actors::ports::keys::Fees;
    use scatter_actors::testkit::chain::{FakeChain, Tx, CALL_GAS};

    use super::*;

    const BIDDER: Address = Address([1; 20]);
    const HOSTER: Address = Address([2; 20]);
    const VALIDATOR: Address = Address([3; 20]);
    const DAY: u64 = 86_400;

    fn transact(chain: &FakeChain, from: Address, nonce: u64, call: MarketCall) {
        let gwei = Wei::from(1_000_000_000u128);
        let fees = Fees { max_fee: gwei.times(10), max_tip: Some(gwei) };
        chain.inject(Tx { from, chain: 1337, nonce, gas_limit: CALL_GAS, fees, call, on: None });
        chain.mine();
    }

    /// A chain, and a report that tells nothing but what is true on it.
    async fn truth() -> (FakeChain, Report) {
        let chain = FakeChain::with_market(1337);
        let file = FileHash([7; 32]);
        transact(&chain, VALIDATOR, 0, MarketCall::Register(file));
        let (amount, pool) = (Wei::from(1_000u128), Wei::from(10u128));
        let (size, duration, min_validations) = (ByteSize(9), 7 * DAY, 1);
        let offer = MarketCall::Bid { file, size, duration, amount, pool, min_validations };
        transact(&chain, BIDDER, 0, offer);
        transact(&chain, HOSTER, 0, MarketCall::Accept(BidId(0)));
        transact(&chain, HOSTER, 1, MarketCall::Pinned(BidId(0)));
        let pinned_at = chain.now();
        let from = pinned_at.plus(DAY);
        chain.skip(2 * DAY);
        chain.mine_empty(2);
        let header = chain.header(BlockHeight(chain.height() - 1)).await.unwrap().unwrap();
        let beacon = Beacon { number: header.number, hash: header.hash, time: header.time };
        let bid = BidKey { market: Market { chain: 1337, address: Address([0x3a; 20]) }, id: BidId(0) };
        let terms = BidTerms { bidder: BIDDER, file, size, amount, pool, duration, min_validations };
        let report = Report {
            digest: Digest::default(),
            bid,
            hoster: HOSTER,
            validator: VALIDATOR,
            verdict: Verdict::Invalid,
            slots: vec![],
            terms,
            pinned_at,
            beacons: vec![Bound { slot: 1, from, beacon }],
            registrations: vec![(VALIDATOR, file)],
            testimony: vec![],
        };
        let vote = MarketCall::Vote { bid: BidId(0), valid: false, evidence: Digest::default() };
        transact(&chain, VALIDATOR, 1, vote);
        (chain, report)
    }

    async fn doubted(chain: &FakeChain, report: &Report) -> Vec<String> {
        let findings = compare(chain, report).await.unwrap();
        let doubted = findings.into_iter().filter(|finding| finding.holds != Some(true));
        doubted.map(|finding| finding.claim).collect()
    }

    #[actix_rt::test]
    async fn what_is_true_holds_and_each_lie_is_named() {
        let (chain, report) = truth().await;
        assert_eq!(doubted(&chain, &report).await, Vec::<String>::new());
        let lie = |change: &dyn Fn(&mut Report)| {
            let mut lie = report.clone();
            change(&mut lie);
            lie
        };
        let other = Address([9; 20]);
        for (what, lie) in [
            ("chain", lie(&|report| report.bid.market.chain = 1)),
            ("terms", lie(&|report| report.terms.amount = Wei::ZERO)),
            ("hosts", lie(&|report| report.hoster = other)),
            ("announced", lie(&|report| report.pinned_at = ChainTime(1))),
            ("first", lie(&|report| report.beacons[0].beacon.hash.0[0] ^= 1)),
            ("first", lie(&|report| report.beacons[0].beacon.time = ChainTime(1))),
            ("first", lie(&|report| report.beacons[0].from = ChainTime(1))),
            ("registered", lie(&|report| report.registrations[0].1 = FileHash([8; 32]))),
            ("voted", lie(&|report| report.verdict = Verdict::Valid)),
            ("voted", lie(&|report| report.validator = other)),
        ] {
            let doubted = doubted(&chain, &lie).await;
            assert_eq!(doubted.len(), 1, "{what}: {doubted:?}");
            assert!(doubted[0].contains(what), "{what}: {doubted:?}");
        }
        let unknown = lie(&|report| report.bid.id = BidId(5));
        assert!(compare(&chain, &unknown).await.unwrap().iter().any(|finding| finding.holds == Some(false)));
    }
}
