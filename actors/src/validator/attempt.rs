//! One attempt at a slot: who, which block of the chain, which index, which draw, what came.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;

use super::ask::{Gone, Hoster};
use super::challenge::{car_name, stored_car};
use super::qualify::{registration_of, Trouble};
use super::{Config, Ports};
use crate::domain::audit::draw::{draw, needed};
use crate::domain::audit::life::Skip;
use crate::domain::audit::seed::{seed, Ingredients};
use crate::domain::audit::slot::{Drawn, DrawnBlock, Purpose, Slot, Standing, Try};
use crate::domain::audit::vote::Elsewhere;
use crate::domain::audit::walk::{Caps, Index, IndexNote, Kind, Refusal, Walk};
use crate::domain::audit::{keccak, Beacon, Policy};
use crate::domain::cids;
use crate::domain::dag;
use crate::domain::evidence::MOST_INNER;
use crate::domain::units::{Address, BlockHeight, ChainTime, FileHash};
use crate::ports::chain::Header;
use crate::ports::store;
use crate::records::audit::{Announced, Audit, Registered};
use crate::records::meta::ChainStatus;

/// What is asked of whom.
pub(super) struct Challenge {
    pub(super) config: Rc<Config>,
    pub(super) policy: Policy,
    pub(super) ports: Ports,
    pub(super) known: Audit,
    pub(super) announced: Announced,
    pub(super) slot: Slot,
    /// Whether the hoster has ever been asked for this bid.
    pub(super) first: bool,
    /// Ask again for what was missing, nothing else.
    pub(super) recheck: bool,
    pub(super) others: Vec<(Address, String)>,
}

/// What an attempt found out.
#[derive(Default)]
pub(super) struct Found {
    pub(super) registration: Option<Registered>,
    pub(super) endpoint: Option<String>,
    pub(super) beacon: Option<Beacon>,
    pub(super) attempt: Option<Try>,
    pub(super) refused: Option<Skip>,
    pub(super) index: Option<IndexNote>,
    pub(super) too_many_nodes: bool,
    pub(super) blocks: Vec<(Cid, Vec<u8>)>,
    pub(super) elsewhere: Vec<Elsewhere>,
}

impl Challenge {
    /// Asks whatever there is to ask now.
    ///
    /// # Errors
    /// If something of ours stands in the way: nothing is said about the hoster then.
    pub(super) async fn run(self) -> Result<Found, Trouble> {
        let (Some(terms), Some(plan)) = (&self.known.terms, self.known.plan) else {
            return Err(Trouble::NotFinal);
        };
        let file = terms.file;
        let mut found = Found { beacon: Some(self.beacon().await?), ..Found::default() };
        let (registered, endpoint) = match self.endpoint().await? {
            Ok(known) => known,
            Err(skip) => {
                let silent = Try { registration: None, drawn: None, walked: 0, asked: vec![] };
                match (self.first, skip) {
                    (true, Some(skip)) => found.refused = Some(skip),
                    // A hoster that takes its endpoint back is silent, not excused.
                    _ => found.attempt = Some(silent),
                }
                return Ok(found);
            }
        };
        let hoster = Hoster {
            ports: &self.ports,
            policy: &self.policy,
            endpoint: endpoint.clone(),
            hoster: self.announced.hoster,
            bid: self.known.bid,
            end: plan.end,
            asked: RefCell::default(),
        };
        // Time went by since the slot was found to be due. Nothing is awaited between this look and the first
        // question, so that no evidence tells of a slot that began behind its time.
        if !self.recheck && hoster.head()? >= plan.closes(self.slot.slot, self.policy.grace) {
            return Err(Trouble::TooLate);
        }
        let work = RefCell::new(Work::default());
        let all = async {
            if self.recheck {
                self.ask_again(&hoster, &work).await
            } else {
                self.ask_all(&hoster, file, &work, found.beacon).await
            }
        };
        let ended = all.await;
        let work = work.into_inner();
        let before = if self.recheck { self.slot.tries.last().cloned() } else { None };
        let mut attempt = before.unwrap_or(Try {
            registration: Some(registered.file),
            drawn: None,
            walked: work.walked,
            asked: vec![],
        });
        attempt.drawn = work.drawn.or(attempt.drawn);
        attempt.asked.extend(hoster.asked.take());
        match ended {
            Err(Ended::Refused(skip)) => found.refused = Some(skip),
            Err(Ended::Store(error)) => return Err(error.into()),
            Err(Ended::Hoster) | Ok(()) => {}
        }
        if attempt.found_somebody() {
            found.endpoint = Some(endpoint);
        }
        let standing = attempt.standing(&self.policy);
        let last = plan.last() == self.slot.slot;
        found.blocks = work.inner;
        if last || standing != Standing::Passed {
            found.blocks.extend(work.drawn_blocks);
        }
        if standing == Standing::Dark {
            found.elsewhere = self.ask_others().await?;
        }
        found.index = work.index;
        found.too_many_nodes = work.too_many_nodes;
        found.registration = Some(registered);
        found.attempt = Some(attempt);
        Ok(found)
    }

