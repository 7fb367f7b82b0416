//! Doors to the decoders of what others send, for fuzzing: `fuzz/` has them as targets of cargo-fuzz, and the tests below run
//! them without it. Nobody else enables the feature.
//!
//! Each takes any bytes, panics if something that must hold does not, and answers with a mark of what became of them, so
//! that a driver without coverage knows which inputs are new.

#![allow(clippy::panic, clippy::expect_used, reason = "a finding is a panic")]

use bytes::Bytes;
use cid::multihash::Multihash;
use cid::Cid;
use ipns_record::{verify, Name};
use libp2p::identity::Keypair;

use crate::bitswap::message::Message;
use crate::bitswap::skim::skim;
use crate::block::{DAG_CBOR, DAG_JSON, DAG_PB};
use crate::car::{write_archive, Decoder, Item};
use crate::dag::pb;
use crate::proto::put_bytes;
use crate::unixfs;
use crate::Error;

/// What a target does with an input.
pub type Target = fn(&[u8]) -> u64;

/// All targets with their names, which are those of the corpora.
pub const TARGETS: [(&str, Target); 6] = [
    ("message", message),
    ("long_message", long_message),
    ("record", record),
    ("document", document),
    ("car", car),
    ("links", links),
];

/// 2022, before the records of the corpus end.
const NOW_MS: u64 = 1_650_000_000_000;

/// Counts, of which none above 15 is told apart.
fn mark(counts: &[usize]) -> u64 {
    counts.iter().fold(1, |mark, &count| mark << 4 | count.min(15) as u64)
}

/// Reads a bitswap message; one that is read reads the same when it is written again.
pub fn message(bytes: &[u8]) -> u64 {
    let Ok(read) = Message::decode(&Bytes::copy_from_slice(bytes)) else { return 0 };
    let seen = [read.entries.len(), read.blocks.len(), read.presences.len(), read.senseless, read.excess];
    let kept = Message { excess: 0, senseless: 0, ..read };
    assert_eq!(Message::decode(&kept.encode().into()), Ok(kept), "what was read is written");
    mark(&seen)
}

/// Passes over a message that is too long to be kept, to its end and no further. What it finds there is what is read of a
/// message that is kept.
pub fn long_message(bytes: &[u8]) -> u64 {
    /// Blocks above it count as too large, or no input could be long enough to have one.
    const OVER: u64 = 4;
    let mut stream = futures::io::Cursor::new(bytes);
    let skimmed = futures::executor::block_on(skim(&mut stream, bytes.len() as u64, OVER));
    assert!(skimmed.is_err() || stream.position() == bytes.len() as u64, "it ends where it ends");
    if let (Ok(large), Ok(read)) = (&skimmed, Message::decode(&Bytes::copy_from_slice(bytes))) {
        let is_in = |(cid, n): &(Cid, u64)| read.blocks.iter().any(|b| b.0 == *cid && b.1.len() as u64 == *n);
        assert!(read.excess > 0 || large.iter().all(is_in), "it is a block of the message");
    }
    let large = skimmed.as_ref().map_or(0, Vec::len);
    let fault = skimmed.err().map(|error| error.kind() as usize + 1);
    mark(&[large, fault.unwrap_or(0), (stream.position() / 16) as usize])
}

/// Verifies a record of a name: which of the names is the first byte. One that is accepted is accepted from its own bytes.
pub fn record(bytes: &[u8]) -> u64 {
    const NAMES: [&str; 4] = [
        "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w",
        "k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f",
        "k2k4r8jmbjds6v4wjvaixpehkaai50axzju8hiiobj4f2spojwgu2ipx",
        "kzwfwjn5ji4pulblahka4o15dp73zv45noy3do70wzqrvegnldlb3buzzwy6naf",
    ];
    let Some((which, bytes)) = bytes.split_first() else { return 0 };
    let Ok(name) = NAMES[usize::from(*which) % NAMES.len()].parse() else { return 0 };
    judged(name, bytes)
}

