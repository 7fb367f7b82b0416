//! Peers of the consortium, as scripts: each publishes what it lists under its name, until something of it breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cid::Cid;
use ipns_record::{SigningKey, Timestamp};
use scatter_actors::domain::units::{ByteSize, WallTime};
use scatter_actors::ports::clock::Clock;
use scatter_actors::records::consortium::{Peer, Source};
use scatter_actors::testkit::names::{key_of, MemoryNames, Said};
use scatter_actors::testkit::MemoryIpfs;
use serde::{Deserialize, Serialize};

use crate::clock::RuntimeClock;
use crate::dice::Dice;
use crate::history::History;

/// Their names here.
pub const FRIENDS: [&str; 3] = ["ann", "ben", "cat"];
/// A record is good for two days.
const LIFETIME_MS: u64 = 2 * 86_400_000;
/// Codec of bare bytes.
const RAW: u64 = 0x55;

/// What a friend does, or what happens to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Lists some more.
    Adds,
    /// Lists a little less: no more than may go in one round.
    Drops,
    /// Lists less than half of it: that waits for the operator's word.
    Guts,
    /// Its file is no JSON any more.
    Garbles,
    /// Its name answers with its first record.
    Replays,
    /// Its name answers with a record of somebody else.
    Forges,
    /// Its record has ended.
    Expires,
    /// Nobody knows its name.
    Vanishes,
    /// Who asks for its name waits for ever.
    Hangs,
    /// All is well with its name again.
    Heals,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Adds,
        Self::Drops,
        Self::Guts,
        Self::Garbles,
        Self::Replays,
        Self::Forges,
        Self::Expires,
        Self::Vanishes,
        Self::Hangs,
        Self::Heals,
    ];
}

/// A friend.
pub struct Friend {
    /// What it is called here.
    pub name: &'static str,
    key: SigningKey,
    sequence: u64,
    first: Vec<u8>,
    /// What it lists now.
    pub lists: BTreeSet<Cid>,
    /// What every valid list of it so far held: nothing of that may ever be let go.
    pub always: BTreeSet<Cid>,
    /// What any valid list of it held: nothing else may be kept for it.
    pub ever: BTreeSet<Cid>,
}

/// All friends of the hoster, and the name system.
pub struct Friends {
    /// The name system that the hoster asks.
    pub names: Rc<MemoryNames>,
    /// Each friend.
    pub all: Vec<Friend>,
    /// Bytes of everything that they ever listed.
    pub sizes: BTreeMap<Cid, u64>,
    ipfs: MemoryIpfs,
    clock: Rc<RuntimeClock>,
    dice: Dice,
    history: History,
}

impl Friends {
    /// So many friends, whose lists overlap; `ipfs` is the node from which their content comes.
    pub fn new(
        count: usize,
        seed: u64,
        ipfs: MemoryIpfs,
        clock: &Rc<RuntimeClock>,
        history: &History,
    ) -> Self {
        let dice = Dice::new(seed, "friends");
        let mut friends = Self {
            names: Rc::default(),
            all: Vec::new(),
            sizes: BTreeMap::new(),
            ipfs,
            clock: Rc::clone(clock),
            dice,
            history: history.clone(),
        };
        let shared: Vec<Cid> = (0..6).map(|_| friends.content()).collect();
        for (n, name) in FRIENDS.into_iter().take(count).enumerate() {
            let mut lists: BTreeSet<Cid> = shared.iter().copied().collect();
            lists.extend((0..friends.dice.between(8, 20)).map(|_| friends.content()));
            let key = key_of(n as u8 + 1);
            let (always, ever) = (lists.clone(), BTreeSet::new());
            friends.all.push(Friend { name, key, sequence: 0, first: Vec::new(), lists, always, ever });
            friends.publish(n);
        }
        friends
    }

