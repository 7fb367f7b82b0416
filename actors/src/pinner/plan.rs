//! What is to change in the references of one owner, and how each change is written.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use cid::Cid;

use super::queue::Root;
use crate::domain::units::WallTime;
use crate::ports::ipfs::{self, Ipfs};
use crate::ports::store::{self, Batch, Record, Store};
use crate::records::consortium::{listed, peers, standing, Peer};
use crate::records::hosting::{
    let_go, pin_of, refer, root_key, root_of_key, roots_for, set_unneeded, Owner, Pin,
};

/// CIDs looked at between two turns of others.
const TURN: usize = 1_000;

/// References on their way to what they should be.
pub(super) struct Plan {
    /// Whose.
    pub(super) owner: Rc<Owner>,
    add: VecDeque<Cid>,
    remove: VecDeque<Root>,
    /// Of those to add, the ones that the backend has pinned already, in the form in which it has them.
    pinned: HashMap<Root, Cid>,
    /// What is true when all is done.
    pub(super) end: End,
}

/// How a change of references ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The references of a peer are those of that generation.
    Kept {
        /// Which one.
        generation: u64,
        /// Roots listed beyond those that are kept for one peer.
        over_limit: u64,
    },
    /// The peer is gone, and its references are.
    Gone,
    /// The operator's references are seen.
    Seen,
}

/// What a change means for the queue, once it is durable.
#[derive(Debug)]
pub(super) enum Move {
    /// Needed from now on, and here: so many bytes.
    Have(Root, u64),
    /// Needed from now on, and not here.
    Want(Root),
    /// Not needed any more; it was here.
    DropPinned(Root, u64),
    /// Not needed any more; it was not here.
    DropWanted(Root),
}

/// Why references could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Ipfs(#[from] ipfs::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Compares what is with what should be. `own`: the operator's roots as last seen.
pub(super) async fn draw(
    store: &dyn Store,
    ipfs: &dyn Ipfs,
    owner: Rc<Owner>,
    own: BTreeSet<Root>,
) -> Result<Plan, Fault> {
    let mut plan = match &*owner {
        Owner::Peer(name) => match peers(store)?.into_iter().find(|peer| peer.name == *name) {
            Some(peer) => of_peer(store, &owner, &peer).await?,
            None => of_nobody(store, &owner)?,
        },
        Owner::Manual | Owner::Bid(_) => of_operator(store, &owner, own)?,
    };
    if !plan.add.is_empty() {
        let added: HashSet<Root> = plan.add.iter().map(|cid| root_key(cid).into()).collect();
        for (place, cid) in ipfs.pins().await?.into_iter().enumerate() {
            if let Some(root) = added.get(&*root_key(&cid)) {
                plan.pinned.insert(Rc::clone(root), cid);
            }
            give_way(place).await;
        }
    }
    Ok(plan)
}

/// Lets others have their turn now and then.
async fn give_way(place: usize) {
    if place % TURN == TURN - 1 {
        tokio::task::yield_now().await;
    }
}

/// A peer's references become the union of what its files list, as far as its bound goes: first what is kept
/// already, then in the order of the lists.
async fn of_peer(store: &dyn Store, owner: &Rc<Owner>, peer: &Peer) -> Result<Plan, store::Error> {
    // The generation is read first: should the lists be newer, they are looked at once more.
    let generation = standing(store, &peer.name)?.map_or(0, |standing| standing.generation);
    let have: HashSet<Root> = roots_of(store, owner)?.into_iter().collect();
    let (mut seen, mut kept, mut fresh) = (HashSet::<Root>::new(), HashSet::<Root>::new(), Vec::new());
    let most = usize::try_from(peer.max_pins).unwrap_or(usize::MAX);
    for file in listed(store, &peer.name)? {
        for (place, text) in file.roots.iter().enumerate() {
            give_way(place).await;
            let Ok(cid) = text.parse::<Cid>() else {
                tracing::debug!(peer = peer.name, file = file.file, text, "no CID is listed");
                continue;
            };
            let root: Root = root_key(&cid).into();
            if !seen.insert(Rc::clone(&root)) {
                continue;
            }
            if !have.contains(&root) {
                // More than the bound would never be taken.
                if fresh.len() < most {
                    fresh.push(cid);
                }
            } else if kept.len() < most {
                kept.insert(root);
            }
        }
    }
    fresh.truncate(most - kept.len());
    let over_limit = (seen.len() - kept.len() - fresh.len()) as u64;
    let mut add: VecDeque<Cid> = fresh.into();
    let mut remove: Vec<Root> = Vec::new();
    for root in have {
        if !kept.contains(&root) {
            remove.push(root);
        } else if store.get(Pin::TABLE, &root)?.is_none() {
            add.extend(root_of_key(&root));
        }
    }
    remove.sort_unstable();
    let end = End::Kept { generation, over_limit };
    Ok(Plan { owner: Rc::clone(owner), add, remove: remove.into(), pinned: HashMap::new(), end })
}

