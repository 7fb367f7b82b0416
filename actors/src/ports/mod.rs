//! What the actors need of the world: one trait and its error a file. Adapters live in the node's crate.

pub mod chain;
pub mod clock;
pub mod disk;
pub mod hoster_probe;
pub mod ipfs;
pub mod keys;
pub mod names;
pub mod randomness;
pub mod store;

/// The answer of a port that waits for the world. Dropping it cancels the question.
pub type Answer<'a, T, E> = futures::future::LocalBoxFuture<'a, Result<T, E>>;

/// The answers to several questions, in their order: each may fail by itself.
pub type Answers<'a, T, E> = futures::future::LocalBoxFuture<'a, Vec<Result<T, E>>>;
