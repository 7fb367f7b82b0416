//! One history from its plan to its end: time, blocks, weather, and after each step the invariants.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{Address, BidId, FileHash, TxHash, Wei};
use scatter_actors::ports::store::{self, Order};
use scatter_actors::records::hosting::HostedBid;
use scatter_actors::records::intent::IntentKey;
use scatter_actors::records::meta::newest_block;
use scatter_actors::records::wallet::attempts;
use scatter_actors::testkit::chain::FakeChain;
use scatter_actors::testkit::ipfs::MemoryNet;
use scatter_actors::testkit::MemoryIpfs;
use scatter_actors::wallet_signer::Wallet;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::history::{History, Scribe};
use crate::invariants;
use crate::mortal::Wire;
use crate::node::{Node, RuntimeClock, Surroundings};
use crate::people::{People, BIDDER, VOTERS};
use crate::plan::{Plan, WEATHER_MS};
use crate::CHAIN;

mod weather;

/// The hoster's account. Blocks are filled in the order of accounts: what bidders do comes before what answers it.
pub const HOSTER: Address = Address([0xf1; 20]);
/// Milliseconds between two steps.
const STEP_MS: u64 = 2_000;
/// Milliseconds after the weather within which every bid has come to its end: its fetch (a hold), its
/// announcement, its settlement and its withdrawal, with what the supervisor and the backoffs add.
const PATIENCE_MS: u64 = 3_600_000;

/// A transaction that the hoster handed over.
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
    /// Blocks of the chain.
    pub blocks: u64,
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
    /// The hoster.
    pub hoster: Node,
    /// What the hoster handed over, by hash.
    pub sent: Rc<RefCell<BTreeMap<TxHash, Sent>>>,
    /// Pins on the hoster's IPFS node that are none of its own.
    pub foreign: Vec<cid::Cid>,
    dice: Dice,
    placed: usize,
    broken: usize,
    next_block: u64,
    /// No reorg goes below: chain time has leapt there.
    floor: u64,
    revive_at: Option<u64>,
    outages: weather::Outages,
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
        let verdict = world.run().await;
        if let Err(broken) = &verdict {
            history.tell("BROKEN", broken);
        }
        world.hoster.kill().await;
        Ended { history: history.text(), verdict }
    })
}

impl World {
    fn new(plan: Plan, history: &History) -> Self {
        let chain = Rc::new(FakeChain::with_market(CHAIN));
        let net = MemoryNet::default();
        let wire = Rc::new(Wire { chain: Rc::clone(&chain), asking: Rc::new(Cell::new("nobody")) });
        let clock = Rc::new(RuntimeClock(Instant::now()));
        let around = Surroundings { wire, net: net.clone(), clock, history: history.clone() };
        let mut people = People::new(&plan, &chain, history, MemoryIpfs::on("bidder", &net));
        // Four registered accounts: two votes and a hoster must find enough of them.
        let file = |n: u8| FileHash([n; 32]);
        for (n, who) in VOTERS.iter().chain([&BIDDER]).enumerate() {
            people.send(*who, MarketCall::Register(file(n as u8)));
        }
        chain.mine();
        let hoster = Node::new("hoster", HOSTER, &around);
        let sent: Rc<RefCell<BTreeMap<TxHash, Sent>>> = Rc::default();
        let (handed, store, told) = (Rc::clone(&sent), Rc::clone(&hoster.store), history.clone());
        chain.watch(move |tx| {
            let signed = attempts(&*store).unwrap();
            let attempt = signed.iter().find(|attempt| attempt.tx == tx);
            told.tell("chain", format_args!("is handed {:.10}", tx.to_string()));
            let intent = attempt.filter(|attempt| attempt.gives_up.is_none());
            handed.borrow_mut().entry(tx).or_insert(Sent {
                durable: attempt.is_some(),
                intent: intent.and_then(|attempt| attempt.intent.clone()),
            });
        });
        let dice = Dice::new(plan.seed, "world");
        let outages = weather::Outages::new(plan.seed);
        Self {
            plan,
            history: history.clone(),
            chain,
            people,
            hoster,
            sent,
            foreign: Vec::new(),
            dice,
            placed: 0,
            broken: 0,
            next_block: 0,
            floor: 0,
            revive_at: None,
            outages,
            checked: (0, 0, 0),
        }
    }

    async fn run(&mut self) -> Result<Summary, String> {
        self.outages.haunt(&self.chain, &self.history);
        self.hoster.start();
        let mut calm = false;
        loop {
            tokio::time::sleep(Duration::from_millis(STEP_MS)).await;
            let now = self.history.now();
            self.break_things(now).await;
            if now > WEATHER_MS && !calm {
                calm = true;
                self.clear_up();
            }
            self.place_bids(now);
            self.people.act(now);
            if now >= self.next_block {
                self.next_block = now + self.dice.between(self.plan.pace.0, self.plan.pace.1);
                self.leap_if_nothing_waits();
                self.mine();
            }
            let seen = self.moment();
            if std::mem::replace(&mut self.checked, seen) != seen {
                invariants::all(self)?;
            }
            if calm && self.is_over().await {
                break;
            }
            if now > WEATHER_MS + PATIENCE_MS {
                return Err(format!("liveness: {}", self.unfinished().await));
            }
        }
        invariants::at_the_end(self)?;
        Ok(self.summary())
    }

    /// What changes whenever anything does: lines of the history, blocks, and how far the listener has read.
    fn moment(&self) -> (usize, u64, u64) {
        let read = newest_block(&*self.hoster.store).unwrap().map_or(0, |block| block.number.0);
        (self.history.len(), self.chain.height(), read)
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

    fn mine(&mut self) {
        let before = self.chain.mined().len();
        // One block in ten is full of other people's business.
        match self.dice.chance(10) {
            true => self.chain.mine_empty(1),
            false => self.chain.mine(),
        }
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
        if !self.hoster.is_up() || !self.people.are_quiet() || !self.chain.pool().is_empty() {
            return;
        }
        let (market, now) = (self.chain.market_now(), self.chain.now());
        let hosted = self.hosted();
        if hosted.len() < market.bids.len() || self.placed > market.bids.len() {
            return;
        }
        let mut next = None;
        for bid in hosted.iter().filter(|bid| !bid.stage.is_over()) {
            let Stage::Hosting { end, close, .. } = bid.stage else { return };
            let due = if now < end { end } else { close };
            if due <= now {
                return;
            }
            next = Some(next.map_or(due, |next: scatter_actors::domain::units::ChainTime| next.min(due)));
        }
        if let Some(next) = next {
            let seconds = next.since(now) + self.dice.between(0, 600);
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
        let Some(life) = self.hoster.life.as_ref() else {
            left.push("the hoster is down".to_owned());
            return left.join("; ");
        };
        match life.wallet.ask(Wallet).await {
            Ok(status) if status.pending.is_empty() && status.queued == 0 => {}
            Ok(status) => left.push(format!("I3: the wallet waits: {status:?}")),
            Err(_) => left.push("the wallet does not answer".to_owned()),
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
            blocks: self.chain.height(),
        }
    }
}
