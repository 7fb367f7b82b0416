//! Files and directories on their way in.

use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::Node;
use crate::core::Task;
use crate::error::at;
use crate::unixfs::add::{add, Piece};
use crate::{AddOptions, Added, Error};

/// Pieces that wait to be hashed and stored.
const QUEUE: usize = 8;

impl Node {
    /// Adds a file as UnixFS. The reader is polled on the caller's task; hashing and storing are not done there. Dropping
    /// the future leaves nothing pinned.
    ///
    /// # Errors
    /// [`Error::Io`] from the reader, [`Error::Layout`], [`Error::Store`], [`Error::Full`].
    pub async fn add(&self, reader: impl AsyncRead + Unpin, options: AddOptions) -> Result<Added, Error> {
        let mut adding = self.adding(options)?;
        adding.file("", reader).await?;
        adding.finish().await
    }

    /// Adds a file, or a directory with everything in it, from the file system, as `ipfs add -r` does: symbolic links are
    /// added as such, and what begins with a dot below the path only if the options say so. No file is held whole.
    ///
    /// # Errors
    /// [`Error::Io`] with the path, also for what is neither a file, a directory nor a symbolic link; [`Error::Name`] for a name that is
    /// not UTF-8; [`Error::Layout`], [`Error::Store`], [`Error::Full`].
    pub async fn add_path(&self, path: impl AsRef<Path>, options: AddOptions) -> Result<Added, Error> {
        let adding = self.adding(options)?;
        let (path, pieces) = (path.as_ref().to_owned(), adding.pieces.clone());
        let walk = self.inner.runtime.spawn_blocking(move || walk(path, &options, &pieces));
        match walk.await.unwrap_or(Err(Error::Stopped)) {
            // The other end may be gone: it says why.
            Ok(()) | Err(Error::Stopped) => adding.finish().await,
            Err(error) => Err(error),
        }
    }

    /// Adds files and a directory of them, and pins it: its CID is that of a default `ipfs add -r`.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Store`], [`Error::Full`].
    pub async fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Result<Added, Error> {
        let mut adding = self.adding(AddOptions::default())?;
        for (name, bytes) in files {
            if name.is_empty() || name.contains('/') {
                return Err(Error::Name(name));
            }
            adding.file(&name, &bytes[..]).await?;
        }
        adding.finish().await
    }

    /// Begins to add a directory whose files come from anywhere, one after the other.
    ///
    /// # Errors
    /// [`Error::Layout`].
    pub fn adding(&self, options: AddOptions) -> Result<Adding, Error> {
        options.check()?;
        let (pieces, queue) = mpsc::channel(QUEUE);
        let task = Task::spawn(&self.inner.runtime, add(self.inner.core.clone(), options, queue));
        Ok(Adding { pieces, task: Some(task), chunk_bytes: options.chunk_bytes, open: false })
    }
}

/// A directory on its way in, by [`Node::adding`]. Nothing is pinned before [`Adding::finish`], and nothing of it is swept
/// until then; dropping it leaves what was stored to the next `gc`.
///
/// Paths are names with `/` between them, and directories on the way are made. An empty path is the root, so that a file
/// there is all that is added.
pub struct Adding {
    pieces: mpsc::Sender<Piece>,
    /// `None` once its failure was told.
    task: Option<Task<Result<Added, Error>>>,
    chunk_bytes: usize,
    /// There are chunks of a file that was not read to its end.
    open: bool,
}

impl std::fmt::Debug for Adding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adding").field("chunk_bytes", &self.chunk_bytes).finish_non_exhaustive()
    }
}

