//! Everything of the Scatter node that thinks, and the ports through which it thinks.

pub mod domain;
pub mod line;
pub mod ports;
pub mod records;
pub mod supervisor;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod wallet_signer;
