//! Questions to one hoster, each kept with its answer.

use std::cell::RefCell;
use std::time::Duration;

use cid::Cid;

use super::Ports;
use crate::domain::audit::slot::{Answer, Asked, Purpose};
use crate::domain::audit::Policy;
use crate::domain::dag;
use crate::domain::market::BidKey;
use crate::domain::units::{Address, ChainTime};
use crate::ports::hoster_probe::{Ask, Error};
use crate::ports::store;
use crate::records::meta::ChainStatus;

/// A firewall that lets a few questions a second through says so: it is asked again after so many milliseconds …
const PACE_MS: u64 = 1_000;
/// … and so often, before being told to wait counts as silence.
const WAITS: u32 = 30;
/// HTTP's word for it.
const TOO_MANY: u16 = 429;

/// Why no block came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gone {
    /// No answer, or none that tells.
    Dark,
    /// Missing, confirmed on two fresh connections.
    Missing,
    /// Our own store failed.
    Store(store::Error),
}

/// One hoster's endpoint, and everything that it was asked.
pub(super) struct Hoster<'a> {
    pub(super) ports: &'a Ports,
    pub(super) policy: &'a Policy,
    pub(super) endpoint: String,
    pub(super) hoster: Address,
    pub(super) bid: BidKey,
    /// Until then the hoster must have the content: what is missing later says nothing.
    pub(super) end: ChainTime,
    pub(super) asked: RefCell<Vec<Asked>>,
}

impl Hoster<'_> {
    /// Asks for a block, and keeps the answer. The bytes are there if they are right.
    pub(super) async fn ask(
        &self,
        cid: Cid,
        purpose: Purpose,
        fresh: bool,
    ) -> Result<(Answer, Vec<u8>), store::Error> {
        let at = self.ports.clock.wall();
        let chain = self.head()?;
        let ask = Ask {
            endpoint: self.endpoint.clone(),
            hoster: self.hoster,
            bid: (purpose != Purpose::Probe).then_some(self.bid),
            cid,
            max_bytes: dag::MAX_BLOCK as u64,
            timeout_ms: self.policy.leaf_timeout_ms,
            fresh,
        };
        let limit = Duration::from_millis(self.policy.leaf_timeout_ms);
        let mut reply = tokio::time::timeout(limit, self.ports.probe.ask(ask.clone())).await;
        for _ in 0..WAITS {
            if !matches!(&reply, Ok(Ok(reply)) if reply.status == TOO_MANY) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(PACE_MS)).await;
            reply = tokio::time::timeout(limit, self.ports.probe.ask(ask.clone())).await;
        }
        let (answer, bytes) = match reply {
            Ok(Ok(reply)) => {
                let answer = Answer::read(&cid, reply.status, &reply.body);
                let bytes = if answer.is_right() { reply.body } else { Vec::new() };
                (answer, bytes)
            }
            Ok(Err(error)) => (dark(&error), Vec::new()),
            Err(_) => (dark(&Error::TimedOut(self.policy.leaf_timeout_ms)), Vec::new()),
        };
        // An index may have thousands of nodes: those that came are counted elsewhere.
        if !(purpose == Purpose::Index && answer.is_right()) {
            let asked = Asked { at, chain, cid, purpose, answer: answer.clone() };
            self.asked.borrow_mut().push(asked);
        }
        Ok((answer, bytes))
    }

    /// Chain time now.
    pub(super) fn head(&self) -> Result<ChainTime, store::Error> {
        Ok(ChainStatus::read(&*self.ports.store)?.map(|status| status.head_time).unwrap_or_default())
    }

    /// Gets a block: silence is tried once more, and what is missing twice more on fresh connections, far
    /// enough from each other.
    pub(super) async fn demand(&self, cid: Cid, purpose: Purpose) -> Result<Vec<u8>, Gone> {
        let (mut answer, mut bytes) = self.ask(cid, purpose, false).await.map_err(Gone::Store)?;
        if !answer.is_right() && !answer.is_missing() {
            (answer, bytes) = self.ask(cid, purpose, true).await.map_err(Gone::Store)?;
        }
        if answer.is_missing() && self.head().map_err(Gone::Store)? >= self.end {
            return Err(Gone::Dark);
        }
        for after_ms in [0, self.policy.confirm_gap_ms] {
            if answer.is_right() {
                return Ok(bytes);
            }
            if !answer.is_missing() {
                return Err(Gone::Dark);
            }
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            let confirm = self.ask(cid, Purpose::Confirm { after_ms }, true).await;
            (answer, bytes) = confirm.map_err(Gone::Store)?;
        }
        match answer {
            Answer::Right { .. } => Ok(bytes),
            answer if answer.is_missing() => Err(Gone::Missing),
            _ => Err(Gone::Dark),
        }
    }
}

/// An error as an answer, in words of ours: a stranger's go nowhere.
fn dark(error: &Error) -> Answer {
    let why = match error {
        Error::Forbidden(_) => "an endpoint that is not dialled",
        Error::Unreachable(_) => "unreachable, or it broke off",
        Error::TimedOut(_) => "timed out",
        Error::TooLarge(_) => "more than a block",
    };
    Answer::Dark { status: None, why: why.to_owned() }
}
