//! What the chain shows of the nonces that are not final. Questions that several nonces have are asked together, and
//! only those whose answers can change what is done.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Error, Round, World};
use crate::domain::units::{BlockHeight, ChainTime, TxHash};
use crate::domain::wallet::slot::{Inclusion, Move, Rules, Sight, Slot};
use crate::ports::chain::{self, Header, Receipt};
use crate::ports::store;
use crate::records::journal::Block;

/// A receipt in the canonical chain, and its block's time.
pub(super) type Found = Option<(Receipt, ChainTime)>;

/// What is seen of a nonce, or why that is not known.
pub(super) type Seen = Result<(Sight, Found), chain::Error>;

/// Answers to what was asked of all nonces at once.
#[derive(Default)]
struct Asked {
    receipts: BTreeMap<TxHash, Result<Option<Receipt>, chain::Error>>,
    headers: BTreeMap<BlockHeight, Result<Option<Header>, chain::Error>>,
}

impl Round {
    /// Looks at all nonces that are not final.
    pub(super) async fn sights(&mut self, slots: &[Slot], world: &World) -> Result<Vec<Seen>, Error> {
        let mut sights: BTreeMap<u64, Seen> = BTreeMap::new();
        let mut asked = Asked::default();
        self.confirmed(slots, world, &mut asked, &mut sights).await?;
        let open: Vec<&Slot> = slots.iter().filter(|slot| !sights.contains_key(&slot.nonce)).collect();
        let told: Vec<&Slot> = open.iter().copied().filter(|slot| self.needs_receipts(slot, world)).collect();
        self.ask_receipts(&told, &mut asked).await;
        let asked_for: BTreeSet<u64> = told.iter().map(|slot| slot.nonce).collect();
        for slot in open {
            let seen = match asked_for.contains(&slot.nonce) {
                true => self.by_receipts(slot, world, &asked),
                false => Ok((self.unasked(slot, world), None)),
            };
            sights.insert(slot.nonce, seen);
        }
        Ok(slots.iter().filter_map(|slot| sights.remove(&slot.nonce)).collect())
    }

    /// Sees to those whose outcome is journaled. Blocks stand or fall with their descendants: while the highest one
    /// stands, nothing is asked about the others, until it is time for the last word.
    async fn confirmed(
        &mut self,
        slots: &[Slot],
        world: &World,
        asked: &mut Asked,
        sights: &mut BTreeMap<u64, Seen>,
    ) -> Result<(), Error> {
        let now = self.now();
        let due = now >= self.memory.next_anchor;
        if due {
            self.memory.next_anchor = now.saturating_add(self.config.poll_ms / 2);
        }
        let anchor = self.memory.anchor.filter(|anchor| due && anchor.block <= world.moment.head);
        if let Some(anchor) = anchor {
            if !self.is_read(&anchor)? {
                self.ask_headers([anchor.block].into(), asked).await;
                if !asked.is_canonical(&anchor) {
                    self.memory.anchored.clear();
                    self.memory.anchor = None;
                }
            }
        }
        let mut doubtful = Vec::new();
        for slot in slots {
            let Some(standing) = slot.standing else { continue };
            let last_word = world.moment.is_final(standing.block, self.config.confirmations);
            let known = self.memory.anchored.contains(&slot.nonce);
            if standing.block > world.moment.head {
                sights.insert(slot.nonce, Ok((Sight::Unclear, None)));
            } else if !due || (!last_word && (known || self.is_read(&standing)?)) {
                sights.insert(slot.nonce, Ok((Sight::Mined(standing), None)));
            } else {
                doubtful.push((slot.nonce, standing));
            }
        }
        self.ask_headers(doubtful.iter().map(|(_, standing)| standing.block).collect(), asked).await;
        for (nonce, standing) in doubtful {
            match asked.headers.get(&standing.block) {
                Some(Ok(Some(header))) if header.hash == standing.hash => {
                    if self.memory.anchor.is_none_or(|anchor| anchor.block < standing.block) {
                        self.memory.anchor = Some(standing);
                    }
                    self.memory.anchored.insert(nonce);
                    sights.insert(nonce, Ok((Sight::Mined(standing), None)));
                }
                // Another block stands there: its receipt tells more.
                Some(Ok(Some(_))) => {}
                Some(Err(error)) => {
                    sights.insert(nonce, Err(error.clone()));
                }
                Some(Ok(None)) | None => {
                    sights.insert(nonce, Ok((Sight::Unclear, None)));
                }
            }
        }
        Ok(())
    }

