//! Stores of older formats.

use super::*;
use redb::{Database, TableDefinition};

const OLD: &str = "blocks.redb";

/// A store as version 2 of the format had it, with blocks in pieces of so many bytes.
fn write_old(dir: &Path, format: u64, blocks: &[(Key, Bytes)], roots: &[PinReport]) {
    const BLOCKS: TableDefinition<(&[u8], u32), &[u8]> = TableDefinition::new("blocks");
    const INDEX: TableDefinition<&[u8], u64> = TableDefinition::new("index");
    const PINS: TableDefinition<&[u8], (&[u8], u64, u64)> = TableDefinition::new("pins");
    const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");
    let database = Database::create(dir.join(OLD)).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut pieces = write.open_table(BLOCKS).unwrap();
        let mut index = write.open_table(INDEX).unwrap();
        for (key, bytes) in blocks {
            for (number, piece) in bytes.chunks(65_280).enumerate() {
                pieces.insert((key.as_bytes(), number as u32), piece).unwrap();
            }
            index.insert(key.as_bytes(), 7 << 32 | (bytes.len() as u64) << 1).unwrap();
        }
        let mut pins = write.open_table(PINS).unwrap();
        for pin in roots {
            pins.insert(
                index::pin_key(&pin.cid).as_slice(),
                (pin.cid.to_bytes().as_slice(), pin.blocks, pin.bytes),
            )
            .unwrap();
        }
        write.open_table(COUNTS).unwrap().insert("format", format).unwrap();
    }
    write.commit().unwrap();
}

#[tokio::test]
async fn a_store_of_an_older_format_is_taken_over_with_ages_and_pins_and_its_file_goes() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = [0, 5, 65_280, 300_000, 5 << 20].map(|n| block(&vec![n as u8 + 1; n])).into();
    let pinned = PinReport { blocks: 3, bytes: 4, ..pin(b"root") };
    write_old(dir.path(), 2, &blocks, std::slice::from_ref(&pinned));
    let store = open(&dir);
    for (key, bytes) in &blocks {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(bytes));
        assert_eq!(store.index().unwrap().row(key).unwrap().unwrap().minute, 7);
    }
    assert_eq!(pins(&store), [pinned]);
    assert_eq!(store.totals().blocks, 5);
    assert!(!dir.path().join(OLD).exists());
    audit(&store);
    store.close();
    assert_eq!(open(&dir).totals().blocks, 5);
}

#[tokio::test]
async fn a_take_over_that_was_broken_off_is_finished_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let blocks: Vec<_> = (0..9u8).map(|n| block(&[n; 1000])).collect();
    store.put(blocks[..4].to_vec()).await.unwrap();
    store.close();
    write_old(dir.path(), 1, &blocks, &[pin(b"root")]);
    let store = open(&dir);
    assert_eq!(store.totals(), Totals { blocks: 9, bytes: 9000, pins: 1 });
    audit(&store);
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path(), 9, &[], &[]);
    let refused = Store::open(dir.path(), Options::new(1 << 20, u64::MAX));
    assert!(matches!(refused, Err(Error::Format(9))));
    assert!(dir.path().join(OLD).exists());
}
