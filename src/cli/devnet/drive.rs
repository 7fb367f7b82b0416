//! Carries a bid to its end: moves chain time from one moment that somebody waits for to the next, and lets everybody
//! do what is due at each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scatter_actors::domain::audit::life::Stage as AuditStage;
use scatter_actors::domain::market::{self, BidKey, BidState, MarketEvent, Version};
use scatter_actors::domain::units::{BidId, ChainTime};
use scatter_actors::ports::chain::{self, Chain};

use super::anvil::CHAIN_ID;
use super::api::{hosted, leaves, open_intent, stage_name, Audit};
use super::market::Market;
use super::node::{Node, Role};
use super::standing::{self, LegacyTurn, Standing};
use crate::cli::output::span;
use crate::exit::{told, Code, Fault};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time in which somebody is busy with the same, in milliseconds: an audit may take ten minutes.
const BUSY_MS: u64 = 660_000;
/// Longest time in which nobody waits for anything, in milliseconds: news travel faster.
const IDLE_MS: u64 = 60_000;

/// What a drive has seen, so that everything is told once.
#[derive(Debug, Default)]
pub struct Drive {
    /// Seconds that chain time was moved by.
    pub advanced: u64,
    /// How often.
    pub jumps: u64,
    revives: bool,
    slots: BTreeSet<(String, u32)>,
    stages: BTreeMap<String, String>,
    /// When something last changed, in milliseconds of the story.
    changed: u64,
    last: String,
}

impl Drive {
    /// A drive on which nodes that were killed are started again.
    pub fn reviving() -> Self {
        Self { revives: true, ..Self::default() }
    }
}

/// How far to carry a bid.
#[derive(Clone, Copy)]
enum Goal<'a> {
    /// Until everything is over.
    End,
    /// Until that has happened on chain.
    Event(&'a dyn Fn(&MarketEvent) -> bool),
}

impl Market {
    /// Carries a bid to its end: settled, everybody done with it, and all that is owed withdrawn.
    ///
    /// # Errors
    /// If a process ends, somebody does not answer, or nothing moves any more.
    pub async fn carry(&mut self, bid: BidId, drive: &mut Drive) -> Result<(), Fault> {
        self.drive(bid, drive, Goal::End).await
    }

    /// Carries a bid until that has happened on chain.
    ///
    /// # Errors
    /// As [`Market::carry`].
    pub async fn carry_until(
        &mut self,
        bid: BidId,
        drive: &mut Drive,
        happened: &dyn Fn(&MarketEvent) -> bool,
    ) -> Result<(), Fault> {
        self.drive(bid, drive, Goal::Event(happened)).await
    }

    async fn drive(&mut self, bid: BidId, drive: &mut Drive, goal: Goal<'_>) -> Result<(), Fault> {
        drive.changed = self.story.wall_ms();
        loop {
            match self.step(bid, drive, goal).await {
                Ok(true) => return self.tell_news().await,
                Ok(false) => {}
                Err(fault) if !drive.revives => return Err(fault),
                Err(fault) => {
                    if !self.revive().await? {
                        return Err(fault);
                    }
                }
            }
        }
    }

    /// Looks around once, and moves the clock or waits a moment; tells whether the goal is reached.
    async fn step(&mut self, bid: BidId, drive: &mut Drive, goal: Goal<'_>) -> Result<bool, Fault> {
        self.tell_news().await?;
        match goal {
            Goal::Event(happened) if self.has_happened(happened) => return Ok(true),
            // Nothing says on a legacy market that it settled: there the hoster's patience tells.
            Goal::End if self.state(bid).await?.outcome.is_some() || self.is_legacy().await? => {
                self.withdraw_all().await?;
            }
            _ => {}
        }
        let standings = self.standings(bid, drive).await?;
        let rest = standings.iter().all(|(_, standing)| *standing == Standing::Rests);
        if matches!(goal, Goal::End) && rest && self.is_hosting_over(bid)? && self.nothing_is_owed().await? {
            return Ok(true);
        }
        self.advance(standings, drive).await?;
        Ok(false)
    }

    /// Starts again what was killed, as its platform would; tells whether anything was.
    async fn revive(&mut self) -> Result<bool, Fault> {
        // A death is heard of on its connections before it can be waited for.
        tokio::time::sleep(PAUSE).await;
        let mut dead = Vec::new();
        for node in self.nodes_mut() {
            if node.child().is_some_and(|child| child.ended().is_some()) {
                dead.push(node.name().to_owned());
                node.start()?;
            }
        }
        for name in &dead {
            self.story.tell(None, name, "was killed; started again");
        }
        for node in self.nodes_mut() {
            // It may be killed again before it is ready: the next look finds that.
            if let Err(fault) = node.is_ready().await {
                node.still_runs().err().ok_or(fault)?;
            }
        }
        Ok(!dead.is_empty())
    }

    fn has_happened(&self, what: &dyn Fn(&MarketEvent) -> bool) -> bool {
        self.journal.entries().iter().any(|entry| what(&entry.event))
    }

    async fn is_legacy(&self) -> Result<bool, Fault> {
        let found = self.chain.market().await.map_err(unreachable)?;
        Ok(found.is_some_and(|found| found.rules.version == Version::Legacy))
    }

    /// Where a bid stands on chain.
    ///
    /// # Errors
    /// If the chain does not answer, or does not know it.
    pub async fn state(&self, bid: BidId) -> Result<BidState, Fault> {
        let market = market::Market { chain: CHAIN_ID, address: self.deployed.market };
        let state = self.chain.bid(BidKey { market, id: bid }).await.map_err(unreachable)?;
        state.ok_or_else(|| Fault::new(Code::NotFound, format!("the market does not know bid {bid}")))
    }

