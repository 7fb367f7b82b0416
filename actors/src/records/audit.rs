//! Audits: how far each has come, and everything that its evidence will tell.

use serde::{Deserialize, Serialize};

use crate::domain::audit::life::Stage;
use crate::domain::audit::schedule::Plan;
use crate::domain::audit::secrets::Secrets;
use crate::domain::audit::slot::Slot;
use crate::domain::audit::vote::Elsewhere;
use crate::domain::audit::walk::IndexNote;
use crate::domain::market::{BidKey, BidTerms};
use crate::domain::units::{Address, BlockHeight, ChainTime, FileHash, WallTime};
use crate::ports::randomness::Randomness;
use crate::ports::store::{self, Batch, Order, Record, Store, Table};

/// A bid and its audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Which bid.
    pub bid: BidKey,
    /// When it was placed; `None` if that was before this node began to listen.
    pub placed_at: Option<ChainTime>,
    /// Who announced it, and where in the chain.
    pub announced: Option<Announced>,
    /// Its terms, once they were asked for.
    pub terms: Option<BidTerms>,
    /// The audit's plan, once it is clear that there is one.
    pub plan: Option<Plan>,
    /// The content's index, once it was walked to its end.
    pub index: Option<IndexNote>,
    /// Whether its inner nodes are kept; not if there are too many bytes of them.
    pub nodes_kept: bool,
    /// The hoster's endpoint that last answered as one.
    pub endpoint: Option<String>,
    /// Other hosters' endpoints that answered while this one was silent.
    pub elsewhere: Vec<Elsewhere>,
    /// How far it has come.
    pub stage: Stage,
    /// When that stage began, by this machine.
    pub since: WallTime,
}

/// A hoster's announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Who.
    pub hoster: Address,
    /// In which block.
    pub block: BlockHeight,
    /// At which time: the duration begins.
    pub at: ChainTime,
}

impl Audit {
    /// An audit of a bid of which nothing is known yet.
    pub fn new(bid: BidKey, since: WallTime) -> Self {
        Self {
            bid,
            placed_at: None,
            announced: None,
            terms: None,
            plan: None,
            index: None,
            nodes_kept: true,
            endpoint: None,
            elsewhere: Vec::new(),
            stage: Stage::Placed,
            since,
        }
    }

    /// The name of its files, without an extension.
    pub fn file_name(&self) -> String {
        let market = self.bid.market;
        format!("evidence/{}-{}-{}", market.chain, market.address, self.bid.id)
    }
}

fn key_of(kind: u8, bid: BidKey, rest: &[u8]) -> Vec<u8> {
    [&[kind][..], &bid.to_bytes(), rest].concat()
}

/// How the keys of audits begin, beside their slots and notes in the same table.
pub const AUDITS: &[u8] = b"a";
/// How the keys of their slots begin.
pub const SLOTS: &[u8] = b"s";

impl Record for Audit {
    const TABLE: Table = Table::Audits;
    fn key(&self) -> Vec<u8> {
        key_of(b'a', self.bid, &[])
    }
}

/// The audit of a bid, if it is known.
///
/// # Errors
/// If the store fails.
pub fn of(store: &dyn Store, bid: BidKey) -> Result<Option<Audit>, store::Error> {
    store::read(store, &key_of(b'a', bid, &[]))
}

/// All audits, newest bid first, at most `limit`. Bids that nobody hosts yet are among them.
///
/// # Errors
/// If the store fails.
pub fn all(store: &dyn Store, limit: usize) -> Result<Vec<Audit>, store::Error> {
    store::list(store, AUDITS, Order::Descending, limit)
}

/// A slot of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSlot {
    /// Of which bid.
    pub bid: BidKey,
    /// The slot.
    pub slot: Slot,
}

impl Record for AuditSlot {
    const TABLE: Table = Table::Audits;
    fn key(&self) -> Vec<u8> {
        key_of(b's', self.bid, &self.slot.slot.to_be_bytes())
    }
}

/// The slots of an audit, in order.
///
/// # Errors
/// If the store fails.
pub fn slots(store: &dyn Store, bid: BidKey) -> Result<Vec<Slot>, store::Error> {
    let rows: Vec<AuditSlot> = store::list(store, &key_of(b's', bid, &[]), Order::Ascending, 64)?;
    Ok(rows.into_iter().map(|row| row.slot).collect())
}

