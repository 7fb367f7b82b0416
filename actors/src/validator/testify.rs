//! Writes evidence, and looks at bids for the money.

use actix::prelude::*;

use super::challenge::car_name;
use super::Validator;
use crate::domain::audit::keccak;
use crate::domain::audit::life::{Event, Stage};
use crate::domain::audit::vote::{settle_turn, Verdict};
use crate::domain::evidence::{CarNote, Evidence, RegistrationFile, SealError, SCHEMA};
use crate::domain::market::{BidState, MarketRules, Version};
use crate::planted::{planted, Bug};
use crate::ports::store::{self, Batch};
use crate::ports::{disk, keys};
use crate::records::audit::{self, Audit};
use crate::records::following::rules_of;
use crate::records::meta::ChainStatus;

/// The program's name in evidence.
const PROGRAM: &str = concat!("scatter/", env!("CARGO_PKG_VERSION"));

/// Why there is no evidence yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Seal(#[from] SealError<keys::Error>),
    #[error("the audit has no terms, or its market no rules")]
    NoTerms,
}

impl Validator {
    /// Writes the evidence for a verdict; only then the vote is wanted, in one batch with the stage (I7).
    pub(super) fn testify(
        &mut self,
        known: &Audit,
        verdict: Verdict,
        status: &ChainStatus,
        ctx: &mut Context<Self>,
    ) -> Result<(), Trouble> {
        let evidence = self.evidence(known, verdict)?;
        let sealed = evidence.seal(|message| self.ports.keys.sign_message(message))?;
        if !planted(Bug::VoteWithoutEvidence) {
            self.ports.disk.write(&format!("{}.json", known.file_name()), &sealed.bytes)?;
        }
        tracing::info!(bid = %known.bid, digest = %sealed.digest, ?verdict, "evidence is written");
        let testified = Event::Testified(sealed.digest).into();
        Ok(self.decide(known.clone(), testified, status, Batch::new(), ctx)?)
    }

    fn evidence(&self, known: &Audit, verdict: Verdict) -> Result<Evidence, Trouble> {
        let store = &*self.ports.store;
        let rules = rules_of(store, known.bid.market)?;
        let (Some(terms), Some(announced), Some(rules)) = (known.terms.clone(), known.announced, rules)
        else {
            return Err(Trouble::NoTerms);
        };
        let car = self.ports.disk.read(&car_name(known))?;
        let car = car.map(|bytes| CarNote { digest: keccak(&[&bytes]), bytes: bytes.len() as u64 });
        let file =
            |kept: audit::Registered| RegistrationFile { who: kept.who, file: kept.file, block: kept.block };
        // A slot that never came to an end would give its secret away for nothing.
        let slots = audit::slots(store, known.bid)?.into_iter().filter(|slot| slot.outcome.is_some());
        Ok(Evidence {
            schema: SCHEMA.into(),
            program: PROGRAM.into(),
            bid: known.bid,
            terms,
            rules,
            hoster: announced.hoster,
            pinned_at: announced.at,
            validator: self.ports.keys.address(),
            registrations: audit::registrations(store, known.bid)?.into_iter().map(file).collect(),
            policy: self.policy,
            slots: slots.collect(),
            elsewhere: known.elsewhere.clone(),
            verdict,
            nodes_kept: known.nodes_kept,
            car,
            written: self.ports.clock.wall(),
        })
    }

    /// Sees how the bid stands: whether anybody is paid, and whose turn it is to settle.
    pub(super) fn look_at_bid(&mut self, known: &Audit, ctx: &mut Context<Self>) {
        let (chain, bid) = (self.ports.chain.clone(), known.bid);
        self.work(
            bid,
            async move { chain.bid(bid).await },
            move |this, seen, ctx| {
                let store = this.ports.store.clone();
                let status = ChainStatus::read(&*store)?;
                let rules = rules_of(&*store, bid.market)?;
                let (Some(status), Some(rules), Some(known)) = (status, rules, audit::of(&*store, bid)?)
                else {
                    return Ok(());
                };
                match seen {
                    Ok(Some(seen)) => {
                        let event = this.seen(&known, &seen, &rules);
                        this.decide(known, event.into(), &status, Batch::new(), ctx)
                    }
                    Ok(None) => Ok(()),
                    Err(error) => {
                        tracing::warn!(%bid, %error, "a bid could not be looked at; trying again");
                        Ok(())
                    }
                }
            },
            ctx,
        );
    }

    fn seen(&self, known: &Audit, seen: &BidState, rules: &MarketRules) -> Event {
        if !matches!(known.stage, Stage::Voted { .. }) || rules.version == Version::Legacy {
            return Event::PayoutSeen { paid: seen.votes.iter().any(|vote| vote.paid) };
        }
        let close = known.plan.map(|plan| plan.end.plus(rules.vote_duration)).unwrap_or_default();
        let turn = settle_turn(&seen.votes, seen.terms.min_validations, self.ports.keys.address(), close);
        Event::BidSeen { settled: seen.outcome, turn }
    }
}