    /// Moves the clock if everybody waits for it, else waits a moment.
    async fn advance(&mut self, standings: Vec<(String, Standing)>, drive: &mut Drive) -> Result<(), Fault> {
        let found = standing::next(&standings);
        let now = format!("{found:?} {}", self.journal.entries().len());
        if now != drive.last {
            (drive.last, drive.changed) = (now, self.story.wall_ms());
        }
        match found {
            Ok(Some(moment)) => {
                let from = self.anvil.head().await?.time;
                self.anvil.jump(moment.at).await?;
                let ahead = moment.at.since(from);
                drive.advanced += ahead;
                drive.jumps += 1;
                let what = format!("{} on, for {}", span(ahead), moment.what);
                self.story.tell(Some(moment.at), "clock", &what);
                Ok(())
            }
            waiting => {
                let (patience, what) = match waiting {
                    Err(busy) => (BUSY_MS, busy),
                    Ok(_) => (IDLE_MS, "nobody waits for anything".to_owned()),
                };
                if self.story.wall_ms().saturating_sub(drive.changed) > patience {
                    let text = format!("nothing has moved for {} s: {what}", patience / 1_000);
                    return Err(Fault::new(Code::Unreachable, text));
                }
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
        }
    }

    /// What everybody waits for.
    async fn standings(&mut self, bid: BidId, drive: &mut Drive) -> Result<Vec<(String, Standing)>, Fault> {
        self.anvil.still_runs()?;
        for node in self.nodes_mut() {
            node.still_runs()?;
        }
        let is_legacy = self.is_legacy().await?;
        // A legacy market's views do not tell of it.
        let is_pinned = self.has_happened(
            &|event| matches!(event, MarketEvent::Pinned { bid: pinned, .. } if *pinned == bid),
        );
        let now = self.anvil.head().await?.time;
        let mut standings = Vec::new();
        for node in self.nodes() {
            standings.push((node.name().to_owned(), open_intent(node)?));
            match node.role() {
                Role::Hoster => {
                    let hosted = hosted(node, bid)?;
                    let standing = match &hosted {
                        Some(hosted) => standing::of_hosting(&hosted.stage, now),
                        None => Standing::Busy("looking at the bid".into()),
                    };
                    standings.push((node.name().to_owned(), standing));
                    let stage = hosted.map(|hosted| stage_name(&hosted.stage)).unwrap_or_default();
                    self.tell_stage(node, &stage, now, drive);
                }
                Role::Validator => {
                    let audit = Audit::of(node, bid)?;
                    let turn = audit.plan.filter(|_| is_legacy);
                    let turn = turn.map(|plan| LegacyTurn::of(plan, bid, node.address()));
                    let standing = match &audit.stage {
                        Some(stage) => standing::of_audit(stage, is_pinned, turn, now),
                        None => Standing::Busy("looking at the bid".into()),
                    };
                    standings.push((node.name().to_owned(), standing));
                    self.tell_audit(node, &audit, now, drive);
                }
                Role::Bidder | Role::Peer => {}
            }
        }
        Ok(standings)
    }

    fn tell_stage(&self, node: &Node, stage: &str, now: ChainTime, drive: &mut Drive) {
        let known = drive.stages.insert(node.name().to_owned(), stage.to_owned());
        if known.as_deref() == Some(stage) {
            return;
        }
        let words = match stage {
            "fetching" => "fetching the content",
            "announcing" => "has the content, every block of it checked, and pinned it",
            "released" => "is done with the bid",
            "declined" | "lost" | "failed" => stage,
            // What else happens is told by the chain.
            _ => return,
        };
        self.story.tell(Some(now), node.name(), words);
    }

    fn tell_audit(&self, node: &Node, audit: &Audit, now: ChainTime, drive: &mut Drive) {
        for slot in &audit.slots {
            let Some(outcome) = slot.outcome else { continue };
            if drive.slots.insert((node.name().to_owned(), slot.slot)) {
                let (asked, right) = leaves(slot);
                let what =
                    format!("audited slot {}: {right} of {asked} blocks right, {outcome:?}", slot.slot + 1);
                self.story.tell(Some(now), node.name(), &what.to_lowercase());
            }
        }
        let why = match &audit.stage {
            Some(AuditStage::Abstained { reason }) => format!("abstains: {reason}"),
            Some(AuditStage::Skipped { reason }) => format!("does not audit: {reason}"),
            _ => return,
        };
        let told = drive.stages.insert(node.name().to_owned(), why.clone());
        if told.as_ref() != Some(&why) {
            self.story.tell(Some(now), node.name(), &why);
        }
    }

    /// Withdraws what the market owes, as the operators would.
    async fn withdraw_all(&mut self) -> Result<(), Fault> {
        for node in self.nodes() {
            let (_, credit) = self.purse(node).await?;
            if credit.0.is_zero() || open_intent(node)? != Standing::Rests {
                continue;
            }
            if let Err(fault) = node.operate(&["withdraw"]).await {
                // The node may have withdrawn by itself in between.
                let (_, credit) = self.purse(node).await?;
                if !credit.0.is_zero() {
                    return Err(fault);
                }
            }
        }
        self.tell_news().await
    }

    async fn nothing_is_owed(&self) -> Result<bool, Fault> {
        for node in self.nodes() {
            if !self.purse(node).await?.1 .0.is_zero() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_hosting_over(&mut self, bid: BidId) -> Result<bool, Fault> {
        let hosted = hosted(self.hoster(), bid)?;
        Ok(hosted.is_some_and(|hosted| standing::is_hosting_over(&hosted.stage)))
    }
}

fn unreachable(error: chain::Error) -> Fault {
    Fault::new(Code::Unreachable, told(&error))
}
