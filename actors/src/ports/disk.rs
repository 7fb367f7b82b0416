//! The disk that holds the data directory, and files written whole.

use crate::domain::units::ByteSize;

/// What the disk would not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Error {
    /// The file or directory.
    pub path: String,
    /// The operating system's words.
    pub what: String,
}

/// The disk below the data directory.
pub trait Disk {
    /// Bytes free to us.
    ///
    /// # Errors
    /// If the file system can't be asked.
    fn free(&self) -> Result<ByteSize, Error>;
    /// Writes a file of that name below the data directory, whole and durable or not at all; tells its path.
    ///
    /// # Errors
    /// If it can't be written.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<String, Error>;
    /// Reads a file of that name back; `None` if it is not there.
    ///
    /// # Errors
    /// If it can't be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;
}
