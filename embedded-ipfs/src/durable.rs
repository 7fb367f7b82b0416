//! Small files that are either as they were or as they are to be, whatever happens in between.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::at;

/// The ending of a file that is being written.
const DRAFT: &str = "new";

/// Writes a file that only its owner may read. Durable on return; an error names the file. Blocks.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let draft = path.with_extension(DRAFT);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        sync_directory_of(path)
    };
    write().map_err(at(path))
}

/// Removes a file, if it is there. Durable on return; an error names the file. Blocks.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_directory_of(path),
    };
    removed.map_err(at(path))
}

/// Whether a file is one that was never finished.
pub(crate) fn is_draft(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == DRAFT)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    // The parent of a file in the current directory is the empty path.
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
