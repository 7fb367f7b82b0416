//! One history from its plan to its end: time, blocks, weather, and after each step the invariants.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use scatter::adapters::sqlite::Sqlite;
use scatter::http::status::{Answer, Query};
use scatter_actors::domain::units::{Address, TxHash};
use scatter_actors::records::hosting::HostedBid;
use scatter_actors::records::intent::IntentKey;
use scatter_actors::records::wallet::attempts;
use scatter_actors::testkit::chain::FakeChain;
use scatter_actors::testkit::ipfs::MemoryNet;
use scatter_actors::testkit::MemoryIpfs;

use crate::clock::RuntimeClock;
use crate::dice::Dice;
use crate::friends::Friends;
use crate::history::{History, Scribe};
use crate::invariants;
use crate::node::{Node, Role, Surroundings};
use crate::people::{People, VOTERS};
use crate::plan::{Plan, VALIDATORS, WEATHER_MS};
use crate::street::Street;
use crate::truth::Truth;
use crate::CHAIN;

mod blocks;
mod ending;
mod forks;
mod moving;
mod registrations;
mod weather;

/// The hoster's account. Blocks are filled in the order of accounts: what bidders do comes before what answers it.
pub const HOSTER: Address = Address([0xf1; 20]);
/// Milliseconds between two steps.
const STEP_MS: u64 = 2_000;
/// Milliseconds after the weather within which every bid has come to its end: its fetch (a hold), its
/// announcement, its settlement and its withdrawal, with what the supervisor and the backoffs add.
const PATIENCE_MS: u64 = 3_600_000;
/// Milliseconds after the weather that a history lasts in which not everything can be paid for.
const AFTERMATH_MS: u64 = 300_000;

/// A transaction that a node handed over.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Whether an attempt with its hash stood in the store at that moment.
    pub durable: bool,
    /// Which intent it served; `None` where it only took a nonce.
    pub intent: Option<IntentKey>,
}

/// How a history ended.
pub struct Ended {
    /// What was planned.
    pub plan: Plan,
    history: History,
    /// What went against an invariant, if anything did.
    pub verdict: Result<Summary, String>,
    /// Lines of the history: what was done, met or logged.
    pub events: u64,
    /// Milliseconds of virtual time, and seconds of chain time.
    pub lasted: (u64, u64),
}

impl Ended {
    /// The plan and every line of what came of it.
    pub fn history(&self) -> String {
        format!("{:#?}\n\n{}", self.plan, self.history.text())
    }
}

/// What a history was about, to see that histories differ and do something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bids in which the hoster was paid.
    pub paid: usize,
    /// Bids that the hoster did not want.
    pub declined: usize,
    /// Bids that came to nothing.
    pub failed: usize,
    /// Votes of the validators' nodes.
    pub votes: usize,
    /// Blocks of the chain.
    pub blocks: u64,
    /// What broke, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Lives of processes and of actors behind the first of each.
    pub restarts: u64,
}