    /// The hoster's endpoint as registered now. `Err(None)` if its file could not be had.
    async fn endpoint(&self) -> Result<Result<(Registered, String), Option<Skip>>, Trouble> {
        let who = self.announced.hoster;
        let Some((file, _)) = self.ports.chain.registration(self.known.bid.market.address, who).await? else {
            return Ok(Err(Some(Skip::NoEndpoint)));
        };
        let patience = Duration::from_millis(self.config.registration_timeout_ms);
        let Some((block, read)) = registration_of(&self.ports, who, file, patience).await? else {
            return Ok(Err(None));
        };
        let registered = Registered { bid: self.known.bid, who, file, block: hex::encode(block) };
        Ok(match read.and_then(|read| read.host.endpoint) {
            Some(endpoint) => Ok((registered, endpoint)),
            None => Err(Some(Skip::NoEndpoint)),
        })
    }

    /// The first block at or behind the beginning of the slot's stratum, once it is final.
    async fn beacon(&self) -> Result<Beacon, Trouble> {
        if let Some(beacon) = self.slot.beacon {
            return Ok(beacon);
        }
        let from = self.known.plan.ok_or(Trouble::NotFinal)?.stratum(self.slot.slot).from;
        let last = match self.ports.chain.finalized().await? {
            Some(header) => header,
            None => {
                let status = ChainStatus::read(&*self.ports.store)?.ok_or(Trouble::NotFinal)?;
                self.header(status.finalized).await?
            }
        };
        if last.time < from {
            return Err(Trouble::NotFinal);
        }
        // A block before the stratum, to search from: several may share the announcement's time.
        let mut low = self.announced.block;
        let mut back = 1;
        while low.0 > 0 && self.header(low).await?.time >= from {
            low = BlockHeight(low.0.saturating_sub(back));
            back *= 2;
        }
        let mut high = last;
        while low.0 + 1 < high.number.0 {
            let middle = self.header(BlockHeight(low.0 + (high.number.0 - low.0) / 2)).await?;
            if middle.time >= from {
                high = middle;
            } else {
                low = middle.number;
            }
        }
        Ok(Beacon { number: high.number, hash: high.hash, time: high.time })
    }

    async fn header(&self, number: BlockHeight) -> Result<Header, Trouble> {
        self.ports.chain.header(number).await?.ok_or(Trouble::NoBlock(number.0))
    }

    /// Probe, index, draw, blocks.
    async fn ask_all(
        &self,
        hoster: &Hoster<'_>,
        file: FileHash,
        work: &RefCell<Work>,
        beacon: Option<Beacon>,
    ) -> Result<(), Ended> {
        let limit = Duration::from_millis;
        let probe = hoster.ask(dag::probe(), Purpose::Probe, true);
        if !probe.await.map_err(Ended::Store)?.0.is_right() {
            return Err(Ended::Hoster);
        }
        let index = match self.kept_index(file) {
            Some(index) => index,
            None => tokio::time::timeout(limit(self.config.index_timeout_ms), self.walk(hoster, file, work))
                .await
                .map_err(|_| Ended::Hoster)??,
        };
        let note = index.note();
        work.borrow_mut().index = Some(note);
        let k = needed(self.policy.loss_bp, self.policy.confidence_bp);
        let seed = seed(Ingredients {
            bid: self.known.bid,
            root: &cids::of_file(file),
            hoster: self.announced.hoster,
            validator: self.ports.keys.address(),
            slot: self.slot.slot,
            secret: self.slot.secret,
            beacon: beacon.map(|beacon| beacon.hash).unwrap_or_default(),
            leaf_count: note.blocks,
            k,
        });
        let block = |number| Some(DrawnBlock { number, cid: index.cid(number)?, proof: None });
        let blocks: Vec<DrawnBlock> = draw(seed, note.blocks, k).into_iter().filter_map(block).collect();
        let cids: Vec<Cid> = blocks.iter().map(|block| block.cid).collect();
        work.borrow_mut().drawn = Some(Drawn { index: note, seed, blocks });
        let leaves = async {
            for cid in cids {
                let bytes = hoster.demand(cid, Purpose::Leaf).await?;
                work.borrow_mut().came(cid, bytes);
            }
            Ok(())
        };
        match tokio::time::timeout(limit(self.config.slot_timeout_ms), leaves).await {
            Ok(ended) => ended,
            Err(_) => Err(Ended::Hoster),
        }
    }

