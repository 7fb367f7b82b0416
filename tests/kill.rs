//! A node that is killed, at the worst moments and at any, is started again and does what it should, and nothing twice: a
//! hoster ends paid, a wallet sends each transaction once.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod support;
#[path = "kill/wallet.rs"]
mod wallet;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{kill_process, Pid, Signal};
use scatter::cli::devnet::{Audience, Drive, Market, Offer, Options, Placed, Report, Story};
use scatter_actors::domain::units::{ByteSize, Wei};
use scatter_actors::ports::chain::{At, Chain};
use support::fault_proxy::{Fate, FaultProxy, Moment};
use support::json_rpc::JsonRpc;
use support::{not_run, tool};

/// How often the hoster is killed at random.
const KILLS: u32 = 20;

/// A market whose hoster speaks with its chain through a proxy.
struct Street {
    market: Market,
    proxy: FaultProxy,
    before: Vec<Wei>,
    drive: Drive,
    out: tempfile::TempDir,
}

impl Street {
    async fn open() -> Option<Self> {
        let Some(anvil) = tool("anvil") else {
            not_run("Anvil", "tools/install anvil");
            return None;
        };
        let out = tempfile::tempdir().unwrap();
        let proxy = Rc::new(RefCell::new(None));
        let mut options = Options::new(env!("CARGO_BIN_EXE_scatter"), out.path().join("report"));
        options.anvil = Some(anvil);
        options.before_hosters_chain = Some(Box::new({
            let proxy = proxy.clone();
            move |url| {
                let upstream = JsonRpc::new(url.strip_prefix("http://").unwrap().parse().unwrap());
                proxy.borrow_mut().insert(FaultProxy::start(upstream)).url()
            }
        }));
        let market = Market::start(options, Story::new(Audience::Nobody)).await.unwrap();
        let proxy = proxy.take().unwrap();
        let mut before = Vec::new();
        for node in market.nodes() {
            before.push(market.purse(node).await.unwrap().0);
        }
        let drive = Drive::reviving();
        Some(Self { market, proxy, before, drive, out })
    }

    /// Kills the hoster's process as it is now; tells whether that is another one than the last time.
    fn killer(&mut self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (process, last) = (self.market.hoster().process(), AtomicI32::new(0));
        move || {
            let now = process.load(Ordering::SeqCst);
            let pid = Pid::from_raw(now).expect("a process");
            // What was killed already, but not waited for, keeps its number.
            last.swap(now, Ordering::SeqCst) != now && kill_process(pid, Signal::KILL).is_ok()
        }
    }

    async fn live(&mut self) -> Report {
        let placed: Placed = self.market.place(&Offer::of(ByteSize(1 << 20))).await.unwrap();
        if let Err(fault) = self.market.carry(placed.id, &mut self.drive).await {
            let story = std::fs::read_to_string(self.out.path().join("report/logs/story.log"));
            panic!("{fault}\n{}", story.unwrap_or_default());
        }
        Report::of(&mut self.market, placed, &self.before).await.unwrap()
    }

    /// Paid, with one transaction of each kind and no other.
    async fn assert_paid_once(&mut self, report: &Report) {
        assert_eq!(report.untrue(), Vec::<&str>::new());
        let hoster = self.market.hoster().address();
        let calls: Vec<_> =
            report.entries.iter().filter(|entry| entry.by == hoster).map(|entry| entry.call).collect();
        let count = |call| calls.iter().filter(|known| **known == call).count();
        assert_eq!((count("accept"), count("pinned")), (1, 1), "{calls:?}");
        // The registration came before the bid; what else took a nonce would be missing here.
        let nonce = self.market.chain().nonce(hoster, At::Latest).await.unwrap();
        assert_eq!(nonce, 1 + calls.len() as u64, "{calls:?}");
    }
}

/// Kills the hoster when its `nth` transaction is at `moment`, the registration being the first.
async fn killed_at(nth: usize, moment: Moment) {
    let Some(mut street) = Street::open().await else { return };
    let deaths = Arc::new(AtomicU32::new(0));
    let (kill, counted) = (street.killer(), deaths.clone());
    street.proxy.set_rule(move |call, now| {
        let meant = call.method == "eth_sendRawTransaction" && call.nth == nth && now == moment;
        if meant && kill() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Fate::Pass
    });
    let report = street.live().await;
    assert_eq!(deaths.load(Ordering::SeqCst), 1, "the hoster was killed");
    street.assert_paid_once(&report).await;
    street.market.end().await;
}

#[actix_rt::test]
async fn a_hoster_killed_when_its_accept_is_mined_but_not_known_to_it_accepts_once() {
    killed_at(1, Moment::Response).await;
}

#[actix_rt::test]
async fn a_hoster_killed_before_its_announcement_leaves_announces_once() {
    killed_at(2, Moment::Request).await;
}

#[actix_rt::test]
async fn a_hoster_killed_at_twenty_random_instants_is_paid_once() {
    let Some(mut street) = Street::open().await else { return };
    let seed = std::env::var("SCATTER_KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    eprintln!("SCATTER_KILL_SEED={seed}");
    let deaths = Arc::new(AtomicU32::new(0));
    let (kill, counted) = (street.killer(), deaths.clone());
    let random = Mutex::new((StdRng::seed_from_u64(seed), 5_u32));
    // An instant is a moment of one of its calls: between them it changes nothing outside itself.
    street.proxy.set_rule(move |_, _| {
        let (random, left) = &mut *random.lock().unwrap();
        *left = left.saturating_sub(1);
        if *left == 0 && counted.load(Ordering::SeqCst) < KILLS && kill() {
            counted.fetch_add(1, Ordering::SeqCst);
            *left = random.gen_range(3..60);
        }
        Fate::Pass
    });
    let report = street.live().await;
    assert_eq!(deaths.load(Ordering::SeqCst), KILLS, "the hoster was killed so often");
    street.assert_paid_once(&report).await;
    street.market.end().await;
}
