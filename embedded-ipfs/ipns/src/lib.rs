#![doc = include_str!("../README.md")]

mod content;
mod data;
mod entry;
mod key;
mod name;
mod record;
mod time;

pub use content::NotContent;
pub use key::{BadKey, SigningKey, Unsigned};
pub use name::{Name, NotAName};
pub use record::{verify, Record, Refusal, MAX_RECORD_BYTES};
pub use time::{NotATime, Timestamp};
