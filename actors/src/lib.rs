//! Everything of the Scatter node that thinks, and the ports through which it thinks.

pub mod bid_filter;
pub mod chain_listener;
pub mod domain;
pub mod firewall;
pub mod line;
pub mod pinner;
pub mod ports;
pub mod records;
pub mod supervisor;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod validator;
pub mod wake;
pub mod wallet_signer;
