//! The Scatter node: adapters to the world around the actors.

pub mod adapters;
