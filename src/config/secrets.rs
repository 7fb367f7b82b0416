//! Secrets, read from where the configuration says they are, and never shown.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{Mistake, Password, Status};

/// The longest first line of a file with a secret, in bytes.
const LONGEST: usize = 4096;

impl Password {
    /// The password.
    ///
    /// # Errors
    /// If its file can't be read or is empty.
    pub fn read(&self) -> Result<SecretString, Mistake> {
        match self {
            Self::Given(password) => Ok(password.clone()),
            Self::File(path) => first_line("wallet.password_file", path),
        }
    }
}

impl Status {
    /// The token that requests must bring, if any.
    ///
    /// # Errors
    /// If its file can't be read or is empty.
    pub fn token(&self) -> Result<Option<SecretString>, Mistake> {
        self.token_file.as_deref().map(|path| first_line("status.token_file", path)).transpose()
    }
}

/// The first line of a file: editors end it with a line break that is no part of the secret.
pub fn first_line(key: &str, path: &Path) -> Result<SecretString, Mistake> {
    let wrong = |what: String| Mistake { key: key.into(), origin: path.display().to_string(), what };
    #[allow(clippy::disallowed_methods, reason = "secrets are read once, by the configuration")]
    let text = std::fs::read_to_string(path).map(SecretString::from);
    let text = text.map_err(|error| wrong(error.to_string()))?;
    match text.expose_secret().lines().next() {
        None | Some("") => Err(wrong("its first line is empty".into())),
        Some(line) if line.len() > LONGEST => Err(wrong("its first line is too long for a secret".into())),
        Some(line) => Ok(SecretString::from(line)),
    }
}
