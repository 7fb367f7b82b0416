use std::collections::BTreeMap;

use proptest::prelude::*;
use scatter_actors::testkit::{store_contract, MemoryStore};

use super::*;

fn put(key: &[u8], doc: &[u8]) -> Change {
    Change::Put(Table::Bids, key.to_vec(), doc.to_vec())
}

fn all(store: &dyn Store) -> Vec<Row> {
    store.scan(Table::Bids, b"", None, Order::Ascending, usize::MAX).unwrap()
}

#[test]
fn sqlite_keeps_the_contract_of_stores() {
    store_contract(&Sqlite::in_memory().unwrap());
    let dir = tempfile::tempdir().unwrap();
    store_contract(&Sqlite::open(&dir.path().join("store.sqlite")).unwrap());
}

#[test]
fn a_file_in_use_is_in_wal_mode_and_synchronous() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("store.sqlite")).unwrap();
    let pragma = |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    assert_eq!(pragma("journal_mode").unwrap(), "wal");
    let full = store.connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
    assert_eq!(full.unwrap(), 2);
}

#[test]
fn what_was_committed_is_there_when_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = Sqlite::open(&path).unwrap();
    store.commit(Batch { changes: vec![put(b"a", b"1"), put(b"b", b"2")] }).unwrap();
    // Forgotten, not closed: as after a kill, only the write-ahead log holds the rows.
    std::mem::forget(store);
    let rows = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())];
    assert_eq!(all(&Sqlite::open(&path).unwrap()), rows);
}

#[test]
fn a_batch_that_fails_in_the_middle_leaves_nothing_behind() {
    let store = Sqlite::in_memory().unwrap();
    store.commit(Batch { changes: vec![put(b"a", b"1")] }).unwrap();
    // The pins table refuses a certain key, as a full disk would refuse the second write.
    let guard = "CREATE TRIGGER refuse BEFORE INSERT ON pins BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    store.connection.execute_batch(guard).unwrap();
    let batch =
        vec![put(b"a", b"2"), put(b"b", b"2"), Change::Put(Table::Pins, b"x".to_vec(), b"y".to_vec())];
    assert_eq!(store.commit(Batch { changes: batch }), Err(Error::Failed("disk full".into())));
    assert_eq!(all(&store), [(b"a".to_vec(), b"1".to_vec())]);
    store.commit(Batch { changes: vec![put(b"c", b"3")] }).unwrap();
    assert_eq!(all(&store).len(), 2, "the store goes on after a failure");
}

#[test]
fn a_newer_store_is_refused_by_name_and_stays_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = Sqlite::open(&path).unwrap();
    store.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    for refusal in [Sqlite::open(&path).unwrap_err(), Sqlite::open_read_only(&path).unwrap_err()] {
        let text = refusal.to_string();
        assert!(matches!(refusal, OpenError::Newer { found: 99, known: 1, .. }), "{text}");
        assert!(text.contains("store.sqlite"), "{text}");
    }
}

#[test]
fn another_programs_database_and_garbage_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign.sqlite");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE bids (x)").unwrap();
    assert!(matches!(Sqlite::open(&foreign), Err(OpenError::Foreign { .. })));
    let garbage = dir.path().join("garbage.sqlite");
    std::fs::write(&garbage, vec![7; 8192]).unwrap();
    assert!(matches!(Sqlite::open(&garbage), Err(OpenError::Refused { .. })));
}

#[test]
fn a_damaged_page_is_found_when_the_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = Sqlite::open(&path).unwrap();
    let many = (0..2_000u32).map(|n| put(&n.to_be_bytes(), &[b'x'; 64])).collect();
    store.commit(Batch { changes: many }).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() - 3 * 4096;
    bytes[middle..middle + 2048].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(OpenError::Damaged { .. })));
}

