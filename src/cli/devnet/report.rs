//! What became of a bid: told from the chain and from the disk, and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cid::Cid;
use scatter_actors::domain::market::{BidState, MarketEvent, Settlement};
use scatter_actors::domain::units::{Address, Wei};
use serde::Serialize;
use serde_json::{json, Value};

use super::api::hosted;
use super::drive::Drive;
use super::journal::{outcome_word, Entry};
use super::market::{Market, Placed};
use super::mirror::Mirror;
use super::node::{Node, Role};
use crate::cli::output::{self, span};
use crate::exit::Fault;

/// A node's money.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    /// The node's name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its account.
    pub address: Address,
    /// Before the bid was placed.
    pub balance_before_wei: Wei,
    /// After everything was withdrawn.
    pub balance_after_wei: Wei,
}

/// A vote with what it rests on.
#[derive(Debug, Clone, Serialize)]
pub struct Vote {
    /// Who voted.
    pub validator: Address,
    /// What they said.
    pub valid: bool,
    /// The evidence's document; `None` if there is none.
    pub evidence: Option<PathBuf>,
}

/// Something that must be true, and whether it is.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// Whether.
    pub ok: bool,
}

/// Everything about one bid.
#[derive(Debug, Clone)]
pub struct Report {
    /// The bid.
    pub placed: Placed,
    /// Its state on chain.
    pub state: BidState,
    /// How far the hoster came with it.
    pub stage: Value,
    /// The nodes' money.
    pub accounts: Vec<Account>,
    /// The votes.
    pub votes: Vec<Vote>,
    /// The transactions since the bid was placed.
    pub entries: Vec<Entry>,
    /// What the peer keeps, if the hoster listed the content.
    pub mirror: Option<Mirror>,
    /// What must be true.
    pub checks: Vec<Check>,
}

impl Report {
    /// Looks at chain and nodes. `before`: the balances, in the order of the nodes.
    ///
    /// # Errors
    /// If somebody does not answer.
    pub async fn of(market: &mut Market, placed: Placed, before: &[Wei]) -> Result<Self, Fault> {
        market.tell_news().await?;
        let state = market.state(placed.id).await?;
        let begin =
            market.journal().entries().iter().position(
                |entry| matches!(entry.event, MarketEvent::BidPlaced { bid, .. } if bid == placed.id),
            );
        let entries = market.journal().entries()[begin.unwrap_or_default()..].to_vec();
        let mut report = Self {
            placed,
            state,
            stage: Value::Null,
            accounts: Vec::new(),
            votes: Vec::new(),
            entries,
            mirror: None,
            checks: Vec::new(),
        };
        let (mut owed, mut odd) = (Vec::new(), Vec::new());
        for (node, before) in market.nodes().zip(before) {
            let (balance, credit) = market.purse(node).await?;
            if !credit.0.is_zero() {
                owed.push(node.name().to_owned());
            }
            if balance != report.expected(node.address(), *before) {
                odd.push(node.name().to_owned());
            }
            report.accounts.push(Account {
                name: node.name().to_owned(),
                role: node.role(),
                address: node.address(),
                balance_before_wei: *before,
                balance_after_wei: balance,
            });
        }
        report.look_at_outcome(market)?;
        report.look_at_votes(market).await?;
        report.check(owed.is_empty(), but("everything that was owed is withdrawn", &owed));
        report.check(odd.is_empty(), but("every balance adds up to the wei", &odd));
        Ok(report)
    }

    fn check(&mut self, ok: bool, what: impl Into<String>) {
        self.checks.push(Check { what: what.into(), ok });
    }

    /// What an account should own: what it had, less gas and what it sent, and what it withdrew.
    fn expected(&self, who: Address, before: Wei) -> Wei {
        let mut balance = before;
        let mut paid = std::collections::BTreeSet::new();
        for entry in &self.entries {
            // A transaction that led to two events was paid once.
            if entry.by == who && paid.insert(entry.tx) {
                balance = balance.minus(entry.cost).minus(entry.value);
            }
            if let MarketEvent::Withdrawn { amount, to } = entry.event {
                balance = if to == who { balance.plus(amount) } else { balance };
            }
        }
        balance
    }

