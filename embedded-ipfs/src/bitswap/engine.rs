//! The deciding half of bitswap: all wants, all peers, no socket, no disk, no clock.
//!
//! Owns: what local callers want, what lies in each peer's wantlist for us, what each peer wants of us.
//! Hears: [`Event`]s, with the time since the node started.  Says: [`Effect`]s.
//! On restart: empty; callers ask again, peers send their full wantlists again.
//!
//! E1 A waiter gets a block only after it was stored, and nobody is asked for it meanwhile. E2 A peer never holds 1,024
//! wants or more (Kubo drops the rest). E3 One message at a time is under way to a peer. E4 A gone peer leaves nothing
//! behind, nor does a want that was taken back. E5 As long as a peer is connected that was not asked, or did not answer
//! no, a want is asked somewhere. E6 What a peer does costs bounded memory, and one that keeps breaking rules is left.

mod client;
pub(crate) mod limits;
mod peer;
mod server;
mod wantlist;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use libp2p::PeerId;

use super::message::{Entry, Message};
use crate::block::Key;
use crate::Breaches;
use client::Want;
use limits::Breach;
use peer::Peer;

/// One caller that waits for one block.
pub(crate) type WantId = u64;

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    Connected(PeerId),
    Disconnected(PeerId),
    /// A message came in.
    Received(PeerId, Message),
    /// The message under way was written.
    Sent(PeerId),
    /// It could not be written, not on a fresh stream either.
    SendFailed(PeerId),
    /// A caller waits for a block.
    Wanted(WantId, Cid),
    /// It does not any more.
    Dropped(WantId),
    /// What the store had when a want was new.
    Read(Key, Option<Bytes>),
    /// Blocks are in the store now, fetched or local ones.
    Stored(Vec<(Cid, Bytes)>),
    /// Fetched blocks could not be stored.
    NotStored(Vec<Key>, Fault),
    /// What the store has of a peer's wants: sizes in bytes.
    Found(PeerId, Vec<(Asked, Option<u64>)>),
    /// A message was too long to be read, and in it was a block of so many bytes.
    Oversize(PeerId, Cid, u64),
    /// A peer broke a rule before its message came here.
    Breached(PeerId, Breach),
    /// Time passes; some twice a second.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Answer with [`Event::Read`].
    Read(Cid),
    /// Answer with [`Event::Stored`] or [`Event::NotStored`].
    Store(Vec<(Cid, Bytes)>),
    /// Answer with [`Event::Found`].
    Find(PeerId, Vec<Asked>),
    /// Answer with [`Event::Sent`] or [`Event::SendFailed`].
    Send(PeerId, Outgoing),
    /// Give a block to those who waited for it.
    Deliver(Vec<WantId>, Bytes),
    /// Tell those who waited why they wait in vain.
    Fail(Vec<WantId>, Fault),
    /// Disconnect a peer, for this reason, and keep away from it for a while. The engine has forgotten it.
    Leave(PeerId, Breach),
}

/// Why a block is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It would exceed its limit, in bytes.
    Full(u64),
    /// It has so many bytes, more than any message can carry.
    TooLarge(u64),
    /// The store failed.
    Broken(String),
}

/// A peer's want on its way to the store and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) entry: Entry,
    /// It stands in the peer's ledger; if it is gone from there when the answer is known, no answer is due.
    pub(crate) noted: bool,
}

/// A message to send; the blocks are read when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) full: bool,
    pub(crate) entries: Vec<Entry>,
    pub(crate) presences: Vec<(Cid, bool)>,
    pub(crate) blocks: Vec<Cid>,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) wants: u64,
    pub(crate) received_blocks: u64,
    pub(crate) received_bytes: u64,
    pub(crate) unwanted_blocks: u64,
    pub(crate) late_blocks: u64,
    pub(crate) breaches: Breaches,
}

/// The state of bitswap.
pub(crate) struct Engine {
    wants_per_peer: usize,
    now: Duration,
    peers: BTreeMap<PeerId, Peer>,
    wants: BTreeMap<Key, Want>,
    waiters: HashMap<WantId, Key>,
    /// Peers that may have something to be sent.
    touched: BTreeSet<PeerId>,
    effects: Vec<Effect>,
    counters: Counters,
}

impl Engine {
    /// An engine that remembers at most `wants_per_peer` wants of each peer.
    pub(crate) fn new(wants_per_peer: usize) -> Engine {
        Engine {
            wants_per_peer,
            now: Duration::ZERO,
            peers: BTreeMap::new(),
            wants: BTreeMap::new(),
            waiters: HashMap::new(),
            touched: BTreeSet::new(),
            effects: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Takes in one event. `now` never goes back.
    #[must_use]
    pub(crate) fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        self.now = now;
        match event {
            Event::Connected(peer) => self.connected(peer),
            Event::Disconnected(peer) => self.lost(peer),
            Event::Received(peer, message) => self.received(peer, message),
            Event::Sent(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.sent();
                }
                self.touched.insert(peer);
            }
            Event::SendFailed(peer) => self.send_failed(peer),
            Event::Wanted(id, cid) => self.wanted(id, cid),
            Event::Dropped(id) => self.dropped(id),
            Event::Read(key, bytes) => self.read(key, bytes),
            Event::Stored(blocks) => {
                for (cid, bytes) in blocks {
                    self.serve_stored(&cid, bytes.len() as u64);
                    self.deliver(&Key::of(&cid), bytes);
                }
            }
            Event::NotStored(keys, fault) => self.not_stored(keys, &fault),
            Event::Found(peer, found) => self.found(peer, found),
            Event::Oversize(peer, cid, size) => self.received_oversize(peer, &cid, size),
            Event::Breached(peer, breach) => self.breached(peer, breach),
            Event::Tick => self.tick(),
        }
        self.flush();
        std::mem::take(&mut self.effects)
    }

    /// Counts since the start, and the wants of now.
    pub(crate) fn counters(&self) -> Counters {
        Counters { wants: self.wants.len() as u64, ..self.counters }
    }

    fn received(&mut self, peer: PeerId, message: Message) {
        if message.says_nothing() {
            self.breached(peer, Breach::Empty);
        }
        let Message { full, entries, blocks, presences, excess, senseless } = message;
        // Blocks first: what they bring may answer the entries.
        self.received_blocks(peer, blocks);
        self.received_presences(peer, presences);
        if full || !entries.is_empty() {
            self.received_entries(peer, full, entries);
        }
        if excess > 0 {
            self.breached(peer, Breach::Wants(excess));
        }
        if senseless > 0 {
            self.breached(peer, Breach::Senseless(senseless));
        }
    }

    fn breached(&mut self, id: PeerId, breach: Breach) {
        let now = self.now;
        self.counters.breaches.note(breach);
        if self.peers.get_mut(&id).is_some_and(|peer| peer.conduct.note(breach, now)) {
            self.lost(id);
            self.effects.push(Effect::Leave(id, breach));
        }
    }

    fn flush(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            if let Some(outgoing) = self.peers.get_mut(&id).and_then(Peer::compose) {
                self.effects.push(Effect::Send(id, outgoing));
            }
        }
    }
}

#[cfg(test)]
mod tests;
