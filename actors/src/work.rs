//! Work that takes an actor longer than a message: whatever logs meanwhile says for whom.
//!
//! A line alone tells what happened; the span around it tells which actor was at it and what for, also where the line
//! comes from far below, as from the adapter that asked a provider in vain. Work that waits for anything begins here:
//! `.clippy.toml` forbids the other ways. (A handler that does all at once logs without one.)

use std::future::Future;

use actix::prelude::*;
use tracing::Span;
use tracing_actix::ActorInstrument;

#[cfg(test)]
pub(crate) mod tests;

/// The span of an actor's work: its name, then what it works for as fields of `tracing`.
///
/// A root, as work that begins more work would nest without end otherwise; and of the highest level, so that a
/// filter by level that lets a line pass does not take its span away.
#[macro_export]
macro_rules! acting_as {
    ($actor:literal $(, $($what:tt)+)?) => {
        ::tracing::error_span!(parent: None, $actor $(, $($what)+)?)
    };
}

/// Work of which the actor takes the outcome, both within a span.
#[allow(clippy::disallowed_methods, reason = "the one place: the span is put around it here")]
pub fn within<A, F, R>(
    span: Span,
    work: F,
    take: impl FnOnce(F::Output, &mut A, &mut A::Context) -> R + 'static,
) -> ResponseActFuture<A, R>
where
    A: Actor,
    F: Future + 'static,
    R: 'static,
{
    Box::pin(actix::fut::wrap_future::<_, A>(work).map(take).actor_instrument(span))
}

/// What lets an actor work on something and hear messages meanwhile.
pub trait Works<A: Actor<Context = Self>>: AsyncContext<A> {
    /// Lets `work` run until the actor takes its outcome or ends, both within the span.
    fn work<F: Future + 'static>(
        &mut self,
        span: Span,
        work: F,
        take: impl FnOnce(F::Output, &mut A, &mut Self) + 'static,
    ) -> SpawnHandle;
}

impl<A, C> Works<A> for C
where
    A: Actor<Context = C>,
    C: AsyncContext<A>,
{
    #[allow(clippy::disallowed_methods, reason = "the one place: the span is put around it here")]
    fn work<F: Future + 'static>(
        &mut self,
        span: Span,
        work: F,
        take: impl FnOnce(F::Output, &mut A, &mut Self) + 'static,
    ) -> SpawnHandle {
        self.spawn(within(span, work, take))
    }
}
