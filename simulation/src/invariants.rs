//! What always holds: each a function over the truth behind the ports, asked after every step.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use scatter_actors::domain::admission::byte_cap;
use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::evidence::verify::verify;
use scatter_actors::domain::market::{MarketCall, MarketEvent, Position};
use scatter_actors::domain::units::{Address, BlockHash, BlockHeight, ChainTime, Wei};
use scatter_actors::ports::disk::Disk;
use scatter_actors::ports::store::{self, Order};
use scatter_actors::records::consortium::kept;
use scatter_actors::records::following;
use scatter_actors::records::hosting::{root_key, roots_for, visit_references, HostedBid, Owner, Pin};
use scatter_actors::records::journal::Fact;
use scatter_actors::records::meta::newest_block;
use scatter_actors::records::room::Room;
use scatter_actors::testkit::chain::{cost, Mined};
use sha3::{Digest, Keccak256};

use crate::node::{Node, COMPARE_EACH, MAX_HEAD_AGE_MS, MIN_FREE, QUOTA};
use crate::plan::WEATHER_MS;
use crate::street::Cheat;
use crate::world::World;

mod liveness;

use liveness::every_bid_that_was_worth_it_is_paid;
pub use liveness::every_friend_is_mirrored;

/// Milliseconds from a block to the listener's note of it: a poll and a step.
const LISTENER_LAG_MS: u64 = 10_000;
/// Milliseconds for which a probe of the IPFS node may be old: one a minute, each of which may take 20 s.
const PROBE_LAG_MS: u64 = 90_000;

/// Milliseconds until a lost pin is found, and its content here again.
const UPKEEP_MS: u64 = 4 * COMPARE_EACH.as_millis() as u64;

type Verdict = Result<(), String>;

fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    match condition {
        true => Ok(()),
        false => Err(otherwise()),
    }
}

/// What each invariant looked at when it was asked last: it is asked anew whenever any of that differs.
#[derive(Default)]
pub struct Checked {
    chain: Cell<BlockHash>,
    sent: Cell<usize>,
    kept: RefCell<(u64, Vec<cid::Cid>)>,
    journals: RefCell<(BlockHash, Vec<u64>)>,
    listed: Cell<(u64, usize)>,
}

/// All that holds at every moment.
///
/// # Errors
/// Which one does not, and how.
pub fn all(world: &World) -> Verdict {
    let (seen, tip) = (&world.checked, world.truth.tip());
    if seen.chain.replace(tip) != tip {
        i1(world)?;
        i4(world)?;
        i7(world)?;
        money_is_conserved(world)?;
    }
    let sent = world.sent.borrow().len();
    if seen.sent.replace(sent) != sent {
        i2(world)?;
    }
    let written = world.hoster.commits.kept.get();
    let kept = (written, world.hoster.ipfs.pinned());
    // What is lost has to be back in time, whether anything changes or not.
    if *seen.kept.borrow() != kept || !world.lost.is_empty() {
        i5(world)?;
        i6(world)?;
        seen.kept.replace(kept);
    }
    let journals = (tip, world.nodes().map(|node| node.commits.journal.get()).collect());
    if *seen.journals.borrow() != journals {
        i8(world)?;
        seen.journals.replace(journals);
    }
    let listed = (written, world.friends.all.iter().map(|friend| friend.ever.len()).sum());
    if seen.listed.replace(listed) != listed {
        i9(world)?;
    }
    i10(world)?;
    i11(world)
}

/// What holds besides once all trouble is over and everything is done.
///
/// # Errors
/// Which one does not, and how.
pub fn at_the_end(world: &World) -> Verdict {
    i3(world)?;
    every_bid_that_was_worth_it_is_paid(world)
}

/// What of a node's is mined.
fn of<'a>(mined: &'a [Mined], node: &Node) -> impl Iterator<Item = &'a Mined> + use<'a> {
    let who = node.account;
    mined.iter().filter(move |mined| mined.tx.from == who)
}

