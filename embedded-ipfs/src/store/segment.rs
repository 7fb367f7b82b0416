//! Segment files: blocks one after the other, each in a record that shows when it is damaged.
//!
//! A record is a header of 24 bytes, the multihash, the block. The header, numbers little endian: magic (4), bytes of the
//! block (4), the minute when it was stored, since 1970 (4), bytes of the multihash (2), zero (2), and a sum (8): the first
//! bytes of the BLAKE3 of header before it, multihash and block. Segments are numbered from 1; only the newest is written,
//! only at its end, and what a record says never changes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use multihash_codetable::Blake3_256;
use multihash_derive::Hasher;

use super::planted::{Bug, Planted};
use super::Options;
use crate::block::Key;

/// Bytes before the multihash.
const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"blk1";
/// No multihash is longer, in bytes.
const KEY_MAX: usize = 256;
/// What is written at once of records that are small, in bytes.
const BUFFER: usize = 256 << 10;

/// Where a record begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    /// In bytes.
    pub(crate) offset: u32,
}

/// A block as it is written.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) bytes: Bytes,
    /// When it was stored, in minutes since 1970.
    pub(super) minute: u32,
}

/// Why a record could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// What is there is not what was written.
    Damaged,
    /// The file could not be read just now.
    Io(io::Error),
}

/// Bytes of the record of a block.
pub(super) fn record_len(key: &Key, size: u64) -> u64 {
    (HEADER + key.as_bytes().len()) as u64 + size
}

fn sum(header: &[u8], key: &[u8], block: &[u8]) -> [u8; 8] {
    let mut hasher = Blake3_256::default();
    for part in [header, key, block] {
        hasher.update(part);
    }
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize()[..8]);
    sum
}

fn header(record: &Record) -> [u8; HEADER] {
    let key = record.key.as_bytes();
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&(record.bytes.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&record.minute.to_le_bytes());
    header[12..14].copy_from_slice(&(key.len() as u16).to_le_bytes());
    let sum = sum(&header[..16], key, &record.bytes);
    header[16..].copy_from_slice(&sum);
    header
}

/// What a header says: bytes of the multihash and of the block, and the minute. `None` if it is no header.
fn parse(header: &[u8; HEADER]) -> Option<(usize, u64, u32)> {
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let key = number(12) as usize;
    (header[..4] == MAGIC && (1..=KEY_MAX).contains(&key)).then(|| (key, u64::from(number(4)), number(8)))
}

/// The directory of the segments.
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    /// The directory, made if it is absent.
    pub(super) fn open(dir: &Path) -> io::Result<Files> {
        std::fs::create_dir_all(dir)?;
        if let Some(parent) = dir.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Files { dir: dir.to_owned() })
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.dir.join(format!("{segment:08}.blocks"))
    }

    /// The segments that there are, in their order.
    pub(super) fn segments(&self) -> io::Result<Vec<u32>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".blocks"));
            segments.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// Opens a segment for reading and writing; one that is new is there after a crash, too.
    pub(super) fn writable(&self, segment: u32) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path(segment))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(file)
    }

    /// Opens a segment for reading.
    pub(super) fn readable(&self, segment: u32) -> Result<File, Unread> {
        File::open(self.path(segment)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Unread::Damaged,
            _ => Unread::Io(error),
        })
    }

    /// Gives a segment's disk back.
    pub(super) fn remove(&self, segment: u32) -> io::Result<()> {
        match std::fs::remove_file(self.path(segment)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The record of so many bytes at an offset, read whole and checked: its bytes, and where the block begins in them.
fn whole(file: &File, offset: u32, len: u64, trust: bool) -> Result<(Vec<u8>, usize), Unread> {
    /// "Input/output error": the disk says itself that it lost what was there.
    const EIO: i32 = 5;
    let mut record = vec![0; len as usize];
    file.read_exact_at(&mut record, u64::from(offset)).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Unread::Damaged,
        _ if error.raw_os_error() == Some(EIO) => Unread::Damaged,
        _ => Unread::Io(error),
    })?;
    let (head, rest) = record.split_first_chunk::<HEADER>().ok_or(Unread::Damaged)?;
    let (key, size, _) = parse(head).ok_or(Unread::Damaged)?;
    if (key as u64) + size != rest.len() as u64 {
        return Err(Unread::Damaged);
    }
    let (key, block) = rest.split_at(key);
    if head[16..] != sum(&head[..16], key, block) && !trust {
        return Err(Unread::Damaged);
    }
    let start = HEADER + key.len();
    Ok((record, start))
}

/// The block that was written at an offset; its record is read whole and checked.
pub(super) fn read(
    file: &File,
    offset: u32,
    key: &Key,
    size: u64,
    planted: Planted,
) -> Result<Bytes, Unread> {
    let (record, start) = whole(file, offset, record_len(key, size), planted.is(Bug::TrustBytes))?;
    if record[HEADER..start] != *key.as_bytes() {
        return Err(Unread::Damaged);
    }
    Ok(Bytes::from(record).slice(start..))
}

