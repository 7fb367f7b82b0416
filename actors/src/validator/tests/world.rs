//! A market in memory with real listener, wallet and validator on it, and hosters of every kind.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use cid::Cid;
use futures::FutureExt;
use sha3::{Digest as _, Keccak256};

use super::super::*;
use crate::chain_listener::{self, ChainListener};
use crate::domain::audit::secrets::{Anchor, Secrets};
use crate::domain::audit::slot::Outcome as SlotOutcome;
use crate::domain::cids;
use crate::domain::dag;
use crate::domain::dag::made::{self, Blocks};
use crate::domain::registration::{compose, Host, Registration};
use crate::domain::units::{Address, BidId, ByteSize, FileHash, WallTime, Wei};
use crate::ports::hoster_probe::{Ask, Error, Reply};
use crate::ports::keys::Fees;
use crate::ports::Answer;
use crate::records::audit::AuditSecrets;
use crate::supervisor::Drain;
use crate::testkit::chain::{FakeChain, FakeKeys, Tx, CALL_GAS};
use crate::testkit::{MemoryDisk, MemoryIpfs, MemoryStore};
use crate::wallet_signer::{self, WalletSigner};

pub(super) const BIDDER: Address = Address([0xb1; 20]);
pub(super) const HOSTER: Address = Address([0x40; 20]);
pub(super) const NEIGHBOUR: Address = Address([0x41; 20]);
pub(super) const ME: Address = Address([0x5a; 20]);
const CHAIN: u64 = 1337;
const DAY: u64 = 86_400;

/// Both clocks run with the runtime's, so that a paused runtime pauses them.
pub(super) struct RuntimeClock(tokio::time::Instant);

