//! How the program ends: what went wrong, in words for people and a code for programs, and the exit status.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::config::{Mistake, Mistakes};

/// What went wrong, for programs. Each has one exit status: [`Code::status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Something that should not be possible. Please report it.
    Bug,
    /// The command line is wrong.
    Usage,
    /// The configuration is wrong, or its file is not there.
    Config,
    /// The account's key is absent, unreadable, open to others, or its password is wrong.
    Key,
    /// Another process holds the data directory.
    Locked,
    /// The data directory or what is in it can't be used.
    DataDir,
    /// The provider serves another chain.
    WrongChain,
    /// There is no market at the configured address.
    NoMarket,
    /// `check` or `status --ready` found something that is not as it should be.
    CheckFailed,
    /// A round of mirroring left something open: a peer that was not found, content that nobody gave.
    Incomplete,
    /// No node is running on the data directory.
    NoNode,
    /// Chain, IPFS or node did not answer.
    Unreachable,
    /// What was asked for was refused or lost: nothing happened, or only gas was spent.
    Refused,
    /// There is no such thing.
    NotFound,
    /// An actor died too often: the platform should start the process anew.
    Restarts,
    /// A signal ended it before it was done.
    Interrupted,
}

impl Code {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Usage
            | Self::Config
            | Self::Key
            | Self::Locked
            | Self::DataDir
            | Self::WrongChain
            | Self::NoMarket => 2,
            Self::CheckFailed | Self::Incomplete | Self::NoNode | Self::Unreachable => 3,
            Self::Refused | Self::NotFound => 4,
            Self::Restarts => 5,
            Self::Interrupted => 130,
        }
    }
}

/// The exit statuses, as `--help` tells them.
pub const STATUSES: &str = "\
Exit status:
  0    done
  1    a bug
  2    command line, configuration, key or data directory; the wrong chain, or no market at its address
  3    `check` or `status --ready` failed, `mirror --once` left something open, or chain, IPFS or node did not answer
  4    refused, lost or not found
  5    an actor died too often
  130  interrupted";

/// Why the program ends without having done what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For programs.
    pub code: Code,
    /// For people: one message that names the key, file or URL.
    pub message: String,
    /// The configuration's key that it is about, if it is about one.
    pub key: Option<String>,
    /// What programs may want to know besides: the fields of an object, told beside the error.
    pub details: Value,
}

impl Fault {
    /// A fault without a key.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), key: None, details: Value::Null }
    }

    /// The same fault, about this key of the configuration.
    #[must_use]
    pub fn about(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same fault, with these fields beside it for programs.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// The fault as a document: `{"error":{"code","message","key"}}` and the details.
    pub fn document(&self) -> Value {
        let mut document = json!({"error": {"code": self.code, "message": self.message, "key": self.key}});
        if let (Value::Object(all), Value::Object(details)) = (&mut document, &self.details) {
            all.extend(details.clone());
        }
        document
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<Mistakes> for Fault {
    fn from(mistakes: Mistakes) -> Self {
        let key = mistakes.0.first().map(|mistake| mistake.key.clone()).filter(|key| !key.is_empty());
        let fault = Self::new(Code::Config, &mistakes).with(json!({"mistakes": mistakes.0}));
        Self { key, ..fault }
    }
}

impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Self {
        Mistakes(vec![mistake]).into()
    }
}

/// An error with all its causes, in one line.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