    /// Whether the listener has read that very block: what it has read spares a question to the chain.
    fn is_read(&self, standing: &Inclusion) -> Result<bool, store::Error> {
        let read = store::read::<Block>(self.ports.store.as_ref(), &standing.block.0.to_be_bytes())?;
        Ok(read.is_some_and(|block| block.hash == standing.hash))
    }

    /// Whether receipts can change what is done: where the nonce is used, or where something would be sent.
    fn needs_receipts(&mut self, slot: &Slot, world: &World) -> bool {
        if slot.standing.is_some() {
            return true;
        }
        if world.latest > slot.nonce {
            let seen = self.memory.pushes.get(&slot.nonce).and_then(|push| push.seen);
            return seen.is_none_or(|seen| world.moment.is_deep(seen.block, self.config.confirmations));
        }
        let recall = self.memory.recall(slot.nonce, self.now());
        slot.next(Sight::Unmined, &world.moment, self.rules(), &recall) != Move::Wait
    }

    /// What is known without a question.
    fn unasked(&mut self, slot: &Slot, world: &World) -> Sight {
        let push = self.memory.pushes.entry(slot.nonce).or_default();
        match push.seen {
            Some(seen) if world.latest > slot.nonce => Sight::Mined(seen),
            _ => {
                (push.seen, push.passed_since) = (None, None);
                Sight::Unmined
            }
        }
    }

    /// What the receipts tell: those of all hashes count, and only canonical blocks.
    fn by_receipts(&mut self, slot: &Slot, world: &World, asked: &Asked) -> Seen {
        let push = self.memory.pushes.entry(slot.nonce).or_default();
        push.seen = None;
        for attempt in slot.tries.iter().rev() {
            let receipt = match asked.receipts.get(&attempt.tx) {
                Some(Ok(Some(receipt))) => receipt,
                Some(Err(error)) => return Err(error.clone()),
                Some(Ok(None)) | None => continue,
            };
            return Ok(match asked.headers.get(&receipt.block) {
                Some(Ok(Some(header))) if header.hash == receipt.hash => {
                    let seen = Inclusion { tx: attempt.tx, block: receipt.block, hash: receipt.hash };
                    push.seen = Some(seen);
                    (Sight::Mined(seen), Some((receipt.clone(), header.time)))
                }
                Some(Err(error)) => return Err(error.clone()),
                // Two providers that disagree: time will tell.
                _ => (Sight::Unclear, None),
            });
        }
        if world.latest > slot.nonce {
            let since = *push.passed_since.get_or_insert(world.moment.head);
            return Ok((Sight::Passed(since), None));
        }
        push.passed_since = None;
        Ok((Sight::Unmined, None))
    }

    async fn ask_receipts(&self, slots: &[&Slot], asked: &mut Asked) {
        let txs: Vec<TxHash> = slots.iter().flat_map(|slot| &slot.tries).map(|attempt| attempt.tx).collect();
        if txs.is_empty() {
            return;
        }
        let receipts = Rc::clone(&self.ports.chain).receipts(&txs).await;
        asked.receipts.extend(txs.into_iter().zip(receipts));
        let mined = asked.receipts.values().filter_map(|receipt| receipt.as_ref().ok()?.as_ref());
        let blocks: BTreeSet<BlockHeight> = mined.map(|receipt| receipt.block).collect();
        self.ask_headers(blocks, asked).await;
    }

    async fn ask_headers(&self, numbers: BTreeSet<BlockHeight>, asked: &mut Asked) {
        let unknown = numbers.into_iter().filter(|number| !asked.headers.contains_key(number));
        let numbers: Vec<BlockHeight> = unknown.collect();
        if !numbers.is_empty() {
            let headers = Rc::clone(&self.ports.chain).headers(&numbers).await;
            asked.headers.extend(numbers.into_iter().zip(headers));
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            confirmations: self.config.confirmations,
            bump_after_ms: self.config.bump_after_seconds.saturating_mul(1_000),
        }
    }
}

impl Asked {
    fn is_canonical(&self, place: &Inclusion) -> bool {
        matches!(self.headers.get(&place.block), Some(Ok(Some(header))) if header.hash == place.hash)
    }
}