/// Whose block the record of so many bytes at an offset has, and how many bytes that has; all of it is read and checked.
pub(super) fn check(file: &File, offset: u32, len: u64, planted: Planted) -> Result<(Key, u64), Unread> {
    let (record, start) = whole(file, offset, len, planted.is(Bug::TrustRecords))?;
    Ok((Key::from_bytes(&record[HEADER..start]), (record.len() - start) as u64))
}

/// Reads a segment from an offset on and gives each whole record with its place. Answers with where the last whole
/// one ends: behind it is what a crash left of a write. One that is damaged amid whole ones is passed over.
pub(super) fn replay<E: From<io::Error>>(
    file: &File,
    segment: u32,
    from: u64,
    planted: Planted,
    mut found: impl FnMut(Record, Place) -> Result<(), E>,
) -> Result<u64, E> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(BUFFER, file);
    reader.seek(SeekFrom::Start(from))?;
    let (mut at, mut whole) = (from, from);
    while at + HEADER as u64 <= length {
        let mut head = [0; HEADER];
        reader.read_exact(&mut head)?;
        let Some((key, size, minute)) = parse(&head) else { break };
        let end = at + (HEADER + key) as u64 + size;
        if end > length {
            break;
        }
        let mut rest = vec![0; key + size as usize];
        reader.read_exact(&mut rest)?;
        let (key, block) = rest.split_at(key);
        if head[16..] == sum(&head[..16], key, block) || planted.is(Bug::TrustTail) {
            let key = Key::from_bytes(key);
            let bytes = Bytes::from(rest).slice(key.as_bytes().len()..);
            found(Record { key, bytes, minute }, Place { segment, offset: at as u32 })?;
            whole = end;
        }
        at = end;
    }
    Ok(whole)
}

/// The segment that is written.
pub(super) struct Tail {
    pub(super) segment: u32,
    /// Where the next record goes, in bytes.
    pub(super) end: u64,
    file: File,
    /// A write failed: nothing is put behind it, since nobody knows what the disk has of it.
    spoilt: bool,
}

impl Tail {
    /// A segment whose records end at `end`; what is behind goes.
    pub(super) fn open(files: &Files, segment: u32, end: u64) -> io::Result<Tail> {
        let file = files.writable(segment)?;
        file.set_len(end)?;
        Ok(Tail { segment, end, file, spoilt: false })
    }

    #[cfg(test)]
    pub(super) fn on(file: File, segment: u32) -> Tail {
        Tail { segment, end: 0, file, spoilt: false }
    }

    /// Writes records and makes them durable, in a new segment wherever the last one is full. Answers with where each of them
    /// is. After an error none of them is anywhere.
    pub(super) fn append<'r>(
        &mut self,
        files: &Files,
        options: &Options,
        records: impl Iterator<Item = &'r Record>,
    ) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        let written = (|| {
            if self.spoilt {
                self.roll(files)?;
            }
            let (mut buffer, mut flushed) = (Vec::new(), self.end);
            for record in records {
                if self.end >= options.segment_bytes {
                    self.file.write_all_at(&buffer, flushed)?;
                    self.sync(options)?;
                    buffer.clear();
                    self.roll(files)?;
                    flushed = 0;
                    options.step("a new segment");
                }
                places.push(Place { segment: self.segment, offset: self.end as u32 });
                buffer.extend_from_slice(&header(record));
                buffer.extend_from_slice(record.key.as_bytes());
                self.end += record_len(&record.key, record.bytes.len() as u64);
                if record.bytes.len() < BUFFER / 4 {
                    buffer.extend_from_slice(&record.bytes);
                } else {
                    self.file.write_all_at(&buffer, flushed)?;
                    self.file.write_all_at(&record.bytes, flushed + buffer.len() as u64)?;
                    buffer.clear();
                    flushed = self.end;
                }
                if buffer.len() >= BUFFER {
                    self.file.write_all_at(&buffer, flushed)?;
                    buffer.clear();
                    flushed = self.end;
                }
            }
            self.file.write_all_at(&buffer, flushed)?;
            options.step("written");
            self.sync(options)
        })();
        self.spoilt |= written.is_err();
        written.map(|()| places)
    }

    fn sync(&self, options: &Options) -> io::Result<()> {
        if !options.planted.is(Bug::SkipSync) {
            self.file.sync_data()?;
            options.step("synced");
        }
        Ok(())
    }

    /// Begins a new segment.
    pub(super) fn roll(&mut self, files: &Files) -> io::Result<()> {
        *self = Tail::open(files, self.segment + 1, 0)?;
        Ok(())
    }
}
