//! The disk below the data directory: files written whole, and the space that is left.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::disk::{Disk, Error};

/// The largest file that is read back, in bytes: ours are evidence files and records, far smaller.
const READ_CAP: u64 = 256 << 20;

/// Files below one directory.
#[derive(Debug)]
pub struct DataDisk {
    root: PathBuf,
    written: AtomicU64,
}

impl DataDisk {
    /// Files below `root`, which exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), written: AtomicU64::new(0) }
    }

    /// The path of a name such as `evidence/42.json`; names that could leave the directory have none.
    fn resolve(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = |part| matches!(part, Component::Normal(_));
        let bad = name.is_empty() || name.ends_with('/') || name.contains(['\0', '\\']);
        if bad || !Path::new(name).components().all(plain) {
            return Err(Error {
                path: name.escape_debug().to_string(),
                what: "not a plain file name".into(),
            });
        }
        Ok(self.root.join(name))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let dir = path.parent().unwrap_or(&self.root);
        make_durable_dirs(&self.root, dir)?;
        let unique = self.written.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = dir.join(format!(".{name}.{}.{unique}.tmp", std::process::id()));
        let written = (|| {
            let mut file = File::create_new(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            // The old file, if any, is untouched; what remains of the new one only takes space.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        File::open(dir)?.sync_all()
    }
}

impl Disk for DataDisk {
    fn free(&self) -> Result<ByteSize, Error> {
        let stat = rustix::fs::statvfs(&self.root).map_err(|e| error(&self.root, e.into()))?;
        // What an unprivileged process may still use, not what root may.
        Ok(ByteSize(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<String, Error> {
        let path = self.resolve(name)?;
        self.replace(&path, bytes).map_err(|e| error(&path, e))?;
        Ok(path.display().to_string())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.resolve(name)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error(&path, e)),
        };
        let mut bytes = Vec::new();
        let read = file.take(READ_CAP + 1).read_to_end(&mut bytes).map_err(|e| error(&path, e))?;
        match read as u64 > READ_CAP {
            true => {
                Err(Error { path: path.display().to_string(), what: "larger than any file of ours".into() })
            }
            false => Ok(Some(bytes)),
        }
    }
}

/// Makes the directories from `root` down to `dir`, each durable in its parent.
fn make_durable_dirs(root: &Path, dir: &Path) -> io::Result<()> {
    if dir == root || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(root);
    make_durable_dirs(root, parent)?;
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => File::open(parent)?.sync_all(),
    }
}

fn error(path: &Path, error: io::Error) -> Error {
    Error { path: path.display().to_string(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_read_back_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DataDisk::new(dir.path());
        assert_eq!(disk.read("evidence/1/a.json").unwrap(), None);
        let path = disk.write("evidence/1/a.json", b"one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        disk.write("evidence/1/a.json", b"two").unwrap();
        assert_eq!(disk.read("evidence/1/a.json").unwrap().as_deref(), Some(&b"two"[..]));
        let names = std::fs::read_dir(dir.path().join("evidence/1")).unwrap().count();
        assert_eq!(names, 1, "no temporary file stays behind");
    }

    #[test]
    fn no_name_leaves_the_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DataDisk::new(&dir.path().join("data"));
        for name in ["", "/etc/x", "..", "../x", "a/../../x", "a/", "./x", "a\\b", "a\0b", "/"] {
            assert!(disk.write(name, b"x").is_err(), "{name:?}");
            assert!(disk.read(name).is_err(), "{name:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_rest() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DataDisk::new(dir.path());
        disk.write("busy/old", b"old").unwrap();
        // A directory stands where the file should go: the rename fails.
        assert!(disk.write("busy", b"new").is_err());
        assert_eq!(disk.read("busy/old").unwrap().as_deref(), Some(&b"old"[..]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn free_space_is_told_in_bytes_and_an_absent_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DataDisk::new(dir.path()).free().unwrap().0 > 4096);
        assert!(DataDisk::new(&dir.path().join("absent")).free().is_err());
    }
}
