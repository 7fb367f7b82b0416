//! The node's listener on real chains: its journal in its file ends equal to what the chain tells, each event once,
//! through restarts and reorgs.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use actix::Actor;
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::sqlite::Sqlite;
use scatter::adapters::system_clock::SystemClock;
use scatter_actors::chain_listener::{ChainListener, Config, Outbox, Ports};
use scatter_actors::domain::listening::{examine, Said, Span};
use scatter_actors::domain::market::{MarketEvent, Position};
use scatter_actors::domain::units::BlockHeight;
use scatter_actors::ports::chain::Chain;
use scatter_actors::ports::keys::Keys;
use scatter_actors::ports::store::{self, Order};
use scatter_actors::records::journal::Fact;
use scatter_actors::records::meta::{newest_block, ChainStatus};
use scatter_actors::supervisor::{Drain, Guard};

use crate::support::geth::Geth;
use crate::world::{by_router, client, offer, Place, World};
use scatter::adapters::ethereum::Ethereum;

/// Longest time for the listener to come to the head, in looks of a hundredth of a second.
const LOOKS: usize = 3_000;

type Told = (Position, MarketEvent);

/// A store in a file, and what is listened to.
struct Node<'a> {
    place: &'a Place,
    url: String,
    store: PathBuf,
    _directory: tempfile::TempDir,
}

impl<'a> Node<'a> {
    fn of(place: &'a Place, url: String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { place, url, store: directory.path().join("store.sqlite"), _directory: directory }
    }

    /// One life of the node: listens until `done`, and ends.
    async fn live(&self, done: impl AsyncFn(&Sqlite) -> bool) {
        let store = Rc::new(Sqlite::open(&self.store).unwrap());
        let chain: Rc<dyn Chain> = Rc::new(Ethereum::new(client(&self.url), by_router(&self.place.at)));
        let config = Config {
            chain_id: chain.chain_id().await.unwrap(),
            confirmations: 0,
            poll_ms: 20,
            max_range: 4,
            ..Config::default()
        };
        let ports = Ports { chain, store: store.clone(), clock: Rc::new(SystemClock::new()) };
        let listener = ChainListener::new(config, ports, Outbox::default(), Guard::none()).start();
        let mut looks = 0;
        while !done(&store).await {
            looks += 1;
            assert!(looks < LOOKS, "the listener does not come to the head");
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
        let _over = listener.send(Drain).await;
    }

    /// Lives until the newest block is read.
    async fn catch_up(&self) {
        let head = self.place.chain.head().await.unwrap();
        self.live(async |store| newest_block(store).unwrap().is_some_and(|block| block.hash == head.hash))
            .await;
        assert_eq!(standing(&self.store), self.truth().await);
    }

    /// What the chain tells of itself.
    async fn truth(&self) -> Vec<Told> {
        let span = Span::Range(BlockHeight(0), self.place.chain.head().await.unwrap().number);
        let (_, events, _) = examine(span, self.place.chain.events(span).await.unwrap()).unwrap();
        let known = events.into_iter().filter_map(|log| match log.said {
            Said::Known(event) => Some((log.at, event)),
            Said::Poison { .. } => None,
        });
        known.collect()
    }
}

/// What the journal says that stands; each entry enters once and leaves only if it is there.
fn standing(store: &Path) -> Vec<Told> {
    let store = Sqlite::open_read_only(store).unwrap();
    let mut standing = std::collections::BTreeMap::new();
    for fact in store::list::<Fact>(&store, &[], Order::Ascending, usize::MAX).unwrap() {
        let known = match fact.retracted {
            true => standing.remove(&fact.at).is_some(),
            false => standing.insert(fact.at, fact.event.clone()).is_none(),
        };
        assert!(known, "{fact:?}");
    }
    standing.into_iter().collect()
}

/// Bids before and between two lives of a node.
async fn through_restarts(node: &Node<'_>, mine: impl Fn(u64)) {
    for account in 1..4 {
        node.place.send(account, offer()).await;
        mine(3);
    }
    node.catch_up().await;
    assert_eq!(standing(&node.store).len(), 3);
    for account in 1..3 {
        node.place.send(account, offer()).await;
    }
    mine(9);
    for _ in 0..2 {
        node.catch_up().await;
        assert_eq!(standing(&node.store).len(), 5);
    }
}

#[actix_rt::test]
async fn history_and_what_happens_between_two_lives_is_read_once_on_anvil() {
    let Some(world) = World::start().await else { return };
    let node = Node::of(&world, world.anvil.url());
    through_restarts(&node, |blocks| world.anvil.mine(blocks)).await;
}

#[actix_rt::test]
async fn history_and_what_happens_between_two_lives_is_read_once_on_geth() {
    let Some(geth) = Geth::start() else { return };
    let accounts: Vec<_> = (1..=5).map(|n| Signer::from_key(&[n; 32]).unwrap()).collect();
    accounts.iter().for_each(|account| geth.fund(&account.address().to_string(), 10_u128.pow(19)));
    let place = Place::open(&geth.url(), accounts).await;
    let node = Node::of(&place, geth.url());
    // It mines a block for each transaction.
    through_restarts(&node, |blocks| (0..blocks).for_each(|_| geth.fund(&place.address(4).to_string(), 1)))
        .await;
}

#[actix_rt::test]
async fn a_reorg_between_two_lives_and_one_in_midst_of_a_life_undo_what_they_removed_on_anvil() {
    let Some(world) = World::start().await else { return };
    let node = Node::of(&world, world.anvil.url());
    for account in 1..4 {
        world.send(account, offer()).await;
    }
    node.catch_up().await;
    let before = standing(&node.store);
    // Two blocks are not final: as high as before, with nothing in them.
    world.anvil.reorg(2);
    node.catch_up().await;
    assert_eq!((before.len(), standing(&node.store).len()), (3, 1), "found at start, though no block is new");
    world.send(1, offer()).await;
    world.send(2, offer()).await;
    let head = world.chain.head().await.unwrap().hash;
    let reorged = std::cell::Cell::new(false);
    node.live(async |store| {
        let newest = newest_block(store).unwrap().unwrap();
        if !reorged.get() && newest.hash == head {
            world.anvil.reorg(1);
            world.anvil.mine(1);
            reorged.set(true);
        }
        reorged.get() && newest.hash == world.chain.head().await.unwrap().hash
    })
    .await;
    assert_eq!(standing(&node.store), node.truth().await);
    assert_eq!(standing(&node.store).len(), 2);
}

#[actix_rt::test]
async fn a_reorg_past_finality_halts_the_listener_and_leaves_the_journal_as_it_was_on_anvil() {
    let Some(world) = World::start().await else { return };
    let node = Node::of(&world, world.anvil.url());
    for account in 1..4 {
        world.send(account, offer()).await;
    }
    world.anvil.mine(1);
    node.catch_up().await;
    let before = standing(&node.store);
    world.anvil.reorg(4);
    world.anvil.mine(2);
    node.live(async |store| ChainStatus::read(store).unwrap().unwrap().halted.is_some()).await;
    assert_eq!(standing(&node.store), before);
}