impl Clock for RuntimeClock {
    fn wall(&self) -> WallTime {
        WallTime(1_700_000_000_000 + self.monotonic())
    }
    fn monotonic(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// What a hoster does with questions.
#[derive(Debug, Clone, Default)]
pub(super) enum Mood {
    #[default]
    Honest,
    /// Has nothing of the content.
    Drops,
    /// Has all but these.
    Loses(BTreeSet<FileHash>),
    /// Gives these with a byte flipped.
    Flips(BTreeSet<FileHash>),
    /// Takes the question and never answers.
    Silent,
    /// Says this, whatever is asked.
    Says(u16),
    /// Answers the probe, and this to everything else.
    SaysToBlocks(u16),
    /// Answers after so many milliseconds.
    Slow(u64),
}

#[derive(Default)]
pub(super) struct Hosters {
    pub(super) blocks: RefCell<Blocks>,
    moods: RefCell<BTreeMap<String, Mood>>,
    pub(super) asked: RefCell<Vec<Ask>>,
    pub(super) at_once: Cell<usize>,
    pub(super) most_at_once: Cell<usize>,
}

impl Hosters {
    fn reply(&self, mood: &Mood, cid: &Cid) -> Reply {
        let status = |status| Reply { status, body: b"words of a stranger".to_vec() };
        let Some(hash) = cids::file_hash(cid) else {
            return match mood {
                Mood::Says(said) => status(*said),
                _ => Reply { status: 200, body: cid.hash().digest().to_vec() },
            };
        };
        let block = self.blocks.borrow().get(&hash).cloned();
        match (mood, block) {
            (Mood::Says(said) | Mood::SaysToBlocks(said), _) => status(*said),
            (Mood::Drops, _) | (_, None) => status(404),
            (Mood::Loses(lost), _) if lost.contains(&hash) => status(404),
            (Mood::Flips(bad), Some(mut block)) if bad.contains(&hash) => {
                block[0] ^= 1;
                Reply { status: 200, body: block }
            }
            (_, Some(body)) => Reply { status: 200, body },
        }
    }
}

impl HosterProbe for Hosters {
    fn ask(&self, ask: Ask) -> Answer<'_, Reply, Error> {
        async move {
            self.asked.borrow_mut().push(ask.clone());
            let mood = self.moods.borrow().get(&ask.endpoint).cloned();
            self.at_once.set(self.at_once.get() + 1);
            self.most_at_once.set(self.most_at_once.get().max(self.at_once.get()));
            let wait = match mood {
                Some(Mood::Silent) => ask.timeout_ms,
                Some(Mood::Slow(ms)) => ms.min(ask.timeout_ms),
                _ => 5,
            };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            self.at_once.set(self.at_once.get() - 1);
            match mood {
                None => Err(Error::Unreachable("nobody is there".into())),
                Some(Mood::Silent) => Err(Error::TimedOut(ask.timeout_ms)),
                Some(Mood::Slow(ms)) if ms >= ask.timeout_ms => Err(Error::TimedOut(ask.timeout_ms)),
                Some(mood) => Ok(self.reply(&mood, &ask.cid)),
            }
        }
        .boxed_local()
    }
}

type Actors = (Addr<ChainListener>, Addr<WalletSigner>, Addr<Validator>);

pub(super) struct World {
    pub(super) chain: Rc<FakeChain>,
    pub(super) store: RefCell<Rc<MemoryStore>>,
    pub(super) disk: Rc<MemoryDisk>,
    pub(super) ipfs: Rc<MemoryIpfs>,
    pub(super) hosters: Rc<Hosters>,
    pub(super) config: Config,
    clock: Rc<RuntimeClock>,
    nonces: RefCell<BTreeMap<Address, u64>>,
    actors: RefCell<Option<Actors>>,
}

pub(super) fn endpoint(of: Address) -> String {
    format!("https://{}.example", hex::encode(&of.0[..2]))
}

impl World {
    /// A market on which validator and two hosters are registered. No actor runs yet.
    pub(super) fn new() -> Self {
        let chain = Rc::new(FakeChain::with_market(CHAIN));
        chain.set_final_lag(Some(2));
        let world = Self {
            chain,
            store: RefCell::new(Rc::new(MemoryStore::new())),
            disk: Rc::default(),
            ipfs: Rc::new(MemoryIpfs::new()),
            hosters: Rc::default(),
            config: Config::default(),
            clock: Rc::new(RuntimeClock(tokio::time::Instant::now())),
            nonces: RefCell::default(),
            actors: RefCell::default(),
        };
        world.mood(HOSTER, Mood::Honest);
        world.mood(NEIGHBOUR, Mood::Honest);
        world
    }

    pub(super) fn with_everybody_registered() -> Self {
        let world = Self::new();
        let store = world.store.borrow().clone();
        // A short chain: 65,536 links are slow to hash without optimisation.
        let secrets = Secrets::with([1; 32], world.chain.now(), 1_000, 3_600);
        let mut batch = Batch::new();
        batch.put(&AuditSecrets { secrets: secrets.clone() });
        store.commit(batch).unwrap();
        world.register(ME, None, Some(secrets.anchor()));
        world.register(HOSTER, Some(endpoint(HOSTER)), None);
        world.register(NEIGHBOUR, Some(endpoint(NEIGHBOUR)), None);
        world
    }

    pub(super) fn mood(&self, of: Address, mood: Mood) {
        self.hosters.moods.borrow_mut().insert(endpoint(of), mood);
    }

    pub(super) fn register(&self, who: Address, endpoint: Option<String>, audit: Option<Anchor>) {
        let host = Host { multiaddr: None, endpoint, audit };
        let file = compose(&Registration { address: who, alias: String::new(), host });
        let file = cids::file_hash(&self.ipfs.hold(cids::RAW, &file)).unwrap();
        self.transact(who, MarketCall::Register(file));
    }

    /// Puts a call into the next block.
    pub(super) fn transact(&self, from: Address, call: MarketCall) {
        let mut nonces = self.nonces.borrow_mut();
        let nonce = nonces.entry(from).or_default();
        let gwei = Wei::from(1_000_000_000u128);
        let fees = Fees { max_fee: gwei.times(10), max_tip: Some(gwei) };
        self.chain.inject(Tx {
            from,
            chain: CHAIN,
            nonce: *nonce,
            gas_limit: CALL_GAS,
            fees,
            call,
            on: None,
        });
        *nonce += 1;
        drop(nonces);
        self.chain.mine();
    }

