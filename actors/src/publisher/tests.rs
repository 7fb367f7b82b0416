//! The publisher on paused time: what goes out, under which sequence, and what is never given away twice.

use cid::Cid;
use ipns_record::Record;

use super::*;
use crate::domain::cids::{DAG_PB, RAW};
use crate::domain::manifest;
use crate::domain::units::WallTime;
use crate::ports::store::{Batch, Record as _, Table};
use crate::records::consortium::OwnEntry;
use crate::records::hosting::{let_go, pin_of, refer, references, Owner};
use crate::supervisor::{Drain, Ping};
use crate::testkit::ipfs::cid_of;
use crate::testkit::names::{key_of, Said};
use crate::testkit::{ManualClock, MemoryIpfs, MemoryNames, MemoryStore};

mod counting;

/// When the tests begin, in milliseconds since 1970.
const START: u64 = 1_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

struct World {
    store: Rc<MemoryStore>,
    names: MemoryNames,
    ipfs: Rc<MemoryIpfs>,
    clock: Rc<ManualClock>,
    publisher: Addr<Publisher>,
}

fn root(n: u64) -> Cid {
    cid_of(RAW, &n.to_be_bytes())
}

fn start(
    store: &Rc<MemoryStore>,
    names: &MemoryNames,
    ipfs: &Rc<MemoryIpfs>,
    clock: &Rc<ManualClock>,
) -> Addr<Publisher> {
    let ports = Ports {
        names: Rc::new(names.clone()),
        ipfs: ipfs.clone(),
        store: store.clone(),
        clock: clock.clone(),
        key: Rc::new(key_of(1)),
    };
    Publisher::new(Config::default(), ports, Guard::none()).start()
}

impl World {
    fn new() -> Self {
        let (store, names) = (Rc::new(MemoryStore::new()), MemoryNames::new());
        let (ipfs, clock) = (Rc::new(MemoryIpfs::new()), Rc::new(ManualClock::at(WallTime(START))));
        let publisher = start(&store, &names, &ipfs, &clock);
        Self { store, names, ipfs, clock, publisher }
    }

    fn begin(&mut self) {
        self.publisher = start(&self.store, &self.names, &self.ipfs, &self.clock);
    }

    async fn restart(&mut self) {
        let _gone = self.publisher.send(Drain).await;
        self.begin();
        self.publisher.send(Ping).await.unwrap();
    }

    /// As the platform does after a kill of the process.
    fn kill(&mut self) {
        self.store = Rc::new(self.store.reopen());
        self.begin();
    }

    fn write(&self, put: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        put(&mut batch);
        self.store.commit(batch).unwrap();
    }

    fn list(&self, n: u64) {
        self.write(|batch| {
            batch.put(&OwnEntry { cid: root(n), added: WallTime(START) });
            refer(batch, root(n), Owner::Manual);
        });
    }

    fn unlist(&self, n: u64) {
        self.write(|batch| batch.delete::<OwnEntry>(&OwnEntry { cid: root(n), added: WallTime(0) }.key()));
    }

    async fn publish(&self) -> Result<Publication, Refusal> {
        self.publisher.send(Publish).await.unwrap()
    }

    async fn pass(&self, time: Duration) {
        // Steps of half a minute are fine for hours.
        let step = if time > HOUR { 30 } else { 1 };
        for _ in 0..time.as_secs() / step {
            self.clock.advance(step * 1_000);
            tokio::time::sleep(SECOND * step as u32).await;
        }
    }

    fn publication(&self) -> Publication {
        Publication::read(&*self.store).unwrap().unwrap()
    }

    /// The record that the network has, which must be valid now.
    fn shown(&self) -> Record {
        let bytes = self.names.kept(key_of(1).name()).unwrap();
        ipns_record::verify(key_of(1).name(), &bytes, self.clock.wall().0).unwrap()
    }

    /// What somebody reads who follows the name.
    async fn followed(&self) -> Vec<Cid> {
        let (directory, _) = self.shown().content().unwrap();
        let mut roots = Vec::new();
        for entry in self.ipfs.ls(directory, 100).await.unwrap() {
            let bytes = self.ipfs.cat(entry.cid, manifest::MAX_FILE).await.unwrap();
            roots.extend(manifest::read(&bytes).unwrap());
        }
        roots
    }
}

fn on_paused_time<F: std::future::Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime().unwrap()).block_on(async { test().await });
}

