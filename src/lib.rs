//! The node: adapters behind the ports, HTTP surfaces, and what puts them together.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod exit;
pub mod http;
pub mod node;
pub mod preflight;
pub mod telemetry;
pub mod watchdog;
