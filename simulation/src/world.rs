//! One history from its plan to its end: time, blocks, weather, and after each step the invariants.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use scatter::adapters::sqlite::Sqlite;
use scatter::http::status::{Answer, Query};
use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::units::{Address, BidId, TxHash, Wei};
use scatter_actors::ports::store::{self, Order};
use scatter_actors::records::audit;
use scatter_actors::records::hosting::HostedBid;
use scatter_actors::records::intent::IntentKey;
use scatter_actors::records::meta::newest_block;
use scatter_actors::records::wallet::attempts;
use scatter_actors::testkit::chain::{FakeChain, Tx};
use scatter_actors::testkit::ipfs::MemoryNet;
use scatter_actors::testkit::MemoryIpfs;
use scatter_actors::wallet_signer::Wallet;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::friends::Friends;
use crate::history::{History, Scribe};
use crate::invariants;
use crate::node::{Node, Role, RuntimeClock, Surroundings};
use crate::people::{People, VOTERS};
use crate::plan::{Plan, VALIDATORS, WEATHER_MS};
use crate::street::Street;
use crate::CHAIN;

mod forks;
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
    /// Every line of it.
    pub history: String,
    /// What went against an invariant, if anything did.
    pub verdict: Result<Summary, String>,
    /// Lines of the history: what was done, met or logged.
    pub events: u64,
    /// Milliseconds of virtual time, and seconds of chain time.
    pub lasted: (u64, u64),
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
    /// Which nodes said at the last step that they are ready.
    pub ready: Vec<(&'static str, bool)>,
    /// The millisecond of the chain's newest block.
    pub last_block: u64,
    /// What broke, by kind.
    pub struck: BTreeMap<&'static str, u64>,
    dice: Dice,
    placed: usize,
    broken: usize,
    next_block: u64,
    /// No reorg goes below: chain time has leapt there.
    floor: u64,
    outages: weather::Outages,
    aside: Option<forks::Aside>,
    /// An IPFS node that offers what it does not have.
    hostile: MemoryIpfs,
    checked: (usize, u64, u64),
}

/// Lives one history, alone on its own paused runtime.
pub fn live(plan: Plan) -> Ended {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    actix::System::with_tokio_rt(|| runtime().unwrap()).block_on(async move {
        let history = History::new();
        let scribe = tracing::Dispatch::new(Scribe(history.clone()));
        let _listening = tracing::dispatcher::set_default(&scribe);
        for line in format!("{plan:#?}").lines() {
            history.tell("plan", line);
        }
        let mut world = World::new(plan, &history);
        let begin = world.chain.now();
        let verdict = world.run().await;
        if let Err(broken) = &verdict {
            history.tell("BROKEN", broken);
        }
        for node in world.nodes_mut() {
            node.kill().await;
        }
        let (events, lasted) = (history.len() as u64, (history.now(), world.chain.now().since(begin)));
        Ended { history: history.text(), verdict, events, lasted }
    })
}

