//! Hosted bids, references, pins and the blocks below them.

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::room::Room;
use crate::domain::bid::{Failure, Stage};
use crate::domain::market::{BidKey, BidTerms};
use crate::domain::units::{ChainTime, WallTime};
use crate::planted::{planted, Bug};
use crate::ports::store::{self, Batch, Order, Record, Store, Table};

/// A bid that this node has looked at, and how far it has come with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedBid {
    /// Which bid.
    pub bid: BidKey,
    /// Its terms when it was judged.
    pub terms: BidTerms,
    /// The root by which it is fetched: dag-pb first, raw if that is what it turns out to be.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// When it was placed, by the chain.
    pub placed_at: ChainTime,
    /// How far it has come.
    pub stage: Stage,
    /// When that stage began, by this machine.
    pub since: WallTime,
}

impl HostedBid {
    /// Whether it is judged again if a reorg places it anew: its life ended by what that reorg undid.
    pub fn may_be_had_anew(&self) -> bool {
        match &self.stage {
            Stage::Lost { .. } => true,
            Stage::Failed { reason } => !matches!(reason, Failure::Content(_)),
            _ => false,
        }
    }
}

impl Record for HostedBid {
    const TABLE: Table = Table::Bids;
    fn key(&self) -> Vec<u8> {
        self.bid.to_bytes()
    }
}

/// Who needs a root. A root is unpinned only when nobody does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "owner", content = "id", rename_all = "snake_case")]
pub enum Owner {
    /// A bid that we host.
    Bid(BidKey),
    /// A peer of the consortium, by its name.
    Peer(String),
    /// The operator.
    Manual,
}

/// One reason to keep a root. It stands twice, so that it is found by root and by owner: write it with
/// [`refer`] and remove it with [`unrefer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The root.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// Whose reason.
    pub owner: Owner,
    /// False: looked up by root. True: looked up by owner.
    #[serde(default)]
    pub by_owner: bool,
}

impl Reference {
    /// A reason to keep a root.
    pub fn new(cid: Cid, owner: Owner) -> Self {
        Self { cid, owner, by_owner: false }
    }
}

impl Record for Reference {
    const TABLE: Table = Table::Refs;
    fn key(&self) -> Vec<u8> {
        let (root, owner) = (root_key(&self.cid), owner_key(&self.owner));
        match self.by_owner {
            false => [vec![b'r'], root, owner].concat(),
            true => [vec![b'o'], owner, root].concat(),
        }
    }
}

fn owner_key(owner: &Owner) -> Vec<u8> {
    // An owner serialises without fail: it is a plain enum of numbers and text. A JSON object ends where no
    // other begins, so no owner's key is the beginning of another's.
    serde_json::to_vec(owner).unwrap_or_default()
}

/// Writes that somebody needs a root.
pub fn refer(batch: &mut Batch, cid: Cid, owner: Owner) {
    let reference = Reference::new(cid, owner);
    batch.put(&Reference { by_owner: true, ..reference.clone() });
    batch.put(&reference);
}

/// Writes that somebody needs a root no more.
pub fn unrefer(batch: &mut Batch, cid: Cid, owner: Owner) {
    let reference = Reference::new(cid, owner);
    batch.delete::<Reference>(&Reference { by_owner: true, ..reference.clone() }.key());
    batch.delete::<Reference>(&reference.key());
}

/// Writes that somebody needs a root, whose grace, if it runs, is over.
///
/// # Errors
/// If the store fails.
pub fn keep(store: &dyn Store, batch: &mut Batch, cid: Cid, owner: Owner) -> Result<(), store::Error> {
    if store::read::<Reference>(store, &Reference::new(cid, owner.clone()).key())?.is_none() {
        refer(batch, cid, owner);
    }
    if let Some(pin) = pin_of(store, &cid)?.filter(|pin| pin.unneeded_since.is_some()) {
        set_unneeded(batch, pin, None);
    }
    Ok(())
}

