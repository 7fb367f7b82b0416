//! What breaks, and how it is mended.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use scatter_actors::domain::requests::{Question, Request};
use scatter_actors::domain::units::ByteSize;
use scatter_actors::firewall::Ask;
use scatter_actors::ports::chain::Chain as _;
use scatter_actors::testkit::chain::{FakeChain, Trouble};

use super::{World, HOSTER};
use crate::dice::Dice;
use crate::history::History;
use crate::plan::Fault;

/// Bytes free on the hoster's disk on a good day.
const ROOMY: ByteSize = ByteSize(1 << 40);
/// Milliseconds that a block takes between two IPFS nodes on a good day.
const GOOD_HOP_MS: u64 = 5;

/// The chain provider's troubles of the moment, and when the IPFS node is back.
pub(super) struct Outages {
    rpc: Rc<RefCell<Vec<Outage>>>,
    dice: Rc<Dice>,
    ipfs_until: u64,
    /// Since when the hoster's IPFS node does not answer.
    pub(super) ipfs_since: Option<u64>,
    disk_until: u64,
    final_from: u64,
}

struct Outage {
    method: Option<&'static str>,
    trouble: Trouble,
    percent: u64,
    until: u64,
}

impl Outages {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rpc: Rc::default(),
            dice: Rc::new(Dice::new(seed, "outages")),
            ipfs_until: 0,
            ipfs_since: None,
            disk_until: 0,
            final_from: 0,
        }
    }

    /// The end of the provider's last trouble.
    pub(super) fn rpc_until(&self) -> u64 {
        self.rpc.borrow().iter().map(|outage| outage.until).max().unwrap_or_default()
    }

    /// Whether anything is down just now.
    pub(super) fn are_on(&self, now: u64) -> bool {
        self.ipfs_until > 0
            || self.disk_until > 0
            || self.rpc.borrow().iter().any(|outage| outage.until > now)
    }

    /// Lets the provider fail by these outages.
    pub(super) fn haunt(&self, chain: &FakeChain, history: &History) {
        let (rpc, dice, history) = (Rc::clone(&self.rpc), Rc::clone(&self.dice), history.clone());
        chain.trouble(move |method| {
            let now = history.now();
            let outages = rpc.borrow();
            let concerned =
                |outage: &&Outage| outage.until > now && outage.method.is_none_or(|m| m == method);
            let struck = outages.iter().filter(concerned).find(|outage| dice.chance(outage.percent))?;
            history.tell("provider", format_args!("{method}: {:?}", struck.trouble));
            Some(struck.trouble.clone())
        });
    }
}

impl World {
    /// Breaks what is due, and brings back what was down.
    pub(super) async fn break_things(&mut self, now: u64) {
        while let Some((_, fault)) = self.plan.faults.get(self.broken).filter(|(at, _)| *at <= now).cloned() {
            self.broken += 1;
            *self.struck.entry(fault.kind()).or_default() += 1;
            self.history.tell("FAULT", format_args!("{fault:?}"));
            self.strike(fault, now);
        }
        if now >= self.outages.ipfs_until && self.outages.ipfs_until > 0 {
            self.mend_ipfs();
            self.history.tell("ipfs", "is back");
        }
        if now >= self.outages.disk_until && self.outages.disk_until > 0 {
            self.mend_disk();
            self.history.tell("disk", "has room again");
        }
        if now >= self.outages.final_from && self.outages.final_from > 0 {
            self.mend_finality();
            self.history.tell("chain", "has final blocks again");
        }
        let moves = self.plan.moves.is_some();
        let chain = Rc::clone(&self.chain);
        for node in self.nodes_mut() {
            if node.life.as_ref().is_some_and(|life| life.fuse.is_blown()) {
                node.kill().await;
            }
            if node.life.is_none() && node.down_until <= now {
                if moves {
                    // The new process's provider has not been told whose logs to read.
                    chain.follow(&[]);
                }
                node.start();
            }
        }
    }

    fn mend_ipfs(&mut self) {
        (self.outages.ipfs_until, self.outages.ipfs_since) = (0, None);
        self.hoster.ipfs.set_broken(false);
    }

    fn mend_finality(&mut self) {
        self.outages.final_from = 0;
        self.chain.stop_finality(false);
    }

    fn mend_disk(&mut self) {
        self.outages.disk_until = 0;
        self.hoster.ipfs.set_full(false);
        self.hoster.disk.set_free(ROOMY);
    }

    /// Ends all trouble for good.
    pub(super) fn clear_up(&mut self) {
        self.history.tell("weather", "calms");
        self.chain.heal();
        self.mend_ipfs();
        self.mend_disk();
        self.mend_finality();
        self.hoster.ipfs.set_hop(GOOD_HOP_MS);
        self.clock.heal();
        self.friends.heal();
        self.next_block = self.next_block.min(self.history.now() + self.plan.pace.1);
        self.outages.rpc.borrow_mut().clear();
        self.chain.set_base_fee(1_000_000_000);
    }