/// Forgets the slots of an audit, whose announcement a reorg has removed.
///
/// # Errors
/// If the store fails.
pub fn forget_slots(store: &dyn Store, batch: &mut Batch, bid: BidKey) -> Result<(), store::Error> {
    for slot in slots(store, bid)? {
        batch.delete::<AuditSlot>(&AuditSlot { bid, slot }.key());
    }
    Ok(())
}

/// A registration file that an audit relied on, as the block that its digest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Of which audit.
    pub bid: BidKey,
    /// Whose file.
    pub who: Address,
    /// Its digest.
    pub file: FileHash,
    /// The block's bytes in hex.
    pub block: String,
}

impl Record for Registered {
    const TABLE: Table = Table::Audits;
    fn key(&self) -> Vec<u8> {
        key_of(b'r', self.bid, &[&self.who.0[..], &self.file.0].concat())
    }
}

/// The registration files that an audit relied on.
///
/// # Errors
/// If the store fails.
pub fn registrations(store: &dyn Store, bid: BidKey) -> Result<Vec<Registered>, store::Error> {
    store::list(store, &key_of(b'r', bid, &[]), Order::Ascending, 256)
}

/// The node's chain of audit secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSecrets {
    /// The chain.
    pub secrets: Secrets,
}

impl AuditSecrets {
    const KEY: &'static [u8] = b"audit_secrets";

    /// The chain, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(store: &dyn Store) -> Result<Option<Secrets>, store::Error> {
        Ok(store::read::<Self>(store, Self::KEY)?.map(|kept| kept.secrets))
    }

    /// The chain; grown and made durable now if there is none. To be called before its anchor is registered:
    /// what is lost with the store could never be revealed.
    ///
    /// # Errors
    /// If the store fails.
    pub fn ensure(
        store: &dyn Store,
        randomness: &dyn Randomness,
        now: ChainTime,
    ) -> Result<Secrets, store::Error> {
        if let Some(secrets) = Self::read(store)? {
            return Ok(secrets);
        }
        let secrets = Secrets::new(randomness.secret(), now);
        let mut batch = Batch::new();
        batch.put(&Self { secrets: secrets.clone() });
        store.commit(batch)?;
        Ok(secrets)
    }
}

impl Record for AuditSecrets {
    const TABLE: Table = Table::Meta;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::market::Market;
    use crate::domain::units::{BidId, Digest};
    use crate::testkit::{MemoryStore, SeededRandomness};

    #[test]
    fn secrets_are_durable_before_their_anchor_can_be_known() {
        let store = MemoryStore::new();
        let first = AuditSecrets::ensure(&store, &SeededRandomness::new(1), ChainTime(7_200)).unwrap();
        let store = store.reopen();
        let second = AuditSecrets::ensure(&store, &SeededRandomness::new(2), ChainTime(9_999)).unwrap();
        assert_eq!(first, second);
        store.fuse().blow();
        let dead = MemoryStore::new();
        dead.fuse().blow();
        assert!(AuditSecrets::ensure(&dead, &SeededRandomness::new(1), ChainTime(0)).is_err());
    }

    #[test]
    fn slots_and_registrations_stand_beside_their_audit_and_no_other() {
        let store = MemoryStore::new();
        let market = Market { chain: 1, address: Address([1; 20]) };
        let mut batch = Batch::new();
        for id in [1, 256] {
            let bid = BidKey { market, id: BidId(id) };
            batch.put(&Audit::new(bid, WallTime(0)));
            for slot in [0, 1] {
                batch.put(&AuditSlot { bid, slot: Slot::new(slot, Digest::default(), ChainTime(id)) });
            }
        }
        store.commit(batch).unwrap();
        let bid = BidKey { market, id: BidId(1) };
        assert_eq!(slots(&store, bid).unwrap().len(), 2);
        assert!(registrations(&store, bid).unwrap().is_empty());
        let ids: Vec<u64> = all(&store, 10).unwrap().iter().map(|audit| audit.bid.id.0).collect();
        assert_eq!(ids, [256, 1]);
        let mut batch = Batch::new();
        forget_slots(&store, &mut batch, bid).unwrap();
        store.commit(batch).unwrap();
        assert!(slots(&store, bid).unwrap().is_empty());
        assert_eq!(slots(&store, BidKey { id: BidId(256), ..bid }).unwrap().len(), 2);
    }
}