#[test]
fn what_is_listed_is_found_under_the_own_name() {
    on_paused_time(|| async {
        let world = World::new();
        (0..3).for_each(|n| world.list(n));
        let published = world.publish().await.unwrap();
        let mut expected = [root(0), root(1), root(2)];
        expected.sort_by_key(Cid::to_string);
        assert_eq!(world.followed().await, expected);
        assert_eq!((published.sequence, published.given, published.failing), (1, true, None));
        assert_eq!(published.published_at, Some(WallTime(START)));
        assert_eq!(published.eol, WallTime(START + 48 * 3_600_000));
        assert_eq!(world.shown().eol().ms(), published.eol.0);
        tokio::time::sleep(SECOND).await;
        assert_eq!(world.publication().confirmed_at, Some(WallTime(START)), "it was asked for and found");
    });
}

#[test]
fn an_empty_list_goes_out_only_by_order_or_behind_one_that_was_not_empty() {
    on_paused_time(|| async {
        let world = World::new();
        world.pass(2 * HOUR).await;
        assert_eq!(world.names.puts(), 0, "an imported key is no word that all is to go");
        world.publish().await.unwrap();
        assert_eq!((world.names.puts(), world.followed().await), (1, vec![]));

        // That the network could not be asked at first is no such word either, though it is noted.
        let world = World::new();
        world.names.say(key_of(1).name(), Said::Broken);
        world.pass(60 * SECOND).await;
        assert!(world.publication().failing.is_some());
        world.names.say(key_of(1).name(), None);
        world.pass(2 * HOUR).await;
        assert_eq!((world.names.puts(), world.publication().failing), (0, None));

        let world = World::new();
        world.list(1);
        world.pass(60 * SECOND).await;
        world.unlist(1);
        world.pass(120 * SECOND).await;
        assert_eq!(world.followed().await, vec![]);
    });
}