    /// The index as an earlier attempt found it, if its nodes were kept.
    fn kept_index(&self, file: FileHash) -> Option<Index> {
        let note = self.known.index.filter(|_| self.known.nodes_kept)?;
        let bytes = self.ports.disk.read(&car_name(&self.known)).ok().flatten();
        let car = stored_car(&self.known, bytes)?;
        let index = car.index(file, self.caps()).ok().flatten()?;
        (index.note() == note).then_some(index)
    }

    fn caps(&self) -> Caps {
        Caps::for_size(self.known.terms.as_ref().map(|terms| terms.size).unwrap_or_default())
    }

    async fn walk(&self, hoster: &Hoster<'_>, file: FileHash, work: &RefCell<Work>) -> Result<Index, Ended> {
        let mut walk = Walk::new(file, self.caps());
        let refused = |why: Refusal| Ended::Refused(Skip::Content(why.to_string()));
        let mut kept = 0;
        while let Some(cid) = walk.wants().map_err(refused)? {
            let bytes = hoster.demand(cid, Purpose::Index).await?;
            let kind = walk.give(&bytes).map_err(refused)?;
            let mut work = work.borrow_mut();
            work.walked += 1;
            if kind == Kind::Inner {
                kept += bytes.len() as u64;
                if kept > MOST_INNER {
                    work.too_many_nodes = true;
                    work.inner.clear();
                } else {
                    // The first is the root, whose codec was not known before.
                    let cid = if work.walked == 1 { dag::root_of(file, &bytes) } else { cid };
                    work.inner.push((cid, bytes));
                }
            }
        }
        Ok(walk.finish())
    }

    /// Asks again for what was missing.
    async fn ask_again(&self, hoster: &Hoster<'_>, work: &RefCell<Work>) -> Result<(), Ended> {
        let Some(before) = self.slot.tries.last() else { return Ok(()) };
        work.borrow_mut().drawn = before.drawn.clone();
        let missing = match before.standing(&self.policy) {
            Standing::Contained(missing) => missing,
            // Silence at an earlier re-ask: what is missing still stands in the questions.
            _ => before.rechecked(),
        };
        for cid in missing {
            let (answer, bytes) = hoster.ask(cid, Purpose::Recheck, true).await.map_err(Ended::Store)?;
            if answer.is_right() {
                work.borrow_mut().came(cid, bytes);
            }
        }
        Ok(())
    }

    /// Whether other hosters' endpoints answer us.
    async fn ask_others(&self) -> Result<Vec<Elsewhere>, store::Error> {
        let mut answered = Vec::new();
        for (hoster, endpoint) in &self.others {
            let other = Hoster {
                ports: &self.ports,
                policy: &self.policy,
                endpoint: endpoint.clone(),
                hoster: *hoster,
                bid: self.known.bid,
                end: ChainTime(u64::MAX),
                asked: RefCell::default(),
            };
            if other.ask(dag::probe(), Purpose::Probe, true).await?.0.is_right() {
                let at = other.asked.borrow().last().map_or(ChainTime(0), |asked| asked.chain);
                answered.push(Elsewhere { hoster: *hoster, at });
            }
        }
        Ok(answered)
    }
}

/// What came so far; it outlives a timeout.
#[derive(Default)]
struct Work {
    walked: u64,
    too_many_nodes: bool,
    index: Option<IndexNote>,
    drawn: Option<Drawn>,
    inner: Vec<(Cid, Vec<u8>)>,
    drawn_blocks: Vec<(Cid, Vec<u8>)>,
}

impl Work {
    fn came(&mut self, cid: Cid, bytes: Vec<u8>) {
        if let Some(drawn) = &mut self.drawn {
            let seed = drawn.seed;
            if let Some(block) = drawn.blocks.iter_mut().find(|block| block.cid == cid) {
                block.proof = Some(keccak(&[&seed.0, &bytes]));
            }
        }
        self.drawn_blocks.push((cid, bytes));
    }
}

/// Why an attempt ended before its end.
enum Ended {
    /// The hoster was silent or something is missing: its questions tell.
    Hoster,
    /// The content is none that is audited.
    Refused(Skip),
    /// Our own store failed.
    Store(store::Error),
}

impl From<Gone> for Ended {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Dark | Gone::Missing => Self::Hoster,
            Gone::Store(error) => Self::Store(error),
        }
    }
}