impl Adding {
    /// Adds a file. One whose reading fails, or is dropped half way, is not part of the directory. A path that cannot be or
    /// is taken is told by [`Adding::finish`] or one of the calls before it.
    ///
    /// # Errors
    /// [`Error::Io`] from the reader, after which others can be added. Any other error ends the adding:
    /// [`Error::Name`], [`Error::Store`], [`Error::Full`].
    pub async fn file(&mut self, path: &str, mut reader: impl AsyncRead + Unpin) -> Result<(), Error> {
        if std::mem::replace(&mut self.open, true) {
            self.send(Piece::Drop).await?;
        }
        loop {
            let chunk = read_chunk(&mut reader, self.chunk_bytes).await?;
            let last = chunk.len() < self.chunk_bytes;
            if !chunk.is_empty() {
                self.send(Piece::Chunk(chunk)).await?;
            }
            if last {
                break;
            }
        }
        self.send(Piece::File(path.to_owned())).await?;
        self.open = false;
        Ok(())
    }

    /// Adds a directory, which may stay empty. One that is there already is fine.
    ///
    /// # Errors
    /// As [`Adding::file`], without those of a reader.
    pub async fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.send(Piece::Directory(path.to_owned())).await
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As [`Adding::file`], without those of a reader.
    pub async fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.send(Piece::Symlink(path.to_owned(), target.to_owned())).await
    }

    /// Makes the directories and pins the root, if the options say so.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Store`], [`Error::Full`].
    pub async fn finish(mut self) -> Result<Added, Error> {
        let _ = self.pieces.send(Piece::End).await; // the other end is gone: its outcome says why
        self.outcome().await
    }

    async fn send(&mut self, piece: Piece) -> Result<(), Error> {
        match self.pieces.send(piece).await {
            Ok(()) => Ok(()),
            Err(_) => self.outcome().await.map(drop),
        }
    }

    async fn outcome(&mut self) -> Result<Added, Error> {
        self.task.take().ok_or(Error::Stopped)?.join().await?
    }
}

/// So many bytes, or what is left.
async fn read_chunk(reader: &mut (impl AsyncRead + Unpin), size: usize) -> Result<Bytes, Error> {
    let mut room = BytesMut::with_capacity(size).limit(size);
    while room.has_remaining_mut() && reader.read_buf(&mut room).await? > 0 {}
    Ok(room.into_inner().freeze())
}

/// Sends what lies at a path of the file system. [`Error::Stopped`] if nobody takes it any more. Blocks.
fn walk(root: PathBuf, options: &AddOptions, pieces: &mpsc::Sender<Piece>) -> Result<(), Error> {
    let send = |piece| pieces.blocking_send(piece).map_err(|_| Error::Stopped);
    let mut left = vec![(root, String::new())];
    while let Some((path, name)) = left.pop() {
        let about = std::fs::symlink_metadata(&path).map_err(at(&path))?;
        if about.is_symlink() {
            let target = std::fs::read_link(&path).map_err(at(&path))?;
            send(Piece::Symlink(name, target.to_string_lossy().into_owned()))?;
        } else if about.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(at(&path))? {
                let below = entry.map_err(at(&path))?.file_name();
                let below =
                    below.to_str().ok_or_else(|| Error::Name(below.to_string_lossy().into_owned()))?;
                if options.hidden || !below.starts_with('.') {
                    let separator = if name.is_empty() { "" } else { "/" };
                    left.push((path.join(below), format!("{name}{separator}{below}")));
                }
            }
            send(Piece::Directory(name))?;
        } else if about.is_file() {
            let mut file = std::fs::File::open(&path).map_err(at(&path))?;
            while let Some(chunk) = next_chunk(&mut file, options.chunk_bytes).map_err(at(&path))? {
                send(Piece::Chunk(chunk))?;
            }
            send(Piece::File(name))?;
        } else {
            let what = format!("{} is neither a file nor a directory", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what).into());
        }
    }
    Ok(())
}

/// So many bytes, or what is left; `None` at the end.
fn next_chunk(file: &mut std::fs::File, size: usize) -> std::io::Result<Option<Bytes>> {
    use std::io::Read;
    let mut chunk = Vec::with_capacity(size);
    file.take(size as u64).read_to_end(&mut chunk)?;
    Ok((!chunk.is_empty()).then(|| chunk.into()))
}