    fn strike(&mut self, fault: Fault, now: u64) {
        match fault {
            Fault::Rpc { method, trouble, percent, for_ms } => {
                let until = now + for_ms;
                self.outages.rpc.borrow_mut().push(Outage { method, trouble, percent, until });
            }
            Fault::Reorg(depth) => self.reorg(depth),
            Fault::Evict => self.chain.evict(),
            Fault::BaseFee(wei) => self.chain.set_base_fee(wei),
            Fault::Leap(seconds) => self.chain.skip(seconds),
            Fault::IpfsDown(ms) => {
                self.outages.ipfs_since.get_or_insert(now);
                self.outages.ipfs_until = self.outages.ipfs_until.max(now + ms);
                self.hoster.ipfs.set_broken(true);
            }
            Fault::IpfsSlow(ms) => self.hoster.ipfs.set_hop(ms),
            Fault::Bomb { node, actor } => self.bomb(node, actor),
            Fault::Kill { node, commits, down_ms } => {
                let Some(node) = self.nodes_mut().find(|known| known.name == node && known.is_up()) else {
                    return;
                };
                node.down_until = now + down_ms;
                node.life.iter().for_each(|life| life.fuse.burn_after(commits));
            }
            Fault::Stranger => self.ask_as_a_stranger(now),
            Fault::Clock(by_ms) => self.clock.jump(by_ms),
            Fault::Stall(ms) => self.next_block = self.next_block.max(now + ms),
            Fault::Fork { depth, for_ms } => self.fork(depth, now + for_ms),
            Fault::Unfinal(ms) => {
                self.outages.final_from = now + ms;
                self.chain.stop_finality(true);
            }
            Fault::Rotten => self.offer_rotten_blocks(),
            Fault::PinLost(n) => self.lose_pin(n, now),
            Fault::Rival(what) => self.people.rival(what),
            Fault::Friend { who, deed } => self.friends.act(who, deed),
            Fault::DiskFull(ms) => {
                self.outages.disk_until = now + ms;
                self.hoster.disk.set_free(ByteSize(0));
                self.hoster.ipfs.set_full(true);
            }
        }
    }

    /// Somebody tidies up at the hoster's IPFS node.
    fn lose_pin(&mut self, n: u64, now: u64) {
        let mut pinned = self.hoster.ipfs.pinned();
        pinned.retain(|root| !self.foreign.contains(root));
        let Some(root) = pinned.get(n as usize % pinned.len().max(1)).copied() else { return };
        self.hoster.ipfs.lose_pin(&root);
        self.lost.insert(root, now);
        self.history.tell("ipfs", format_args!("has {root} pinned no more"));
    }

    /// What is pinned again is lost no more.
    pub(super) fn find_what_was_lost(&mut self) {
        if !self.lost.is_empty() {
            let pinned = self.hoster.ipfs.pinned();
            self.lost.retain(|root, _| !pinned.contains(root));
        }
    }

    /// A hostile node says that it has every block there is, and gives others.
    fn offer_rotten_blocks(&self) {
        for file in self.people.files.borrow().iter() {
            let rotten =
                |(cid, bytes): &(cid::Cid, Vec<u8>)| (*cid, bytes.iter().map(|byte| byte ^ 0x55).collect());
            let rotten: Vec<(cid::Cid, Vec<u8>)> = file.blocks.iter().map(rotten).collect();
            self.hostile.load(&rotten);
        }
    }

    fn bomb(&self, node: &str, actor: &str) {
        let node = self.nodes().find(|known| known.name == node);
        let Some(life) = node.and_then(|node| node.life.as_ref()) else { return };
        let Some(part) = life.parts.get(actor) else { return };
        if part.bomb.tell(crate::bomb::Bomb) {
            part.bombed.set(part.bombed.get() + 1);
        }
    }

    /// Somebody asks for a block of some file, or for one that no bid ever named.
    fn ask_as_a_stranger(&mut self, now: u64) {
        let Some(life) = self.hoster.life.as_ref() else { return };
        let cid = {
            let files = self.people.files.borrow();
            let listed: Vec<cid::Cid> =
                files.iter().flat_map(|file| file.blocks.iter().map(|(cid, _)| *cid)).collect();
            match listed.is_empty() || self.dice.chance(40) {
                true => self.hoster.ipfs.hold(0x55, &now.to_be_bytes()),
                false => *self.dice.pick(&listed),
            }
        };
        // Half of them name a bid, and mean its own content: of what is over, nothing may be served.
        let hosted = self.hosted();
        let named = (!hosted.is_empty() && self.strangers.chance(50)).then(|| self.strangers.pick(&hosted));
        let (cid, bid) = named.map_or((cid, None), |hosted| (hosted.cid, Some(hosted.bid)));
        let request = Request { question: Question::Raw(cid), hoster: Some(HOSTER), bid };
        let from = IpAddr::V4(Ipv4Addr::new(203, 0, 113, self.dice.between(1, 200) as u8));
        let (line, history) = (life.firewall.clone(), self.history.clone());
        actix_rt::spawn(async move {
            match line.ask(Ask { request, from }).await {
                Ok(reply) => history.tell("stranger", format_args!("{cid}: {}", reply.status)),
                Err(unheard) => history.tell("stranger", format_args!("{cid}: {unheard}")),
            }
        });
    }
}
