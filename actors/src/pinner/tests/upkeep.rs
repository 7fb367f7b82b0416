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

#[test]
fn a_lost_root_waits_until_the_disk_has_room_for_it_above_its_floor() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&[5; 3_500]);
        world.hosts(4, &file).await;
        let bytes = pin_of(&*world.store, &file[0].0).unwrap().unwrap().bytes;
        world.ipfs.lose_pin(&file[0].0);
        file.iter().for_each(|(cid, _)| world.ipfs.lose(cid));
        let floor = bounds().min_free_disk.0;
        world.disk.set_free(ByteSize(floor + bytes - 1));
        world.compares().await;
        assert_eq!(world.ipfs.pinned(), []);
        let upkeep = world.upkeep();
        assert_eq!((upkeep.lost, upkeep.no_room, upkeep.restored), (1, 1, 0));
        world.disk.set_free(ByteSize(floor + bytes));
        world.pass(12).await;
        assert_eq!(world.ipfs.pinned(), [file[0].0]);
        let upkeep = world.upkeep();
        assert_eq!((upkeep.lost, upkeep.no_room, upkeep.restored), (0, 0, 1));
    });
}

#[test]
fn a_lost_root_of_which_a_part_is_still_here_needs_room_for_the_rest_alone() {
    on_paused_time(|| async {
        let world = World::new();
        let file = world.offer(&(0..1_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>());
        world.hosts(4, &file).await;
        world.ipfs.unpin(file[0].0).await.unwrap();
        let (gone, block) = &file[1];
        world.ipfs.lose(gone);
        let floor = bounds().min_free_disk.0;
        world.disk.set_free(ByteSize(floor + block.len() as u64 - 1));
        world.compares().await;
        assert_eq!((world.ipfs.pinned(), world.upkeep().no_room), (vec![], 1));
        world.disk.set_free(ByteSize(floor + block.len() as u64));
        world.pass(12).await;
        assert_eq!((world.ipfs.pinned(), world.upkeep().no_room), (vec![file[0].0], 0));

        // On a disk that is full nothing needs room of which every block is here.
        world.ipfs.unpin(file[0].0).await.unwrap();
        world.disk.set_free(ByteSize(0));
        world.compares().await;
        assert_eq!((world.ipfs.pinned(), world.upkeep().no_room), (vec![file[0].0], 0));
    });
}
