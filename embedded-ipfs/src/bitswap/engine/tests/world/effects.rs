//! What comes of an engine's effects, and what must hold of each: the engine's head has the letters.

use super::{content, number, Happening, Party, World};
use crate::bitswap::engine::{Effect, Fault, Outgoing};
use crate::bitswap::message::Message;
use crate::block::Key;
use libp2p::PeerId;

impl World {
    pub(super) fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Read(cid) => {
                let after = self.dice.millis(5);
                self.at(after, Happening::Read { node, cid });
            }
            Effect::Find(id, asked) => {
                let (peer, after) = (self.party(id), self.dice.millis(5));
                self.at(after, Happening::Found { node, peer, asked });
            }
            Effect::Store(blocks) => {
                let ok = !self.dice.chance(self.faults.not_stored);
                let after = self.dice.millis(50);
                self.node(node).storing.extend(blocks.iter().map(|(cid, _)| number(cid)));
                self.at(after, Happening::Stored { node, blocks, ok });
            }
            Effect::Deliver(ids, bytes) => {
                let ours = self.node(node);
                for id in ids {
                    let n = ours.waiting.remove(&id).expect("a waiter is answered once");
                    assert!(content(n).1 == bytes, "with its block");
                    assert!(ours.disk.contains(&n), "E1: which is stored");
                }
            }
            Effect::Fail(ids, fault) => {
                assert_eq!(fault, Fault::Full(1));
                for id in ids {
                    assert!(self.node(node).waiting.remove(&id).is_some(), "a waiter is answered once");
                }
            }
            Effect::Leave(id, breach) => {
                let peer = self.party(id);
                let liar = matches!(&self.parties[peer], Party::Foreign(foreign) if foreign.lies());
                assert!(liar, "an honest peer was left: {breach}");
                self.node(node).left.insert(peer);
                self.node(node).under_way.remove(&peer);
                self.cut(node, peer);
            }
            Effect::Send(id, outgoing) => self.send(node, self.party(id), outgoing),
        }
    }

    fn party(&self, id: PeerId) -> usize {
        self.ids.iter().position(|other| *other == id).expect("one of us")
    }

    fn send(&mut self, from: usize, to: usize, outgoing: Outgoing) {
        let faults = self.faults;
        let ours = self.node(from);
        assert!(ours.under_way.insert(to), "E3: one message at a time");
        for entry in outgoing.entries.iter().filter(|entry| entry.kind.is_some()) {
            assert!(!ours.storing.contains(&number(&entry.cid)), "E1: asked for what is being stored");
            assert!(ours.engine.wants.contains_key(&Key::of(&entry.cid)), "asked for what nobody wants");
        }
        let blocks: Vec<_> = outgoing.blocks.iter().map(|cid| content(number(cid))).collect();
        *ours.served.entry(to).or_default() += blocks.len();
        let Some(line) = self.line(from, to).copied() else { return };
        let Outgoing { full, entries, presences, .. } = outgoing;
        let message = Box::new(Message { full, entries, presences, blocks, ..Message::default() });
        let side = usize::from(from > to);
        let arrives = (self.now + self.dice.millis(line.delay)).max(line.busy[side]);
        let ok = !self.dice.chance(faults.unwritten);
        let arrived = if ok { !self.dice.chance(faults.lost) } else { self.dice.chance(500) };
        let (after, number) = (arrives - self.now, line.number);
        if arrived {
            if let Some(line) = self.line(from, to) {
                line.busy[side] = arrives;
            }
            self.at(after, Happening::Arrive { from, to, line: number, message });
        }
        self.at(after, Happening::Written { node: from, peer: to, line: number, ok });
    }
}
