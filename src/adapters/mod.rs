//! The only code that touches network, files, environment and clock: each adapter implements a port.

pub mod ethereum;
pub mod json_rpc;
pub mod keystore;
