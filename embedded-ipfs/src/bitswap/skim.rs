//! Reads a message that is too long to be kept: only which blocks in it are too large, and nothing of them but their hashes.
//!
//! Kubo sends a block that is larger than a message may be when it is asked for it. Whoever waits for that block would
//! wait for ever if the message were only refused; so it is hashed as it passes, which proves that it is the one.

use std::io;

use cid::Cid;
use futures::{AsyncRead, AsyncReadExt};
use multihash_codetable::{Blake2b256, Blake2b512, Blake3_256, Sha2_256, Sha2_512};
use multihash_derive::Hasher;

use crate::block::cid_from_digest;

/// The longest message that is skimmed, in bytes.
pub(crate) const SKIM_MAX: u64 = 64 << 20;
/// What is held of it at a time, in bytes.
pub(crate) const PIECE: usize = 64 << 10;
/// Prefixes are short.
const PREFIX_MAX: u64 = 64;

/// The blocks of a message of `length` bytes that have more than `over` bytes each, with their sizes. With
/// [`crate::MAX_BLOCK`] for `over` they are a few at most, as a message has at most [`SKIM_MAX`] bytes.
///
/// # Errors
/// If the stream breaks or it is no message.
pub(crate) async fn skim(
    stream: &mut (impl AsyncRead + Unpin),
    length: u64,
    over: u64,
) -> io::Result<Vec<(Cid, u64)>> {
    let mut message = Skim { stream, left: length, over, piece: vec![0; PIECE] };
    let mut large = Vec::new();
    while message.left > 0 {
        match message.tag().await? {
            Field::Bytes(3, n) if n > over => large.extend(message.block(n).await?),
            Field::Bytes(_, n) => message.take(n, |_| {}).await?,
            Field::Other => {}
        }
    }
    Ok(large)
}

enum Field {
    /// A length-delimited field, whose bytes follow.
    Bytes(u64, u64),
    /// Another one, which was passed over.
    Other,
}

struct Skim<'s, S> {
    stream: &'s mut S,
    /// Of the message.
    left: u64,
    over: u64,
    piece: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Skim<'_, S> {
    /// Passes over `n` bytes in pieces.
    async fn take(&mut self, mut n: u64, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        self.left = self.left.checked_sub(n).ok_or(io::ErrorKind::InvalidData)?;
        while n > 0 {
            let piece = &mut self.piece[..n.min(PIECE as u64) as usize];
            self.stream.read_exact(piece).await?;
            n -= piece.len() as u64;
            see(piece);
        }
        Ok(())
    }

    async fn varint(&mut self) -> io::Result<u64> {
        let mut n = 0u64;
        for i in 0..10 {
            let mut byte = 0;
            self.take(1, |piece| byte = piece[0]).await?;
            n |= u64::from(byte & 0x7f).checked_shl(7 * i).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    async fn tag(&mut self) -> io::Result<Field> {
        let tag = self.varint().await?;
        match tag & 7 {
            0 => drop(self.varint().await?),
            1 => self.take(8, |_| {}).await?,
            2 => return Ok(Field::Bytes(tag >> 3, self.varint().await?)),
            5 => self.take(4, |_| {}).await?,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(Field::Other)
    }

    /// The block in a payload of `n` bytes, if it is too large and its prefix comes before it, as everybody writes it.
    async fn block(&mut self, n: u64) -> io::Result<Option<(Cid, u64)>> {
        let end = self.left.checked_sub(n).ok_or(io::ErrorKind::InvalidData)?;
        let (mut prefix, mut found) = (Vec::new(), None);
        while self.left > end {
            match self.tag().await? {
                Field::Bytes(1, n) => {
                    (prefix, found) = (Vec::new(), None);
                    self.take(n, |piece| {
                        if n <= PREFIX_MAX {
                            prefix.extend_from_slice(piece)
                        }
                    })
                    .await?;
                }
                Field::Bytes(2, n) => {
                    let mut hasher = hasher(&prefix).filter(|_| n > self.over);
                    self.take(n, |piece| hasher.iter_mut().for_each(|hasher| hasher.update(piece))).await?;
                    let cid = hasher.and_then(|mut hasher| cid_from_digest(&prefix, hasher.finalize()));
                    found = cid.map(|cid| (cid, n));
                }
                Field::Bytes(_, n) => self.take(n, |_| {}).await?,
                Field::Other => {}
            }
        }
        if self.left < end {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(found)
    }
}

/// The hash function that a prefix names.
fn hasher(prefix: &[u8]) -> Option<Box<dyn Hasher + Send>> {
    Some(match crate::block::hash_of_prefix(prefix)? {
        0x12 => Box::new(Sha2_256::default()),
        0x13 => Box::new(Sha2_512::default()),
        0xb220 => Box::new(Blake2b256::default()),
        0xb240 => Box::new(Blake2b512::default()),
        0x1e => Box::new(Blake3_256::default()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitswap::message::{Entry, Kind, Message};
    use crate::block::{cid_of, DAG_PB, RAW};
    use crate::MAX_BLOCK;
    use bytes::Bytes;
    use cid::Version;
    use futures::io::Cursor;
    use proptest::prelude::*;

    async fn skimmed(body: &[u8]) -> io::Result<Vec<(Cid, u64)>> {
        skim(&mut Cursor::new(body), body.len() as u64, MAX_BLOCK as u64).await
    }

    #[tokio::test]
    async fn a_block_beyond_the_largest_is_known_by_its_hash_among_others_that_are_not() {
        let (large, small) = (Bytes::from(vec![7; MAX_BLOCK + 1]), Bytes::from_static(b"small"));
        for cid in [cid_of(Version::V0, DAG_PB, &large), cid_of(Version::V1, RAW, &large)] {
            let small = cid_of(Version::V1, RAW, &small);
            let message = Message {
                entries: vec![Entry { cid: small, kind: Some(Kind::Have), send_dont_have: true }],
                blocks: vec![(small, Bytes::from_static(b"small")), (cid, large.clone())],
                presences: vec![(small, true)],
                ..Message::default()
            };
            assert_eq!(skimmed(&message.encode()).await.unwrap(), [(cid, MAX_BLOCK as u64 + 1)]);
        }
    }

    #[tokio::test]
    async fn every_known_hash_function_gives_the_cid_of_the_bytes() {
        use multihash_codetable::{Code, MultihashDigest};
        let data = Bytes::from(vec![3; MAX_BLOCK + 9]);
        for code in [Code::Sha2_256, Code::Sha2_512, Code::Blake2b256, Code::Blake2b512, Code::Blake3_256] {
            let cid = Cid::new_v1(RAW, code.digest(&data));
            let message = Message { blocks: vec![(cid, data.clone())], ..Message::default() };
            assert_eq!(skimmed(&message.encode()).await.unwrap(), [(cid, data.len() as u64)]);
        }
    }

    #[tokio::test]
    async fn lengths_that_lead_out_of_the_message_are_refused() {
        // A block field of 5 MiB in a message of 10 bytes.
        let beyond = [0x1a, 0x80, 0x80, 0xc0, 0x02, 0, 0, 0, 0, 0];
        assert!(skimmed(&beyond).await.is_err());
        assert!(skimmed(&[0x0f]).await.is_err());
        // Bytes of 4 in a block of 3, behind which the message goes on.
        let longer_than_its_block = [0x1a, 3, 0x12, 4, 9, 9, 9, 9];
        assert!(skim(&mut Cursor::new(longer_than_its_block), 8, 2).await.is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_skimmed_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = futures::executor::block_on(skimmed(&bytes));
        }
    }
}
