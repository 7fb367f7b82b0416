//! IPNS: where signed records are got from and put to. What they say is verified by who asks, never by the backend.

use ipns_record::Name;

use super::Answer;

/// What the network would not or could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody has a record of that name, or nobody who has was reached.
    #[error("no record of {0} was found")]
    NotFound(Name),
    /// The backend did not answer, or broke off.
    #[error("the name system did not answer: {0}")]
    Unreachable(String),
    /// The backend does not take that record.
    #[error("the record was refused: {0}")]
    Refused(String),
}

impl Error {
    /// Whether the same question may succeed later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// The name system. A question may take 30 s on the public network: the caller brings the deadline by dropping the
/// answer.
pub trait Names {
    /// The newest record that the network gives for a name: raw bytes of at most 10 KiB, **not verified**.
    fn get(&self, name: Name) -> Answer<'_, Vec<u8>, Error>;
    /// Gives a signed record to the network. Done means that at least one other peer took it, where there are any.
    fn put(&self, name: Name, record: Vec<u8>) -> Answer<'_, (), Error>;
}
