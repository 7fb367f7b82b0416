//! The wallet on a chain in memory, on paused time. Where to look for what:
//!
//! | what happens | where |
//! |---|---|
//! | killed before and after nonce, sign, persist, send, response; at any step | `kills` |
//! | answers lost, the same key twice, a cold start, lagging nodes, refusals amid others, eviction, reorgs, gaps | `sending` |
//! | 109 and 110 per cent, ceilings, old hashes, deadlines, chains without EIP-1559 | `prices` |
//! | caps over restarts, refills, floors, wrong chains and accounts | `money` |
//! | a key used elsewhere, sure reverts, the stages that people see | `strangers` |
//! | cancel and bump | `orders` |
//! | ten thousand intents, a hundred at once | `scale` |
//! | all of it at random: one mined transaction a key, no gap at the end, spending below its cap | `chaos` |

use super::*;
use crate::domain::market::{Abandonment, Execution, Market, MarketCall, MarketEvent, MarketRules, Version};
use crate::domain::units::{BidId, BlockHeight, ChainTime};
use crate::ports::store::{self, Batch};
use crate::records::intent::{want, Intent, IntentState};
use crate::records::journal::Outcome;
use crate::supervisor::Drain;
use crate::testkit::chain::{cost, FakeChain, FakeKeys, Mined, BLOCK_SECONDS};
use crate::testkit::MemoryStore;

mod chaos;
mod kills;
mod markets;
mod money;
mod orders;
mod prices;
mod scale;
mod sending;
mod strangers;

const CHAIN: u64 = 1337;
const MARKET: Market = Market { chain: CHAIN, address: Address([0x3a; 20]) };
const ME: Address = Address([0x11; 20]);

/// Time as the paused runtime tells it, from a fixed day on.
struct RuntimeClock(tokio::time::Instant);

