//! The chain in memory against real Anvil: nonces, replacement, forgetting and reorgs, told in the same words.

use std::fmt::Write;
use std::rc::Rc;

use scatter_actors::domain::market::{MarketCall, Version};
use scatter_actors::domain::units::{Address, BlockHeight, TxHash, Wei};
use scatter_actors::ports::chain::{At, Chain};
use scatter_actors::ports::keys::{Fees, Keys, Signed, Unsigned};
use scatter_actors::testkit::chain::{FakeChain, FakeKeys};
use serde_json::json;

use crate::ground::Ground;

const GWEI: u128 = 1_000_000_000;

/// What a test does to a chain beside asking it.
trait Hands {
    fn mine(&self);
    fn forget(&self, tx: TxHash);
    /// Replaces the newest blocks by as many empty ones, and forgets what was in them.
    fn reorg(&self, depth: u64);
}

impl Hands for Ground {
    fn mine(&self) {
        self.anvil.mine(1);
    }
    fn forget(&self, tx: TxHash) {
        self.anvil.call("anvil_dropTransaction", json!([tx]));
    }
    fn reorg(&self, depth: u64) {
        self.anvil.reorg(depth);
    }
}

struct Model(Rc<FakeChain>);

impl Hands for Model {
    fn mine(&self) {
        self.0.mine();
    }
    fn forget(&self, tx: TxHash) {
        let waiting = |known: &scatter_actors::testkit::chain::Tx| known.hash() == tx;
        self.0.evict_those(waiting);
    }
    fn reorg(&self, depth: u64) {
        self.0.reorg(depth);
        // Anvil does not put what it unmines back into its pool.
        self.0.evict();
        self.0.mine_empty(depth);
    }
}

/// Someone who writes down all that is seen. Words of errors are each client's own, so only that there is one is told.
struct Teller<'a> {
    chain: &'a dyn Chain,
    keys: &'a dyn Keys,
    hands: &'a dyn Hands,
    id: u64,
    told: String,
    sent: Vec<(String, Signed)>,
}

impl Teller<'_> {
    async fn submit(&mut self, name: &str, nonce: u64, fee: u128, tip: u128) {
        let fees = Fees { max_fee: Wei::from(fee), max_tip: Some(Wei::from(tip)) };
        let (market, call) = (Address::default(), MarketCall::NoOp);
        let tx = Unsigned { chain: self.id, market, nonce, gas_limit: 21_000, fees, call };
        let signed = self.keys.sign(&tx).unwrap();
        self.again(name, signed.clone()).await;
        self.sent.push((name.to_owned(), signed));
    }
    async fn again(&mut self, name: &str, signed: Signed) {
        let taken = self.chain.submit(&signed.raw).await.map(|hash| assert_eq!(hash, signed.hash));
        writeln!(self.told, "{name}: {}", if taken.is_ok() { "taken" } else { "refused" }).unwrap();
        self.nonces().await;
    }
    async fn resubmit(&mut self, name: &str) {
        let signed = self.of(name);
        self.again(name, signed).await;
    }
    fn of(&self, name: &str) -> Signed {
        self.sent.iter().find(|(known, _)| known == name).unwrap().1.clone()
    }
    async fn nonces(&mut self) {
        let who = self.keys.address();
        let latest = self.chain.nonce(who, At::Latest).await.unwrap();
        let pending = self.chain.nonce(who, At::Pending).await.unwrap();
        writeln!(self.told, "  nonces: {latest} mined, {pending} pending").unwrap();
    }
    async fn mine(&mut self) {
        self.hands.mine();
        self.tell_receipts("mined").await;
    }
    async fn reorg(&mut self, depth: u64) {
        self.hands.reorg(depth);
        self.tell_receipts(&format!("{depth} blocks replaced")).await;
    }
    async fn tell_receipts(&mut self, after: &str) {
        let head = self.chain.head().await.unwrap();
        writeln!(self.told, "{after}").unwrap();
        for (name, signed) in self.sent.clone() {
            let receipt = self.chain.receipt(signed.hash).await.unwrap();
            let depth = receipt.map(|receipt| head.number.0 - receipt.block.0);
            writeln!(self.told, "  {name}: {}", depth.map_or("no receipt".into(), |d| format!("{d} deep")))
                .unwrap();
        }
        self.nonces().await;
    }
    /// The hashes of the newest blocks, each of which must name the one before.
    async fn row(&self, depth: u64) -> Vec<String> {
        let head = self.chain.head().await.unwrap();
        let mut hashes = vec![head.hash.to_string()];
        let mut parent = head.parent;
        for number in (head.number.0 - depth..head.number.0).rev() {
            let block = self.chain.header(BlockHeight(number)).await.unwrap().unwrap();
            assert_eq!(block.hash, parent, "block {number} is not the parent of the next");
            parent = block.parent;
            hashes.push(block.hash.to_string());
        }
        hashes
    }
    /// Blocks of the newest `depth` that are others than they were.
    async fn changed(&mut self, before: &[String]) {
        let after = self.row(before.len() as u64 - 1).await;
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        writeln!(self.told, "  {changed} of {} blocks differ", before.len()).unwrap();
    }
}

async fn story(chain: &dyn Chain, keys: &dyn Keys, hands: &dyn Hands, id: u64) -> String {
    let mut t = Teller { chain, keys, hands, id, told: String::new(), sent: Vec::new() };
    // One nonce, one transaction; another needs more on both fields.
    t.submit("first", 0, 100 * GWEI, 10 * GWEI).await;
    t.resubmit("first").await;
    t.submit("cheaper", 0, 99 * GWEI, 9 * GWEI).await;
    t.submit("dearer", 0, 110 * GWEI, 11 * GWEI).await;
    // A gap: what stands behind it waits and is not pending yet.
    t.submit("behind a gap", 2, 100 * GWEI, GWEI).await;
    t.mine().await;
    t.submit("too late", 0, 200 * GWEI, 20 * GWEI).await;
    t.submit("the gap", 1, 100 * GWEI, GWEI).await;
    t.mine().await;
    // What the pool forgot is not mined, and comes back with the same bytes.
    t.submit("forgotten", 3, 100 * GWEI, GWEI).await;
    t.hands.forget(t.of("forgotten").hash);
    t.nonces().await;
    t.mine().await;
    t.resubmit("forgotten").await;
    t.mine().await;
    // Reorgs: of one block and of three, each a row of others, what was in them unmined.
    for depth in [1, 3] {
        let before = t.row(4).await;
        t.reorg(depth).await;
        t.changed(&before).await;
    }
    t.resubmit("forgotten").await;
    t.told
}

#[actix_rt::test]
async fn the_chain_in_memory_treats_transactions_and_reorgs_as_anvil_does() {
    let Some(ground) = Ground::start() else { return };
    // Receipts are read with a market in mind.
    let real = ground.deploy(Version::V2).await;
    let told = story(&real.chain, &real.keys[0], &ground, 31_337).await;

    let chain = Rc::new(FakeChain::with_market(31_337));
    chain.mine_empty(1);
    let keys = FakeKeys(Address([0x11; 20]));
    let modelled = story(&*chain, &keys, &Model(Rc::clone(&chain)), 31_337).await;
    assert_eq!(modelled, told, "the model is left, the chain right");
}