/// Verifies a record whose signed document is anything: its owner is as hostile as everybody.
pub fn document(bytes: &[u8]) -> u64 {
    let Ok(owner) = Keypair::ed25519_from_bytes([7; 32]) else { return 0 };
    let Ok(signature) = owner.sign(&[b"ipns-signature:", bytes].concat()) else { return 0 };
    let mut record = Vec::new();
    put_bytes(&mut record, 8, &signature);
    put_bytes(&mut record, 9, bytes);
    judged(Name::of_peer(owner.public().to_peer_id()), &record)
}

fn judged(name: Name, bytes: &[u8]) -> u64 {
    match verify(name, bytes, NOW_MS) {
        Ok(record) => {
            assert_eq!(verify(name, record.bytes(), NOW_MS).as_ref(), Ok(&record), "what is good stays good");
            1 << 32 | record.content().map_or(1, |(_, path)| mark(&[path.len()]))
        }
        // Texts differ by what is wrong, and not by where.
        Err(refusal) => {
            refusal.to_string().bytes().fold(0, |mark, byte| mark.rotate_left(7) ^ u64::from(byte))
        }
    }
}

/// Reads an archive; what was read of it, written again, reads the same. However the bytes come, the outcome is one.
pub fn car(bytes: &[u8]) -> u64 {
    let (items, fault) = read_archive(bytes, usize::MAX);
    let told = |fault: &Option<Error>| fault.as_ref().map(|fault| format!("{fault:?}"));
    let (by_pieces, same_fault) = read_archive(bytes, 13);
    assert_eq!((&by_pieces, told(&same_fault)), (&items, told(&fault)), "however it comes");
    let mut blocks = Vec::new();
    for item in &items[items.len().min(1)..] {
        let Item::Block(cid, block) = item else { panic!("roots come once") };
        crate::verify(cid, block).expect("the hash was checked");
        blocks.push((*cid, block.clone()));
    }
    if let Some(Item::Roots(roots)) = items.first() {
        let again = read_archive(&write_archive(roots, &blocks), usize::MAX);
        assert!(again.0 == items && again.1.is_none(), "what was read is written");
    }
    let at = match fault {
        Some(Error::Car { at, .. }) => at,
        Some(other) => panic!("{other}"),
        None => 0,
    };
    assert!(at <= bytes.len() as u64, "the place is in the archive");
    mark(&[items.len(), blocks.len(), usize::from(at > 0)])
}

fn read_archive(bytes: &[u8], piece: usize) -> (Vec<Item>, Option<Error>) {
    let (mut decoder, mut items) = (Decoder::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(fault) => return (items, Some(fault)),
            }
        }
    }
    let end = decoder.finish().err();
    (items, end)
}

/// Reads the links of a block, whose codec is the first byte, and what UnixFS makes of it.
pub fn links(bytes: &[u8]) -> u64 {
    let Some((codec, block)) = bytes.split_first() else { return 0 };
    let codec = [DAG_PB, DAG_CBOR, DAG_JSON][usize::from(*codec) % 3];
    let Ok(hash) = Multihash::wrap(0x12, &[0; 32]) else { return 0 };
    let links = crate::links(&Cid::new_v1(codec, hash), block);
    if let (DAG_PB, Some(node)) = (codec, pb::decode(block)) {
        let (kind, sizes) = (unixfs::kind(node.data), unixfs::sizes(node.data));
        let again = pb::encode(&node.links, node.data);
        assert_eq!(pb::decode(&again), Some(node), "what was read is written");
        return mark(&[
            usize::from(kind.is_ok()),
            sizes.map_or(0, |sizes| sizes.len()),
            links.map_or(0, |l| l.len()),
        ]);
    }
    let Ok(links) = links else { return codec };
    assert!(links.len() <= block.len(), "a link takes bytes");
    codec << 8 | mark(&[links.len()])
}

#[cfg(test)]
mod tests;
