//! A network of engines and others on virtual time: messages take their time and overtake one another between peers, lines
//! and streams break, disks are slow and fail, some peers lie. A seed is a history.

mod contents;
mod effects;
mod foreign;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::*;
pub(super) use contents::{content, number, Dice};
pub(super) use foreign::{Foreign, Lie};

/// What may go wrong, in thousandths of the occasions.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// A message is not written, and half of those arrive all the same.
    pub(super) unwritten: usize,
    /// A message is written, and does not arrive.
    pub(super) lost: usize,
    /// Blocks are not stored.
    pub(super) not_stored: usize,
}

/// What happens at a time.
enum Happening {
    Arrive { from: usize, to: usize, line: u64, message: Box<Message> },
    Written { node: usize, peer: usize, line: u64, ok: bool },
    Stored { node: usize, blocks: Vec<(Cid, Bytes)>, ok: bool },
    Read { node: usize, cid: Cid },
    Found { node: usize, peer: usize, asked: Vec<Asked> },
    Lost { node: usize, peer: usize, line: u64 },
    Tick { node: usize },
}

/// One of our engines with its disk and its callers.
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) disk: BTreeSet<usize>,
    storing: BTreeSet<usize>,
    pub(super) waiting: BTreeMap<WantId, usize>,
    under_way: BTreeSet<usize>,
    pub(super) served: BTreeMap<usize, usize>,
    pub(super) left: BTreeSet<usize>,
    /// Most wants that another of ours ever laid here.
    pub(super) most_held: usize,
}

#[allow(clippy::large_enum_variant, reason = "a handful of them")]
pub(super) enum Party {
    Ours(Node),
    Foreign(Foreign),
}

/// A connection: what was sent over an earlier one does not arrive.
#[derive(Clone, Copy)]
struct Line {
    number: u64,
    /// Most milliseconds that a message takes.
    delay: usize,
    /// Messages of either direction come in order: until when the last one takes.
    busy: [Duration; 2],
}

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    pub(super) parties: Vec<Party>,
    pub(super) steps: usize,
    ids: Vec<PeerId>,
    lines: BTreeMap<(usize, usize), Line>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    serial: u64,
    next_want: WantId,
}

impl World {
    pub(super) fn new(seed: u64, ours: usize, foreign: Vec<Foreign>) -> World {
        let node = |_| {
            Party::Ours(Node {
                engine: Engine::new(2000),
                disk: BTreeSet::new(),
                storing: BTreeSet::new(),
                waiting: BTreeMap::new(),
                under_way: BTreeSet::new(),
                served: BTreeMap::new(),
                left: BTreeSet::new(),
                most_held: 0,
            })
        };
        let parties: Vec<_> = (0..ours).map(node).chain(foreign.into_iter().map(Party::Foreign)).collect();
        let id = |n| PeerId::from_multihash(*content(n).0.hash()).unwrap();
        let mut world = World {
            now: Duration::ZERO,
            dice: Dice::new(seed),
            faults: Faults::default(),
            steps: 0,
            ids: (0..parties.len()).map(id).collect(),
            lines: BTreeMap::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            serial: 0,
            next_want: 0,
            parties,
        };
        for node in 0..world.parties.len() {
            let first = world.dice.millis(500);
            world.at(first, Happening::Tick { node });
        }
        world
    }

    pub(super) fn node(&mut self, node: usize) -> &mut Node {
        match &mut self.parties[node] {
            Party::Ours(node) => node,
            Party::Foreign(_) => panic!("{node} is none of ours"),
        }
    }

    pub(super) fn ours(&self) -> Vec<usize> {
        let ours = |n: &usize| matches!(self.parties[*n], Party::Ours(_));
        (0..self.parties.len()).filter(ours).collect()
    }