/// The world of one history.
pub struct World {
    /// What was planned.
    pub plan: Plan,
    /// What happened.
    pub history: History,
    /// The chain that all share.
    pub chain: Rc<FakeChain>,
    /// What stands on it.
    pub truth: Rc<Truth>,
    /// The machines' clock.
    pub clock: Rc<RuntimeClock>,
    /// The others.
    pub people: People,
    /// Those whom the hoster mirrors.
    pub friends: Friends,
    /// The hoster.
    pub hoster: Node,
    /// The validators, if they are nodes.
    pub validators: Vec<Node>,
    /// Votes whose evidence was found to verify.
    pub verified: RefCell<BTreeSet<TxHash>>,
    /// What the nodes handed over, by hash.
    pub sent: Rc<RefCell<BTreeMap<TxHash, Sent>>>,
    /// Pins on the hoster's IPFS node that are none of its own.
    pub foreign: Vec<cid::Cid>,
    /// Pins that somebody took from it, and the millisecond; until they are back.
    pub lost: BTreeMap<cid::Cid, u64>,
    /// Which nodes said at the last step that they are ready.
    pub ready: Vec<(&'static str, bool)>,
    /// The millisecond of the chain's newest block.
    pub last_block: u64,
    /// What broke, by kind.
    pub struck: BTreeMap<&'static str, u64>,
    dice: Dice,
    placed: usize,
    /// Whether people are registered on the second market.
    registered: bool,
    broken: usize,
    next_block: u64,
    /// No reorg goes below: chain time has leapt there.
    floor: u64,
    outages: weather::Outages,
    strangers: Dice,
    aside: Option<forks::Aside>,
    /// An IPFS node that offers what it does not have.
    hostile: MemoryIpfs,
    /// What the invariants have seen.
    pub checked: invariants::Checked,
    judged: RefCell<(u64, Rc<[HostedBid]>)>,
}

/// Lives one history, alone on its own paused runtime.
pub fn live(plan: Plan) -> Ended {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    actix::System::with_tokio_rt(|| runtime().unwrap()).block_on(async move {
        let history = History::new();
        let scribe = tracing::Dispatch::new(Scribe(history.clone()));
        let _listening = tracing::dispatcher::set_default(&scribe);
        let mut world = World::new(plan.clone(), &history);
        let begin = world.chain.now();
        let verdict = world.run().await;
        if let Err(broken) = &verdict {
            history.tell("BROKEN", broken);
        }
        for node in world.nodes_mut() {
            node.kill().await;
        }
        let (events, lasted) = (history.len() as u64, (history.now(), world.chain.now().since(begin)));
        Ended { plan, history, verdict, events, lasted }
    })
}

impl World {
    fn new(plan: Plan, history: &History) -> Self {
        let chain = Rc::new(match plan.legacy {
            true => FakeChain::with_legacy_market(CHAIN),
            false => FakeChain::with_market(CHAIN),
        });
        let net = MemoryNet::default();
        let truth = Rc::new(Truth::of(&chain));
        let clock = Rc::new(RuntimeClock::new());
        let street = Rc::new(Street { door: RefCell::default(), cheat: plan.cheat });
        let hostile = MemoryIpfs::on("hostile", &net);
        let node = MemoryIpfs::on("friends", &net);
        let friends = Friends::new(plan.friends, plan.seed, node, &clock, history);
        let around = Surroundings {
            names: Rc::clone(&friends.names),
            chain: Rc::clone(&chain),
            net: net.clone(),
            street,
            clock: Rc::clone(&clock),
            history: history.clone(),
        };
        let mut people = People::new(&plan, &chain, &truth, history, MemoryIpfs::on("bidder", &net));
        let mut hoster = Node::new(Role::Hoster, "hoster", HOSTER, &around);
        hoster.cap = plan.cap;
        hoster.peers = friends.peers();
        let mut validators = Vec::new();
        if plan.validators {
            for (name, account) in VALIDATORS.iter().zip(VOTERS) {
                validators.push(Node::new(Role::Validator, name, account, &around));
            }
        }
        registrations::register(&mut people, &hoster, &validators);
        chain.mine();
        let sent: Rc<RefCell<BTreeMap<TxHash, Sent>>> = Rc::default();
        let nodes = [&hoster].into_iter().chain(&validators);
        let stores: Vec<Rc<Sqlite>> = nodes.map(|node| Rc::clone(&node.store)).collect();
        let (handed, told) = (Rc::clone(&sent), history.clone());
        chain.watch(move |tx| {
            let signed = |store: &Rc<Sqlite>| attempts(&**store).unwrap();
            let attempt = stores.iter().flat_map(signed).find(|attempt| attempt.tx == tx);
            told.tell("chain", format_args!("is handed {:.10}", tx.to_string()));
            let durable = attempt.is_some();
            let intent = attempt.filter(|attempt| attempt.gives_up.is_none());
            handed
                .borrow_mut()
                .entry(tx)
                .or_insert(Sent { durable, intent: intent.and_then(|attempt| attempt.intent) });
        });
        let (dice, strangers) = (Dice::new(plan.seed, "world"), Dice::new(plan.seed, "strangers"));
        let outages = weather::Outages::new(plan.seed);
        Self {
            plan,
            history: history.clone(),
            chain,
            truth,
            clock,
            people,
            friends,
            hoster,
            validators,
            verified: RefCell::default(),
            sent,
            foreign: Vec::new(),
            lost: BTreeMap::new(),
            ready: Vec::new(),
            last_block: 0,
            struck: BTreeMap::new(),
            dice,
            placed: 0,
            registered: false,
            broken: 0,
            next_block: 0,
            floor: 0,
            outages,
            strangers,
            aside: None,
            hostile,
            checked: invariants::Checked::default(),
            judged: RefCell::new((0, Rc::default())),
        }
    }