    fn look_at_outcome(&mut self, market: &mut Market) -> Result<(), Fault> {
        self.check(self.state.outcome == Some(Settlement::Paid), "the market settled the bid as paid");
        let once = ["accept", "pinned", "settle"];
        let count = |call: &str| self.entries.iter().filter(|entry| entry.call == call).count();
        let others: Vec<_> = once.into_iter().filter(|call| count(call) != 1).map(str::to_owned).collect();
        self.check(others.is_empty(), but("accept, pinned and settle were mined once each", &others));
        let hosted = hosted(market.hoster(), self.placed.id)?;
        self.stage = hosted.map(|hosted| json!(hosted.stage)).unwrap_or_default();
        self.check(self.stage["stage"] == "released", "the hoster released the bid");
        Ok(())
    }

    async fn look_at_votes(&mut self, market: &Market) -> Result<(), Fault> {
        for node in market.validators() {
            let name = node.name();
            let files = market.files.keep_evidence(name)?;
            let about = format!("-{}.json", self.placed.id);
            let evidence = files.into_iter().find(|file| file.display().to_string().ends_with(&about));
            let vote = self.state.votes.iter().find(|vote| vote.validator == node.address()).cloned();
            self.check(vote.as_ref().is_some_and(|vote| vote.valid), format!("{name} voted valid"));
            let Some(vote) = vote else { continue };
            let behind = self.entries.iter().find_map(|entry| match entry.event {
                MarketEvent::Voted { validator, .. } if validator == vote.validator => entry.evidence.clone(),
                _ => None,
            });
            let doubt = match &evidence {
                None => Some("there is none".to_owned()),
                Some(file) => doubt(node, file, behind.as_deref()).await,
            };
            let what =
                format!("its evidence verifies, and its digest stands on chain behind the vote of {name}");
            self.check(doubt.is_none(), but(&what, doubt.as_slice()));
            self.votes.push(Vote { validator: vote.validator, valid: vote.valid, evidence });
        }
        Ok(())
    }

    /// Looks at what lies on disk after the nodes have ended: nothing of the content at the hoster, all of it at the
    /// peer that mirrors it.
    ///
    /// # Errors
    /// If a disk can't be read.
    pub async fn look_at_disk(&mut self, market: &mut Market) -> Result<(), Fault> {
        let hosters = market.hoster().backend();
        hosters.collect_garbage().await?;
        let left = hosters.look(&self.placed.cid).await?;
        self.check(
            !left.is_pinned && !left.has_root,
            "nothing keeps the content on the hoster's disk: it goes with the garbage",
        );
        if let Some(mirror) = &mut self.mirror {
            let peers = market.peer.backend();
            let mut pinned: Vec<_> = peers.pins().await?.iter().map(Cid::to_string).collect();
            pinned.sort();
            mirror.pinned = pinned;
            let is_whole = peers.look(&self.placed.cid).await?.is_whole;
            let is_exact = mirror.pinned == mirror.listed;
            self.check(is_exact, "the peer's pins are exactly what the hoster's manifest lists");
            self.check(is_whole, "the peer has every block of the content, though the hoster let go of it");
        }
        Ok(())
    }

    /// What is not true.
    pub fn untrue(&self) -> Vec<&str> {
        self.checks.iter().filter(|check| !check.ok).map(|check| check.what.as_str()).collect()
    }