/// No effect with money happens twice: an intent is mined at most once, a bid announced at most once.
fn i1(world: &World) -> Verdict {
    let (sent, mined) = (world.sent.borrow(), world.truth.mined());
    for node in world.nodes() {
        let mut mined_for = BTreeMap::new();
        let mut announced = BTreeSet::new();
        for mined in of(&mined, node) {
            let receipt = &mined.receipt;
            if let Some(intent) = sent.get(&receipt.tx).and_then(|sent| sent.intent.as_ref()) {
                if let Some(before) = mined_for.insert(intent.clone(), receipt.tx) {
                    return Err(format!("I1: {intent} was mined as {before} and {}", receipt.tx));
                }
            }
            for event in &receipt.events {
                if let MarketEvent::Pinned { bid, .. } = event {
                    holds(announced.insert((mined.tx.market(), *bid)), || {
                        format!("I1: bid {bid} was announced twice")
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// Every attempt is durable before it is sent.
fn i2(world: &World) -> Verdict {
    let sent = world.sent.borrow();
    let early = sent.iter().find(|(_, sent)| !sent.durable);
    holds(early.is_none(), || format!("I2: {:?} was sent and not in the store", early.map(|(tx, _)| tx)))
}

/// No nonce gap outlives its repair: in the end nothing of a node's waits for a nonce before it.
fn i3(world: &World) -> Verdict {
    for node in world.nodes() {
        let pool = world.chain.pool();
        let waiting: Vec<u64> = pool.iter().filter(|tx| tx.from == node.account).map(|tx| tx.nonce).collect();
        holds(waiting.is_empty(), || format!("I3: nonces {waiting:?} of {} still wait", node.name))?;
    }
    Ok(())
}

/// What the node's wallet spends stays below its cap. A history takes less than the window of a day.
fn i4(world: &World) -> Verdict {
    let (mined, sent) = (world.truth.mined(), world.sent.borrow());
    for node in world.nodes() {
        // Somebody registered the account before its node first ran.
        let own = of(&mined, node).filter(|mined| sent.contains_key(&mined.receipt.tx));
        let spent = own.fold(Wei::ZERO, |sum, mined| sum.plus(cost(mined)));
        let within = spent <= Wei::from(node.cap);
        holds(within, || format!("I4: {} spent {spent} of {} wei", node.name, node.cap))?;
    }
    Ok(())
}

/// What a reference needs and the store calls complete is pinned; what others pinned stays pinned.
fn i5(world: &World) -> Verdict {
    let pinned: BTreeSet<cid::Cid> = world.hoster.ipfs.pinned().into_iter().collect();
    for foreign in &world.foreign {
        holds(pinned.contains(foreign), || format!("I5: {foreign} was not ours to unpin"))?;
    }
    // What somebody else let go comes back within a while of calm weather.
    let now = world.history.now();
    let lost = |root: &cid::Cid| world.lost.get(root).is_some_and(|at| now < WEATHER_MS.max(*at) + UPKEEP_MS);
    let here = |root: &cid::Cid| pinned.contains(root) || lost(root);
    let store = &*world.hoster.store;
    let mut needed = BTreeSet::new();
    visit_references(store, |reference| {
        needed.insert(root_key(&reference.cid));
    })
    .unwrap();
    for pin in store::list::<Pin>(store, &[], Order::Ascending, usize::MAX).unwrap() {
        let missing = needed.contains(&root_key(&pin.cid)) && pin.pinned_at.is_some() && !here(&pin.cid);
        holds(!missing, || format!("I5: {} is needed and not pinned", pin.cid))?;
    }
    // What is promised on chain is kept, whatever the store says of it.
    for bid in world.hosted().iter() {
        let kept = match bid.stage {
            Stage::Announcing { .. } | Stage::Hosting { .. } => true,
            // A settlement that a reorg took back comes again; the content may have gone after it.
            Stage::Settling { close, .. } => close > ChainTime(0),
            _ => false,
        };
        if kept {
            holds(here(&bid.cid), || format!("I5: bid {} is hosted unpinned", bid.bid.id))?;
        }
    }
    Ok(())
}

/// Bytes pinned by us and bytes promised fit into the quota.
fn i6(world: &World) -> Verdict {
    let files = world.people.files.borrow();
    let size = |root| files.iter().find(|file| file.root() == root).map_or(0, |file| file.bytes());
    // What is complete takes no more room, also where its accept is to be sent anew.
    let store = &*world.hoster.store;
    let complete = |root: &cid::Cid| {
        let pin = store::read::<Pin>(store, &root_key(root)).unwrap();
        pin.is_some_and(|pin| pin.pinned_at.is_some())
    };
    let hosted = world.hosted();
    let coming = |bid: &&HostedBid| {
        matches!(bid.stage, Stage::Admitted { .. } | Stage::Accepting { .. } | Stage::Fetching { .. })
            && !complete(&bid.cid)
    };
    let promises: Vec<&HostedBid> = hosted.iter().filter(coming).collect();
    let promised: u64 = promises.iter().map(|bid| byte_cap(bid.terms.size).0).sum();
    let pins = world.hoster.ipfs.pinned();
    // What is mirrored has bounds of its own, and what came and is not written down yet has its promise.
    let mirrored = |root: &cid::Cid| world.friends.sizes.contains_key(root);
    let is_promised = |root: &cid::Cid| promises.iter().any(|bid| bid.cid == *root);
    let ours = pins
        .into_iter()
        .filter(|root| !world.foreign.contains(root) && !mirrored(root) && !is_promised(root));
    let pinned: u64 = ours.map(size).sum();
    let (written, counted) = (Room::read(store).unwrap(), Room::count(store).unwrap());
    holds(written == counted, || format!("I6: the room is written as {written:?} and is {counted:?}"))?;
    let taken = pinned + promised;
    holds(taken <= QUOTA.0, || format!("I6: {taken} of {} bytes are pinned or promised", QUOTA.0))
}

/// One vote a bid, never without evidence on the disk that verifies and whose digest stands behind the vote;
/// and what it says is the truth about the hoster.
fn i7(world: &World) -> Verdict {
    let all = world.truth.mined();
    for validator in &world.validators {
        let mut voted = BTreeSet::new();
        for mined in of(&all, validator).filter(|mined| mined.receipt.succeeded) {
            let MarketCall::Vote { bid, valid, evidence } = mined.tx.call else { continue };
            let who = validator.name;
            holds(voted.insert(bid), || format!("I7: {who} voted twice on bid {bid}"))?;
            let honest = world.plan.cheat == Cheat::None;
            holds(valid == honest, || format!("I7: {who} voted {valid} on bid {bid}"))?;
            if world.verified.borrow_mut().insert(mined.receipt.tx) {
                let name = format!("-{bid}.json");
                let file = validator.disk.names().into_iter().find(|file| file.ends_with(&name));
                let file = file.ok_or_else(|| format!("I7: {who} has no evidence on bid {bid}"))?;
                let document = validator.disk.read(&file).unwrap().unwrap();
                let car = validator.disk.read(&file.replace(".json", ".car")).unwrap();
                let report = verify(&document, car.as_deref(), &recover)
                    .map_err(|doubt| format!("I7: evidence of {who} on bid {bid}: {doubt}"))?;
                let is_it = report.digest == evidence;
                holds(is_it, || format!("I7: {who} voted on bid {bid} with another digest"))?;
            }
        }
    }
    Ok(())
}

/// Whose [`FakeKeys`](scatter_actors::testkit::chain::FakeKeys) signed.
fn recover(message: &[u8], signature: &[u8; 65]) -> Option<Address> {
    let mut address = [0; 20];
    address.copy_from_slice(&signature[32..52]);
    (signature[..32] == Keccak256::digest(message)[..]).then_some(Address(address))
}

/// A reorg undoes exactly what it removed: where the listener stands on the chain, its journal's live facts are
/// the chain's events up to there.
fn i8(world: &World) -> Verdict {
    world.nodes().try_for_each(|node| journal_is_true(world, node))
}

fn journal_is_true(world: &World, node: &Node) -> Verdict {
    let store = &*node.store;
    let Some(newest) = newest_block(store).unwrap() else { return Ok(()) };
    let on_chain = world.chain.block(newest.number.0).is_some_and(|block| block.hash == newest.hash);
    if !on_chain {
        return Ok(());
    }
    let followed = following::all(store).unwrap();
    let is_read = |by: Address, block: BlockHeight| {
        followed.iter().any(|market| market.market.address == by && market.covers(block))
    };
    let mut live: Vec<(Position, Address, MarketEvent)> = Vec::new();
    for fact in store::list::<Fact>(store, &[], Order::Ascending, usize::MAX).unwrap() {
        match fact.retracted {
            false => live.push((fact.at, fact.market.address, fact.event)),
            true => live.retain(|(at, ..)| *at != fact.at),
        }
    }
    live.sort_by_key(|(at, ..)| *at);
    let told: Vec<(u64, Address, MarketEvent)> =
        live.into_iter().map(|(at, market, event)| (at.block.0, market, event)).collect();
    let mined = world.truth.mined();
    let truth: Vec<(u64, Address, MarketEvent)> = mined
        .iter()
        .filter(|mined| mined.receipt.block <= newest.number)
        .filter(|mined| is_read(mined.tx.market(), mined.receipt.block))
        .flat_map(|mined| {
            let (block, market) = (mined.receipt.block.0, mined.tx.market());
            mined.receipt.events.iter().map(move |event| (block, market, event.clone()))
        })
        .collect();
    holds(told == truth, || {
        format!("I8: at block {} the journal says {told:?}, the chain {truth:?}", newest.number)
    })
}

/// What a friend has always listed is kept for it, whatever became of its name; and nothing that it never listed.
fn i9(world: &World) -> Verdict {
    let store = &*world.hoster.store;
    for friend in &world.friends.all {
        if kept(store, friend.name).unwrap().generation == 0 {
            continue;
        }
        let roots = roots_for(store, &Owner::Peer(friend.name.to_owned())).unwrap();
        let roots: BTreeSet<cid::Cid> = roots.into_iter().collect();
        let lost = friend.always.iter().find(|root| !roots.contains(root));
        holds(lost.is_none(), || format!("I9: {lost:?}, which {} always listed, was let go", friend.name))?;
        let stray = roots.iter().find(|root| !friend.ever.contains(root));
        holds(stray.is_none(), || format!("I9: {stray:?} is kept for {}, who never listed it", friend.name))?;
    }
    Ok(())
}

/// The firewall asks the backend for nothing but what a bid that is hosted at that moment names or holds.
fn i10(world: &World) -> Verdict {
    let served = world.hoster.served.borrow();
    let stray = served.iter().find(|(_, live)| !live);
    holds(stray.is_none(), || format!("I10: the firewall asked for {stray:?}"))
}

/// A panic stops no other actor: nobody is started again but those who were told to panic.
fn i11(world: &World) -> Verdict {
    let lives = world.nodes().filter_map(|node| node.life.as_ref());
    for (name, part) in lives.flat_map(|life| &life.parts) {
        let (starts, bombed) = (part.starts.get(), part.bombed.get());
        holds(starts <= 1 + bombed, || {
            format!("I11: {name} was started {starts} times and told to panic {bombed} times")
        })?;
    }
    Ok(())
}

/// Ready means: blocks come, the IPFS node answers, the disk has its floor. Asked at every step, since nothing needs to
/// happen for it to break.
///
/// # Errors
/// How it does not hold.
pub fn i12(world: &World) -> Verdict {
    for (name, _) in world.ready.iter().filter(|(_, ready)| *ready) {
        // What a node that was down or deaf has missed is news to it.
        let seen = world.last_block.max(world.heard_from(name));
        let stalled = world.history.now().saturating_sub(seen);
        let fresh = stalled <= MAX_HEAD_AGE_MS + LISTENER_LAG_MS;
        holds(fresh, || format!("I12: {name} is ready with a head of {stalled} ms"))?;
    }
    if world.ready.contains(&(world.hoster.name, true)) {
        let silent = world.ipfs_silent_for();
        holds(silent <= PROBE_LAG_MS, || {
            format!("I12: the hoster is ready, its backend down for {silent} ms")
        })?;
        let free = world.hoster.disk.free().unwrap();
        holds(free >= MIN_FREE, || format!("I12: the hoster is ready with {free} bytes free"))?;
    }
    Ok(())
}

/// What the market owes is what it holds, and it pays each bid out once. Version 1 holds what it refused, too.
fn money_is_conserved(world: &World) -> Verdict {
    for (address, market) in &*world.truth.markets() {
        let (owes, held) = (market.owes(), market.held);
        let paid_again = market.bids.iter().position(|bid| bid.payouts > 1);
        holds(paid_again.is_none(), || format!("bid {paid_again:?} was paid out more than once"))?;
        holds(owes == held || world.plan.legacy && owes <= held, || {
            format!("the market {address} holds {held} wei and owes {owes}")
        })?;
    }
    Ok(())
}