/// Writes that somebody needs a root no more; if nobody else does, its grace begins.
///
/// # Errors
/// If the store fails.
pub fn let_go(
    store: &dyn Store,
    batch: &mut Batch,
    cid: Cid,
    owner: Owner,
    now: WallTime,
) -> Result<(), store::Error> {
    let prefix = [vec![b'r'], root_key(&cid)].concat();
    // One of two at most is ours.
    let some = store::list::<Reference>(store, &prefix, Order::Ascending, 2)?;
    let needed = some.iter().any(|other| other.owner != owner) && !planted(Bug::CountReferencesOnce);
    if planted(Bug::TouchOthers) {
        some.iter().for_each(|other| unrefer(batch, cid, other.owner.clone()));
    }
    unrefer(batch, cid, owner);
    if let (false, Some(pin)) = (needed, pin_of(store, &cid)?) {
        let since = pin.unneeded_since.or(Some(now));
        set_unneeded(batch, pin, since);
    }
    Ok(())
}

/// A root's key: its multihash, since versions and bases of a CID name one content; then its codec.
pub fn root_key(cid: &Cid) -> Vec<u8> {
    let mut key = cid.hash().to_bytes();
    key.extend(cid.codec().to_be_bytes());
    key
}

/// The root of a key, as a CIDv1; `None` if it is no [`root_key`].
pub fn root_of_key(key: &[u8]) -> Option<Cid> {
    let (hash, codec) = key.split_last_chunk::<8>()?;
    let hash = cid::multihash::Multihash::from_bytes(hash).ok()?;
    Some(Cid::new_v1(u64::from_be_bytes(*codec), hash))
}

/// All reasons to keep a root.
///
/// # Errors
/// If the store fails.
pub fn references(store: &dyn Store, cid: &Cid) -> Result<Vec<Reference>, store::Error> {
    let prefix = [vec![b'r'], root_key(cid)].concat();
    store::list(store, &prefix, Order::Ascending, 10_000)
}

/// Reasons to keep a root, whatever its codec, at most `limit`: a multihash names the bytes.
///
/// # Errors
/// If the store fails.
pub fn references_to_block(
    store: &dyn Store,
    multihash: &[u8],
    limit: usize,
) -> Result<Vec<Reference>, store::Error> {
    store::list(store, &[b"r", multihash].concat(), Order::Ascending, limit)
}

/// The roots that somebody needs.
///
/// # Errors
/// If the store fails.
pub fn roots_for(store: &dyn Store, owner: &Owner) -> Result<Vec<Cid>, store::Error> {
    let mut roots = Vec::new();
    let prefix = [vec![b'o'], owner_key(owner)].concat();
    store::visit::<Reference>(store, &prefix, |reference| roots.push(reference.cid))?;
    Ok(roots)
}

/// Visits every reason to keep a root, owner by owner.
///
/// # Errors
/// If the store fails.
pub fn visit_references(store: &dyn Store, each: impl FnMut(Reference)) -> Result<(), store::Error> {
    store::visit(store, b"o", each)
}

/// A root that this node keeps, or is about to: written before the backend is asked, so that a pin of ours is
/// never taken for somebody else's after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The root.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// Bytes of its blocks.
    pub bytes: u64,
    /// How many blocks.
    pub blocks: u64,
    /// When it was complete; `None` while it is being fetched.
    pub pinned_at: Option<WallTime>,
    /// The backend had it pinned before we asked: it is never unpinned by us.
    pub foreign: bool,
    /// When its last reference went; it is unpinned a grace period later unless one comes back.
    pub unneeded_since: Option<WallTime>,
}

impl Pin {
    /// A root that is still to be fetched.
    pub fn wanted(cid: Cid, foreign: bool) -> Self {
        Self { cid, bytes: 0, blocks: 0, pinned_at: None, foreign, unneeded_since: None }
    }
}

impl Record for Pin {
    const TABLE: Table = Table::Pins;
    fn key(&self) -> Vec<u8> {
        root_key(&self.cid)
    }
}

/// The pin of a root, if we know of one.
///
/// # Errors
/// If the store fails.
pub fn pin_of(store: &dyn Store, cid: &Cid) -> Result<Option<Pin>, store::Error> {
    store::read(store, &root_key(cid))
}

