//! Reads an archive as its bytes come, in memory for one section: version 1, and version 2, which wraps it.

use bytes::{Bytes, BytesMut};
use cid::Cid;

use super::BadCar;
use crate::block::{check_known_hash, verify};
use crate::dag::cbor;
use crate::{Error, MAX_BLOCK};

/// The longest header: room for more than 20,000 roots.
const MAX_HEADER: u64 = 1 << 20;
/// The longest section: a block, and more than any CID.
const MAX_SECTION: u64 = MAX_BLOCK as u64 + 128;
/// Bytes of version 2's second header: 16 of characteristics, then where version 1 begins, its length, and where the index is.
const V2_HEADER: usize = 40;

/// Something complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The header's roots; comes first, and once.
    Roots(Vec<Cid>),
    /// A block, whose hash was checked.
    Block(Cid, Bytes),
}

pub(crate) struct Decoder {
    /// What came and was not yet read.
    buffer: BytesMut,
    /// Where in the archive the buffer begins.
    at: u64,
    /// Where version 1 ends, if version 2 is around it.
    end: Option<u64>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first header.
    Start,
    /// Within version 2, before its second header.
    Outer,
    /// Within version 2, before the header of version 1, which begins here.
    Padding(u64),
    /// Within version 2, before the header of version 1.
    Inner,
    Sections,
    /// Behind version 1: an index or nothing.
    Done,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { buffer: BytesMut::new(), at: 0, end: None, stage: Stage::Start }
    }

    /// Takes the next bytes of the archive.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item; `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Error> {
        loop {
            match self.stage {
                Stage::Start | Stage::Inner => {
                    let Some((at, header)) = self.section(MAX_HEADER)? else { return Ok(None) };
                    let (version, roots) = read_header(&header).ok_or(bad(at, BadCar::Header))?;
                    match (version, roots, self.stage) {
                        (1, Some(roots), _) => {
                            self.stage = Stage::Sections;
                            return Ok(Some(Item::Roots(roots)));
                        }
                        (2, None, Stage::Start) => self.stage = Stage::Outer,
                        (1, None, _) | (2, Some(_), Stage::Start) => return Err(bad(at, BadCar::Header)),
                        (other, ..) => return Err(bad(at, BadCar::Version(other))),
                    }
                }
                Stage::Outer => {
                    let at = self.at;
                    let Some(header) = self.take(V2_HEADER) else { return Ok(None) };
                    let begin = u64::from_le_bytes(eight(&header, 16));
                    let end = begin.checked_add(u64::from_le_bytes(eight(&header, 24)));
                    let end = end.filter(|_| begin >= self.at).ok_or(bad(at, BadCar::Header))?;
                    self.end = Some(end);
                    self.stage = Stage::Padding(begin);
                }
                Stage::Padding(begin) => {
                    self.skip(begin - self.at);
                    if self.at < begin {
                        return Ok(None);
                    }
                    self.stage = Stage::Inner;
                }
                Stage::Sections if self.end == Some(self.at) => self.stage = Stage::Done,
                Stage::Sections => {
                    let section = self.section(MAX_SECTION)?;
                    return section.map(|(at, section)| read_block(at, section)).transpose();
                }
                Stage::Done => {
                    self.skip(u64::MAX);
                    return Ok(None);
                }
            }
        }
    }

    /// To be asked when there are no more bytes and no more items.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        match self.stage {
            Stage::Done => Ok(()),
            Stage::Sections if self.buffer.is_empty() && self.end.is_none() => Ok(()),
            _ => Err(bad(self.at, BadCar::CutShort)),
        }
    }

    /// What is behind the next length, and where that length stands.
    fn section(&mut self, longest: u64) -> Result<Option<(u64, Bytes)>, Error> {
        let at = self.at;
        let (length, behind) = match unsigned_varint::decode::u64(&self.buffer) {
            Ok((length, behind)) => (length, behind.len()),
            Err(unsigned_varint::decode::Error::Insufficient) => return Ok(None),
            Err(_) => return Err(bad(at, BadCar::Length)),
        };
        if length == 0 {
            return Err(bad(at, BadCar::Length));
        }
        if length > longest {
            return Err(bad(at, BadCar::TooLong(length)));
        }
        let prefix = self.buffer.len() - behind;
        if self.end.is_some_and(|end| end - at < prefix as u64 + length) {
            return Err(bad(at, BadCar::CutShort));
        }
        if (behind as u64) < length {
            // No more is ever needed at once.
            self.buffer.reserve(length as usize - behind);
            return Ok(None);
        }
        self.skip(prefix as u64);
        Ok(self.take(length as usize).map(|section| (at, section)))
    }

    fn take(&mut self, n: usize) -> Option<Bytes> {
        (self.buffer.len() >= n).then(|| {
            self.at += n as u64;
            self.buffer.split_to(n).freeze()
        })
    }

    /// Passes over so many bytes, or what there is of them.
    fn skip(&mut self, n: u64) {
        let n = usize::try_from(n).unwrap_or(usize::MAX).min(self.buffer.len());
        drop(self.take(n));
    }
}

fn bad(at: u64, fault: BadCar) -> Error {
    Error::Car { at, fault }
}

fn eight(header: &[u8], at: usize) -> [u8; 8] {
    std::array::from_fn(|i| header[at + i])
}

/// Version and, if they are there, roots.
fn read_header(header: &[u8]) -> Option<(u64, Option<Vec<Cid>>)> {
    let mut rest = header;
    let (5, pairs) = cbor::head(&mut rest)? else { return None };
    let (mut version, mut roots) = (None, None);
    for _ in 0..pairs {
        let (3, length) = cbor::head(&mut rest)? else { return None };
        match (cbor::take(&mut rest, length)?, cbor::head(&mut rest)?) {
            (b"version", (0, n)) if version.is_none() => version = Some(n),
            (b"roots", (4, count)) if roots.is_none() => {
                let links = (0..count).map(|_| match cbor::head(&mut rest)? {
                    (6, 42) => cbor::link(&mut rest),
                    _ => None,
                });
                roots = Some(links.collect::<Option<Vec<_>>>()?);
            }
            _ => return None,
        }
    }
    rest.is_empty().then_some((version?, roots))
}

fn read_block(at: u64, section: Bytes) -> Result<Item, Error> {
    let mut rest = &section[..];
    let cid = Cid::read_bytes(&mut rest).map_err(|_| bad(at, BadCar::Cid))?;
    let block = section.slice(section.len() - rest.len()..);
    let checked = check_known_hash(&cid).and_then(|()| verify(&cid, &block));
    checked.map_err(|error| match error {
        Error::Hash(code) => bad(at, BadCar::Hash(code)),
        _ => bad(at, BadCar::Mismatch(cid)),
    })?;
    Ok(Item::Block(cid, block))
}
