//! Two properties over random histories: a want is never lost, and two engines with some network between them agree.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Happening {
    Connect(usize),
    Disconnect(usize),
    Want(u32),
    Drop(u32),
    Block(usize, u32),
    Presence(usize, u32, bool),
    Sent(usize),
    SendFailed(usize),
    Stored(u32),
    NotStored(u32),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let (peer, block) = (0usize..3, 0u32..6);
    prop_oneof![
        2 => peer.clone().prop_map(Connect),
        1 => peer.clone().prop_map(Disconnect),
        4 => block.clone().prop_map(Want),
        1 => block.clone().prop_map(Drop),
        3 => (peer.clone(), block.clone()).prop_map(|(peer, n)| Block(peer, n)),
        4 => (peer.clone(), block.clone(), any::<bool>()).prop_map(|(peer, n, has)| Presence(peer, n, has)),
        4 => peer.clone().prop_map(Sent),
        1 => peer.prop_map(SendFailed),
        2 => block.clone().prop_map(Stored),
        1 => block.prop_map(NotStored),
        2 => (1u64..20).prop_map(Pass),
    ]
}

proptest! {
    /// The invariants of `check` hold after every event, however senseless; one message at a time (E3); and a waiter is
    /// answered exactly once, by a block or by the store's failure.
    #[test]
    fn no_history_breaks_the_invariants(history in proptest::collection::vec(happening(), 1..120)) {
        let peers: [PeerId; 3] = peers();
        let mut engine = Engine::new(100);
        let (mut now, mut next) = (secs(0), 0);
        let mut waiting = BTreeMap::new();
        let mut under_way = BTreeMap::<PeerId, bool>::new();
        for happening in history {
            let mut events = VecDeque::from([match happening {
                Happening::Connect(p) => { under_way.entry(peers[p]).or_default(); Event::Connected(peers[p]) }
                Happening::Disconnect(p) => { under_way.remove(&peers[p]); Event::Disconnected(peers[p]) }
                Happening::Want(n) => { next += 1; waiting.insert(next, n); Event::Wanted(next, cid(n)) }
                Happening::Drop(n) => match waiting.iter().find(|(_, m)| **m == n).map(|(id, _)| *id) {
                    Some(id) => { waiting.remove(&id); Event::Dropped(id) }
                    None => Event::Tick,
                },
                Happening::Block(p, n) => Event::Received(peers[p], Message { blocks: vec![(cid(n), bytes(n))], ..Message::default() }),
                Happening::Presence(p, n, has) => Event::Received(peers[p], Message { presences: vec![(cid(n), has)], ..Message::default() }),
                Happening::Sent(p) => if under_way.insert(peers[p], false).is_some() { Event::Sent(peers[p]) } else { under_way.remove(&peers[p]); Event::Tick },
                Happening::SendFailed(p) => if under_way.get(&peers[p]) == Some(&true) { under_way.insert(peers[p], false); Event::SendFailed(peers[p]) } else { Event::Tick },
                Happening::Stored(n) => Event::Stored(vec![(cid(n), bytes(n))]),
                Happening::NotStored(n) => Event::NotStored(vec![Key::of(&cid(n))], Fault::Full(1)),
                Happening::Pass(s) => { now += secs(s); Event::Tick }
            }]);
            while let Some(event) = events.pop_front() {
                for effect in engine.step(event, now) {
                    match effect {
                        Effect::Send(peer, outgoing) => {
                            prop_assert!(under_way.insert(peer, true) == Some(false), "E3");
                            prop_assert!(outgoing != Outgoing::default());
                        }
                        Effect::Deliver(ids, _) | Effect::Fail(ids, _) => for id in ids {
                            prop_assert!(waiting.remove(&id).is_some(), "answered once");
                        },
                        Effect::Read(cid) => events.push_back(Event::Read(Key::of(&cid), None)),
                        Effect::Leave(peer, _) => drop(under_way.remove(&peer)),
                        Effect::Store(_) | Effect::Find(..) => {}
                    }
                }
                engine.check();
            }
        }
        let wanted: std::collections::BTreeSet<_> = waiting.values().collect();
        prop_assert!(engine.counters().wants as usize >= wanted.len(), "no want is lost");
    }

    /// Three engines, each with some blocks, over connections that deliver in order, break and come back: at last
    /// everybody has what it wanted.
    #[test]
    fn engines_that_stay_connected_in_the_end_have_what_they_want(
        have in proptest::collection::vec(0usize..3, 12),
        breaks in proptest::collection::vec((0usize..60, 0usize..3), 0..6),
    ) {
        let ids: [PeerId; 3] = peers();
        let mut net = Network::new(&ids, &have);
        for (n, &owner) in have.iter().enumerate() {
            for node in (0..3).filter(|&node| node != owner) {
                net.happen(node, Event::Wanted(n as u64, cid(n as u32)));
            }
        }
        for turn in 0..400 {
            for &(at, node) in &breaks {
                if at == turn { net.reconnect(node, (node + 1) % 3); }
            }
            net.turn();
        }
        for node in 0..3 {
            prop_assert_eq!(net.blocks[node].len(), have.len(), "node {} of {:?}", node, have);
            prop_assert_eq!(net.engines[node].counters().wants, 0);
        }
    }
}