#[test]
fn migrations_run_once_in_order_and_never_on_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old.sqlite");
    Sqlite::open(&old).unwrap().commit(Batch { changes: vec![put(b"a", b"1")] }).unwrap();
    let migrations =
        ["UPDATE bids SET doc = CAST(doc || 'x' AS BLOB)", "UPDATE bids SET doc = CAST(doc || 'y' AS BLOB)"];
    for _ in 0..2 {
        let store = Sqlite::prepare(&old, Connection::open(&old), &migrations).unwrap();
        assert_eq!(all(&store), [(b"a".to_vec(), b"1xy".to_vec())]);
    }
    let new = dir.path().join("new.sqlite");
    let broken = ["this would fail"];
    Sqlite::prepare(&new, Connection::open(&new), &broken).unwrap();
    // One step that fails takes all of them back, the version too.
    let steps = [migrations[0], migrations[1], migrations[0], broken[0]];
    assert!(Sqlite::prepare(&old, Connection::open(&old), &steps).is_err());
    let store = Sqlite::prepare(&old, Connection::open(&old), &migrations).unwrap();
    assert_eq!(all(&store), [(b"a".to_vec(), b"1xy".to_vec())]);
}

#[test]
fn a_report_reads_beside_the_writer_and_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    assert!(Sqlite::open_read_only(&path).is_err(), "a report makes no store");
    let writer = Sqlite::open(&path).unwrap();
    let reader = Sqlite::open_read_only(&path).unwrap();
    writer.commit(Batch { changes: vec![put(b"a", b"1")] }).unwrap();
    assert_eq!(all(&reader).len(), 1);
    assert!(reader.commit(Batch { changes: vec![put(b"b", b"2")] }).is_err());
}

#[test]
fn a_backup_is_a_whole_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("store.sqlite")).unwrap();
    store.commit(Batch { changes: vec![put(b"a", b"1")] }).unwrap();
    let copy = dir.path().join("copy.sqlite");
    store.backup(&copy).unwrap();
    assert_eq!(all(&Sqlite::open(&copy).unwrap()), all(&store));
    assert!(store.backup(&copy).is_err(), "a backup overwrites nothing");
}

/// One step of a random life of a store.
#[derive(Debug, Clone)]
enum Move {
    Commit(Vec<Change>),
    Scan(Vec<u8>, Option<Vec<u8>>, Order, usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let table = prop_oneof![Just(Table::Bids), Just(Table::Pins)];
    let key = || prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..3);
    let change = prop_oneof![
        2 => (table.clone(), key(), any::<[u8; 2]>()).prop_map(|(t, k, d)| Change::Put(t, k, d.to_vec())),
        1 => (table, key()).prop_map(|(t, k)| Change::Delete(t, k)),
    ];
    let order = prop_oneof![Just(Order::Ascending), Just(Order::Descending)];
    let step = prop_oneof![
        prop::collection::vec(change, 0..6).prop_map(Move::Commit),
        (key(), prop::option::of(key()), order, 0..9usize).prop_map(|(f, u, o, l)| Move::Scan(f, u, o, l)),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #[test]
    fn sqlite_answers_as_an_ordered_map_does(moves in moves()) {
        let (sqlite, memory) = (Sqlite::in_memory().unwrap(), MemoryStore::new());
        let mut model: BTreeMap<(Table, Vec<u8>), Vec<u8>> = BTreeMap::new();
        for step in moves {
            match step {
                Move::Commit(changes) => {
                    for change in changes.clone() {
                        match change {
                            Change::Put(table, key, doc) => model.insert((table, key), doc),
                            Change::Delete(table, key) => model.remove(&(table, key)),
                        };
                    }
                    sqlite.commit(Batch { changes: changes.clone() }).unwrap();
                    memory.commit(Batch { changes }).unwrap();
                }
                Move::Scan(from, until, order, limit) => {
                    let mut rows: Vec<Row> = model
                        .iter()
                        .filter(|((t, k), _)| *t == Table::Bids && *k >= from && until.as_ref().is_none_or(|u| k < u))
                        .map(|((_, k), d)| (k.clone(), d.clone()))
                        .collect();
                    if order == Order::Descending {
                        rows.reverse();
                    }
                    rows.truncate(limit);
                    let until = until.as_deref();
                    prop_assert_eq!(&sqlite.scan(Table::Bids, &from, until, order, limit).unwrap(), &rows);
                    prop_assert_eq!(&memory.scan(Table::Bids, &from, until, order, limit).unwrap(), &rows);
                }
            }
        }
    }
}
