//! The data directory belongs to one process at a time: two nodes with one wallet would race for its nonces.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{flock, FlockOperation};

/// Why the data directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds it.
    #[error("{dir}: process {pid} holds this data directory")]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The other process, as it wrote it down itself.
        pid: String,
    },
    /// It can't be made or locked.
    #[error("{path}: the data directory can't be locked")]
    Refused {
        /// The directory or its lock file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
}

/// A data directory, ours until dropped. The kernel frees the lock of a killed process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, for its owner alone, and locks it.
    ///
    /// # Errors
    /// If another process holds it, or the file system refuses.
    pub fn lock(path: &Path) -> Result<Self, Error> {
        let refused = |path: &Path| {
            let path = path.to_path_buf();
            |source| Error::Refused { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refused(path))?;
        let file = path.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&file).map_err(refused(&file))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::Held { dir: path.into(), pid: holder(&mut lock) })
            }
            Err(errno) => return Err(refused(&file)(errno.into())),
        }
        let write = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write(&mut lock).map_err(refused(&file))?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The pid in a lock file that another process holds.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(20).read_to_string(&mut text).is_ok();
    match text.trim() {
        pid if read && !pid.is_empty() => pid.into(),
        _ => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_told_the_directory_and_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let ours = DataDir::lock(&path).unwrap();
        // flock belongs to the open file, so a second handle fares as a second process does.
        let text = DataDir::lock(&path).unwrap_err().to_string();
        assert!(text.contains("deep/data"), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(ours);
        assert_eq!(DataDir::lock(&path).unwrap().path(), path);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let text = DataDir::lock(&file.join("data")).unwrap_err().to_string();
        assert!(text.contains("file/data"), "{text}");
    }
}
