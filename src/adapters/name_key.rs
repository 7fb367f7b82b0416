//! The private key of this node's IPNS name, in a file of its own: libp2p's `PrivateKey` message, as Kubo exports and
//! imports it (`libp2p-protobuf-cleartext`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ipns_record::{BadKey, SigningKey};
use rand::rngs::OsRng;
use rand::RngCore;
use zeroize::Zeroizing;

/// The largest file that may be a key, in bytes: RSA of 4096 bits takes 2.4 kB, in PEM 3.3 kB.
const LONGEST: u64 = 8 << 10;

/// Why there is no key, or none was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such file.
    #[error("{}: there is no key", .0.display())]
    Missing(PathBuf),
    /// Something is there already.
    #[error("{}: already exists", .0.display())]
    Exists(PathBuf),
    /// Others than the owner can read or write it.
    #[error("{}: mode {mode:04o} lets others use the name; make it 0600", .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no key.
    #[error("{}: no key of a name", .path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadKey,
    },
    /// The file system failed.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing(path.to_owned()),
        io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Io { path: path.to_owned(), source },
    }
}

/// Reads the key that the node uses.
///
/// # Errors
/// If there is none, it is no key, or others can read it.
pub fn open(path: &Path) -> Result<SigningKey, Error> {
    let file = File::open(path).map_err(io_error(path))?;
    let mode = file.metadata().map_err(io_error(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path: path.to_owned(), mode });
    }
    parse(path, file)
}

/// Reads a key that somebody brings: as Kubo exports it, or an ed25519 key in PEM.
///
/// # Errors
/// If there is none, or it is no key.
pub fn read(path: &Path) -> Result<SigningKey, Error> {
    parse(path, File::open(path).map_err(io_error(path))?)
}

fn parse(path: &Path, file: File) -> Result<SigningKey, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LONGEST).read_to_end(&mut bytes).map_err(io_error(path))?;
    let key = match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim_start().starts_with("-----BEGIN") => SigningKey::from_pem(text),
        _ => SigningKey::from_protobuf(&bytes),
    };
    key.map_err(|source| Error::Bad { path: path.to_owned(), source })
}

/// The key that the node uses; a new one if there is none. Two processes that find none at the same time end with one.
///
/// # Errors
/// As [`open`], or if the new one can't be written.
pub fn ensure(path: &Path) -> Result<SigningKey, Error> {
    match open(path) {
        Err(Error::Missing(_)) => {}
        found => return found,
    }
    let mut seed = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut seed[..]);
    let key =
        SigningKey::from_seed(&seed[..]).map_err(|source| Error::Bad { path: path.to_owned(), source })?;
    match write(path, &key) {
        Ok(()) => Ok(key),
        Err(Error::Exists(_)) => open(path),
        Err(error) => Err(error),
    }
}

/// Writes a key, readable by its owner alone, whole and durable or not at all. What is there stays there.
///
/// # Errors
/// If something is there already, or the file system refuses.
pub fn write(path: &Path, key: &SigningKey) -> Result<(), Error> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error(dir))?;
    // A link fails where a rename would replace a key for good.
    let draft = dir.join(format!(".{:016x}.draft", OsRng.next_u64()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&key.to_protobuf())?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)
    })();
    // The key is at its place or it is not: the draft is of no use either way.
    let _ = std::fs::remove_file(&draft);
    written.and_then(|()| File::open(dir)?.sync_all()).map_err(io_error(path))
}

/// Puts a key in the place of another, which is kept beside it under its own name; tells where.
///
/// # Errors
/// If the file system refuses. Then either key is at its place.
pub fn replace(path: &Path, old: &SigningKey, new: &SigningKey) -> Result<PathBuf, Error> {
    let mut kept = path.as_os_str().to_owned();
    kept.push(format!(".{}", old.name()));
    let kept = PathBuf::from(kept);
    std::fs::rename(path, &kept).map_err(io_error(path))?;
    if let Err(error) = write(path, new) {
        std::fs::rename(&kept, path).map_err(io_error(&kept))?;
        return Err(error);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/ipns.key");
        assert!(matches!(open(&path), Err(Error::Missing(_))));
        let name = ensure(&path).unwrap().name();
        assert_eq!(ensure(&path).unwrap().name(), name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft stays behind");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let told = ensure(&path).unwrap_err().to_string();
        assert!(told.contains("mode 0640 lets others use the name"), "{told}");
    }

    #[test]
    fn no_key_is_ever_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipns.key");
        let (old, other) = (ensure(&path).unwrap(), SigningKey::from_seed(&[7; 32]).unwrap());
        assert!(matches!(write(&path, &other), Err(Error::Exists(_))));
        assert_eq!(open(&path).unwrap().name(), old.name());
        let kept = replace(&path, &old, &other).unwrap();
        assert_eq!((open(&path).unwrap().name(), open(&kept).unwrap().name()), (other.name(), old.name()));
    }

    #[test]
    fn what_is_no_key_is_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipns.key");
        std::fs::write(&path, "hello").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(ensure(&path), Err(Error::Bad { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"hello");
    }
}