    /// How the bid ended, in one word.
    pub fn outcome(&self) -> &'static str {
        self.state.outcome.map_or("unsettled", outcome_word)
    }

    /// Gas used of each function, at most.
    fn gas(&self) -> BTreeMap<&'static str, u64> {
        let mut gas = BTreeMap::new();
        for entry in &self.entries {
            let most = gas.entry(entry.call).or_insert(0);
            *most = entry.gas.max(*most);
        }
        gas
    }

    /// The report as one document.
    pub fn document(&self, drive: &Drive, total_ms: u64, setup_ms: u64) -> Value {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        json!({
            "outcome": self.outcome(),
            "bid": {
                "id": self.placed.id,
                "cid": self.placed.cid.to_string(),
                "stage": self.stage["stage"],
                "size_bytes": self.state.terms.size,
                "amount_wei": self.state.terms.amount,
                "pool_wei": self.state.terms.pool,
                "duration_seconds": self.state.terms.duration,
            },
            "nodes": self.accounts,
            "votes": self.votes,
            "gas": self.gas(),
            "seconds": {
                "total": seconds(total_ms),
                "setup": seconds(setup_ms),
                "chain_advanced": drive.advanced,
            },
            "jumps": drive.jumps,
            "mirror": self.mirror,
            "transactions": self.entries,
            "checks": self.checks,
        })
    }

    /// The report for people.
    pub fn words(&self, drive: &Drive, total_ms: u64) -> String {
        let accounts: Vec<_> = self.accounts.iter().map(account_row).collect();
        let header = ["node", "account", "before", "after", "gained"];
        let calls: Vec<_> = self.entries.iter().map(|entry| self.call_row(entry)).collect();
        let checks: Vec<_> =
            self.checks.iter().map(|check| vec![mark(check.ok), check.what.clone()]).collect();
        let table = output::table(&header, &accounts, "");
        let gas = output::table(&["transaction", "by", "gas", "cost"], &calls, "");
        let checks = output::table(&["", "checked on chain and on disk"], &checks, "");
        let seconds = total_ms as f64 / 1_000.0;
        let time = span(drive.advanced);
        let mirror = self.mirror.as_ref().map(Mirror::words).unwrap_or_default();
        let (bid, outcome, cid) = (self.placed.id, self.outcome(), self.placed.cid);
        format!(
            "\nBid {bid} ({cid}) was {outcome}, in {seconds:.1} s here and {time} of chain time in {} jumps.\n\n\
             {mirror}{table}\n\n{gas}\n\n{checks}",
            drive.jumps
        )
    }

    fn call_row(&self, entry: &Entry) -> Vec<String> {
        let account = self.accounts.iter().find(|account| account.address == entry.by);
        let by = account.map_or_else(|| entry.by.to_string(), |account| account.name.clone());
        vec![entry.call.to_owned(), by, entry.gas.to_string(), gwei(entry.cost)]
    }
}

/// Why evidence is not to be believed, if so: asked of the program, as anybody would.
async fn doubt(node: &Node, file: &Path, behind: Option<&str>) -> Option<String> {
    match node.operate(&["evidence", "verify", &file.display().to_string()]).await {
        Err(fault) => Some(fault.message),
        Ok(verified) if behind.is_none() || verified["report"]["digest"].as_str() != behind => {
            Some("another digest stands there".to_owned())
        }
        Ok(_) => None,
    }
}

/// A sentence, and what speaks against it.
fn but(what: &str, against: &[String]) -> String {
    match against {
        [] => what.to_owned(),
        against => format!("{what}: not so: {}", against.join(", ")),
    }
}

/// An amount to a millionth of an ether, for people: the summary has it to the wei.
fn rounded(amount: Wei) -> String {
    let millionths = amount.plus(Wei::from(500_000_000_000)).divided_by(1_000_000_000_000).0;
    let digits = format!("{:0>7}", millionths.to_string());
    let (whole, fraction) = digits.split_at(digits.len() - 6);
    format!("{whole}.{fraction} ether")
}

/// A cost in gwei, rounded up.
fn gwei(cost: Wei) -> String {
    format!("{} gwei", cost.plus(Wei::from(999_999_999)).divided_by(1_000_000_000))
}

fn mark(ok: bool) -> String {
    if ok { "ok" } else { "NO" }.to_owned()
}

fn account_row(account: &Account) -> Vec<String> {
    let (before, after) = (account.balance_before_wei, account.balance_after_wei);
    let gained = match after >= before {
        true => format!("+{}", rounded(after.minus(before))),
        false => format!("-{}", rounded(before.minus(after))),
    };
    vec![account.name.clone(), account.address.to_string(), rounded(before), rounded(after), gained]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_for_people_is_rounded_to_what_they_read() {
        for (wei, ether, cost) in [
            (0, "0.000000 ether", "0 gwei"),
            (499_999_999_999, "0.000000 ether", "500 gwei"),
            (500_000_000_000, "0.000001 ether", "500 gwei"),
            (10_009_979_388_957_512_237, "10.009979 ether", "10009979389 gwei"),
        ] {
            assert_eq!((rounded(Wei::from(wei)).as_str(), gwei(Wei::from(wei)).as_str()), (ether, cost));
        }
    }
}
