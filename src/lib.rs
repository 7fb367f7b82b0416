//! The node: adapters behind the ports, HTTP surfaces, and what puts them together.
//! The Scatter node: adapters to the world around the actors.

pub mod adapters;
