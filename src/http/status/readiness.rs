//! Whether the node is ready (I12), as a pure judgement of what was found.

use scatter_actors::domain::units::ByteSize;
use scatter_actors::planted::{planted, Bug};
use scatter_actors::records::meta::ChainStatus;
use scatter_actors::supervisor::ActorStatus;
use serde::Serialize;

/// So many unanswered pings make an actor silent: one may only mean that it is busy just now.
const SILENCE: u32 = 2;
/// A probe of the backend counts for so many milliseconds; it is repeated each minute.
const PROBE_LASTS_MS: u64 = 150_000;

/// What must hold.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The chain, for nodes with a chain role.
    pub chain: Option<ChainNeeds>,
    /// Whether an IPFS backend must answer.
    pub ipfs: bool,
    /// Bytes that must stay free on the disk.
    pub min_free: ByteSize,
}

/// What must hold of the chain.
#[derive(Debug, Clone, Copy)]
pub struct ChainNeeds {
    /// The chain's id.
    pub chain_id: u64,
    /// Milliseconds for which a head without change counts as fresh.
    pub max_head_age_ms: u64,
}

/// The last probe of the IPFS backend.
#[derive(Debug, Clone)]
pub struct Probe {
    /// When it ended, on the monotonic clock in milliseconds.
    pub at: u64,
    /// Bytes that the backend keeps, or why it failed.
    pub outcome: Result<ByteSize, String>,
}

/// What was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// Now, on the monotonic clock in milliseconds.
    pub monotonic: u64,
    /// The actors; an error if the supervisor does not answer.
    pub actors: Option<&'a [ActorStatus]>,
    /// What the listener wrote, or why it can't be read.
    pub chain: Result<Option<&'a ChainStatus>, String>,
    /// Milliseconds since the chain's head changed; 0 while there is none.
    pub head_age: u64,
    /// The last probe of the backend.
    pub probe: Option<&'a Probe>,
    /// Bytes free on the disk, or why that can't be told.
    pub free: Result<ByteSize, String>,
}

/// One reason not to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Every reason why the node is not ready; none if it is.
pub fn judge(needs: &Needs, found: &Found<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut because = |code, message: String| reasons.push(Reason { code, message });
    match found.actors {
        None => because("supervisor_silent", "the supervisor does not answer".into()),
        Some(actors) => {
            for actor in actors {
                if actor.state != "running" {
                    because("actor_down", format!("{} is {}", actor.name, actor.state));
                } else if actor.silent >= SILENCE {
                    because("actor_silent", format!("{} missed {} pings", actor.name, actor.silent));
                }
            }
        }
    }
    match (&found.chain, needs.chain) {
        (Err(what), _) => because("store_failed", what.clone()),
        (Ok(_), None) => {}
        (Ok(None), Some(_)) => because("chain_unseen", "the chain's provider has not answered yet".into()),
        (Ok(Some(status)), Some(wanted)) => {
            if status.market.chain != wanted.chain_id {
                let (theirs, ours) = (status.market.chain, wanted.chain_id);
                because("chain_wrong", format!("the store is of chain {theirs}, not of chain {ours}"));
            }
            if let Some(halt) = &status.halted {
                because("chain_halted", halt.clone());
            }
            let age = found.head_age;
            if age > wanted.max_head_age_ms && !planted(Bug::ReadyWithOldHead) {
                because("chain_head_stale", format!("no new block for {} s", age / 1000));
            }
        }
    }
    if needs.ipfs {
        match found.probe {
            None => because("ipfs_unseen", "the ipfs backend has not answered yet".into()),
            Some(Probe { outcome: Err(_), .. }) if planted(Bug::ReadyWithoutIpfs) => {}
            Some(Probe { outcome: Err(what), .. }) => because("ipfs_failed", what.clone()),
            Some(probe) if found.monotonic.saturating_sub(probe.at) > PROBE_LASTS_MS => {
                because("ipfs_silent", "the ipfs backend has not answered for long".into());
            }
            Some(_) => {}
        }
    }
    match &found.free {
        Err(what) => because("disk_failed", what.clone()),
        Ok(free) if *free < needs.min_free && !planted(Bug::ReadyWithFullDisk) => {
            because("disk_full", format!("{free} bytes are free, the floor is {}", needs.min_free));
        }
        Ok(_) => {}
    }
    reasons
}

#[cfg(test)]
mod tests {
    use scatter_actors::domain::market::{Market, MarketRules, Version};
    use scatter_actors::domain::units::{Address, BlockHeight, ChainTime, WallTime};