struct Network {
    ids: [PeerId; 3],
    engines: Vec<Engine>,
    blocks: Vec<BTreeMap<Cid, Bytes>>,
    /// Messages on the way, of (from, to).
    wires: BTreeMap<(usize, usize), VecDeque<Outgoing>>,
    now: Duration,
}

impl Network {
    fn new(ids: &[PeerId; 3], have: &[usize]) -> Network {
        let owned = |node| {
            let mine =
                |(n, owner): (usize, &usize)| (*owner == node).then(|| (cid(n as u32), bytes(n as u32)));
            have.iter().enumerate().filter_map(mine).collect()
        };
        let mut net = Network {
            ids: *ids,
            engines: (0..3).map(|_| Engine::new(100)).collect(),
            blocks: (0..3).map(owned).collect(),
            wires: BTreeMap::new(),
            now: secs(0),
        };
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            net.reconnect(a, b);
        }
        net
    }

    fn reconnect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.wires.insert((from, to), VecDeque::new());
            self.happen(from, Event::Disconnected(self.ids[to]));
        }
        for (from, to) in [(a, b), (b, a)] {
            self.happen(from, Event::Connected(self.ids[to]));
        }
    }

    fn happen(&mut self, node: usize, event: Event) {
        let effects = self.engines[node].step(event, self.now);
        self.engines[node].check();
        for effect in effects {
            match effect {
                Effect::Read(cid) => {
                    let found = self.blocks[node].get(&cid).cloned();
                    self.happen(node, Event::Read(Key::of(&cid), found));
                }
                Effect::Store(blocks) => {
                    self.blocks[node].extend(blocks.clone());
                    self.happen(node, Event::Stored(blocks));
                }
                Effect::Find(peer, asked) => {
                    let size = |asked: &Asked| {
                        self.blocks[node].get(&asked.entry.cid).map(|bytes| bytes.len() as u64)
                    };
                    let found = asked.into_iter().map(|asked| (asked.clone(), size(&asked))).collect();
                    self.happen(node, Event::Found(peer, found));
                }
                Effect::Send(peer, outgoing) => {
                    let to = self.ids.iter().position(|id| *id == peer).unwrap();
                    self.wires.entry((node, to)).or_default().push_back(outgoing);
                }
                Effect::Deliver(..) | Effect::Fail(..) => {}
                Effect::Leave(peer, breach) => panic!("{peer} is honest: {breach}"),
            }
        }
    }

    /// Delivers the oldest message of every wire and lets half a second pass.
    fn turn(&mut self) {
        self.now += Duration::from_millis(500);
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2)] {
            let Some(sent) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
                continue;
            };
            let blocks = sent.blocks.iter().map(|cid| (*cid, self.blocks[from][cid].clone())).collect();
            let Outgoing { full, entries, presences, .. } = sent;
            self.happen(
                to,
                Event::Received(
                    self.ids[from],
                    Message { full, entries, presences, blocks, ..Message::default() },
                ),
            );
            self.happen(from, Event::Sent(self.ids[to]));
        }
        for node in 0..3 {
            self.happen(node, Event::Tick);
        }
    }
}