    /// A bid for seven days that is announced by `hoster`. One vote decides.
    pub(super) fn host(&self, bidder: Address, hoster: Address, root: &Cid) -> BidKey {
        let id = BidId(self.chain.market_now().bids.len() as u64);
        self.transact(
            bidder,
            MarketCall::Bid {
                file: cids::file_hash(root).unwrap(),
                size: ByteSize(4_000),
                duration: 7 * DAY,
                amount: Wei::from(1_000_000u128),
                pool: Wei::from(1_000u128),
                min_validations: 1,
            },
        );
        self.transact(hoster, MarketCall::Accept(id));
        self.transact(hoster, MarketCall::Pinned(id));
        self.chain.mine_empty(4);
        BidKey { market: self.market(), id }
    }

    pub(super) fn market(&self) -> crate::domain::market::Market {
        crate::domain::market::Market { chain: CHAIN, address: Address([0x3a; 20]) }
    }

    /// A file of 4,000 bytes: 63 leaves below 8 nodes below the root.
    pub(super) fn file(&self) -> Cid {
        let content: Vec<u8> =
            (0..4_000u32).flat_map(|n| Keccak256::digest(n.to_be_bytes())[..1].to_vec()).collect();
        made::file(&mut self.hosters.blocks.borrow_mut(), &content, 64, 8)
    }

    /// The blocks of the file's second level.
    pub(super) fn middle(&self, root: &Cid) -> Vec<FileHash> {
        let blocks = self.hosters.blocks.borrow();
        let links = dag::links(root, &blocks[&cids::file_hash(root).unwrap()]).unwrap();
        links.iter().map(|cid| cids::file_hash(cid).unwrap()).collect()
    }

    /// All blocks without links.
    pub(super) fn leaves(&self) -> BTreeSet<FileHash> {
        let blocks = self.hosters.blocks.borrow();
        let is_leaf = |(hash, bytes): &(&FileHash, &Vec<u8>)| {
            bytes.len() <= 64 && dag::root_of(**hash, bytes).codec() == cids::RAW
        };
        blocks.iter().filter(is_leaf).map(|(hash, _)| *hash).collect()
    }

    /// Starts listener, wallet and validator on what the store holds.
    pub(super) fn start(&self) {
        let store: Rc<dyn Store> = self.store.borrow().clone();
        let (chain, clock): (Rc<dyn Chain>, Rc<dyn Clock>) = (self.chain.clone(), self.clock.clone());
        let keys: Rc<dyn Keys> = Rc::new(FakeKeys(ME));
        let submit = Line::new();
        let ports = Ports {
            chain: chain.clone(),
            ipfs: self.ipfs.clone(),
            probe: self.hosters.clone(),
            keys: keys.clone(),
            store: store.clone(),
            clock: clock.clone(),
            disk: self.disk.clone(),
        };
        let outbox = Outbox { submit: submit.clone() };
        let validator = Validator::new(self.config.clone(), ports, outbox, Guard::none()).start();

        let ports =
            wallet_signer::Ports { chain: chain.clone(), keys, store: store.clone(), clock: clock.clone() };
        let config = wallet_signer::Config { confirmations: 2, poll_ms: 70_000, ..Default::default() };
        let wallet = WalletSigner::new(config, ports, Guard::none()).start();
        submit.point(&wallet);

        let config = chain_listener::Config {
            chain_id: CHAIN,
            confirmations: 2,
            poll_ms: 15_000,
            finality_depth: 2,
            ..Default::default()
        };
        let mut outbox = chain_listener::Outbox::default();
        outbox.pinned.add().point(&validator);
        outbox.heads.add().point(&validator);
        let ports = chain_listener::Ports { chain, store, clock };
        let listener = ChainListener::new(config, ports, outbox, Guard::none()).start();
        *self.actors.borrow_mut() = Some((listener, wallet, validator));
    }