    use super::*;

    fn chain() -> ChainStatus {
        ChainStatus {
            market: Market { chain: 1, address: Address([1; 20]) },
            rules: MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 86_400 },
            head: BlockHeight(10),
            head_time: ChainTime(100),
            newest_time: ChainTime(100),
            finalized: BlockHeight(8),
            head_changed: WallTime(100_000),
            poison: 0,
            halted: None,
        }
    }

    fn needs() -> Needs {
        let chain = Some(ChainNeeds { chain_id: 1, max_head_age_ms: 60_000 });
        Needs { chain, ipfs: true, min_free: ByteSize(1000) }
    }

    fn actor(state: &'static str, silent: u32) -> ActorStatus {
        ActorStatus { name: "pinner", state, restarts: 0, last_cause: None, silent }
    }

    /// Judges what the change makes of a node that is ready.
    fn codes(
        change: impl FnOnce(&mut Needs, &mut ChainStatus, &mut ActorStatus, &mut Found<'_>),
    ) -> Vec<&'static str> {
        let (mut needs, mut chain, mut actor) = (needs(), chain(), actor("running", 0));
        let probe = Probe { at: 0, outcome: Ok(ByteSize(1)) };
        let mut found = Found {
            head_age: 10_000,
            monotonic: 10_000,
            actors: None,
            chain: Ok(None),
            probe: Some(&probe),
            free: Ok(ByteSize(1000)),
        };
        change(&mut needs, &mut chain, &mut actor, &mut found);
        let actors = [actor];
        found.actors = Some(&actors);
        found.chain = found.chain.map(|_| Some(&chain));
        judge(&needs, &found).into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn a_node_whose_parts_all_answer_is_ready() {
        assert_eq!(codes(|_, _, _, _| ()), [""; 0]);
    }

    #[test]
    fn each_part_that_fails_is_a_reason_of_its_own() {
        assert_eq!(codes(|_, _, actor, _| actor.state = "restarting"), ["actor_down"]);
        assert_eq!(codes(|_, _, actor, _| actor.silent = 2), ["actor_silent"]);
        assert_eq!(codes(|_, _, actor, _| actor.silent = 1), [""; 0]);
        assert_eq!(codes(|_, chain, _, _| chain.market.chain = 5), ["chain_wrong"]);
        assert_eq!(codes(|_, chain, _, _| chain.halted = Some("reorg".into())), ["chain_halted"]);
        assert_eq!(codes(|_, _, _, found| found.head_age = 60_001), ["chain_head_stale"]);
        assert_eq!(codes(|_, _, _, found| found.chain = Err("disk".into())), ["store_failed"]);
        assert_eq!(codes(|_, _, _, found| found.probe = None), ["ipfs_unseen"]);
        assert_eq!(codes(|_, _, _, found| found.monotonic = 150_001), ["ipfs_silent"]);
        let failed = Probe { at: 10_000, outcome: Err("refused".into()) };
        let found = Found { probe: Some(&failed), ..everything_well() };
        assert_eq!(judge(&needs(), &found).last().map(|r| r.code), Some("ipfs_failed"));
        assert_eq!(codes(|_, _, _, found| found.free = Ok(ByteSize(999))), ["disk_full"]);
        assert_eq!(codes(|_, _, _, found| found.free = Err("gone".into())), ["disk_failed"]);
        let (status, silent) = (chain(), Found { actors: None, ..everything_well() });
        let silent = Found { chain: Ok(Some(&status)), ..silent };
        assert_eq!(judge(&Needs { ipfs: false, ..needs() }, &silent)[0].code, "supervisor_silent");
        assert_eq!(judge(&Needs { ipfs: false, ..needs() }, &everything_well())[0].code, "chain_unseen");
    }

    fn everything_well() -> Found<'static> {
        Found {
            head_age: 10_000,
            monotonic: 10_000,
            actors: Some(&[]),
            chain: Ok(None),
            probe: None,
            free: Ok(ByteSize(1000)),
        }
    }

    #[test]
    fn what_a_node_has_no_use_for_it_need_not_have() {
        let idle = |needs: &mut Needs, _: &mut ChainStatus, _: &mut ActorStatus, found: &mut Found<'_>| {
            (needs.chain, needs.ipfs, found.probe) = (None, false, None);
        };
        assert_eq!(codes(idle), [""; 0]);
    }
}