/// Writes since when nobody needs a pin's root, or that somebody does.
pub fn set_unneeded(batch: &mut Batch, pin: Pin, since: Option<WallTime>) {
    if let Some(since) = pin.unneeded_since {
        batch.delete::<Unneeded>(&Unneeded { cid: pin.cid, since }.key());
    }
    if let Some(since) = since {
        batch.put(&Unneeded { cid: pin.cid, since });
    }
    batch.put(&Pin { unneeded_since: since, ..pin });
}

/// Forgets a pin. The leaves below it are forgotten one by one ([`forget_leaf`]).
///
/// # Errors
/// If the store fails.
pub fn forget_pin(store: &dyn Store, batch: &mut Batch, pin: &Pin) -> Result<(), store::Error> {
    if let Some(since) = pin.unneeded_since {
        batch.delete::<Unneeded>(&Unneeded { cid: pin.cid, since }.key());
    }
    batch.delete::<Pin>(&pin.key());
    Room::change(store, batch, Some(pin), None)
}

/// Writes what became of a pin.
///
/// # Errors
/// If the store fails.
pub fn change_pin(
    store: &dyn Store,
    batch: &mut Batch,
    before: Option<&Pin>,
    after: &Pin,
) -> Result<(), store::Error> {
    batch.put(after);
    Room::change(store, batch, before, Some(after))
}

/// A pin whose root nobody needs, found by time: what [`Pin::unneeded_since`] says, in the order of release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unneeded {
    /// The root.
    #[serde(with = "crate::domain::cids")]
    pub cid: Cid,
    /// Since when.
    pub since: WallTime,
}

impl Record for Unneeded {
    const TABLE: Table = Table::Refs;
    fn key(&self) -> Vec<u8> {
        [&b"u"[..], &self.since.0.to_be_bytes(), &root_key(&self.cid)].concat()
    }
}

/// The pins that nobody has needed since that moment or longer, the oldest first, at most `limit`.
///
/// # Errors
/// If the store fails.
pub fn unneeded(store: &dyn Store, until: WallTime, limit: usize) -> Result<Vec<Unneeded>, store::Error> {
    let mut found = store::list::<Unneeded>(store, b"u", Order::Ascending, limit)?;
    found.retain(|unneeded| unneeded.since <= until);
    Ok(found)
}

/// A block below a pinned root: what the firewall may serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The block's multihash, hex.
    pub block: String,
    /// The root that it was reached from.
    #[serde(with = "crate::domain::cids")]
    pub root: Cid,
    /// False: looked up by block. True: looked up by root, to remove it with the root.
    pub by_root: bool,
}

impl Record for Leaf {
    const TABLE: Table = Table::LeafIndex;
    fn key(&self) -> Vec<u8> {
        let block = hex::decode(&self.block).unwrap_or_default();
        let (kind, first, second) = match self.by_root {
            false => (b'b', block, root_key(&self.root)),
            true => (b'r', root_key(&self.root), block),
        };
        [vec![kind], first, second].concat()
    }
}

/// Writes that a block was reached from a root.
pub fn index_leaf(batch: &mut Batch, block: &[u8], root: Cid) {
    for by_root in [false, true] {
        batch.put(&Leaf { block: hex::encode(block), root, by_root });
    }
}

/// The roots that a block was reached from, at most `limit`.
///
/// # Errors
/// If the store fails.
pub fn roots_of(store: &dyn Store, block: &[u8], limit: usize) -> Result<Vec<Cid>, store::Error> {
    let prefix = [&b"b"[..], block].concat();
    Ok(store::list::<Leaf>(store, &prefix, Order::Ascending, limit)?.into_iter().map(|l| l.root).collect())
}

/// The blocks reached from a root, at most `limit`.
///
/// # Errors
/// If the store fails.
pub fn leaves_of(store: &dyn Store, root: &Cid, limit: usize) -> Result<Vec<Leaf>, store::Error> {
    let prefix = [&b"r"[..], &root_key(root)].concat();
    store::list(store, &prefix, Order::Ascending, limit)
}

/// Forgets a leaf in both directions.
pub fn forget_leaf(batch: &mut Batch, leaf: &Leaf) {
    for by_root in [false, true] {
        batch.delete::<Leaf>(&Leaf { by_root, ..leaf.clone() }.key());
    }
}