#[test]
fn changes_of_the_list_are_gathered_and_published_once() {
    on_paused_time(|| async {
        let world = World::new();
        world.publish().await.unwrap();
        for n in 0..5 {
            world.list(n);
            world.publisher.send(ListChanged).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(world.names.puts(), 1);
        world.pass(SECOND * 6).await;
        assert_eq!((world.shown().sequence(), world.names.puts()), (2, 2));
        assert_eq!(world.followed().await.len(), 5);
    });
}

#[test]
fn a_change_that_nobody_told_is_found() {
    on_paused_time(|| async {
        let world = World::new();
        world.publish().await.unwrap();
        world.list(1);
        world.pass(SECOND * 40).await;
        assert_eq!(world.followed().await, [root(1)]);
        world.unlist(1);
        world.pass(SECOND * 40).await;
        assert_eq!((world.followed().await, world.shown().sequence()), (vec![], 3));
    });
}

#[test]
fn a_change_during_a_publication_is_published_after_it() {
    on_paused_time(|| async {
        let world = World::new();
        world.names.set_latency(5_000);
        let first = actix::spawn(world.publisher.send(Publish));
        tokio::time::sleep(SECOND * 7).await;
        world.list(1);
        world.publisher.send(ListChanged).await.unwrap();
        first.await.unwrap().unwrap().unwrap();
        world.pass(SECOND * 20).await;
        assert_eq!(world.followed().await, [root(1)]);
    });
}

#[test]
fn a_record_is_renewed_every_four_hours_under_its_sequence() {
    on_paused_time(|| async {
        let world = World::new();
        world.publish().await.unwrap();
        let first = world.shown();
        world.pass(HOUR * 3).await;
        assert_eq!(world.names.puts(), 1);
        world.pass(HOUR + SECOND * 60).await;
        let second = world.shown();
        assert_eq!((second.sequence(), world.names.puts()), (first.sequence(), 2));
        assert!(second.eol() > first.eol());
        world.pass(HOUR * 72).await;
        assert_eq!(world.shown().sequence(), 1, "nothing changed for those who follow");
        assert_eq!(world.publication().failing, None);
    });
}

#[test]
fn an_order_renews_what_is_published_already() {
    on_paused_time(|| async {
        let world = World::new();
        let first = world.publish().await.unwrap();
        world.clock.advance(1_000);
        let second = world.publish().await.unwrap();
        assert_eq!((second.sequence, second.directory), (first.sequence, first.directory));
        assert_eq!(second.eol.since(first.eol), 1_000);
    });
}

#[test]
fn a_superseded_directory_is_let_go_when_the_next_one_is_published() {
    on_paused_time(|| async {
        let world = World::new();
        world.list(1);
        let first = world.publish().await.unwrap().directory.unwrap();
        let needed = |cid: &Cid| references(&*world.store, cid).unwrap().len();
        assert_eq!(needed(&first), 1);
        let pin = pin_of(&*world.store, &first).unwrap().unwrap();
        assert!(!pin.foreign && pin.pinned_at.is_some(), "the pinner may let go of it");
        world.names.set_deaf(true);
        world.list(2);
        let refused = world.publish().await;
        assert!(matches!(refused, Err(Refusal::Names(_))), "{refused:?}");
        assert_eq!(needed(&first), 1, "others still find it");
        world.names.set_deaf(false);
        let second = world.publish().await.unwrap().directory.unwrap();
        assert_ne!(first, second);
        assert_eq!((needed(&first), needed(&second)), (0, 1));
        assert_eq!(needed(&root(1)), 1, "what is listed is not its affair");
    });
}

#[test]
fn a_list_that_goes_back_and_forth_keeps_what_it_names() {
    on_paused_time(|| async {
        let world = World::new();
        let first = world.publish().await.unwrap().directory.unwrap();
        world.names.set_deaf(true);
        world.list(1);
        assert!(world.publish().await.is_err());
        world.unlist(1);
        world.names.set_deaf(false);
        let now = world.publish().await.unwrap();
        assert_eq!((now.directory, now.sequence), (Some(first), 3));
        assert_eq!(references(&*world.store, &first).unwrap().len(), 1);
    });
}

#[test]
fn a_directory_that_the_operator_lists_himself_stays_his() {
    on_paused_time(|| async {
        let world = World::new();
        let first = world.publish().await.unwrap().directory.unwrap();
        world.write(|batch| batch.put(&OwnEntry { cid: first, added: WallTime(START) }));
        world.publish().await.unwrap();
        assert_eq!(references(&*world.store, &first).unwrap().len(), 1);
    });
}

#[test]
fn the_directory_that_others_follow_is_needed_again_at_each_renewal() {
    on_paused_time(|| async {
        let world = World::new();
        let directory = world.publish().await.unwrap().directory.unwrap();
        let now = world.clock.wall();
        world.write(|batch| let_go(&*world.store, batch, directory, Owner::Manual, now).unwrap());
        world.publish().await.unwrap();
        assert_eq!(references(&*world.store, &directory).unwrap().len(), 1);
        assert_eq!(pin_of(&*world.store, &directory).unwrap().unwrap().unneeded_since, None);
    });
}

#[test]
fn a_root_that_peers_would_refuse_does_not_spoil_the_others() {
    on_paused_time(|| async {
        let world = World::new();
        world.list(1);
        let key = Cid::new_v1(0x72, *cid_of(DAG_PB, b"a key").hash());
        world.write(|batch| batch.put(&OwnEntry { cid: key, added: WallTime(START) }));
        world.publish().await.unwrap();
        assert_eq!(world.followed().await, [root(1)]);
    });
}

#[test]
fn a_network_that_takes_nothing_is_tried_again_and_told_before_the_name_is_lost() {
    on_paused_time(|| async {
        let world = World::new();
        world.publish().await.unwrap();
        world.names.set_deaf(true);
        world.pass(HOUR * 30).await;
        let failing = world.publication().failing.unwrap();
        assert!(!failing.why.contains("ends in"), "18 h are enough: {failing:?}");
        assert!((3..=8).contains(&((failing.since.0 - START) / 3_600_000 + 1)), "{failing:?}");
        world.pass(HOUR * 12).await;
        let failing = world.publication().failing.unwrap();
        assert!(failing.why.contains("the record that others have ends in"), "{failing:?}");
        world.names.set_deaf(false);
        world.pass(HOUR * 5).await;
        assert_eq!(world.publication().failing, None);
        assert_eq!(world.shown().sequence(), 1);
    });
}

#[test]
fn a_backend_that_is_down_is_told_and_tried_again() {
    on_paused_time(|| async {
        let world = World::new();
        world.list(1);
        world.ipfs.set_broken(true);
        let refused = world.publish().await;
        assert!(matches!(refused, Err(Refusal::Ipfs(_))), "{refused:?}");
        assert_eq!(world.publication().failing.unwrap().times, 1);
        world.ipfs.set_broken(false);
        world.pass(SECOND * 32).await;
        assert_eq!(world.shown().sequence(), 1);
        assert_eq!(world.publication().failing, None);
    });
}