/// Nobody of that name is mirrored: all its references go.
fn of_nobody(store: &dyn Store, owner: &Rc<Owner>) -> Result<Plan, store::Error> {
    let remove = roots_of(store, owner)?.into();
    let (add, pinned) = (VecDeque::new(), HashMap::new());
    Ok(Plan { owner: Rc::clone(owner), add, remove, pinned, end: End::Gone })
}

/// The operator's references are written by others: what is new in them is pinned, what went begins its grace.
fn of_operator(store: &dyn Store, owner: &Rc<Owner>, mut own: BTreeSet<Root>) -> Result<Plan, store::Error> {
    let mut add = VecDeque::new();
    for cid in roots_for(store, owner)? {
        if !own.remove(&*root_key(&cid)) {
            add.push_back(cid);
        }
    }
    let (remove, pinned) = (own.into_iter().collect(), HashMap::new());
    Ok(Plan { owner: Rc::clone(owner), add, remove, pinned, end: End::Seen })
}

fn roots_of(store: &dyn Store, owner: &Owner) -> Result<Vec<Root>, store::Error> {
    Ok(roots_for(store, owner)?.iter().map(|cid| root_key(cid).into()).collect())
}

impl Plan {
    /// Whether nothing is left to change.
    pub(super) fn is_done(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// Writes at most `most` changes into the batch; removals first, for they make room.
    pub(super) fn take(
        &mut self,
        store: &dyn Store,
        batch: &mut Batch,
        most: usize,
        now: WallTime,
    ) -> Result<Vec<Move>, store::Error> {
        let mut moves = Vec::with_capacity(most);
        while moves.len() < most {
            if let Some(root) = self.remove.pop_front() {
                moves.extend(self.remove(store, batch, root, now)?);
            } else if let Some(cid) = self.add.pop_front() {
                moves.push(self.add(store, batch, cid)?);
            } else {
                break;
            }
        }
        Ok(moves)
    }

    fn remove(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        root: Root,
        now: WallTime,
    ) -> Result<Option<Move>, store::Error> {
        let Some(cid) = root_of_key(&root) else { return Ok(None) };
        let pin = pin_of(store, &cid)?;
        let_go(store, batch, cid, (*self.owner).clone(), now)?;
        Ok(Some(match pin.filter(|pin| pin.pinned_at.is_some()) {
            Some(pin) => Move::DropPinned(root, pin.bytes),
            None => Move::DropWanted(root),
        }))
    }

    fn add(&self, store: &dyn Store, batch: &mut Batch, cid: Cid) -> Result<Move, store::Error> {
        let root: Root = root_key(&cid).into();
        refer(batch, cid, (*self.owner).clone());
        let Some(pin) = pin_of(store, &cid)? else {
            let theirs = self.pinned.get(&root);
            batch.put(&Pin::wanted(*theirs.unwrap_or(&cid), theirs.is_some()));
            return Ok(Move::Want(root));
        };
        let moved = match pin.pinned_at {
            Some(_) => Move::Have(root, pin.bytes),
            None => Move::Want(root),
        };
        if pin.unneeded_since.is_some() {
            set_unneeded(batch, pin, None);
        }
        Ok(moved)
    }
}