impl World {
    fn new(plan: Plan, history: &History) -> Self {
        let chain = Rc::new(match plan.legacy {
            true => FakeChain::with_legacy_market(CHAIN),
            false => FakeChain::with_market(CHAIN),
        });
        let net = MemoryNet::default();
        let clock = Rc::new(RuntimeClock(Instant::now()));
        let street = Rc::new(Street { door: RefCell::default(), cheat: plan.cheat });
        let hostile = MemoryIpfs::on("hostile", &net);
        let node = MemoryIpfs::on("friends", &net);
        let friends = Friends::new(plan.friends, plan.seed, node, &clock, history);
        let around = Surroundings {
            names: Rc::clone(&friends.names),
            chain: Rc::clone(&chain),
            net: net.clone(),
            street,
            clock,
            history: history.clone(),
        };
        let mut people = People::new(&plan, &chain, history, MemoryIpfs::on("bidder", &net));
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
        let dice = Dice::new(plan.seed, "world");
        let outages = weather::Outages::new(plan.seed);
        Self {
            plan,
            history: history.clone(),
            chain,
            people,
            friends,
            hoster,
            validators,
            verified: RefCell::default(),
            sent,
            foreign: Vec::new(),
            ready: Vec::new(),
            last_block: 0,
            struck: BTreeMap::new(),
            dice,
            placed: 0,
            broken: 0,
            next_block: 0,
            floor: 0,
            outages,
            aside: None,
            hostile,
            checked: (0, 0, 0),
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
            self.place_bids(now);
            self.people.act(now);
            if now >= self.next_block {
                self.next_block = now + self.dice.between(self.plan.pace.0, self.plan.pace.1);
                self.leap_if_nothing_waits();
                self.mine();
            }
            self.ask_who_is_ready().await;
            invariants::i12(self)?;
            let seen = self.moment();
            if std::mem::replace(&mut self.checked, seen) != seen {
                invariants::all(self)?;
            }
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

    /// What changes whenever anything does: lines of the history, blocks, and how far the listeners have read.
    fn moment(&self) -> (usize, u64, u64) {
        let read = |node: &Node| newest_block(&*node.store).unwrap().map_or(0, |block| block.number.0);
        (self.history.len(), self.chain.height(), self.nodes().map(read).sum())
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

    fn mine(&mut self) {
        // One block in ten is full of other people's business.
        let full = self.dice.chance(10);
        self.mine_what(|_| !full);
    }

    /// A block without anything of an account.
    fn mine_without(&mut self, account: Address) {
        self.mine_what(|tx| tx.from != account);
    }

    fn mine_what(&mut self, wanted: impl Fn(&Tx) -> bool) {
        self.last_block = self.history.now();
        let before = self.chain.mined().len();
        self.chain.append(wanted);
        for mined in &self.chain.mined()[before..] {
            let events = &mined.receipt.events;
            let call = &mined.tx.call;
            let how = if mined.receipt.succeeded { format!("{events:?}") } else { "reverted".to_owned() };
            let (from, block) = (mined.tx.from.to_string(), mined.receipt.block);
            self.history.tell("chain", format_args!("block {block}: {from:.6} {call:?}: {how}"));
        }
    }

    /// Lets the days pass in which nothing happens: to the next end or close of a hosted bid, when nobody has
    /// anything to do before it.
    fn leap_if_nothing_waits(&mut self) {
        let up = self.nodes().all(Node::is_up);
        if !up
            || self.outages.are_on(self.history.now())
            || !self.people.are_quiet()
            || !self.chain.pool().is_empty()
        {
            return;
        }
        let (market, now) = (self.chain.market_now(), self.chain.now());
        let hosted = self.hosted();
        if hosted.len() < market.bids.len() || self.placed > market.bids.len() {
            return;
        }
        // What a reorg took and brought again is judged again before its offer is over.
        if hosted.iter().any(|bid| bid.may_be_had_anew() && market.is_open(bid.bid.id, now)) {
            return;
        }
        let mut moments = Vec::new();
        for bid in hosted.iter().filter(|bid| !bid.stage.is_over()) {
            let Stage::Hosting { end, close, .. } = bid.stage else { return };
            moments.push(if now < end { end } else { close });
            for validator in &self.validators {
                let Some(audit) = audit::of(&*validator.store, bid.bid).unwrap() else { return };
                match audit.stage.wakes_at() {
                    Some(at) => moments.push(at),
                    None if audit.stage.is_over() => {}
                    None => return,
                }
            }
        }
        if moments.iter().any(|at| *at <= now) {
            return;
        }
        // The last slot of an audit may lie a few seconds before the end: nobody oversleeps it for hours.
        let oversleep = if self.validators.is_empty() { 600 } else { 3 };
        if let Some(next) = moments.iter().min() {
            let seconds = next.since(now) + self.dice.between(0, oversleep);
            self.history.tell("chain", format_args!("nothing happens for {seconds} s"));
            self.chain.skip(seconds);
            self.floor = self.chain.height() + 1;
        }
    }

    /// All that the hoster has judged.
    pub fn hosted(&self) -> Vec<HostedBid> {
        store::list(&*self.hoster.store, &[], Order::Ascending, usize::MAX).unwrap()
    }

    /// Whether nothing is left to do.
    async fn is_over(&self) -> bool {
        self.unfinished().await.is_empty()
    }

    /// What is left to do, in words.
    async fn unfinished(&self) -> String {
        let market = self.chain.market_now();
        let mut left = Vec::new();
        if self.placed < self.plan.bids.len() || market.bids.len() < self.placed {
            left.push("not every bid is placed".to_owned());
        }
        let hosted = self.hosted();
        for id in 0..market.bids.len() as u64 {
            match hosted.iter().find(|bid| bid.bid.id == BidId(id)) {
                None => left.push(format!("bid {id} was not judged")),
                Some(bid) if !bid.stage.is_over() => left.push(format!("bid {id} is {}", bid.stage.name())),
                Some(_) => {}
            }
        }
        let credit = market.credits.get(&HOSTER).copied().unwrap_or_default();
        if credit > Wei::ZERO {
            left.push(format!("the hoster has a credit of {credit} wei"));
        }
        left.extend(invariants::every_friend_is_mirrored(self).err());
        for root in self.hoster.ipfs.pinned() {
            if !self.foreign.contains(&root) && !self.friends.sizes.contains_key(&root) {
                left.push(format!("{root} is still pinned"));
            }
        }
        for node in self.nodes() {
            let Some(life) = node.life.as_ref() else {
                left.push(format!("{} is down", node.name));
                continue;
            };
            match life.wallet.ask(Wallet).await {
                Ok(status) if status.pending.is_empty() && status.queued == 0 => {}
                Ok(status) => left.push(format!("I3: the wallet of {} waits: {status:?}", node.name)),
                Err(_) => left.push(format!("the wallet of {} does not answer", node.name)),
            }
        }
        for validator in &self.validators {
            for audit in audit::all(&*validator.store, 100).unwrap() {
                let hosted = hosted.iter().find(|bid| bid.bid == audit.bid);
                if hosted.is_some_and(|bid| bid.stage.name() == "released") && !audit.stage.is_over() {
                    left.push(format!("{} audits bid {}: {:?}", validator.name, audit.bid.id, audit.stage));
                }
            }
        }
        left.join("; ")
    }

    fn summary(&self) -> Summary {
        let hosted = self.hosted();
        let count = |name: &str| hosted.iter().filter(|bid| bid.stage.name() == name).count();
        Summary {
            paid: count("released"),
            declined: count("declined"),
            failed: count("failed") + count("lost"),
            votes: self.verified.borrow().len(),
            blocks: self.chain.height(),
            faults: self.struck.clone(),
            restarts: self.history.count(|line| line.ends_with(" is started again"))
                + self
                    .history
                    .count(|line| line.ends_with(" starts"))
                    .saturating_sub(self.nodes().count() as u64),
        }
    }
}