    async fn run(&mut self) -> Result<Summary, String> {
        self.outages.haunt(&self.chain, &self.history);
        for node in self.nodes_mut() {
            node.start();
        }
        let mut calm = false;
        loop {
            tokio::time::sleep(Duration::from_millis(STEP_MS)).await;
            let now = self.history.now();
            self.break_things(now).await;
            if now > WEATHER_MS && !calm {
                calm = true;
                self.clear_up();
            }
            self.join(now);
            self.register_on_the_second(now);
            self.place_bids(now);
            self.people.act(now);
            if now >= self.next_block {
                self.next_block = now + self.dice.between(self.plan.pace.0, self.plan.pace.1);
                self.leap_if_nothing_waits();
                self.mine();
            }
            self.find_what_was_lost();
            self.ask_who_is_ready().await;
            invariants::i12(self)?;
            invariants::all(self)?;
            if !self.plan.is_generous() && now > WEATHER_MS + AFTERMATH_MS {
                return Ok(self.summary());
            }
            if calm && self.plan.is_generous() && self.is_over().await {
                break;
            }
            if now > WEATHER_MS + PATIENCE_MS {
                return Err(format!("liveness: {}", self.unfinished().await));
            }
        }
        invariants::at_the_end(self)?;
        Ok(self.summary())
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        [&self.hoster].into_iter().chain(&self.validators)
    }

    fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        [&mut self.hoster].into_iter().chain(&mut self.validators)
    }

    fn place_bids(&mut self, now: u64) {
        while let Some(bid) = self.plan.bids.get(self.placed).filter(|bid| bid.at <= now).cloned() {
            self.placed += 1;
            let root = self.people.place(&bid, now);
            if bid.foreign && !bid.repeats {
                self.pin_for_another_reason(root);
            }
        }
    }

    /// Somebody has pinned the content on the hoster's IPFS node before the hoster ever looked.
    fn pin_for_another_reason(&mut self, root: cid::Cid) {
        let files = self.people.files.borrow();
        let file = files.iter().find(|file| file.root() == root).unwrap();
        self.hoster.ipfs.pin_here(&file.blocks);
        self.history.tell("hoster", format_args!("somebody else pinned {root} here"));
        self.foreign.push(root);
    }

    async fn ask_who_is_ready(&mut self) {
        let mut ready = Vec::new();
        for node in [&self.hoster].into_iter().chain(&self.validators).filter(|node| node.is_up()) {
            let Some(life) = &node.life else { continue };
            let answer = life.status.ask(Query::Ready).await;
            ready.push((node.name, matches!(answer, Ok(Ok(Answer::Ready(true, _))))));
        }
        if ready != self.ready {
            self.history.tell("ready", format_args!("{ready:?}"));
            self.ready = ready;
        }
    }

    /// The millisecond from which on a node hears every block: it runs, and its provider has no trouble.
    pub fn heard_from(&self, name: &str) -> u64 {
        let born = self.nodes().find(|node| node.name == name).map_or(0, |node| node.born_at);
        born.max(self.outages.rpc_until())
    }

    /// Milliseconds for which the hoster's IPFS node has been down.
    pub fn ipfs_silent_for(&self) -> u64 {
        self.outages.ipfs_since.map_or(0, |since| self.history.now() - since)
    }
}
