//! The node's key: ed25519, in a file that only its owner may read.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::path::Path;

use libp2p::identity::Keypair;

use crate::error::at;
use crate::{durable, Error};

/// A key of 68 bytes in libp2p's protobuf; anything much longer is something else.
const LONGEST: u64 = 1024;

/// Loads the key at `path`, or makes one there. Blocks.
pub(crate) fn load_or_make(path: &Path) -> Result<Keypair, Error> {
    match OpenOptions::new().read(true).open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(LONGEST).read_to_end(&mut bytes).map_err(at(path))?;
            Keypair::from_protobuf_encoding(&bytes).map_err(|_| Error::Key)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = Keypair::generate_ed25519();
            let bytes = key.to_protobuf_encoding().map_err(|_| Error::Key)?;
            durable::replace(path, &bytes)?;
            Ok(key)
        }
        Err(error) => Err(at(path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        let made = load_or_make(&path).unwrap().public();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_or_make(&path).unwrap().public(), made);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap()
            .write_all(b"no key")
            .unwrap();
        assert!(matches!(load_or_make(&path), Err(Error::Key)));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 6);
    }
}
