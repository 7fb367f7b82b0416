//! A hoster whose Router points elsewhere, on a real chain: the bid that it holds on the old market ends paid, a bid on
//! the new one that was placed before anybody knew is taken, and nothing new is taken on the old one.

use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr};
use ethers::abi::AbiEncode;
use ethers::types::H160;
use scatter::adapters::ethereum::deploy::{Deployed, Deployer, MARKET};
use scatter::adapters::ethereum::{Config, Ethereum};
use scatter::adapters::sqlite::Sqlite;
use scatter::adapters::system_clock::SystemClock;
use scatter_actors::bid_filter::{self, BidFilter};
use scatter_actors::chain_listener::{self, ChainListener};
use scatter_actors::domain::admission::Policy;
use scatter_actors::domain::backoff::Backoff;
use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::cids;
use scatter_actors::domain::market::{BidKey, MarketCall, Settlement};
use scatter_actors::domain::units::{Address, ByteSize, FileHash, Wei};
use scatter_actors::pinner::{self, Pinner};
use scatter_actors::ports::chain::Chain;
use scatter_actors::ports::keys::Keys;
use scatter_actors::ports::store;
use scatter_actors::records::following::{self, Standing};
use scatter_actors::records::hosting::HostedBid;
use scatter_actors::records::listening::Listening;
use scatter_actors::records::meta::newest_block;
use scatter_actors::records::meta::ChainStatus;
use scatter_actors::supervisor::{Drain, Guard};
use scatter_actors::testkit::ipfs::unixfs_file;
use scatter_actors::testkit::{MemoryDisk, MemoryIpfs};
use scatter_actors::wallet_signer::{self, WalletSigner};
use serde_json::json;

use crate::world::{by_router, client, vote, Place, World, DURATION, VOTE_DURATION};

const BIDDER: usize = 1;
const HOSTER: usize = 2;
/// Looks of a hundredth of a second until something has happened, at most.
const LOOKS: usize = 3_000;

/// One life of the hoster's actors, wired as the crate's message graph says.
struct Life {
    store: Rc<Sqlite>,
    listener: Addr<ChainListener>,
    filter: Addr<BidFilter>,
    pinner: Addr<Pinner>,
    wallet: Addr<WalletSigner>,
}

impl Life {
    fn begin(world: &World, file: &std::path::Path, ipfs: &Rc<MemoryIpfs>) -> Self {
        let store = Rc::new(Sqlite::open(file).unwrap());
        let ethereum = Ethereum::new(client(&world.anvil.url()), by_router(&world.at));
        let key = world.accounts[HOSTER].clone().with_directory(ethereum.directory());
        let (chain, keys): (Rc<dyn Chain>, Rc<dyn Keys>) = (Rc::new(ethereum), Rc::new(key));
        let (me, clock) = (keys.address(), Rc::new(SystemClock::new()));
        let disk = Rc::new(MemoryDisk::with_free(ByteSize(1 << 40)));

        let config = wallet_signer::Config { confirmations: 0, poll_ms: 20, ..Default::default() };
        let ports =
            wallet_signer::Ports { chain: chain.clone(), keys, store: store.clone(), clock: clock.clone() };
        let wallet = WalletSigner::new(config, ports, Guard::none()).start();

        let outbox = pinner::Outbox::default();
        outbox.submit.point(&wallet);
        let config = pinner::Config {
            hosting: Some(pinner::Hosting { me, fetches: 2, idle_ms: 5_000 }),
            mirroring: pinner::Bounds {
                at_once: 1,
                per_peer: 1,
                idle_ms: 5_000,
                retry: Backoff { first: Duration::from_secs(1), most: Duration::from_secs(1) },
                min_free_disk: ByteSize(0),
                max_storage: None,
            },
            grace_ms: 0,
            compare_each: Duration::from_secs(3_600),
        };
        let ports = pinner::Ports {
            ipfs: ipfs.clone(),
            store: store.clone(),
            clock: clock.clone(),
            disk: disk.clone(),
        };
        let pinner = Pinner::new(config, ports, outbox, Guard::none()).start();

        let outbox = bid_filter::Outbox::default();
        outbox.host.point(&pinner);
        let policy = Policy {
            accept: true,
            min_price: Wei::ZERO,
            sizes: (ByteSize(1), ByteSize(1 << 30)),
            durations: (1, u64::MAX),
            max_storage: ByteSize(1 << 40),
            min_free_disk: ByteSize(0),
            allow: vec![],
            deny: vec![],
            assumed_speed: 1 << 20,
        };
        let config = bid_filter::Config { policy, confirmations: 0, block_time: 1, me };
        let ports =
            bid_filter::Ports { chain: chain.clone(), store: store.clone(), clock: clock.clone(), disk };
        let filter = BidFilter::new(config, ports, outbox, Guard::none()).start();

        let mut outbox = chain_listener::Outbox::default();
        outbox.placed.add().point(&filter);
        outbox.accepted.add().point(&pinner);
        outbox.pinned.add().point(&pinner);
        outbox.voted.add().point(&pinner);
        outbox.settled.add().point(&pinner);
        outbox.settled.add().point(&wallet);
        outbox.heads.add().point(&pinner);
        let config = chain_listener::Config {
            chain_id: 31_337,
            confirmations: 0,
            poll_ms: 20,
            ..chain_listener::Config::default()
        };
        let ports = chain_listener::Ports { chain, store: store.clone(), clock };
        let listener = ChainListener::new(config, ports, outbox, Guard::none()).start();
        Self { store, listener, filter, pinner, wallet }
    }

