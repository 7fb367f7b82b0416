//! What the backend lost is found and brought again.

use super::*;
use crate::records::upkeep::Upkeep;

impl World {
    /// A bid of that id whose content is here.
    async fn hosts(&self, id: u64, file: &[(Cid, Vec<u8>)]) -> BidKey {
        let bytes = file.iter().map(|(_, block)| block.len() as u64).sum();
        let bid = self.admit(id, hash(&file[0].0), bytes);
        self.hold(bid).await;
        self.pass(5).await;
        assert_eq!(self.ipfs.pinned(), [file[0].0]);
        bid
    }

    async fn compares(&self) {
        self.pass(COMPARE_EACH.as_secs() + 5).await;
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep::read(&*self.store).unwrap()
    }
}

#[test]
fn a_pin_that_somebody_removed_is_found_and_its_content_brought_again() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&[5; 3_500]);
        let bid = world.hosts(4, &file).await;
        let stage = world.stage(bid);
        world.ipfs.lose_pin(&file[0].0);
        world.compares().await;
        assert_eq!(world.ipfs.pinned(), [file[0].0]);
        assert_eq!(world.stage(bid), stage, "the bid never noticed");
        assert_eq!((world.upkeep().lost, world.upkeep().restored), (0, 1));
    });
}

#[test]
fn a_restart_finds_what_was_lost_while_the_node_was_away() {
    on_paused_time(|| async {
        let mut world = World::new();
        let file = world.offer(&[5; 3_500]);
        world.hosts(4, &file).await;
        world.pass(60).await;
        world.ipfs.lose_pin(&file[0].0);
        world.restart().await;
        world.pass(2).await;
        assert_eq!(world.ipfs.pinned(), [file[0].0]);
    });
}

#[test]
fn what_nobody_gives_stays_lost_and_is_asked_for_again() {
    on_paused_time(|| async {
        let world = World::new();
        let file = unixfs_file(&[5; 3_500], 1_000);
        let bidder = MemoryIpfs::on("bidder", &world.net);
        bidder.load(&file);
        world.hosts(4, &file).await;
        world.ipfs.lose_pin(&file[0].0);
        bidder.lose(&file[0].0);
        world.compares().await;
        assert_eq!((world.upkeep().lost, world.upkeep().restored), (1, 0));
        bidder.load(&file);
        world.compares().await;
        assert_eq!(world.ipfs.pinned(), [file[0].0]);
        assert_eq!((world.upkeep().lost, world.upkeep().restored), (0, 1));
    });
}

#[test]
fn what_is_released_while_it_is_being_brought_again_does_not_come_back() {
    on_paused_time(|| async {
        let mut world = World::new();
        let file = unixfs_file(&[5; 3_500], 1_000);
        let bidder = MemoryIpfs::on("bidder", &world.net);
        bidder.load(&file);
        world.hosts(4, &file).await;
        world.clock.advance(2 * GRACE_MS);
        world.ipfs.lose_pin(&file[0].0);
        bidder.lose(&file[0].0);
        world.restart().await;
        world.pass(1).await;
        assert_eq!(world.upkeep().lost, 1);
        // It is being asked for when its grace is found to be over.
        let mut batch = Batch::new();
        let owner = references(&*world.store, &file[0].0).unwrap().remove(0).owner;
        let long_ago = WallTime(world.clock.wall().0 - 2 * GRACE_MS);
        crate::records::hosting::let_go(&*world.store, &mut batch, file[0].0, owner, long_ago).unwrap();
        world.store.commit(batch).unwrap();
        world.pass(6).await;
        assert_eq!(pin_of(&*world.store, &file[0].0).unwrap(), None, "it is released");
        bidder.load(&file);
        world.pass(60).await;
        assert_eq!(world.ipfs.pinned(), []);
    });
}

#[test]
fn a_pin_of_somebody_else_that_went_is_ours_once_we_made_it_again() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&[5; 3_500]);
        world.ipfs.pin_here(&file);
        let bid = world.hosts(4, &file).await;
        let foreign = || pin_of(&*world.store, &file[0].0).unwrap().unwrap().foreign;
        assert!(foreign());
        world.ipfs.lose_pin(&file[0].0);
        world.compares().await;
        assert!(!foreign());
        world.settle(bid).await;
        world.clock.advance(2 * GRACE_MS);
        world.pass(10).await;
        assert_eq!(world.ipfs.pinned(), []);
    });
}