impl Clock for RuntimeClock {
    fn wall(&self) -> WallTime {
        WallTime(1_700_000_000_000 + self.monotonic())
    }
    fn monotonic(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// The market of these tests: bid 13 always reverts, a bid can be accepted once, a withdrawal pays all.
fn rule(
    history: &[&Mined],
    from: Address,
    call: &MarketCall,
    _: ChainTime,
) -> Result<Vec<MarketEvent>, String> {
    match call {
        MarketCall::Accept(BidId(13)) => Err("unlucky".into()),
        MarketCall::Accept(bid) => {
            let taken = |mined: &&Mined| mined.receipt.succeeded && mined.tx.call == MarketCall::Accept(*bid);
            match history.iter().any(taken) {
                true => Err("accepted before".into()),
                false => Ok(vec![MarketEvent::Accepted { bid: *bid, when: ChainTime(0), hoster: from }]),
            }
        }
        MarketCall::Withdraw => Ok(vec![MarketEvent::Withdrawn { amount: Wei::from(OWED), to: from }]),
        _ => Ok(vec![]),
    }
}

/// What the listener wrote down of the chain.
fn chain_status(halted: Option<&str>) -> Batch {
    let mut batch = Batch::new();
    batch.put(&ChainStatus {
        market: MARKET,
        rules: MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 86_400 },
        head: BlockHeight(1),
        head_time: ChainTime(1),
        newest_time: ChainTime(1),
        finalized: BlockHeight(1),
        head_changed: WallTime(1),
        poison: 0,
        halted: halted.map(str::to_owned),
    });
    batch
}

/// What a withdrawal pays.
const OWED: u128 = 1_000_000_000_000_000_000;

/// A wallet, its world, and time.
struct Rig {
    chain: Rc<FakeChain>,
    store: Rc<MemoryStore>,
    clock: Rc<RuntimeClock>,
    config: Config,
    wallet: Option<Addr<WalletSigner>>,
}

impl Rig {
    /// A world in which no wallet runs yet, and time is paused.
    fn new() -> Self {
        tokio::time::pause();
        Self::another()
    }
    /// The same, where time is paused already.
    fn another() -> Self {
        let config = Config { auto_withdraw: false, bump_after_seconds: 60, ..Config::default() };
        let store = Rc::new(MemoryStore::new());
        store.commit(chain_status(None)).unwrap();
        Self {
            chain: Rc::new(FakeChain::new(CHAIN, Box::new(rule))),
            store,
            clock: Rc::new(RuntimeClock(tokio::time::Instant::now())),
            config,
            wallet: None,
        }
    }
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut rig = Self::new();
        change(&mut rig.config);
        rig
    }
    /// Starts a wallet on the store as it is.
    fn start(&mut self) {
        let ports = Ports {
            chain: self.chain.clone(),
            keys: Rc::new(FakeKeys(ME)),
            store: self.store.clone(),
            clock: self.clock.clone(),
        };
        self.start_with(ports);
    }
    fn start_with(&mut self, ports: Ports) {
        let wallet = WalletSigner::new(self.config.clone(), ports, Guard::none());
        self.wallet = Some(wallet.start());
    }
    /// Ends the wallet as it stands, in the middle of whatever it does.
    async fn kill(&mut self) {
        if let Some(wallet) = self.wallet.take() {
            let _dead_is_as_good = wallet.send(Drain).await;
        }
    }
    async fn restart(&mut self) {
        self.kill().await;
        self.start();
    }
    /// A running wallet.
    fn started() -> Self {
        let mut rig = Self::new();
        rig.start();
        rig
    }
    fn intent(&self, key: &str, call: MarketCall, deadline: Option<ChainTime>) -> Intent {
        let (key, created) = (IntentKey(key.into()), self.clock.wall());
        Intent { key, market: MARKET, call, deadline, created, state: IntentState::Queued }
    }
    /// Writes an intent as its owner would, without telling.
    fn write(&self, intent: Intent) {
        let mut batch = Batch::new();
        want(self.store.as_ref(), &mut batch, intent).unwrap();
        self.store.commit(batch).unwrap();
    }
    /// Wants a bid accepted: writes the intent and tells.
    fn accept(&self, bid: u64) {
        self.accept_until(bid, None);
    }
    fn accept_until(&self, bid: u64, deadline: Option<ChainTime>) {
        let key = format!("accept:{bid}");
        self.write(self.intent(&key, MarketCall::Accept(BidId(bid)), deadline));
        if let Some(wallet) = &self.wallet {
            wallet.do_send(Submit { key: IntentKey(key) });
        }
    }
    /// Lets time pass without a block.
    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    /// Blocks at their pace, with all that waits.
    async fn blocks(&self, blocks: u64) {
        for _ in 0..blocks {
            self.pass(BLOCK_SECONDS).await;
            self.chain.mine();
        }
        self.pass(BLOCK_SECONDS).await;
    }
    async fn status(&self) -> WalletStatus {
        self.wallet.as_ref().unwrap().send(Wallet).await.unwrap()
    }
    async fn alerts(&self) -> Vec<&'static str> {
        self.status().await.alerts.iter().map(|alert| alert.about).collect()
    }
    fn state(&self, key: &str) -> IntentState {
        store::read::<Intent>(self.store.as_ref(), key.as_bytes()).unwrap().unwrap().state
    }
    fn outcomes(&self) -> Vec<Outcome> {
        store::list_from(self.store.as_ref(), &[], 1_000).unwrap()
    }
    /// The outcomes of an intent in a word each.
    fn results(&self, key: &str) -> Vec<String> {
        let of_it = self.outcomes().into_iter().filter(|outcome| outcome.intent.0 == key);
        of_it
            .map(|outcome| match outcome.result {
                Execution::Mined { .. } => "mined".into(),
                Execution::Reverted { .. } => "reverted".into(),
                Execution::Abandoned { reason } => reason.to_string(),
            })
            .collect()
    }
    /// What of the wallet's is mined: nonce and call, in order.
    fn mined(&self) -> Vec<(u64, MarketCall)> {
        let mine = self.chain.mined().into_iter().filter(|mined| mined.tx.from == ME);
        mine.map(|mined| (mined.tx.nonce, mined.tx.call)).collect()
    }
    /// What the wallet has spent, by the chain.
    fn spent(&self) -> Wei {
        let mine = self.chain.mined().into_iter().filter(|mined| mined.tx.from == ME);
        mine.fold(Wei::ZERO, |sum, mined| sum.plus(cost(&mined)))
    }
}

fn accept(bid: u64) -> MarketCall {
    MarketCall::Accept(BidId(bid))
}

fn too_late() -> String {
    Abandonment::TooLate.to_string()
}