    async fn end(self) {
        let _over = self.listener.send(Drain).await;
        let _over = self.filter.send(Drain).await;
        let _over = self.pinner.send(Drain).await;
        let _over = self.wallet.send(Drain).await;
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, done: impl AsyncFn(&Sqlite) -> bool) {
        for _ in 0..LOOKS {
            if done(&self.store).await {
                return;
            }
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
        let bids = store::list::<HostedBid>(&*self.store, &[], store::Order::Ascending, 9).unwrap();
        let bids: Vec<_> = bids.into_iter().map(|bid| (bid.bid.to_string(), bid.stage)).collect();
        panic!("{what}: {bids:?}, {:?}", following::all(&*self.store).unwrap());
    }

    async fn until_stage(&self, bid: BidKey, is: impl Fn(&Stage) -> bool) {
        let stage = |store: &Sqlite| store::read::<HostedBid>(store, &bid.to_bytes()).unwrap();
        self.until(&bid.to_string(), async |store| stage(store).is_some_and(|bid| is(&bid.stage))).await;
    }
}

fn current(store: &Sqlite) -> Option<Address> {
    ChainStatus::read(store).unwrap().map(|status| status.market.address)
}

fn offer(file: FileHash) -> MarketCall {
    let ether = Wei::from(10_u128.pow(18));
    let (size, duration, min_validations) = (ByteSize(3_000), DURATION, 2);
    MarketCall::Bid { file, size, duration, amount: ether, pool: ether, min_validations }
}

/// The same contracts with another market, which nothing points to.
async fn another_market(world: &World) -> Place {
    let by = Deployer::new(world.rpc.clone(), &world.accounts[0]);
    let arguments = (H160(world.at.env.0), H160(world.at.register.0)).encode();
    let market = by.create(MARKET, &arguments).await.unwrap();
    let chain = Ethereum::new(world.rpc.clone(), Config { market: Some(market), ..by_router(&world.at) });
    let accounts = world.accounts.iter().map(|key| key.clone().with_directory(chain.directory()));
    let accounts = accounts.collect();
    Place { rpc: world.rpc.clone(), at: Deployed { market, ..world.at }, chain, accounts }
}

async fn point_router(world: &World, to: Address) {
    let call = ethers::utils::id("set(bytes32,address)").to_vec();
    let key = ethers::utils::keccak256("Scatter").to_vec();
    let target = [vec![0; 12], to.0.to_vec()].concat();
    let by = Deployer::new(world.rpc.clone(), &world.accounts[0]);
    by.send(Some(world.at.router), Wei::ZERO, [call, key, target].concat()).await.unwrap();
}

#[actix_rt::test]
async fn a_held_bid_on_the_old_market_ends_paid_and_a_new_one_on_the_new_market_is_taken() {
    let Some(world) = World::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.sqlite");
    let (ipfs, blocks) = (Rc::new(MemoryIpfs::new()), unixfs_file(&[7; 3_000], 1_000));
    ipfs.load(&blocks);
    let content = cids::file_hash(&blocks[0].0).unwrap();
    for account in [HOSTER, 3, 4] {
        world.send(account, MarketCall::Register(content)).await;
    }
    world.send(BIDDER, offer(content)).await;
    let life = Life::begin(&world, &file, &ipfs);
    let held = world.bid(0);
    life.until_stage(held, |stage| matches!(stage, Stage::Hosting { .. })).await;

    // A Router that points nowhere changes nothing.
    point_router(&world, Address([0xee; 20])).await;
    world.anvil.mine(4);
    let told = |store: &Sqlite| Listening::read(store).unwrap().router;
    life.until("the trouble is told", async |store| told(store).is_some()).await;
    assert_eq!(current(&life.store), Some(world.at.market));

    // The new market has a bid already when the Router points to it, in blocks that were read without it.
    let new = another_market(&world).await;
    new.send(BIDDER, offer(content)).await;
    world.anvil.mine(4);
    let head = world.chain.head().await.unwrap().number;
    let reads_on = |store: &Sqlite| newest_block(store).unwrap().unwrap().number;
    life.until("the head is read", async |store| reads_on(store) >= head).await;
    life.end().await;
    point_router(&world, new.at.market).await;
    world.anvil.mine(4);
    let life = Life::begin(&world, &file, &ipfs);
    life.until("the new market is followed", async |store| current(store) == Some(new.at.market)).await;
    life.until_stage(new.bid(0), |stage| matches!(stage, Stage::Hosting { .. })).await;
    let taken = world.chain.bid(new.bid(0)).await.unwrap().unwrap();
    assert_eq!(taken.hoster, Some(world.address(HOSTER)), "it is held on the new market");

    // Nothing new is taken on the old one.
    world.send(BIDDER, offer(content)).await;
    let retired = |stage: &Stage| matches!(stage, Stage::Declined { reason } if reason.contains("retired"));
    life.until_stage(world.bid(1), retired).await;
    assert_eq!(world.chain.bid(world.bid(1)).await.unwrap().unwrap().hoster, None);

    // What is held there goes on to its end, through another restart.
    life.end().await;
    world.anvil.advance(DURATION);
    let life = Life::begin(&world, &file, &ipfs);
    for voter in [3, 4] {
        world.send(voter, vote(held.id, true)).await;
    }
    world.anvil.advance(VOTE_DURATION);
    world.anvil.mine(1);
    let hoster = world.address(HOSTER);
    life.until_stage(held, |stage| stage.is_over()).await;
    let state = world.chain.bid(held).await.unwrap().unwrap();
    assert_eq!(state.outcome, Some(Settlement::Paid));
    life.until("the old market pays out", async |_| {
        world.anvil.mine(1);
        world.chain.credit(world.at.market, hoster).await.unwrap() == Wei::ZERO
    })
    .await;
    let done = |store: &Sqlite| {
        let known = following::all(store).unwrap();
        let old = known.into_iter().find(|one| one.market.address == world.at.market).unwrap();
        matches!(old.standing, Standing::Done { .. })
    };
    life.until("the old market is done with", async |store| {
        world.anvil.mine(1);
        done(store)
    })
    .await;
    life.end().await;
}

#[actix_rt::test]
async fn a_market_of_a_version_that_nobody_here_knows_is_told_of_and_not_followed() {
    let Some(world) = World::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let life = Life::begin(&world, &directory.path().join("store.sqlite"), &Rc::new(MemoryIpfs::new()));
    let old = world.at.market;
    life.until("the market is followed", async |store| current(store) == Some(old)).await;
    let told = |store: &Sqlite| Listening::read(store).unwrap().router;
    let none_holds_it = format!("7f{}", "ff".repeat(32));
    for (to, push, version) in [
        (Address([0xd1; 20]), "6003", "3"),
        (Address([0xd2; 20]), none_holds_it.as_str(), "that no number can hold"),
    ] {
        // Answers that word, whatever is asked.
        let code = format!("0x{push}60005260206000f3");
        world.anvil.call("anvil_setCode", json!([to, code]));
        point_router(&world, to).await;
        world.anvil.mine(4);
        let words = format!("names {to}, a market of the unknown version {version}");
        life.until(&words, async |store| told(store).is_some_and(|what| what.contains(&words))).await;
        assert_eq!(current(&life.store), Some(old));
    }
    point_router(&world, old).await;
    world.anvil.mine(4);
    life.until("the trouble is over", async |store| told(store).is_none()).await;
    assert_eq!(following::all(&*life.store).unwrap().len(), 1);
    life.end().await;
}
