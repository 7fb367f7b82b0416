//! Messages on streams: a length, then that many bytes.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A message that has begun is complete after this long, or the stream is given up: 70 KB/s for the largest.
pub(crate) const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// Reads the length of the next message; `None` at the end of the stream. Nothing is allocated for what it announces.
///
/// # Errors
/// Also if it is no length, or one that no peer means.
pub(crate) async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<u64>> {
    let mut length = 0u64;
    for i in 0..5 {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return if i == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        length |= u64::from(byte[0] & 0x7f) << (7 * i);
        if byte[0] & 0x80 == 0 {
            return Ok(Some(length));
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Reads the body of a message.
pub(crate) async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map(|()| body.into())
}

/// Ends what takes longer than [`MESSAGE_TIME`].
pub(crate) async fn in_time<T>(work: impl std::future::Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(MESSAGE_TIME, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Writes a message with its length before it.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    let mut length = unsigned_varint::encode::usize_buffer();
    let write = async {
        stream.write_all(unsigned_varint::encode::usize(body.len(), &mut length)).await?;
        stream.write_all(body).await?;
        stream.flush().await
    };
    in_time(write).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;
    use futures::TryStreamExt;

    #[tokio::test]
    async fn a_written_message_reads_back_and_the_stream_ends_cleanly_after_it() {
        let mut wire = Cursor::new(Vec::new());
        write(&mut wire, &[7; 300]).await.unwrap();
        wire.set_position(0);
        assert_eq!(read_length(&mut wire).await.unwrap(), Some(300));
        assert_eq!(read_body(&mut wire, 300).await.unwrap(), vec![7; 300]);
        assert_eq!(read_length(&mut wire).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_length_is_refused_before_anything_is_allocated() {
        for bytes in [&[0xff; 9][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]] {
            let mut wire = Cursor::new(bytes.to_vec());
            assert_eq!(read_length(&mut wire).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_in_the_middle_of_a_message_is_given_up() {
        let silent = futures::stream::pending::<io::Result<Vec<u8>>>().into_async_read();
        let mut wire = Cursor::new([1, 2, 3]).chain(silent);
        assert_eq!(in_time(read_body(&mut wire, 10)).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
