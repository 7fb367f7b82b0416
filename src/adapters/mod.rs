//! The only code that touches network, disk, clock and randomness: one file for each thing behind a port.
// Clock, environment and files are banned elsewhere: here is where the ban sends people.
#![allow(clippy::disallowed_methods)]

pub mod data_dir;
pub mod disk;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod ethereum;
pub mod hoster_probe;
mod http_client;
pub mod json_rpc;
pub mod keystore;
pub mod kubo;
pub mod name_key;
pub mod randomness;
pub mod sqlite;
pub mod system_clock;