    /// The peers as the hoster's configuration names them.
    pub fn peers(&self) -> Vec<Peer> {
        let peer = |friend: &Friend| Peer {
            name: friend.name.to_owned(),
            ipns: friend.key.name(),
            addrs: Vec::new(),
            max_bytes: ByteSize(1 << 20),
            max_pins: 1_000,
            source: Source::Config,
        };
        self.all.iter().map(peer).collect()
    }

    fn content(&mut self) -> Cid {
        let bytes = self.dice.bytes(self.dice.between(10, 100) as usize);
        let cid = self.ipfs.hold(RAW, &bytes);
        self.sizes.insert(cid, bytes.len() as u64);
        cid
    }

    /// Publishes what a friend lists now.
    fn publish(&mut self, n: usize) {
        let friend = &mut self.all[n];
        friend.always.retain(|cid| friend.lists.contains(cid));
        friend.ever.extend(&friend.lists);
        let texts: Vec<String> = friend.lists.iter().map(Cid::to_string).collect();
        let file = serde_json::to_vec(&texts).unwrap();
        self.point_at(n, file);
    }

    /// Publishes a directory with that one file.
    fn point_at(&mut self, n: usize, file: Vec<u8>) {
        let root = self.ipfs.hold_directory(&[("list.json".to_owned(), file)]);
        let friend = &mut self.all[n];
        friend.sequence += 1;
        let eol = WallTime(self.clock.wall().0 + LIFETIME_MS);
        let record = self.names.publish(&friend.key, &format!("/ipfs/{root}"), friend.sequence, eol);
        if friend.first.is_empty() {
            friend.first = record;
        }
        self.names.say(friend.key.name(), None);
        self.history.tell(friend.name, format_args!("publishes {root}, record {}", friend.sequence));
    }

    /// Lets a friend do something.
    pub fn act(&mut self, n: usize, deed: Deed) {
        if n >= self.all.len() {
            return;
        }
        let name = self.all[n].key.name();
        let value = b"/ipfs/bafkqaaa";
        let sign =
            |key: &SigningKey, sequence, ms| key.sign(value, sequence, Timestamp::from_ms(ms), 0).unwrap();
        let now = self.clock.wall().0;
        let said = match deed {
            Deed::Adds => {
                let more: Vec<Cid> = (0..self.dice.between(1, 5)).map(|_| self.content()).collect();
                self.all[n].lists.extend(more);
                return self.publish(n);
            }
            Deed::Drops => {
                let few = self.all[n].lists.len() / 10;
                return self.drop_some(n, few);
            }
            Deed::Guts => {
                let most = self.all[n].lists.len() * 6 / 10;
                return self.drop_some(n, most);
            }
            Deed::Garbles => return self.point_at(n, b"[\"not".to_vec()),
            Deed::Replays => Some(Said::Bytes(self.all[n].first.clone())),
            Deed::Forges => Some(Said::Bytes(sign(&key_of(99), 1_000, now + LIFETIME_MS))),
            Deed::Expires => Some(Said::Bytes(sign(&self.all[n].key, 1_000, now.saturating_sub(1)))),
            Deed::Vanishes => Some(Said::Nobody),
            Deed::Hangs => Some(Said::Silence),
            Deed::Heals => None,
        };
        self.names.say(name, said);
    }

    /// Drops some of what a friend lists, those shared with others first.
    fn drop_some(&mut self, n: usize, count: usize) {
        let shared = |cid: &Cid| self.all.iter().filter(|friend| friend.lists.contains(cid)).count();
        let mut lists: Vec<Cid> = self.all[n].lists.iter().copied().collect();
        lists.sort_by_key(|cid| std::cmp::Reverse(shared(cid)));
        for cid in lists.into_iter().take(count) {
            self.all[n].lists.remove(&cid);
        }
        self.publish(n);
    }

    /// Everybody publishes once more, and every name is answered.
    pub fn heal(&mut self) {
        (0..self.all.len()).for_each(|n| self.publish(n));
    }
}
