//! Everything of the Scatter node that thinks, and the ports through which it thinks.

pub mod domain;
pub mod ports;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
