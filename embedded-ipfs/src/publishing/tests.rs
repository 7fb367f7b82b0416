use super::*;
use ipns_record::{verify, Record, SigningKey};

const START_MS: u64 = 1_700_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);
const LAN: Peers = Peers { lan: 1, wan: 0 };

/// The wall clock that goes with the paused one.
fn now_ms() -> u64 {
    thread_local!(static START: Instant = Instant::now());
    START.with(|start| START_MS + start.elapsed().as_millis() as u64)
}

struct Rig {
    dir: tempfile::TempDir,
    book: Arc<Mutex<Book>>,
    changed: mpsc::Sender<(Name, bool)>,
    peers: watch::Sender<Peers>,
    commands: mpsc::Receiver<Command>,
}

impl Rig {
    fn new(dir: tempfile::TempDir) -> Rig {
        now_ms();
        let book = Arc::new(Mutex::new(Book::open(dir.path().join("names")).unwrap()));
        let (swarm, commands) = mpsc::channel(8);
        let (changed, inbox) = mpsc::channel(8);
        let (peers, seen) = watch::channel(Peers::default());
        tokio::spawn(Publishing::new(book.clone(), swarm, now_ms).run(inbox, seen));
        Rig { dir, book, changed, peers, commands }
    }

    fn record(&self, seed: u8, value: &str, lifetime: Duration) -> Name {
        let key = SigningKey::from_seed(&[seed; 32]).unwrap();
        let (value, ttl) = (value.to_owned(), Duration::ZERO);
        let own = Own { key, value, sequence: 0, lifetime, ttl, alone: false };
        lock(&self.book).record(own, None).unwrap().key.name()
    }

    /// What is given next; it is taken, or nobody takes it.
    async fn given(&mut self, taken: bool) -> Record {
        let Some(Command::Ask(Ask::PutName(name, record, reply))) = self.commands.recv().await else {
            panic!("nothing else is asked");
        };
        let nobody = Error::Unreachable(String::new());
        let _ = reply.send(if taken { Ok(1) } else { Err(nobody) });
        verify(name, &record, now_ms()).unwrap()
    }

    async fn quiet_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.commands.recv()).await.is_err()
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_given_every_four_hours_with_a_new_end_and_its_own_sequence() {
    let mut rig = Rig::new(tempfile::tempdir().unwrap());
    let name = rig.record(1, "/ipfs/bafkqaaa", 48 * HOUR);
    rig.changed.send((name, true)).await.unwrap();
    let published = now_ms();
    for round in 1..4 {
        let record = rig.given(true).await;
        let now = published + round * 4 * 3_600_000;
        assert!(now_ms().abs_diff(now) <= 5, "round {round}");
        assert_eq!((record.name(), record.sequence()), (name, 0));
        assert!(record.eol().ms().abs_diff(now + 48 * 3_600_000) <= 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_gives_every_name_at_once_with_the_sequence_that_it_had() {
    let rig = Rig::new(tempfile::tempdir().unwrap());
    rig.record(1, "/ipfs/bafkqaaa", 48 * HOUR);
    rig.record(1, "/ipfs/bafkqabtimvwgy3yk", 48 * HOUR);
    rig.record(2, "/ipfs/bafkqaaa", 48 * HOUR);
    let mut rig = Rig::new(rig.dir);
    let mut given = [rig.given(true).await, rig.given(true).await];
    given.sort_by_key(Record::sequence);
    assert_eq!(given.map(|record| record.sequence()), [0, 1]);
    assert!(rig.quiet_for(3 * HOUR).await);
}

#[tokio::test(start_paused = true)]
async fn peers_that_come_to_an_empty_table_are_told_at_once() {
    let mut rig = Rig::new(tempfile::tempdir().unwrap());
    let name = rig.record(1, "/ipfs/bafkqaaa", 48 * HOUR);
    rig.changed.send((name, true)).await.unwrap();
    assert!(rig.quiet_for(HOUR).await);
    let before = now_ms();
    rig.peers.send_replace(LAN);
    rig.given(true).await;
    rig.peers.send_replace(Peers { lan: 2, wan: 0 });
    assert!(rig.quiet_for(3 * HOUR).await, "one more peer is no news");
    assert!(now_ms() - before >= 3 * 3_600_000);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_took_is_tried_again_soon_and_what_lives_short_in_half_its_life() {
    let mut rig = Rig::new(tempfile::tempdir().unwrap());
    let name = rig.record(1, "/ipfs/bafkqaaa", HOUR);
    rig.changed.send((name, true)).await.unwrap();
    let published = Instant::now();
    rig.given(false).await;
    assert_eq!(published.elapsed().as_secs(), 1800);
    rig.given(true).await;
    assert_eq!(published.elapsed().as_secs(), 1800 + RETRY.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_given_up_is_given_no_more() {
    let mut rig = Rig::new(tempfile::tempdir().unwrap());
    let name = rig.record(1, "/ipfs/bafkqaaa", 48 * HOUR);
    rig.changed.send((name, true)).await.unwrap();
    lock(&rig.book).remove(name).unwrap();
    rig.changed.send((name, true)).await.unwrap();
    assert!(rig.quiet_for(24 * HOUR).await);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_four_are_being_given_at_once_and_the_rest_follows() {
    let rig = Rig::new(tempfile::tempdir().unwrap());
    for seed in 0..10 {
        rig.record(seed, "/ipfs/bafkqaaa", 48 * HOUR);
    }
    let mut rig = Rig::new(rig.dir);
    let mut open = Vec::new();
    while let Ok(command) = tokio::time::timeout(HOUR, rig.commands.recv()).await {
        if let Some(Command::Ask(Ask::PutName(_, _, reply))) = command {
            open.push(reply);
        }
    }
    assert_eq!(open.len(), AT_ONCE);
    for reply in open {
        reply.send(Ok(1)).unwrap();
    }
    for _ in AT_ONCE..10 {
        rig.given(true).await;
    }
    assert!(rig.quiet_for(2 * HOUR).await, "each once");
}
