//! The multipart forms in which Kubo takes files: streamed, and counted, because a form that was cut is answered with
//! the hash of what came.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures::stream::{self, BoxStream, LocalBoxStream};
use futures::StreamExt;
use rand::RngCore;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use url::form_urlencoded::byte_serialize;

/// Bytes of a file that are read at once.
const PIECE: usize = 64 << 10;

/// Bytes that left so far.
#[derive(Clone, Default)]
pub(super) struct Moved(Rc<Cell<u64>>);

impl Moved {
    /// How many.
    pub(super) fn bytes(&self) -> u64 {
        self.0.get()
    }

    /// Waits for what is being sent, `None` if for so long neither a byte left nor the answer came.
    pub(super) async fn watch<T>(&self, patience: Duration, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = pin!(sending);
        loop {
            let before = self.bytes();
            match tokio::time::timeout(patience, sending.as_mut()).await {
                Ok(sent) => return Some(sent),
                Err(_) if self.bytes() > before => {}
                Err(_) => return None,
            }
        }
    }
}

/// A form being made.
pub(super) struct Form {
    boundary: String,
    parts: Vec<LocalBoxStream<'static, io::Result<Bytes>>>,
    moved: Moved,
}

impl Form {
    pub(super) fn new() -> Self {
        let mut random = [0; 16];
        rand::thread_rng().fill_bytes(&mut random);
        Self {
            boundary: format!("scatter-{}", hex::encode(random)),
            parts: Vec::new(),
            moved: Moved::default(),
        }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// What counts the content (headers left out) that left.
    pub(super) fn moved(&self) -> Moved {
        self.moved.clone()
    }

    /// A directory.
    pub(super) fn directory(self, path: &str) -> Self {
        self.part(path, "application/x-directory", stream::empty().boxed_local())
    }

    /// A file whose bytes are here. The path's pieces are joined by `/`.
    pub(super) fn bytes(self, path: &str, content: Vec<u8>) -> Self {
        let content = stream::once(async { Ok(Bytes::from(content)) }).boxed_local();
        self.part(path, "application/octet-stream", content)
    }

    /// A file on disk.
    pub(super) fn file(self, path: &str, source: PathBuf) -> Self {
        self.part(path, "application/octet-stream", read(source).boxed_local())
    }

    fn part(mut self, path: &str, kind: &str, content: LocalBoxStream<'static, io::Result<Bytes>>) -> Self {
        let name: String = byte_serialize(path.as_bytes()).collect::<String>().replace('+', "%20");
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n",
            self.boundary
        );
        let moved = self.moved();
        let content = content.inspect(move |piece| {
            let length = piece.as_ref().map_or(0, Bytes::len) as u64;
            moved.0.set(moved.bytes() + length);
        });
        self.parts.push(once(head).chain(content).chain(once("\r\n".to_owned())).boxed_local());
        self
    }

    pub(super) fn into_stream(self) -> LocalBoxStream<'static, io::Result<Bytes>> {
        let end = once(format!("--{}--\r\n", self.boundary));
        stream::iter(self.parts).flatten().chain(end).boxed_local()
    }
}

fn once(text: String) -> BoxStream<'static, io::Result<Bytes>> {
    stream::once(async { Ok(Bytes::from(text)) }).boxed()
}

fn read(source: PathBuf) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((None, source), |(open, source)| async move {
        let mut file = match open {
            Some(file) => file,
            None => File::open(&source).await?,
        };
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        piece.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(piece), (Some(file), source))))
    })
}
