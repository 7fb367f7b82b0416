//! Peers that are not ours: one that keeps a ledger as Kubo does, and those that lie.

use std::collections::{BTreeMap, BTreeSet};

use cid::Cid;

use super::{content, number, Dice};
use crate::bitswap::message::{Entry, Kind, Message};

/// How Kubo bounds its ledger.
const KUBO_HOLDS: usize = 1024;

/// What a peer does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Lie {
    /// Nothing.
    Silence,
    /// It has everything, and never sends it.
    Claims,
    /// It has nothing, though it does.
    Denies,
    /// Bytes that are not those of the CID.
    OtherBytes,
    /// It has it, it does not, it has it: again and again, of anything.
    Flips,
    /// Wants without end.
    Wants,
    /// Every block three times.
    Thrice,
    /// Messages that say nothing.
    Empty,
}

pub(in super::super) struct Foreign {
    lie: Option<Lie>,
    disk: BTreeSet<usize>,
    /// What each peer wants, as Kubo keeps it.
    ledger: BTreeMap<usize, BTreeMap<Cid, Entry>>,
    counter: usize,
    /// Wants that found no room.
    pub(in super::super) dropped: usize,
}

type Said = Vec<(usize, Message)>;

impl Foreign {
    /// One that keeps the rules of Kubo.
    pub(in super::super) fn kubo() -> Foreign {
        Foreign { lie: None, disk: BTreeSet::new(), ledger: BTreeMap::new(), counter: 0, dropped: 0 }
    }

    pub(in super::super) fn liar(lie: Lie) -> Foreign {
        Foreign { lie: Some(lie), ..Foreign::kubo() }
    }

    pub(in super::super) fn lies(&self) -> bool {
        self.lie.is_some()
    }

    pub(in super::super) fn has(&self, n: usize) -> bool {
        self.disk.contains(&n)
    }

    /// How much it remembers of what others want.
    pub(in super::super) fn remembers(&self) -> usize {
        self.ledger.values().map(BTreeMap::len).sum()
    }

    pub(super) fn forget(&mut self, peer: usize) {
        self.ledger.remove(&peer);
    }

    /// A new block goes to those who want it.
    pub(super) fn put(&mut self, n: usize) -> Said {
        self.disk.insert(n);
        if self.lies() {
            return Vec::new();
        }
        let wanting = self
            .ledger
            .iter()
            .filter_map(|(peer, ledger)| ledger.get(&content(n).0).map(|entry| (*peer, *entry)));
        wanting
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|(peer, entry)| self.answer(peer, &entry))
            .collect()
    }

    pub(super) fn hear(&mut self, from: usize, message: Message, dice: &mut Dice) -> Said {
        let wants: Vec<_> = message.entries.iter().filter(|entry| entry.kind.is_some()).copied().collect();
        match self.lie {
            None => self.keep(from, &message, &wants),
            Some(lie) => wants.iter().flat_map(|entry| self.lie(lie, from, entry, dice)).collect(),
        }
    }

    /// As boxo's engine does, from its `MessageReceived`: a full list clears, then the wants come in, then the cancels.
    fn keep(&mut self, from: usize, message: &Message, wants: &[Entry]) -> Said {
        let ledger = self.ledger.entry(from).or_default();
        if message.full {
            ledger.clear();
        }
        for entry in wants {
            ledger.insert(entry.cid, *entry);
            if ledger.len() > KUBO_HOLDS {
                self.dropped += 1;
                let dead = ledger.keys().find(|cid| !self.disk.contains(&number(cid))).copied();
                ledger.remove(&dead.unwrap_or(entry.cid));
            }
        }
        for entry in message.entries.iter().filter(|entry| entry.kind.is_none()) {
            ledger.remove(&entry.cid);
        }
        let still = |entry: &&Entry| self.ledger[&from].contains_key(&entry.cid);
        let answered: Vec<_> = wants.iter().filter(still).copied().collect();
        answered.iter().filter_map(|entry| self.answer(from, entry)).collect()
    }

    fn answer(&mut self, to: usize, entry: &Entry) -> Option<(usize, Message)> {
        let ledger = self.ledger.get_mut(&to)?;
        let (cid, bytes) = content(number(&entry.cid));
        let mut message = Message::default();
        if !self.disk.contains(&number(&cid)) {
            message.presences.extend(entry.send_dont_have.then_some((cid, false)));
        } else if entry.kind == Some(Kind::Block) || bytes.len() <= 1024 {
            ledger.remove(&cid);
            message.blocks.push((cid, bytes));
        } else {
            ledger.remove(&cid);
            message.presences.push((cid, true));
        }
        (message != Message::default()).then_some((to, message))
    }

    fn lie(&mut self, lie: Lie, to: usize, entry: &Entry, dice: &mut Dice) -> Said {
        let presence = |has| (to, Message { presences: vec![(entry.cid, has)], ..Message::default() });
        let block = |n| (to, Message { blocks: vec![content(n)], ..Message::default() });
        match lie {
            Lie::Silence | Lie::Wants | Lie::Empty => vec![],
            Lie::Claims => vec![presence(true)],
            Lie::Denies => vec![presence(false)],
            Lie::OtherBytes => vec![block(dice.below(4000))],
            Lie::Flips => vec![presence(true), presence(false), presence(dice.chance(500))],
            Lie::Thrice if self.has(number(&entry.cid)) => {
                (0..3).map(|_| block(number(&entry.cid))).collect()
            }
            Lie::Thrice => vec![presence(false)],
        }
    }

    pub(super) fn tick(&mut self, connected: &[usize], dice: &mut Dice) -> Said {
        let mut said = Vec::new();
        for &peer in connected {
            let message = match self.lie {
                Some(Lie::Flips) => {
                    let presences = (0..500).map(|_| (content(dice.below(4000)).0, dice.chance(500)));
                    Message { presences: presences.collect(), ..Message::default() }
                }
                Some(Lie::Wants) => {
                    self.counter += 7000;
                    let entry = |n: usize| Entry {
                        cid: content(n % 4000).0,
                        kind: Some(if n.is_multiple_of(2) { Kind::Have } else { Kind::Block }),
                        send_dont_have: n.is_multiple_of(3),
                    };
                    let entries = (self.counter..self.counter + 3500).map(entry).collect();
                    Message { entries, ..Message::default() }
                }
                Some(Lie::Empty) => {
                    said.extend((0..200).map(|_| (peer, Message::default())));
                    continue;
                }
                _ => continue,
            };
            said.push((peer, message));
        }
        said
    }
}