    fn at(&mut self, after: Duration, happening: Happening) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + after, self.serial)));
        self.happenings.insert(self.serial, happening);
    }

    /// Lets so much time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            let Some(Reverse((at, serial))) = self.queue.pop() else { break };
            self.now = at;
            if let Some(happening) = self.happenings.remove(&serial) {
                self.happen(happening);
            }
        }
        self.now = end;
    }

    fn line(&mut self, a: usize, b: usize) -> Option<&mut Line> {
        self.lines.get_mut(&(a.min(b), a.max(b)))
    }

    pub(super) fn connected(&self, a: usize, b: usize) -> bool {
        self.lines.contains_key(&(a.min(b), a.max(b)))
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let banned = |one: usize, other: usize| match &self.parties[one] {
            Party::Ours(node) => node.left.contains(&other),
            Party::Foreign(_) => false,
        };
        let strangers = |n: usize| matches!(self.parties[n], Party::Foreign(_));
        if a == b || self.connected(a, b) || strangers(a) && strangers(b) || banned(a, b) || banned(b, a) {
            return;
        }
        self.serial += 1;
        let delay = [2, 20, 300][self.dice.below(3)];
        let line = Line { number: self.serial, delay, busy: [Duration::ZERO; 2] };
        self.lines.insert((a.min(b), a.max(b)), line);
        for (one, other) in [(a, b), (b, a)] {
            self.come(one, other);
        }
    }

    fn come(&mut self, node: usize, peer: usize) {
        match &mut self.parties[node] {
            Party::Ours(ours) => {
                ours.under_way.remove(&peer);
                let id = self.ids[peer];
                // As the swarm does: a peer that comes back before it was missed is first gone.
                self.step(node, Event::Disconnected(id));
                self.step(node, Event::Connected(id));
            }
            Party::Foreign(foreign) => foreign.forget(peer),
        }
    }

    /// Breaks a line; either end hears of it in its own time.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        let Some(line) = self.lines.remove(&(a.min(b), a.max(b))) else { return };
        for (node, peer) in [(a, b), (b, a)] {
            let after = self.dice.millis(400);
            self.at(after, Happening::Lost { node, peer, line: line.number });
        }
    }

    pub(super) fn want(&mut self, node: usize, n: usize) -> WantId {
        self.next_want += 1;
        let id = self.next_want;
        self.node(node).waiting.insert(id, n);
        self.step(node, Event::Wanted(id, content(n).0));
        id
    }

    pub(super) fn take_back(&mut self, node: usize, id: WantId) {
        if self.node(node).waiting.remove(&id).is_some() {
            self.step(node, Event::Dropped(id));
        }
    }

    /// A party gets a block from elsewhere.
    pub(super) fn put(&mut self, party: usize, n: usize) {
        match &mut self.parties[party] {
            Party::Ours(node) => {
                node.disk.insert(n);
                self.step(party, Event::Stored(vec![content(n)]));
            }
            Party::Foreign(foreign) => {
                let said = foreign.put(n);
                self.say(party, said);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { from, to, line, message } => {
                if self.line(from, to).is_some_and(|now| now.number == line) {
                    self.arrive(from, to, *message);
                }
            }
            Happening::Written { node, peer, line, ok } => {
                let current = self.line(node, peer).is_some_and(|now| now.number == line);
                if current && self.node(node).under_way.remove(&peer) {
                    let id = self.ids[peer];
                    self.step(node, if ok { Event::Sent(id) } else { Event::SendFailed(id) });
                }
            }
            Happening::Stored { node, blocks, ok } => {
                let numbers: Vec<_> = blocks.iter().map(|(cid, _)| number(cid)).collect();
                let ours = self.node(node);
                ours.storing.retain(|n| !numbers.contains(n));
                if ok {
                    ours.disk.extend(numbers);
                    self.step(node, Event::Stored(blocks));
                } else {
                    let keys = blocks.iter().map(|(cid, _)| Key::of(cid)).collect();
                    self.step(node, Event::NotStored(keys, Fault::Full(1)));
                }
            }
            Happening::Read { node, cid } => {
                let n = number(&cid);
                let found = self.node(node).disk.contains(&n).then(|| content(n).1);
                self.step(node, Event::Read(Key::of(&cid), found));
            }
            Happening::Found { node, peer, asked } => {
                let ours = self.node(node);
                let size = |asked: &Asked| {
                    let n = number(&asked.entry.cid);
                    ours.disk.contains(&n).then(|| content(n).1.len() as u64)
                };
                let found = asked.into_iter().map(|asked| (asked.clone(), size(&asked))).collect();
                let id = self.ids[peer];
                self.step(node, Event::Found(id, found));
            }
            Happening::Lost { node, peer, line } => {
                if self.line(node, peer).is_some_and(|now| now.number > line) {
                    return;
                }
                match &mut self.parties[node] {
                    Party::Ours(ours) => {
                        ours.under_way.remove(&peer);
                        let id = self.ids[peer];
                        self.step(node, Event::Disconnected(id));
                    }
                    Party::Foreign(foreign) => foreign.forget(peer),
                }
            }
            Happening::Tick { node } => {
                self.at(Duration::from_millis(500), Happening::Tick { node });
                let connected: Vec<_> =
                    (0..self.parties.len()).filter(|&peer| self.connected(node, peer)).collect();
                match &mut self.parties[node] {
                    Party::Ours(_) => self.step(node, Event::Tick),
                    Party::Foreign(foreign) => {
                        let said = foreign.tick(&connected, &mut self.dice);
                        self.say(node, said);
                    }
                }
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, message: Message) {
        match &mut self.parties[to] {
            Party::Ours(_) => {
                let id = self.ids[from];
                self.step(to, Event::Received(id, message));
                if matches!(self.parties[from], Party::Ours(_)) {
                    let node = self.node(to);
                    let held = node.engine.peers.get(&id).map_or(0, |peer| peer.ledger_len);
                    node.most_held = node.most_held.max(held);
                }
            }
            Party::Foreign(foreign) => {
                let said = foreign.hear(from, message, &mut self.dice);
                self.say(to, said);
            }
        }
    }

    /// What a foreign peer says goes on a stream of its own each: nothing is in order.
    fn say(&mut self, from: usize, said: Vec<(usize, Message)>) {
        for (to, message) in said {
            let Some(line) = self.line(from, to).copied() else { continue };
            let after = self.dice.millis(2 * line.delay);
            let message = Box::new(message);
            self.at(after, Happening::Arrive { from, to, line: line.number, message });
        }
    }

    fn step(&mut self, node: usize, event: Event) {
        self.steps += 1;
        let now = self.now;
        let effects = self.node(node).engine.step(event, now);
        if self.steps.is_multiple_of(256) {
            self.node(node).engine.check();
        }
        for effect in effects {
            self.perform(node, effect);
        }
    }
}
