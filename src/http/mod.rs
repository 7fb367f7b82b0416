//! HTTP surfaces: the firewall towards strangers, the status server towards the operator.
//!
//! The workers run on threads of their own and hold only [`Door`]s to the actors' arbiter.

pub mod control;
pub mod firewall;
pub mod metrics;
pub mod status;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use actix_web::http::StatusCode;
use actix_web::HttpResponse;
use serde_json::json;

/// A way from other threads to an actor that survives the actor: its supervisor points it at each fresh one.
pub struct Door<M>
where
    M: Message + Send,
    M::Result: Send,
{
    end: Arc<RwLock<Option<Recipient<M>>>>,
}

/// Nobody answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor behind this server does not answer")]
pub struct Shut;

impl<M> Clone for Door<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self { end: Arc::clone(&self.end) }
    }
}

impl<M> Default for Door<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn default() -> Self {
        Self { end: Arc::default() }
    }
}

impl<M> Door<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// A door with nobody behind it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Points the door, and all its clones, at an actor.
    pub fn point<A>(&self, to: &Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<M>,
        Context<A>: ToEnvelope<A, M>,
    {
        *self.end.write().unwrap_or_else(PoisonError::into_inner) = Some(to.clone().recipient());
    }

    /// Asks and waits for the answer, no longer than `limit`.
    ///
    /// # Errors
    /// If nobody is there, the actor dies before it answers, or it takes too long.
    pub async fn ask(&self, message: M, limit: Duration) -> Result<M::Result, Shut> {
        let to = self.end.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Shut)?;
        match tokio::time::timeout(limit, to.send(message)).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Shut),
        }
    }
}

/// An error as every surface tells it: `{"error":{"code","message","key"}}`.
pub fn error_body(code: &str, message: &str, key: Option<&str>) -> serde_json::Value {
    json!({"error": {"code": code, "message": message, "key": key}})
}

/// An error as a whole answer, never kept by caches.
pub fn error(status: StatusCode, code: &str, message: &str, key: Option<&str>) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header(("cache-control", "no-store"))
        .json(error_body(code, message, key))
}
