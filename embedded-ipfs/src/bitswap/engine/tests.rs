//! The engine by itself: time is given, peers are scripts.

mod client;
mod network;
mod properties;
mod server;
mod world;

use super::peer::OPEN;
use super::wantlist::WINDOW;
use super::*;
use crate::bitswap::message::Kind;
use crate::block::{cid_of, DAG_PB, RAW};
use cid::Version;
use std::sync::LazyLock;

const MIB: usize = 1 << 20;

fn bytes(n: u32) -> Bytes {
    Bytes::from(n.to_be_bytes().repeat(300))
}

/// A CID whose block is larger than what is sent for a mere WANT_HAVE.
fn cid(n: u32) -> Cid {
    cid_of(Version::V1, RAW, &bytes(n))
}

fn peers<const N: usize>() -> [PeerId; N] {
    let mut peers = std::array::from_fn(|_| PeerId::random());
    peers.sort();
    peers
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// An engine with the messages that it sent, each written at once.
struct Rig {
    engine: Engine,
    now: Duration,
    sent: Vec<(PeerId, Outgoing)>,
    other: Vec<Effect>,
}

impl Rig {
    fn new(connected: &[PeerId]) -> Rig {
        let mut rig = Rig { engine: Engine::new(100), now: secs(100), sent: Vec::new(), other: Vec::new() };
        for &peer in connected {
            rig.step(Event::Connected(peer));
        }
        rig
    }

    fn step(&mut self, event: Event) {
        let mut queue = std::collections::VecDeque::from(self.engine.step(event, self.now));
        self.engine.check();
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Send(peer, outgoing) => {
                    self.sent.push((peer, outgoing));
                    queue.extend(self.engine.step(Event::Sent(peer), self.now));
                }
                Effect::Read(cid) => {
                    queue.extend(self.engine.step(Event::Read(Key::of(&cid), None), self.now))
                }
                other => self.other.push(other),
            }
        }
        self.engine.check();
    }

    fn want(&mut self, n: u32) {
        self.step(Event::Wanted(u64::from(n), cid(n)));
    }

    fn block(&mut self, peer: PeerId, n: u32) {
        self.step(Event::Received(peer, Message { blocks: vec![(cid(n), bytes(n))], ..Message::default() }));
    }

    fn presence(&mut self, peer: PeerId, n: u32, has: bool) {
        self.step(Event::Received(peer, Message { presences: vec![(cid(n), has)], ..Message::default() }));
    }

    fn wantlist(&mut self, peer: PeerId, full: bool, entries: Vec<Entry>) {
        self.step(Event::Received(peer, Message { full, entries, ..Message::default() }));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step(Event::Tick);
    }

    /// What was sent to a peer since the last call: entries of its wantlist, by number.
    fn asked(&mut self, peer: PeerId) -> Vec<(u32, Option<Kind>)> {
        static NUMBERS: LazyLock<HashMap<Cid, u32>> =
            LazyLock::new(|| (0..6000).map(|n| (cid(n), n)).collect());
        let number = |entry: &Entry| NUMBERS[&entry.cid];
        let mut asked = Vec::new();
        self.sent.retain(|(to, outgoing)| {
            if *to == peer {
                asked.extend(outgoing.entries.iter().map(|entry| (number(entry), entry.kind)));
            }
            *to != peer
        });
        asked
    }
}

fn entry(cid: Cid, kind: Option<Kind>) -> Entry {
    Entry { cid, kind, send_dont_have: true }
}

const BLOCK: Option<Kind> = Some(Kind::Block);
const HAVE: Option<Kind> = Some(Kind::Have);
const CANCEL: Option<Kind> = None;