    /// Kills the node in the midst of whatever it does, and starts it again on what is durable.
    pub(super) async fn restart(&self) {
        let next = Rc::new(self.store.borrow().reopen());
        *self.store.borrow_mut() = next;
        let old = self.actors.borrow_mut().take();
        if let Some((listener, wallet, validator)) = old {
            listener.do_send(Drain);
            wallet.do_send(Drain);
            validator.do_send(Drain);
        }
        self.start();
    }

    pub(super) fn wallet(&self) -> Addr<WalletSigner> {
        self.actors.borrow().as_ref().unwrap().1.clone()
    }

    /// Lets the runtime's clock run, and with it everything that waits for it.
    pub(super) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Lets chain time come to a moment, in one leap.
    pub(super) fn leap(&self, to: ChainTime) {
        let ahead = to.since(self.chain.now());
        if ahead > 12 {
            self.chain.skip(ahead - 12);
        }
        self.chain.mine();
        self.chain.mine_empty(3);
    }

    pub(super) async fn views(&self) -> Vec<AuditView> {
        let validator = self.actors.borrow().as_ref().unwrap().2.clone();
        validator.send(Audits { limit: 100 }).await.unwrap().unwrap()
    }

    pub(super) async fn stage(&self, bid: BidKey) -> Stage {
        let views = self.views().await;
        views.into_iter().find(|view| view.bid == bid).map_or(Stage::Placed, |view| view.stage)
    }

    pub(super) async fn outcomes(&self, bid: BidKey) -> Vec<SlotOutcome> {
        let views = self.views().await;
        let view = views.into_iter().find(|view| view.bid == bid).unwrap();
        view.slots.iter().filter_map(|slot| slot.outcome).collect()
    }

    /// One turn: leaps to the next moment of which any audit waits, and gives it time to act.
    pub(super) async fn turn(&self) {
        let views = self.views().await;
        let moments = views.iter().filter_map(|view| view.stage.wakes_at());
        self.leap(moments.min().unwrap_or_default());
        self.pass(150).await;
    }

    /// The same for a node that may die in the middle.
    pub(super) async fn turn_blindly(&self) {
        let validator = self.actors.borrow().as_ref().unwrap().2.clone();
        let views = validator.send(Audits { limit: 100 }).await;
        let views = views.ok().and_then(Result::ok).unwrap_or_default();
        let moments = views.iter().filter_map(|view| view.stage.wakes_at());
        self.leap(moments.min().unwrap_or_default());
        self.pass(150).await;
    }

    /// Turns until the audit is where it stays.
    pub(super) async fn finish(&self, bid: BidKey) -> Stage {
        for _ in 0..200 {
            let stage = self.stage(bid).await;
            let is_paying = matches!(stage, Stage::Voted { payout, .. } if payout.is_open());
            if stage.is_over() && !is_paying {
                return stage;
            }
            self.turn().await;
        }
        panic!("the audit never ended: {:?}", self.stage(bid).await);
    }

    /// Calls of ours that were mined, votes and settlements.
    pub(super) fn votes(&self) -> Vec<MarketCall> {
        let mined = self.chain.mined().into_iter().filter(|mined| mined.tx.from == ME);
        mined.map(|mined| mined.tx.call).filter(|call| matches!(call, MarketCall::Vote { .. })).collect()
    }

    pub(super) fn files(&self, bid: BidKey) -> (Vec<u8>, Option<Vec<u8>>) {
        let name = Audit::new(bid, WallTime(0)).file_name();
        let document = self.disk.read(&format!("{name}.json")).unwrap().unwrap();
        (document, self.disk.read(&format!("{name}.car")).unwrap())
    }
}

/// Whose [`FakeKeys`] signed.
pub(super) fn recover(message: &[u8], signature: &[u8; 65]) -> Option<Address> {
    let mut address = [0; 20];
    address.copy_from_slice(&signature[32..52]);
    (signature[..32] == Keccak256::digest(message)[..]).then_some(Address(address))
}
